"""Prediction: what a model said about rows, next to what is true of them."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from mlgraph.data.goal import Label
from mlgraph.errors import DataError

Floats = NDArray[np.float64]

_N_SHOWN = 6


@attrs.frozen(eq=False, repr=False)
class Prediction:
    """Predictions of one model, one per row; made by ``classification`` or ``regression``.

    Args:
        row_ids: Ids of the rows, int64.
        kind: ``"classification"`` or ``"regression"``.
        response: Predicted labels, or quantities as float64.
        prob: Probabilities, float64 ``(rows, classes)`` in the order of ``classes``.
        truth: True labels or quantities; ``None`` where unknown (NaN in regression), ``None``
            altogether if there is no truth at all.
        classes: The classes in order.
        positive: The positive one of two classes.
        weights: Row weights, float64.
        se: Standard errors of the response, float64.
        quantiles: Quantiles of the response by level, float64 each.

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

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(Prediction):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, _read_only(value))
                _check_length(field.name, value, len(self.row_ids))

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
        checked = _probabilities(np.asarray(prob), len(ids), known)
        labels = np.array(known)
        return Prediction(
            ids,
            "classification",
            labels[np.argmax(checked, axis=1)] if known else labels[:0],
            prob=checked,
            truth=_labels_of(truth_codes, known),
            classes=known,
            positive=known[1] if positive is None and len(known) == 2 else positive,
            weights=_floats(weights),
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
        true = _floats(truth)
        unknown = true is None or (len(true) > 0 and bool(np.isnan(true).all()))
        return Prediction(
            np.asarray(row_ids, dtype=np.int64),
            "regression",
            np.asarray(response, dtype=np.float64),
            truth=None if unknown else true,
            weights=_floats(weights),
            se=_floats(se),
            quantiles=None if quantiles is None else _levels(quantiles, np.size(row_ids)),
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
            name: _stack([getattr(part, name) for part in parts]) for name in _STACKED
        }
        quantiles = _stack_quantiles([part.quantiles for part in parts])
        truth = _stack_truth(parts)
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
        optional = {"truth": self.truth, "response": self.response}
        if self.prob is not None:
            names = [f"prob.{label}" for label in self.classes or ()]
            optional |= dict(zip(names, self.prob.T, strict=True))
        optional |= {"se": self.se}
        optional |= {f"q{level:g}": values for level, values in (self.quantiles or {}).items()}
        optional |= {"weight": self.weights}
        kept = {name: values for name, values in optional.items() if values is not None}
        return {"row_id": self.row_ids, **kept}


def _probabilities(prob: NDArray[Any], n_rows: int, classes: tuple[Label, ...]) -> Floats:
    expected = (n_rows, len(classes))
    if prob.shape != expected:
        raise DataError(
            f"Probabilities of shape {prob.shape} do not fit.",
            why=f"{n_rows} rows and {len(classes)} classes make {expected}",
        )
    tolerance = _TOLERANCE.get(prob.dtype.name, 1e-6)
    values = prob.astype(np.float64)
    if n_rows == 0:
        return values
    wrong = ~(np.abs(values.sum(axis=1) - 1) <= tolerance) | (values < -tolerance).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{int(wrong.sum())} rows of probabilities are none.",
            why=f"at position {row} they are {values[row].tolist()}, their sum {values[row].sum()}",
            mend="Pass numbers of at least 0 that sum to 1, such as the output of a softmax.",
        )
    return values


def _labels_of(codes: ArrayLike | None, classes: tuple[Label, ...]) -> NDArray[Any] | None:
    """Labels of codes; an object array with ``None`` if some are unknown, ``None`` if all are."""
    if codes is None:
        return None
    places = np.asarray(codes, dtype=np.int64)
    if len(places) and places.max() >= len(classes):
        raise DataError(f"There is no class {places.max()}.", why=f"there are {len(classes)}")
    if len(places) and (places < 0).all():
        return None
    if (places >= 0).all():
        return np.array(classes)[places]
    return np.array([*classes, None], dtype=object)[np.maximum(places, -1)]


def _floats(values: ArrayLike | None) -> Floats | None:
    return None if values is None else np.asarray(values, dtype=np.float64)


def _levels(quantiles: Mapping[float, ArrayLike], n_rows: int) -> dict[float, Floats]:
    levels = {float(level): np.array(values, np.float64) for level, values in quantiles.items()}
    for level, values in levels.items():
        _check_length(f"quantile {level:g}", values, n_rows)
        values.flags.writeable = False
    return levels


def _check_length(name: str, values: NDArray[Any], n_rows: int) -> None:
    if len(values) != n_rows:
        raise DataError(f"A prediction of {n_rows} rows has {len(values)} values of {name!r}.")


def _check_alike(parts: Sequence[Prediction]) -> None:
    if not parts:
        raise DataError("There are no predictions to put together.")
    if len({(part.kind, part.classes, part.positive) for part in parts}) > 1:
        raise DataError(
            "Predictions of different kinds or classes cannot be put together.",
            why="; ".join(dict.fromkeys(f"{part.kind} {part.classes or ''}" for part in parts)),
        )


def _stack(values: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    known = [value for value in values if value is not None]
    return np.concatenate(known) if len(known) == len(values) else None


def _stack_truth(parts: Sequence[Prediction]) -> NDArray[Any] | None:
    if all(part.truth is None for part in parts):
        return None
    missing: Any = np.nan if parts[0].kind == "regression" else None
    dtype = np.float64 if missing is not None else object
    filled = [
        np.full(len(part), missing, dtype=dtype) if part.truth is None else part.truth
        for part in parts
        if len(part) or part.truth is not None
    ]
    return np.concatenate(filled)


def _stack_quantiles(
    values: Sequence[Mapping[float, Floats] | None],
) -> dict[float, Floats] | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or len({tuple(value) for value in known}) != 1:
        return None
    return {level: np.concatenate([value[level] for value in known]) for level in known[0]}


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    if not values.flags.writeable and values.flags.owndata:
        return values
    own = values.copy()
    own.flags.writeable = False
    return own


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_STACKED = ("row_ids", "response", "prob", "weights", "se")

_TOLERANCE = {"float16": 1e-2, "float32": 1e-5}
