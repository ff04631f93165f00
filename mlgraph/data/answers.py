"""The arrays of a prediction: checked, made from codes, and put one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlgraph.errors import DataError

Floats: TypeAlias = NDArray[np.float64]
Label: TypeAlias = str | int | bool

_TOLERANCE = {"float16": 1e-2, "float32": 1e-5}


def probabilities_of(prob: NDArray[Any], n_rows: int, classes: tuple[Label, ...]) -> Floats:
    """Probabilities of classes as float64.

    Raises:
        DataError: They are none, or their shape does not fit.

    >>> probabilities_of(np.array([[0.5, 0.5]]), 1, ("a", "b"))
    array([[0.5, 0.5]])
    """
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


def labels_of(codes: ArrayLike | None, classes: tuple[Label, ...]) -> NDArray[Any] | None:
    """Labels of codes; an object array with ``None`` if some are unknown, ``None`` if all are.

    >>> labels_of([0, -1], ("a", "b"))
    array(['a', None], dtype=object)
    """
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


def truths_of(values: ArrayLike | None) -> NDArray[Any] | None:
    """Booleans of 0 and 1; with ``None`` for NaN if some are unknown, ``None`` if all are.

    >>> truths_of([[0.0, float("nan")]])
    array([[False, None]], dtype=object)
    """
    known = known_floats(values)
    if known is None:
        return None
    unknown = np.isnan(known)
    if not unknown.any():
        return known > 0.5
    found = (known > 0.5).astype(object)
    found[unknown] = None
    return found


def known_floats(values: ArrayLike | None) -> Floats | None:
    """Quantities as float64, NaN where unknown; ``None`` if all are.

    >>> known_floats([float("nan")]) is None
    True
    """
    known = floats(values)
    unknown = known is None or (len(known) > 0 and bool(np.isnan(known).all()))
    return None if unknown else known


def floats(values: ArrayLike | None) -> Floats | None:
    """Values as float64, if there are any.

    >>> floats([1])
    array([1.])
    """
    return None if values is None else np.asarray(values, dtype=np.float64)


def matrix_of(name: str, values: ArrayLike, n_rows: int, n_columns: int) -> Floats:
    """Values as a float64 matrix.

    Raises:
        DataError: It has another shape.

    >>> matrix_of("response", [[1, 2]], 1, 2)
    array([[1., 2.]])
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (n_rows, n_columns):
        raise DataError(
            f"Values of {name!r} of shape {found.shape} do not fit.",
            why=f"{n_rows} rows and {n_columns} targets make {(n_rows, n_columns)}",
        )
    return found


def levels_of(quantiles: Mapping[float, ArrayLike], n_rows: int) -> dict[float, Floats]:
    """Quantiles by level, read only.

    >>> levels_of({0.5: [1]}, 1)
    {0.5: array([1.])}
    """
    levels = {float(level): np.array(values, np.float64) for level, values in quantiles.items()}
    for level, values in levels.items():
        check_length(f"quantile {level:g}", values, n_rows)
        values.flags.writeable = False
    return levels


def check_length(name: str, values: NDArray[Any], n_rows: int) -> None:
    """Raise unless there is one value per row.

    >>> check_length("truth", np.zeros(2), 2)
    """
    if len(values) != n_rows:
        raise DataError(f"A prediction of {n_rows} rows has {len(values)} values of {name!r}.")


def read_only(values: NDArray[Any]) -> NDArray[Any]:
    """The same values where nobody can write.

    >>> read_only(np.zeros(1)).flags.writeable
    False
    """
    if not values.flags.writeable and values.flags.owndata:
        return values
    own = values.copy()
    own.flags.writeable = False
    return own


def stacked(values: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """One after the other, if none is missing.

    >>> stacked([np.zeros(1), None]) is None
    True
    """
    known = [value for value in values if value is not None]
    return np.concatenate(known) if len(known) == len(values) else None


def stacked_truth(
    parts: Sequence[NDArray[Any] | None], rows: Sequence[int], quantities: bool
) -> NDArray[Any] | None:
    """One after the other, unknown (NaN or ``None``) where a part has none.

    >>> stacked_truth([np.zeros(1), None], [1, 1], quantities=True)
    array([ 0., nan])
    """
    template = next((part for part in parts if part is not None), None)
    if template is None:
        return None
    missing, dtype = (np.nan, np.float64) if quantities else (None, object)
    filled = [
        np.full((n, *template.shape[1:]), missing, dtype=dtype) if part is None else part
        for part, n in zip(parts, rows, strict=True)
        if n or part is not None
    ]
    return np.concatenate(filled)


def stacked_quantiles(
    values: Sequence[Mapping[float, Floats] | None],
) -> dict[float, Floats] | None:
    """One after the other, if all have the same levels.

    >>> stacked_quantiles([{0.5: np.zeros(1)}, None]) is None
    True
    """
    known = [value for value in values if value is not None]
    if len(known) < len(values) or len({tuple(value) for value in known}) != 1:
        return None
    return {level: np.concatenate([value[level] for value in known]) for level in known[0]}
