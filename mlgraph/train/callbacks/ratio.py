"""Schedulers of torch that keep the ratios of the learning rates of groups.

Most do so by themselves, as they multiply. Those that are told a rate set it for every group.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from mlgraph.train.groups import factors

# Arguments that are rates, of which torch takes one for each group.
RATES = ("base_lr", "max_lr", "min_lr")


def in_ratio(
    maker: Callable[..., LRScheduler],
    optimizer: torch.optim.Optimizer,
    arguments: Mapping[str, Any],
) -> LRScheduler:
    """The scheduler, with rates multiplied by the factor of each group.

    Args:
        maker: The scheduler's class.
        optimizer: The optimizer, whose groups may have rates of their own.
        arguments: The arguments of the class; lists are taken as they are.

    >>> from mlgraph.train.optimizer import Optimizer
    >>> half = Optimizer.of("sgd", {"lr": 0.1}, {"bias": {"lr_factor": 0.5}})
    >>> sgd = half.build(torch.nn.Linear(2, 1))
    >>> cycle = in_ratio(lr_scheduler.OneCycleLR, sgd, {"max_lr": 1.0, "total_steps": 9})
    >>> [group["max_lr"] for group in sgd.param_groups]
    [1.0, 0.5]
    """
    shares = factors(optimizer)
    if all(share == 1 for share in shares):
        return maker(optimizer, **arguments)
    given = {
        name: [value * share for share in shares] if _is_rate(name, value) else value
        for name, value in arguments.items()
    }
    if maker in _COSINES and given.get("eta_min"):
        maker = functools.partial(_COSINES[maker], shares)
    return maker(optimizer, **given)


def _is_rate(name: str, value: Any) -> bool:
    return name in RATES and isinstance(value, (int, float))


class _Floored(LRScheduler):
    """Lets every group fall to its share of ``eta_min``, of which torch has one for all."""

    eta_min: float

    def __init__(self, shares: Sequence[float], *args: Any, **options: Any) -> None:
        self._shares = tuple(shares)
        super().__init__(*args, **options)

    def get_lr(self) -> list[Any]:
        """The rate of each group."""
        lowest = self.eta_min
        rates: dict[float, list[Any]] = {}
        try:
            for share in dict.fromkeys(self._shares):
                self.eta_min = lowest * share
                rates[share] = super().get_lr()
        finally:
            self.eta_min = lowest
        return [rates[share][place] for place, share in enumerate(self._shares)]


class CosineAnnealingLR(_Floored, lr_scheduler.CosineAnnealingLR):
    """Torch's, with an end for each group.

    >>> issubclass(CosineAnnealingLR, LRScheduler)
    True
    """


class CosineAnnealingWarmRestarts(_Floored, lr_scheduler.CosineAnnealingWarmRestarts):
    """Torch's, with an end for each group.

    >>> issubclass(CosineAnnealingWarmRestarts, LRScheduler)
    True
    """


_COSINES: Mapping[Any, Any] = {
    lr_scheduler.CosineAnnealingLR: CosineAnnealingLR,
    lr_scheduler.CosineAnnealingWarmRestarts: CosineAnnealingWarmRestarts,
}
