"""Parameter values: frozen, compared and written by content."""

from __future__ import annotations

import functools
import json
import operator
import os
import pickle
import subprocess
import sys

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlgraph.core.value import (
    FrozenDict,
    address,
    canonical,
    digest,
    encode,
    freeze,
    importable,
    nameless,
    snake,
)
from mlgraph.errors import ConfigError

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(values)
def test_a_value_and_its_pickled_and_its_frozen_form_have_one_canonical_form(value: object) -> None:
    written = canonical(value)
    assert canonical(pickle.loads(pickle.dumps(value))) == written
    assert canonical(freeze(value)) == written
    assert canonical(freeze(freeze(value))) == written


@given(values)
def test_the_canonical_form_is_plain_json(value: object) -> None:
    assert json.loads(canonical(value)) == json.loads(
        json.dumps(encode(value), allow_nan=False, sort_keys=True)
    )


@given(values)
def test_frozen_values_can_be_hashed(value: object) -> None:
    frozen = freeze(value)
    assert hash(frozen) == hash(freeze(value))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        (1, 1.0),
        ("1", 1),
        (None, "None"),
        ({1: "a"}, {"1": "a"}),
        ({"$float": "inf"}, float("inf")),
        (float("nan"), "nan"),
        (b"a", "a"),
        ({1, 2}, (1, 2)),
        ((), {}),
        ([], None),
    ],
)
def test_values_python_or_json_may_confuse_are_told_apart(one: object, other: object) -> None:
    assert canonical(one) != canonical(other)


def test_lists_and_tuples_are_the_same_value() -> None:
    assert canonical([1, (2,)]) == canonical((1, [2]))


def test_the_order_of_a_dict_or_set_does_not_matter() -> None:
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    assert canonical({3: 1, 1: 2}) == canonical({1: 2, 3: 1})
    assert canonical({"x", "y"}) == canonical({"y", "x"})


def test_numpy_becomes_python() -> None:
    frozen = freeze({"a": np.float64(0.5), "b": [np.int64(3)], "c": np.array([[1, 2]])})
    assert canonical(frozen) == b'{"a":0.5,"b":[3],"c":[[1,2]]}'
    assert type(frozen["a"]) is float
    assert type(frozen["b"][0]) is int


def test_freezing_copies_what_could_change() -> None:
    inner: list[int] = [1]
    members = {1}
    frozen = freeze({"a": inner, "b": members})
    inner.append(2)
    members.add(2)
    assert frozen == {"a": (1,), "b": frozenset({1})}


def test_frozen_dicts_that_are_equal_have_equal_hashes() -> None:
    one, true = FrozenDict({"a": 1}), FrozenDict({"a": True})
    assert one != true
    assert one == {"a": 1}
    assert hash(one) == hash(FrozenDict({"a": 1}))
    assert one != "a"


def test_a_frozen_dict_refuses_assignment_and_survives_pickling() -> None:
    frozen = FrozenDict({"a": [1]})
    with pytest.raises(TypeError):
        frozen["a"] = 2
    assert pickle.loads(pickle.dumps(frozen)) == frozen


def test_digests_do_not_run_parts_together() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") != digest("ab", "")


# Functions and classes


def scaled(x: float, *, by: float = 2.0) -> float:
    return x * by


class Local:
    def method(self) -> int:
        return 1


def test_what_can_be_imported_is_written_by_name() -> None:
    assert encode(scaled) == {"$name": f"{__name__}:scaled"}
    assert encode(Local)["$name"].endswith(":Local")
    assert encode(operator.add) == {"$name": "_operator:add"}
    assert encode(str.lower) == {"$name": "builtins:str.lower"}
    assert not nameless((scaled, Local, len))


def test_a_function_found_only_under_its_short_name_counts_as_importable() -> None:
    module = type(sys)("short_names")

    class Hidden:
        def relu(self) -> None: ...

    function = Hidden.relu
    function.__module__ = "short_names"
    module.relu = function
    sys.modules["short_names"] = module
    try:
        assert address(function) == "short_names:relu"
        assert importable(function)
    finally:
        del sys.modules["short_names"]


def test_functions_without_a_name_are_told_apart_by_their_code() -> None:
    def adding(n: int) -> object:
        return lambda x: x + n

    assert canonical(adding(1)) == canonical(adding(1))
    assert canonical(adding(1)) != canonical(adding(2))
    assert canonical(lambda x: x + 1) != canonical(lambda x: x + 2)
    assert canonical(lambda x: x.a) != canonical(lambda x: x.b)
    assert nameless([lambda: 0])


def test_defaults_are_part_of_a_function() -> None:
    def with_default(n: int) -> object:
        return lambda x, k=n: x + k

    def with_keyword(n: int) -> object:
        return lambda x, *, k=n: x + k

    assert canonical(with_default(1)) != canonical(with_default(2))
    assert canonical(with_keyword(1)) != canonical(with_keyword(2))


def test_a_function_that_calls_itself_can_be_written() -> None:
    def outer() -> object:
        def again(n: int) -> int:
            return again(n - 1) if n else 0

        return again

    assert canonical(outer()) == canonical(outer())


def test_functions_that_call_each_other_can_be_written() -> None:
    def pair() -> tuple[object, object]:
        def even(n: int) -> bool:
            return odd(n - 1) if n else True

        def odd(n: int) -> bool:
            return even(n - 1) if n else False

        return even, odd

    assert canonical(pair()) == canonical(pair())
    assert canonical(pair()[0]) != canonical(pair()[1])


def test_a_partial_is_its_function_and_its_arguments() -> None:
    assert canonical(functools.partial(scaled, by=2)) == canonical(functools.partial(scaled, by=2))
    assert canonical(functools.partial(scaled, by=2)) != canonical(functools.partial(scaled, by=3))


CODE_OF_ANOTHER_PROCESS = """
import functools
from mlgraph.core.value import canonical
keep = lambda x: x in {"a", "b", "c", "d", "e"}
def pick(x, *, names=frozenset({"u", "v", "w"})):
    return [n for n in names if n in {"p", "q", "r"}]
value = {"f": keep, "g": pick, "h": functools.partial(pick, names={"k", "l", "m"})}
print(canonical(value).decode())
"""


def test_the_canonical_form_is_the_same_in_every_process() -> None:
    written = {
        subprocess.run(
            [sys.executable, "-c", CODE_OF_ANOTHER_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(written) == 1
    assert "$code" in written.pop()


# Objects


@attrs.frozen
class Size:
    width: int
    unit: str = "px"


class Plain:
    def __init__(self, n: int) -> None:
        self.n = n


class Described(Plain):
    def __mlgraph_json__(self) -> int:
        return self.n


def test_attrs_objects_are_their_fields() -> None:
    assert encode(Size(3)) == {"$value": f"{__name__}:Size", "is": {"width": 3, "unit": "px"}}


def test_objects_may_describe_themselves() -> None:
    assert encode(Described(3)) == {"$value": f"{__name__}:Described", "is": 3}


def test_other_objects_are_told_apart_by_their_pickled_content() -> None:
    assert canonical(Plain(1)) == canonical(Plain(1))
    assert canonical(Plain(1)) != canonical(Plain(2))


def test_what_can_be_neither_described_nor_pickled_is_refused() -> None:
    with pytest.raises(ConfigError, match="A generator cannot be a parameter") as refused:
        canonical({"a": (i for i in range(3))})
    assert "pickle" in refused.value.why


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Conv2d", "conv2d"),
        ("AdaptiveAvgPool2d", "adaptive_avg_pool2d"),
        ("LSTM", "lstm"),
        ("GELU", "gelu"),
        ("ReLU6", "relu6"),
        ("SiLU", "silu"),
        ("LogSoftmax", "log_softmax"),
        ("MultiheadAttention", "multihead_attention"),
    ],
)
def test_class_names_become_keys(name: str, key: str) -> None:
    assert snake(name) == key
