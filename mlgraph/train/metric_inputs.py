"""What a metric is given of a prediction: truth, codes of classes and weights, all checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlgraph.data.prediction import Prediction
from mlgraph.errors import DataError, listing

Array: TypeAlias = NDArray[Any]


def known_truth(prediction: Prediction) -> Array:
    """The truth of all rows.

    Raises:
        DataError: It is not known, or there are no rows.

    >>> known_truth(Prediction.regression([0], [1.0], [2.0]))
    array([2.])
    """
    truth = prediction.truth
    if truth is None:
        raise DataError(
            "There is no truth to score the prediction against.",
            why="the data that was predicted had no target, or no value of it is known",
            mend="predict data with the target column",
        )
    if len(truth) == 0:
        raise DataError("A prediction of no rows has no score.")
    missing = _missing(truth)
    if missing.any():
        ids = ", ".join(map(str, prediction.row_ids[missing][:5]))
        raise DataError(
            f"The truth of {int(missing.sum())} rows is missing, so they cannot be scored.",
            why=f"the first of {len(truth)} rows without truth are {ids}",
            mend="score only the rows whose target is known",
        )
    return truth


def check_finite(name: str, *values: Any) -> None:
    """Refuse numbers that are NaN or infinite; arrays, several of them, or arrays by level.

    Raises:
        DataError: Names the metric.

    >>> check_finite("rmse", np.ones(2), (np.ones(2), np.zeros(2)))
    """
    for value in values:
        parts = value.values() if isinstance(value, Mapping) else value
        numbers = parts if isinstance(parts, np.ndarray) else np.stack([*parts])
        finite = np.isfinite(numbers) if numbers.dtype.kind == "f" else np.True_
        if not finite.all():
            raise DataError(
                f"Metric {name!r} is not defined for numbers that are not finite.",
                why=f"{np.size(finite) - np.count_nonzero(finite)} of {np.size(finite)} are NaN "
                "or infinite",
                mend="score the rows of which truth and prediction are known",
            )


def _missing(truth: Array) -> NDArray[np.bool_]:
    """The rows of which a target is unknown."""
    if truth.dtype.kind in "bUSiu":  # there is no word for unknown
        return np.zeros(len(truth), dtype=bool)
    cells = truth.reshape(len(truth), -1)
    unknown: Any = np.isnan(cells) if truth.dtype.kind == "f" else _null(cells)
    found: NDArray[np.bool_] = unknown.any(axis=1)
    return found


def _null(cells: Array) -> Array:
    flat = pc.is_null(pa.array(cells.reshape(-1)), nan_is_null=True)
    found: Array = flat.to_numpy(zero_copy_only=False).reshape(cells.shape)
    return found


def order_of(prediction: Prediction) -> list[int]:
    """Places of the classes, the positive one of two last, so that its code is 1.

    >>> order_of(Prediction.classification([0], [[0.2, 0.8]], ("u", "v"), positive="u"))
    [1, 0]
    """
    classes = prediction.classes or ()
    flipped = len(classes) == 2 and prediction.positive == classes[0]
    return [1, 0] if flipped else list(range(len(classes)))


def codes_of(labels: Array, classes: list[Any]) -> NDArray[np.int64]:
    """The place of each label among the classes.

    Raises:
        DataError: One is none of them.

    >>> codes_of(np.array(["v", "u"]), ["u", "v"])
    array([1, 0])
    """
    known = pa.array(classes)
    try:
        places = pc.index_in(pa.array(labels, type=known.type), value_set=known)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            "The labels are not those of the classes.",
            why=f"the classes are {listing(classes)}; {error}",
        ) from error
    codes = np.asarray(places.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
    if (codes < 0).any():
        strange = labels[np.argmax(codes < 0)]
        raise DataError(f"{strange!r} is not a class.", why=f"the classes are {listing(classes)}")
    return codes


def check_present(name: str, codes: NDArray[np.int64], classes: list[Any]) -> None:
    """Refuse rows among which a class is absent.

    Raises:
        DataError: Names the metric and the classes.

    >>> check_present("roc_auc", np.array([0, 1]), ["u", "v"])
    """
    absent = [label for code, label in enumerate(classes) if not (codes == code).any()]
    if absent:
        raise DataError(
            f"Metric {name!r} is not defined: no row has class {listing(absent)}.",
            why="it compares the rows of each class with all others",
            mend="score more rows together, stratify, or use another metric",
        )


def check_both(name: str, truth: Array, labels: Sequence[str]) -> None:
    """Refuse rows that all have a label, or all lack it.

    Raises:
        DataError: Names the metric and the labels.

    >>> check_both("roc_auc", np.array([[0], [1]]), ["red"])
    """
    constant = [label for label, part in zip(labels, truth.T, strict=True) if np.ptp(part) == 0]
    if constant:
        raise DataError(
            f"Metric {name!r} is not defined: label {listing(constant)} is the same in all rows.",
            why="it compares the rows that have a label with those that have not",
            mend="score more rows together, or use another metric",
        )


def weights_for(function: Callable[..., Any], prediction: Prediction) -> dict[str, Any]:
    """The row weights as an argument, if there are any and the function knows what they are.

    >>> weights_for(np.average, Prediction.regression([0], [1.0], weights=[2.0]))
    {}
    """
    if prediction.weights is None:
        return {}
    try:
        takes = "sample_weight" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        takes = False
    return {"sample_weight": prediction.weights} if takes else {}
