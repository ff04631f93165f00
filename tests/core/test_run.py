"""Fit, check and predict: what runs, in which order, on what, and what errors say."""

from __future__ import annotations

import gc
import pickle
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlgraph.core.base import Context
from mlgraph.core.compose import chain, union
from mlgraph.core.entry import node_seed
from mlgraph.core.graph import Graph
from mlgraph.core.node import Node
from mlgraph.core.param import param, tune
from mlgraph.core.port import Port
from mlgraph.core.route import Copy, Nop, Unbranch, branch
from mlgraph.errors import (
    ConfigError,
    DataError,
    GraphError,
    MLGraphError,
    StateError,
    UnknownKeyError,
)


class Unary(Node):
    inputs = (Port("input", int),)
    outputs = (Port("output", int),)

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return self.apply(None, inputs, ctx), None


class Add(Unary):
    n: int = 1

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return self.apply(self.n, inputs, ctx), self.n

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (inputs["input"] + state,)


class Sum(Unary):
    inputs = (Port("inputs", int, variadic=True),)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (sum(inputs["inputs"]),)


class Join(Unary):
    """Writes down what arrives, port by port and in order."""

    inputs = (Port("first"), Port("rest", variadic=True), Port("last"))
    outputs = (Port("output", str),)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        rest = ",".join(map(str, inputs["rest"]))
        return (f"{inputs['first']}|{rest}|{inputs['last']}",)


class Split(Unary):
    """Two outputs, returned by name in another order than declared."""

    outputs = (Port("tens", int), Port("ones", int))

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return {"ones": inputs["input"] % 10, "tens": inputs["input"] // 10}


class Center(Unary):
    """Learns what came in, and subtracts it from what comes later."""

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return self.apply(inputs["input"], inputs, ctx), inputs["input"]

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (inputs["input"] - state,)


class Call(Unary):
    """Calls a function with its inputs and the context, in both phases."""

    inputs = (Port("input"),)
    outputs = (Port("output"),)
    f: Any = None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (self.f(inputs["input"], ctx),)


def calling(function: Callable[[Any, Any], Any], **more: Any) -> Call:
    return Call(f=function, **more)


# The order of nodes and values


def test_nodes_run_in_topological_order_with_ties_in_the_order_they_were_added() -> None:
    ran: list[str] = []

    def note(value: Any, ctx: Context) -> Any:
        ran.append(ctx.id)
        return value

    parts = union([calling(note, id=id) for id in "dbca"])
    graph = parts.connect("a", "d").connect("b", "c")
    graph.fit(1)
    assert tuple(ran) == graph.order == ("b", "c", "a", "d")


def test_values_reach_a_node_by_declared_port_and_inside_a_variadic_port_by_edge() -> None:
    parts = union([Add(n=n, id=f"p{n}") for n in range(4)] + [Join()])
    graph = (
        parts.connect("p3", "join.rest")
        .connect("p0", "join.last")
        .connect("p2", "join.rest")
        .connect("p1", "join.first")
    )
    assert graph.fit(0).predict(10) == "11|13,12|10"


def test_outputs_are_told_apart_by_name_and_one_may_feed_two_inputs() -> None:
    graph = (
        (Split() & Join()).connect("split.ones", "join.first").connect("split.ones", "join.rest")
    )
    fitted = graph.connect("split.tens", "join.last").fit(42)
    assert fitted.outputs == {"join.output": "2|2|4"}
    assert fitted.predict(19) == "9|9|1"


def test_edges_that_cross_stay_crossed() -> None:
    class Minus(Unary):
        inputs = (Port("left", int), Port("right", int))

        def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
            return (inputs["left"] - inputs["right"],)

    parts = Split() & Minus()
    crossed = parts.connect("split.ones", "minus.left").connect("split.tens", "minus.right")
    assert crossed.fit(42).predict(19) == 8
    assert (Split() >> Minus()).fit(42).predict(19) == -8


def test_one_value_goes_to_every_free_input_as_the_same_object() -> None:
    value = object()
    fitted = union([Nop(), Nop(), Copy()]).fit(value)
    assert len(fitted.outputs) == 4
    assert all(out is value for out in fitted.outputs.values())


def test_the_same_value_may_enter_a_node_twice() -> None:
    graph = (Add() & Sum()).connect("add", "sum").connect("add", "sum")
    assert graph.fit(1).predict(4) == 10


def test_a_list_in_place_of_a_tuple_is_refused_as_outputs() -> None:
    class Lists(Add):
        def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
            return [inputs["input"]]

    with pytest.raises(GraphError, match=r'po\("lists"\) returned no tuple but list') as refused:
        Lists().as_graph().fit(1)
    assert refused.value.where == "node 'lists'"


@pytest.mark.parametrize(
    ("result", "first"),
    [
        (((1, 2), None), 'po("given") returned 2 for its outputs.'),
        ((("a",), None), "po(\"given\") returned str 'a'."),
        (({"out": 1}, None), "po(\"given\") returned outputs called 'out'."),
        (((1,),), 'po("given") returned ((int 1)) from fit.'),
        ((1,), 'po("given") returned (int 1) from fit.'),
        (None, 'po("given") returned nothing from fit.'),
    ],
)
def test_results_that_break_the_contract_are_refused_by_name(result: Any, first: str) -> None:
    class Given(Add):
        def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            return result

    with pytest.raises(GraphError) as refused:
        (Add() >> Given() >> Add()).fit(1)
    assert refused.value.what == first
    assert refused.value.where == "node 'given'"


# Giving inputs


def two_inputs() -> Graph:
    return [Add(id="a"), Add(n=2, id="b")] >> Sum()


def test_inputs_are_given_by_port_or_by_node_where_it_has_one() -> None:
    graph = two_inputs()
    assert graph.fit(inputs={"a.input": 1, "b": 10}).outputs == {"sum.output": 14}
    assert graph.fit(1).predict(inputs={"b": 1, "a": 0}) == 4


@pytest.mark.parametrize(
    ("inputs", "first"),
    [
        ({"a": 1, "c": 2}, "No input of the graph is called 'c'."),
        ({"a": 1, "b.inptu": 2}, "No input of the graph is called 'b.inptu'."),
        ({"a": 1}, "No value is given for 'b.input'."),
        ({}, "No value is given for 'a.input', 'b.input'."),
        ({"a": 1, "a.input": 2, "b": 1}, "The input 'a.input' is given twice."),
    ],
)
def test_unknown_repeated_and_missing_names_are_three_errors(
    inputs: dict[str, int], first: str
) -> None:
    for run in (two_inputs().fit, two_inputs().fit(0).predict):
        with pytest.raises(GraphError) as refused:
            run(inputs=inputs)
        assert refused.value.what == first


def test_a_node_with_several_free_inputs_is_no_name_of_one() -> None:
    with pytest.raises(GraphError, match="'join' names 3 inputs"):
        Join().as_graph().fit(inputs={"join": 1})


def test_one_value_and_named_inputs_exclude_each_other() -> None:
    for run in (two_inputs().fit, two_inputs().fit(0).predict):
        with pytest.raises(GraphError, match="one value for all its inputs, or inputs"):
            run()
        with pytest.raises(GraphError, match="one value for all its inputs, or inputs"):
            run(1, inputs={"a": 1, "b": 1})


def test_features_and_target_are_one_value() -> None:
    for run in (two_inputs().fit, two_inputs().check):
        with pytest.raises(GraphError, match="one value for all its inputs, and got 3") as refused:
            run(1, 2, 3)
        assert refused.value.why == "features and their target come as one"
    with pytest.raises(GraphError, match="got 2"):
        Graph.empty().fit(1, 2)


def test_a_free_optional_input_is_not_filled_with_the_value_of_another() -> None:
    graph = Add() & Unbranch()
    assert graph.fit(inputs={"add": 1, "unbranch": 7}).outputs["unbranch.output"] == 7
    with pytest.raises(GraphError, match=r"No value is given for 'unbranch\.inputs'"):
        graph.fit(inputs={"add": 1})


def test_an_empty_graph_cannot_be_fitted() -> None:
    with pytest.raises(GraphError, match="The graph is empty"):
        Graph.empty().fit(1)


@pytest.mark.parametrize("value", ["a", 1.5])
def test_a_value_of_another_type_is_refused_at_the_door(value: Any) -> None:
    with pytest.raises(DataError, match=r"add\.input takes an int, and got a") as refused:
        (Add() >> Add()).fit(value)
    assert refused.value.where == "input 'add.input' of the graph"
    with pytest.raises(DataError, match=r"add\.input takes an int"):
        Add().as_graph().fit(1).predict(value)


def test_a_port_may_take_other_values_when_predicting() -> None:
    class Phased(Unary):
        inputs = (Port("input", fit=int, apply=str),)
        outputs = (Port("output", fit=int, apply=str),)

        def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
            return (inputs["input"],)

    fitted = Phased().as_graph().fit(1)
    assert fitted.predict("a") == "a"
    with pytest.raises(DataError, match="takes a str, and got an int"):
        fitted.predict(1)


# Types at run time


class Animal:
    pass


class Dog(Animal):
    pass


class Tamed(Unary):
    inputs = (Port("input", Dog),)
    outputs = (Port("output", Dog),)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (inputs["input"],)


class Promised(Unary):
    inputs = (Port("input", Animal),)
    outputs = (Port("output", Animal),)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (inputs["input"],)


def test_a_base_class_on_an_edge_is_checked_when_the_value_is_there() -> None:
    graph = Promised() >> Tamed()
    assert isinstance(graph.fit(Dog()).predict(Dog()), Dog)
    with pytest.raises(GraphError, match=r"tamed\.input takes a Dog") as refused:
        graph.fit(Animal())
    assert refused.value.where == "node 'tamed', input 'input'"
    with pytest.raises(GraphError, match=r"tamed\.input takes a Dog"):
        graph.fit(Dog()).predict(Animal())


def test_a_port_of_type_none_takes_anything_and_drops_it() -> None:
    class Ignoring(Unary):
        inputs = (Port("input", None),)

        def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
            return (0,)

    assert (Tamed() >> Ignoring()).fit(Dog()).predict(Dog()) == 0


# What is learned


def test_each_node_learns_once_and_the_graph_stays_as_it_was() -> None:
    graph = Add() >> Center()
    before = graph.hash
    fitted = graph.fit(9)
    assert fitted.states == {"add": 1, "center": 10}
    assert (fitted.predict(9), fitted.predict(10)) == (0, 1)
    assert (graph.hash, fitted.graph) == (before, graph)
    assert graph.fit(4).states["center"] == 5
    assert fitted.states["center"] == 10, "a second fit leaves the first alone"


def test_predicting_changes_nothing() -> None:
    fitted = (Add() >> Center()).fit(9)
    states, outputs = dict(fitted.states), dict(fitted.outputs)
    assert [fitted.predict(5), fitted.predict(5)] == [-4, -4]
    assert (fitted.states, fitted.outputs) == (states, outputs)


def test_a_failed_fit_leaves_nothing_behind() -> None:
    fail = [True]

    def perhaps(value: Any, ctx: Any) -> Any:
        if fail[0]:
            raise RuntimeError("no")
        return value

    graph = Center() >> calling(perhaps) >> Nop()
    fail[0] = False
    fitted = graph.fit(1)
    fail[0] = True
    with pytest.raises(RuntimeError):
        graph.fit(2)
    fail[0] = False
    assert (fitted.states["center"], fitted.predict(1)) == (1, 0)
    assert graph.fit(3).states["center"] == 3


def test_a_state_of_none_is_a_state() -> None:
    assert Nop().as_graph().fit(1).states == {"nop": None}


def test_one_output_is_unwrapped_and_several_come_by_name() -> None:
    assert Add().as_graph().fit(1).predict(1) == 2
    assert (Add() & Add()).fit(1).predict(1) == {"add.output": 2, "add_2.output": 2}


def test_a_trainer_puts_out_nothing_while_fitting() -> None:
    fitted = (Add() >> Trainer()).fit(1)
    assert fitted.outputs == {}
    assert fitted.predict(3) == "predicted 4"
    assert (fitted.trainers(), fitted.trained()) == (("trainer",), ("trained on", 2, None))


def test_the_only_trainer_must_be_the_only_one() -> None:
    with pytest.raises(GraphError, match="has 0 trainers"):
        Nop().as_graph().fit(1).trained()
    with pytest.raises(GraphError, match="has 2 trainers") as refused:
        (Trainer() & Trainer()).fit(1).trained()
    assert "'trainer', 'trainer_2'" in refused.value.why


def test_kept_outputs_are_those_asked_for() -> None:
    graph = Split() >> [Add(), Add(n=5)]
    assert graph.fit(42).kept == {}
    assert graph.fit(42, keep="split").kept == {"split": {"tens": 4, "ones": 2}}
    assert graph.fit(42, keep=["add_2"]).kept == {"add_2": {"output": 7}}
    assert set(graph.fit(42, keep="all").kept) == {"split", "add", "add_2"}
    with pytest.raises(UnknownKeyError, match="'spilt'"):
        graph.fit(42, keep=["spilt"])


def test_a_pickled_fit_predicts_the_same_and_leaves_its_outputs_behind() -> None:
    fitted = (Add() >> Center()).fit(9, seed=3, keep="all")
    other = pickle.loads(pickle.dumps(fitted))
    assert (other.predict(1), other.seed, other.graph) == (fitted.predict(1), 3, fitted.graph)
    assert (other.outputs, other.kept) == ({}, {})
    assert fitted.outputs != {} != fitted.kept


def test_a_fitted_node_is_found_by_its_id() -> None:
    fitted = (Add() >> Center()).fit(9)
    assert (fitted["center"].state, fitted["center"].node) == (10, fitted.resolved["center"])
    with pytest.raises(UnknownKeyError, match="'centre'"):
        fitted["centre"]


class Threshold(Unary):
    at: int = param(default=0, tags={"predict"})
    by: int = 1

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (int(inputs["input"] > self.at),)


def test_only_parameters_of_predicting_may_change_after_fitting() -> None:
    fitted = Threshold().as_graph().fit(1)
    changed = fitted.with_params(threshold__at=5)
    assert (fitted.predict(3), changed.predict(3)) == (1, 0)
    assert changed.graph.params()["threshold__at"] == 5
    with pytest.raises(ConfigError, match="threshold__by cannot change after fitting"):
        fitted.with_params(threshold__by=2)
    with pytest.raises(UnknownKeyError):
        fitted.with_params(treshold__at=2)


# Seeds


def test_a_seed_is_recorded_and_repeats_a_run() -> None:
    graph = calling(lambda value, ctx: ctx.seed).as_graph()
    first, second = graph.fit(0), graph.fit(0)
    assert first.outputs != second.outputs, "without a seed every run draws its own"
    assert graph.fit(0, seed=first.seed).outputs == first.outputs
    assert graph.fit(0, seed=1).seed == 1


@pytest.mark.parametrize("seed", [1.5, "1", True])
def test_a_seed_is_an_integer(seed: Any) -> None:
    with pytest.raises(ConfigError, match="is no seed"):
        Nop().as_graph().fit(0, seed=seed)


@given(st.lists(st.sampled_from("abcde"), unique=True, min_size=1), st.integers())
def test_the_seed_of_a_node_depends_on_nothing_but_run_id_and_phase(
    order: list[str], seed: int
) -> None:
    def seeds(graph: Graph) -> dict[str, Any]:
        kept = graph.fit(0, seed=seed, keep="all").kept
        return {id: kept[id]["output"] for id in order}

    drawn = [calling(lambda value, ctx: ctx.seed, id=id) for id in order]
    alone = seeds(union(drawn))
    assert seeds(chain(*drawn)) == seeds(chain(Nop(), *reversed(drawn))) == alone
    assert alone == {id: node_seed(seed, id, "fit") for id in order}
    assert len(set(alone.values())) == len(order)


def test_phases_draw_differently_and_predicting_draws_the_same_again() -> None:
    fitted = calling(lambda value, ctx: ctx.seed).as_graph().fit(0, seed=1)
    assert fitted.predict(0) == fitted.predict(0) != fitted.outputs["call.output"]


# Validation data


@attrs.frozen
class Rows:
    """A toy table: it can be split, emptied, modelled and recognised."""

    values: tuple[int, ...]
    tag: str = ""

    def split(self, valid: Any, seed: int) -> tuple[Rows, Rows]:
        if isinstance(valid, Rows):
            return self, valid
        count = round(len(self.values) * valid)
        return Rows(self.values[count:]), Rows(self.values[:count])

    def empty(self) -> Rows:
        return Rows((), "empty")

    def like(self, data: Any) -> Rows:
        if isinstance(data, Rows):
            return data
        if not isinstance(data, list):
            raise DataError("Rows are made of lists.")
        return Rows(tuple(data))

    @property
    def fingerprint(self) -> str:
        return repr(self.values)

    def describe(self) -> str:
        return f"Rows of {len(self.values)}"


class Shift(Unary):
    """Learns the smallest value and subtracts it."""

    inputs = (Port("input", Rows),)
    outputs = (Port("output", Rows),)

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        low = min(inputs["input"].values)
        return self.apply(low, inputs, ctx), low

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        rows = inputs["input"]
        return (Rows(tuple(value - state for value in rows.values), rows.tag),)


class Both(Shift):
    inputs = (Port("inputs", Rows, variadic=True),)

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return self.apply(None, inputs, ctx), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (Rows(tuple(v for rows in inputs["inputs"] for v in rows.values)),)


class Trainer(Node):
    trains = True
    inputs = (Port("input"),)
    outputs = (Port("output", fit=None, apply=str),)

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        held = ctx.valid["input"] if ctx.has_valid else None
        return (None,), ("trained on", inputs["input"], held)

    def check(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return (None,), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (f"predicted {inputs['input']}",)


def test_validation_data_are_split_off_before_the_first_node_learns() -> None:
    fitted = (Shift() >> Trainer()).fit(Rows((1, 5, 7, 9)), valid=0.25)
    assert fitted.states["shift"] == 5
    assert fitted.trained() == ("trained on", Rows((0, 2, 4)), Rows((-4,)))


def test_validation_data_may_be_given() -> None:
    fitted = (Shift() >> Trainer()).fit(Rows((5, 7)), valid=Rows((1,)))
    assert fitted.trained()[1:] == (Rows((0, 2)), Rows((-4,)))


def test_validation_data_travel_as_new_data_do() -> None:
    graph = Shift() >> [Shift(), Nop()] >> Both() >> Shift()
    train, held = Rows((5, 7)), Rows((1, 2))
    validated = (graph >> Trainer()).fit(train, valid=held)
    assert validated.trained()[2] == graph.fit(train).predict(held)


def test_without_validation_data_an_empty_value_makes_the_journey() -> None:
    seen: list[Any] = []

    def look(value: Any, ctx: Context) -> Any:
        seen.append((ctx.phase, value, ctx.has_valid))
        return value

    fitted = (Shift() >> calling(look) >> Trainer()).fit(Rows((5, 7)))
    assert seen == [("fit", Rows((0, 2)), False), ("apply", Rows((), "empty"), False)]
    assert fitted.trained()[2] is None


def test_a_node_that_cannot_be_applied_is_found_before_training() -> None:
    class Forgetful(Shift):
        def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
            if ctx.phase == "apply":
                raise KeyError("lost")
            return super().apply(state, inputs, ctx)

    trained: list[int] = []

    class Watched(Trainer):
        def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            trained.append(1)
            return super().fit(inputs, ctx)

    with pytest.raises(KeyError, match="lost"):
        (Forgetful() >> Watched()).fit(Rows((1,)))
    assert not trained


def test_validation_data_stop_at_the_trainer() -> None:
    applied: list[str] = []

    class Counting(Trainer):
        outputs = (Port("output", Rows),)

        def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            return (inputs["input"],), None

        def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
            applied.append(ctx.phase)
            return (inputs["input"],)

    after: list[Any] = []

    def look(value: Any, ctx: Context) -> Any:
        after.append((ctx.phase, ctx.valid))
        return value

    (Counting() >> calling(look)).fit(Rows((1, 2)), valid=0.5)
    assert applied == []
    assert after == [("fit", None)]


def test_each_input_may_have_validation_data_of_its_own() -> None:
    graph = [Shift(id="a"), Shift(id="b")] >> Both() >> Trainer()
    given = {"a": Rows((1, 2)), "b": Rows((5, 6))}
    held = {"a": Rows((9,)), "b.input": Rows((8,))}
    assert graph.fit(inputs=given, valid=held).trained()[2] == Rows((8, 3))
    with pytest.raises(GraphError, match="No input of the graph is called 'c'"):
        graph.fit(inputs=given, valid={"a": Rows((9,)), "c": Rows((8,))})


def test_the_same_value_at_several_inputs_is_split_alike() -> None:
    rows = Rows((1, 2, 3, 4))
    fitted = ([Nop(), Nop()] >> Both() >> Trainer()).fit(rows, valid=0.5)
    assert fitted.trained()[1:] == (Rows((3, 4, 3, 4)), Rows((1, 2, 1, 2)))


def test_validation_data_cannot_be_split_off_a_plain_number() -> None:
    with pytest.raises(ConfigError, match="Validation data cannot be split off an int") as refused:
        Add().as_graph().fit(1, valid=0.2)
    assert "add.input" in refused.value.where


def test_new_data_are_modelled_on_what_was_fitted() -> None:
    fitted = Shift().as_graph().fit(Rows((5, 7)))
    assert fitted.predict([5, 9]) == Rows((0, 4))
    assert pickle.loads(pickle.dumps(fitted)).predict([5]) == Rows((0,))
    with pytest.raises(DataError, match="Rows are made of lists") as refused:
        fitted.predict("5")
    assert refused.value.where == "input 'shift.input' of the graph"


def test_the_fitted_graph_holds_an_empty_prototype_and_no_data() -> None:
    fitted = Shift().as_graph().fit(Rows((5, 7)))
    assert fitted.prototypes == {"shift.input": Rows((), "empty")}


# Memory


class Payload:
    pass


def test_a_value_is_released_after_its_last_consumer() -> None:
    alive: list[weakref.ref[Payload]] = []
    found: list[bool] = []

    def make(value: Any, ctx: Context) -> Any:
        payload = Payload()
        alive.append(weakref.ref(payload))
        return payload

    def look(value: Any, ctx: Context) -> Any:
        gc.collect()
        found.append(alive[0]() is not None)
        return 0

    chained = calling(make, id="make") >> calling(look, id="one") >> calling(look, id="two")
    chained.fit(0)
    assert found == [True, False]


def test_a_value_lives_until_the_slowest_branch_has_it() -> None:
    alive: list[weakref.ref[Payload]] = []

    def make(value: Any, ctx: Context) -> Any:
        payload = Payload()
        alive.append(weakref.ref(payload))
        return payload

    def pass_time(value: Any, ctx: Context) -> Any:
        gc.collect()
        return alive[0]() is not None

    late = calling(pass_time, id="early") >> calling(pass_time, id="wait")
    graph = calling(make, id="make") >> [late, Nop()]
    fitted = graph.fit(0, keep=["wait"])
    assert fitted.kept["wait"]["output"] is True
    del fitted
    gc.collect()
    assert alive[0]() is None


# Remembering


class Store:
    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.hits = 0

    def get(self, key: str) -> Any:
        self.hits += key in self.found
        return self.found.get(key)

    def put(self, key: str, value: Any) -> None:
        self.found[key] = value


class Counted(Shift):
    runs: ClassVar[list[str]] = []
    by: int = 0
    verbose: bool = param(default=False, tags={"runtime"})

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        self.runs.append(ctx.id)
        return super().fit(inputs, ctx)


class Noisy(Counted):
    random = True


@pytest.fixture
def runs() -> list[str]:
    Counted.runs.clear()
    return Counted.runs


def test_a_node_that_was_fitted_on_the_same_is_not_fitted_again(runs: list[str]) -> None:
    store, rows = Store(), Rows((1, 5))
    graph = Counted() >> Counted()
    first = graph.fit(rows, seed=1, cache=store)
    again = graph.fit(rows, seed=2, cache=store)
    assert (runs, store.hits) == (["counted", "counted_2"], 2)
    assert (again.outputs, again.states) == (first.outputs, first.states)
    assert again.predict(Rows((9,))) == first.predict(Rows((9,)))


def test_without_a_cache_nothing_is_remembered(runs: list[str]) -> None:
    for _ in range(2):
        Counted().as_graph().fit(Rows((1,)))
    assert len(runs) == 2


def test_other_data_or_parameters_are_fitted_anew(runs: list[str]) -> None:
    store, graph = Store(), Counted() >> Counted()
    graph.fit(Rows((1, 5)), cache=store)
    graph.fit(Rows((2, 5)), cache=store)
    assert len(runs) == 4
    graph.with_params(counted_2__by=3).fit(Rows((1, 5)), cache=store)
    assert runs[4:] == ["counted_2"], "what comes before is remembered"
    graph.with_params(counted__by=3).fit(Rows((1, 5)), cache=store)
    assert runs[5:] == ["counted", "counted_2"], "what comes after depends on it"


def test_runtime_parameters_do_not_matter_and_seeds_only_where_declared(runs: list[str]) -> None:
    store, rows = Store(), Rows((1, 5))
    (Counted() >> Noisy()).fit(rows, seed=1, cache=store)
    (Counted(verbose=True) >> Noisy()).fit(rows, seed=1, cache=store)
    assert runs == ["counted", "noisy"]
    (Counted() >> Noisy()).fit(rows, seed=2, cache=store)
    assert runs[2:] == ["noisy"]


def test_a_trainer_always_trains_and_nothing_after_it_is_remembered(runs: list[str]) -> None:
    class Passing(Counted):
        trains = True

    store, rows = Store(), Rows((1, 5))
    for _ in range(2):
        (Counted() >> Passing() >> Counted()).fit(rows, seed=1, cache=store)
    assert runs == ["counted", "passing", "counted_2", "passing", "counted_2"]


def test_values_without_a_fingerprint_are_not_remembered() -> None:
    store = Store()
    (Add() >> Add()).fit(1, cache=store)
    assert store.found == {}


SCALE = [1]


def test_a_node_with_a_function_without_a_name_is_not_remembered() -> None:
    store, graph = Store(), calling(lambda rows, ctx: SCALE[0]).as_graph()
    assert graph.fit(Rows((1,)), cache=store).outputs == {"call.output": 1}
    SCALE[0] = 2
    assert graph.fit(Rows((1,)), cache=store).outputs == {"call.output": 2}


def test_a_class_defined_anew_is_another_node(runs: list[str]) -> None:
    def define() -> type[Counted]:
        class Cell(Counted):
            pass

        return Cell

    store = Store()
    for _ in range(2):
        define()().as_graph().fit(Rows((1,)), cache=store)
    assert runs == ["cell", "cell"]


def test_the_port_a_value_enters_is_part_of_what_is_remembered() -> None:
    class Ports(Shift):
        inputs = (Port("a", Rows, variadic=True), Port("b", Rows, variadic=True))

        def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            return self.apply(None, inputs, ctx), None

        def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
            return (Rows((len(inputs["a"]), len(inputs["b"]))),)

    store, parts = Store(), union([Nop(id=id) for id in "xyz"] + [Ports()])
    for middle, counts in (("ports.a", (2, 1)), ("ports.b", (1, 2))):
        graph = parts.connect("x", "ports.a").connect("y", middle).connect("z", "ports.b")
        assert graph.fit(Rows((1,)), cache=store).outputs == {"ports.output": Rows(counts)}


def test_validation_data_are_applied_even_where_fitting_is_remembered() -> None:
    store, graph = Store(), Shift() >> Trainer()
    graph.fit(Rows((5, 7)), valid=Rows((1,)), cache=store)
    again = graph.fit(Rows((5, 7)), valid=Rows((2,)), cache=store)
    assert store.hits == 1
    assert again.trained()[2] == Rows((-3,))


# Errors


def failing(error: Exception) -> Call:
    def fail(value: Any, ctx: Any) -> Any:
        raise error

    return calling(fail, id="bad")


def test_our_own_errors_learn_the_address_of_the_node() -> None:
    with pytest.raises(DataError) as refused:
        (Add() >> failing(DataError("Wrong.", where="column 'x'"))).fit(1)
    assert refused.value.where == "node 'bad', column 'x'"


def test_foreign_errors_keep_their_type_and_gain_a_note() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        (Add() >> failing(ZeroDivisionError("by zero"))).fit(1)
    assert str(raised.value) == "by zero"
    assert raised.value.__notes__ == ["in node 'bad' (po(\"call\")), fit; input was input: int 2"]


def test_an_error_while_predicting_says_so() -> None:
    def fail(value: Any, ctx: Context) -> Any:
        if ctx.phase == "apply":
            raise RuntimeError("late")
        return value

    fitted = calling(fail).as_graph().fit(1)
    with pytest.raises(RuntimeError) as raised:
        fitted.predict(5)
    assert raised.value.__notes__ == [
        "in node 'call' (po(\"call\")), apply; input was input: int 5"
    ]


def test_tokens_left_in_place_are_named_with_their_address() -> None:
    with pytest.raises(ConfigError, match="2 parameters are left to tuning") as refused:
        (Add(n=tune(1, 2)) >> Add(n=tune([3, 4]))).fit(1)
    assert refused.value.where == "add__n=tune(1, 2), add_2__n=tune([3, 4])"
    assert "add__n=..." in refused.value.mend
    with pytest.raises(ConfigError, match="1 parameter is left to tuning"):
        Add(n=tune(1, 2)).as_graph().fit(1)


def test_missing_packages_are_all_named_before_any_work() -> None:
    class Needy(Add):
        requires = ("no_such_package", "no_such.part")

        def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            raise AssertionError("must not run")

    with pytest.raises(ConfigError) as refused:
        (Needy() >> Needy()).fit(1)
    found = refused.value.errors
    assert [error.what for error in found] == [
        "The package 'no_such.part' is not installed.",
        "The package 'no_such_package' is not installed.",
    ]
    assert found[0].why == "needed by 'needy', 'needy_2'"


# Warnings


def test_a_warning_inside_a_node_appears_exactly_once() -> None:
    def warn(value: Any, ctx: Context) -> Any:
        warnings.warn("careful", stacklevel=1)
        return value

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calling(warn).as_graph().fit(1)
    assert [str(warning.message) for warning in caught] == ["careful"]


def test_a_warning_a_node_suppresses_stays_suppressed() -> None:
    def silent(value: Any, ctx: Context) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn("careful", stacklevel=1)
        return value

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = calling(silent).as_graph().fit(1)
        fitted.predict(1)
    assert caught == []


# Checking


def test_a_check_reports_everything_at_once() -> None:
    class Wrong(Add):
        def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            raise StateError(f"Wrong {self.n}.")

    graph = union([Wrong(n=1), Add(), Wrong(n=2, id="w") >> Add(id="after")])
    with pytest.raises(StateError) as refused:
        graph.check(1)
    assert [(error.what, error.where) for error in refused.value.errors] == [
        ("Wrong 1.", "node 'wrong'"),
        ("Wrong 2.", "node 'w'"),
    ]
    with pytest.raises(MLGraphError) as mixed:
        (graph & Add(n=tune(1, 2), id="open")).check("a")
    assert {type(error) for error in mixed.value.errors} == {ConfigError, DataError}


class Refused(Add):
    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        raise StateError(f"Refused {inputs['input']}.")


class Replaced(Refused):
    def instead(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, ...]:
        return (inputs["input"] * 100,)


def findings(graph: Graph, **given: Any) -> list[str]:
    with pytest.raises(StateError) as refused:
        graph.check(1, **given)
    return [error.what for error in refused.value.errors or (refused.value,)]


def test_a_check_goes_on_behind_a_failed_node_that_gives_something_instead() -> None:
    assert findings(Replaced() >> Add() >> Refused()) == ["Refused 1.", "Refused 101."]
    assert findings(Refused() >> Add() >> Refused()) == ["Refused 1."]
    assert findings([Replaced(), Refused(id="r")] >> Sum() >> Refused()) == ["Refused 1."] * 2


def test_validation_values_go_on_behind_a_failed_node_too() -> None:
    class Seeing(Trainer):
        def check(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            raise StateError(f"{inputs['input']} and {ctx.valid['input']}, {ctx.has_valid}.")

    class Number(int):
        def split(self, valid: Any, seed: int) -> tuple[Any, Any]:
            return self, Number(valid)

    with pytest.raises(StateError) as refused:
        (Replaced() >> Seeing()).check(Number(2), valid=7)
    assert [e.what for e in refused.value.errors] == ["Refused 2.", "200 and 700, True."]


def test_a_fit_never_takes_what_stands_in() -> None:
    with pytest.raises(StateError, match="Refused 1"):
        (Replaced() >> Add()).fit(1)


def test_a_check_does_not_train() -> None:
    class Explosive(Trainer):
        def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            raise AssertionError("must not run")

    checked = (Shift() >> Explosive()).check(Rows((1, 2)))
    assert checked.flows["shift.output"] == "Rows of 2"
    assert checked.graph.ids == ("shift", "explosive")


def test_a_check_without_data_looks_at_the_graph_alone() -> None:
    assert (Add() >> Add()).check().flows == {}
    with pytest.raises(ConfigError, match="left to tuning"):
        Add(n=tune(1, 2)).as_graph().check()


def test_what_flows_is_described_in_a_few_words() -> None:
    checked = (Split() >> [Add(), Add()] >> Sum()).check(42)
    assert checked.flows == {
        "split.tens": "int 4",
        "split.ones": "int 2",
        "add.output": "int 5",
        "add_2.output": "int 3",
        "sum.output": "int 8",
    }


# Any graph


nodes = st.one_of(
    st.builds(Add, n=st.integers(-2, 2)),
    st.builds(Sum),
    st.builds(Split),
    st.builds(Center),
    st.builds(Nop),
    st.builds(Copy, n=st.integers(1, 3)),
    st.sampled_from(["a", "b"]).map(lambda path: branch({"a": Add(), "b": None}, selection=path)),
    st.none(),
)


def _step(graph: Graph, move: tuple[str, Any, int, int]) -> Graph:
    kind, part, i, j = move
    if kind == ">>":
        return graph >> part
    if kind == "<<":
        return part >> graph if part is not None else graph
    if kind == "&":
        return graph & part
    if kind == "list":
        return graph >> [part, part]
    outputs, inputs = (
        graph.outputs,
        [f"{id}.{p.name}" for id in graph for p in graph[id].ports()[0]],
    )
    return graph.connect(outputs[i % len(outputs)], inputs[j % len(inputs)])


moves = st.tuples(
    st.sampled_from([">>", ">>", "<<", "&", "list", "connect", "connect"]),
    nodes,
    st.integers(0, 9),
    st.integers(0, 9),
)


@given(st.lists(moves, min_size=1, max_size=8), st.integers(0, 99))
def test_a_graph_builds_and_runs_or_says_why_not(moves: list[Any], value: int) -> None:
    graph = Add().as_graph()
    for move in moves:
        try:
            graph = _step(graph, move)
        except MLGraphError as error:
            assert error.what
    assert len(set(graph.ids)) == len(graph)
    try:
        fitted = graph.fit(value, seed=1)
    except MLGraphError as error:
        assert error.where
        return
    again = graph.fit(value, seed=1)
    assert (fitted.states, fitted.outputs) == (again.states, again.outputs)
    assert fitted.predict(value) == pickle.loads(pickle.dumps(fitted)).predict(value)
    assert set(fitted.outputs) == set(fitted.resolved.outputs)


def test_a_list_for_a_variadic_input_is_one_value_each() -> None:
    graph = Sum().as_graph()
    fitted = graph.fit(inputs={"sum.inputs": [1, 2, 3]})
    assert fitted.outputs == {"sum.output": 6}
    assert fitted.predict(inputs={"sum": [10, 20]}) == 30
    assert graph.fit(4).predict(5) == 5


def test_a_wrong_value_in_a_list_for_a_variadic_input_is_named_by_its_place() -> None:
    with pytest.raises(DataError, match=r"sum.inputs\[1\] takes an int"):
        Sum().as_graph().fit(inputs={"sum": [1, "two"]})


def test_a_check_draws_what_a_fit_with_the_same_seed_draws() -> None:
    class Rolled(Unary):
        random: ClassVar[bool] = True

        def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
            return (ctx.seed,), None

        def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
            return (ctx.seed,)

    graph = Rolled().as_graph()
    drawn = graph.fit(1, seed=5).outputs["rolled.output"]
    assert str(drawn) in graph.check(1, seed=5).flows["rolled.output"]
    assert str(drawn) not in graph.check(1, seed=6).flows["rolled.output"]
