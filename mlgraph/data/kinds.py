"""The usual kinds of task: classification, regression, and none at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlgraph.data.answers import Label
from mlgraph.data.column import Column
from mlgraph.data.kind import Goal, Rows, TaskType
from mlgraph.data.prediction import Prediction
from mlgraph.data.targets import check_varies, classes_in
from mlgraph.errors import ConfigError, DataError, listing


class Unsupervised(TaskType):
    """No target.

    >>> Goal(Unsupervised()).kind
    'unsupervised'
    """

    arity = "none"
    accepts = ()
    losses = ()

    def output_size(self, goal: Goal) -> int:
        raise _no_target("A task without a target has no output size.")

    def encode(self, task: Rows, goal: Goal) -> Tensor:
        raise _no_target("A task without a target has nothing to compare outputs with.")

    def loss(self) -> str:
        return "mse"

    def predict(self, output: Tensor, goal: Goal, task: Rows) -> Prediction:
        raise _no_target("A task without a target has no predictions.")


class Classification(TaskType):
    """One class per row: one logit for the positive of two, one for each of more.

    >>> Goal("classification", ("a", "b", "c")).output_size
    3
    """

    accepts = ("string", "bool", "category", "int")
    scores = ("binary", "multiclass")
    metrics = ("accuracy",)
    weighs_classes = True

    def check(self, columns: Mapping[str, Column], row_ids: NDArray[np.int64]) -> None:
        super().check(columns, row_ids)
        for name, column in columns.items():
            check_varies(name, column)

    def classes_of(self, columns: Mapping[str, Column]) -> tuple[Label, ...]:
        return classes_in(next(iter(columns.values())))

    def output_size(self, goal: Goal) -> int:
        return len(goal.classes) if len(goal.classes) > 2 else 1

    def encode(self, task: Rows, goal: Goal) -> Tensor:
        codes = task.target_codes()
        if not goal.is_binary:
            return torch.from_numpy(codes)
        positive = codes == goal.positive_code
        return torch.from_numpy(positive.astype(np.float32)).unsqueeze(1)

    def loss(self) -> str:
        return "cross_entropy"

    def predict(self, output: Tensor, goal: Goal, task: Rows) -> Prediction:
        return Prediction.classification(
            task.row_ids,
            probabilities(output, goal),
            goal.classes,
            task.truth(),
            positive=goal.positive,
            weights=task.weights(),
        )

    def combine(self, output: Tensor) -> Tensor:
        """Logits of the mean of the probabilities."""
        return mean_logits(output) if output.shape[2] == 1 else log_mean(output.log_softmax(2))

    def needs(self, goal: Goal) -> str:
        if goal.is_binary:
            return "two classes need one logit, that of the positive class"
        return f"{len(goal.classes)} classes need one logit each"


class Regression(TaskType):
    """One quantity per row.

    >>> Goal("regression").output_size
    1
    """

    accepts = ("float", "int")
    scores = ("regression",)
    metrics = ("rmse",)
    transforms = "any"

    def output_size(self, goal: Goal) -> int:
        return 1

    def encode(self, task: Rows, goal: Goal) -> Tensor:
        return quantities(task).unsqueeze(1)

    def loss(self) -> str:
        return "mse"

    def predict(self, output: Tensor, goal: Goal, task: Rows) -> Prediction:
        response = output.reshape(len(output)).numpy()
        return Prediction.regression(task.row_ids, response, task.truth(), weights=task.weights())

    def needs(self, goal: Goal) -> str:
        return "a regression needs one quantity per row"


def quantities(task: Rows) -> Tensor:
    """The targets as float32, ``(rows,)``, of several targets ``(rows, targets)``.

    Raises:
        DataError: One is too large for float32.

    >>> from mlgraph.data.task import Task
    >>> quantities(Task({"y": [1.0, 2.0]}, target="y"))
    tensor([1., 2.])
    """
    values = task.target_codes()
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    large = np.isinf(rounded)
    if large.any():
        rows = large if large.ndim == 1 else large.any(axis=1)
        raise DataError(
            f"The target {listing(task.targets)} is too large for float32.",
            where=f"rows {listing(task.row_ids[rows])}",
            why=f"it is {values[large][0]:g}, and networks calculate in float32",
            mend='put po("targetscale") before the network, or leave these rows out',
        )
    return torch.from_numpy(rounded)


def probabilities(logits: Tensor, goal: Goal) -> np.ndarray[tuple[int, int], np.dtype[Any]]:
    """Probabilities ``(rows, classes)`` in the order of the classes.

    >>> probabilities(torch.tensor([[0.0]]), Goal("classification", ("no", "yes")))
    array([[0.5, 0.5]], dtype=float32)
    """
    if not goal.is_binary:
        return torch.softmax(logits, dim=1).numpy()
    positive = torch.sigmoid(logits.reshape(len(logits), 1))
    pair = (torch.sigmoid(-logits.reshape(len(logits), 1)), positive)
    return torch.cat(pair if goal.positive_code == 1 else pair[::-1], dim=1).numpy()


def mean_logits(logits: Tensor) -> Tensor:
    """Logits of the mean over members of probabilities: ``(rows, members, n) -> (rows, n)``.

    >>> mean_logits(torch.tensor([[[60.0], [60.0]]]))
    tensor([[60.]])
    """
    # Not logit(p): of a probability near 1 the difference to 1 is lost.
    return log_mean(nn.functional.logsigmoid(logits)) - log_mean(nn.functional.logsigmoid(-logits))


def log_mean(logs: Tensor) -> Tensor:
    """The logarithm of the mean of members, from their logarithms.

    >>> log_mean(torch.zeros(1, 3, 2))
    tensor([[0., 0.]])
    """
    return logs.logsumexp(1) - torch.tensor(float(logs.shape[1])).log()


def _no_target(what: str) -> ConfigError:
    mend = 'make the task with Task(data, target="..."), or pass one: network(specs, task=task)'
    return ConfigError(what, mend=mend)
