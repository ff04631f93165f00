"""What is fed to a network: a task for each ingress, and the targets and weights of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.core.value import FrozenDict, canonical
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.data.token import IngressToken
from mlgraph.errors import DataError, UnknownAttributeError, listing


class Feed(FrozenDict):
    """What enters a network when it is applied: a task for each ingress.

    >>> len(Feed({}))
    0
    """

    @classmethod
    def merged(cls, feeds: tuple[Feed, ...]) -> Feed:
        """One feed with the ingresses of all; their rows are aligned by row id.

        Raises:
            DataError: The tasks have different rows, targets or weights.
        """
        found = dict(feeds[0])
        for feed in feeds[1:]:
            for id, task in feed.items():
                if found.get(id) is not task:
                    found.setdefault(id, aligned(id, feeds[0].task, task))
        return cls(found)

    def tensors(self, tokens: Mapping[str, IngressToken]) -> tuple[Tensor, ...]:
        """The tensor of each token, in order."""
        return tuple(token.tensor(self[id]) for id, token in tokens.items())

    @property
    def task(self) -> Task:
        """A task with the rows, the target and the weights."""
        task: Task = next(iter(self.values()))
        return task

    def __getattr__(self, name: str) -> Any:
        # Only reached for attributes that do not exist.
        if name in ("score", "prob", "response", "truth"):
            raise UnknownAttributeError(
                f"What a network is fed has no {name!r}; a prediction has.",
                why="the graph ends before the network is trained",
                mend='end it with po("torch_model")',
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def describe(self) -> str:
        """The feed in one phrase."""
        return f"feed of {listing(self)}, {len(self.task)} rows"


def aligned(id: str, first: Task, task: Task) -> Task:
    """A task with its rows in the order of another.

    Args:
        id: The ingress where it enters, for messages.
        first: The other task.
        task: The task.

    Raises:
        DataError: They have different rows, targets or weights.

    >>> task = Task({"x": [1.0, 2.0, 3.0]})
    >>> aligned("numbers", task, task.take([2, 0, 1])).row_ids
    array([0, 1, 2])
    """
    if task is first:
        return task
    try:
        task = first.align(task)
        _refuse_other_goal(first, task)
    except DataError as error:
        raise error.at(f"node {id!r}") from None
    return task


def _refuse_other_goal(first: Task, task: Task) -> None:
    if first.targets != task.targets or canonical(first.goal) != canonical(task.goal):
        raise DataError(
            "Paths with different targets cannot meet in one network.",
            why=f"one learns {_learned(first)}; the other {_learned(task)}",
            mend="change the target before the paths part",
        )
    if not _equal(first.truth(), task.truth()):
        raise DataError(
            f"The target {listing(first.targets)} has different values "
            "on two paths of one network.",
            mend="transform the target before the paths part",
        )
    if not _equal(first.weights(), task.weights()):
        raise DataError(
            "The rows have different weights on two paths of one network.",
            mend="weigh them before the paths part",
        )


def _learned(task: Task) -> str:
    classes = f" of {listing(task.classes)}" if task.classes else ""
    return f"{listing(task.targets) or 'nothing'}, {task.goal.type}{classes}"


def _equal(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other, equal_nan=True)


def target_tensor(task: Task, spec: TaskSpec) -> Tensor:
    """The target of all rows, as the kind of task encodes it.

    Shape:
        binary: ``(batch, 1)`` float32, 1 for the positive class.
        multiclass: ``(batch,)`` int64, places in the classes.
        regression: ``(batch, 1)`` float32.
        several targets: ``(batch, targets)`` float32.

    Raises:
        DataError: A row has no target.

    >>> target_tensor(Task({"y": [1.0, 2.0]}, target="y"), TaskSpec("regression")).shape
    torch.Size([2, 1])
    """
    if spec.type.arity != "none":
        _refuse_missing(task)
    encoded = spec.type.encode(task, spec)
    if not isinstance(encoded, Tensor) or encoded.shape[:1] != (len(task),):
        raise DataError(
            f"{type(spec.type).__name__}.encode() did not return a target for each row.",
            why=f"of {len(task)} rows it made "
            + (f"{tuple(encoded.shape)}" if isinstance(encoded, Tensor) else repr(encoded)),
            mend="return a tensor, rows first",
        )
    return encoded


def _refuse_missing(task: Task) -> None:
    codes = task.target_codes()
    missing = codes < 0 if codes.dtype.kind == "i" else np.isnan(codes)
    missing = missing if missing.ndim == 1 else missing.any(axis=1)
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} rows have no target {listing(task.targets)}.",
            where=f"rows {listing(task.row_ids[missing])}",
            mend="leave these rows out",
        )


def weight_tensor(task: Task) -> Tensor | None:
    """Row weights as float32, shape ``(batch,)``, or None.

    >>> weight_tensor(Task({"x": [1.0, 2.0]}).with_weight([0.5, 1.0]))
    tensor([0.5000, 1.0000])
    """
    weights = task.weights()
    return None if weights is None else torch.from_numpy(weights.astype(np.float32))
