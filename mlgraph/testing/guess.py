"""Values a parameter may have, guessed from its declared type, bounds and choices."""

from __future__ import annotations

import collections.abc
import random
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mlgraph.core.param import Param


class Unguessable(Exception):
    """No value of a parameter can be guessed; the text says of which type it is."""


def guessed(hint: Any, details: Param, draws: random.Random, sizes: Sequence[int]) -> Any:
    """A value of a declared type within its bounds; that the layer takes it is not certain.

    Args:
        hint: The type.
        details: Bounds and choices.
        draws: Where all choices come from.
        sizes: Numbers that stand for sizes of an input.

    Raises:
        Unguessable: The type says too little: a plain string, a class, any object.

    >>> guessed(int, Param(lower=1, upper=1), random.Random(1), ())
    1
    >>> guessed(tuple[int, int], Param(lower=3, upper=3), random.Random(1), ())
    (3, 3)
    """
    if details.choices:
        return draws.choice(details.choices)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, details, draws, sizes)
    if origin is typing.Literal:
        return draws.choice(arguments)
    if origin in (tuple, list, collections.abc.Sequence):
        return _several(arguments, details, draws, sizes)
    make = _PLAIN.get(origin or hint)
    if make is None:
        raise Unguessable(f"is of type {getattr(hint, '__name__', hint)}, which says too little")
    return make(details, draws, sizes)


def _one_of(
    hints: Sequence[Any], details: Param, draws: random.Random, sizes: Sequence[int]
) -> Any:
    for hint in draws.sample(hints, len(hints)):
        try:
            return guessed(hint, details, draws, sizes)
        except Unguessable:
            continue
    raise Unguessable(f"is one of {', '.join(map(str, hints))}, which says too little")


def _several(
    hints: Sequence[Any], details: Param, draws: random.Random, sizes: Sequence[int]
) -> tuple[Any, ...]:
    if len(hints) == 2 and hints[1] is ...:
        count = draws.randint(1, 3)
        if hints[0] is int and _within(0, details) and draws.random() < 0.3:
            return tuple(draws.sample(range(count), count))  # an order of dimensions
        hints = (hints[0],) * count
    return tuple(guessed(hint, details, draws, sizes) for hint in hints)


def _int(details: Param, draws: random.Random, sizes: Sequence[int]) -> int:
    low = min(-2, int(details.upper or 0)) if details.lower is None else int(details.lower)
    near = range(low, low + 5)
    kind = draws.random()
    options = [n for n in (sizes if kind < 0.3 else near) if _within(n, details)]
    return draws.choice(options or [low])


def _float(details: Param, draws: random.Random, sizes: Sequence[int]) -> float:
    ends = [float(end) for end in (details.lower, details.upper) if end is not None]
    options = [x for x in (-1.0, 0.0, 0.1, 0.5, 1.0, 1.5, 2.0) if _within(x, details)]
    return draws.choice(options + ends)


def _within(number: float, details: Param) -> bool:
    low = details.lower is None or number >= details.lower
    return low and (details.upper is None or number <= details.upper)


_PLAIN: dict[Any, Callable[[Param, random.Random, Sequence[int]], Any]] = {
    bool: lambda _, draws, __: draws.random() < 0.5,
    int: _int,
    float: _float,
    type(None): lambda *_: None,
    torch.dtype: lambda _, draws, __: draws.choice((torch.float32, torch.int64, torch.bool)),
    collections.abc.Callable: lambda _, draws, __: draws.choice((torch.tanh, torch.sigmoid)),
    collections.abc.Mapping: lambda *_: {},
    dict: lambda *_: {},
}

__all__ = ["Unguessable", "guessed"]
