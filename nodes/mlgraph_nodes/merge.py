"""Layers where paths meet: sums, products, and tensors put next to each other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import nn

from mlgraph.errors import ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.explain import listed
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import place


class MergeSum(Layer):
    """Sum of the inputs.

    Shape:
        inputs: any number, all of one rank; sizes are equal, or 1, which is repeated.
        output: the sizes that are not 1.

    Differs from torch: ranks are not made equal by leading dimensions of size 1.

    >>> MergeSum().infer(TensorSpec(("batch", 4)), TensorSpec(("batch", 1)))
    ((batch, 4) float32,)
    """

    def build(self, *inputs: TensorSpec) -> nn.Module:
        _refuse_unlike(inputs, repeat_ones=True)
        return Merged(torch.add)


class MergeProd(Layer):
    """Product of the inputs.

    Shape:
        inputs: any number, all of one rank; sizes are equal, or 1, which is repeated.
        output: the sizes that are not 1.

    Differs from torch: ranks are not made equal by leading dimensions of size 1.

    >>> MergeProd().infer(TensorSpec(("batch", 4)), TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    def build(self, *inputs: TensorSpec) -> nn.Module:
        _refuse_unlike(inputs, repeat_ones=True)
        return Merged(torch.mul)


class MergeCat(Layer):
    """The inputs next to each other along a dimension.

    Shape:
        inputs: any number, all of one rank, equal but for dimension ``dim``.
        output: the same; the size of ``dim`` is the sum.

    >>> MergeCat().infer(TensorSpec(("batch", 4)), TensorSpec(("batch", 3)))
    ((batch, 7) float32,)
    """

    dim: int = -1

    def build(self, *inputs: TensorSpec) -> nn.Module:
        _refuse_unlike(inputs, repeat_ones=False, but=self.dim)
        return Concatenated(self.dim)


class Merged(nn.Module):
    """A function of two tensors, applied from left to right.

    >>> Merged(torch.add)(torch.tensor(1), torch.tensor(2), torch.tensor(3))
    tensor(6)
    """

    def __init__(self, pair: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """The tensors merged."""
        return functools.reduce(self.pair, tensors)


class Concatenated(nn.Module):
    """Tensors put next to each other.

    >>> Concatenated(0)(torch.tensor([1]), torch.tensor([2]))
    tensor([1, 2])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """The tensors along ``dim``."""
        return torch.cat(tensors, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def _refuse_unlike(
    inputs: Sequence[TensorSpec], *, repeat_ones: bool, but: int | None = None
) -> None:
    """Refuse known sizes that differ; whether unknown ones do is seen when the network runs."""
    if len({x.rank for x in inputs}) > 1:
        raise ShapeError(
            "Inputs of one rank are needed.",
            why=f"they are {listed(inputs)}",
            mend='add dimensions with nn("unsqueeze"), or remove them with nn("flatten")',
        )
    free = None if but is None else place(inputs[0], but)
    for dim in range(inputs[0].rank):
        known = {size for x in inputs if isinstance(size := x.dim(dim), int)}
        known -= {1} if repeat_ones else set()
        if dim != free and len(known) > 1:
            raise _unlike(dim, sorted(known), repeat_ones)


def _unlike(dim: int, known: list[int], repeat_ones: bool) -> ShapeError:
    sizes = " and ".join(map(str, known))
    why = "sizes have to be equal" + (", or 1" if repeat_ones else "; 1 is not repeated")
    return ShapeError(
        f"Dimension {dim} has sizes {sizes}.",
        why=why,
        mend='give the paths equal sizes, say with nn("linear")',
    )
