"""Selectors pick names, combine, and are values."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pytest

from mlgraph.data.select import Selector, sel
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, UnknownColumnError

TYPES = {"a": "float", "b": "int", "c": "category", "d": "float"}


def task() -> Task:
    return Task(
        {
            "a": [1.0, None, 3.0],
            "b": [1, 1, 2],
            "c": pd.Categorical(list("uuv"), list("uvwx")),
            "d": [0.5, 0.5, 0.5],
            "y": ["p", "q", "p"],
        },
        target="y",
    )


def no_gaps(column: pa.ChunkedArray) -> bool:
    return column.null_count == 0


PICKS = [
    (sel.all(), "abcd"),
    (sel.none(), ""),
    (sel.type("float"), "ad"),
    (sel.type("int", "category"), "bc"),
    (sel.type(), ""),
    (sel.names("d", "a"), "ad"),
    (sel.names("a", "zz", strict=False), "a"),
    (sel.match("[bc]"), "bc"),
    (~sel.type("float"), "bc"),
    (sel.type("float") & ~sel.names("a"), "d"),
    (sel.type("float") - sel.names("a"), "d"),
    (sel.names("b") | sel.names("a"), "ab"),
    (~(sel.names("a") | sel.names("b")), "cd"),
    (sel.names("a") & (sel.names("a") | sel.names("b")), "a"),
]
KINDS = {
    "conv.weight": frozenset(),
    "conv.bias": frozenset({"bias", "vector"}),
    "bn.weight": frozenset({"norm", "vector"}),
}

NEED_DATA = [
    (sel.missing(), "a"),
    (sel.cardinality(gt=2), "c"),
    (sel.cardinality(ge=2, lt=4), "ab"),
    (sel.cardinality(le=1), "d"),
    (sel.where(no_gaps), "bcd"),
    (~sel.missing() & sel.type("float"), "d"),
]


@pytest.mark.parametrize(("selector", "picked"), PICKS + NEED_DATA, ids=repr)
def test_features_are_picked_in_the_order_of_the_task(selector: Selector, picked: str) -> None:
    assert selector.pick(task()) == tuple(picked)


@pytest.mark.parametrize(("selector", "picked"), PICKS, ids=repr)
def test_names_and_types_are_enough_for_most(selector: Selector, picked: str) -> None:
    assert selector.pick_from("abcd", TYPES) == tuple(picked)


@pytest.mark.parametrize(("selector", "_"), NEED_DATA, ids=repr)
def test_selectors_that_look_at_data_say_so(selector: Selector, _: str) -> None:
    with pytest.raises(ConfigError, match="looks at data"):
        selector.pick_from("abcd", TYPES)


def test_selecting_by_type_needs_types() -> None:
    with pytest.raises(ConfigError, match=r"sel.type\('float'\) needs types"):
        sel.type("float").pick_from(["weight", "bias"])


@pytest.mark.parametrize(
    "use",
    [
        lambda: sel.type("float") and sel.names("year"),
        lambda: sel.type("float") or sel.names("year"),
        lambda: not sel.type("float"),
        lambda: 1 if sel.none() else 0,
    ],
)
def test_selectors_are_neither_true_nor_false(use: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match="neither true nor false") as caught:
        use()
    assert "write & | ~ instead of and, or, not" in caught.value.mend


@pytest.mark.parametrize(("selector", "_"), PICKS + NEED_DATA, ids=repr)
def test_a_selector_is_a_value(selector: Selector, _: str) -> None:
    again = pickle.loads(pickle.dumps(selector))
    assert again == selector
    assert hash(again) == hash(selector)
    assert eval(repr(selector), {"sel": sel, "no_gaps": no_gaps}) == selector
    with pytest.raises(AttributeError):
        selector.names = ()


def test_different_selectors_differ() -> None:
    selectors = [selector for selector, _ in PICKS + NEED_DATA]
    assert len(set(selectors)) == len(selectors) - 1  # a - b is a & ~b
    assert sel.names("a") != sel.names("a", strict=False)
    assert sel.where(lambda column: True) != sel.where(lambda column: True)


@pytest.mark.parametrize(("selector", "_"), PICKS + NEED_DATA, ids=repr)
def test_a_selector_is_written_as_json_and_read_again(selector: Selector, _: str) -> None:
    known = {f"{__name__}:no_gaps": no_gaps}
    content = selector.__mlgraph_json__()
    if "where" in repr(selector):
        content = {**content, "fn": f"{__name__}:no_gaps"}
    assert sel.from_json(json.loads(json.dumps(content)), known) == selector


def test_the_json_of_a_selector_says_what_it_is() -> None:
    assert sel.type("float").__mlgraph_json__() == {"sel": "type", "args": ["float"]}
    assert sel.where(len).__mlgraph_json__() == {"sel": "where", "fn": "builtins:len"}
    with pytest.raises(ConfigError, match="function 'builtins:len' of a selector is not known"):
        sel.from_json({"sel": "where", "fn": "builtins:len"})


def test_a_function_without_a_name_stands_for_itself() -> None:
    nameless = lambda column: True  # noqa: E731
    assert sel.where(nameless).__mlgraph_json__()["fn"] is nameless


def test_names_and_lists_are_selectors_too() -> None:
    assert Selector.of("a") == sel.names("a")
    assert Selector.of(["a", "b"]) == Selector.of(("a", "b")) == sel.names("a", "b")
    assert Selector.of(None) == sel.all()
    assert Selector.of(sel.none()) == sel.none()
    for wrong in (3, [1], {"a"}):
        with pytest.raises(ConfigError, match="does not select columns"):
            Selector.of(wrong)


def test_unknown_names_and_types_are_refused_with_a_hint() -> None:
    with pytest.raises(UnknownColumnError, match="No column is called 'aa'") as name:
        sel.names("aa").pick(task())
    assert "'a'" in name.value.mend
    with pytest.raises(ConfigError, match="no feature type 'flot'") as kind:
        sel.type("flot")
    assert "'float'" in kind.value.mend


def test_selectors_that_say_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs a bound"):
        sel.cardinality()
    with pytest.raises(ConfigError, match="is not a regular expression"):
        sel.match("(")
    with pytest.raises(ConfigError, match="takes names"):
        sel.names(["a"])
    with pytest.raises(TypeError):
        sel.all() & "a"


def test_the_target_is_never_picked() -> None:
    assert sel.match("y").pick(task()) == ()


def test_parameters_are_chosen_by_kind() -> None:
    def names(selector: Selector) -> tuple[str, ...]:
        return selector.pick_from(KINDS, kinds=KINDS)

    assert names(sel.kind("bias", "norm")) == ("conv.bias", "bn.weight")
    assert names(~sel.kind("vector")) == ("conv.weight",)
    assert names(sel.kind("embedding")) == ()
    assert sel.from_json(sel.kind("bias").__mlgraph_json__()) == sel.kind("bias")
    assert sel.kind("bias") != sel.kind("norm")


def test_kinds_are_not_those_of_columns() -> None:
    with pytest.raises(ConfigError, match="chooses among the parameters of a network"):
        sel.kind("bias").pick(task())
    with pytest.raises(ConfigError, match="no kind of parameters 'biass'") as caught:
        sel.kind("biass")
    assert "Did you mean 'bias'" in caught.value.mend
