"""A training run: what the loop changes, and callbacks see and save."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from mlgraph.data.batch import Batch, Batches
from mlgraph.train.callback import Callback
from mlgraph.train.gathered import Gathered
from mlgraph.train.losses import Losses
from mlgraph.train.sampling import Sampling
from mlgraph.train.steps import Steps

Scorer = Callable[[Tensor, Any], Mapping[str, float]]


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

    Args:
        batches: The data.
        scorer: The scores of outputs for all rows.
        whole: Puts together the outputs for all rows, where this process has those of some.

    >>> from mlgraph.data.batch import TensorBatches
    >>> batches = TensorBatches((torch.zeros(2, 1),), torch.zeros(2, 1), None, 2)
    >>> Validation(batches=batches, scorer=lambda output, kept: {}).batches.rows
    2
    """

    batches: Batches
    scorer: Scorer
    whole: Callable[[Tensor], Tensor] = lambda output: output


@attrs.frozen(kw_only=True)
class TrainScores:
    """How training rows are scored.

    Args:
        scorer: What to make of outputs for the rows at given places.
        clean: The rows in order, to be passed through the network in eval mode; None: the outputs
            of the epoch's steps are scored, as they came.

    >>> TrainScores(scorer=lambda output, places: {}).clean is None
    True
    """

    scorer: Callable[[Tensor, Tensor | None], Mapping[str, float]]
    clean: Batches | None = None


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
        origin: Where that comes from: the seed of the fit, and the id of the trainer.
        validation: What to evaluate on.
        sampling: What draws the rows of an epoch; None: all of them, as the plan says.
        training: How training rows are scored; None where they are not.
        forward: What computes the network, if it is compiled or computes in other numbers.
        steps: How gradients are made and used.
        epoch: The current epoch, from 1; before the first, 0.
        step: The current batch of the epoch, from 1; between two epochs, 0.
        global_step: The number of batches so far.
        losses: The losses of this epoch so far.
        outputs: The outputs of this epoch so far, where training rows are scored by them.
        order: The rows of this epoch in their order, ``(rows,)``; None: all, in theirs.
        sizes: The number of rows of each batch of this epoch.
        scores: The scores of the current epoch.
        history: The scores of complete epochs.
        best_epoch: The epoch of the best evaluation, if a callback watches; otherwise 0.
        stopped: Why a callback ended the training, or the empty string.
        interrupted: Whether the user ended it.
        batch: The current batch.
        callbacks: The callbacks that take part, by id, in their order.
        states: The memory of each of them, by its id.
        may_resume: Whether it was asked to go on where another run was saved, if one was.
        is_resumed: Whether it goes on where another run was saved.
        is_continued: Whether it is to train further than the other run was meant to.
        resumed_from: The folder where that is, or the empty string.
        is_halted: Whether a callback ended it within an epoch.
        ended: How the last epoch left it, before the end changed weights; or why nobody knows.
        identity: What must be equal for another run to go on where this one was saved.

    >>> network = nn.Linear(1, 1)
    >>> sgd = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> from mlgraph.data.batch import TensorBatches
    >>> data = TensorBatches((torch.ones(4, 1),), torch.ones(4, 1), None, size=2)
    >>> Run(network, nn.MSELoss(), sgd, data, Plan(epochs=3), seed=1).epochs
    3
    """

    network: nn.Module
    objective: Any
    optimizer: torch.optim.Optimizer
    batches: Batches
    plan: Plan
    seed: int
    origin: str = ""
    validation: Validation | None = None
    sampling: Sampling | None = None
    training: TrainScores | None = None
    forward: Callable[..., Tensor] | None = None
    steps: Steps = attrs.field(factory=Steps)
    epoch: int = 0
    step: int = 0
    global_step: int = 0
    losses: Losses = attrs.field(factory=Losses)
    outputs: Gathered = attrs.field(factory=Gathered)
    order: Tensor | None = None
    sizes: Sequence[int] = ()
    scores: dict[str, float] = attrs.field(factory=dict)
    history: list[dict[str, float]] = attrs.field(factory=list)
    best_epoch: int = 0
    stopped: str = ""
    interrupted: bool = False
    batch: Batch | None = None
    callbacks: dict[str, Callback] = attrs.field(factory=dict)
    states: dict[str, Any] = attrs.field(factory=dict)
    may_resume: bool = False
    is_resumed: bool = False
    is_continued: bool = False
    resumed_from: str = ""
    is_halted: bool = False
    ended: Mapping[str, Any] | str = ""
    identity: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def epochs(self) -> int:
        """Total number of epochs."""
        return self.plan.epochs

    @property
    def loss(self) -> Tensor:
        """The loss of the last step, ``()``, on the device."""
        return self.losses.last

    @loss.setter
    def loss(self, loss: Tensor) -> None:
        self.losses.last = loss

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches of an epoch."""
        return self.batches.n_batches if self.sampling is None else self.sampling.n_batches

    @property
    def has_updated(self) -> bool:
        """Whether the last batch completed a step of the optimizer."""
        return self.step % self.plan.accumulate == 0 or self.step == self.steps_per_epoch

    @property
    def updates_per_epoch(self) -> int:
        """Number of steps of the optimizer in an epoch."""
        return -(-self.steps_per_epoch // self.plan.accumulate)

    def stop(self, reason: str) -> None:
        """End the training after the current epoch.

        An epoch is evaluated before ``on_epoch_end``: what is to be the last one whatever
        ``eval_freq`` is has to be stopped by then, in ``on_batch_end`` of its last batch.
        """
        self.stopped = reason or "a callback stopped it"

    def stop_now(self, reason: str) -> None:
        """End the training after the current batch, and evaluate what is there."""
        self.stop(reason)
        self.is_halted = True

    def close(self) -> None:
        """End the processes that read its data."""
        self.batches.close()
        if self.validation is not None:
            self.validation.batches.close()
        if self.training is not None and self.training.clean is not None:
            self.training.clean.close()

    @property
    def is_due(self) -> bool:
        """Whether this epoch is evaluated: every ``eval_freq``-th, and the last."""
        is_last = self.epoch == self.plan.epochs or bool(self.stopped)
        return is_last or self.epoch % self.plan.eval_freq == 0
