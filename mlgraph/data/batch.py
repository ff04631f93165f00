"""Batches: some rows of a table as tensors, an epoch of them at a time.

Tensors are made once per fit or prediction, as whole columns; a batch is a slice or an index of
them, never a loop over rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from typing import NamedTuple, Self

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
        self, order: Tensor | None = None, number: int = 0, first: int = 0
    ) -> Iterator[Batch]:
        """The batches of one epoch.

        Args:
            order: The order of the rows, by default the one they have.
            number: Which epoch it is: random operations draw anew in each.
            first: How many batches to leave out at the beginning.
        """

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """The same on a device."""

    @abstractmethod
    def that_count(self) -> Self:
        """The rows whose weight is not 0."""

    @property
    def kept(self) -> NDArray[np.int64] | None:
        """The rows that the last pass could read; None for all."""
        return None

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
        whole, rest = divmod(self.rows, self.size)
        joins = whole > 0 and (self.drop_last or (self.merge_last and rest == 1))
        return whole if rest == 0 or joins else whole + 1

    def spans(self) -> list[tuple[int, int]]:
        """First row and end of each batch.

        >>> TensorBatches((torch.zeros(7, 1),), None, None, 3, merge_last=True).spans()
        [(0, 3), (3, 7)]
        """
        starts = [place * self.size for place in range(self.n_batches)]
        end = min(len(starts) * self.size, self.rows) if self.drop_last else self.rows
        return list(zip(starts, [*starts[1:], end], strict=True)) if starts else []

    def counts(self) -> list[int]:
        """Rows of each batch, in the last pass if some could not be read."""
        return [end - start for start, end in self.spans()]


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
        self, order: Tensor | None = None, number: int = 0, first: int = 0
    ) -> Iterator[Batch]:
        sizes = self.counts()
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
        """The rows at these places."""
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
