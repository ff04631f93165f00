"""A limit on the time a training takes."""

from __future__ import annotations

import time
from typing import Any, Literal

import attrs

from mlgraph.core.param import param
from mlgraph.train.callback import Callback
from mlgraph.train.running import Running


@attrs.define
class Clock:
    """Seconds of training, those of earlier runs included.

    >>> Clock().state_dict()
    {'seconds': 0.0}
    """

    before: float = 0.0
    begun: float | None = None

    def seconds(self) -> float:
        """Seconds until now."""
        running = 0.0 if self.begun is None else time.monotonic() - self.begun
        return self.before + running

    def begin(self) -> None:
        """Count from now."""
        self.begun = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The seconds until now."""
        return {"seconds": self.seconds()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from the seconds of an earlier run."""
        self.before = saved["seconds"]


class TimeLimit(Callback):
    """Stop when the training has taken its time; a run that is resumed has used some of it.

    ``continue_`` gives it all of the time again.

    Args:
        seconds: The time.
        after: Whether the epoch, or only the step, is still finished.

    >>> TimeLimit(seconds=3600.0).after
    'epoch'
    """

    seconds: float = param(lower=0)
    after: Literal["epoch", "step"] = "epoch"

    def start(self, run: Running) -> Clock:
        return Clock()

    def on_train_begin(self, run: Running, state: Clock) -> None:
        """Count from now; an earlier run may have used all of the time."""
        if run.is_continued:
            state.before = 0.0
        if state.seconds() > 0:
            self._stop_if_over(run, state)
        state.begin()

    def on_batch_end(self, run: Running, state: Clock) -> None:
        """Stop after this step, or after this epoch, which is then evaluated."""
        if self.after == "step" and state.seconds() >= self.seconds:
            run.stop_now(self._reason())
        elif run.step == run.steps_per_epoch:
            self._stop_if_over(run, state)

    def on_epoch_end(self, run: Running, state: Clock) -> None:
        """Stop here, if it is the evaluation that has taken the rest of the time."""
        if run.is_due:
            self._stop_if_over(run, state)

    def _stop_if_over(self, run: Running, state: Clock) -> None:
        if state.seconds() >= self.seconds:
            run.stop(self._reason())

    def _reason(self) -> str:
        return f"the training has taken {self.seconds:g} seconds"
