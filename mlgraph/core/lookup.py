"""Classes by key, also those of packages that nobody has imported yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import isabstract
from typing import Any, TypeVar

from mlgraph.core.param import shown
from mlgraph.errors import ConfigError, MLGraphError, UnknownKeyError, did_you_mean, listing

T = TypeVar("T")


def subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    """Every subclass of a class, whatever lies between.

    >>> bool in subclasses(int), UnicodeError in subclasses(Exception)
    (True, True)
    """
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)


def unfinished(base: type[Any], key: str) -> type[Any] | None:
    """The latest class with this key that is abstract, though nothing is derived from it.

    >>> from mlgraph.core.keyed import Keyed
    >>> unfinished(Keyed, "no_such_key") is None
    True
    """
    found = [cls for cls in subclasses(base) if vars(cls).get("key") == key]
    open_ = [cls for cls in found if isabstract(cls) and not cls.__subclasses__()]
    return open_[-1] if open_ else None


def refuse_taken(cls: type[Any], base: type[Any], what: str) -> None:
    """Refuse a class outside mlgraph with the key of one inside: a file could not tell them apart.

    Raises:
        ConfigError: Names the other class.

    >>> refuse_taken(int, int, "number")
    """
    others = (other for other in subclasses(base) if other is not cls and is_ours(other))
    taken = next((other for other in others if other.key == cls.key), None)
    if taken is not None:
        raise ConfigError(
            f"{cls.__name__} cannot be the {what} {cls.key!r}.",
            why=f"that is {taken.__name__} already",
            mend='give the class another name, or key = "..."',
        )


def is_ours(cls: type[Any]) -> bool:
    """Whether a class is one of mlgraph's.

    >>> is_ours(int)
    False
    """
    return cls.__module__.startswith("mlgraph.")


def class_of(
    key: object,
    known: Callable[[], Mapping[str, type[T]]],
    what: str,
    otherwise: str = "",
    error: type[MLGraphError] = UnknownKeyError,
) -> type[T]:
    """The class with a key; if it is not known, after loading every provider of nodes.

    Args:
        key: The key.
        known: The classes there are now, by key.
        what: What such a class is, for the error.
        otherwise: What to do where no key is similar.
        error: The error to raise.

    Raises:
        MLGraphError: There is none; names the keys, and the providers that could not be loaded.

    >>> class_of("red", lambda: {"red": int}, "colour")
    <class 'int'>
    """
    word = key if isinstance(key, str) else ""
    found = known()
    broken: tuple[str, ...] = ()
    if word not in found:
        broken = _load_providers()
        found = known()
    if word in found:
        return found[word]
    raise error(
        f"No {what} is called {shown(key)}.",
        why="; ".join([f"there are {listing(found, 60)}", *broken]),
        mend=did_you_mean(key, found) or otherwise,
    )


def _load_providers() -> tuple[str, ...]:
    from mlgraph.catalogue import providers

    return providers()
