"""From the graph a user wrote to the one that runs: macros, cuts, conversions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlgraph.core import port as ports_module
from mlgraph.core.compose import chain, union
from mlgraph.core.graph import Graph
from mlgraph.core.node import Node
from mlgraph.core.param import param, tune
from mlgraph.core.port import Port, register_conversion
from mlgraph.core.resolve import resolve
from mlgraph.core.route import Branch, Copy, Nop, branch
from mlgraph.errors import DataError, GraphError, MLGraphError


class Unary(Node):
    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return self.apply(None, inputs, ctx), None


class Add(Unary):
    inputs = (Port("input", int),)
    outputs = (Port("output", int),)
    n: int = param(default=1, tags={"predict"})

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (inputs["input"] + self.n,)


class Sum(Unary):
    inputs = (Port("inputs", int, variadic=True),)
    outputs = (Port("output", int),)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (sum(inputs["inputs"]),)


class Minus(Unary):
    inputs = (Port("left", int), Port("right", int))
    outputs = (Port("output", int),)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (inputs["left"] - inputs["right"],)


class Shout(Unary):
    inputs = (Port("input", str),)
    outputs = (Port("output", str),)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (inputs["input"] + "!",)


class Maybe(Unary):
    """One input it needs and one that may be cut."""

    inputs = (Port("input", int), Port("extra", int, optional=True))
    outputs = (Port("output", int),)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (inputs["input"] + 1000 * inputs.get("extra", 0),)


class Macro(Unary):
    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return self.inputs, self.outputs

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        raise AssertionError("a macro never runs")


class Repeat(Macro):
    inputs = (Port("input", int),)
    outputs = (Port("output", int),)
    times: int = 2
    by: int = 1

    def expand(self) -> Graph:
        return chain(*(Add(n=self.by) for _ in range(self.times)))


class Twice(Macro):
    """A macro of macros."""

    inputs = (Port("input", int),)
    outputs = (Port("output", int),)

    def expand(self) -> Graph:
        return Repeat(times=2) >> Repeat(times=3)


class Crossed(Macro):
    inputs = (Port("a", int), Port("b", int))
    outputs = (Port("x", int), Port("y", int))

    def expand(self) -> Graph:
        return Add(n=10) & Add(n=20)


class Choosing(Macro):
    inputs = (Port("input", int),)
    outputs = (Port("output", int),)
    take: str = "b"

    def expand(self) -> Graph:
        return branch({"a": Add(n=1), "b": Add(n=2)}, selection=self.take)


class Broken(Macro):
    inputs = (Port("input", int),)
    outputs = (Port("output", int),)

    def expand(self) -> Graph:
        return Add() >> Copy(n=2)


# Macros


def test_a_macro_unfolds_under_ids_with_dots() -> None:
    graph = Add() >> Repeat(times=2) >> Add()
    assert graph.resolved.ids == ("add", "repeat.add", "repeat.add_2", "add_2")
    assert graph.ids == ("add", "repeat", "add_2"), "the user's graph is unchanged"
    assert graph.fit(0).predict(0) == 4


def test_macros_inside_macros_unfold_too() -> None:
    graph = Twice().as_graph()
    assert graph.resolved.ids[:3] == (
        "twice.repeat.add",
        "twice.repeat.add_2",
        "twice.repeat_2.add",
    )
    assert graph.fit(0).predict(10) == 15


def test_a_graph_may_begin_and_end_with_a_macro() -> None:
    fitted = (Repeat(times=2) >> Repeat(times=3)).fit(0, keep="all")
    assert fitted.predict(1) == 6
    assert fitted.outputs == {"repeat_2.add_3.output": 5}


def test_inputs_are_named_as_in_the_users_graph() -> None:
    graph = union([Repeat(), Add()]) >> Minus()
    fitted = graph.fit(inputs={"repeat": 10, "add.input": 1})
    assert fitted.outputs == {"minus.output": 10}
    assert fitted.predict(inputs={"repeat.input": 0, "add": 0}) == 1


def test_a_macro_keeps_the_order_of_its_ports() -> None:
    crossed = (Add(n=1) & Add(n=2)) >> Crossed() >> Minus()
    assert crossed.fit(0).predict(0) == (1 + 10) - (2 + 20)
    free = Crossed() >> Minus()
    assert free.fit(inputs={"crossed.a": 1, "crossed.b": 2}).outputs == {"minus.output": -11}


def test_a_branch_inside_a_macro_is_cut() -> None:
    for take, result in (("a", 1), ("b", 2)):
        assert Choosing(take=take).as_graph().fit(0).predict(0) == result


def test_a_macro_of_other_ports_than_its_graph_is_refused() -> None:
    with pytest.raises(GraphError, match="unfolds into a graph with other ports") as refused:
        (Add() >> Broken()).fit(1)
    assert refused.value.where == "node 'broken'"


def test_a_parameter_of_an_unfolded_node_can_change_after_fitting() -> None:
    fitted = Repeat(times=1).as_graph().fit(0)
    assert fitted.with_params(**{"repeat.add__n": 7}).predict(0) == 7
    assert fitted.predict(0) == 1


def test_automatic_ids_do_not_depend_on_what_unfolds() -> None:
    graph = Repeat() >> Add() >> Add()
    assert graph.ids == ("repeat", "add", "add_2")
    assert graph.resolved.ids[-2:] == ("add", "add_2")


# Cuts


def test_an_optional_input_of_a_path_not_taken_is_absent() -> None:
    parts = union([Branch(options=["a", "b"]), Add(), Maybe(), Nop()])
    graph = (
        parts.connect("branch.a", "add")
        .connect("branch.b", "maybe.extra")
        .connect("add", "maybe.input")
    )
    graph = graph.subgraph(["branch", "add", "maybe"])
    fitted = graph.fit(5)
    assert fitted.outputs == {"maybe.output": 6}, "the value of the graph does not leak in"
    assert fitted.predict(5) == 6
    assert fitted.resolved.inputs == ("branch.input",)


def test_a_value_for_a_node_that_is_cut_goes_nowhere() -> None:
    graph = (Branch(options=["on", "off"]) & Minus()).connect("branch.off", "minus.left")
    fitted = graph.fit(inputs={"branch": 2, "minus.right": 3})
    assert (fitted.outputs, set(fitted.states)) == ({"branch.on": 2}, {"branch"})
    assert graph.fit(2).predict(inputs={"branch": 5, "minus": 6}) == 5


def test_only_wires_that_are_cut_disappear() -> None:
    graph = Add() >> branch({"a": Add(n=10), "b": Add(n=20)}) >> [Add(), Add()] >> Sum()
    assert graph.resolved.order == ("add", "branch", "add_2", "unbranch", "add_4", "add_5", "sum")
    assert graph.fit(0).predict(0) == 24


# Conversions


class Text(Unary):
    """Turns a number into a text; the conversion of these tests."""

    inputs = (Port("input", int),)
    outputs = (Port("output", str),)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (str(inputs["input"]),)


@pytest.fixture
def numbers_become_text(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ports_module, "_CONVERSIONS", {})
    register_conversion(int, str, Text)
    yield


@pytest.mark.usefixtures("numbers_become_text")
class TestConversions:
    def test_a_conversion_is_a_node_of_the_resolved_graph(self) -> None:
        graph = Add() >> Shout()
        assert graph.resolved.ids == ("add", "shout", "text")
        assert graph.ids == ("add", "shout")
        assert graph.fit(1).predict(2) == "3!"

    def test_one_conversion_serves_all_inputs_of_one_output(self) -> None:
        graph = Add() >> [Shout(), Shout()]
        assert graph.resolved.ids.count("text") == 1
        assert len(graph.resolved) == 4
        assert graph.fit(1).outputs == {"shout.output": "2!", "shout_2.output": "2!"}

    def test_a_value_that_enters_is_converted_too(self) -> None:
        fitted = Shout().as_graph().fit(3)
        assert (fitted.outputs, fitted.predict(4)) == ({"shout.output": "3!"}, "4!")
        assert Shout().as_graph().fit("a").outputs == {"shout.output": "a!"}

    def test_inputs_given_the_same_value_share_a_conversion(self) -> None:
        graph = Shout(id="a") & Shout(id="b")
        assert graph.fit(3).resolved.ids == ("a", "b", "text")
        assert graph.fit(3).predict(4) == {"a.output": "4!", "b.output": "4!"}

    def test_inputs_given_different_values_do_not_share_a_conversion(self) -> None:
        graph = Shout(id="a") & Shout(id="b")
        fitted = graph.fit(inputs={"a": 3000, "b": 4000})
        assert fitted.outputs == {"a.output": "3000!", "b.output": "4000!"}
        assert fitted.predict(inputs={"a": 1, "b": 2}) == {"a.output": "1!", "b.output": "2!"}

    def test_two_values_for_inputs_that_were_fitted_on_one_are_refused(self) -> None:
        fitted = (Shout(id="a") & Shout(id="b")).fit(3)
        with pytest.raises(GraphError, match=r"text\.input takes one value, and got two"):
            fitted.predict(inputs={"a": 1000, "b": 2000})

    def test_new_data_are_given_by_the_names_of_the_users_graph(self) -> None:
        fitted = (Shout(id="a") & Add(id="b")).fit(inputs={"a": 3, "b": 4})
        assert fitted.predict(inputs={"a.input": 5, "b.input": 6}) == {
            "a.output": "5!",
            "b.output": 7,
        }

    def test_the_type_is_seen_through_nodes_that_pass_it_on(self) -> None:
        assert (Add() >> Nop() >> Copy(n=1) >> Shout()).fit(1).predict(1) == "2!"
        assert (Nop() >> Shout()).fit(1).predict(2) == "2!"
        graph = branch({"loud": Shout(), "soft": Nop()})
        assert graph.fit(1).predict(2) == "2!"
        assert graph.with_params(branch__selection="soft").fit(1).predict(2) == 2

    def test_a_conversion_brings_no_outputs_of_paths_not_taken_back(self) -> None:
        graph = Shout() >> Branch(options=["a", "b"])
        fitted = graph.fit(1)
        assert fitted.outputs == {"branch.a": "1!"}
        assert fitted.predict(2) == "2!"

    def test_the_id_of_a_conversion_makes_room_for_chosen_ones(self) -> None:
        graph = Add(id="text") >> Shout()
        assert graph.resolved.ids == ("text", "shout", "text_2")

    def test_a_check_says_what_was_put_where(self) -> None:
        assert (Add() >> Shout()).check(1).notes == ("text was put between add and shout",)
        assert Shout().as_graph().check(1).notes == ("text was put between the input and shout",)

    def test_a_conversion_that_returns_another_type_is_blamed(self) -> None:
        class Lying(Text):
            def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
                return (b"bytes",)

        register_conversion(int, str, Lying)
        with pytest.raises(GraphError, match=r'po\("lying"\) returned bytes') as refused:
            (Add() >> Shout()).fit(1)
        assert refused.value.where == "node 'lying'"


def test_types_hidden_behind_a_nop_are_refused_before_anything_runs() -> None:
    class Explosive(Add):
        def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            raise AssertionError("must not run")

    with pytest.raises(GraphError, match=r"nop\.output cannot feed shout\.input"):
        (Explosive() >> Nop() >> Shout()).fit(1)


def test_without_a_conversion_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(DataError, match=r"shout\.input takes a str, and got an int\."):
        Shout().as_graph().fit(3)


# Resolving anything


paths = st.recursive(
    st.sampled_from([Add(), Nop(), Repeat(), Twice(), Choosing(), None]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: chain(Nop(), *parts)),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Nop() >> union(parts) >> Sum()),
    ),
    max_leaves=6,
)


@given(paths, paths, st.sampled_from(["one", "two"]))
def test_resolving_twice_is_resolving_once(one: Any, two: Any, selection: str) -> None:
    graph = Add() >> branch({"one": one, "two": two}, selection=selection) >> Add()
    once = resolve(graph)
    assert resolve(once) == once
    assert resolve(once).ids == once.ids
    assert once.fit(3).predict(4) == graph.fit(3).predict(4)
    assert all(node.expand() is None for node in once.nodes.values())


def test_a_path_that_is_left_to_tuning_is_one_finding() -> None:
    graph = branch({"one": Nop(), "other": Nop()}).with_params(
        branch__selection=tune(["one", "other"])
    )
    with pytest.raises(MLGraphError) as caught:
        graph.check(1)
    assert "left to tuning" in str(caught.value) and "No path" not in str(caught.value)
