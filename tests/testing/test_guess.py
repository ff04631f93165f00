"""Guesses are values of the declared type, within its bounds, and cover its alternatives."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest
import torch

from mlgraph.core.param import Mismatch, Param, coerce
from mlgraph.testing.guess import Unguessable, guessed


def guesses(hint: Any, details: Param, count: int = 60) -> list[Any]:
    return [guessed(hint, details, random.Random(number), (7, 1000)) for number in range(count)]


HINTS = [
    (bool, Param()),
    (int, Param()),
    (int, Param(lower=1)),
    (int, Param(lower=3, upper=4)),
    (int, Param(upper=0)),
    (int, Param(upper=-9)),
    (float, Param()),
    (float, Param(lower=0, upper=1)),
    (float, Param(lower=1e-12)),
    (float, Param(lower=10, upper=11)),
    (int | None, Param(lower=2)),
    (int | tuple[int, ...], Param(lower=1)),
    (tuple[int, float], Param(lower=1)),
    (tuple[tuple[int, ...], ...], Param()),
    (Sequence[float], Param()),
    (Literal["a", "b"], Param()),
    (str, Param(choices=("x", "y"))),
    (str | None, Param()),
    (torch.dtype, Param()),
    (Callable[..., Any], Param()),
    (Mapping[str, Any], Param()),
    (str | Callable[..., Any], Param()),
]


@pytest.mark.parametrize(("hint", "details"), HINTS, ids=str)
def test_a_guess_is_of_the_type_and_within_the_bounds(hint: Any, details: Param) -> None:
    for value in guesses(hint, details):
        try:
            coerce(value, hint, details)
        except Mismatch as mismatch:
            pytest.fail(f"{value!r} is not {mismatch}")


@pytest.mark.parametrize(
    ("hint", "kinds"),
    [
        (int | None, {int, type(None)}),
        (int | tuple[int, ...], {int, tuple}),
        (float | bool | None, {float, bool, type(None)}),
    ],
    ids=str,
)
def test_every_alternative_is_guessed(hint: Any, kinds: set[type]) -> None:
    assert {type(value) for value in guesses(hint, Param())} == kinds


def test_sizes_of_inputs_are_among_the_numbers() -> None:
    values = set(guesses(int, Param(lower=1)))
    assert {1, 7, 1000} <= values
    assert 1000 not in guesses(int, Param(lower=1, upper=9))


def test_dimensions_are_guessed_as_an_order() -> None:
    orders = [value for value in guesses(tuple[int, ...], Param(), 200) if len(value) == 3]
    assert (2, 0, 1) in orders


@pytest.mark.parametrize("hint", [str, Any, type, str | type], ids=str)
def test_a_type_that_says_too_little_is_not_guessed(hint: Any) -> None:
    with pytest.raises(Unguessable, match="says too little"):
        guessed(hint, Param(), random.Random(0), ())
