"""What a sampler draws for an epoch, checked: an order of rows, and how it is cut into batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from mlgraph.core.param import shown
from mlgraph.errors import DataError
from mlgraph.train.sampler import BatchSampler, Places, Rows, Sampler


@attrs.frozen(eq=False)
class Sampling:
    """A sampler and the rows it draws from.

    Args:
        sampler: What draws.
        rows: The rows.
        length: How long an epoch is: a number of rows, or of batches of a batch sampler.

    >>> from mlgraph.data.batch import TensorBatches
    >>> from mlgraph.train.sampler import sampler
    >>> rows = Rows(TensorBatches((torch.zeros(5, 1),), None, None, size=2))
    >>> order, sizes = Sampling.of(sampler("sequential"), rows).draw(seed=1, epoch=1)
    >>> order.tolist(), sizes
    ([0, 1, 2, 3, 4], [2, 2, 1])
    """

    sampler: Sampler | BatchSampler
    rows: Rows
    length: int

    @classmethod
    def of(cls, sampler: Sampler | BatchSampler, rows: Rows) -> Sampling:
        """A sampler for rows.

        Raises:
            DataError: It gives no rows.
            ConfigError: It has no length.
        """
        length = sampler.length(rows)
        if length < 1:
            raise DataError(
                "The sampler gives no rows to train on.",
                where=repr(sampler),
                why=f"its length is {length}, of {len(rows)} rows",
            )
        return cls(sampler, rows, length)

    @property
    def n_batches(self) -> int:
        """Number of batches of an epoch."""
        if isinstance(self.sampler, BatchSampler):
            return self.length
        return len(self.rows.batches.cut(self.length))

    def draw(self, seed: int, epoch: int) -> tuple[Tensor, list[int]]:
        """The rows of an epoch and the size of each of its batches.

        Args:
            seed: The seed of the epoch.
            epoch: Its number.

        Shape:
            returns: ``(rows,)`` int64, on the CPU.

        Raises:
            DataError: The sampler gave what are no places of rows, or as many as it did not say.
        """
        generator = torch.Generator().manual_seed(seed)
        rows = attrs.evolve(self.rows, epoch=epoch)
        if isinstance(self.sampler, BatchSampler):
            given = self.sampler.batches(rows, generator)
            self._check_length(given, epoch, "batches")
            parts = [self._places(part) for part in given]
            return torch.cat(parts), self._sizes(parts)
        order = self.sampler.order(rows, generator)
        self._check_length(order, epoch, "rows")
        return self._places(order), self.rows.batches.cut(self.length)

    def _check_length(self, given: Any, epoch: int, what: str) -> None:
        if len(given) != self.length:
            more = "more" if len(given) > self.length else len(given)
            raise DataError(
                f"The sampler said {self.length} {what}, and gave {more}.",
                where=repr(self.sampler),
                why=f"in epoch {epoch}; schedules and accumulation count on what it says",
                mend="let its length be what it gives, the same in every epoch",
            )

    def _places(self, given: Places) -> Tensor:
        found = given if isinstance(given, Tensor) else _tensor(given)
        if found.ndim != 1 or found.is_floating_point() or found.dtype == torch.bool:
            raise DataError(
                f"{shown(given)} are no places of rows.",
                where=repr(self.sampler),
                why="a sampler gives integers from 0"
                + ("" if isinstance(self.sampler, BatchSampler) else ", a batch sampler lists"),
            )
        found = found.to("cpu", torch.int64)
        outside = found[(found < 0) | (found >= len(self.rows))]
        if len(outside):
            raise DataError(
                f"The sampler gave row {int(outside[0])}, and there are {len(self.rows)} rows.",
                where=repr(self.sampler),
                why="rows are counted from 0; those of weight 0 and of the validation split "
                "are not among them",
            )
        return found

    def _sizes(self, parts: Sequence[Tensor]) -> list[int]:
        sizes = [len(part) for part in parts]
        least = 2 if self.rows.batches.merge_last else 1
        if min(sizes) < least:
            raise DataError(
                f"The batch sampler gave a batch of {min(sizes)} row{'s' * (min(sizes) != 1)}.",
                where=repr(self.sampler),
                why="batch norm cannot learn from one row" if min(sizes) else "",
                mend="give batches of more rows",
            )
        return sizes


def _tensor(given: Any) -> Tensor:
    try:
        listed = given if hasattr(given, "__array__") else list(given)
        return torch.as_tensor(listed, dtype=None if len(listed) else torch.int64)
    except (TypeError, ValueError, RuntimeError):
        return torch.empty(0, 0)
