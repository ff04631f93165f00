"""Affine maps."""

from __future__ import annotations

from torch import nn

from mlgraph.core.param import param
from mlgraph.data.taskspec import TaskSpec
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_floats


class Linear(Layer):
    """Affine map of the last dimension.

    Shape:
        input: ``(batch, ..., features)``, ``features`` known.
        output: ``(batch, ..., out_features)``.

    Args:
        out_features: Size of the output; None means the output size of the task.
        bias: Add a learned constant.

    >>> Linear(out_features=10).infer(TensorSpec(("batch", 4)))
    ((batch, 10) float32,)
    """

    out_features: int | None = param(default=None, lower=1)
    bias: bool = True

    def build(self, x: TensorSpec, *, task: TaskSpec) -> nn.Module:
        need_floats(x)
        size = task.output_size if self.out_features is None else self.out_features
        return nn.Linear(x.size(-1), size, self.bias)
