"""Values that are found by a key: frozen parameters, and what is written and compared of them.

Callbacks and samplers are such values. They are made by key, class or call, changed by path,
compared by content and written as JSON like nodes; what they do is said by their subclasses.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from mlgraph.core.declare import Declarative, declared, defaults, required
from mlgraph.core.param import Mismatch, Token, coerce, shown, tokens_in
from mlgraph.core.value import address, canonical, encode
from mlgraph.errors import ConfigError, UnknownParameterError, did_you_mean, listing


class Keyed(Declarative):
    """Base of values with a key; annotated fields become parameters.

    Class attributes:
        key: The name, by default the class name in snake case.
        made_by: The function that makes them by key.

    >>> class Colour(Keyed):
    ...     red: float = 0.0
    >>> Colour(red=1.0), Colour(red=1) == Colour(red=1.0)
    (value("colour", red=1.0), True)
    """

    made_by: ClassVar[str] = "value"

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

    def validate(self) -> None:
        """Check parameters against each other; raise ConfigError."""

    @classmethod
    def create(cls, params: Mapping[str, Any] | None = None) -> Self:
        """Make one from named parameters, with errors that name it.

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
        """How one is asked for: ``callback("early_stopping")``."""
        inside = ", ".join(part for part in (f'"{cls.key}"', arguments) if part)
        return f"{cls.made_by}({inside})"

    def parameters(self) -> dict[str, Any]:
        """Every parameter and its value."""
        return {name: getattr(self, name) for name in self.field_names()}

    def with_parameters(self, changes: Mapping[str, Any]) -> Self:
        """The same with other parameters; ``a__b`` is ``b`` inside of ``a``.

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
        if not isinstance(other, Keyed):
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


def tokens_of(value: Any, path: str = "") -> Iterator[tuple[str, Token]]:
    """Every token inside a value, also in values with a key, with its path from there."""
    if isinstance(value, Keyed):
        value = value.parameters()
    if isinstance(value, (Mapping, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from tokens_of(item, f"{path}__{key}" if path else str(key))
    else:
        yield from tokens_in(value, path)


def with_inner(value: Any, path: str, new: Any) -> Any:
    """The value with what is at a path inside it replaced, also in values with a key.

    Raises:
        KeyError: Nothing is there.

    >>> with_inner((1, {"a": 2}), "1__a", 3)
    (1, {'a': 3})
    """
    if not path:
        return new
    if isinstance(value, Keyed):
        return value.with_parameters({path: new})
    key, _, rest = path.partition("__")
    if isinstance(value, tuple) and key.isdigit() and int(key) < len(value):
        i = int(key)
        return (*value[:i], with_inner(value[i], rest, new), *value[i + 1 :])
    if isinstance(value, Mapping) and key in value:
        return {**value, key: with_inner(value[key], rest, new)}
    raise KeyError(path)
