"""Parameters of a node: attrs fields with bounds, choices and tags, and tuning tokens.

The annotation of a field is its type: values are normalised to it when a node is made (a list
becomes a tuple, NumPy's scalars become Python's, an int becomes a float where a float is asked),
and refused when that is not possible without loss.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from mlgraph.core.value import FrozenDict, encode, freeze
from mlgraph.errors import ConfigError, did_you_mean, listing

TAGS = frozenset({"structure", "predict", "runtime", "internal_tuning"})


@attrs.frozen(kw_only=True)
class Param:
    """What a parameter may be, beyond its type."""

    lower: float | None = None
    upper: float | None = None
    choices: tuple[Any, ...] = ()
    check: Callable[[Any], str | None] | None = None
    convert: Callable[[Any], Any] | None = None
    tags: frozenset[str] = frozenset()


def param(
    *,
    default: Any = attrs.NOTHING,
    lower: float | None = None,
    upper: float | None = None,
    choices: Iterable[Any] = (),
    check: Callable[[Any], str | None] | None = None,
    convert: Callable[[Any], Any] | None = None,
    tags: Iterable[str] = (),
) -> Any:
    """Declare a parameter of a node.

    Args:
        default: The value in force when none is given; without one the parameter is required.
        lower: Smallest allowed number; for a sequence, of each entry.
        upper: Largest allowed number.
        choices: The allowed values.
        check: Gets the value, returns what is expected of it if it is wrong, else None.
        convert: Applied first: makes a frozen value of what a user may pass.
        tags: ``structure`` (changes ports or control flow), ``predict`` (may be changed after
            fitting), ``runtime`` (changes no result; not part of a memo key nor of
            ``Graph.hash``) and ``internal_tuning``.

    >>> param(default=0.5, lower=0, upper=1).metadata["param"].upper
    1
    """
    unknown = set(tags) - TAGS
    if unknown:
        raise ConfigError(
            f"No parameter tag is called {listing(sorted(unknown))}.",
            mend=f"use {listing(sorted(TAGS))}",
        )
    details = Param(
        lower=lower,
        upper=upper,
        choices=tuple(choices),
        check=check,
        convert=convert,
        tags=frozenset(tags),
    )
    # Unlike ``attrs.field``, read by ``Node.__init_subclass__``, which applies attrs itself.
    return attrs.field(default=freeze(default), metadata={"param": details})


@attrs.frozen
class Token:
    """A place in a search space, standing where a parameter's value would stand."""

    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    log: bool = False
    step: float | None = None
    internal: bool = False

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in attrs.fields(Token)}

    def __repr__(self) -> str:
        if self.choices:
            return f"tune({list(self.choices)!r})"
        if self.low is None and self.high is None:
            return "tune()"
        extra = "".join(
            f", {name}={value!r}"
            for name, value in (("log", self.log), ("step", self.step), ("internal", self.internal))
            if value
        )
        return f"tune({self.low}, {self.high}{extra})"


def tune(
    low: float | Sequence[Any] | None = None,
    high: float | None = None,
    *,
    log: bool = False,
    step: float | None = None,
    internal: bool = False,
) -> Any:
    """Leave a parameter open for a search.

    Args:
        low: Lower end of a range, or a list of choices; nothing means the declared range.
        high: Upper end of the range, included.
        log: Search on a logarithmic scale.
        step: Distance of grid points.
        internal: Found by the trainer itself (early stopping finds ``epochs``).

    Raises:
        ConfigError: The range is empty, or ``log`` is asked for a range that reaches zero.

    >>> tune(16, 256, log=True)
    tune(16, 256, log=True)
    """
    if isinstance(low, (list, tuple)):
        if not low or high is not None:
            raise ConfigError(
                "tune() takes one list of choices or the two ends of a range.",
                mend="write tune([64, 128]) or tune(16, 256)",
            )
        return Token(choices=freeze(low))
    if not isinstance(low, (int, float, type(None))) or (low is None) != (high is None):
        raise ConfigError("tune() needs both ends of a range.", mend="write tune(16, 256)")
    if low is not None and high is not None and (low >= high or (log and low <= 0)):
        raise ConfigError(
            f"tune({low}, {high}) is no range{' on a logarithmic scale' if log else ''}.",
            mend="give the smaller number first, and a positive one for log=True",
        )
    return Token(low, high, log=log, step=step, internal=internal)


class Mismatch(Exception):
    """A value is not of the annotated type; its text says what is expected."""


def coerce(value: Any, hint: Any, details: Param) -> Any:
    """Normalise a value to a parameter's type and check its bounds.

    Raises:
        Mismatch: The value does not fit; the text is what was expected.
    """
    if isinstance(value, Token):
        return value
    if details.convert is not None:
        value = details.convert(value)
    value = _typed(value, hint)
    _within(value, details)
    complaint = details.check(value) if details.check and value is not None else None
    if complaint:
        raise Mismatch(complaint)
    return value


def _within(value: Any, details: Param) -> None:
    if value is None or isinstance(value, Token):
        return
    if isinstance(value, tuple) and not details.choices:
        for item in value:
            _within(item, details)
        return
    if details.choices and not any(_same(value, choice) for choice in details.choices):
        hint = did_you_mean(value, [c for c in details.choices if isinstance(c, str)])
        raise Mismatch(f"one of {listing(details.choices, 40)}. {hint}".rstrip())
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low = details.lower is None or value >= details.lower
        high = details.upper is None or value <= details.upper
        if not (low and high):
            raise Mismatch(_bounds(details))


def _same(value: Any, choice: Any) -> bool:
    return type(value) is type(choice) and bool(value == choice)


def _bounds(details: Param) -> str:
    if details.upper is None:
        return f"a number of at least {details.lower}"
    if details.lower is None:
        return f"a number of at most {details.upper}"
    return f"a number from {details.lower} to {details.upper}"


def _typed(value: Any, hint: Any) -> Any:
    value = freeze(value)
    if hint is Any or isinstance(value, Token):
        return value
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(value, typing.get_args(hint))
    if origin is typing.Literal:
        return _literal(value, typing.get_args(hint))
    if origin is tuple:
        return _tuple(value, typing.get_args(hint))
    if origin in (list, collections.abc.Sequence):
        return _tuple(value, (*typing.get_args(hint), ...))
    if (origin or hint) in (collections.abc.Mapping, dict):
        return _mapping(value, typing.get_args(hint))
    return _plain(value, tuple if hint is list else origin or hint)


def _union(value: Any, hints: tuple[Any, ...]) -> Any:
    exact = [hint for hint in hints if hint is type(value)]
    expected = []
    for hint in (*exact, *hints):
        try:
            return _typed(value, type(None) if hint is None else hint)
        except Mismatch as mismatch:
            expected.append(str(mismatch))
    # A list of choices ends its sentence, so it comes last.
    ends = sorted(dict.fromkeys(expected), key=lambda text: text.endswith((".", "?")))
    raise Mismatch(" or ".join(ends))


def _literal(value: Any, choices: tuple[Any, ...]) -> Any:
    if any(_same(value, choice) for choice in choices):
        return value
    raise Mismatch(f"one of {listing(choices)}. {did_you_mean(value, choices)}".rstrip())


def _tuple(value: Any, hints: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise Mismatch("a list")
    if len(hints) == 2 and hints[1] is ...:
        return tuple(_typed(item, hints[0]) for item in value)
    if len(hints) != len(value):
        raise Mismatch(f"a list of {len(hints)} values")
    return tuple(_typed(item, hint) for item, hint in zip(value, hints, strict=True))


def _mapping(value: Any, hints: tuple[Any, ...]) -> FrozenDict:
    if not isinstance(value, FrozenDict):
        raise Mismatch("a dict")
    kind, of = hints or (Any, Any)
    return FrozenDict({_typed(key, kind): _typed(item, of) for key, item in value.items()})


_WORDS = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "a string",
    type(None): "None",
    tuple: "a list",
    type: "a class",
    collections.abc.Callable: "a function",
}


def _plain(value: Any, kind: Any) -> Any:
    if kind is collections.abc.Callable:
        if callable(value):
            return value
    elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif kind is int and isinstance(value, bool):
        pass
    elif isinstance(kind, type) and isinstance(value, kind):
        return value
    raise Mismatch(_WORDS.get(kind, f"a {getattr(kind, '__name__', kind)}"))


def shown(value: Any) -> str:
    """A value as it is written in code, short enough for a message.

    >>> shown(0.5), shown(len)
    ('0.5', 'len')
    """
    if isinstance(value, type) or (callable(value) and hasattr(value, "__name__")):
        return str(value.__name__)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


__all__ = [
    "Mismatch",
    "Param",
    "Token",
    "coerce",
    "encode",
    "param",
    "shown",
    "tune",
]
