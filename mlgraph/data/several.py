"""Kinds of task with several target columns: labels that are true or false, and quantities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.data.column import Column
from mlgraph.data.kind import Goal, Rows, TaskType
from mlgraph.data.kinds import mean_logits, quantities
from mlgraph.data.prediction import Prediction
from mlgraph.data.targets import numbers
from mlgraph.errors import DataError


class MultiLabel(TaskType):
    """Several labels, each true or false for every row; one logit for each.

    >>> Goal("multilabel", targets=("a", "b", "c")).output_size
    3
    """

    key = "multilabel"
    arity = "several"
    accepts = ("bool", "int")
    losses = ("bce_with_logits", "multi_label_soft_margin")
    scores = ("multilabel",)
    metrics = ("hamming_loss",)

    def check(self, columns: Mapping[str, Column], row_ids: NDArray[np.int64]) -> None:
        super().check(columns, row_ids)
        values = [_truths(name, column) for name, column in columns.items()]
        if all(len(np.unique(column)) < 2 for column in values):
            raise DataError(
                "No label is true for some rows and false for others: nothing to learn.",
                where=f"columns {', '.join(map(repr, columns))}",
                why="a multilabel task needs a label that varies",
            )

    def codes(self, columns: Sequence[Column], goal: Goal) -> NDArray[np.float64]:
        return np.column_stack([_truths(*pair) for pair in zip(goal.targets, columns, strict=True)])

    def output_size(self, goal: Goal) -> int:
        return len(goal.targets)

    def encode(self, task: Rows, goal: Goal) -> Tensor:
        return torch.from_numpy(task.target_codes().astype(np.float32))

    def loss(self) -> str:
        return "bce_with_logits"

    def predict(self, output: Tensor, goal: Goal, task: Rows) -> Prediction:
        return Prediction.multilabel(
            task.row_ids,
            output.sigmoid().numpy(),
            goal.targets,
            task.truth(),
            weights=task.weights(),
        )

    def combine(self, output: Tensor) -> Tensor:
        """Logits of the mean of the probabilities."""
        return mean_logits(output)

    def needs(self, goal: Goal) -> str:
        return f"{len(goal.targets)} labels need one logit each"


class MultiTarget(TaskType):
    """Several quantities per row.

    >>> Goal("multitarget", targets=("a", "b")).output_size
    2
    """

    key = "multitarget"
    arity = "several"
    accepts = ("float", "int")
    losses = ("huber", "l1", "mse", "poisson_nll", "smooth_l1")
    scores = ("multitarget",)
    metrics = ("rmse",)
    transforms = "any"

    def output_size(self, goal: Goal) -> int:
        return len(goal.targets)

    def encode(self, task: Rows, goal: Goal) -> Tensor:
        return quantities(task)

    def loss(self) -> str:
        return "mse"

    def predict(self, output: Tensor, goal: Goal, task: Rows) -> Prediction:
        response: Any = output.numpy()
        return Prediction.multitarget(
            task.row_ids, response, goal.targets, task.truth(), weights=task.weights()
        )

    def needs(self, goal: Goal) -> str:
        return f"{len(goal.targets)} targets need one quantity each"


def _truths(name: str, column: Column) -> NDArray[np.float64]:
    """0 and 1, NaN where missing."""
    values = numbers(column)
    strange = ~np.isin(values, (0.0, 1.0)) & ~np.isnan(values)
    if strange.any():
        raise DataError(
            f"Label {name!r} is neither true nor false in {int(strange.sum())} rows.",
            where=f"column {name!r}",
            why=f"a label is True or False, or 1 or 0; here is a {values[strange][0]:g}",
            mend='make a column of booleans for each label, or say kind="multitarget"',
        )
    return values
