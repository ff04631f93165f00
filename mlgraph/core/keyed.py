"""Values that are found by a key: frozen parameters, and what is written and compared of them.

Nodes, kinds of tasks, callbacks and samplers are such values. They are made by key, class or call,
changed by path, compared by content and written as JSON; what they do is said by their subclasses.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs

from mlgraph.core.declare import Declarative, declared, defaults, required
from mlgraph.core.param import Mismatch, Token, coerce, shown
from mlgraph.core.value import address, canonical, encode, lasting
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

    def __new__(cls, *args: Any, **params: Any) -> Self:
        """Refuse arguments that are no parameters by a text that says which ones there are."""
        if args:
            raise cls._by_name_only()
        known = _arguments(cls)
        extra = {name: value for name, value in params.items() if name not in known}
        if extra:
            cls.absorbed({name: params[name] for name in params if name in known}, extra)
        return super().__new__(cls)

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

    # How one is made --------------------------------------------------------------------------

    @classmethod
    def create(cls, args: Sequence[Any] = (), params: Mapping[str, Any] | None = None) -> Self:
        """Make one from positional and named parameters, with errors that name it.

        Raises:
            UnknownParameterError: A name that is no parameter.
            ConfigError: A missing, surplus or impossible value.
        """
        return cls(**cls.given(args, params))

    @classmethod
    def given(cls, args: Sequence[Any], params: Mapping[str, Any] | None) -> dict[str, Any]:
        """The values of the fields that are meant, every required one among them.

        Raises:
            UnknownParameterError: A name that is no parameter.
            ConfigError: A missing or surplus value.
        """
        values = {**cls._by_position(args, params or {}), **(params or {})}
        fields = cls.field_names()
        extra = {name: values.pop(name) for name in list(values) if name not in fields}
        if extra:
            values = cls.absorbed(values, extra)
        missing = [name for name in required(cls) if name not in values]
        if missing:
            raise ConfigError(
                f"{cls.call_name()} needs {listing(missing)}.",
                mend=f"write {cls.call_name(missing[0] + '=...')}",
            )
        return values

    @classmethod
    def absorbed(cls, values: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        """The values with parameters among them for which no field is declared.

        Raises:
            UnknownParameterError: There are no such parameters.
        """
        raise cls._unknown(next(iter(extra)), cls.field_names())

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """The declared parameters, in order."""
        return tuple(name for name, _, _ in declared(cls))

    @classmethod
    def call_name(cls, arguments: str = "") -> str:
        """How one is asked for: ``callback("early_stopping")``."""
        inside = ", ".join(part for part in (f'"{cls.key}"', arguments) if part)
        return f"{cls.made_by}({inside})"

    # Its parameters ---------------------------------------------------------------------------

    def fields(self) -> dict[str, Any]:
        """Every declared parameter and its value."""
        return {name: getattr(self, name) for name in self.field_names()}

    def parameters(self) -> dict[str, Any]:
        """Every parameter and its value."""
        return self.fields()

    def with_parameters(self, changes: Mapping[str, Any]) -> Self:
        """The same with other parameters; ``a__b`` is ``b`` inside of ``a``.

        Raises:
            UnknownParameterError: A name that is no parameter.
        """
        plain, rest = self._inner(changes)
        if rest:
            plain = self.absorbed({**self.fields(), **plain}, rest)
        return attrs.evolve(self, **plain)  # type: ignore[misc]

    def tags(self, name: str) -> frozenset[str]:
        """The tags of a parameter."""
        found = {field: details.tags for field, _, details in declared(type(self))}
        return found.get(name, frozenset())

    def tokens(self) -> dict[str, Token]:
        """The tuning tokens among the parameters, by path."""
        return dict(self._tokens())

    def changed(self) -> dict[str, Any]:
        """The parameters that differ from their defaults."""
        known = defaults(type(self))
        return {
            name: value
            for name, value in self.parameters().items()
            if name not in known or encode(value) != encode(known[name])
        }

    # What is written and compared of it -------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Key, class and every parameter, as JSON values."""
        params = {name: encode(value) for name, value in self.fields().items()}
        return {"key": self.key, "class": address(type(self)), "params": params}

    def __mlgraph_json__(self) -> dict[str, Any]:
        return self.to_json()

    def __mlgraph_lasting__(self) -> dict[str, Any]:
        values = self.fields().items()
        params = {name: lasting(v) for name, v in values if "runtime" not in self.tags(name)}
        return {**self.to_json(), "params": params}

    def canonical(self) -> bytes:
        """Canonical JSON of the value: equal bytes and class, equal value."""
        return self._canonical

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
        changed = (f"{name}={shown(value)}" for name, value in self.changed().items())
        return self.call_name(", ".join(changed))

    def _tokens(self) -> Iterator[tuple[str, Token]]:
        return tokens_in(self.fields())

    def _inner(self, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Changes of declared parameters, also inside of their values; and all others."""
        plain: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for path, value in changes.items():
            name, _, inside = path.partition("__")
            if name not in self.field_names():
                rest[path] = value
                continue
            try:
                plain[name] = with_inner(plain.get(name, getattr(self, name)), inside, value)
            except KeyError:
                raise self._unknown(path, self.field_names()) from None
        return plain, rest

    @classmethod
    def _by_position(cls, args: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        names = cls.field_names()
        if len(args) > len(names):
            raise ConfigError(
                f"{cls.call_name()} takes {len(names)} parameters, and got {len(args)}.",
                why=f"its parameters are {listing(names)}",
            )
        placed = dict(zip(names, args, strict=False))
        twice = [name for name in placed if name in params]
        if twice:
            raise ConfigError(f"{cls.call_name()} got {twice[0]!r} twice.", mend="give it once")
        return placed

    @classmethod
    def _by_name_only(cls) -> ConfigError:
        names = cls.field_names()
        return ConfigError(
            f"{cls.__name__} takes its parameters by name.",
            why=f"they are {listing(names, 30)}" if names else "it has none",
            mend=f"write {cls.__name__}({names[0]}=...)" if names else "",
        )

    @classmethod
    def _unknown(cls, name: str, known: Sequence[str]) -> UnknownParameterError:
        return UnknownParameterError(
            f"{cls.call_name()} has no parameter {name!r}.",
            why=f"its parameters are {listing(known, 30)}" if known else "it has none",
            mend=did_you_mean(name, known),
        )

    def _refuse(self, name: str, value: Any, expected: str) -> ConfigError:
        return ConfigError(
            f"{self.call_name()} cannot take {name}={shown(value)}.",
            where=self._where(name),
            why=f"expected {expected}",
        )

    def _where(self, name: str) -> str:
        return f"parameter {name!r}"


def tokens_in(value: Any, path: str = "") -> Iterator[tuple[str, Token]]:
    """Every token inside a value, also in values with a key, with its path from there.

    >>> from mlgraph.core.param import tune
    >>> list(tokens_in({"lr": tune(0.1, 1.0)}, "options"))
    [('options__lr', tune(0.1, 1.0))]
    >>> list(tokens_in([8, tune(4, 8)], "sizes"))
    [('sizes__1', tune(4, 8))]
    """
    if isinstance(value, Keyed):
        yield from ((_at(path, inner), token) for inner, token in value.tokens().items())
    elif isinstance(value, Token):
        yield path, value
    elif isinstance(value, (Mapping, tuple, list)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from tokens_in(item, _at(path, str(key)))


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


@functools.cache
def _arguments(cls: type[Keyed]) -> frozenset[str]:
    """The names that calling the class takes."""
    fields = attrs.fields(cls)  # type: ignore[arg-type]
    return frozenset(field.alias for field in fields if field.init)


def _at(path: str, inner: str) -> str:
    return f"{path}__{inner}" if path else inner
