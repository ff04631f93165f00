"""Prediction: what a model said about rows, next to what is true of them."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from mlgraph.data.answers import (
    Floats,
    Label,
    check_length,
    floats,
    known_floats,
    labels_of,
    levels_of,
    matrix_of,
    probabilities_of,
    read_only,
    stacked,
    stacked_quantiles,
    stacked_truth,
    truths_of,
)
from mlgraph.errors import DataError

_N_SHOWN = 6


@attrs.frozen(eq=False, repr=False)
class Prediction:
    """Predictions of one model, one per row; made by the method named after its kind.

    Args:
        row_ids: Ids of the rows, int64.
        kind: ``"classification"``, ``"regression"``, ``"multilabel"`` or ``"multitarget"``.
        response: Predicted labels, or quantities as float64; of several targets
            ``(rows, targets)``.
        prob: Probabilities, float64 ``(rows, classes)`` in the order of ``classes``; those of
            being true ``(rows, targets)`` for several labels.
        truth: True labels or quantities; ``None`` where unknown (NaN for quantities), ``None``
            altogether if there is no truth at all.
        classes: The classes in order.
        positive: The positive one of two classes.
        weights: Row weights, float64.
        se: Standard errors of the response, float64.
        quantiles: Quantiles of the response by level, float64 each.
        targets: Names of the targets, if there are several.
        metrics: What ``score`` uses when nobody says.

    >>> Prediction.classification([7, 8], [[0.9, 0.1], [0.2, 0.8]], ("no", "yes")).response
    array(['no', 'yes'], dtype='<U3')
    """

    row_ids: NDArray[np.int64]
    kind: str
    response: NDArray[Any]
    prob: Floats | None = None
    truth: NDArray[Any] | None = None
    classes: tuple[Label, ...] | None = None
    positive: Label | None = None
    weights: Floats | None = None
    se: Floats | None = None
    quantiles: Mapping[float, Floats] | None = None
    targets: tuple[str, ...] | None = None
    metrics: tuple[Any, ...] = ()

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(Prediction):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, read_only(value))
                check_length(field.name, value, len(self.row_ids))

    @staticmethod
    def classification(
        row_ids: ArrayLike,
        prob: ArrayLike,
        classes: Iterable[Label],
        truth_codes: ArrayLike | None = None,
        *,
        positive: Label | None = None,
        weights: ArrayLike | None = None,
    ) -> Prediction:
        """Probabilities of classes; the response is the likeliest class, the first one on ties.

        Args:
            row_ids: Ids of the rows.
            prob: Probabilities ``(rows, classes)``.
            classes: The classes, in the order of the columns.
            truth_codes: Places of the true labels in ``classes``, -1 where unknown.
            positive: The positive one of two classes, by default the second.
            weights: Row weights.

        Raises:
            DataError: These are no probabilities, or shapes do not fit.

        >>> Prediction.classification([0], [[0.5, 0.5]], (False, True), [1]).truth
        array([ True])
        """
        known = tuple(classes)
        ids = np.asarray(row_ids, dtype=np.int64)
        checked = probabilities_of(np.asarray(prob), len(ids), known)
        labels = np.array(known)
        return Prediction(
            ids,
            "classification",
            labels[np.argmax(checked, axis=1)] if known else labels[:0],
            prob=checked,
            truth=labels_of(truth_codes, known),
            classes=known,
            positive=known[1] if positive is None and len(known) == 2 else positive,
            weights=floats(weights),
        )

    @staticmethod
    def regression(
        row_ids: ArrayLike,
        response: ArrayLike,
        truth: ArrayLike | None = None,
        *,
        weights: ArrayLike | None = None,
        se: ArrayLike | None = None,
        quantiles: Mapping[float, ArrayLike] | None = None,
    ) -> Prediction:
        """Predicted quantities.

        Raises:
            DataError: Lengths differ.

        >>> Prediction.regression([0, 1], [1.5, 2.5], [1.0, float("nan")]).truth
        array([ 1., nan])
        """
        return Prediction(
            np.asarray(row_ids, dtype=np.int64),
            "regression",
            np.asarray(response, dtype=np.float64),
            truth=known_floats(truth),
            weights=floats(weights),
            se=floats(se),
            quantiles=None if quantiles is None else levels_of(quantiles, np.size(row_ids)),
        )

    @staticmethod
    def multilabel(
        row_ids: ArrayLike,
        prob: ArrayLike,
        labels: Iterable[str],
        truth: ArrayLike | None = None,
        *,
        weights: ArrayLike | None = None,
        threshold: float = 0.5,
    ) -> Prediction:
        """Probabilities of labels being true; the response says which are above the threshold.

        Args:
            row_ids: Ids of the rows.
            prob: Probabilities ``(rows, labels)``.
            labels: Names of the labels.
            truth: 1 and 0, or booleans, ``(rows, labels)``; NaN where unknown.
            weights: Row weights.
            threshold: What a probability has to exceed.

        Raises:
            DataError: Shapes do not fit.

        >>> Prediction.multilabel([0], [[0.9, 0.2]], ["red", "round"]).response
        array([[ True, False]])
        """
        names, ids = tuple(labels), np.asarray(row_ids, dtype=np.int64)
        checked = matrix_of("prob", prob, len(ids), len(names))
        return Prediction(
            ids,
            "multilabel",
            checked > threshold,
            prob=checked,
            truth=truths_of(truth),
            weights=floats(weights),
            targets=names,
        )

    @staticmethod
    def multitarget(
        row_ids: ArrayLike,
        response: ArrayLike,
        targets: Iterable[str],
        truth: ArrayLike | None = None,
        *,
        weights: ArrayLike | None = None,
    ) -> Prediction:
        """Several predicted quantities per row, ``(rows, targets)``.

        Raises:
            DataError: Shapes do not fit.

        >>> Prediction.multitarget([0], [[1, 2]], ["x", "y"]).to_arrow().column_names
        ['row_id', 'response.x', 'response.y']
        """
        names, ids = tuple(targets), np.asarray(row_ids, dtype=np.int64)
        return Prediction(
            ids,
            "multitarget",
            matrix_of("response", response, len(ids), len(names)),
            truth=known_floats(truth),
            weights=floats(weights),
            targets=names,
        )

    @staticmethod
    def concat(predictions: Iterable[Prediction]) -> Prediction:
        """The rows of several predictions, such as those of folds, one after the other.

        What only some of them have is left out, except truth: it is unknown in the others.

        Raises:
            DataError: There are none, or they differ in kind or classes.

        >>> a = Prediction.regression([0], [1.0])
        >>> Prediction.concat([a, a]).row_ids
        array([0, 0])
        """
        parts = tuple(predictions)
        _check_alike(parts)
        joined: dict[str, Any] = {
            name: stacked([getattr(part, name) for part in parts]) for name in _STACKED
        }
        quantiles = stacked_quantiles([part.quantiles for part in parts])
        truth = stacked_truth(
            [part.truth for part in parts],
            [len(part) for part in parts],
            quantities=parts[0].kind in ("regression", "multitarget"),
        )
        return attrs.evolve(parts[0], **joined, truth=truth, quantiles=quantiles)

    def __reduce__(self) -> tuple[object, ...]:
        # Through the constructor: pickled arrays come back writeable.
        return Prediction, attrs.astuple(self, recurse=False)

    def __len__(self) -> int:
        return len(self.row_ids)

    def to_arrow(self) -> pa.Table:
        """A table: ``row_id``, ``truth``, ``response``, ``prob.<class>``, and what else there is.

        >>> Prediction.classification([0], [[1.0, 0.0]], ("a", "b")).to_arrow().column_names
        ['row_id', 'response', 'prob.a', 'prob.b']
        """
        return pa.table({name: pa.array(column) for name, column in self._columns().items()})

    def to_pandas(self) -> Any:
        """The same table as a pandas data frame."""
        return self.to_arrow().to_pandas()

    def score(
        self, metrics: str | Callable[..., Any] | Sequence[Any] | None = None
    ) -> float | dict[str, float]:
        """How good the predictions are, by one metric or several."""
        from mlgraph.train.metric import score

        scores: float | dict[str, float] = score(self, metrics)
        return scores

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        ]
        return "\n  ".join([self._title(), *lines, *self._rest()])

    def _repr_html_(self) -> str:
        head, *body = self._rows()
        cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        rows = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in body
        )
        table = f"<table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>"
        rest = "".join(f"<p>{html.escape(line)}</p>" for line in self._rest())
        return f"<p>{html.escape(self._title())}</p>{table}{rest}"

    def _title(self) -> str:
        return f"Prediction of {len(self)} rows, {self.kind}"

    def _rest(self) -> list[str]:
        hidden = len(self) - _N_SHOWN
        return [f"... {hidden} more rows"] if hidden > 0 else []

    def _rows(self) -> list[list[str]]:
        """Head and first rows of the table, as text."""
        columns = self._columns()
        shown = [[_text(value) for value in column[:_N_SHOWN]] for column in columns.values()]
        return [list(columns), *(list(row) for row in zip(*shown, strict=True))]

    def _columns(self) -> dict[str, NDArray[Any]]:
        optional: dict[str, NDArray[Any] | None] = {
            **self._named("truth", self.truth),
            **self._named("response", self.response),
            **self._named("prob", self.prob),
            "se": self.se,
            **{f"q{level:g}": values for level, values in (self.quantiles or {}).items()},
            "weight": self.weights,
        }
        kept = {name: values for name, values in optional.items() if values is not None}
        return {"row_id": self.row_ids, **kept}

    def _named(self, name: str, values: NDArray[Any] | None) -> dict[str, NDArray[Any] | None]:
        """The columns of a matrix, named by class or target."""
        if values is None or values.ndim == 1:
            return {name: values}
        labels = (self.classes or ()) if self.targets is None else self.targets
        return {f"{name}.{label}": part for label, part in zip(labels, values.T, strict=True)}


def _check_alike(parts: Sequence[Prediction]) -> None:
    if not parts:
        raise DataError("There are no predictions to put together.")
    if len({(part.kind, part.classes, part.positive, part.targets) for part in parts}) > 1:
        raise DataError(
            "Predictions of different kinds or classes cannot be put together.",
            why="; ".join(
                dict.fromkeys(f"{part.kind} {part.classes or part.targets or ''}" for part in parts)
            ),
        )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_STACKED = ("row_ids", "response", "prob", "weights", "se")
