"""Layers that rearrange a tensor: the same numbers in another shape.

Dimension 0 may be moved or merged as well. That the rows come out first and complete is checked
where it matters, by the trainer.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import nn

from mlgraph.core.param import Token, param
from mlgraph.errors import ConfigError, ShapeError
from mlgraph.net.apply import Apply
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import place


class Flatten(Layer):
    """Several dimensions merged into one.

    Shape:
        input: any shape.
        output: dimensions ``start_dim`` to ``end_dim``, both included, are one.

    >>> Flatten().infer(TensorSpec(("batch", 3, 4, 5)))
    ((batch, 60) float32,)
    """

    start_dim: int = 1
    end_dim: int = -1

    def build(self, x: TensorSpec) -> nn.Module:
        start, end = place(x, self.start_dim, "start_dim"), place(x, self.end_dim, "end_dim")
        if end < start:
            raise ShapeError(
                "The last dimension to flatten lies before the first.",
                why=f"for {x}, start_dim={self.start_dim} is {start}, end_dim={self.end_dim} "
                f"is {end}",
            )
        return nn.Flatten(self.start_dim, self.end_dim)


def _sizes(sizes: Sequence[Any]) -> str | None:
    if any(isinstance(size, Token) for size in sizes):
        return None  # known when the search has chosen one
    if not sizes or any(size < 1 and size != -1 for size in sizes) or list(sizes).count(-1) > 1:
        return "positive sizes, one of which may be -1, for what is left"
    return None


class Unflatten(Layer):
    """One dimension split into several.

    Shape:
        input: any shape; the size of ``dim`` is the product of ``sizes``.
        output: ``sizes`` in the place of ``dim``.

    Args:
        dim: The dimension to split.
        sizes: What it becomes; one may be -1, for what is left.

    >>> Unflatten(dim=1, sizes=(3, -1)).infer(TensorSpec(("batch", 12)))
    ((batch, 3, 4) float32,)
    """

    dim: int
    sizes: tuple[int, ...] = param(check=_sizes)

    def build(self, x: TensorSpec) -> nn.Module:
        place(x, self.dim)
        size = x.dim(self.dim)
        if isinstance(size, int) and not _fits(size, self.sizes):
            raise ShapeError(
                f"A dimension of size {size} cannot become {self.sizes}.",
                why=f"dimension {self.dim} of {x} does not have that many elements",
            )
        return Apply(torch.unflatten, self.dim, self.sizes)


def _target(shape: Any) -> str | None:
    if callable(shape):
        return None if _takes_one(shape) else "a function of one argument, the shape"
    ints = isinstance(shape, tuple) and all(
        isinstance(size, int) and not isinstance(size, bool) for size in shape
    )
    return _sizes(shape) if ints else "a list of integers, or a function of the shape"


class Reshape(Layer):
    """The same numbers in another shape.

    Shape:
        input: any shape.
        output: ``shape``.

    Args:
        shape: The new shape, batch included: sizes, of which one may be -1, for what is left. Or
            a function that makes it of the old one; it is called with a tuple of numbers
            whenever the network runs.

    >>> Reshape(shape=(-1, 2, 6)).infer(TensorSpec(("batch", 3, 4)))
    ((batch, 2, 6) float32,)
    >>> Reshape(shape=lambda old: (old[0], -1)).infer(TensorSpec(("batch", 3, 4)))
    ((batch, 12) float32,)
    """

    shape: tuple[int, ...] | Callable[[tuple[int, ...]], Any] = param(check=_target)

    def build(self, x: TensorSpec) -> nn.Module:
        if not isinstance(self.shape, tuple):
            return ReshapedBy(self.shape)
        self._refuse_impossible(x, self.shape)
        return Apply(torch.reshape, self.shape)

    def _refuse_impossible(self, x: TensorSpec, shape: tuple[int, ...]) -> None:
        if x.numel is not None and not _fits(x.numel, shape):
            raise ShapeError(f"The {x.numel} numbers of {x} cannot take the shape {shape}.")
        row = TensorSpec(x.shape[1:]).numel
        keeps_rows = shape[0] in (-1, *x.shape[:1]) and -1 not in shape[1:]
        if row is not None and keeps_rows and row != math.prod(shape[1:]):
            raise ShapeError(
                f"The shape {shape} would change the number of rows.",
                why=f"a row of {x} has {row} numbers, one of {shape} has {math.prod(shape[1:])}",
                mend="write shape=(-1, ...) with sizes whose product is that of a row",
            )


class ReshapedBy(nn.Module):
    """A tensor in the shape that a function makes of its old one.

    >>> ReshapedBy(lambda old: (old[0], -1))(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 12])
    """

    def __init__(self, function: Callable[[tuple[int, ...]], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The reshaped tensor."""
        shape = self.function(tuple(x.shape))
        if not isinstance(shape, tuple | list) or not all(_is_size(size) for size in shape):
            raise ConfigError(
                f"The function for the new shape returned {shape!r}.",
                why="it has to return a list of integers",
            )
        return x.reshape(tuple(shape))


class Squeeze(Layer):
    """Without some dimensions of size 1.

    Shape:
        input: any shape.
        output: the same without those of the listed dimensions whose size is known to be 1. A
        listed dimension of another or of unknown size stays, also if it happens to be 1.

    Args:
        dim: A dimension or several, all counted in the input.

    Differs from torch: ``dim`` has to be given; sizes that are not known yet stay.

    >>> Squeeze(dim=(-1, -3)).infer(TensorSpec(("batch", 1, 5, 1)))
    ((batch, 5) float32,)
    """

    dim: int | tuple[int, ...]

    def build(self, x: TensorSpec) -> nn.Module:
        listed = (self.dim,) if isinstance(self.dim, int) else self.dim
        places = sorted({place(x, dim) for dim in listed})
        ones = tuple(dim for dim in places if x.dim(dim) == 1)
        return Apply(torch.squeeze, ones) if ones else nn.Identity()


class Unsqueeze(Layer):
    """With one more dimension, of size 1.

    Shape:
        input: any shape.
        output: the same with a 1 inserted at ``dim``; -1 appends it.

    >>> Unsqueeze(dim=1).infer(TensorSpec(("batch", 4)))
    ((batch, 1, 4) float32,)
    """

    dim: int

    def build(self, x: TensorSpec) -> nn.Module:
        place(x, self.dim, extra=1)
        return Apply(torch.unsqueeze, self.dim)


class Permute(Layer):
    """The dimensions in another order.

    Shape:
        input: as many dimensions as ``dims`` lists.
        output: dimension ``i`` is dimension ``dims[i]`` of the input.

    >>> Permute(dims=(0, 2, 1)).infer(TensorSpec(("batch", "time", 8)))
    ((batch, 8, time) float32,)
    """

    dims: tuple[int, ...]

    def build(self, x: TensorSpec) -> nn.Module:
        if len(self.dims) != x.rank or len({place(x, dim, "dims") for dim in self.dims}) < x.rank:
            raise ShapeError(
                f"dims={self.dims} is no order of the dimensions of {x}.",
                why=f"each of 0 to {x.rank - 1} is needed once",
            )
        return Apply(torch.permute, self.dims)


class Transpose(Layer):
    """Two dimensions swapped.

    Shape:
        input: any shape.
        output: the same with ``dim0`` and ``dim1`` in each other's place.

    >>> Transpose(dim0=1, dim1=2).infer(TensorSpec(("batch", "time", 8)))
    ((batch, 8, time) float32,)
    """

    dim0: int
    dim1: int

    def build(self, x: TensorSpec) -> nn.Module:
        place(x, self.dim0, "dim0")
        place(x, self.dim1, "dim1")
        return Apply(torch.transpose, self.dim0, self.dim1)


def _fits(numbers: int, shape: Sequence[int]) -> bool:
    """Whether so many numbers can take a shape, one size of which may be -1."""
    known = math.prod(size for size in shape if size != -1)
    return numbers % known == 0 if -1 in shape else numbers == known


def _is_size(size: Any) -> bool:
    return isinstance(size, Integral | torch.SymInt) and not isinstance(size, bool)


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(())
    except TypeError:
        return False
    except ValueError:  # built in, says nothing about its arguments
        return True
    return True
