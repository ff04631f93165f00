"""Batches: some rows of a table as tensors, an epoch of them at a time.

Tensors are made once per fit or prediction, as whole columns; a batch is a slice or an index of
them, never a loop over rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any, NamedTuple, Self

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.core.value import digest


class Batch(NamedTuple):
    """Some rows: inputs in the order of the network's arguments, target and weights.

    >>> Batch((torch.zeros(2, 1),), None, None).inputs[0].shape
    torch.Size([2, 1])
    """

    inputs: tuple[Tensor, ...]
    target: Tensor | None
    weights: Tensor | None


class Batches(ABC):
    """The rows of an epoch, cut into batches.

    Args:
        target: The target, rows first.
        weights: Row weights.
        size: Rows per batch.
        drop_last: Leave out a last batch that is not full.
        merge_last: Add a last batch of one row to the batch before it.

    >>> issubclass(TensorBatches, Batches)
    True
    """

    target: Tensor | None
    weights: Tensor | None
    size: int
    drop_last: bool
    merge_last: bool

    @property
    @abstractmethod
    def rows(self) -> int:
        """Number of rows."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where batches are."""

    @property
    @abstractmethod
    def ready(self) -> tuple[Tensor | None, ...]:
        """The inputs that are tensors already; None for one that is read batch by batch."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Digest of what is in the batches."""

    @abstractmethod
    def epoch(
        self,
        order: Tensor | None = None,
        sizes: Sequence[int] | None = None,
        *,
        number: int = 0,
        first: int = 0,
    ) -> Iterator[Batch]:
        """The batches of one epoch; one of which nothing can be read has no rows.

        Args:
            order: Places of the rows, in any number and as often as wished; None: all in order.
            sizes: Rows of each batch; None: as ``cut`` says.
            number: Which epoch it is: random operations draw anew in each.
            first: How many batches to leave out at the beginning.
        """

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """The same on a device."""

    @abstractmethod
    def that_count(self) -> Self:
        """The rows whose weight is not 0."""

    @abstractmethod
    def take(self, rows: Tensor) -> Batch:
        """The rows at these places."""

    def but(self, **changes: Any) -> Self:
        """The same with some of its fields changed.

        >>> TensorBatches((torch.zeros(7, 1),), None, None, 3).but(size=7).n_batches
        1
        """
        return attrs.evolve(self, **changes)  # type: ignore[misc]

    @property
    def kept(self) -> NDArray[np.int64] | None:
        """Which of the rows that the last pass visited could be read; None for all."""
        return None

    @property
    def lost(self) -> tuple[int, ...]:
        """Which of the rows that the last pass visited could not be read, in rising order."""
        return ()

    def lose(self, places: Iterable[int]) -> None:
        """Note what the beginning of a pass could not read, where only its rest is visited."""

    def close(self) -> None:
        """End the processes that read; another pass starts them anew."""

    def seen(self, tensor: Tensor | None) -> Tensor | None:
        """The rows of a tensor that the last pass could read."""
        if tensor is None or self.kept is None:
            return tensor
        return tensor[torch.from_numpy(self.kept).to(tensor.device)]

    @property
    def n_batches(self) -> int:
        """Number of batches of an epoch.

        >>> TensorBatches((torch.zeros(7, 1),), None, None, 3, drop_last=True).n_batches
        2
        """
        return self._count(self.rows)

    def cut(self, rows: int) -> list[int]:
        """Rows of each batch of an epoch that visits so many, counted as often as it does.

        >>> TensorBatches((torch.zeros(7, 1),), None, None, 3).cut(5)
        [3, 2]
        """
        count = self._count(rows)
        end = min(count * self.size, rows) if self.drop_last else rows
        return [self.size] * (count - 1) + [end - (count - 1) * self.size] if count else []

    def counts(self, sizes: Sequence[int]) -> list[int]:
        """Of batches of these sizes, how many rows each had in the last pass."""
        return list(sizes)

    def _count(self, rows: int) -> int:
        whole, rest = divmod(rows, self.size)
        joins = self.drop_last or (whole > 0 and self.merge_last and rest == 1)
        return whole if rest == 0 or joins else whole + 1


@attrs.frozen(eq=False)
class TensorBatches(Batches):
    """Tensors in memory, cut into batches.

    Args:
        inputs: One tensor per input of the network, rows first.

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
        return len(self.inputs[0])

    @property
    def device(self) -> torch.device:
        return self.inputs[0].device

    @property
    def ready(self) -> tuple[Tensor | None, ...]:
        return self.inputs

    @property
    def fingerprint(self) -> str:
        tensors = (*self.inputs, self.target, self.weights)
        return tensor_digest(tensor for tensor in tensors if tensor is not None)

    def epoch(
        self,
        order: Tensor | None = None,
        sizes: Sequence[int] | None = None,
        *,
        number: int = 0,
        first: int = 0,
    ) -> Iterator[Batch]:
        sizes = self.cut(self.rows) if sizes is None else list(sizes)
        if order is not None:
            parts = order[: sum(sizes)].split_with_sizes(sizes)
            return map(self.take, parts[first:])
        # One call cuts a tensor into views of all batches; a slice per batch costs more.
        inputs = zip(*(x[: sum(sizes)].split_with_sizes(sizes) for x in self.inputs), strict=True)
        rest = (
            repeat(None) if tensor is None else tensor[: sum(sizes)].split_with_sizes(sizes)
            for tensor in (self.target, self.weights)
        )
        return islice(map(Batch, inputs, *rest), first, None)

    def take(self, rows: Tensor) -> Batch:
        return Batch(
            tuple([x.index_select(0, rows) for x in self.inputs]),
            None if self.target is None else self.target.index_select(0, rows),
            None if self.weights is None else self.weights.index_select(0, rows),
        )

    def to(self, device: torch.device) -> TensorBatches:
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


def with_rows(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches without those of which nothing can be read.

    >>> batches = [Batch((torch.zeros(n, 1),), None, None) for n in (2, 0)]
    >>> len(list(with_rows(batches)))
    1
    """
    return (batch for batch in batches if len(batch.inputs[0]))


def tensor_digest(tensors: Iterable[Tensor]) -> str:
    """Digest of tensors; of their numbers, not of where they come from.

    >>> tensor_digest([torch.ones(2)]) == tensor_digest([torch.zeros(2) + 1])
    True
    """
    parts: list[bytes | str] = []
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        parts += [f"{tensor.dtype} {tuple(tensor.shape)}", flat.view(torch.uint8).numpy().tobytes()]
    return digest(*parts)
