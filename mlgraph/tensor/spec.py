"""TensorSpec: the shape and dtype of a tensor, some of whose sizes are not known yet.

A size is an int or a name. Equal names mean equal sizes, so `("batch", "time", "time")` is a batch
of square matrices of unknown extent, and `("batch", "height", "width")` need not be square.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import attrs
import torch

from mlgraph.errors import ShapeError


def _sizes(value: Any) -> tuple[int | str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ShapeError(
            f"{value!r} is not a shape.",
            why="a shape is a tuple of sizes, each an int or a name",
            mend="write a tuple, such as ('batch', 10)",
        )
    return tuple(_size(size) for size in value)


def _size(size: Any) -> int | str:
    if isinstance(size, str):
        return _checked_name(size)
    if isinstance(size, bool) or not isinstance(size, Integral):
        raise ShapeError(
            f"{size!r} is not a size.",
            why=f"a size is an int or a name, not {type(size).__name__}",
            mend="name the sizes that are not known, such as ('batch', 10)",
        )
    if size < 0:
        raise ShapeError(f"A size cannot be negative, got {size}.", mend="name an unknown size")
    return int(size)


def _checked_name(name: str) -> str:
    if not name or name != name.strip():
        raise ShapeError(f"{name!r} is not a name for a size.", why="it is empty or has blanks")
    return str(name)


def _cardinalities(value: Iterable[int]) -> tuple[int, ...]:
    return tuple(int(levels) for levels in value)


def _check_dtype(_: object, __: object, value: object) -> None:
    if not isinstance(value, torch.dtype):
        raise ShapeError(
            f"{value!r} is not a dtype.",
            why=f"expected a torch.dtype, got {type(value).__name__}",
            mend="write torch.float32, torch.int64, ...",
        )


@attrs.frozen(repr=False)
class TensorSpec:
    """Shape and dtype of a tensor; a size that is not known has a name.

    Args:
        shape: Sizes from the outside in; an int, or a name for a size that is not known. Equal
            names are equal sizes.
        dtype: Type of the elements.
        cardinalities: For codes that come straight from a categorical ingress: the number of
            levels of each column, that is of each place in the last dimension.

    Raises:
        ShapeError: A size is negative, is neither int nor name, or there are not as many
            cardinalities as columns.

    >>> spec = TensorSpec(("batch", 3, 32, 32))
    >>> spec
    (batch, 3, 32, 32) float32
    >>> spec.size(1), spec.dim(0)
    (3, 'batch')
    """

    shape: tuple[int | str, ...] = attrs.field(converter=_sizes)
    dtype: torch.dtype = attrs.field(default=torch.float32, validator=_check_dtype)
    cardinalities: tuple[int, ...] = attrs.field(default=(), converter=_cardinalities, kw_only=True)

    @cardinalities.validator
    def _check_cardinalities(self, _: object, value: tuple[int, ...]) -> None:
        if not value:
            return
        if min(value) < 1:
            raise ShapeError(f"A column cannot have {min(value)} levels.")
        if not self.shape or self.shape[-1] != len(value):
            raise ShapeError(
                f"{len(value)} cardinalities do not fit {self}.",
                why="there is one for each place in the last dimension",
            )

    def __repr__(self) -> str:
        inner = ", ".join(str(size) for size in self.shape)
        comma = "," if self.rank == 1 else ""
        return f"({inner}{comma}) {_dtype_name(self.dtype)}"

    @property
    def rank(self) -> int:
        """Number of dimensions.

        >>> TensorSpec(("batch", 10)).rank
        2
        """
        return len(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the unknown sizes, each once, in order of appearance.

        >>> TensorSpec(("batch", "time", "time", 4)).names
        ('batch', 'time')
        """
        return tuple(dict.fromkeys(size for size in self.shape if isinstance(size, str)))

    @property
    def numel(self) -> int | None:
        """Number of elements, or None when a size is not known.

        >>> TensorSpec((2, 3)).numel, TensorSpec(("batch", 3)).numel
        (6, None)
        """
        known = [size for size in self.shape if isinstance(size, int)]
        return math.prod(known) if len(known) == self.rank else None

    def dim(self, dim: int) -> int | str:
        """The size of a dimension, or its name; negative numbers count from the end.

        Raises:
            ShapeError: There is no such dimension.

        >>> TensorSpec(("batch", 10)).dim(-2)
        'batch'
        """
        if not -self.rank <= dim < self.rank:
            raise ShapeError(
                f"{self} has no dimension {dim}.",
                why=f"its rank is {self.rank}" + _range(self.rank),
            )
        return self.shape[dim]

    def size(self, dim: int) -> int:
        """The size of a dimension that must be known, and have room for weights.

        Raises:
            ShapeError: There is no such dimension, its size is not known, or it is 0.

        >>> TensorSpec(("batch", 10)).size(-1)
        10
        """
        size = self._known(dim)
        if size == 0:
            raise ShapeError(
                f"Dimension {dim} has size 0, so there is nothing to weigh.",
                why=f"the input is {self}",
                mend="give the network at least one column",
            )
        return size

    def last(self, n: int) -> tuple[int, ...]:
        """The last ``n`` sizes, all of which must be known.

        Raises:
            ShapeError: There are fewer, or one is not known.

        >>> TensorSpec(("batch", 3, 4)).last(2)
        (3, 4)
        """
        return tuple(self._known(dim) for dim in range(-n, 0))

    def sizes(self, n: int | None = None) -> tuple[int, ...]:
        """All sizes, or the last ``n``; each must be known.

        Raises:
            ShapeError: There are fewer, or one is not known.

        >>> TensorSpec((2, 3, 4)).sizes()
        (2, 3, 4)
        """
        return self.last(self.rank if n is None else n)

    def _known(self, dim: int) -> int:
        size = self.dim(dim)
        if isinstance(size, str):
            mend = "give it a fixed size, or pool or flatten that dimension first"
            if size == "batch":
                mend = "batches differ in size: read x.shape[0] in forward"
            raise ShapeError(
                f"The size of dimension {dim}, {size!r}, is needed now and is not known.", mend=mend
            )
        return size

    def with_shape(self, shape: Iterable[int | str]) -> TensorSpec:
        """The same with another shape; cardinalities stay while the last size does.

        >>> TensorSpec(("batch", 10)).with_shape(("batch", 5))
        (batch, 5) float32
        """
        sizes = _sizes(shape)
        same_last = sizes[-1:] == self.shape[-1:]
        return TensorSpec(sizes, self.dtype, cardinalities=self.cardinalities if same_last else ())

    def with_dtype(self, dtype: torch.dtype) -> TensorSpec:
        """The same with another dtype; floats have no cardinalities.

        >>> TensorSpec(("batch", 10)).with_dtype(torch.int64)
        (batch, 10) int64
        """
        keep = not dtype.is_floating_point and not dtype.is_complex
        return TensorSpec(self.shape, dtype, cardinalities=self.cardinalities if keep else ())

    def fits(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor has this rank, these known sizes, equal sizes for a name, this dtype.

        >>> square = TensorSpec(("side", "side"))
        >>> square.fits(torch.zeros(2, 2)), square.fits(torch.zeros(2, 3))
        (True, False)
        """
        if tensor.dtype != self.dtype or tensor.dim() != self.rank:
            return False
        seen: dict[str, int] = {}
        pairs = zip(self.shape, tensor.shape, strict=True)
        return all(
            (seen.setdefault(want, got) if isinstance(want, str) else want) == got
            for want, got in pairs
        )

    def filled(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with its names replaced by numbers.

        Raises:
            ShapeError: A name has no number.

        >>> TensorSpec(("batch", 3)).filled({"batch": 8})
        (8, 3)
        """
        missing = [name for name in self.names if name not in sizes]
        if missing:
            raise ShapeError(
                f"{self} needs a number for {missing[0]!r}.", mend=f"pass {missing[0]}=..."
            )
        return tuple(sizes[size] if isinstance(size, str) else size for size in self.shape)

    def meta(self, **sizes: int) -> torch.Tensor:
        """A tensor of this shape and dtype that has no data; names become the given numbers.

        Raises:
            ShapeError: A name has no number.

        >>> TensorSpec(("batch", 3)).meta(batch=8)
        tensor(..., device='meta', size=(8, 3))
        """
        return torch.empty(self.filled(sizes), dtype=self.dtype, device="meta")

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON values; `from_json` is the way back.

        >>> TensorSpec(("batch", 3)).to_json()
        {'shape': ['batch', 3], 'dtype': 'float32'}
        """
        plain: dict[str, Any] = {"shape": list(self.shape), "dtype": _dtype_name(self.dtype)}
        if self.cardinalities:
            plain["cardinalities"] = list(self.cardinalities)
        return plain

    __mlgraph_json__ = to_json

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> TensorSpec:
        """The spec that `to_json` wrote.

        Raises:
            ShapeError: A size or the dtype is not one.

        >>> TensorSpec.from_json({"shape": ["batch", 3], "dtype": "int64"})
        (batch, 3) int64
        """
        dtype = getattr(torch, str(plain["dtype"]), plain["dtype"])
        return cls(plain["shape"], dtype, cardinalities=plain.get("cardinalities", ()))


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _range(rank: int) -> str:
    return f", so dimensions are {-rank} to {rank - 1}" if rank else ", so it has no dimensions"
