"""The losses of the steps of an epoch: noted as they come, read once."""

from __future__ import annotations

from typing import Self

import attrs
import torch
from torch import Tensor

_MANY = 64


@attrs.define(eq=False)
class Losses:
    """Losses of steps, of which nobody knows yet what they are: they stay on their device.

    Now and then they are joined. Each is made while the large tensors of its step are in memory
    and outlives them, so that thousands of them would leave holes into which no others fit.

    Shape:
        joined: ``(steps,)``.
        recent: ``()`` each.

    >>> losses = Losses()
    >>> losses.add(torch.tensor(2.0))
    >>> losses.add(torch.tensor(3.0))
    >>> losses.last, losses.all(), len(losses)
    (tensor(3.), tensor([2., 3.]), 2)
    """

    joined: Tensor | None = None
    recent: list[Tensor] = attrs.field(factory=list)

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Those of so many steps, ``(steps,)``.

        >>> len(Losses.of(torch.zeros(3)))
        3
        """
        return cls(values[:-1], [values[-1]]) if len(values) else cls()

    def __len__(self) -> int:
        return len(self.recent) + (0 if self.joined is None else len(self.joined))

    def add(self, loss: Tensor) -> None:
        """Note the loss of a step."""
        self.recent.append(loss)
        if len(self.recent) > _MANY:
            *before, last = self.recent
            self.joined, self.recent = _joined(self.joined, before), [last]

    @property
    def last(self) -> Tensor:
        """The loss of the last step, ``()``."""
        return self.recent[-1]

    @last.setter
    def last(self, loss: Tensor) -> None:
        self.recent[-1] = loss

    def all(self) -> Tensor:
        """Those of all steps, ``(steps,)``; of one step or more."""
        return _joined(self.joined, self.recent)


def _joined(joined: Tensor | None, recent: list[Tensor]) -> Tensor:
    stacked = torch.stack(recent)
    return stacked if joined is None else torch.cat([joined, stacked])
