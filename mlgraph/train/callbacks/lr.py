"""Every schedule of ``torch.optim.lr_scheduler`` as a callback: ``StepLR`` is ``lr_step``.

The classes are made from torch's, so that their parameters are torch's too. Differs from torch:
a length that is left out (``T_max``, ``total_steps``, ``total_iters``) is that of the run.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from mlgraph.core.param import Token, param
from mlgraph.core.value import snake
from mlgraph.errors import ConfigError
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.monitor import (
    is_greater_better,
    monitored,
    refuse_direction,
    refuse_without_validation,
)
from mlgraph.train.callbacks.schedule import Every, Schedule, Scheduling
from mlgraph.train.running import Running

LENGTHS = {
    "OneCycleLR": "total_steps",
    "CosineAnnealingLR": "T_max",
    "LinearLR": "total_iters",
    "PolynomialLR": "total_iters",
}
PER_STEP = ("OneCycleLR", "CyclicLR")
_SET_HERE = ("self", "optimizer", "last_epoch", "epochs", "steps_per_epoch", "schedulers")
_COMPOSED = ("SequentialLR", "ChainedScheduler")


class LrWarmup(Schedule):
    """Let the learning rate rise linearly in the first steps of the optimizer.

    Args:
        steps: When it has reached its value.
        start_factor: What it is multiplied with at first.

    >>> LrWarmup(steps=100)
    callback("lr_warmup", steps=100)
    """

    natural: ClassVar[Every] = "step"

    steps: int = param(lower=1)
    start_factor: float = param(default=0.01, lower=1e-8, upper=1)

    def arguments(self) -> dict[str, Any]:
        return {"start_factor": self.start_factor, "total_iters": self.steps}

    def maker(self) -> Callable[..., LRScheduler]:
        return lr_scheduler.LinearLR


class _Plateau(Schedule):
    """Steps where a score is known, and is told the score."""

    monitor: str = "valid_loss"

    def validate(self) -> None:
        if self.every == "step":
            raise ConfigError(
                f"{self.call_name()} cannot count steps.",
                why="a score is known at the end of an epoch",
                mend="leave out every",
            )
        known = getattr(self, "mode", None) is not None or None
        refuse_direction(self, self.monitor, known, 'mode="max"')
        super().validate()

    def on_train_begin(self, run: Running, state: Scheduling) -> None:
        """See whether there will be scores."""
        refuse_without_validation(self, self.monitor, run.validation is not None)

    def advance(self, scheduler: Any) -> None:
        scheduler.step(0.0)

    def arguments(self) -> dict[str, Any]:
        arguments = super().arguments()
        if arguments["mode"] is None:
            arguments["mode"] = "max" if is_greater_better(self.monitor) else "min"
        return arguments

    def on_epoch_end(self, run: Running, state: Scheduling) -> None:
        """Step, if there is a score of this name in this epoch."""
        evaluated = any(name.startswith("valid_") for name in run.scores)
        if evaluated or self.monitor in run.scores:
            scheduler: Any = state.scheduler
            scheduler.step(monitored(self, self.monitor, run.scores))


class _Composed(Schedule):
    """A schedule of schedules; all of them count epochs, or all count steps."""

    schedulers: tuple[Any, ...] = param(convert=lambda value: _parts(value))

    def validate(self) -> None:
        for part in self.schedulers:
            if isinstance(part, _Plateau) or not isinstance(part, Schedule):
                raise ConfigError(
                    f"{part!r} cannot be a part of {self.call_name()}.",
                    why="its parts are schedules that need no score",
                )
            if part.every not in (None, self.unit()):
                raise ConfigError(
                    f"The parts of {self.call_name()} count different things.",
                    why=f"{part!r} counts {part.unit()}s, and the whole {self.unit()}s",
                    mend=f"leave out every={part.every!r} in the part, or set it on the whole",
                )
        super().validate()

    def unit(self) -> Every:
        per_step = any(part.unit() == "step" for part in self.schedulers)
        return self.every or ("step" if per_step else "epoch")

    def fills(self) -> bool:
        return any(part.fills() for part in self.schedulers)

    def arguments(self) -> dict[str, Any]:
        return {k: v for k, v in super().arguments().items() if k != "schedulers"}

    def lengths(self, total: int) -> list[int]:
        """How long each part has its turn."""
        return [total] * len(self.schedulers)

    def make(self, optimizer: torch.optim.Optimizer, total: int) -> LRScheduler:
        pairs = zip(self.schedulers, self.lengths(total), strict=True)
        parts = [part.made(optimizer, max(length, 1)) for part, length in pairs]
        return self._joined(optimizer, parts)

    def _joined(self, optimizer: torch.optim.Optimizer, parts: list[LRScheduler]) -> LRScheduler:
        raise NotImplementedError


class LrSequential(_Composed):
    """One schedule after the other.

    Args:
        schedulers: The schedules.
        milestones: When the next one takes over; one less than there are schedules.

    >>> parts = (LrWarmup(steps=10), callback_of("CosineAnnealingLR")())
    >>> LrSequential(schedulers=parts, milestones=[10]).unit()
    'step'
    """

    milestones: tuple[int, ...] = param(lower=1)

    def lengths(self, total: int) -> list[int]:
        ends = (*self.milestones, total)
        if len(ends) != len(self.schedulers) or list(self.milestones) != sorted(self.milestones):
            raise ConfigError(
                f"{len(self.schedulers)} schedules need {len(self.schedulers) - 1} milestones.",
                why=f"they are {self.milestones}",
                mend="give rising milestones, one less than there are schedules",
            )
        return [end - start for start, end in zip((0, *ends), ends, strict=False)]

    def _joined(self, optimizer: torch.optim.Optimizer, parts: list[LRScheduler]) -> LRScheduler:
        return lr_scheduler.SequentialLR(optimizer, parts, list(self.milestones))


class LrChained(_Composed):
    """Several schedules at once, each changing what the others made of the learning rate.

    Args:
        schedulers: The schedules.

    >>> LrChained(schedulers=[LrWarmup(steps=10)]).unit()
    'step'
    """

    def _joined(self, optimizer: torch.optim.Optimizer, parts: list[LRScheduler]) -> LRScheduler:
        return lr_scheduler.ChainedScheduler(parts, optimizer)


def callback_of(name: str) -> type[Schedule]:
    """The callback for a scheduler of torch, by the name of its class.

    >>> callback_of("OneCycleLR").key, callback_of("ReduceLROnPlateau").key
    ('lr_one_cycle', 'lr_reduce_on_plateau')
    """
    made: type[Schedule] = globals()[_class_name(name)]
    return made


def _class_name(name: str) -> str:
    return "Lr" + name.replace("LR", "").replace("Scheduler", "")


def _torch_classes() -> dict[str, type[LRScheduler]]:
    found = vars(lr_scheduler).items()
    return {
        name: cls
        for name, cls in found
        if isinstance(cls, type) and issubclass(cls, LRScheduler) and not name.startswith("_")
        if cls is not LRScheduler and name not in _COMPOSED
    }


def _generated(name: str, cls: type[LRScheduler]) -> type[Schedule]:
    """A callback with the parameters of a scheduler."""
    # Torch imports these names for type checkers only.
    names = {"Callable": Callable, "Iterable": Iterable, "Sequence": Sequence}
    hints = typing.get_type_hints(cls.__init__, localns=names)
    fields: dict[str, Any] = {}
    types_: dict[str, Any] = {}
    for item in list(inspect.signature(cls).parameters.values()):
        if item.name not in _SET_HERE:
            types_[item.name], fields[item.name] = _field(name, item, hints.get(item.name, Any))
    base = _Plateau if issubclass(cls, lr_scheduler.ReduceLROnPlateau) else Schedule
    body = {
        **{field: default for field, default in fields.items() if default is not inspect._empty},
        "__annotations__": types_,
        "__module__": __name__,
        "__qualname__": _class_name(name),
        "__doc__": f"``torch.optim.lr_scheduler.{name}``, with its parameters.\n",
        "key": snake(_class_name(name)),
        "kind": cls,
        "natural": "step" if name in PER_STEP else "epoch",
        "length": LENGTHS.get(name),
    }
    made = types.new_class(_class_name(name), (base,), {}, lambda space: space.update(body))
    return typing.cast(type[Schedule], made)


def _field(name: str, item: inspect.Parameter, hint: Any) -> tuple[Any, Any]:
    """Type and default of a parameter: lists become tuples, a length may be left out."""
    hint = _hint(hint)
    if item.name == LENGTHS.get(name):
        return int | None, param(default=None, lower=1)
    if item.name == "mode" and name == "ReduceLROnPlateau":
        return hint | None, None
    return hint, item.default


def _hint(hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_hint(part) for part in typing.get_args(hint))]  # noqa: UP007
    if isinstance(origin, type) and issubclass(origin, Callable):  # type: ignore[arg-type]
        return Callable[..., Any]
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return types.GenericAlias(tuple, (_hint(typing.get_args(hint)[0]), ...))
    return hint


def _parts(value: Any) -> Any:
    if isinstance(value, (Callback, Token)):
        return (value,)
    return tuple(value) if isinstance(value, Sequence) else value


globals().update(
    {_class_name(name): _generated(name, cls) for name, cls in _torch_classes().items()}
)
