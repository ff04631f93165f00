"""The outputs of batches, gathered in one tensor."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor


@attrs.define(eq=False)
class Gathered:
    """Outputs of batches, each copied behind those of the batches before.

    Outputs are small and made while the activations of their batch are in memory; if they were
    kept as they come, they would leave holes into which no others fit.

    Args:
        rows: How many rows are expected; there may be fewer, or more.
        device: Where they are gathered; None: where the first output is.

    Shape:
        tensor: ``(rows or more, ...)``, of which ``count`` are filled.

    >>> gathered = Gathered(rows=3)
    >>> gathered.add(torch.ones(2, 1))
    >>> gathered.add(torch.zeros(1, 1))
    >>> gathered.all().squeeze()
    tensor([1., 1., 0.])
    """

    rows: int = 0
    device: torch.device | None = None
    tensor: Tensor | None = None
    count: int = 0

    @classmethod
    def of(cls, output: Tensor) -> Gathered:
        """Those that are there already, ``(rows, ...)``.

        >>> Gathered.of(torch.ones(2, 1)).count
        2
        """
        return cls(len(output), output.device, output, len(output))

    def add(self, output: Tensor) -> None:
        """Copy the output of a batch, ``(rows, ...)``."""
        begin, end = self.count, self.count + len(output)
        if self.tensor is None:
            self.tensor = self._empty(output, max(self.rows, end))
        elif end > len(self.tensor):
            self.tensor = torch.cat([self.all(), self._empty(output, end)])
        self.tensor[begin:end] = output.detach()
        self.count = end

    def all(self) -> Tensor:
        """What was gathered, ``(rows, ...)``.

        Raises:
            ValueError: Nothing was.
        """
        if self.tensor is None:
            raise ValueError("No batch has come.")
        return self.tensor[: self.count]

    def _empty(self, like: Tensor, rows: int) -> Tensor:
        return like.new_empty((rows, *like.shape[1:]), device=self.device)
