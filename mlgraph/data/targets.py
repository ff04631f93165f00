"""Columns as targets: read as numbers, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlgraph.data.answers import Label
from mlgraph.data.column import Column
from mlgraph.data.normalise import codes_of
from mlgraph.errors import DataError, listing


def numbers(column: Column) -> NDArray[np.float64]:
    """The values of a numeric or boolean column as float64, missing ones as NaN.

    >>> numbers(Column.of(pa.chunked_array([[1, None]])))
    array([ 1., nan])
    """
    return np.asarray(column.array().cast(pa.float64()).to_numpy(), dtype=np.float64)


def class_codes(column: Column, classes: tuple[Label, ...]) -> NDArray[np.int64]:
    """Places of the values among the classes, -1 where missing or unknown.

    >>> class_codes(Column.of(pa.chunked_array([[3, 1, None]])), (1, 3))
    array([ 1,  0, -1])
    """
    array = column.array()
    if column.levels is None:
        known = pa.array(list(classes), column.type)
        codes = pc.index_in(array, value_set=known, skip_nulls=True)
        return np.asarray(codes.fill_null(-1).to_numpy(), dtype=np.int64)
    place = {label: i for i, label in enumerate(classes)}
    table = np.array([*(place.get(level, -1) for level in column.levels), -1], dtype=np.int64)
    return np.asarray(table[codes_of(array).fill_null(-1).to_numpy()], dtype=np.int64)


def classes_in(column: Column) -> tuple[Label, ...]:
    """The classes of a column: declared levels, or the values, sorted.

    >>> classes_in(Column.of(pa.chunked_array([[3, 1, 3]])))
    (1, 3)
    """
    if column.levels is not None:
        return column.levels
    if column.kind == "bool":
        return (False, True)
    return tuple(sorted(pc.unique(column.array()).drop_null().to_pylist()))


def check_column(
    name: str,
    column: Column,
    row_ids: NDArray[np.int64],
    accepts: Sequence[str],
    kind: str | None = None,
) -> None:
    """Raise unless the column has one of these types, and no value is missing or infinite.

    >>> y = Column.of(pa.chunked_array([[1.0, 2.0]]))
    >>> check_column("y", y, np.arange(2), ["float"], "regression")
    """
    if column.kind not in accepts:
        raise unfit(name, column, accepts, kind)
    if column.missing:
        rows = first_rows(row_ids[~_mask(pc.is_valid(column.array()))])
        raise DataError(
            f"Target {name!r} has {column.missing} missing values.",
            where=f"column {name!r}",
            why=f"rows {rows} have none",
            mend="Drop these rows; in data to predict the target may be missing.",
        )
    if column.kind == "float":
        check_finite(name, "Target", column, row_ids)


def check_finite(name: str, what: str, column: Column, row_ids: NDArray[np.int64]) -> None:
    """Raise if a value is infinite.

    >>> check_finite("y", "Target", Column.of(pa.chunked_array([[1.0]])), np.arange(1))
    """
    infinite = _mask(pc.is_inf(column.array().cast(pa.float64())).fill_null(False))
    if infinite.any():
        raise DataError(
            f"{what} {name!r} has {int(infinite.sum())} infinite values.",
            where=f"column {name!r}",
            why=f"rows {first_rows(row_ids[infinite])}",
            mend="Drop these rows or replace the values.",
        )


def check_varies(name: str, column: Column) -> None:
    """Raise unless a target of classes has at least two values.

    >>> check_varies("y", Column.of(pa.chunked_array([[True, False]])))
    """
    seen = pc.unique(column.array()).to_pylist()
    if len(seen) > 1:
        return
    raise DataError(
        f"Target {name!r} is always {seen[0]!r}: nothing to learn."
        if seen
        else f"Target {name!r} has no values: nothing to learn.",
        where=f"column {name!r}",
        why="a classification needs rows of at least two classes",
    )


def unfit(name: str, column: Column, accepts: Sequence[str], kind: str | None) -> DataError:
    """The error for a target of the wrong type.

    >>> unfit("y", Column.of(pa.chunked_array([[True]])), ["float"], "regression").what
    "Target 'y' of type bool does not fit regression."
    """
    classes = column.kind == "float" and "string" in accepts
    hint = " Turn floats into integers or strings first." if classes else ""
    return DataError(
        f"Target {name!r} of type {column.kind} does not fit {kind or 'any kind of task'}.",
        where=f"column {name!r}",
        why=f"a target is one of {listing(accepts)}, this is {column.kind}",
        mend=f"Choose another target or kind.{hint}",
    )


def first_rows(row_ids: NDArray[np.int64], limit: int = 5) -> str:
    """The first few row ids, and how many more there are.

    >>> first_rows(np.arange(7))
    '0, 1, 2, 3, 4 and 2 more'
    """
    more = f" and {len(row_ids) - limit} more" if len(row_ids) > limit else ""
    return ", ".join(map(str, row_ids[:limit].tolist())) + more


def _mask(array: pa.ChunkedArray) -> Any:
    return np.asarray(array.to_numpy(), dtype=bool)
