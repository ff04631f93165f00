"""Networks that are ensembles: several outputs per row, one of each member.

A layer says so with ``ensemble = True``; its output is ``(batch, members, size)``. Every member
learns the task on its own; what is predicted is the mean of their probabilities or quantities.
"""

from __future__ import annotations

from torch import Tensor, nn

from mlgraph.data.taskspec import TaskSpec
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.train.lossfn import ObjectiveFn


def is_ensemble(descriptor: ModelDescriptor) -> bool:
    """Whether the tensor we stand at holds one output for each member.

    >>> from mlgraph import Task, nn
    >>> task = Task({"x": [1.0, 2.0], "y": [0.5, 1.0]}, target="y")
    >>> is_ensemble(nn("head").as_graph().fit(task).outputs["head.output"])
    False
    """
    call = descriptor.calls.get(descriptor.source.id)
    return call is not None and call.layer.ensemble


class OfMembers(nn.Module):
    """The mean of a loss over the members of an ensemble.

    Shape:
        output: ``(batch, members, size)``.
        target: ``(batch, ...)``, the same for all members.

    >>> import torch
    >>> loss = OfMembers(ObjectiveFn(nn.MSELoss(), nn.MSELoss(reduction="none")))
    >>> loss(torch.tensor([[[1.0], [3.0]]]), torch.zeros(1, 1))
    tensor(5.)
    """

    def __init__(self, objective: ObjectiveFn) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean over rows and members, ``()``."""
        loss: Tensor = self.objective(output.flatten(0, 1), _repeated(target, output))
        return loss

    def weighted(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """The mean with these weights of rows, ``(batch,)``."""
        members = output.flatten(0, 1)
        repeated = _repeated(weights.reshape(-1), output)
        return self.objective.weighted(members, _repeated(target, output), repeated)

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of each row, ``(batch,)``, the mean over its members."""
        loss = self.objective.per_row(output.flatten(0, 1), _repeated(target, output))
        return loss.reshape(output.shape[:2]).mean(1)


def combined(output: Tensor, spec: TaskSpec) -> Tensor:
    """One output per row that stands for all members, as the kind of task says.

    Shape:
        output: ``(rows, members, size)``.
        returns: ``(rows, size)``.

    >>> import torch
    >>> spec = TaskSpec("classification", ("no", "yes"))
    >>> combined(torch.tensor([[[0.0], [0.0]]]), spec)
    tensor([[0.]])
    >>> combined(torch.tensor([[[1.0], [3.0]]]), TaskSpec("regression"))
    tensor([[2.]])
    """
    return spec.type.combine(output)


def _repeated(values: Tensor, output: Tensor) -> Tensor:
    """Values of rows, once for each member."""
    return values.repeat_interleave(output.shape[1], 0)
