"""Rows by position and by id."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlgraph.errors import DataError

Ints = NDArray[np.int64]


def check_row_ids(row_ids: ArrayLike | None, n_rows: int) -> Ints:
    """Row ids as a fresh int64 array, by default 0, 1, 2, ...

    >>> check_row_ids(None, 3)
    array([0, 1, 2])
    """
    if row_ids is None:
        return np.arange(n_rows, dtype=np.int64)
    ids = _integers(row_ids, "Row ids").copy()
    if len(ids) != n_rows:
        raise DataError(f"There are {len(ids)} row ids for {n_rows} rows.")
    return ids


def positions_of(positions: ArrayLike | slice | range, n_rows: int) -> Ints:
    """Positions as an int64 array, all of them within the rows.

    >>> positions_of(slice(1, None), 3)
    array([1, 2])
    """
    if isinstance(positions, slice):
        positions = range(*positions.indices(n_rows))
    found = _integers(positions, "Positions")
    outside = found[(found < 0) | (found >= n_rows)]
    if len(outside):
        raise DataError(
            f"There is no row at position {outside[0]}.", why=f"positions are 0 to {n_rows - 1}"
        )
    return found


def find_rows(row_ids: Ints, wanted: ArrayLike) -> Ints:
    """Positions of the rows with these ids; every copy of a repeated row.

    Raises:
        DataError: An id is not there.

    >>> find_rows(np.array([7, 8, 7]), [8, 7])
    array([1, 0, 2])
    """
    ids = _integers(wanted, "Row ids")
    order = np.argsort(row_ids, kind="stable")
    first = np.searchsorted(row_ids, ids, side="left", sorter=order)
    counts = np.searchsorted(row_ids, ids, side="right", sorter=order) - first
    absent = ids[counts == 0]
    if len(absent):
        raise DataError(
            f"Row {absent[0]} is not here.",
            why=f"{len(absent)} of {len(ids)} row ids are not among the {len(row_ids)} rows",
            mend="Row ids are stable; for positions use take().",
        )
    starts = np.repeat(first - np.cumsum(counts) + counts, counts)
    found: Ints = order[starts + np.arange(len(starts))].astype(np.int64)
    return found


def align_positions(here: Ints, there: Ints) -> Ints:
    """Positions that bring the rows there into the order they have here.

    Raises:
        DataError: The rows are not the same, or some repeat.

    >>> align_positions(np.array([1, 2]), np.array([2, 1]))
    array([1, 0])
    """
    unique = np.unique(here)
    if len(unique) == len(here) == len(there) and np.array_equal(unique, np.sort(there)):
        return find_rows(there, here)
    common = min(len(here), len(there))
    differ = np.flatnonzero(here[:common] != there[:common])
    place = int(differ[0]) if len(differ) else common
    raise DataError(
        "The rows of two tasks cannot be aligned.",
        why=f"{len(here)} and {len(there)} rows; at position {place}, "
        f"{_at(here, place)} and {_at(there, place)}",
        mend="Branches that meet must have the same rows, none of them twice.",
    )


def repeats(row_ids: Ints) -> bool:
    """Whether a row occurs more than once.

    >>> repeats(np.array([2, 1, 2]))
    True
    """
    steps = np.diff(row_ids)
    if bool(np.all(steps > 0)):
        return False
    return bool(np.any(np.diff(np.sort(row_ids)) == 0))


def _integers(values: Any, what: str) -> Ints:
    array = np.asarray(values)
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        mask = array.dtype.kind == "b"
        raise DataError(
            f"{what} are integers in one dimension.",
            why=f"an array of {array.dtype} and shape {array.shape} arrived",
            mend="Turn a mask into positions with numpy.flatnonzero(mask)." if mask else "",
        )
    return array.astype(np.int64)


def _at(row_ids: Ints, place: int) -> str:
    return f"row {row_ids[place]}" if place < len(row_ids) else "no row"
