"""SWA: the plain average of the weights of the last epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import attrs
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlgraph.core.param import param
from mlgraph.data.batch import with_rows
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.averages import Averages
from mlgraph.train.groups import factors
from mlgraph.train.running import Running


@attrs.define
class Averaging:
    """The average, and the learning rates at which averaging began.

    >>> Averaging().rates
    []
    """

    averages: Averages = attrs.field(factory=Averages)
    rates: list[float] = attrs.field(factory=list)


class Swa(Callback):
    """End with the average of the weights at the ends of the last epochs (Izmailov et al. 2018).

    Early stopping that restores the best weights has the last word: leave it out.

    Args:
        begin: The first epoch that counts.
        lr: The learning rate to go to from there; None leaves it alone. Groups of weights keep
            their ratios to it.
        anneal_epochs: In how many epochs.
        anneal_strategy: Along a cosine or a line.
        update_norm: Find the statistics of batch normalisation anew, on the training data.

    >>> Swa(begin=5)
    callback("swa", begin=5)
    """

    weight: float = 500.0

    begin: int = param(lower=1)
    lr: float | None = param(default=None, lower=0)
    anneal_epochs: int = param(default=10, lower=0)
    anneal_strategy: Literal["cos", "linear"] = "cos"
    update_norm: bool = True

    def fixed(self) -> Mapping[str, Any]:
        return self.own()

    def start(self, run: Running) -> Averaging:
        return Averaging()

    def on_epoch_begin(self, run: Running, state: Averaging) -> None:
        """Set the learning rate."""
        if self.lr is None or run.epoch < self.begin:
            return
        groups = run.optimizer.param_groups
        if not state.rates:
            state.rates = [float(group["lr"]) for group in groups]
        left = self._left(run.epoch - self.begin + 1)
        for group, rate, factor in zip(groups, state.rates, factors(run.optimizer), strict=True):
            group["lr"] = self.lr * factor + (rate - self.lr * factor) * left

    def on_epoch_end(self, run: Running, state: Averaging) -> None:
        """Add the weights of this epoch."""
        if run.epoch >= self.begin:
            averages = state.averages
            averages.add(run.network, 1 / (averages.count + 1), buffers=False)

    def on_train_end(self, run: Running, state: Averaging) -> None:
        """End with the average."""
        if state.averages.tensors:
            state.averages.give(run.network)
            if self.update_norm:
                update_norm(run)

    def _left(self, epoch: int) -> float:
        """The share of the way to the final learning rate that is left."""
        done = min(1.0, epoch / max(1, self.anneal_epochs))
        return (1 + math.cos(math.pi * done)) / 2 if self.anneal_strategy == "cos" else 1 - done


def update_norm(run: Running) -> None:
    """Find the statistics of batch normalisation for the weights as they are.

    Nothing else of the network changes, and nothing is dropped out. A network in training may
    hold some of its normalisations in eval mode: these keep their statistics.
    """
    network = run.network
    held = {m for m in network.modules() if network.training and not m.training}
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and _tracks(m)]
    norms = [norm for norm in norms if norm not in held]
    if not norms:
        return
    was_training, momenta = run.network.training, [norm.momentum for norm in norms]
    run.network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in with_rows(run.batches.epoch()):
            run.network(*batch.inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    run.network.train(was_training)


def _tracks(module: nn.Module) -> bool:
    return bool(getattr(module, "track_running_stats", False))
