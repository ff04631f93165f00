"""Arrow columns of any origin brought to the few types a task knows.

    bool                                              bool
    every width of integer                            int64
    float64; float32 and float16                      float64; float32, NaN becomes missing
    string, large_string, string_view                 large_string
    dictionary of strings, integers or booleans       dictionary<int32, string>, one for all chunks
    timestamp of any unit; date32 and date64          timestamp[us]; date32
    null                                              float64, all missing
    fixed-shape tensors, extension types of mlgraph   as they are

Everything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mlgraph.errors import DataError, listing


def normalise(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in one of the types a task knows.

    Raises:
        DataError: The type is not one that a task can hold.

    >>> print(normalise("a", pa.chunked_array([pa.array([1, 2], pa.int8())])).type)
    int64
    """
    if data.num_chunks == 0:
        data = pa.chunked_array([_no_rows(data.type)])
    if isinstance(data.type, pa.BaseExtensionType):
        return _extension(name, data)
    change = next((change for test, change in _CHANGES if test(data.type)), _refuse)
    return change(name, data)


def categories(codes: Any, levels: Sequence[str], ordered: bool) -> pa.ChunkedArray:
    """A category column from codes (an Arrow array, null where missing) and levels.

    >>> categories(pa.array([1, None], pa.int32()), ["a", "b"], False).to_pylist()
    ['b', None]
    """
    words = pa.array(list(levels), pa.string())
    codes = codes if isinstance(codes, pa.ChunkedArray) else pa.chunked_array([codes])
    chunks = [
        pa.DictionaryArray.from_arrays(chunk.cast(pa.int32()), words, ordered=ordered)
        for chunk in codes.chunks
    ]
    return pa.chunked_array(chunks)


def codes_of(data: pa.ChunkedArray) -> pa.ChunkedArray:
    """The codes of a category column, null where missing.

    >>> codes_of(pa.chunked_array([pa.array(["u", None, "u"]).dictionary_encode()])).to_pylist()
    [0, None, 0]
    """
    chunks = [chunk.indices.cast(pa.int32()) for chunk in data.chunks]
    return pa.chunked_array(chunks, pa.int32())


def missing_values(arrow: Any, levels: Sequence[str] | None, n_rows: int) -> pa.ChunkedArray:
    """A column of this type in which every value is missing.

    >>> missing_values(pa.bool_(), None, 2).to_pylist()
    [None, None]
    """
    if levels is not None:
        return categories(pa.nulls(n_rows, pa.int32()), levels, arrow.ordered)
    return pa.chunked_array([pa.nulls(n_rows, arrow)])


def _integer(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return data.cast(pa.int64())
    except pa.ArrowInvalid as problem:
        raise DataError(
            f"Column {name!r} has integers too large for 64 bits.",
            where=f"column {name!r}",
            why=str(problem),
            mend="Turn it into floats.",
        ) from problem


def _floating(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    if pat.is_float16(data.type):
        data = data.cast(pa.float32())
    nan = pc.is_nan(data)
    if not pc.any(nan).as_py():
        return data
    return pc.if_else(nan, pa.scalar(None, data.type), data)


def _text(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    return data.cast(pa.large_string())


def _timestamp(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    # Nanoseconds lose their last three digits; coarser units may overflow, which is an error.
    wanted = pa.timestamp("us", tz=data.type.tz)
    try:
        return data.cast(wanted, safe=data.type.unit != "ns")
    except pa.ArrowInvalid as problem:
        raise _cannot(name, data.type, str(problem), "Drop dates that far away.") from problem


def _date(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    return data.cast(pa.date32())


def _category(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    values = data.type.value_type
    no_levels = not any(len(chunk.dictionary) for chunk in data.chunks)
    if not (no_levels or any(test(values) for test in _LEVEL_TYPES)):
        raise _cannot(name, data.type, "levels must be words", "Turn its levels into strings.")
    ordered = bool(data.type.ordered)
    parts = [_codes_and_levels(chunk) for chunk in data.chunks]
    levels = tuple(dict.fromkeys(level for _, words in parts for level in words))
    place = {level: i for i, level in enumerate(levels)}
    codes = [_recode(codes, [place[word] for word in words]) for codes, words in parts]
    return categories(pa.chunked_array(codes, pa.int32()), levels, ordered)


def _codes_and_levels(chunk: pa.Array) -> tuple[pa.Array, list[str]]:
    """Codes and levels of a chunk; a level that is missing itself gets the code null."""
    entries = chunk.dictionary.to_pylist()
    words = [str(entry) for entry in entries if entry is not None]
    codes = chunk.indices.cast(pa.int32())
    if len(words) == len(entries):
        return codes, words
    new = np.cumsum([entry is not None for entry in entries]) - 1
    table = pa.array(
        [None if entry is None else i for i, entry in zip(new.tolist(), entries, strict=True)],
        pa.int32(),
    )
    return table.take(codes), words


def _recode(codes: pa.Array, table: list[int]) -> pa.Array:
    if table == list(range(len(table))):
        return codes
    return pa.array(table, pa.int32()).take(codes)


def _null(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(len(data), pa.float64())])


def _same(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    return data


def _extension(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    known = isinstance(data.type, pa.FixedShapeTensorType)
    if known or data.type.extension_name.startswith("mlgraph."):
        return data
    return _refuse(name, data)


def _refuse(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    known = ("float", "int", "bool", "category", "string", "datetime", "tensor")
    hint = next((hint for test, hint in _HINTS if test(data.type)), "Convert it, or leave it out.")
    raise _cannot(name, data.type, f"a column is one of {listing(known)}", hint)


def _cannot(name: str, arrow: Any, why: str, mend: str) -> DataError:
    return DataError(
        f"Column {name!r} has the type {arrow}, which a Task cannot hold.",
        where=f"column {name!r}",
        why=why,
        mend=mend,
    )


def _no_rows(arrow: Any) -> pa.Array:
    if pat.is_dictionary(arrow):
        nothing = pa.array([], arrow.index_type), pa.array([], arrow.value_type)
        return pa.DictionaryArray.from_arrays(*nothing, ordered=arrow.ordered)
    return pa.array([], arrow)


def _is_text(arrow: Any) -> bool:
    return bool(pat.is_string(arrow) or pat.is_large_string(arrow) or pat.is_string_view(arrow))


_Test = Callable[[Any], bool]
_Change = Callable[[str, pa.ChunkedArray], pa.ChunkedArray]

_LEVEL_TYPES: tuple[_Test, ...] = (_is_text, pat.is_integer, pat.is_boolean, pat.is_null)

_CHANGES: tuple[tuple[_Test, _Change], ...] = (
    (pat.is_boolean, _same),
    (pat.is_integer, _integer),
    (pat.is_floating, _floating),
    (_is_text, _text),
    (pat.is_dictionary, _category),
    (pat.is_timestamp, _timestamp),
    (pat.is_date, _date),
    (pat.is_null, _null),
)

_HINTS: tuple[tuple[_Test, str], ...] = (
    (pat.is_decimal, "Cast it to a float, for example CAST(x AS DOUBLE) or .astype(float)."),
    (pat.is_struct, "Unpack its fields into columns of their own."),
    (pat.is_nested, "Give every element a column, or pass a NumPy array of shape (rows, ...)."),
    (pat.is_binary, "Decode it to text, or make a column of lazy tensors of it."),
    (pat.is_time, "Turn it into a number, such as seconds since midnight."),
    (pat.is_duration, "Turn it into a number, such as seconds."),
)
