from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mlgraph.core.compose import union
from mlgraph.core.route import Nop
from mlgraph.data.select import sel
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, DataError, GraphError, UnknownColumnError
from mlgraph_nodes.columns import ColApply, Drop, FeatureUnion, MissInd, RenameColumns, Select
from mlgraph_nodes.impute import ImputeMean
from mlgraph_nodes.scale import Scale


def task() -> Task:
    return Task({"a": [1.0, None, 3.0], "b": [1, 2, 3], "c": ["u", "v", "w"]})


def run(node, data=None):
    data = data or task()
    return node.as_graph().fit(data).predict(data)


def test_a_selector_that_looks_at_data_does_so_in_the_fit_only():
    fitted = Select(columns=sel.missing()).as_graph().fit(task())
    complete = {"a": [1.0], "b": [1], "c": ["u"]}
    assert fitted.predict(complete).features == ("a",)


def test_selected_columns_are_passed_on_by_reference():
    data = task()
    assert run(Select(columns=["a"]), data).columns["a"] is data.columns["a"]


def test_selecting_nothing_keeps_the_rows():
    assert len(run(Select(columns=sel.none()))) == 3


def test_an_unknown_column_is_not_selected():
    with pytest.raises(UnknownColumnError, match="'aa'"):
        run(Select(columns="aa"))


def test_dropping_is_the_opposite_of_selecting():
    assert run(Drop(columns=["a", "c"])).features == ("b",)


def test_columns_are_renamed_in_place():
    assert run(RenameColumns(names={"b": "x"})).features == ("a", "x", "c")
    assert run(RenameColumns(names=str.upper)).features == ("A", "B", "C")


def test_renaming_what_is_not_there_is_refused_unless_ignored():
    names = {"z": "x", "a": "y"}
    with pytest.raises(UnknownColumnError, match="'z'"):
        run(RenameColumns(names=names))
    assert run(RenameColumns(names=names, ignore_missing=True)).features == ("y", "b", "c")


def test_two_columns_cannot_get_one_name():
    with pytest.raises(DataError, match="'b'"):
        run(RenameColumns(names={"a": "b"}))


def test_new_names_are_a_dict_or_a_function():
    with pytest.raises(ConfigError, match="renamecolumns"):
        RenameColumns(names=3)


def test_a_union_joins_columns_and_keeps_equal_ones_once():
    graph = [Select(columns=["c", "a"]), Select(columns=["a", "b"])] >> FeatureUnion()
    assert graph.fit(task()).predict(task()).features == ("a", "c", "b")


def test_a_union_of_a_column_and_its_copy_with_equal_content_keeps_one():
    graph = [Nop(), ColApply(fn=np.copy, columns=["b"])] >> FeatureUnion()
    assert graph.fit(task()).predict(task()).features == ("a", "b", "c")


def test_columns_of_one_name_that_differ_are_refused_by_name():
    graph = [Nop(), Scale()] >> FeatureUnion()
    with pytest.raises(DataError, match="'a', 'b'") as caught:
        graph.fit(task())
    assert "prefixes" in caught.value.mend


def test_prefixes_tell_columns_apart():
    graph = [Nop(), Scale(columns="b")] >> FeatureUnion(prefixes=["", "scaled"])
    found = graph.fit(task()).predict(task())
    assert found.features == ("a", "b", "c", "scaled.a", "scaled.b", "scaled.c")


def test_a_prefix_for_the_first_input_leaves_the_other_branches_alone():
    graph = [Nop(), Nop()] >> FeatureUnion(prefixes=["left", ""])
    found = graph.fit(task()).predict(task())
    assert found.features == ("left.a", "left.b", "left.c", "a", "b", "c")


def test_every_input_needs_a_prefix():
    graph = [Nop(), Nop()] >> FeatureUnion(prefixes=["left"])
    with pytest.raises(GraphError, match="1 prefixes for 2 inputs"):
        graph.fit(task())


def test_rows_are_matched_by_id():
    one = Task({"a": [1, 2, 3]}, row_ids=[7, 8, 9])
    two = Task({"b": [30, 10, 20]}, row_ids=[9, 7, 8])
    graph = union([Nop(), Nop()]) >> FeatureUnion()
    found = graph.fit(inputs={"nop": one, "nop_2": two}).outputs["featureunion.output"]
    assert found.table().to_pydict() == {"a": [1, 2, 3], "b": [10, 20, 30]}


def test_different_rows_and_different_targets_are_refused():
    graph = union([Nop(), Nop()]) >> FeatureUnion()
    one = Task({"a": [1, 2], "y": ["p", "q"]}, target="y")
    with pytest.raises(DataError, match="aligned"):
        graph.fit(inputs={"nop": one, "nop_2": one.take([0, 0])})
    other = Task({"b": [1, 2], "y": ["q", "p"]}, target="y")
    with pytest.raises(DataError, match="different targets"):
        graph.fit(inputs={"nop": one, "nop_2": other})


def test_a_column_called_x_is_nothing_special():
    data = Task({"x": [1, 2]})
    assert run(FeatureUnion(), data).features == ("x",)


def test_indicators_beside_imputed_columns():
    graph = [ImputeMean(), MissInd()] >> FeatureUnion()
    found = graph.fit(task()).predict(task())
    assert found.features == ("a", "b", "c", "missing_a")
    assert found.column("missing_a").to_pylist() == [False, True, False]


def test_no_indicators_keep_the_rows_and_join_with_other_columns():
    complete = Task({"a": [1.0, 2.0]})
    graph = [Nop(), MissInd()] >> FeatureUnion()
    assert run(MissInd(), complete).features == ()
    assert len(run(MissInd(), complete)) == 2
    assert graph.fit(complete).predict(complete).features == ("a",)


def test_indicators_look_at_the_columns_of_the_fit():
    fitted = MissInd().as_graph().fit(task())
    found = fitted.predict({"a": [1.0], "b": [None], "c": ["u"]})
    assert found.table().to_pydict() == {"missing_a": [False]}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bool", [False, True, False]),
        ("int", [0, 1, 0]),
        ("float", [0.0, 1.0, 0.0]),
        ("category", ["present", "missing", "present"]),
    ],
)
def test_indicators_have_the_type_asked_for(kind, values):
    found = run(MissInd(type=kind))
    assert found.types["missing_a"] == kind
    assert found.column("missing_a").to_pylist() == values


def test_indicators_of_strings_on_request_only():
    data = Task({"a": ["u", None], "b": [1, 2]})
    assert run(MissInd(), data).features == ()
    assert run(MissInd(columns="a"), data).features == ("missing_a", "b")


def test_a_function_gets_a_whole_column():
    assert run(ColApply(fn=np.cumsum, columns="b")).column("b").to_pylist() == [1, 3, 6]


def test_a_function_may_return_several_columns():
    def parts(values):
        return {"low": values - 1, "high": values + 1}

    found = run(ColApply(fn=parts, columns="b"))
    assert found.features == ("a", "b.low", "b.high", "c")


def test_a_function_cannot_reach_into_the_task():
    def spoil(values):
        values[0] = 99
        return values

    data = Task({"a": [1.0, 2.0]})
    with pytest.raises(ValueError, match="read-only"):
        run(ColApply(fn=spoil), data)
    assert data.column("a").to_pylist() == [1.0, 2.0]


def test_words_of_categories_reach_the_function():
    data = Task({"a": pa.array(["u", None]).dictionary_encode()})
    found = run(ColApply(fn=lambda values: [str(v) + "!" for v in values]), data)
    assert found.column("a").to_pylist() == ["u!", "None!"]


def test_a_function_must_return_a_value_per_row():
    with pytest.raises(DataError, match="one value per row"):
        run(ColApply(fn=np.sum, columns="b"))
