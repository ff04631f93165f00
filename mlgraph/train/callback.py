"""Callbacks: what may happen beside the training steps, and when.

A callback is frozen parameters: it is compared, hashed and written as JSON like a node. Its only
memory is what ``start`` returns, which every hook gets back; so one callback serves any number of
runs at once, and saving a run is saving these memories (``mlgraph.train.memory``).
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from torch import nn

from mlgraph.core.keyed import Keyed
from mlgraph.core.lookup import is_ours, refuse_taken
from mlgraph.core.param import param, shown
from mlgraph.errors import ConfigError, did_you_mean, listing
from mlgraph.train.running import EVENTS, PREDICT_EVENTS, Predicting, Running


class Callback(Keyed):
    """Base of callbacks; subclassing is enough: annotated fields become parameters.

    The events, in order: ``on_train_begin``, ``on_epoch_begin``, ``on_batch_begin``,
    ``on_after_backward``, ``on_batch_end``, then where validation runs ``on_valid_begin``,
    ``on_valid_batch_begin``, ``on_valid_batch_end``, ``on_valid_end``, then ``on_epoch_end``,
    ``on_train_end``, and ``on_exit``, which also comes after an exception. When predicting:
    ``on_predict_begin``, ``on_predict_batch_end``, ``on_predict_end``, with a ``Predicting`` in
    the place of the run and no memory. A method ``on_...`` of any other name is refused.

    Args:
        enabled: Whether it takes part.
        weight: Orders callbacks, the least first; equal ones keep the order they are given in.

    A class that writes files or to the screen says ``writes = True``: where several processes train
    together, the hooks of the first one alone are called.

    >>> class StopEarly(Callback):
    ...     epochs: int = param(default=3, lower=1)
    ...     def on_epoch_end(self, run, state):
    ...         if run.epoch == self.epochs:
    ...             run.stop("enough")
    >>> StopEarly(epochs=5)
    callback("stop_early", epochs=5)
    """

    made_by: ClassVar[str] = "callback"
    missed: ClassVar[bool] = True  # a run that is resumed without it is told so
    writes: ClassVar[bool] = False
    is_last: ClassVar[bool] = False  # it comes after all others, whatever they weigh
    early: ClassVar[tuple[str, ...]] = ()  # events at which it comes before all others

    enabled: bool = True
    weight: float = param(default=0.0, check=lambda value: _no_nan(value))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        _refuse_unknown_hooks(cls)
        _as_fields(cls, ("enabled", "weight"))
        super().__init_subclass__(**kwargs)
        _refuse_taken_key(cls)

    # What a subclass says ---------------------------------------------------------------------

    def check(self, network: nn.Module) -> None:
        """Refuse a network that it does not fit; in a check its weights have no values.

        Raises:
            ConfigError: A parameter does not fit the network.
        """

    def start(self, run: Running) -> Any:
        """The memory of this callback for one run: None, or what ``memory.saved`` can save."""
        return None

    def hook(self, event: str) -> Any:
        """What to call with run and memory at this event, or None."""
        return getattr(self, event, None)

    def fixed(self) -> Mapping[str, Any]:
        """The parameters with which a run that is resumed must go on; by default none.

        A callback that steers the training, and whose memory means something else with other
        parameters, returns those: a run that is resumed with others is refused.
        """
        return {}

    def own(self) -> dict[str, Any]:
        """The parameters without those that every callback has."""
        shared = Callback.field_names()
        return {name: value for name, value in self.parameters().items() if name not in shared}


def _refuse_taken_key(cls: type[Callback]) -> None:
    if not is_ours(cls):
        from mlgraph.train.callbacks.known import known

        known()  # loads those that come with mlgraph
        refuse_taken(cls, Callback, "callback")


def numbered(ids: Iterable[str]) -> list[str]:
    """The same ids, those that come again with the next number that is free.

    >>> numbered(["a", "b", "a", "a_2"])
    ['a', 'b', 'a_2', 'a_2_2']
    """
    found: dict[str, None] = {}
    for id in ids:
        free, number = id, 1
        while free in found:
            number += 1
            free = f"{id}_{number}"
        found[free] = None
    return list(found)


def with_ids(callbacks: Iterable[Callback] | Mapping[str, Callback]) -> dict[str, Callback]:
    """Those that take part, in their order, by id; where none are given, ids are the keys.

    >>> list(with_ids([Callback(), Callback(weight=-1.0)]))
    ['callback_2', 'callback']
    """
    if not isinstance(callbacks, Mapping):
        given = tuple(callbacks)
        callbacks = dict(zip(numbered(map(key_of, given)), given, strict=True))
    present = [(id, callback) for id, callback in callbacks.items() if callback.enabled]
    return dict(sorted(present, key=lambda pair: _place(pair[1])))


def joined(given: Mapping[str, Callback], own: Iterable[Callback]) -> dict[str, Callback]:
    """Callbacks by id, and those of a trainer after them, whose ids are their keys.

    >>> list(joined({"callback": Callback()}, [Callback()]))
    ['callback', 'callback_2']
    """
    last = tuple(own)
    ids = numbered([*given, *map(key_of, last)])
    return dict(zip(ids, [*given.values(), *last], strict=True))


def key_of(callback: Any) -> str:
    """The key of a callback.

    >>> key_of(Callback())
    'callback'
    """
    return str(getattr(callback, "key", type(callback).__name__))


def ordered(callbacks: Iterable[Callback]) -> tuple[Callback, ...]:
    """Those that take part, by weight; equal weights keep their order.

    >>> class Late(Callback):
    ...     weight: float = 10.0
    >>> class Usual(Callback):
    ...     pass
    >>> ordered([Late(), Usual(), Usual(enabled=False)])
    (callback("usual"), callback("late"))
    """
    present = [callback for callback in callbacks if callback.enabled]
    return tuple(sorted(present, key=_place))


def bound(
    callbacks: Iterable[Callback],
    states: Iterable[Any],
    run: Any,
    events: Sequence[str] = EVENTS,
) -> dict[str, tuple[Any, ...]]:
    """The hooks of each event that some callback has, ready to be called without arguments.

    Args:
        callbacks: The callbacks, in the order they are to be called.
        states: What each of them returned from ``start``.
        run: The run.
        events: The events asked about.

    >>> bound([Callback()], [None], run=None)["on_epoch_end"]
    ()
    """
    started = list(zip(callbacks, states, strict=True))
    return {
        event: tuple(
            functools.partial(hook, run, state)
            for callback, state in sorted(started, key=lambda pair: event not in pair[0].early)
            if (hook := callback.hook(event)) is not None
        )
        for event in events
    }


def predicting(callbacks: Iterable[Callback], run: Predicting) -> dict[str, tuple[Any, ...]]:
    """The hooks of each event of a prediction; they have no memory, and get None for it.

    >>> predicting([Callback()], run=None)["on_predict_end"]
    ()
    """
    present = ordered(callbacks)
    return bound(present, [None] * len(present), run, PREDICT_EVENTS)


def _place(callback: Callback) -> tuple[bool, float]:
    return callback.is_last, callback.weight


def _no_nan(value: float) -> str | None:
    return "a number" if math.isnan(value) else None


def _refuse_unknown_hooks(cls: type[Callback]) -> None:
    known = (*EVENTS, *PREDICT_EVENTS)
    for name in vars(cls):
        if name.startswith("on_") and name not in known:
            raise ConfigError(
                f"{cls.__name__} has a hook {name!r}, and there is no such event.",
                why=f"the events are {listing(known, 30)}",
                mend=did_you_mean(name, known) or "give the method another name",
            )
        if name in known and inspect.isfunction(vars(cls)[name]):
            refuse_arguments(vars(cls)[name], ("self", "run", "state"), f"hook {name!r}")


def refuse_arguments(function: Any, given: Sequence[str], what: str) -> None:
    """Refuse a function that cannot be called with these arguments.

    Raises:
        ConfigError: It cannot.

    >>> refuse_arguments(print, ("run",), "hook")
    """
    try:
        inspect.signature(function).bind(*given)
    except ValueError:
        return  # some functions of C have no signature
    except TypeError as error:
        raise ConfigError(
            f"{shown(function)} cannot be a hook.",
            where=what,
            why=f"it is called with {listing(given)}: {error}",
            mend=f"write def {getattr(function, '__name__', 'f')}({', '.join(given)})",
        ) from None


def _as_fields(cls: type[Callback], names: Sequence[str]) -> None:
    """Let a plain class attribute of such a name be the default of the parameter."""
    for name in names:
        if name in vars(cls):
            cls.__annotations__ = {**vars(cls).get("__annotations__", {}), name: _TYPES[name]}


_TYPES = {"enabled": "bool", "weight": "float"}
