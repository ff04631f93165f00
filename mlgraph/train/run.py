"""A training run: what the loop changes, and callbacks see and save."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from mlgraph.data.batch import Batch, TensorBatches
from mlgraph.train.steps import Steps

Scorer = Callable[[Tensor], Mapping[str, float]]


@attrs.frozen(kw_only=True)
class Plan:
    """How long and how to train.

    Args:
        epochs: Total number of epochs.
        shuffle: Draw a new row order in each epoch.
        eval_freq: Evaluate on validation data every so many epochs, and after the last.
        accumulate: Batches whose gradients make one step of the optimizer.
        precision: The numbers the network computes in.

    >>> Plan(epochs=10).eval_freq
    1
    """

    epochs: int
    shuffle: bool = True
    eval_freq: int = 1
    accumulate: int = 1
    precision: str = "32"


@attrs.frozen(kw_only=True)
class Validation:
    """Data to evaluate on, and what to make of the network's outputs for them.

    >>> batches = TensorBatches((torch.zeros(2, 1),), torch.zeros(2, 1), None, 2)
    >>> Validation(batches=batches, scorer=lambda output: {}).batches.rows
    2
    """

    batches: TensorBatches
    scorer: Scorer


@attrs.define(eq=False)
class Run:
    """A training run: what the loop changes, and what callbacks see.

    Args:
        network: The network.
        objective: The loss: called with output and target, and with weights as ``weighted``.
        optimizer: The optimizer.
        batches: The training data.
        plan: How long and how to train.
        seed: What the row order depends on.
        validation: What to evaluate on.
        forward: What computes the network, if it is compiled or computes in other numbers.
        steps: How gradients are made and used.
        epoch: The current epoch, from 1; before the first, 0.
        step: The current batch of the epoch, from 1; between two epochs, 0.
        global_step: The number of batches so far.
        losses: The losses of this epoch so far.
        scores: The scores of the current epoch.
        history: The scores of complete epochs.
        best_epoch: The epoch of the best evaluation, if a callback watches; otherwise 0.
        stopped: Why a callback ended the training, or the empty string.
        interrupted: Whether the user ended it.
        batch: The current batch.
        states: The memory of each callback, by its name.
        is_resumed: Whether it goes on where another run was saved.
        is_halted: Whether a callback ended it within an epoch.
        identity: What must be equal for another run to go on where this one was saved.

    >>> network = nn.Linear(1, 1)
    >>> sgd = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> data = TensorBatches((torch.ones(4, 1),), torch.ones(4, 1), None, size=2)
    >>> Run(network, nn.MSELoss(), sgd, data, Plan(epochs=3), seed=1).epochs
    3
    """

    network: nn.Module
    objective: Any
    optimizer: torch.optim.Optimizer
    batches: TensorBatches
    plan: Plan
    seed: int
    validation: Validation | None = None
    forward: Callable[..., Tensor] | None = None
    steps: Steps = attrs.field(factory=Steps)
    epoch: int = 0
    step: int = 0
    global_step: int = 0
    losses: list[Tensor] = attrs.field(factory=list)
    scores: dict[str, float] = attrs.field(factory=dict)
    history: list[dict[str, float]] = attrs.field(factory=list)
    best_epoch: int = 0
    stopped: str = ""
    interrupted: bool = False
    batch: Batch | None = None
    states: dict[str, Any] = attrs.field(factory=dict)
    is_resumed: bool = False
    is_halted: bool = False
    identity: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def epochs(self) -> int:
        """Total number of epochs."""
        return self.plan.epochs

    @property
    def loss(self) -> Tensor:
        """The loss of the last step, ``()``, on the device."""
        return self.losses[-1]

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches of an epoch."""
        return self.batches.n_batches

    @property
    def has_updated(self) -> bool:
        """Whether the last batch completed a step of the optimizer."""
        return self.step % self.plan.accumulate == 0 or self.step == self.steps_per_epoch

    @property
    def updates_per_epoch(self) -> int:
        """Number of steps of the optimizer in an epoch."""
        return -(-self.steps_per_epoch // self.plan.accumulate)

    def stop(self, reason: str) -> None:
        """End the training after the current epoch."""
        self.stopped = reason or "a callback stopped it"

    def stop_now(self, reason: str) -> None:
        """End the training after the current batch, and evaluate what is there."""
        self.stop(reason)
        self.is_halted = True

    @property
    def is_due(self) -> bool:
        """Whether this epoch is evaluated: every ``eval_freq``-th, and the last."""
        is_last = self.epoch == self.plan.epochs or bool(self.stopped)
        return is_last or self.epoch % self.plan.eval_freq == 0
