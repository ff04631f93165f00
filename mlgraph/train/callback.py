"""Callbacks: what may happen beside the training steps, and when.

A callback is frozen parameters: it is compared, hashed and written as JSON like a node. Its only
memory is what ``start`` returns, which every hook gets back; so one callback serves any number of
runs at once, and saving a run is saving these memories (``mlgraph.train.memory``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from mlgraph.core.declare import Declarative, declared, defaults, required
from mlgraph.core.param import Mismatch, Token, coerce, param, shown, tokens_in
from mlgraph.core.value import address, canonical, encode
from mlgraph.errors import ConfigError, UnknownParameterError, did_you_mean, listing
from mlgraph.train.running import EVENTS, PREDICT_EVENTS, Predicting, Running


class Callback(Declarative):
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

    writes: ClassVar[bool] = False

    enabled: bool = True
    weight: float = param(default=0.0, check=lambda value: _no_nan(value))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        _refuse_unknown_hooks(cls)
        _as_fields(cls, ("enabled", "weight"))
        super().__init_subclass__(**kwargs)

    def __attrs_post_init__(self) -> None:
        for name, hint, details in declared(type(self)):
            value = getattr(self, name)
            try:
                value = coerce(value, hint, details)
            except Mismatch as mismatch:
                raise self._refuse(name, value, str(mismatch)) from None
            object.__setattr__(self, name, value)
        if not self.tokens():
            self.validate()

    # What a subclass says ---------------------------------------------------------------------

    def start(self, run: Running) -> Any:
        """The memory of this callback for one run: None, or what ``memory.saved`` can save."""
        return None

    def validate(self) -> None:
        """Check parameters against each other; raise ConfigError."""

    def hook(self, event: str) -> Any:
        """What to call with run and memory at this event, or None."""
        return getattr(self, event, None)

    # What every callback can do ---------------------------------------------------------------

    @classmethod
    def create(cls, params: Mapping[str, Any] | None = None) -> Self:
        """Make a callback from named parameters, with errors that name it.

        Raises:
            UnknownParameterError: A name that is no parameter.
            ConfigError: A missing or impossible value.
        """
        given = dict(params or {})
        names = cls.field_names()
        for name in given:
            if name not in names:
                raise cls._unknown(name)
        missing = [name for name in required(cls) if name not in given]
        if missing:
            raise ConfigError(
                f"{cls.call_name()} needs {listing(missing)}.",
                mend=f"write {cls.call_name(missing[0] + '=...')}",
            )
        return cls(**given)

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """The parameters, in order."""
        return tuple(name for name, _, _ in declared(cls))

    @classmethod
    def call_name(cls, arguments: str = "") -> str:
        """How the callback is asked for: ``callback("early_stopping")``."""
        return (
            f"callback({', '.join(part for part in (repr(cls.key), arguments) if part)})".replace(
                "'", '"', 2
            )
        )

    def parameters(self) -> dict[str, Any]:
        """Every parameter and its value."""
        return {name: getattr(self, name) for name in self.field_names()}

    def with_parameters(self, changes: Mapping[str, Any]) -> Self:
        """The same callback with other parameters; ``a__b`` is ``b`` inside of ``a``.

        Raises:
            UnknownParameterError: A name that is no parameter.
        """
        values = self.parameters()
        for path, value in changes.items():
            name, _, inside = path.partition("__")
            if name not in values:
                raise self._unknown(path)
            try:
                values[name] = with_inner(values[name], inside, value)
            except KeyError:
                raise self._unknown(path) from None
        return self.create(values)

    def tokens(self) -> dict[str, Token]:
        """The tuning tokens among the parameters, by path."""
        return dict(tokens_of(self.parameters()))

    def changed(self) -> dict[str, Any]:
        """The parameters that differ from their defaults."""
        known = defaults(type(self))
        return {
            name: value
            for name, value in self.parameters().items()
            if name not in known or encode(value) != encode(known[name])
        }

    def to_json(self) -> dict[str, Any]:
        """Key, class and every parameter, as JSON values."""
        params = {name: encode(value) for name, value in self.parameters().items()}
        return {"key": self.key, "class": address(type(self)), "params": params}

    def __mlgraph_json__(self) -> dict[str, Any]:
        return self.to_json()

    @functools.cached_property
    def _canonical(self) -> bytes:
        return canonical(self.to_json())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Callback):
            return NotImplemented
        return type(self) is type(other) and self._canonical == other._canonical

    def __hash__(self) -> int:
        return hash(self._canonical)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_canonical"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return self.call_name(
            ", ".join(f"{name}={shown(value)}" for name, value in self.changed().items())
        )

    @classmethod
    def _unknown(cls, name: str) -> UnknownParameterError:
        return UnknownParameterError(
            f"{cls.call_name()} has no parameter {name!r}.",
            why=f"its parameters are {listing(cls.field_names(), 30)}",
            mend=did_you_mean(name, cls.field_names()),
        )

    def _refuse(self, name: str, value: Any, expected: str) -> ConfigError:
        return ConfigError(
            f"{self.call_name()} cannot take {name}={shown(value)}.",
            where=f"parameter {name!r}",
            why=f"expected {expected}",
        )


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
    return tuple(sorted(present, key=lambda callback: callback.weight))


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
            for callback, state in started
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


def tokens_of(value: Any, path: str = "") -> Iterator[tuple[str, Token]]:
    """Every token inside a value, also in its callbacks, with its path from there."""
    if isinstance(value, Callback):
        value = value.parameters()
    if isinstance(value, (Mapping, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from tokens_of(item, f"{path}__{key}" if path else str(key))
    else:
        yield from tokens_in(value, path)


def with_inner(value: Any, path: str, new: Any) -> Any:
    """The value with what is at a path inside it replaced, also in its callbacks.

    Raises:
        KeyError: Nothing is there.

    >>> with_inner((1, {"a": 2}), "1__a", 3)
    (1, {'a': 3})
    """
    if not path:
        return new
    if isinstance(value, Callback):
        return value.with_parameters({path: new})
    key, _, rest = path.partition("__")
    if isinstance(value, tuple) and key.isdigit() and int(key) < len(value):
        i = int(key)
        return (*value[:i], with_inner(value[i], rest, new), *value[i + 1 :])
    if isinstance(value, Mapping) and key in value:
        return {**value, key: with_inner(value[key], rest, new)}
    raise KeyError(path)


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


def _as_fields(cls: type[Callback], names: Sequence[str]) -> None:
    """Let a plain class attribute of such a name be the default of the parameter."""
    for name in names:
        if name in vars(cls):
            cls.__annotations__ = {**vars(cls).get("__annotations__", {}), name: _TYPES[name]}


_TYPES = {"enabled": "bool", "weight": "float"}
