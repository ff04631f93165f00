"""Parameters: types, bounds, choices, checks, and tuning tokens."""

from __future__ import annotations

import collections.abc
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlgraph.core.keyed import tokens_in
from mlgraph.core.param import Mismatch, Param, Token, coerce, param, shown, tune
from mlgraph.errors import ConfigError

FREE = Param()


@pytest.mark.parametrize(
    ("value", "hint", "result"),
    [
        (3, float, 3.0),
        (3, int | float, 3),
        (3, float | int, 3),
        (3.0, int | float, 3.0),
        (True, bool | int, True),
        (None, int | None, None),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, 2], tuple[float, ...], (1.0, 2.0)),
        ([1, "a"], tuple[int, str], (1, "a")),
        ([1, 2], list[float], (1.0, 2.0)),
        ([1, 2], list, (1, 2)),
        ([1, 2], tuple, (1, 2)),
        ([1, 2], Sequence[float], (1.0, 2.0)),
        (3, int | tuple[int, ...], 3),
        ([3], int | tuple[int, ...], (3,)),
        ({"a": 1}, dict, {"a": 1}),
        ({"a": 1}, Mapping[str, float], {"a": 1.0}),
        (np.float32(0.5), float, 0.5),
        (np.int64(5), int, 5),
        (np.bool_(True), bool, True),
        ("a", Literal["a", 1], "a"),
        (1, Literal["a", 1], 1),
        (len, Callable, len),
        (int, type, int),
        (int, type[int], int),
        (3, Any, 3),
        ({1, 2}, frozenset, frozenset({1, 2})),
    ],
)
def test_values_are_normalised_to_the_annotated_type(value: Any, hint: Any, result: Any) -> None:
    found = coerce(value, hint, FREE)
    assert found == result
    if not isinstance(result, dict):
        assert type(found) is type(result)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (True, int, "an integer"),
        (True, float, "a number"),
        (2.0, int, "an integer"),
        (1, bool, "True or False"),
        (1, str, "a string"),
        ("a", int | None, "an integer or None"),
        ("ab", tuple[str, ...], "a list"),
        ("ab", list[str], "a list"),
        ("ab", Sequence[str], "a list"),
        (3, tuple, "a list"),
        ([1, "a"], tuple[int, ...], "an integer"),
        ([1], tuple[int, int], "a list of 2 values"),
        ([1], dict, "a dict"),
        ({"a": "b"}, Mapping[str, int], "an integer"),
        (3, Callable, "a function"),
        (3, type, "a class"),
        ("c", Literal["a", 1], "one of 'a', '1'."),
        ("retina", Literal["retain", 1], "one of 'retain', '1'. Did you mean 'retain'?"),
        (True, Literal["a", 1], "one of 'a', '1'."),
    ],
)
def test_values_of_other_types_are_refused(value: Any, hint: Any, expected: str) -> None:
    with pytest.raises(Mismatch) as refused:
        coerce(value, hint, FREE)
    assert str(refused.value) == expected


@pytest.mark.parametrize(
    ("details", "bad", "good", "expected"),
    [
        (Param(lower=0), -1, 0, "a number of at least 0"),
        (Param(upper=1), 1.5, 1, "a number of at most 1"),
        (Param(lower=0, upper=1), 2, 0.5, "a number from 0 to 1"),
        (Param(lower=0), float("nan"), 0.0, "a number of at least 0"),
        (Param(lower=1), (2, 0), (2, 1), "a number of at least 1"),
        (Param(choices=("mean", "sum")), "maen", "mean", "'mean', 'sum'. Did you mean 'mean'?"),
        (Param(choices=(1, 2)), 3, 2, "one of '1', '2'."),
        (Param(choices=(1, 2)), True, 1, "one of '1', '2'."),
        (Param(check=lambda v: "an even number" if v % 2 else None), 3, 4, "an even number"),
    ],
)
def test_bounds_choices_and_checks(details: Param, bad: Any, good: Any, expected: str) -> None:
    assert coerce(good, Any, details) == good
    with pytest.raises(Mismatch) as refused:
        coerce(bad, Any, details)
    assert expected in str(refused.value)


def test_none_and_tokens_pass_every_bound() -> None:
    details = Param(lower=0, choices=(1,), check=lambda value: "never")
    assert coerce(None, int | None, Param(lower=0, check=lambda value: "never")) is None
    assert coerce(tune(1, 2), int, details) == tune(1, 2)
    assert coerce([tune(1, 2), 3], tuple[int, ...], Param(lower=0)) == (tune(1, 2), 3)


def test_a_converter_runs_before_the_type_is_checked() -> None:
    assert coerce("3", int, Param(convert=int)) == 3


def test_a_declared_default_cannot_be_changed_from_outside() -> None:
    sizes = [1, 2]
    declared = param(default=sizes)
    sizes.append(3)
    assert declared._default == (1, 2)


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(ConfigError, match="No parameter tag is called 'structur'") as refused:
        param(tags={"structur"})
    assert "'internal_tuning', 'predict', 'runtime', 'structure'" in refused.value.mend


# Tokens


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (tune(16, 256, log=True), "tune(16, 256, log=True)"),
        (tune([64, 128]), "tune([64, 128])"),
        (tune(), "tune()"),
        (tune(0.0, 1.0, step=0.25), "tune(0.0, 1.0, step=0.25)"),
        (tune(1, 200, internal=True), "tune(1, 200, internal=True)"),
    ],
)
def test_a_token_prints_as_it_is_written(token: Token, text: str) -> None:
    assert repr(token) == text
    assert eval(text) == token
    assert pickle.loads(pickle.dumps(token)) == token


@pytest.mark.parametrize(
    "make",
    [
        lambda: tune(16),
        lambda: tune(None, 16),
        lambda: tune("a", "b"),
        lambda: tune([]),
        lambda: tune([1, 2], 3),
        lambda: tune(2, 1),
        lambda: tune(1, 1),
        lambda: tune(0, 1, log=True),
    ],
)
def test_an_impossible_range_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError):
        make()


def test_tokens_are_found_inside_values_with_their_path() -> None:
    token = tune(1, 2)
    found = tokens_in({"lr": token, "deep": {"er": token}, "list": (3, token)}, "opt")
    assert [path for path, _ in found] == ["opt__lr", "opt__deep__er", "opt__list__1"]
    assert not list(tokens_in({"lr": 1})), "tokens only"


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_every_range_with_two_ends_in_order_is_a_token(low: float, high: float) -> None:
    if low < high:
        assert (tune(low, high).low, tune(low, high, log=True).high) == (low, high)


def test_values_are_shown_as_code() -> None:
    assert shown(collections.abc.Mapping) == "Mapping"
    assert shown("a" * 100) == "'" + "a" * 56 + "..."
