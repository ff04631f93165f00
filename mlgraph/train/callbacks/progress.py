"""A progress bar in terminals, a line in notebooks, and nothing where nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar, Literal, Protocol

import attrs

from mlgraph.core.param import param
from mlgraph.train.callback import Callback
from mlgraph.train.device import shows_progress
from mlgraph.train.running import Running


class Display(Protocol):
    """Something that shows how far a training is."""

    def show(self, epoch: int, text: str, seconds: float) -> None:
        """Show it."""

    def close(self) -> None:
        """Leave it as it is."""


@attrs.define(eq=False)
class Shown:
    """What is shown, and the seconds that earlier runs took.

    >>> Shown().state_dict()["seconds"]
    0.0
    """

    before: float = 0.0
    begun: float | None = None
    display: Display | None = None

    def seconds(self) -> float:
        """Seconds of training until now."""
        return self.before + (0.0 if self.begun is None else time.monotonic() - self.begun)

    def state_dict(self) -> dict[str, float]:
        """The seconds until now."""
        return {"seconds": self.seconds()}

    def load_state_dict(self, saved: Mapping[str, float]) -> None:
        """Go on from the seconds of an earlier run."""
        self.before = saved["seconds"]


class Progress(Callback):
    """Show how far the training is, with the scores of the last epoch and the time it took.

    A run that is resumed begins at its epoch, and adds to the time of the earlier one.

    Args:
        show: ``"auto"`` shows it in terminals and notebooks.
        digits: Significant digits of scores.

    >>> Progress(digits=3)
    callback("progress", digits=3)
    """

    missed: ClassVar[bool] = False
    writes = True

    show: bool | Literal["auto"] = param(default="auto", tags={"runtime"})
    digits: int = param(default=4, lower=1, tags={"runtime"})

    def start(self, run: Running) -> Shown:
        return Shown()

    def on_train_begin(self, run: Running, state: Shown) -> None:
        """Show where it begins."""
        state.begun = time.monotonic()
        if shows_progress(self.show):
            state.display = _display(run.epochs)
            state.display.show(run.epoch, "", state.seconds())

    def on_epoch_end(self, run: Running, state: Shown) -> None:
        """Show the epoch and its scores."""
        if state.display is not None:
            scores = run.scores.items()
            text = "  ".join(f"{name} {value:.{self.digits}g}" for name, value in scores)
            state.display.show(run.epoch, text, state.seconds())

    def on_exit(self, run: Running, state: Shown) -> None:
        """Leave what is shown as it is."""
        if state.display is not None:
            state.display.close()
            state.display = None


class _Bar:
    """A bar of rich."""

    def __init__(self, epochs: int) -> None:
        from rich import progress

        self.bar = progress.Progress(
            progress.TextColumn("epoch"),
            progress.MofNCompleteColumn(),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[time]}"),
            progress.TextColumn("{task.fields[scores]}"),
            refresh_per_second=4,  # each takes some milliseconds
        )
        self.task = self.bar.add_task("", total=epochs, scores="", time="")
        self.bar.start()

    def show(self, epoch: int, text: str, seconds: float) -> None:
        self.bar.update(self.task, completed=epoch, scores=text, time=_clock(seconds))

    def close(self) -> None:
        self.bar.stop()


class _Line:
    """A line that is written over, as every notebook can show it."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.width = 0

    def show(self, epoch: int, text: str, seconds: float) -> None:
        line = f"epoch {epoch}/{self.epochs}  {_clock(seconds)}  {text}".rstrip()
        self.width = max(self.width, len(line))
        sys.stdout.write(f"\r{line:<{self.width}}")
        sys.stdout.flush()

    def close(self) -> None:
        sys.stdout.write("\n")
        sys.stdout.flush()


def _display(epochs: int) -> Display:
    """A bar; in notebooks, and while another bar is shown, a line."""
    if "ipykernel" in sys.modules:
        return _Line(epochs)
    from rich.errors import LiveError

    try:
        return _Bar(epochs)
    except LiveError:
        return _Line(epochs)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))
