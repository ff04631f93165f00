"""Kinds of task that say how uncertain a quantity is: by quantiles, or by a distribution."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mlgraph.core.param import param
from mlgraph.data.kind import Goal, Rows, TaskType
from mlgraph.data.kinds import quantities
from mlgraph.data.prediction import Prediction


class Pinball(nn.Module):
    """The loss of quantiles, averaged over the levels (Koenker and Bassett, 1978).

    Shape:
        output: ``(batch, levels)``.
        target: ``(batch, 1)``.
        returns: ``(batch,)``.

    >>> Pinball((0.1, 0.5))(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0]]))
    tensor([0.3000])
    """

    levels: Tensor

    def __init__(self, levels: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of each row."""
        above = target - output
        return torch.maximum(self.levels * above, (self.levels - 1) * above).mean(1)


def normal_nll(output: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of a normal distribution.

    Shape:
        output: ``(batch, 2)``, mean and logarithm of the standard deviation.
        target: ``(batch, 1)``.
        returns: ``(batch,)``.

    >>> normal_nll(torch.zeros(1, 2), torch.zeros(1, 1))
    tensor([0.9189])
    """
    mean, log_sigma = output.unbind(1)
    standard = (target.squeeze(1) - mean) * torch.exp(-log_sigma)
    return 0.5 * standard.square() + log_sigma + 0.5 * math.log(2 * math.pi)


class QuantileRegression(TaskType):
    """Quantiles of one quantity, one output each.

    The response is the quantile whose level is nearest to one half. Outputs are sorted before
    they are predictions: quantiles do not cross (Chernozhukov et al., 2010).

    Args:
        levels: Levels, rising, between 0 and 1.

    Raises:
        ConfigError: There are no levels, or they do not rise from above 0 to below 1.

    >>> from mlgraph.data.task import Task
    >>> task = Task({"y": [1.0, 2.0]}, target="y", kind=QuantileRegression(levels=(0.05, 0.95)))
    >>> task.kind, task.goal.output_size
    ('quantile', 2)
    """

    key = "quantile"
    accepts = ("float", "int")
    losses = ()
    scores = ("regression", "quantile")
    metrics = ("pinball",)
    transforms = "any"

    levels: tuple[float, ...] = param(
        default=(0.1, 0.5, 0.9), check=lambda levels: _complaint(levels)
    )

    def output_size(self, goal: Goal) -> int:
        return len(self.levels)

    def encode(self, task: Rows, goal: Goal) -> Tensor:
        return quantities(task).unsqueeze(1)

    def loss(self) -> type[nn.Module]:
        return Pinball

    def loss_options(self) -> Mapping[str, Any]:
        return {"levels": self.levels}

    def predict(self, output: Tensor, goal: Goal, task: Rows) -> Prediction:
        values = output.sort(dim=1).values.numpy()
        middle = min(range(len(self.levels)), key=lambda i: abs(self.levels[i] - 0.5))
        return Prediction.regression(
            task.row_ids,
            values[:, middle],
            task.truth(),
            weights=task.weights(),
            quantiles=dict(zip(self.levels, values.T, strict=True)),
        )

    def needs(self, goal: Goal) -> str:
        return f"{len(self.levels)} levels need one quantile each"


class NormalRegression(TaskType):
    """A normal distribution of one quantity: its mean, and the logarithm of its deviation.

    The response is the mean, ``se`` the standard deviation. An ensemble is as one distribution
    with the mean and variance of the mixture of its members.

    >>> Goal("normal").output_size
    2
    """

    key = "normal"
    accepts = ("float", "int")
    losses = ()
    scores = ("regression", "normal")
    metrics = ("nll",)
    transforms = "linear"

    def output_size(self, goal: Goal) -> int:
        return 2

    def encode(self, task: Rows, goal: Goal) -> Tensor:
        return quantities(task).unsqueeze(1)

    def loss(self) -> Any:
        return normal_nll

    def predict(self, output: Tensor, goal: Goal, task: Rows) -> Prediction:
        mean, log_sigma = output.unbind(1)
        return Prediction.regression(
            task.row_ids,
            mean.numpy(),
            task.truth(),
            weights=task.weights(),
            se=log_sigma.exp().numpy(),
        )

    def combine(self, output: Tensor) -> Tensor:
        mean, log_sigma = output.unbind(2)
        variance = (2 * log_sigma).exp().mean(1) + mean.var(1, correction=0)
        return torch.stack([mean.mean(1), 0.5 * variance.log()], 1)

    def needs(self, goal: Goal) -> str:
        return "a normal distribution needs its mean and the logarithm of its deviation"


def _complaint(levels: Any) -> str | None:
    rising = all(a < b for a, b in itertools.pairwise(levels))
    inside = all(0 < level < 1 for level in levels)
    return None if levels and rising and inside else "rising numbers between 0 and 1"
