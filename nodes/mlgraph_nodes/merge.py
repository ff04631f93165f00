"""Layers where paths meet: number by number, or with the tensors next to each other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import nn

from mlgraph.errors import ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.explain import listed
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import FLOAT, need_floats, need_singles, place


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


class MergeSub(Layer):
    """The left input without the right one: ``left - right``.

    Shape:
        left, right: of one rank; sizes are equal, or 1, which is repeated.
        output: the sizes that are not 1.

    Differs from torch: ranks are not made equal by leading dimensions of size 1.

    >>> MergeSub().infer(TensorSpec(("batch", 4)), TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    def build(self, left: TensorSpec, right: TensorSpec) -> nn.Module:
        _refuse_unlike((left, right), repeat_ones=True)
        _refuse_bools((left, right))
        return Merged(torch.sub)


class MergeMax(Layer):
    """The largest of the inputs, number by number.

    Shape:
        inputs: any number, all of one rank; sizes are equal, or 1, which is repeated.
        output: the sizes that are not 1.

    Differs from torch: ranks are not made equal by leading dimensions of size 1.

    >>> MergeMax().infer(TensorSpec(("batch", 4)), TensorSpec(("batch", 1)))
    ((batch, 4) float32,)
    """

    def build(self, *inputs: TensorSpec) -> nn.Module:
        _refuse_unlike(inputs, repeat_ones=True)
        _refuse_complex(inputs)
        return Merged(torch.maximum)


class MergeMin(Layer):
    """The smallest of the inputs, number by number.

    Shape:
        inputs: any number, all of one rank; sizes are equal, or 1, which is repeated.
        output: the sizes that are not 1.

    Differs from torch: ranks are not made equal by leading dimensions of size 1.

    >>> MergeMin().infer(TensorSpec(("batch", 4)), TensorSpec(("batch", 1)))
    ((batch, 4) float32,)
    """

    def build(self, *inputs: TensorSpec) -> nn.Module:
        _refuse_unlike(inputs, repeat_ones=True)
        _refuse_complex(inputs)
        return Merged(torch.minimum)


class MergeMean(Layer):
    """Mean of the inputs.

    Shape:
        inputs: any number, all of one rank; sizes are equal, or 1, which is repeated.
        output: the sizes that are not 1.

    Differs from torch: ranks are not made equal by leading dimensions of size 1.

    >>> MergeMean().infer(TensorSpec(("batch", 4)), TensorSpec(("batch", 1)))
    ((batch, 4) float32,)
    """

    def build(self, *inputs: TensorSpec) -> nn.Module:
        _refuse_unlike(inputs, repeat_ones=True)
        for x in inputs:
            need_floats(x)
        return Averaged()


class MergeDot(Layer):
    """Inner product along the last dimension, such as that of the vectors of two towers.

    Shape:
        left, right: of one rank, and of one last size; the others are equal, or 1, which is
        repeated.
        output: the sizes that are not 1; the last one is 1, or gone.

    Args:
        keepdim: Leave a last dimension of size 1, as an output of the network needs it.

    >>> MergeDot().infer(TensorSpec(("batch", 4)), TensorSpec(("batch", 4)))
    ((batch, 1) float32,)
    """

    keepdim: bool = True

    def build(self, left: TensorSpec, right: TensorSpec) -> nn.Module:
        _refuse_unlike((left, right), repeat_ones=True)
        for x in (left, right):
            need_floats(x)
        if left.rank < 2:
            raise ShapeError("Inputs of 2 dimensions or more are needed.", why=f"{left} has one")
        sizes = [size for x in (left, right) if isinstance(size := x.dim(-1), int)]
        if len(set(sizes)) > 1:
            raise _unlike(left.rank - 1, sorted(sizes), repeat_ones=False)
        return InnerProduct(self.keepdim)


class MergeGated(Layer):
    """A mixture of the inputs, ``g * left + (1 - g) * right``, whose share ``g`` is learned.

    The gate ``g`` is the sigmoid of an affine map of both inputs, one number for each feature.

    Shape:
        left, right: ``(batch, ..., features)``, of one shape, ``features`` known.
        output: the same.

    Args:
        bias: Add a learned constant in the gate.

    References: Arevalo et al. (2017), "Gated Multimodal Units for Information Fusion",
    arXiv:1702.01992.

    >>> MergeGated().infer(TensorSpec(("batch", 4)), TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    bias: bool = True

    def build(self, left: TensorSpec, right: TensorSpec) -> nn.Module:
        _refuse_unlike((left, right), repeat_ones=False)
        for x in (left, right):
            need_singles(x)
        if left.rank < 2:
            raise ShapeError("Inputs of 2 dimensions or more are needed.", why=f"{left} has one")
        known = left if isinstance(left.dim(-1), int) else right
        return Gate(known.size(-1), self.bias)


class Stack(Layer):
    """The inputs along a new dimension.

    Shape:
        inputs: any number, all of one shape.
        output: the same, with their number inserted at ``dim``.

    Args:
        dim: Where the new dimension stands in the output; not in front of the batch.

    >>> Stack().infer(TensorSpec(("batch", 4)), TensorSpec(("batch", 4)))
    ((batch, 2, 4) float32,)
    """

    dim: int = 1

    def build(self, *inputs: TensorSpec) -> nn.Module:
        _refuse_unlike(inputs, repeat_ones=False)
        if place(inputs[0], self.dim, extra=1) == 0:
            raise ShapeError(
                "Inputs cannot be stacked in front of the batch.",
                why=f"dim={self.dim} is the first dimension of the output",
                mend="choose another dimension",
            )
        return Stacked(self.dim)


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


class Averaged(nn.Module):
    """Mean of tensors, number by number.

    >>> Averaged()(torch.tensor([1.0, 2.0]), torch.tensor([3.0]))
    tensor([2.0000, 2.5000])
    """

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Their mean."""
        return functools.reduce(torch.add, tensors) / len(tensors)


class InnerProduct(nn.Module):
    """Inner product of two tensors along the last dimension.

    >>> InnerProduct(keepdim=True)(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """

    def __init__(self, keepdim: bool) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """The products, the last dimension of size 1 or gone."""
        if left.shape[-1] != right.shape[-1]:  # a 1 would be repeated
            sizes = [left.shape[-1], right.shape[-1]]
            raise _unlike(left.dim() - 1, sorted(sizes), repeat_ones=False)
        return (left * right).sum(-1, keepdim=self.keepdim)

    def extra_repr(self) -> str:
        return f"keepdim={self.keepdim}"


class Gate(nn.Module):
    """A learned mixture of two tensors.

    >>> gate = Gate(1)
    >>> _ = nn.init.zeros_(gate.map.weight), nn.init.zeros_(gate.map.bias)
    >>> gate(torch.tensor([[1.0]]), torch.tensor([[2.0]])).item()
    1.5
    """

    def __init__(self, features: int, bias: bool = True) -> None:
        super().__init__()
        self.map = nn.Linear(2 * features, features, bias)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """The mixture."""
        share: torch.Tensor = self.map(torch.cat([left, right], dim=-1)).sigmoid()
        return share * left + (1 - share) * right


class Stacked(nn.Module):
    """Tensors along a new dimension.

    >>> Stacked(0)(torch.tensor([1]), torch.tensor([2])).tolist()
    [[1], [2]]
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """The tensors along ``dim``."""
        return torch.stack(tensors, self.dim)

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


def _refuse_bools(inputs: Sequence[TensorSpec]) -> None:
    if any(x.dtype == torch.bool for x in inputs):
        raise ShapeError(
            "Truth values cannot be subtracted.",
            why=f"they are {listed(inputs)}",
            mend=f"make them numbers with {FLOAT}",
        )


def _refuse_complex(inputs: Sequence[TensorSpec]) -> None:
    if any(x.dtype.is_complex for x in inputs):
        raise ShapeError("Complex numbers have no order.", why=f"they are {listed(inputs)}")
