"""What losses and optimizers share: something to call, and the options it will be called with."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Self

import attrs
import torch

from mlgraph.core.keyed import tokens_in
from mlgraph.core.param import shown
from mlgraph.core.value import FrozenDict, canonical, snake
from mlgraph.errors import (
    ConfigError,
    UnknownKeyError,
    UnknownParameterError,
    did_you_mean,
    listing,
)


@attrs.frozen(eq=False, repr=False)
class Description:
    """A class or function with options: a value that can be compared, hashed and written as JSON.

    Two descriptions are equal when they call the same thing with the same options; an option set
    to its default is the same as one left out.

    >>> Description("huber", torch.nn.HuberLoss, FrozenDict({"delta": 2.0}))
    huber(delta=2.0)
    """

    name: str
    cls: Callable[..., Any]
    options: FrozenDict = attrs.field(factory=FrozenDict, converter=FrozenDict)

    what: ClassVar[str] = "description"
    hidden: ClassVar[frozenset[str]] = frozenset()
    positional: ClassVar[int] = 0

    @classmethod
    def calling(cls, call: Callable[..., Any], options: Mapping[str, Any] | None) -> Self:
        """The description of calling this with these options, if there are such options."""
        known = (name for name, found in cls.known().items() if found is call)
        name = next(known, "") or name_of(call)
        return cls(name, call, plain_options(options))._checked()

    @classmethod
    def known(cls) -> Mapping[str, type]:
        """The classes that have a name, by that name."""
        return {}

    @property
    def native(self) -> bool:
        """Whether this is one of torch's own, found by its name."""
        return self.known().get(self.name) is self.cls

    @property
    def is_open(self) -> bool:
        """Whether a tuning token still stands for one of the options."""
        return any(True for _ in tokens_in(self.options))

    def accepted(self) -> tuple[dict[str, Any], bool]:
        """The options there are, with their defaults, and whether any other is taken as well."""
        skip = 0 if isinstance(self.cls, type) else self.positional
        return _accepted(self.cls, skip, self.hidden)

    def takes(self, option: str) -> bool:
        """Whether the class or function itself has this argument, hidden or not."""
        return option in _accepted(self.cls, 0, ())[0]

    def __mlgraph_json__(self) -> dict[str, Any]:
        defaults = {k: v for k, v in self.accepted()[0].items() if isinstance(v, _PLAIN)}
        key = {"name": self.name} if self.native else {"class": self.cls}
        return {**key, "options": {**defaults, **self.options}}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return canonical(self) == canonical(other)

    def __hash__(self) -> int:
        return hash(canonical(self))

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={shown(v)}' for k, v in self.options.items())})"

    def _checked(self) -> Self:
        """This description, if its options exist."""
        accepted, takes_any = self.accepted()
        for option in self.options:
            if option in self.hidden:
                raise _reserved(self, option)
            if not takes_any and option not in accepted:
                raise UnknownParameterError(
                    f"{self.what.capitalize()} {self.name!r} has no option {option!r}.",
                    why=f"its options are {listing(accepted, 20)}" if accepted else "it has none",
                    mend=did_you_mean(option, accepted),
                )
        return self

    def closed(self) -> Self:
        """This description, if no tuning token is left in it; else a ``ConfigError``."""
        for path, token in tokens_in(self.options):
            raise ConfigError(
                f"Option {path!r} of {self.what} {self.name!r} has no value yet.",
                why=f"it is {token!r}",
                mend="search for it, or give it a value",
            )
        return self

    def refusal(self, error: Exception) -> ConfigError:
        """The error for options that torch does not take, with torch's own words."""
        return ConfigError(
            f"{self.what.capitalize()} {self.name!r} does not take these options.",
            where=repr(self),
            why=f"{type(error).__name__}: {error}",
            mend="change the options",
        )


def key_of(name: str) -> str:
    """What is common to the spellings of a name: ``CrossEntropyLoss`` and ``cross_entropy``.

    >>> key_of("CrossEntropyLoss"), key_of("cross_entropy_loss"), key_of("AdamW")
    ('crossentropy', 'crossentropy', 'adamw')
    """
    return name.lower().replace("_", "").removesuffix("loss")


def find(name: str, known: Mapping[str, type], what: str, reasons: Mapping[str, str]) -> str:
    """The canonical name for a spelling of it.

    Raises:
        UnknownKeyError: No class has this name.
        ConfigError: There is one, but it is of no use here; ``reasons`` says why.

    >>> find("SmoothL1Loss", {"smooth_l1": torch.nn.SmoothL1Loss}, "loss", {})
    'smooth_l1'
    """
    keys = {key_of(word): word for word in (*known, *reasons)}
    found = keys.get(key_of(name))
    if found is None:
        raise UnknownKeyError(
            f"No {what} is called {name!r}.",
            why=f"the names are {listing(sorted(known), 40)}",
            mend=did_you_mean(name.lower(), known)
            or f"pass your own {what} as a class or function",
        )
    if found in reasons:
        raise ConfigError(f"{found!r} cannot be the {what}.", why=reasons[found])
    return found


def name_of(call: Callable[..., Any]) -> str:
    """A name for a class or function of the user's.

    >>> name_of(key_of), name_of(lambda x: x)
    ('key_of', 'lambda')
    """
    inner = getattr(call, "func", call)
    name = getattr(inner, "__name__", type(inner).__name__)
    return snake(name) if isinstance(inner, type) else name.strip("<>")


def plain_options(options: Mapping[str, Any] | None) -> FrozenDict:
    """Options as a frozen dict, with tensors as numbers or tuples of numbers.

    >>> plain_options({"lr": torch.tensor(0.5)})
    {'lr': 0.5}
    """
    given = options or {}
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"Options are a dict, not {shown(given)}.", mend='write {"option": value}'
        )
    return FrozenDict(
        {k: v.tolist() if isinstance(v, torch.Tensor) else v for k, v in given.items()}
    )


_PLAIN = (bool, int, float, str, tuple, type(None))
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _accepted(
    call: Callable[..., Any], skip: int, hidden: Collection[str]
) -> tuple[dict[str, Any], bool]:
    try:
        parameters = _parameters(call)
    except (TypeError, ValueError):  # some functions written in C
        return {}, True
    named = [p for p in parameters[skip:] if p.kind not in _VARIADIC and p.name not in hidden]
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return {p.name: p.default for p in named}, takes_any


def _parameters(call: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    try:
        return _cached_parameters(call)
    except TypeError:  # not hashable, or no signature, which raises again
        return tuple(inspect.signature(call).parameters.values())


@functools.lru_cache(maxsize=64)
def _cached_parameters(call: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(call).parameters.values())


def _reserved(described: Description, option: str) -> ConfigError:
    return ConfigError(
        f"Option {option!r} of {described.what} {described.name!r} cannot be set.",
        why="the training sets it",
        mend=f"leave out {option!r}",
    )
