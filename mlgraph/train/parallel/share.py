"""The share of a process: its rows of every batch, and its part of the loss.

The parts of the loss, and so their gradients, add up over all processes to the loss of the batch:
each row comes with the part of the whole weight that is its own. Nothing need be asked for, as
every process knows the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from mlgraph.data.batch import Batch
from mlgraph.errors import DataError


@attrs.frozen(eq=False)
class Share:
    """The rows of one process in batches of all; whatever else is asked for is that of all rows.

    Batches come with weights which sum to 1 over the processes.

    Args:
        whole: The batches of all processes together.
        rank: The number of this process.
        size: How many there are.
        mass: The weight of each row, ``(rows,)``; None: all weigh the same.

    >>> from mlgraph.data.batch import TensorBatches
    >>> whole = TensorBatches((torch.arange(5.0),), None, None, size=3)
    >>> [batch.inputs[0].tolist() for batch in Share(whole, 0, 2).epoch()]
    [[0.0], [3.0]]
    >>> [batch.inputs[0].tolist() for batch in Share(whole, 1, 2).epoch()]
    [[1.0, 2.0], [4.0]]
    """

    whole: Any
    rank: int
    size: int
    mass: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.whole, name)

    def epoch(
        self,
        order: Tensor | None = None,
        sizes: Sequence[int] | None = None,
        *,
        number: int = 0,
        first: int = 0,
    ) -> Iterator[Batch]:
        """The share of each batch of one epoch, as the batches of all are asked for.

        Raises:
            DataError: A row cannot be read.
        """
        if order is None:
            order = torch.arange(self.whole.rows, device=self.whole.device)
        sizes = self.whole.cut(self.whole.rows) if sizes is None else list(sizes)
        parts = [self._of(places) for places in order[: sum(sizes)].split_with_sizes(sizes)]
        rows = torch.cat([mine for mine, _ in parts]) if parts else order[:0]
        counts = [len(mine) for mine, _ in parts]
        batches = self.whole.epoch(rows, counts, number=number, first=first)
        for batch, (mine, weights) in zip(batches, parts[first:], strict=True):
            yield _weighed(batch, mine, weights)

    def fraction(self, n: int) -> float:
        """The part of the rows of a batch of n that this process has."""
        start, end, counts = part(n, self.rank, self.size, self._least)
        return (end - start) / n if counts else 0.0

    def _of(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Of the rows of a batch those of this process, and their weights."""
        start, end, counts = part(len(places), self.rank, self.size, self._least)
        mine = places[start:end]
        if not counts:
            return mine, torch.zeros(len(mine), device=places.device)
        if self.mass is None:
            return mine, torch.full((len(mine),), 1 / len(places), device=places.device)
        return mine, self.mass[mine] / self.mass[places].sum()

    @property
    def _least(self) -> int:
        return 2 if self.whole.merge_last else 1  # batch statistics need two rows


def _weighed(batch: Batch, mine: Tensor, weights: Tensor) -> Batch:
    complete(batch, len(mine))
    return batch._replace(weights=weights)


def complete(batch: Batch, rows: int) -> Batch:
    """The batch, if it has all its rows.

    Raises:
        DataError: Some cannot be read.

    >>> len(complete(Batch((torch.zeros(2, 1),), None, None), 2).inputs[0])
    2
    """
    if len(batch.inputs[0]) != rows:
        raise DataError(
            "Rows that cannot be read cannot be left out while several processes train.",
            why="the share of each process would be another one",
            mend='leave these rows out of the task, or use on_error="raise" to see them',
        )
    return batch


def part(n: int, rank: int, size: int, least: int = 1) -> tuple[int, int, bool]:
    """The first row of a process, the end of its rows, and whether they count.

    No process is without rows, as none may stand aside: where there are too few of them, the last
    processes take rows that are another's, and that do not count.

    Args:
        n: How many rows there are.
        rank: The number of the process.
        size: How many processes there are.
        least: Rows that each needs.

    >>> [part(5, rank, 2) for rank in range(2)]
    [(0, 2, True), (2, 5, True)]
    >>> [part(3, rank, 2, least=2) for rank in range(2)]
    [(0, 3, True), (0, 2, False)]
    """
    active = max(1, min(size, n // least))
    if rank < active:
        return n * rank // active, n * (rank + 1) // active, True
    return 0, min(least, n), False


class Summed(nn.Module):
    """A loss whose weights are parts of the whole: it is summed, not averaged.

    Args:
        objective: The loss.
        even: Whether all rows weigh the same, so that its mean will do.

    Shape:
        output: ``(batch, ...)``.
        target: ``(batch, ...)``.
        returns: ``()``.

    >>> from mlgraph.train.lossfn import ObjectiveFn
    >>> loss = Summed(ObjectiveFn(nn.MSELoss(), nn.MSELoss(reduction="none")), even=False)
    >>> output, target = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
    >>> loss.weighted(output, target, torch.tensor([0.25, 0.25]))
    tensor(2.5000)
    """

    def __init__(self, objective: Any, even: bool) -> None:
        super().__init__()
        self.objective = objective
        self.even = even

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean, ``()``."""
        loss: Tensor = self.objective(output, target)
        return loss

    def weighted(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """The sum with these parts of the whole weight, ``(batch,)``, those of classes included."""
        if self.even:  # also for a loss that has no value per row
            loss: Tensor = self.objective(output, target) * weights.sum()
            return loss
        rows: Tensor = self.objective.per_row(output, target)
        return (rows * weights).sum()
