"""Columns brought to the type another one has, where nothing is lost.

int, bool -> float; integral float, bool -> int; 0 and 1 -> bool
string, int, bool, category -> category: levels of the prototype first, new ones after them
category -> string; date <-> time at midnight; anything that is all missing -> anything
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mlgraph.data.column import Column
from mlgraph.data.lazy.column import LazyTensor, append_lazy, as_lazy, match_lazy
from mlgraph.data.lazy.pending import Lazy
from mlgraph.data.normalise import categories, codes_of, missing_values
from mlgraph.errors import DataError, MLGraphError


def convert(name: str, arrived: Column, wanted: Column) -> Column:
    """The values that arrived, in the type of the wanted column.

    Raises:
        DataError: Something would be lost; names the first value that does not fit.

    >>> wanted, arrived = Column.of(pa.chunked_array([[1]])), Column.of(pa.chunked_array([[2.0]]))
    >>> convert("a", arrived, wanted).kind
    'int'
    """
    if isinstance(wanted.stored.extra, Lazy):
        return _to_lazy(name, arrived, wanted)
    if arrived.type == wanted.type and arrived.levels == wanted.levels:
        return arrived
    if arrived.missing == len(arrived):
        nothing = missing_values(wanted.type, wanted.levels, len(arrived))
        return Column.of(nothing, wanted.stored.extra)
    if isinstance(arrived.stored.extra, Lazy) and wanted.kind == "tensor":
        raise _still_lazy(name, arrived, wanted)
    change = _CHANGES.get((arrived.kind, wanted.kind))
    if change is None:
        raise _refusal(name, arrived, wanted)
    if wanted.levels is not None:
        return Column.of(_to_category(arrived, wanted))
    return Column.of(change(name, arrived, wanted))


def append(name: str, upper: Column, lower: Column) -> Column:
    """Two columns one above the other, levels merged.

    Raises:
        DataError: The types do not fit.

    >>> a, b = Column.of(pa.chunked_array([[1]])), Column.of(pa.chunked_array([[2]]))
    >>> append("a", a, b).array().to_pylist()
    [1, 2]
    """
    if isinstance(upper.stored.extra, Lazy):
        return _appended(name, upper, lower)
    lower = convert(name, lower, upper)
    above, below = upper.array(), lower.array()
    if lower.levels is not None and lower.levels != upper.levels:
        above = categories(codes_of(above), lower.levels, upper.ordered)
    joined = pa.chunked_array([*above.chunks, *below.chunks], above.type)
    return Column.of(joined, upper.stored.extra)


def _appended(name: str, upper: Column, lower: Column) -> Column:
    try:
        return append_lazy(as_lazy(upper), as_lazy(lower)).column
    except MLGraphError as error:
        raise error.at(f"column {name!r}") from None


def _still_lazy(name: str, arrived: Column, wanted: Column) -> DataError:
    return DataError(
        f"The tensors of column {name!r} are lazy here and were in memory.",
        where=f"column {name!r}",
        why=f"expected {wanted.type}, arrived {LazyTensor(arrived)!r}",
        mend="Pass them as an array: materialize(column, stacked=True).numpy().",
    )


def _to_lazy(name: str, arrived: Column, wanted: Column) -> Column:
    """Tensors from elsewhere, in memory or lazy, that have the shape of the wanted ones."""
    if not len(arrived) and arrived.kind != "tensor":
        return wanted.emptied()
    try:
        return match_lazy(as_lazy(arrived), LazyTensor(wanted)).column
    except MLGraphError as error:
        raise error.at(f"column {name!r}") from None


def _to_category(arrived: Column, wanted: Column) -> pa.ChunkedArray:
    known = wanted.levels or ()
    words = _as_words(arrived)
    seen = pc.unique(words).drop_null().to_pylist()
    order = arrived.levels if arrived.levels is not None else tuple(sorted(seen))
    fresh = set(seen) - set(known)
    levels = (*known, *(level for level in order if level in fresh))
    codes = pc.index_in(words, value_set=pa.array(levels, pa.large_string()), skip_nulls=True)
    return categories(codes, levels, wanted.ordered)


def _as_words(arrived: Column) -> pa.ChunkedArray:
    array = arrived.array()
    if arrived.kind == "bool":  # as levels are spelt that were booleans
        return pc.if_else(array, pa.scalar("True", pa.large_string()), "False")
    return array.cast(pa.large_string())


def _cast(name: str, arrived: Column, wanted: Column) -> pa.ChunkedArray:
    return arrived.array().cast(wanted.type, safe=False)


def _to_int(name: str, arrived: Column, wanted: Column) -> pa.ChunkedArray:
    array = arrived.array()
    limit = 2.0**63
    fits = pc.and_(pc.equal(array, pc.trunc(array)), pc.less(pc.abs(array), limit))
    return _checked(name, arrived, wanted, fits).cast(pa.int64())


def _to_bool(name: str, arrived: Column, wanted: Column) -> pa.ChunkedArray:
    array = arrived.array()
    fits = pc.or_(pc.equal(array, 0), pc.equal(array, 1))
    return _checked(name, arrived, wanted, fits).cast(pa.bool_())


def _to_datetime(name: str, arrived: Column, wanted: Column) -> pa.ChunkedArray:
    array = arrived.array()
    zones = [getattr(arrow, "tz", None) for arrow in (arrived.type, wanted.type)]
    if (zones[0] is None) != (zones[1] is None):
        raise _refusal(name, arrived, wanted)
    if pat.is_date(wanted.type):
        midnight = pc.equal(array, pc.floor_temporal(array, unit="day"))
        array = _checked(name, arrived, wanted, midnight)
    return array.cast(wanted.type)


def _checked(name: str, arrived: Column, wanted: Column, fits: Any) -> pa.ChunkedArray:
    array = arrived.array()
    bad = array.filter(pc.invert(fits.fill_null(True)))
    if len(bad):
        raise _refusal(name, arrived, wanted, bad[0].as_py())
    return array


def _refusal(name: str, arrived: Column, wanted: Column, value: object = None) -> DataError:
    if value is None:
        value = arrived.array().drop_null()[0].as_py()
    return DataError(
        f"Column {name!r} is {arrived.kind} here and was {wanted.kind}.",
        where=f"column {name!r}",
        why=f"expected {wanted.type}, arrived {arrived.type}; "
        f"the first value that does not fit is {_short(value)}",
        mend=f"Convert the column to {wanted.kind} before passing it.",
    )


def _short(value: object, width: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= width else f"{text[:width]}..."


_Change = Callable[[str, Column, Column], pa.ChunkedArray]

_CHANGES: dict[tuple[str, str], _Change] = {
    ("int", "float"): _cast,
    ("bool", "float"): _cast,
    ("float", "float"): _cast,
    ("bool", "int"): _cast,
    ("float", "int"): _to_int,
    ("int", "bool"): _to_bool,
    ("float", "bool"): _to_bool,
    ("category", "string"): _cast,
    ("datetime", "datetime"): _to_datetime,
    ("category", "category"): _cast,
    ("string", "category"): _cast,
    ("int", "category"): _cast,
    ("bool", "category"): _cast,
}
