"""What the rows of a lazy column refer to: sources, and the operations that are pending."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import pyarrow as pa

from mlgraph.core.value import digest
from mlgraph.data.lazy.cached import Cached
from mlgraph.data.lazy.operation import Operation
from mlgraph.data.lazy.source import Absent, Source
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

    >>> import torch
    >>> from mlgraph.data.lazy.source import ArraySource
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
        if not fitting(self.spec, other.spec):
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


def fitting(one: TensorSpec, other: TensorSpec) -> bool:
    """Whether rank and dtype are equal, and no size that both know differs.

    >>> fitting(TensorSpec(("batch", "n")), TensorSpec(("batch", 3)))
    True
    """
    pairs = zip(one.shape, other.shape, strict=False)
    clash = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
    return one.dtype == other.dtype and one.rank == other.rank and not clash
