"""Networks that look at nothing: the baseline that every other one has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import nn

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.port import Port
from mlgraph.data.feed import Feed
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.data.token import IngressToken
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen
class RowsToken(IngressToken):
    """As many rows as the task has, and nothing in them.

    >>> RowsToken("rows", ()).tensor(Task({"a": [1.0, None]})).shape
    torch.Size([2, 0])
    """

    @property
    def spec(self) -> TensorSpec:
        return TensorSpec(("batch", 0))

    def tensor(self, task: Task) -> torch.Tensor:
        return torch.empty(len(task), 0)


class IngressRows(Node):
    """Nothing but the number of rows enters the network: any features will do, also none.

    Shape:
        output: ``(batch, 0)`` float32.

    >>> task = Task({"x": ["u", None], "y": [1.0, 2.0]}, target="y")
    >>> IngressRows().as_graph().fit(task).outputs["ingress_rows.output"].spec
    (batch, 0) float32
    """

    inputs = (Port("input", Task),)
    outputs = (Port("output", fit=ModelDescriptor, apply=Feed),)

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        token = RowsToken(ctx.id, ())
        return (ModelDescriptor.entering(token, inputs["input"]),), token

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (Feed({ctx.id: inputs["input"]}),)


class ConstantOutput(Layer):
    """A learned constant, the same for every row, whatever the input.

    Shape:
        input: any; only the number of rows counts.
        output: ``(batch, output size of the task)``.

    Raises:
        ConfigError: The task has no target.

    >>> task = TaskSpec("classification", ("a", "b", "c"))
    >>> ConstantOutput().infer(TensorSpec(("batch", 8)), task=task)
    ((batch, 3) float32,)
    """

    def build(self, x: TensorSpec, *, task: TaskSpec) -> nn.Module:
        return Constant(task.output_size)


class Constant(nn.Module):
    """A learned constant for each row, zero at the start.

    >>> Constant(2)(torch.ones(3, 5)).shape
    torch.Size([3, 2])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The constant, ``(batch, size)``."""
        return self.value.expand(x.shape[0], -1)
