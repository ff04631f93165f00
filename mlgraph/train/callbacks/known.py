"""Callbacks by key: ``callback("early_stopping", patience=5)``.

Every module of this package is imported on the first look-up. Classes a user defines are found as
well, the latest definition of a key first: nothing is registered anywhere.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from mlgraph.core.base import ID
from mlgraph.core.lookup import class_of, is_ours, subclasses
from mlgraph.core.param import shown
from mlgraph.errors import ConfigError, MLGraphError
from mlgraph.train.callback import Callback, numbered

_FUNCTION = 'write callback("functions", on_epoch_end=f), where f is a function of the run'
Named = tuple[tuple[str, Callback], ...]


def callback(key: str | type[Callback] | Callback, /, **params: Any) -> Callback:
    """A callback by its key, its class, or another one with some parameters changed.

    Raises:
        UnknownKeyError: No callback has this key.
        UnknownParameterError: It has no such parameter.
        ConfigError: A parameter is missing or impossible.

    >>> callback("early_stopping", patience=5)
    callback("early_stopping", patience=5)
    """
    if isinstance(key, Callback):
        return key.with_parameters(params)
    if isinstance(key, type) and issubclass(key, Callback):
        return key.create(params=params)
    if not isinstance(key, str):
        raise ConfigError(
            f"{shown(key)} is not a callback.",
            why="a callback is a key, a class, or what callback() returns",
            mend=_FUNCTION if callable(key) else 'write callback("early_stopping", patience=5)',
        )
    made = class_of(key, known, "callback", "pass a Callback of your own")
    return made.create(params=params)


def known() -> Mapping[str, type[Callback]]:
    """The classes of callbacks by key.

    >>> known()["grad_clip"].__name__
    'GradClip'
    """
    _load()
    # A class that was refused its key may still be in memory: ours come last, and stay.
    classes = sorted(subclasses(Callback), key=is_ours)
    found = {cls.key: cls for cls in classes if cls.key and not cls.__name__.startswith("_")}
    return {key: found[key] for key in sorted(found)}


def named(given: Any, params: Mapping[str, Mapping[str, Any]] | None = None) -> Named:
    """Callbacks with ids: of one, of a list of callbacks or keys, or of a dict by id.

    An id is the key unless it is given; a repeated one is numbered.

    Args:
        given: The callbacks.
        params: Parameters to set, by id.

    Raises:
        ConfigError: Something is no callback, or an id is impossible.

    >>> named(["progress", callback("grad_clip", norm=1.0)])[0]
    ('progress', callback("progress"))
    """
    chosen = dict(_items(given))
    for id in chosen:
        if not isinstance(id, str) or not ID.fullmatch(id) or "__" in id or id.endswith("_"):
            raise ConfigError(
                f"A callback cannot be called {id!r}.",
                why="an id is letters, digits and single _, and starts with a letter",
                mend="rename it",
            )
    return tuple((id, _made(id, item, (params or {}).get(id, {}))) for id, item in chosen.items())


def _made(id: str, item: Any, params: Mapping[str, Any]) -> Callback:
    inner = {path: value for path, value in params.items() if "__" in path}
    plain = {name: value for name, value in params.items() if name not in inner}
    try:
        made = callback(item, **plain)
        return made.with_parameters(inner) if inner else made
    except MLGraphError as error:
        raise error.at(f"callback {id!r}") from None


def _items(given: Any) -> Iterator[tuple[str, Any]]:
    """What callbacks are to be made of, with their ids."""
    if isinstance(given, (str, type, Callback)):
        given = (given,)
    if isinstance(given, Mapping):
        yield from given.items()
        return
    if not isinstance(given, (list, tuple)):
        raise ConfigError(
            f"{shown(given)} are no callbacks.",
            mend=_FUNCTION if callable(given) else 'give a list: ["early_stopping"]',
        )
    pairs = [item if _is_pair(item) else (_key(item), item) for item in given]
    yield from zip(numbered(id for id, _ in pairs), (of for _, of in pairs), strict=True)


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)


def _key(item: Any) -> str:
    return item if isinstance(item, str) else str(getattr(item, "key", "callback"))


@functools.cache
def _load() -> None:
    package = importlib.import_module(__package__ or "")
    for info in pkgutil.iter_modules(package.__path__, f"{__package__}."):
        importlib.import_module(info.name)
    importlib.import_module("mlgraph.train.checkpoint")  # it needs the loop, which needs callbacks
