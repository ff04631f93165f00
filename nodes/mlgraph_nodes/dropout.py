"""Dropout: numbers that are left out at random while training."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from mlgraph.core.param import param
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_floats, need_rank


class _Dropout(Layer):
    """Dropout for inputs of one layout; an empty one means any."""

    torch_class: ClassVar[type[nn.Module]]
    layout: ClassVar[str] = ""

    p: float = param(default=0.5, lower=0, upper=1)

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        if self.layout:
            need_rank(x, [self.layout.count(",") + 1], self.layout)
        return self.torch_class(self.p)


class Dropout(_Dropout):
    """Zeros in random places while training; the other numbers are scaled up.

    Shape:
        input, output: any shape, the same.

    Args:
        p: Probability of a zero.

    >>> Dropout(p=0.1).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Dropout


class AlphaDropout(_Dropout):
    """Dropout that keeps mean and variance; the companion of SELU.

    Shape:
        input, output: any shape, the same.

    Args:
        p: Probability that a number is replaced.

    >>> AlphaDropout(p=0.1).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.AlphaDropout


class Dropout1d(_Dropout):
    """Whole channels of a sequence are zero at random while training.

    Shape:
        input, output: ``(batch, channels, length)``.

    Args:
        p: Probability that a channel is zero.

    Differs from torch: a sequence without a batch is refused.

    >>> Dropout1d().infer(TensorSpec(("batch", 4, 10)))
    ((batch, 4, 10) float32,)
    """

    torch_class = nn.Dropout1d
    layout = "(batch, channels, length)"


class Dropout2d(_Dropout):
    """Whole channels of an image are zero at random while training.

    Shape:
        input, output: ``(batch, channels, height, width)``.

    Args:
        p: Probability that a channel is zero.

    Differs from torch: an image without a batch is refused.

    >>> Dropout2d().infer(TensorSpec(("batch", 3, 8, 8)))
    ((batch, 3, 8, 8) float32,)
    """

    torch_class = nn.Dropout2d
    layout = "(batch, channels, height, width)"


class Dropout3d(_Dropout):
    """Whole channels of a volume are zero at random while training.

    Shape:
        input, output: ``(batch, channels, depth, height, width)``.

    Args:
        p: Probability that a channel is zero.

    Differs from torch: a volume without a batch is refused.

    >>> Dropout3d().infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 4, 8, 8) float32,)
    """

    torch_class = nn.Dropout3d
    layout = "(batch, channels, depth, height, width)"
