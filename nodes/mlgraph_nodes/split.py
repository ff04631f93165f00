"""Parts of a tensor, and what is left of a dimension: one place of it, or its mean.

Rows are never divided or mixed, so none of these works along dimension 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mlgraph.core.param import Token, param
from mlgraph.core.port import Port
from mlgraph.errors import ShapeError
from mlgraph.net.apply import Apply
from mlgraph.net.layer import Layer, layer_port
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_floats, place


def _sizes(sizes: int | tuple[int, ...]) -> str | None:
    several = (sizes, -1) if isinstance(sizes, int) else sizes
    known = [size for size in several if not isinstance(size, Token)]
    possible = all(size > 0 or size == -1 for size in known) and known.count(-1) <= 1
    if possible and sizes != -1 and len(several) > 1:
        return None
    return "two positive sizes or more, one of which may be -1, for what is left; or only the first"


class Split(Layer):
    """One tensor as several, of given sizes along a dimension.

    Shape:
        input: any shape; the size of ``dim`` is the sum of ``sizes``.
        split_0, split_1, ...: the same, each with its own size along ``dim``.

    Args:
        sizes: Sizes of the parts; one may be -1, for what is left. A number ``n`` means
            ``(n, -1)``.
        dim: The dimension that is divided; not the batch.

    Differs from torch: a number is the size of the first of two parts, not of all, as the number
    of outputs cannot depend on the input; see ``chunk``.

    >>> Split(sizes=(2, -1)).infer(TensorSpec(("batch", 8)))
    ((batch, 2) float32, (batch, 6) float32)
    """

    sizes: int | tuple[int, ...] = param(check=_sizes, tags={"structure"})
    dim: int = -1

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return super().ports()[0], _numbered("split", len(self._parts()))

    def build(self, x: TensorSpec) -> nn.Module:
        size = _inside(x, self.dim)
        if isinstance(size, int):
            _parts(size, self._parts(), self.dim)
        return Parts(self._parts(), self.dim)

    def _parts(self) -> tuple[int, ...]:
        _refuse_token(self.sizes)
        return (self.sizes, -1) if isinstance(self.sizes, int) else self.sizes


class Chunk(Layer):
    """One tensor as several of equal sizes along a dimension; the last one may be smaller.

    Shape:
        input: any shape.
        chunk_0, chunk_1, ...: the same, but for the size of ``dim``.

    Args:
        chunks: Number of parts.
        dim: The dimension that is divided; not the batch.

    Differs from torch: what cannot be divided into that many parts is refused; torch makes fewer.

    >>> Chunk(chunks=2).infer(TensorSpec(("batch", 8)))
    ((batch, 4) float32, (batch, 4) float32)
    """

    chunks: int = param(lower=2, tags={"structure"})
    dim: int = -1

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        _refuse_token(self.chunks)
        return super().ports()[0], _numbered("chunk", self.chunks)

    def build(self, x: TensorSpec) -> nn.Module:
        size = _inside(x, self.dim)
        if isinstance(size, int):
            _refuse_fewer(size, self.chunks)
        return Chunks(self.chunks, self.dim)


class Take(Layer):
    """One place along a dimension, or several.

    Shape:
        input: any shape.
        output: without ``dim``; of several places, with their number in its place.

    Args:
        index: A place, or a list of places in the order they are wanted; negative ones count
            from the end.
        dim: The dimension; not the batch.

    >>> Take(index=-1).infer(TensorSpec(("batch", "time", 8)))
    ((batch, 8) float32,)
    >>> Take(index=(0, -1)).infer(TensorSpec(("batch", "time", 8)))
    ((batch, 2, 8) float32,)
    """

    index: int | tuple[int, ...] = param(check=lambda index: None if index != () else "a place")
    dim: int = 1

    def build(self, x: TensorSpec) -> nn.Module:
        size = _inside(x, self.dim)
        places = (self.index,) if isinstance(self.index, int) else self.index
        for index in places if isinstance(size, int) else ():
            if not -int(size) <= index < int(size):
                raise ShapeError(
                    f"There is no place {index}.",
                    why=f"dimension {self.dim} of {x} has {size} places",
                )
        if isinstance(self.index, int):
            return Apply(torch.select, self.dim, self.index)
        return Apply(taken, self.dim, self.index)


class Reduce(Layer):
    """The mean of some dimensions, or their sum, maximum, minimum or standard deviation.

    Shape:
        input: any shape.
        output: without ``dim``, or with sizes of 1 there.

    Args:
        how: What is made of the numbers.
        dim: A dimension or several; not the batch.
        keepdim: Leave the dimensions there, with size 1.

    The standard deviation is that of a sample, with one less than the count in the denominator.

    >>> Reduce().infer(TensorSpec(("batch", "time", 8)))
    ((batch, 8) float32,)
    >>> Reduce(how="max", dim=(-2, -1), keepdim=True).infer(TensorSpec(("batch", 3, 4, 4)))
    ((batch, 3, 1, 1) float32,)
    """

    how: Literal["mean", "sum", "max", "min", "std"] = "mean"
    dim: int | tuple[int, ...] = param(
        default=1, check=lambda dim: None if dim != () else "a dimension, or several"
    )
    keepdim: bool = False

    def build(self, x: TensorSpec) -> nn.Module:
        dims = (self.dim,) if isinstance(self.dim, int) else self.dim
        sizes = {place(x, dim): _inside(x, dim) for dim in dims}
        if len(sizes) < len(dims):
            raise ShapeError(f"dim={self.dim} names a dimension twice.", why=f"the input is {x}")
        if self.how in ("mean", "std") or x.dtype.is_complex:
            need_floats(x)
        known = [size for size in sizes.values() if isinstance(size, int)]
        if self.how == "std" and len(known) == len(sizes) and math.prod(known) == 1:
            raise ShapeError(
                "A single number has no standard deviation.", why=f"{x} has one along {self.dim}"
            )
        return Apply(_REDUCE[self.how], tuple(sizes), keepdim=self.keepdim)


_REDUCE: dict[str, Callable[..., Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
    "std": torch.std,
}


class Parts(nn.Module):
    """Parts of given sizes along a dimension.

    >>> Parts((1, -1), 0)(torch.tensor([1, 2, 3]))
    (tensor([1]), tensor([2, 3]))
    """

    def __init__(self, sizes: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.sizes, self.dim = sizes, dim

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The parts."""
        total = x.shape[self.dim]
        # On the meta device sizes are stand-ins, and longer ones say as much about the parts.
        if x.is_meta and -1 not in self.sizes:
            x = x.narrow(self.dim, 0, sum(self.sizes))
            total = sum(self.sizes)
        return torch.split(x, _parts(total, self.sizes, self.dim), self.dim)

    def extra_repr(self) -> str:
        return f"{self.sizes}, dim={self.dim}"


class Chunks(nn.Module):
    """A number of parts, of equal sizes as far as possible.

    >>> Chunks(2, 0)(torch.tensor([1, 2, 3]))
    (tensor([1, 2]), tensor([3]))
    """

    def __init__(self, chunks: int, dim: int) -> None:
        super().__init__()
        self.chunks, self.dim = chunks, dim

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The parts."""
        _refuse_fewer(x.shape[self.dim], self.chunks)
        return torch.chunk(x, self.chunks, self.dim)

    def extra_repr(self) -> str:
        return f"{self.chunks}, dim={self.dim}"


def taken(x: Tensor, dim: int, index: Sequence[int]) -> Tensor:
    """Several places along a dimension.

    >>> taken(torch.tensor([1, 2, 3]), 0, (-1, 0)).tolist()
    [3, 1]
    """
    return torch.stack([x.select(dim, place) for place in index], dim)


def _numbered(name: str, count: int) -> tuple[Port, ...]:
    return tuple(layer_port(f"{name}_{number}") for number in range(count))


def _refuse_token(value: Any) -> None:
    if isinstance(value, Token):
        raise TypeError("the number of outputs depends on a tuning token")


def _inside(x: TensorSpec, dim: int) -> int | str:
    """The size of a dimension that is not the batch."""
    if place(x, dim) == 0:
        raise ShapeError(
            "This does not work along the batch.",
            why=f"dim={dim} of {x} is the batch",
            mend="choose another dimension",
        )
    return x.dim(dim)


def _parts(size: int, sizes: Sequence[int], dim: int) -> list[int]:
    """The sizes of the parts of a dimension of this size."""
    rest = size - sum(part for part in sizes if part != -1)
    if rest != 0 if -1 not in sizes else rest < 1:
        raise ShapeError(
            f"A dimension of size {size} cannot become {tuple(sizes)}.",
            why=f"dimension {dim} does not have that many places",
        )
    return [rest if part == -1 else part for part in sizes]


def _refuse_fewer(size: int, chunks: int) -> None:
    made = math.ceil(size / math.ceil(size / chunks)) if size else 1
    if made != chunks:
        raise ShapeError(
            f"A dimension of size {size} cannot be divided into {chunks} parts.",
            why=f"parts of {math.ceil(size / chunks)} are {made}",
            mend="choose another number of parts, or another size",
        )
