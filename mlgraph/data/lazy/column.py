"""Columns of lazy tensors: references into sources, and the operations that are pending."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import ArrayLike, NDArray

from mlgraph.data.column import Column, Stored, as_view
from mlgraph.data.hashing import digest
from mlgraph.data.lazy.cached import Cached
from mlgraph.data.lazy.operation import Cast, Operation
from mlgraph.data.lazy.source import Absent, ArraySource, Source, tensor_of
from mlgraph.data.rowids import positions_of
from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec

STORAGE = pa.struct([("source", pa.int32()), ("row", pa.int64())])


class LazyType(pa.ExtensionType):  # type: ignore[misc]
    """Arrow's view of a lazy column: which row of which source, and the form of the tensors.

    Args:
        spec: Shape and dtype of the tensors, ``"batch"`` first.
        fingerprint: That of sources and operations; columns are of one type if it is equal.

    >>> LazyType(TensorSpec(("batch", 3)), "0") == LazyType(TensorSpec(("batch", 3)), "1")
    False
    """

    def __init__(self, spec: TensorSpec, fingerprint: str) -> None:
        self.spec = spec
        self.fingerprint = fingerprint
        super().__init__(STORAGE, "mlgraph.lazy_tensor")

    def __arrow_ext_serialize__(self) -> bytes:
        plain = {"spec": self.spec.to_json(), "fingerprint": self.fingerprint}
        return json.dumps(plain, sort_keys=True).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, written: bytes) -> LazyType:
        plain = json.loads(written)
        return cls(TensorSpec.from_json(plain["spec"]), str(plain["fingerprint"]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LazyType):
            return NotImplemented
        return self.fingerprint == other.fingerprint and self.spec == other.spec

    def __ne__(self, other: object) -> bool:  # Arrow's own does not ask __eq__
        return not self == other

    def __hash__(self) -> int:
        return hash(("mlgraph.lazy_tensor", self.fingerprint))


def _register() -> None:
    try:
        pa.register_extension_type(LazyType(TensorSpec(("batch",)), ""))
    except pa.ArrowKeyError:  # the module was loaded twice
        pass


_register()


@attrs.frozen(eq=False, slots=False)
class Lazy:
    """Sources and the operations pending on their rows: what the rows of a column refer to.

    Args:
        sources: Where the rows are.
        operations: What is done to them, in this order.

    Raises:
        DataError: There is no source, or they differ in rank or dtype.
        ShapeError: An operation cannot be run on what comes before it.

    >>> Lazy((ArraySource(torch.zeros(5, 2)),)).spec
    (batch, 2) float32
    """

    sources: tuple[Source, ...]
    operations: tuple[Operation, ...] = ()

    def __attrs_post_init__(self) -> None:
        _ = self.spec  # what does not fit is refused where it is put together

    @classmethod
    def form(cls, spec: TensorSpec, fingerprint: str) -> Lazy:
        """What is known without rows: enough for an empty column that was saved.

        >>> Lazy.form(TensorSpec(("batch", 2)), "0").type == LazyType(TensorSpec(("batch", 2)), "0")
        True
        """
        new = cls((Absent(spec, fingerprint),))
        new.__dict__["fingerprint"] = fingerprint
        return new

    @cached_property
    def source_spec(self) -> TensorSpec:
        """Shape and dtype of the rows before any operation."""
        return united([source.spec for source in self.sources])

    @cached_property
    def spec(self) -> TensorSpec:
        """Shape and dtype after the operations, ``"batch"`` first."""
        spec = self.source_spec
        for operation in self.operations:
            spec = operation.infer(spec)
        return spec

    @cached_property
    def fingerprint(self) -> str:
        """Hash of sources and operations."""
        parts = [source.fingerprint for source in self.sources]
        parts += ["", *(operation.fingerprint for operation in self.operations)]
        return digest(*parts)

    @property
    def type(self) -> LazyType:
        """The Arrow type of a column."""
        return LazyType(self.spec, self.fingerprint)

    def appended(self, operation: Operation) -> Lazy:
        """The same with one more operation; nothing is read.

        Raises:
            ShapeError: It cannot be run on these tensors.
        """
        new = object.__new__(Lazy)  # the specs of what is there already are known
        new.__dict__.update(sources=self.sources, operations=(*self.operations, operation))
        new.__dict__.update(source_spec=self.source_spec, spec=operation.infer(self.spec))
        return new

    def joined(self, other: Lazy) -> Lazy:
        """The same operations on the sources of both.

        Raises:
            DataError: Operations differ, or the tensors do not fit together.
        """
        if self.operations != other.operations:
            raise DataError(
                "Columns with different operations cannot be one.",
                why=f"here {_steps(self)}, there {_steps(other)}",
                mend="put them together before operations are appended",
            )
        if not _fit(self.spec, other.spec):
            raise DataError(
                "Tensors of different form cannot be one column.",
                why=f"here {self.spec}, there {other.spec}",
                mend="bring them to one shape and dtype before",
            )
        known = {source.fingerprint: source for source in (*self.sources, *other.sources)}
        return Lazy(tuple(known.values()), self.operations)

    def cached(self, folder: str | Path | None = None, limit: int | str = "1GB") -> Lazy:
        """The same rows, each computed once: sources and operations become sources that keep them.

        Raises:
            ConfigError: An operation is random, or the limit is no size.
            ShapeError: The rows have no fixed shape.
        """
        if not self.operations and all(isinstance(source, Cached) for source in self.sources):
            return self
        kept = [Cached(s, self.operations, folder=folder, limit=limit) for s in self.sources]
        return Lazy(tuple(kept))

    def emptied(self) -> Lazy:
        """The same form, without holding on to what can be read."""
        if all(isinstance(source, Absent) for source in self.sources):
            return self
        absent = [Absent(source.spec, source.fingerprint) for source in self.sources]
        return attrs.evolve(self, sources=tuple(absent))


def _steps(lazy: Lazy) -> str:
    return " >> ".join(operation.id for operation in lazy.operations) or "none"


def united(specs: Sequence[TensorSpec]) -> TensorSpec:
    """The spec of tensors of several specs: what differs has no size but a name.

    Raises:
        DataError: They differ in rank or dtype.

    >>> united([TensorSpec(("batch", 3, 8)), TensorSpec(("batch", 3, 9))])
    (batch, 3, dim_2) float32
    """
    if not specs:
        raise DataError("A lazy column needs a source.")
    first = specs[0]
    for spec in specs[1:]:
        if spec.dtype != first.dtype or spec.rank != first.rank:
            raise DataError(
                "Tensors of different rank or dtype cannot be one column.",
                why=f"some are {first}, others {spec}",
                mend="convert one of them before",
            )
    shape = [
        sizes[0] if len(set(sizes)) == 1 else f"dim_{dim}"
        for dim, sizes in enumerate(zip(*(spec.shape for spec in specs), strict=True))
    ]
    return first.with_shape(shape)


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
    if not _fit(arrived.spec, wanted.spec):
        raise DataError(
            "The tensors have another form here than they had.",
            why=f"expected {wanted.spec}, arrived {arrived.spec}",
            mend="bring them to that shape and dtype before",
        )
    return arrived


def _fit(one: TensorSpec, other: TensorSpec) -> bool:
    """Whether no size that both know differs."""
    pairs = zip(one.shape, other.shape, strict=False)
    clash = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
    return one.dtype == other.dtype and one.rank == other.rank and not clash


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
