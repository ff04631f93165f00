"""The outputs of batches, gathered in one tensor."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from mlgraph.errors import ShapeError


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
    >>> gathered.add(torch.ones(2, 1), 2)
    >>> gathered.add(torch.zeros(1, 1), 1)
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

    def add(self, output: Tensor, rows: int) -> None:
        """Copy the output of a batch of so many rows, ``(rows, ...)``.

        Raises:
            ShapeError: It has lost the batch, or is of another kind than those before.
        """
        check_rows(output, rows)
        begin, end = self.count, self.count + len(output)
        if self.tensor is None:
            self.tensor = self._empty(output, max(self.rows, end))
        elif end > len(self.tensor):
            self.tensor = torch.cat([self.all(), self._empty(self.tensor, end)])
        if (output.shape[1:], output.dtype) != (self.tensor.shape[1:], self.tensor.dtype):
            raise ShapeError(
                "The network gives another kind of output for this batch.",
                why=f"its rows are {_form(output)}, those before were {_form(self.tensor)}",
                mend="look for squeeze() without a dimension, or sizes that depend on the batch",
            )
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


def check_rows(output: Tensor, rows: int) -> None:
    """Refuse what a network gives for a batch unless it has one row for each of the batch.

    Raises:
        ShapeError: The batch is lost, as ``squeeze()`` does where it has one row.

    >>> check_rows(torch.ones(1, 2), 1)
    """
    if output.shape[:1] != (rows,):
        raise ShapeError(
            "The network does not keep the rows of a batch apart.",
            why=f"for {rows} rows its output has the shape {tuple(output.shape)}",
            mend="leave dimension 0 where it is: squeeze(1) or flatten(1) instead of squeeze()",
        )


def _form(rows: Tensor) -> str:
    return f"{tuple(rows.shape[1:])} {str(rows.dtype).removeprefix('torch.')}"
