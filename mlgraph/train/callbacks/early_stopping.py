"""Early stopping: end when a score has not improved for a while, with the best weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch

from mlgraph.core.param import param
from mlgraph.net.network import copied
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.monitor import (
    is_greater_better,
    monitored,
    refuse_direction,
    refuse_without_validation,
)
from mlgraph.train.running import Running


@attrs.define
class Best:
    """The best evaluation so far.

    >>> Best().waited
    0
    """

    score: float = float("nan")
    epoch: int = 0
    waited: int = 0
    seen: bool = False
    tensors: dict[str, torch.Tensor] | None = None


class EarlyStopping(Callback):
    """Stop when a score has not improved for some evaluations.

    Args:
        monitor: Name of the score.
        greater_is_better: Its direction; None where its name says it.
        patience: Evaluations without improvement after which to stop.
        min_delta: An improvement must be greater than this. NaN never improves.
        restore: Go back to the weights of the best evaluation at the end.

    >>> EarlyStopping(monitor="valid_accuracy", patience=5).min_delta
    0.0
    """

    weight: float = 1000.0  # it sees what the others made of the scores

    monitor: str = "valid_loss"
    greater_is_better: bool | None = None
    patience: int = param(default=10, lower=1)
    min_delta: float = param(default=0.0, lower=0)
    restore: bool = True

    def validate(self) -> None:
        refuse_direction(self, self.monitor, self.greater_is_better)

    def fixed(self) -> Mapping[str, Any]:
        # The best score so far is one of these; how long to wait for a better one is free.
        return {"monitor": self.monitor, "greater_is_better": self._greater()}

    def start(self, run: Running) -> Best:
        return Best()

    def on_train_begin(self, run: Running, state: Best) -> None:
        """Go on where an earlier run was saved; it may have come to its end."""
        refuse_without_validation(self, self.monitor, run.validation is not None)
        if state.epoch:
            run.best_epoch = state.epoch
        if run.is_continued and state.waited >= self.patience:
            state.waited = 0  # it was waited long enough, and yet it is to go on
        self._stop_if_over(run, state)

    def on_valid_end(self, run: Running, state: Best) -> None:
        """Compare the new score with the best one."""
        self._compare(run, state)

    def on_epoch_end(self, run: Running, state: Best) -> None:
        """The same where scores of training data are all there are."""
        if run.validation is None and run.is_due:
            self._compare(run, state)

    def _compare(self, run: Running, state: Best) -> None:
        score = monitored(self, self.monitor, run.scores)
        if self.improves(score, state.score):
            run.best_epoch = state.epoch = run.epoch
            state.score, state.waited, state.seen = score, 0, True
            if self.restore:
                state.tensors = copied(run.network)
            return
        # The first score is what others are compared with, also if it is NaN.
        state.waited, state.seen = state.waited + state.seen, True
        self._stop_if_over(run, state)

    def on_train_end(self, run: Running, state: Best) -> None:
        """Go back to the best weights."""
        if state.tensors is not None:
            run.network.load_state_dict(state.tensors)

    def hook(self, event: str) -> Any:
        if event == "on_epoch_end" and not self.monitor.startswith("train_"):
            return None
        return super().hook(event)

    def improves(self, score: float, best: float) -> bool:
        """Whether a score is better than the best one by more than ``min_delta``.

        >>> EarlyStopping(min_delta=0.1).improves(0.5, 0.55)
        False
        """
        if score != score:
            return False
        if best != best:
            return True
        return self._gain(score, best) > self.min_delta

    def _gain(self, score: float, best: float) -> float:
        return score - best if self._greater() else best - score

    def _greater(self) -> bool | None:
        given = self.greater_is_better
        return is_greater_better(self.monitor) if given is None else given

    def _stop_if_over(self, run: Running, state: Best) -> None:
        if state.waited >= self.patience:
            run.stop(f"{self.monitor} did not improve for {self.patience} evaluations")
