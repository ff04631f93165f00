"""Tables of any origin as named Arrow columns.

What counts: anything with the Arrow PyCapsule interface (pandas, polars, DuckDB, Arrow), mappings
of columns, two-dimensional arrays, a pair ``(X, y)`` of these, and paths of CSV, Parquet and Arrow
files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import pyarrow as pa
import torch

from mlgraph.data.column import Column
from mlgraph.data.levels import declared_in, declares, in_order
from mlgraph.data.normalise import normalise
from mlgraph.data.reading import read_path
from mlgraph.errors import DataError, listing

Wanted: TypeAlias = "Collection[str] | None"

_UNNAMED = "Name the column; the index of a data frame stays out with to_csv(..., index=False)."


@attrs.frozen(eq=False)
class Ingested:
    """Columns and what else a table says.

    Args:
        columns: Columns by name.
        n_rows: Number of rows; there may be rows without columns.
        target: Names of the columns of ``y``, if the table was a pair ``(X, y)``.
        positional: Whether names were invented, as the columns of an array have none.
        others: Names of the columns that were not wanted, and so not read.
    """

    columns: dict[str, Column]
    n_rows: int
    target: tuple[str, ...] = ()
    positional: bool = False
    others: tuple[str, ...] = ()


def ingest(
    data: Any,
    targets: tuple[str, ...] = (),
    *,
    copy: bool = True,
    wanted: Wanted = None,
) -> Ingested:
    """The columns of a table of any origin.

    Args:
        data: The table.
        targets: What to call the columns of ``y``, if the table is a pair ``(X, y)``.
        copy: Whether memory that others can write to is copied.
        wanted: The columns to read, where the table has names; whatever the others are called and
            hold is no matter. By default all.

    Raises:
        DataError: This is no table, or a column has a type a task cannot hold.

    >>> ingest({"a": [1, 2]}).columns["a"].kind
    'int'
    >>> ingest({"a": [1, 2], 7.5: [b"?", {}]}, wanted={"a"}).others
    ('7.5',)
    """
    if isinstance(data, tuple):
        return _pair(data, targets, copy, wanted)
    if isinstance(data, str | Path):
        data = read_path(Path(data))
    if isinstance(data, Mapping):
        return _mapping(data, copy, wanted)
    if _is_pandas(data):
        return _pandas(data, copy, wanted)
    if hasattr(data, "__arrow_c_stream__") or isinstance(data, pa.RecordBatch):
        return _table(data, wanted)
    if hasattr(data, "__array__"):
        return _matrix(np.asarray(data), copy, wanted)
    raise _no_table(data)


def to_column(name: str, values: Any, *, copy: bool = True) -> Column:
    """One column from Arrow data, an array, a series or a list.

    >>> to_column("a", [1.0, float("nan")]).missing
    1
    """
    values = values.__mlgraph_column__() if hasattr(values, "__mlgraph_column__") else values
    if isinstance(values, Column):
        return values
    return Column.of(normalise(name, _chunked(name, values, copy)))


def _arrived(name: str, values: Any, *, copy: bool = True) -> Column:
    """The same, with levels sorted that came in the order of the rows."""
    if declares(values):
        return to_column(name, values, copy=copy)
    data = _chunked(name, values, copy)
    return Column.of(in_order(normalise(name, data), data.type))


def _table(data: Any, wanted: Wanted) -> Ingested:
    try:
        table = data if isinstance(data, pa.Table) else pa.table(_narrowed(data, wanted))
    except (pa.ArrowException, TypeError, ValueError) as problem:
        raise _no_table(data, str(problem)) from problem
    table = _without_index(table)
    places, others = _chosen(table.column_names, wanted)
    kept = declared_in(data, table)
    columns = {
        name: (to_column if name in kept else _arrived)(name, table.column(i))
        for name, i in places.items()
    }
    return Ingested(columns, table.num_rows, others=others)


def _narrowed(data: Any, wanted: Wanted) -> Any:
    """The wanted columns of a frame of polars, whose columns of objects Arrow cannot take."""
    if wanted is None or type(data).__module__.partition(".")[0] != "polars":
        return data
    names = getattr(data, "columns", [])
    return data.select([name for name in names if name in wanted]) if names else data


def _without_index(table: pa.Table) -> pa.Table:
    """Leave out the unnamed index that pandas stores along with a table."""
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    unnamed = [name for name in index if str(name).startswith("__index_level_")]
    return table.drop_columns([name for name in unnamed if name in table.column_names])


def _pandas(frame: Any, copy: bool, wanted: Wanted) -> Ingested:
    if not hasattr(frame, "columns"):
        raise _no_table(frame, "it is one column", 'Name it: Task({"x": series}).')
    places, others = _chosen(frame.columns, wanted)
    columns = {name: _arrived(name, frame.iloc[:, i], copy=copy) for name, i in places.items()}
    return Ingested(columns, len(frame), others=others)


def _mapping(data: Mapping[Any, Any], copy: bool, wanted: Wanted) -> Ingested:
    places, others = _chosen(data, wanted)
    values = list(data.values())
    columns = {name: _arrived(name, values[i], copy=copy) for name, i in places.items()}
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(
            "The columns differ in length.",
            why=", ".join(f"{name!r} has {size}" for name, size in sizes.items()),
            mend="Give every column one value per row.",
        )
    rows = next(iter(sizes.values()), _length(values))
    return Ingested(columns, rows, others=others)


def _length(values: list[Any]) -> int:
    """The number of rows where no column is wanted."""
    sized = (value for value in values if hasattr(value, "__len__"))
    return next((len(value) for value in sized if not isinstance(value, str | bytes)), 0)


def _matrix(array: Any, copy: bool, wanted: Wanted) -> Ingested:
    if array.dtype.names:  # a structured array brings its names
        return _mapping({name: array[name] for name in array.dtype.names}, copy, wanted)
    if array.ndim != 2:
        raise DataError(
            f"An array of shape {array.shape} is not a table.",
            why="a table has two dimensions: rows and columns",
            mend='Name the columns: Task({"image": images, "label": labels}, target="label").',
        )
    columns = {f"x{i}": array[:, i] for i in range(array.shape[1])}
    return attrs.evolve(_mapping(columns, copy, None), n_rows=len(array), positional=True)


def _pair(data: tuple[Any, ...], targets: tuple[str, ...], copy: bool, wanted: Wanted) -> Ingested:
    if len(data) != 2:
        raise _no_table(data, f"a pair (X, y) has two members, this has {len(data)}")
    rest = ingest(data[0], copy=copy, wanted=wanted)
    if data[1] is None:
        return rest
    columns = _columns_of_y(data[1], targets, copy)
    for name, column in columns.items():
        _check_pair(rest, name, column)
    return attrs.evolve(rest, columns={**rest.columns, **columns}, target=tuple(columns))


def _columns_of_y(y: Any, targets: tuple[str, ...], copy: bool) -> dict[str, Column]:
    """One column, or several of a table or of a matrix whose columns the targets name."""
    matrix = getattr(y, "ndim", 1) == 2 and len(targets) > 1
    if matrix or isinstance(y, Mapping) or (_is_pandas(y) and hasattr(y, "columns")):
        found = ingest(y, copy=copy)
        if targets and len(targets) != len(found.columns):
            raise DataError(
                f"y has {len(found.columns)} columns, and {len(targets)} targets are named.",
                mend="Name each column of y once.",
            )
        named = found.positional or len(targets) == 1
        names = targets if named and targets else tuple(found.columns)
        if targets and set(names) != set(targets):
            raise DataError(f"y has columns {listing(names)}, the targets are {listing(targets)}.")
        return dict(zip(names, found.columns.values(), strict=True))
    name = targets[0] if targets else getattr(y, "name", None)
    name = name if isinstance(name, str) and name else "target"
    return {name: _arrived(name, y, copy=copy)}


def _check_pair(rest: Ingested, name: str, column: Column) -> None:
    if name in rest.columns:
        raise DataError(
            f"X has a column {name!r} already, so y cannot be called that.",
            mend='Name y: Task((X, y), target="...").',
        )
    if len(column) != rest.n_rows:
        raise DataError("X and y differ in length.", why=f"{rest.n_rows} and {len(column)} rows")


def _chunked(name: str, values: Any, copy: bool) -> pa.ChunkedArray:
    try:
        return _to_arrow(values, copy)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as problem:
        raise DataError(
            f"Column {name!r} cannot be read as values of one type.",
            where=f"column {name!r}",
            why=str(problem).splitlines()[0] if str(problem) else type(problem).__name__,
            mend=_remedy(values),
        ) from problem


def _remedy(values: Any) -> str:
    if not _is_sequence(values):
        return "Give a list, also of one row: [1.0]."
    dtype = getattr(values, "dtype", None)
    if str(dtype).startswith("Sparse"):
        return "It is sparse: densify it, with series.sparse.to_dense()."
    if getattr(dtype, "kind", "") == "c":
        return "Its numbers are complex: split them into real and imaginary parts, two columns."
    return "Make its values all numbers, all strings, all booleans or all dates."


def _to_arrow(values: Any, copy: bool) -> pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return values
    if isinstance(values, pa.Array):
        return pa.chunked_array([values])
    if _is_pandas(values):
        values = values.copy() if copy else values
        array = pa.Array.from_pandas(values)
        return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    if hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__"):
        return pa.chunked_array(values)
    return pa.chunked_array([_from_python(values, copy)])


def _is_sequence(values: Any) -> bool:
    return hasattr(values, "__len__") and not isinstance(values, str | bytes | Mapping | Set)


def _from_python(values: Any, copy: bool) -> pa.Array:
    if not _is_sequence(values):
        raise TypeError(f"a column is a sequence of values, not {type(values).__name__}")
    if not hasattr(values, "__array__"):
        return pa.array(list(values), from_pandas=True)
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.array(values) if copy else np.asarray(values)
    if array.ndim == 0:
        raise TypeError("a column is a sequence of values, not one value")
    if array.ndim > 1:
        return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))
    return pa.array(array, from_pandas=True)


def _chosen(names: Iterable[Any], wanted: Wanted) -> tuple[dict[str, int], tuple[str, ...]]:
    """The places of the wanted names, each of which is there once; and the other names."""
    given = list(names)
    places = [i for i, name in enumerate(given) if wanted is None or _is_name(name, wanted)]
    taken = frozenset(places)
    checked = _checked([given[i] for i in places])
    others = (str(name) for i, name in enumerate(given) if i not in taken)
    return dict(zip(checked, places, strict=True)), tuple(others)


def _is_name(name: Any, wanted: Collection[str]) -> bool:
    return isinstance(name, str | int) and str(name) in wanted


def _checked(given: list[Any]) -> list[str]:
    """Names as strings, each once, none empty."""
    strange = [name for name in given if not isinstance(name, str | int) or name == ""]
    if strange:
        raise DataError(
            f"{strange[0]!r} cannot be the name of a column.",
            why="a name is a string that is not empty",
            mend="Rename the column." if strange[0] != "" else _UNNAMED,
        )
    words = [str(name) for name in given]
    twice = [word for word, count in Counter(words).items() if count > 1]
    if twice:
        raise DataError(
            f"Several columns are called {twice[0]!r}.",
            why=f"names that occur more than once: {listing(twice)}",
            mend="Rename them, or keep one of each.",
        )
    return words


def _is_pandas(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "pandas"


def _no_table(data: Any, why: str = "", mend: str = "") -> DataError:
    return DataError(
        f"A Task cannot be made from {type(data).__name__}.",
        why=why or "a data frame, an Arrow table, columns by name, an array or a path is expected",
        mend=mend
        or ("Collect it first: data.collect()." if hasattr(data, "collect") else "")
        or 'Try a dict of columns: Task({"x": [1.0, 2.0], "y": ["a", "b"]}, target="y").',
    )
