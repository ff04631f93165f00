"""Columns of lazy tensors: references into sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import ArrayLike, NDArray

from mlgraph.data.column import Column, Stored, as_view
from mlgraph.data.lazy.operation import Cast, Operation
from mlgraph.data.lazy.pending import STORAGE, Lazy, LazyType, fitting
from mlgraph.data.lazy.source import ArraySource, Source, tensor_of
from mlgraph.data.rowids import positions_of
from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen(eq=False, slots=False, repr=False)
class LazyTensor:
    """A column of tensors that are read when they are asked for.

    Args:
        column: The column, as a task holds it.

    >>> images = LazyTensor.over(ArraySource(torch.zeros(150, 3, 64, 64)))
    >>> images, len(images.take([3, 1])), images.spec
    (<lazy 3 x 64 x 64 float32, 150 rows>, 2, (batch, 3, 64, 64) float32)
    """

    column: Column

    @classmethod
    def over(cls, source: Source, rows: ArrayLike | None = None) -> LazyTensor:
        """All rows of a source, or some of them.

        Raises:
            DataError: A row is missing, or is not in the source.
        """
        lazy = Lazy((source,))
        numbers = np.arange(len(source)) if rows is None else _checked(rows, len(source))
        return cls(Column(Stored(_references(np.zeros_like(numbers), numbers, lazy), lazy)))

    def __len__(self) -> int:
        return len(self.column)

    def __repr__(self) -> str:
        return f"<lazy {short(self.spec)}, {len(self)} rows>"

    def __mlgraph_column__(self) -> Column:
        return self.column

    @property
    def lazy(self) -> Lazy:
        """Sources and operations."""
        found: Any = self.column.stored.extra
        return found  # type: ignore[no-any-return]

    @property
    def spec(self) -> TensorSpec:
        """Shape and dtype, ``"batch"`` first; a name is a size that may differ from row to row."""
        return self.lazy.spec

    @property
    def shape(self) -> tuple[int | str, ...]:
        """Sizes, ``"batch"`` first."""
        return self.spec.shape

    @property
    def dtype(self) -> torch.dtype:
        """Type of the elements."""
        return self.spec.dtype

    @property
    def fingerprint(self) -> str:
        """Hash of sources, operations and rows."""
        return self.column.fingerprint

    def take(self, rows: ArrayLike | slice | range) -> LazyTensor:
        """The rows at these positions; nothing is read.

        Raises:
            DataError: A position is out of range.

        >>> len(LazyTensor.over(ArraySource(torch.zeros(5, 2))).take(slice(1, 3)))
        2
        """
        return LazyTensor(self.column.take(as_view(positions_of(rows, len(self)))))

    def append(self, operation: Operation) -> LazyTensor:
        """The column with one more operation pending; nothing is read.

        Raises:
            ShapeError: The operation cannot be run on these tensors.

        >>> from mlgraph.data.lazy.operation import Function
        >>> numbers = LazyTensor.over(ArraySource(torch.zeros(5, 2)))
        >>> numbers.append(Function("total", torch.sum)).shape
        ('batch',)
        """
        return self.over_lazy(self.lazy.appended(operation))

    def to(self, dtype: torch.dtype) -> LazyTensor:
        """The column in another dtype; a value that does not fit is refused when it is read.

        >>> LazyTensor.over(ArraySource(torch.zeros(5, 2))).to(torch.float64).dtype
        torch.float64
        """
        return self if dtype == self.dtype else self.append(Cast("to", dtype))

    def cached(self, folder: str | Path | None = None, limit: int | str = "1GB") -> LazyTensor:
        """The column with all that is pending computed once per row, and kept.

        Args:
            folder: Where to keep the rows, for other runs to find; by default in memory.
            limit: Bytes that may be kept; rows beyond are computed anew each time.

        Raises:
            ConfigError: An operation is random, or the limit is no size.
            ShapeError: The rows have no fixed shape.

        >>> LazyTensor.over(ArraySource(torch.zeros(5, 2))).to(torch.float64).cached(limit="1MB")
        <lazy 2 float64, 5 rows>
        """
        return self.over_lazy(self.lazy.cached(folder, limit))

    def over_lazy(self, lazy: Lazy) -> LazyTensor:
        """The same references into other sources, or with other operations."""
        stored = self.column.stored
        new = Stored(_retyped(stored.data, lazy.type), lazy)
        if "content" in stored.__dict__:  # the hash of the references is known
            new.__dict__["content"] = stored.content
        return LazyTensor(Column(new, self.column.rows))

    def places(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Source and row in it, for each row in view."""
        storage = _one_chunk(self.column.stored.data).storage
        source, row = (storage.field(i).to_numpy(zero_copy_only=False) for i in range(2))
        rows = self.column.rows
        if rows is None:
            return source, row
        seen = slice(rows.start, rows.stop) if isinstance(rows, range) else rows
        return source[seen], row[seen]


def as_lazy(column: Column) -> LazyTensor:
    """A lazy column, or a column of tensors in memory as a lazy one over the same memory.

    Raises:
        DataError: This is no column of tensors, or a tensor is missing.

    >>> from mlgraph.data.ingest import to_column
    >>> as_lazy(to_column("image", np.zeros((5, 8, 8))))
    <lazy 8 x 8 float64, 5 rows>
    """
    if isinstance(column.stored.extra, Lazy):
        return LazyTensor(column)
    if isinstance(column.type, LazyType):
        raise DataError(
            "A lazy column does not know any more where its tensors are.",
            why="its rows went through an Arrow table, which holds their numbers only",
            mend="pass the Task, or the column itself: {name: task.lazy(name)}",
        )
    if not isinstance(column.type, pa.FixedShapeTensorType):
        raise DataError(
            f"A column of type {column.kind} has no tensors.",
            why=f"its Arrow type is {column.type}",
            mend="choose columns with sel.type('tensor')",
        )
    if column.stored.data.null_count:
        raise _missing(column.stored.data.null_count)
    array = _one_chunk(column.stored.data).to_numpy_ndarray()
    source = ArraySource(tensor_of(array), copy=False, token=column.stored.fingerprint)
    return LazyTensor(Column(LazyTensor.over(source).column.stored, column.rows))


def append_lazy(upper: LazyTensor, lower: LazyTensor) -> LazyTensor:
    """The rows of both, one below the other.

    Raises:
        DataError: Operations differ, or the tensors do not fit together.

    >>> one = LazyTensor.over(ArraySource(torch.zeros(2, 3)))
    >>> append_lazy(one, LazyTensor.over(ArraySource(torch.ones(1, 3))))
    <lazy 3 float32, 3 rows>
    """
    lazy = upper.lazy.joined(lower.lazy)
    number = {source.fingerprint: i for i, source in enumerate(lazy.sources)}
    parts = []
    for part in (upper, lower):
        table = np.array([number[source.fingerprint] for source in part.lazy.sources])
        source, row = part.places()
        parts.append((table[source], row))
    sources, rows = (np.concatenate(both) for both in zip(*parts, strict=True))
    return LazyTensor(Column(Stored(_references(sources, rows, lazy), lazy)))


def match_lazy(arrived: LazyTensor, wanted: LazyTensor) -> LazyTensor:
    """The tensors that arrived, if they can stand where the wanted ones stood.

    Raises:
        DataError: They differ in dtype, rank or a size that both promise.

    >>> one = LazyTensor.over(ArraySource(torch.zeros(2, 3)))
    >>> match_lazy(one, LazyTensor.over(ArraySource(torch.ones(1, 3)))) is one
    True
    """
    if not fitting(arrived.spec, wanted.spec):
        raise DataError(
            "The tensors have another form here than they had.",
            why=f"expected {wanted.spec}, arrived {arrived.spec}",
            mend="bring them to that shape and dtype before",
        )
    return arrived


def forms(columns: Mapping[str, Column]) -> dict[str, str]:
    """Sizes and dtype of the columns that are lazy.

    >>> forms({"image": LazyTensor.over(ArraySource(torch.zeros(2, 3))).column})
    {'image': '3 float32'}
    """
    lazy = {name: column.stored.extra for name, column in columns.items()}
    return {name: short(extra.spec) for name, extra in lazy.items() if isinstance(extra, Lazy)}


def short(spec: TensorSpec) -> str:
    """Sizes and dtype of a row in a few characters.

    >>> short(TensorSpec(("batch", 3, "height", 64))), short(TensorSpec(("batch",)))
    ('3 x ? x 64 float32', 'scalar float32')
    """
    sizes = ["?" if isinstance(size, str) else str(size) for size in spec.shape[1:]]
    return f"{' x '.join(sizes) or 'scalar'} {str(spec.dtype).removeprefix('torch.')}"


def _references(sources: NDArray[Any], rows: NDArray[Any], lazy: Lazy) -> pa.ChunkedArray:
    parts = [pa.array(sources.astype(np.int32)), pa.array(rows.astype(np.int64))]
    storage = pa.StructArray.from_arrays(parts, fields=list(STORAGE))
    return pa.chunked_array([pa.ExtensionArray.from_storage(lazy.type, storage)])


def _retyped(data: pa.ChunkedArray, arrow: LazyType) -> pa.ChunkedArray:
    chunks = [pa.ExtensionArray.from_storage(arrow, chunk.storage) for chunk in data.chunks]
    return pa.chunked_array(chunks, arrow)


def _one_chunk(data: pa.ChunkedArray) -> pa.Array:
    return data.chunk(0) if data.num_chunks == 1 else pa.concat_arrays(data.chunks)


def _checked(rows: ArrayLike, n_rows: int) -> NDArray[np.int64]:
    given = np.asarray(rows)
    if given.dtype.kind == "f" and np.isnan(given).any():
        raise _missing(int(np.isnan(given).sum()))
    if given.dtype.kind == "O" and any(row is None for row in given.ravel()):
        raise _missing(sum(row is None for row in given.ravel()))
    return positions_of(given, n_rows)


def _missing(count: int) -> DataError:
    return DataError(
        "A lazy column cannot have missing tensors.",
        why=f"{count} are missing",
        mend="leave these rows out",
    )
