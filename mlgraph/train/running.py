"""What callbacks see: the events, and the run or the prediction at which they come."""

from __future__ import annotations

from typing import Any, Protocol

import attrs
import torch
from torch import nn

EVENTS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_after_backward",
    "on_batch_end",
    "on_valid_begin",
    "on_valid_batch_begin",
    "on_valid_batch_end",
    "on_valid_end",
    "on_epoch_end",
    "on_train_end",
    "on_exit",
)
PREDICT_EVENTS = ("on_predict_begin", "on_predict_batch_end", "on_predict_end")


class Running(Protocol):
    """What a callback sees of the run; ``mlgraph.train.run.Run`` says what it means."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    seed: int
    epoch: int
    step: int
    global_step: int
    scores: dict[str, float]
    history: list[dict[str, float]]
    best_epoch: int
    is_continued: bool
    may_resume: bool

    @property
    def batch(self) -> Any:
        """The current batch."""

    @property
    def batches(self) -> Any:
        """The training data."""

    @property
    def validation(self) -> Any:
        """What to evaluate on, or None."""

    @property
    def epochs(self) -> int:
        """Total number of epochs."""

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches of an epoch."""

    @property
    def updates_per_epoch(self) -> int:
        """Number of steps of the optimizer in an epoch."""

    @property
    def has_updated(self) -> bool:
        """Whether the last batch completed a step of the optimizer."""

    @property
    def loss(self) -> torch.Tensor:
        """The loss of the last batch, ``()``, on the device."""

    @property
    def is_due(self) -> bool:
        """Whether this epoch is evaluated."""

    def stop(self, reason: str) -> None:
        """End the training after the current epoch."""

    def stop_now(self, reason: str) -> None:
        """End the training after the current batch, and evaluate what is there."""


@attrs.define(eq=False)
class Predicting:
    """What a callback sees of a prediction.

    Args:
        network: The network, in eval mode.
        batches: What is predicted.
        batch: The current batch.
        output: The network's output for it.
        step: The number of the batch, from 1.

    >>> Predicting(nn.Identity(), None).step
    0
    """

    network: nn.Module
    batches: Any
    batch: Any = None
    output: Any = None
    step: int = 0
