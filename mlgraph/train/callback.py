"""Callbacks: what may happen beside the training steps, and when.

A callback is frozen parameters. Its only memory is what ``start`` returns, which every hook gets
back; so one callback serves any number of runs at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import attrs
import torch
from torch import nn

from mlgraph.net.network import copied

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


class Running(Protocol):
    """What a callback sees of the run; ``mlgraph.train.loop.Run`` says what it means."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int
    step: int
    global_step: int
    scores: dict[str, float]
    best_epoch: int

    @property
    def epochs(self) -> int:
        """Total number of epochs."""

    def stop(self, reason: str) -> None:
        """End the training after the current epoch."""


class Callback:
    """Base of callbacks: every event does nothing.

    The events, in order: ``on_train_begin``, ``on_epoch_begin``, ``on_batch_begin``,
    ``on_after_backward``, ``on_batch_end``, then where validation runs ``on_valid_begin``,
    ``on_valid_batch_begin``, ``on_valid_batch_end``, ``on_valid_end``, then ``on_epoch_end``,
    ``on_train_end``, and ``on_exit``, which also comes after an exception.

    >>> class Stop(Callback):
    ...     def on_epoch_end(self, run, state):
    ...         run.stop("enough")
    """

    def start(self, run: Running) -> Any:
        """The memory of this callback for one run."""
        return None


def hooks(callbacks: Iterable[Callback], run: Running) -> dict[str, tuple[Any, ...]]:
    """The hooks of each event that some callback has, ready to be called without arguments.

    >>> hooks([EarlyStopping("valid_loss", False, 3)], run=None)["on_epoch_end"]
    ()
    """
    started = [(callback, callback.start(run)) for callback in callbacks]
    return {
        event: tuple(
            _bound(getattr(callback, event), run, state)
            for callback, state in started
            if hasattr(callback, event)
        )
        for event in EVENTS
    }


def _bound(method: Any, run: Running, state: Any) -> Any:
    return lambda: method(run, state)


@attrs.define
class Best:
    """The best evaluation so far.

    >>> Best().waited
    0
    """

    score: float = float("nan")
    waited: int = 0
    tensors: dict[str, torch.Tensor] | None = None


@attrs.frozen
class EarlyStopping(Callback):
    """Stop when a score has not improved for some evaluations.

    Args:
        monitor: Name of the score.
        greater_is_better: Its direction.
        patience: Evaluations without improvement after which to stop.
        min_delta: An improvement must be greater than this. NaN never improves.
        restore: Go back to the weights of the best evaluation at the end.

    >>> EarlyStopping("valid_accuracy", True, patience=5).min_delta
    0.0
    """

    monitor: str
    greater_is_better: bool
    patience: int
    min_delta: float = 0.0
    restore: bool = True

    def start(self, run: Running) -> Best:
        return Best()

    def on_valid_end(self, run: Running, state: Best) -> None:
        """Compare the new score with the best one."""
        score = run.scores[self.monitor]
        if self.improves(score, state.score):
            run.best_epoch = run.epoch
            state.score, state.waited = score, 0
            if self.restore:
                state.tensors = copied(run.network)
            return
        state.waited += 1
        if state.waited >= self.patience:
            run.stop(f"{self.monitor} did not improve for {self.patience} evaluations")

    def on_train_end(self, run: Running, state: Best) -> None:
        """Go back to the best weights."""
        if state.tensors is not None:
            run.network.load_state_dict(state.tensors)

    def improves(self, score: float, best: float) -> bool:
        """Whether a score is better than the best one by more than ``min_delta``.

        >>> EarlyStopping("valid_loss", False, 3, min_delta=0.1).improves(0.5, 0.55)
        False
        """
        if score != score:
            return False
        if best != best:
            return True
        gain = score - best if self.greater_is_better else best - score
        return gain > self.min_delta


@attrs.frozen
class Progress(Callback):
    """A progress bar over the epochs, with the scores of the last one.

    >>> Progress()
    Progress()
    """

    def start(self, run: Running) -> Any:
        from rich import progress

        bar = progress.Progress(
            progress.TextColumn("epoch"),
            progress.MofNCompleteColumn(),
            progress.BarColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[scores]}"),
        )
        return bar, bar.add_task("", total=run.epochs, scores="")

    def on_train_begin(self, run: Running, state: Any) -> None:
        """Show the bar."""
        state[0].start()

    def on_epoch_end(self, run: Running, state: Any) -> None:
        """Move it by one epoch."""
        bar, task = state
        shown = "  ".join(f"{name} {value:.4g}" for name, value in run.scores.items())
        bar.update(task, completed=run.epoch, scores=shown)

    def on_exit(self, run: Running, state: Any) -> None:
        """Leave the bar as it is."""
        state[0].stop()
