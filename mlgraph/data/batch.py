"""From tasks to batches: what is fed to a network, its targets, and how both are cut.

Tensors are made once per fit or prediction, as whole columns; a batch is a slice or an index of
them, never a loop over rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise, repeat
from typing import Any, NamedTuple

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.core.value import FrozenDict, canonical
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.data.token import IngressToken
from mlgraph.errors import DataError, listing


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


class Batch(NamedTuple):
    """Some rows: inputs in the order of the network's arguments, target and weights.

    >>> Batch((torch.zeros(2, 1),), None, None).inputs[0].shape
    torch.Size([2, 1])
    """

    inputs: tuple[Tensor, ...]
    target: Tensor | None
    weights: Tensor | None


@attrs.frozen(eq=False)
class TensorBatches:
    """Tensors in memory, cut into batches.

    Args:
        inputs: One tensor per input of the network, rows first.
        target: The target, rows first.
        weights: Row weights.
        size: Rows per batch.
        drop_last: Leave out a last batch that is not full.
        merge_last: Add a last batch of one row to the batch before it.

    >>> batches = TensorBatches((torch.zeros(7, 1),), None, None, 3)
    >>> [len(batch.inputs[0]) for batch in batches.epoch()]
    [3, 3, 1]
    """

    inputs: tuple[Tensor, ...]
    target: Tensor | None
    weights: Tensor | None
    size: int
    drop_last: bool = False
    merge_last: bool = False

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.inputs[0])

    @property
    def n_batches(self) -> int:
        """Number of batches of an epoch.

        >>> TensorBatches((torch.zeros(7, 1),), None, None, 3, drop_last=True).n_batches
        2
        """
        return self._count(self.rows)

    def spans(self) -> list[tuple[int, int]]:
        """First row and end of each batch.

        >>> TensorBatches((torch.zeros(7, 1),), None, None, 3, merge_last=True).spans()
        [(0, 3), (3, 7)]
        """
        ends = [0, *accumulate(self.cut(self.rows))]
        return list(pairwise(ends))

    def cut(self, rows: int) -> list[int]:
        """Rows of each batch of an epoch that visits so many, counted as often as it does.

        >>> TensorBatches((torch.zeros(7, 1),), None, None, 3).cut(5)
        [3, 2]
        """
        count = self._count(rows)
        end = min(count * self.size, rows) if self.drop_last else rows
        return [self.size] * (count - 1) + [end - (count - 1) * self.size] if count else []

    def _count(self, rows: int) -> int:
        whole, rest = divmod(rows, self.size)
        joins = whole > 0 and (self.drop_last or (self.merge_last and rest == 1))
        return whole if rest == 0 or joins else whole + 1

    def epoch(
        self, order: Tensor | None = None, sizes: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """The batches of one epoch, rows in the given order.

        Args:
            order: Places of the rows, in any number and as often as wished; None: all in order.
            sizes: Rows of each batch; None: as ``spans`` says.
        """
        sizes = list(self.cut(self.rows) if sizes is None else sizes)
        if order is not None:
            return map(self.take, order[: sum(sizes)].split_with_sizes(sizes))
        # One call cuts a tensor into views of all batches; a slice per batch costs more.
        inputs = zip(*(x[: sum(sizes)].split_with_sizes(sizes) for x in self.inputs), strict=True)
        rest = (
            repeat(None) if tensor is None else tensor[: sum(sizes)].split_with_sizes(sizes)
            for tensor in (self.target, self.weights)
        )
        return map(Batch, inputs, *rest)

    def take(self, rows: Tensor) -> Batch:
        """The rows at these places."""
        return Batch(
            tuple([x.index_select(0, rows) for x in self.inputs]),
            None if self.target is None else self.target.index_select(0, rows),
            None if self.weights is None else self.weights.index_select(0, rows),
        )

    def to(self, device: torch.device) -> TensorBatches:
        """The same on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def that_count(self) -> TensorBatches:
        """The rows whose weight is not 0.

        >>> batches = TensorBatches((torch.zeros(3, 1),), None, torch.tensor([1.0, 0.0, 2.0]), 2)
        >>> batches.that_count().weights
        tensor([1., 2.])
        """
        if self.weights is None or bool(self.weights.all()):
            return self
        rows = self.weights.nonzero().squeeze(1)
        return self._each(lambda tensor: tensor[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> TensorBatches:
        return attrs.evolve(
            self,
            inputs=tuple(map(change, self.inputs)),
            target=None if self.target is None else change(self.target),
            weights=None if self.weights is None else change(self.weights),
        )
