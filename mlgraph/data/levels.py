"""The order of levels: as the data declare it, and sorted where they declare none.

Dictionaries of Arrow and categories of polars list their levels as they first appear in the rows.
Taken as they are, the order of the rows would decide which class is the positive one.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from mlgraph.data.column import Column
from mlgraph.data.normalise import categories, codes_of

DECLARED = {b"mlgraph.levels": b"declared"}


def declares(values: Any) -> bool:
    """Whether the order of the levels of a column was chosen by someone.

    >>> declares(pa.array(["b", "a"]).dictionary_encode())
    False
    """
    if isinstance(values, Column) or hasattr(values, "__mlgraph_column__"):
        return True
    return _origin(values) == "pandas" and hasattr(getattr(values, "dtype", None), "categories")


def declared_in(data: Any, table: pa.Table) -> frozenset[str]:
    """The columns of a table of some origin whose levels have an order that was chosen.

    >>> declared_in(None, pa.table({"a": pa.array(["b", "a"]).dictionary_encode()}))
    frozenset()
    """
    if _origin(data) in ("duckdb", "_duckdb"):  # the type ENUM lists its levels
        return frozenset(table.column_names)
    described = (table.schema.pandas_metadata or {}).get("columns", [])
    pandas = {column["field_name"] for column in described if _is_categorical(column)}
    ours = {field.name for field in table.schema if _is_ours(field)}
    return frozenset(pandas | ours)


def declaring(table: pa.Table) -> pa.Table:
    """The table with a note at its categories that the order of their levels was chosen.

    >>> table = declaring(pa.table({"a": pa.array(["b", "a"]).dictionary_encode()}))
    >>> declared_in(None, table)
    frozenset({'a'})
    """
    if not any(pat.is_dictionary(field.type) for field in table.schema):
        return table
    fields = [
        field.with_metadata({**(field.metadata or {}), **DECLARED})
        if pat.is_dictionary(field.type)
        else field
        for field in table.schema
    ]
    return pa.table(table.columns, schema=pa.schema(fields, table.schema.metadata))


def in_order(data: pa.ChunkedArray, given: Any) -> pa.ChunkedArray:
    """A normalised column with its levels sorted, unless they are ordered by their type.

    Args:
        data: The column.
        given: The type it came in: levels that were numbers are sorted as numbers.

    >>> data = pa.chunked_array([pa.array(["b", "a"]).dictionary_encode()])
    >>> in_order(data, data.type).chunk(0).dictionary.to_pylist()
    ['a', 'b']
    """
    if not pat.is_dictionary(data.type) or data.type.ordered:
        return data
    levels = data.chunk(0).dictionary.to_pylist()
    wanted = sorted(levels, key=int if pat.is_integer(given.value_type) else None)
    if wanted == levels:
        return data
    place = {level: i for i, level in enumerate(wanted)}
    table = pa.array([place[level] for level in levels], pa.int32())
    codes = [table.take(chunk) for chunk in codes_of(data).chunks]
    return categories(pa.chunked_array(codes, pa.int32()), wanted, False)


def _is_categorical(column: Any) -> bool:
    """Whether pandas describes it as a Categorical, not as a dictionary of Arrow's."""
    codes = str(column.get("numpy_type", ""))
    return column.get("pandas_type") == "categorical" and not codes.startswith("dictionary")


def _is_ours(field: Any) -> bool:
    return DECLARED.items() <= (field.metadata or {}).items()


def _origin(data: Any) -> str:
    return type(data).__module__.partition(".")[0]
