"""What all learning-rate schedules share: when they step, and how they survive a break.

A scheduler of torch changes the groups of an optimizer, and making one sets them back to their
start. So what is saved is the scheduler's numbers together with the groups it governs, and both
are put back together, whatever happened to the optimizer in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

import attrs
import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

from mlgraph.core.param import param
from mlgraph.core.value import FrozenDict
from mlgraph.errors import ConfigError, MLGraphError, StateError
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.ratio import in_ratio
from mlgraph.train.running import Running

Every = Literal["epoch", "step"]
T = TypeVar("T")


@attrs.define(eq=False)
class Scheduling:
    """A scheduler at work, and the number of steps it was made for."""

    scheduler: LRScheduler
    total: int
    fills: bool

    def state_dict(self) -> dict[str, Any]:
        """The numbers of the scheduler and of the groups of its optimizer."""
        groups = self.scheduler.optimizer.param_groups
        return {
            "total": self.total,
            "scheduler": _numbers(self.scheduler),
            "groups": [_numbers_of(group, "params", "param_names") for group in groups],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Put the numbers back, in the scheduler and in the groups.

        Raises:
            StateError: The run that was saved had another length, and the schedule depends on it.
        """
        if self.fills and saved["total"] != self.total:
            raise StateError(
                f"{type(self.scheduler).__name__} was made for {saved['total']} steps, and the "
                f"run has {self.total} now.",
                why="where no number of steps is given, the schedule spans the whole run",
                mend="give the schedule its length, or resume with as many epochs as before",
            )
        _put_back(self.scheduler, saved["scheduler"])
        groups = self.scheduler.optimizer.param_groups
        for group, values in zip(groups, saved["groups"], strict=True):
            for name, value in values.items():
                _set(group, name, value)


class Schedule(Callback):
    """Base of learning-rate schedules: a scheduler of torch, stepped at the right moments.

    Groups of weights keep the ratios of their rates: what is given as one rate (``max_lr``,
    ``eta_min``, ...) is that of the optimizer. A list is taken as it is, a rate per group: first
    that of the weights in no group.

    Args:
        every: Whether it counts epochs or steps of the optimizer; None is what its class does.

    >>> Schedule.natural
    'epoch'
    """

    key = ""  # no callback of its own
    natural: ClassVar[Every] = "epoch"
    kind: ClassVar[Callable[..., LRScheduler]] = LRScheduler
    length: ClassVar[str | None] = None  # the argument that says how long the schedule is

    every: Every | None = None

    def arguments(self) -> dict[str, Any]:
        """The arguments of the scheduler."""
        own = {*Callback.field_names(), "every", "monitor"}
        return {name: value for name, value in self.parameters().items() if name not in own}

    def fixed(self) -> Mapping[str, Any]:
        return self.own()

    def unit(self) -> Every:
        """Whether it counts epochs or steps."""
        return self.every or self.natural

    def fills(self) -> bool:
        """Whether the length is that of the run."""
        return self.length is not None and getattr(self, self.length) is None

    def make(self, optimizer: torch.optim.Optimizer, total: int) -> LRScheduler:
        """The scheduler; ``total`` is what fills in a length that was left out."""
        arguments = {name: _thawed(value) for name, value in self.arguments().items()}
        if self.fills():
            arguments[str(self.length)] = total
        return in_ratio(self.maker(), optimizer, arguments)

    def maker(self) -> Callable[..., LRScheduler]:
        """What makes the scheduler."""
        return type(self).kind

    def validate(self) -> None:
        self._trying(self._try)

    def advance(self, scheduler: Any) -> None:
        """Step once, while parameters are checked."""
        scheduler.step()

    def start(self, run: Running) -> Scheduling:
        total = run.epochs * (run.updates_per_epoch if self.unit() == "step" else 1)
        scheduler = self.made(run.optimizer, max(total, 1))
        return Scheduling(scheduler, total, self.fills())

    def on_batch_end(self, run: Running, state: Scheduling) -> None:
        """Step, if steps are counted."""
        if run.has_updated and _goes_on(state):
            state.scheduler.step()

    def on_epoch_end(self, run: Running, state: Scheduling) -> None:
        """Step, if epochs are counted."""
        if _goes_on(state):
            state.scheduler.step()

    def hook(self, event: str) -> Any:
        other = "on_epoch_end" if self.unit() == "step" else "on_batch_end"
        return None if event == other else super().hook(event)

    def made(self, optimizer: torch.optim.Optimizer, total: int) -> LRScheduler:
        """The scheduler.

        Raises:
            ConfigError: Torch does not take the parameters.
        """
        return self._trying(lambda: self.make(optimizer, total))

    def _try(self) -> None:
        optimizer = _Stand(self._groups())
        scheduler = self.make(optimizer, 100)
        for _ in range(2):  # torch finds some mistakes only then
            optimizer.step()
            self.advance(scheduler)

    def _trying(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except MLGraphError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{self.call_name()} does not take these parameters.",
                where=repr(self),
                why=f"{type(error).__name__}: {error}",
                mend="change the parameters",
            ) from error

    def _groups(self) -> int:
        """Number of groups of parameters that lists of values are meant for."""
        lists = ("lr_lambda", "max_lr", "base_lr", "base_momentum", "max_momentum", "min_lr")
        values = (getattr(self, name, None) for name in lists)
        return max([len(value) for value in values if isinstance(value, tuple)], default=1)


class LrScheduler(Schedule):
    """A scheduler of your own: a class or function of the optimizer and options.

    Args:
        scheduler: The class.
        options: Its arguments beside the optimizer.

    >>> LrScheduler(scheduler=torch.optim.lr_scheduler.StepLR, options={"step_size": 5}).unit()
    'epoch'
    """

    scheduler: Callable[..., Any] = param()
    options: Mapping[str, Any] = param(default={})

    def arguments(self) -> dict[str, Any]:
        return dict(self.options)

    def maker(self) -> Callable[..., LRScheduler]:
        return self.scheduler


def parts_of(scheduler: LRScheduler) -> list[LRScheduler]:
    """The schedulers a scheduler is composed of."""
    return list(getattr(scheduler, "_schedulers", ()))


class _Stand(torch.optim.Optimizer):
    """Stands for an optimizer while parameters are checked; making a real one takes seconds."""

    def __init__(self, groups: int) -> None:
        self.param_groups = [
            {"params": [], "lr": 0.1, "momentum": 0.9, "betas": (0.9, 0.999)} for _ in range(groups)
        ]
        self.defaults = {"lr": 0.1, "momentum": 0.9}

    def step(self, closure: Any = None) -> Any:
        """Do nothing."""


def _goes_on(state: Scheduling) -> bool:
    """Whether the length of the schedule is not over; past it, some schedulers raise."""
    total = getattr(state.scheduler, "total_steps", None)
    return total is None or state.scheduler.last_epoch + 1 < total


def _numbers(scheduler: LRScheduler) -> dict[str, Any]:
    own = _numbers_of(vars(scheduler), "optimizer", "_schedulers")
    return {"own": own, "parts": [_numbers(part) for part in parts_of(scheduler)]}


def _numbers_of(values: Mapping[str, Any], *but: str) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k not in but and _is_plain(v)}


def _put_back(scheduler: LRScheduler, saved: Mapping[str, Any]) -> None:
    for name, value in saved["own"].items():
        _set(vars(scheduler), name, value)
    for part, values in zip(parts_of(scheduler), saved["parts"], strict=True):
        _put_back(part, values)


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    old = values.get(name)
    if isinstance(old, torch.Tensor):
        old.copy_(value)
    else:
        values[name] = tuple(value) if isinstance(old, tuple) else _copied(value)


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    if isinstance(value, torch.Tensor):
        return value.numel() == 1
    return value is None or isinstance(value, (bool, int, float, str, np.generic))


def _thawed(value: Any) -> Any:
    """Lists as torch expects them."""
    if isinstance(value, tuple):
        return [_thawed(item) for item in value]
    return dict(value) if isinstance(value, FrozenDict) else value
