"""Nodes that pass values on: nop, copy, branch, unbranch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
import pytest

from mlgraph.core.compose import union
from mlgraph.core.node import Node
from mlgraph.core.param import tune
from mlgraph.core.port import Port
from mlgraph.core.route import Branch, Copy, Nop, Unbranch, branch
from mlgraph.errors import ConfigError, GraphError


class Add(Node):
    inputs = (Port("input", int),)
    outputs = (Port("output", int),)
    n: int = 1

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return (inputs["input"] + self.n,), self.n

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (inputs["input"] + state,)


class Boom(Add):
    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        raise AssertionError("this path must not run")


class Total(Add):
    inputs = (Port("inputs", int, variadic=True),)

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return self.apply(None, inputs, ctx), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (sum(inputs["inputs"]),)


# Nop and copy


def test_nop_and_copy_pass_the_same_object_to_everyone() -> None:
    value = object()
    fitted = (Nop() >> Copy(n=2) >> [Nop(), Nop(), Nop()][:2]).fit(value)
    assert all(out is value for out in fitted.outputs.values())
    assert all(out is value for out in fitted.predict(value).values())


def test_a_copy_has_as_many_outputs_as_asked() -> None:
    assert Copy(n=3).as_graph().outputs == ("copy.output_1", "copy.output_2", "copy.output_3")
    with pytest.raises(ConfigError, match="at least 1"):
        Copy(n=0)


@pytest.mark.parametrize("make", [lambda: Copy(n=tune(1, 3)), lambda: Branch(options=tune([2, 3]))])
def test_the_number_of_ports_cannot_be_left_to_tuning(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"ports of .* cannot be left to tuning"):
        make()


# Branch


def paths(selection: str | int = 0, **more: Any) -> Any:
    return branch({"one": Add(n=1), "ten": Add(n=10), "none": None}, selection=selection, **more)


@pytest.mark.parametrize(
    ("selection", "result"), [("one", 6), ("ten", 15), ("none", 5), (0, 6), (1, 15), (2, 5)]
)
def test_only_the_selected_path_runs(selection: str | int, result: int) -> None:
    fitted = paths(selection).fit(5)
    assert fitted.outputs == {"unbranch.output": result}
    assert fitted.predict(5) == result
    assert set(fitted.states) == set(fitted.resolved.ids)


def test_a_path_not_taken_never_runs() -> None:
    graph = branch({"safe": Add(), "bad": Boom() >> Boom()})
    assert graph.fit(1).predict(1) == 2
    with pytest.raises(AssertionError):
        graph.with_params(branch__selection="bad").fit(1)


def test_the_selection_is_a_parameter_and_decided_before_fitting() -> None:
    graph = Add() >> paths() >> Add()
    assert graph.params()["branch__selection"] == 0
    fitted = graph.with_params(branch__selection="ten").fit(0)
    assert fitted.predict(0) == 12
    with pytest.raises(ConfigError, match="branch__selection cannot change after fitting"):
        fitted.with_params(branch__selection="one")


def test_the_selection_can_be_tuned() -> None:
    graph = paths(tune(["one", "ten"]))
    assert graph.search_space() == {"branch__selection": tune(["one", "ten"])}
    assert graph.with_params(branch__selection="ten").fit(0).predict(0) == 10
    with pytest.raises(ConfigError, match="left to tuning"):
        graph.fit(0)


@pytest.mark.parametrize("selection", ["tne", 3, -1])
def test_an_unknown_path_is_refused(selection: str | int) -> None:
    with pytest.raises(ConfigError, match="No path of the branch is called") as refused:
        paths(selection)
    assert "'one', 'ten', 'none'" in refused.value.why
    if selection == "tne":
        assert "'ten'" in refused.value.mend


@pytest.mark.parametrize("options", [0, [], ["a", "a"], ["a.b"]])
def test_names_that_cannot_be_ports_are_refused(options: Any) -> None:
    with pytest.raises(ConfigError):
        Branch(options=options)


def test_branches_nest() -> None:
    inner = branch({"x": Add(n=1), "y": Add(n=2)}, id="inner")
    graph = branch({"inner": inner, "flat": Add(n=100)}, id="outer")
    assert graph.fit(0).predict(0) == 1
    assert graph.with_params(inner__selection="y").fit(0).predict(0) == 2
    flat = graph.with_params(outer__selection="flat").fit(0)
    assert flat.predict(0) == 100
    assert set(flat.states) == {"outer", "add_3", "unouter"}


def test_branches_whose_ids_nobody_chose_are_numbered_in_pairs() -> None:
    inner = branch({"x": Add(n=1), "y": Add(n=2)})
    graph = Add() >> branch({"inner": inner, "flat": Add(n=100)}) >> inner
    wanted = ["branch", "branch_2", "branch_3", "unbranch", "unbranch_2", "unbranch_3"]
    assert sorted(id for id in graph.ids if "branch" in id) == wanted
    backward = nx.DiGraph((edge.target, edge.source) for edge in graph.edges)
    joined_by = nx.immediate_dominators(backward, "unbranch_3")
    assert [joined_by[id] for id in wanted[:3]] == wanted[3:]
    assert graph.fit(0).predict(0) == 3
    assert graph.with_params(branch_2__selection="y").fit(0).predict(0) == 4
    assert graph.with_params(branch__selection="flat").fit(0).predict(0) == 102
    assert graph.with_params(branch_3__selection="y").fit(0).predict(0) == 4


def test_a_branch_may_follow_itself() -> None:
    one = paths()
    assert (one >> one >> one).fit(0).predict(0) == 3
    assert {"branch_2", "unbranch_2"} < set((one >> one).ids)


def test_a_path_may_be_called_like_the_branch() -> None:
    graph = branch({"a": Add(id="branch"), "b": Add(n=2)}, selection="b")
    assert graph.with_params(branch_2__selection="a").fit(0).predict(0) == 1
    assert graph.fit(0).predict(0) == 2


def test_two_branches_of_one_chosen_id_are_refused_with_what_branch_takes() -> None:
    with pytest.raises(GraphError, match="'take', 'untake'") as refused:
        paths(id="take") >> paths(id="take")
    assert 'id="take_b"' in refused.value.mend
    assert "po(" not in refused.value.mend


def test_a_path_may_have_several_inputs() -> None:
    graph = branch({"twice": [Add(n=1), Add(n=2)] >> Total(), "once": Add(n=7)})
    assert graph.fit(1).predict(1) == 5


@pytest.mark.parametrize(
    "path", [[Add(), Add()], Copy(n=2)], ids=["two outputs side by side", "two outputs of a node"]
)
def test_a_path_needs_exactly_one_output(path: Any) -> None:
    with pytest.raises(GraphError, match="Path 'bad' of the branch needs inputs and one output"):
        branch({"bad": path})


def test_the_outputs_of_paths_not_taken_are_no_outputs() -> None:
    graph = Branch(options=["a", "b"]) >> [Add(), Add(n=5)]
    fitted = graph.with_params(branch__selection="b").fit(1)
    assert fitted.outputs == {"add_2.output": 6}
    assert fitted.predict(1) == 6
    alone = Branch(options=2, selection=1).as_graph().fit(1)
    assert (alone.outputs, alone.predict(3)) == ({"branch.output_1": 1}, 3)


def test_a_shared_node_behind_a_path_and_beside_it_needs_an_unbranch() -> None:
    parts = union([Branch(options=["a", "b"]), Add(), Total()])
    graph = parts.connect("branch.a", "add").connect("add", "total").connect("branch.b", "total")
    with pytest.raises(GraphError, match="Node 'total' needs a path that its branch does not take"):
        graph.fit(1)


def test_two_active_inputs_of_an_unbranch_are_refused() -> None:
    graph = [Add(id="a"), Add(id="b")] >> Unbranch()
    with pytest.raises(GraphError, match="2 of the inputs of an unbranch are active") as refused:
        graph.fit(1)
    assert refused.value.where == "node 'unbranch'"


def test_paths_of_two_branches_do_not_meet_in_one_unbranch() -> None:
    left = Branch(options=["a", "b"], id="left")
    right = Branch(options=["a", "b"], id="right")
    graph = ((left >> [Nop(), Nop()]) & (right >> [Nop(), Nop()])) >> Unbranch()
    with pytest.raises(GraphError, match="active"):
        graph.fit(1)


def test_twenty_diamonds_in_a_row_cost_no_more_than_their_nodes() -> None:
    graph = branch({"a": Add(), "b": Nop()}, id="b0")
    for i in range(1, 20):
        graph = graph >> branch({"a": Add(), "b": Nop()}, id=f"b{i}")
    assert graph.fit(0).predict(0) == 20
    assert len(graph.resolved) == 60


def test_what_is_left_open_on_a_path_not_taken_is_left_alone() -> None:
    graph = paths("one").with_params(add__n=tune([1, 2]), add_2__n=tune([3, 4]))
    assert list(graph.search_space()) == ["add__n"]
    assert list(graph.with_params(branch__selection="ten").search_space()) == ["add_2__n"]
    assert graph.with_params(add__n=1).fit(5).outputs
