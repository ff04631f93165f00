"""The layer that changes nothing."""

from __future__ import annotations

from torch import nn

from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec


class Identity(Layer):
    """The input itself: a place holder, or one path of several.

    Shape:
        input, output: any shape, the same.

    >>> Identity().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    def build(self, x: TensorSpec) -> nn.Module:
        return nn.Identity()
