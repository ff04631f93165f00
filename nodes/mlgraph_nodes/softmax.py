"""Activations that make a distribution of the numbers along a dimension."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_floats, need_rank, place


class _AlongDim(Layer):
    """A layer that makes a distribution of the numbers along a dimension."""

    torch_class: ClassVar[type[nn.Module]]

    dim: int = -1

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        place(x, self.dim)
        return self.torch_class(dim=self.dim)


class Softmax(_AlongDim):
    """Positive numbers that sum to 1 along a dimension.

    Shape:
        input, output: any shape, the same.

    Differs from torch: ``dim`` is the last dimension unless given; torch guesses, and warns.

    >>> Softmax().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Softmax


class LogSoftmax(_AlongDim):
    """Logarithm of the softmax.

    Shape:
        input, output: any shape, the same.

    Differs from torch: ``dim`` is the last dimension unless given; torch guesses, and warns.

    >>> LogSoftmax(dim=1).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.LogSoftmax


class Softmin(_AlongDim):
    """Softmax of the negative input.

    Shape:
        input, output: any shape, the same.

    Differs from torch: ``dim`` is the last dimension unless given; torch guesses, and warns.

    >>> Softmin().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Softmin


class Softmax2d(Layer):
    """Softmax over the channels of every pixel.

    Shape:
        input, output: ``(batch, channels, height, width)``.

    Differs from torch: an image without a batch is refused.

    >>> Softmax2d().infer(TensorSpec(("batch", 3, 8, 8)))
    ((batch, 3, 8, 8) float32,)
    """

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        need_rank(x, [4], "(batch, channels, height, width)")
        return nn.Softmax2d()
