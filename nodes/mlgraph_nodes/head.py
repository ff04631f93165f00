"""The last layer of a network."""

from __future__ import annotations

from torch import nn

from mlgraph.data.taskspec import TaskSpec
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_floats, need_rank


class Head(Layer):
    """Affine map to the output size of the task.

    That is one number for regression, one logit for two classes, one logit per class for more,
    and whatever another kind of task asks for.

    Shape:
        input: ``(batch, features)``, ``features`` known.
        output: ``(batch, output size)``.

    Args:
        bias: Add a learned constant.

    Raises:
        ConfigError: The task has no target.

    >>> task = TaskSpec("classification", ("a", "b", "c"))
    >>> Head().infer(TensorSpec(("batch", 8)), task=task)
    ((batch, 3) float32,)
    """

    bias: bool = True

    def build(self, x: TensorSpec, *, task: TaskSpec) -> nn.Module:
        mend = 'put nn("flatten") before it, or a pooling layer and then nn("flatten")'
        need_floats(x)
        need_rank(x, [2], "(batch, features)", mend)
        return nn.Linear(x.size(-1), task.output_size, self.bias)
