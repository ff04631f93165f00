"""Contents: columns with roles and row ids, to be read and taken by row.

Everything here is a value. Taking rows composes index views; the stored Arrow data is shared and
never copied to filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

import attrs
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from mlgraph.core.value import digest
from mlgraph.data.column import Column, as_view, compose, view_key
from mlgraph.data.levels import declaring
from mlgraph.data.roles import Roles, unknown_column
from mlgraph.data.rowids import align_positions, find_rows, positions_of
from mlgraph.errors import ConfigError


@attrs.frozen(eq=False, slots=False, init=False, repr=False)
class Contents:
    """Named Arrow columns in roles, one id per row."""

    columns: Mapping[str, Column]
    row_ids: NDArray[np.int64]
    roles: Roles

    # Reading

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.row_ids)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return self.roles["feature"]

    @cached_property
    def types(self) -> Mapping[str, str]:
        """Feature type of every column."""
        kinds = {name: column.kind for name, column in self.columns.items()}
        return MappingProxyType(kinds)

    @cached_property
    def missing(self) -> Mapping[str, int]:
        """Number of missing values of the features that have any."""
        counts = {name: self.columns[name].missing for name in self.features}
        return MappingProxyType({name: count for name, count in counts.items() if count})

    def levels(self, name: str) -> tuple[str, ...] | None:
        """Levels of a category, unused ones included; ``None`` for other types."""
        return self._column(name).levels

    def is_ordered(self, name: str) -> bool:
        """Whether a column is a category with ordered levels."""
        return self._column(name).ordered

    def column(self, name: str) -> pa.ChunkedArray:
        """The values of a column in view."""
        return self._column(name).array()

    def table(self, names: Sequence[str] | None = None) -> pa.Table:
        """Some columns, by default the features, as an Arrow table.

        The order of levels is noted as one that was chosen: it comes back with the table, also
        from a Parquet file.

        >>> from mlgraph.data.task import Task
        >>> Task({"a": [1, 2]}).table().num_rows
        2
        """
        chosen = self.features if names is None else tuple(names)
        if not chosen:  # a table without columns still has rows
            return pa.table({"": pa.nulls(len(self))}).select([])
        return declaring(pa.table({name: self.column(name) for name in chosen}))

    def scan(
        self, names: Sequence[str] | None = None, batch_size: int = 65536
    ) -> Iterator[pa.Table]:
        """The rows in tables of ``batch_size``, so that not all need be in memory.

        >>> from mlgraph.data.task import Task
        >>> [batch.num_rows for batch in Task({"a": [1, 2, 3]}).scan(batch_size=2)]
        [2, 1]
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size} is not a number of rows.")
        for start in range(0, len(self), batch_size):
            rows = range(start, min(start + batch_size, len(self)))
            yield self._take(rows).table(names)

    def to_arrow(self) -> pa.Table:
        """All columns, whatever their roles, as an Arrow table."""
        return self.table(list(self.columns))

    def to_pandas(self) -> Any:
        """All columns as a pandas data frame, row ids as its index."""
        frame = self.to_arrow().to_pandas()
        frame.index = self.row_ids.copy()
        return frame

    @cached_property
    def fingerprint(self) -> str:
        """Hash of content: stored data (hashed once, whatever the views), views, roles, row ids.

        >>> from mlgraph.data.task import Task
        >>> Task({"a": [1, 2]}).fingerprint == Task({"a": [1, 2]}).fingerprint
        True
        """
        parts: list[str | bytes] = [type(self).__name__, self._key()]
        views: dict[int, str] = {}
        for name, column in self.columns.items():
            rows = column.rows
            if rows is not None and id(rows) not in views:
                views[id(rows)] = digest(view_key(rows))
            parts += [name, column.content_key(views.get(id(rows), ""))]
        return digest(*parts, view_key(as_view(self.row_ids)))

    # Rows

    def take(self, positions: ArrayLike | slice | range) -> Self:
        """The rows at these positions, in this order; positions may repeat.

        Raises:
            DataError: A position is out of range, or this is a mask.

        >>> from mlgraph.data.task import Task
        >>> Task({"a": [5, 6, 7]}).take([2, 0]).row_ids
        array([2, 0])
        """
        return self._take(as_view(positions_of(positions, len(self))))

    def filter(self, row_ids: ArrayLike) -> Self:
        """The rows with these ids, in this order; ids may repeat.

        Raises:
            DataError: An id is not present.

        >>> from mlgraph.data.task import Task
        >>> Task({"a": [5, 6]}, row_ids=[10, 20]).filter([20]).column("a").to_pylist()
        [6]
        """
        return self._take(as_view(find_rows(self.row_ids, row_ids)))

    def empty(self) -> Self:
        """The same schema, classes and levels without rows, and without holding on to the data."""
        columns = {name: column.emptied() for name, column in self.columns.items()}
        return self._with(columns=columns, row_ids=self.row_ids[:0])

    def same_rows(self, other: Contents) -> bool:
        """Whether both have the same row ids in the same order."""
        return self.row_ids is other.row_ids or np.array_equal(self.row_ids, other.row_ids)

    def align(self, other: Self) -> Self:
        """The other one with its rows in the order they have here.

        Raises:
            DataError: The two do not have the same rows, or rows repeat in different order.

        >>> from mlgraph.data.task import Task
        >>> task = Task({"a": [5, 6, 7]})
        >>> task.align(task.take([2, 1, 0])).row_ids
        array([0, 1, 2])
        """
        if self.same_rows(other):
            return other
        return other._take(as_view(align_positions(self.row_ids, other.row_ids)))

    # Inside

    def __reduce__(self) -> tuple[object, ...]:
        return rebuild, (type(self), self._fields())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))} | {
            "columns": dict(self.columns),
            "roles": dict(self.roles),
        }

    def _with(self, **changes: Any) -> Self:
        new = object.__new__(type(self))
        new._set({**self._fields(), **changes})
        return new

    def _set(self, fields: Mapping[str, Any]) -> None:
        row_ids = fields["row_ids"].view()
        row_ids.flags.writeable = False
        frozen = {name: MappingProxyType(fields[name]) for name in ("columns", "roles")}
        for name, value in {**fields, **frozen, "row_ids": row_ids}.items():
            object.__setattr__(self, name, value)

    def _key(self) -> str:
        return repr(sorted(self.roles.items()))

    def _take(self, rows: range | NDArray[np.int64]) -> Self:
        if rows == range(len(self)) if isinstance(rows, range) else False:
            return self
        views: dict[int, Any] = {}  # columns with one view have one view afterwards, too
        columns = {}
        for name, column in self.columns.items():
            if id(column.rows) not in views:
                views[id(column.rows)] = compose(column.rows, rows)
            columns[name] = Column(column.stored, views[id(column.rows)])
        ids = (
            self.row_ids[rows.start : rows.stop] if isinstance(rows, range) else self.row_ids[rows]
        )
        return self._with(columns=columns, row_ids=ids)

    def _column(self, name: str) -> Column:
        if name not in self.columns:
            raise unknown_column(name, self.columns)
        return self.columns[name]


def rebuild(kind: type[Contents], fields: Mapping[str, Any]) -> Contents:
    """Contents of a kind, of its fields, which are not checked."""
    new = object.__new__(kind)
    new._set(fields)
    return new
