"""Nodes: parameters, equality, pickling, and the errors of making one."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from mlgraph.core.base import NodeBase, is_concrete
from mlgraph.core.node import Node
from mlgraph.core.param import param, tune
from mlgraph.core.port import Port
from mlgraph.errors import (
    ConfigError,
    GraphError,
    UnknownAttributeError,
    UnknownParameterError,
)


class IntNode(Node):
    """Base of the toys: one int in, one int out."""

    inputs = (Port("input", int),)
    outputs = (Port("output", int),)

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return self.apply(None, inputs, ctx), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (inputs["input"],)


class Plus(IntNode):
    n: int = param(default=1, lower=0)
    scale: float = 1.0
    names: tuple[str, ...] = ()
    device: str = param(default="cpu", tags={"runtime"})


class Opened(IntNode):
    open_field: ClassVar[str | None] = "options"
    name: str = "sgd"
    options: Mapping[str, Any] = param(default={})


class Needing(IntNode):
    size: int


class Agreeing(IntNode):
    low: int = 0
    high: int = 1

    def validate(self) -> None:
        if self.low > self.high:
            raise ConfigError(f"{self.low} is above {self.high}.")


class NamedReLU(IntNode):
    prefix = "nn_"


# Parameters


def test_the_class_name_is_the_key() -> None:
    assert (Plus.key, NamedReLU.key, Plus().default_id) == ("plus", "nn_named_relu", "plus")


def test_a_subclass_gets_a_key_of_its_own() -> None:
    class Fixed(Plus):
        key = "fixed_key"

    class Derived(Fixed): ...

    assert (Fixed.key, Derived.key) == ("fixed_key", "derived")


def test_own_parameters_come_before_inherited_ones() -> None:
    class More(Plus):
        extra: int = 0

    assert More.field_names() == ("extra", "n", "scale", "names", "device")
    assert More.create((7,)).extra == 7


def test_parameters_are_normalised_when_a_node_is_made() -> None:
    names = ["a"]
    node = Plus(n=np.int64(2), scale=3, names=names)
    names.append("b")
    assert (node.n, node.scale, node.names) == (2, 3.0, ("a",))
    assert (type(node.n), type(node.scale)) == (int, float)


def test_a_node_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Plus().n = 2


@pytest.mark.parametrize(
    ("params", "first", "why"),
    [
        ({"n": "a"}, """po("plus") cannot take n='a'.""", "expected an integer"),
        ({"n": -1}, """po("plus") cannot take n=-1.""", "expected a number of at least 0"),
        ({"n": True}, """po("plus") cannot take n=True.""", "expected an integer"),
    ],
)
def test_an_impossible_value_is_refused(params: dict[str, Any], first: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Plus.create((), params)
    assert (refused.value.what, refused.value.why) == (first, why)
    assert "parameter 'n'" in refused.value.where


def test_an_unknown_parameter_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownParameterError) as refused:
        Plus.create((), {"scael": 2})
    assert refused.value.what == "po(\"plus\") has no parameter 'scael'."
    assert "'n', 'scale', 'names', 'device'" in refused.value.why
    assert refused.value.mend == "Did you mean 'scale'?"
    with pytest.raises(LookupError):
        Plus().with_parameters({"id": "x"})


def test_missing_surplus_and_doubled_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs 'size'"):
        Needing.create()
    with pytest.raises(ConfigError, match="takes 1 parameters, and got 2"):
        Needing.create((1, 2))
    with pytest.raises(ConfigError, match="got 'size' twice"):
        Needing.create((1,), {"size": 2})


def test_parameters_are_checked_against_each_other_unless_one_is_left_to_tuning() -> None:
    with pytest.raises(ConfigError, match="2 is above 1"):
        Agreeing(low=2)
    waiting = Agreeing(low=tune(0, 9))
    with pytest.raises(ConfigError, match="5 is above 1"):
        waiting.with_parameters({"low": 5})


def test_an_open_field_takes_parameters_nobody_declared() -> None:
    node = Opened.create(("adam",), {"lr": 0.1})
    assert node.parameters() == {"name": "adam", "lr": 0.1}
    changed = node.with_parameters({"lr": 0.2, "eps": 1e-8, "name": "lion"})
    assert changed.parameters() == {"name": "lion", "lr": 0.2, "eps": 1e-8}
    assert node.parameters() == {"name": "adam", "lr": 0.1}, "the first node is unchanged"


def test_tokens_are_named_by_the_parameter_they_stand_for() -> None:
    node = Opened.create((tune(["sgd", "adam"]),), {"lr": tune(0.1, 1.0)})
    assert list(node.tokens()) == ["name", "lr"]


def test_only_what_differs_from_the_default_is_shown() -> None:
    assert repr(Plus(n=1, scale=1)) == 'po("plus")'
    assert repr(Plus(n=2, id="two")) == "po(\"plus\", n=2, id='two')"
    assert repr(NamedReLU()) == 'nn("named_relu")'
    assert repr(Opened.create((), {"lr": 1})) == 'po("opened", lr=1)'


# Ids


@pytest.mark.parametrize("id", ["a__b", "a_", "1a", "", "a.b", "a-b", "class", "ä", "a b", "_a"])
def test_an_id_that_cannot_be_addressed_is_refused(id: str) -> None:
    with pytest.raises(GraphError, match="A node cannot be called"):
        Plus(id=id)


@pytest.mark.parametrize("id", ["a", "A1", "a_b", "relu_2", "classes"])
def test_letters_digits_and_single_underscores_make_an_id(id: str) -> None:
    assert Plus(id=id).default_id == id


def test_a_pinned_node_keeps_an_id_with_dots_through_new_parameters() -> None:
    node = Plus(n=2).pinned("block.0.plus")
    changed = node.with_parameters({"n": 3})
    assert (changed.id, changed.n) == ("block.0.plus", 3)
    assert pickle.loads(pickle.dumps(changed)) == changed


# Equality


def test_unset_and_set_to_the_default_are_equal() -> None:
    assert Plus() == Plus(n=1, scale=1) == Plus(names=[])
    assert hash(Plus()) == hash(Plus(n=1))


@pytest.mark.parametrize(
    "other",
    [
        Plus(n=2),
        Plus(id="plus"),
        Plus(device="cuda"),
        Plus(n=tune(1, 2)),
        NamedReLU(),
        3,
    ],
)
def test_parameters_id_and_class_all_count_in_equality(other: Any) -> None:
    assert Plus() != other


def test_true_and_one_are_different_parameters() -> None:
    class Anything(IntNode):
        value: Any = None

    made = [Anything(value=value) for value in (True, 1, 1.0, "1")]
    assert len(set(made)) == 4


def test_results_do_not_depend_on_runtime_parameters() -> None:
    assert Plus().memo_digest() == Plus(device="cuda").memo_digest()
    assert Plus().memo_digest() != Plus(n=2).memo_digest()


@pytest.mark.parametrize("node", [Plus(n=2, id="x"), Opened.create((), {"lr": tune(0.1, 1.0)})])
def test_copies_and_pickles_are_equal(node: NodeBase) -> None:
    hash(node)
    for other in (pickle.loads(pickle.dumps(node)), copy.copy(node), copy.deepcopy(node)):
        assert other == node
        assert hash(other) == hash(node)


def test_a_node_is_written_as_json_with_every_value() -> None:
    written = json.loads(json.dumps(Plus(id="p").to_json()))
    assert (written["key"], written["id"]) == ("plus", "p")
    assert written["params"] == {"n": 1, "scale": 1.0, "names": [], "device": "cpu"}


# Contract


def test_a_class_without_fit_or_apply_is_no_node() -> None:
    class Half(Node):
        def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            return (), None

    assert not is_concrete(Half)
    with pytest.raises(TypeError):
        Half()


def test_a_node_says_that_only_a_graph_fits() -> None:
    with pytest.raises(GraphError, match="'fit' is for graphs, and this is a node") as refused:
        Plus().fit(3)
    assert 'po("plus").as_graph().fit' in refused.value.mend
    for method in ("predict", "as_classifier", "draw", "network", "shapes", "to_dict", "replace"):
        with pytest.raises(GraphError, match=f"{method!r} is for graphs"):
            getattr(Plus(), method)
        assert not hasattr(Plus(), method)
    with pytest.raises(AttributeError) as caught:
        Plus().predict
    assert type(caught.value) is UnknownAttributeError


def test_two_ports_of_one_name_are_refused() -> None:
    class Twice(IntNode):
        inputs = (Port("input", int), Port("input", str))

    with pytest.raises(GraphError, match="two ports of one name"):
        Twice() >> Plus()


def test_tokens_in_a_list_and_in_a_dict_can_be_replaced_one_by_one() -> None:
    class Deep(Node):
        sizes: tuple[int, ...] = ()
        rates: Mapping[str, Any] = param(default={})
        inputs = (Port("input", int),)
        outputs = (Port("output", int),)

        def fit(self, inputs: Any, ctx: Any) -> Any:
            return (1,), None

        def apply(self, state: Any, inputs: Any, ctx: Any) -> Any:
            return (1,)

    graph = Deep(sizes=[tune(1, 2), tune(3, 4)], rates={"lr": tune(0.1, 0.2)}).as_graph()
    assert list(graph.search_space()) == ["deep__sizes__0", "deep__sizes__1", "deep__rates__lr"]
    done = graph.with_params(deep__sizes__0=1, deep__sizes__1=4, deep__rates__lr=0.15)
    assert done["deep"].sizes == (1, 4)
    assert done["deep"].rates["lr"] == 0.15
    with pytest.raises(UnknownParameterError):
        graph.with_params(deep__sizes__7=1)
