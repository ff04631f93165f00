from __future__ import annotations

import numpy as np
import pytest

from mlgraph.data.arrays import numbers
from mlgraph.data.select import sel
from mlgraph.data.task import Task
from mlgraph.data.transform import NUMERIC, ColumnTransform, RowTransform, TaskTransform
from mlgraph.errors import ConfigError, DataError, UnknownColumnError


class Doubled(ColumnTransform):
    accepts = NUMERIC
    suffix: str = ""

    def fit_column(self, name, values, task, ctx):
        return None

    def transform_column(self, state, name, values):
        return {name + self.suffix: 2 * numbers(values)}


class Summed(TaskTransform):
    accepts = NUMERIC

    def fit_columns(self, table, task, ctx):
        return None

    def transform_columns(self, state, table, ctx):
        total = sum(numbers(column) for column in table.columns)
        return {"total": total, table.column_names[-1]: total}


def task() -> Task:
    return Task(
        {"a": [1.0, 2.0], "word": ["u", "v"], "b": [3, 4], "c": [5, 6], "y": ["p", "q"]},
        target="y",
    )


def run(node, data=None):
    return node.as_graph().fit(data or task()).predict(data or task())


def test_results_stand_where_their_column_stood():
    assert run(Doubled(suffix=".2")).features == ("a.2", "word", "b.2", "c.2")


def test_joint_results_stand_where_the_first_column_stood_unless_they_have_its_name():
    assert run(Summed(columns=["b", "c"])).features == ("a", "word", "total", "c")


def test_columns_that_are_not_concerned_are_passed_on_by_reference():
    data = task()
    found = run(Doubled(columns=["a"]), data)
    assert found.columns["word"] is data.columns["word"]
    assert found.columns["b"] is data.columns["b"]


def test_without_columns_the_task_is_unchanged():
    data = task()
    assert run(Doubled(columns=sel.none()), data).columns == data.columns


def test_by_default_only_accepted_columns_are_touched():
    assert run(Doubled()).column("word").to_pylist() == ["u", "v"]


def test_a_column_asked_for_by_name_must_have_an_accepted_type():
    with pytest.raises(DataError, match=r"'word'") as caught:
        run(Doubled(columns=["a", "word"]))
    assert "string" in caught.value.why
    assert "'float', 'int'" in caught.value.why


def test_a_rule_that_happens_to_find_other_types_is_no_request_for_them():
    assert run(Doubled(columns=~sel.names("a"))).column("b").to_pylist() == [6.0, 8.0]


def test_an_unknown_column_is_refused_with_a_suggestion():
    with pytest.raises(UnknownColumnError, match="'wrod'") as caught:
        run(Doubled(columns=["wrod"]))
    assert "'word'" in caught.value.mend


def test_columns_must_be_a_selection():
    with pytest.raises(ConfigError):
        Doubled(columns=3)


def test_a_new_name_that_is_taken_is_refused():
    data = Task({"a": [1.0], "a.2": ["u"]})
    with pytest.raises(DataError, match=r"'a\.2'"):
        run(Doubled(columns=["a"], suffix=".2"), data)


def test_a_new_name_that_belongs_to_the_target_is_refused():
    data = Task({"a": [1.0, 2.0], "a.2": ["u", "v"]}, target="a.2")
    with pytest.raises(DataError, match=r"'a\.2'"):
        run(Doubled(suffix=".2"), data)


def test_new_data_without_a_column_of_the_fit_are_refused_by_name():
    fitted = Doubled().as_graph().fit(task())
    node, state = fitted["doubled"].node, fitted["doubled"].state
    with pytest.raises(UnknownColumnError, match="'b' of the fit is missing"):
        node.apply(state, {"input": task().drop("b")}, None)


def test_new_data_with_other_types_are_refused_by_name():
    fitted = Doubled().as_graph().fit(task())
    node, state = fitted["doubled"].node, fitted["doubled"].state
    changed = task().replace({"b": ["x", "y"]}, task().features)
    with pytest.raises(DataError, match="'b'") as caught:
        node.apply(state, {"input": changed}, None)
    assert "'b' was int and is string" in caught.value.why


def test_the_order_of_the_fit_is_restored():
    fitted = Doubled().as_graph().fit(task())
    node, state = fitted["doubled"].node, fitted["doubled"].state
    turned = task().replace({}, ["c", "b", "word", "a"])
    assert node.apply(state, {"input": turned}, None)[0].features == ("a", "word", "b", "c")


class Fickle(ColumnTransform):
    def fit_column(self, name, values, task, ctx):
        return None

    def transform_column(self, state, name, values):
        return {f"{name}.{len(values)}": values}


def test_results_that_differ_from_those_of_the_fit_are_refused():
    fitted = Fickle().as_graph().fit(task())
    with pytest.raises(DataError, match="differ from those of the fit"):
        fitted.predict(task().take([0]))


class Untyped(ColumnTransform):
    def fit_column(self, name, values, task, ctx):
        return None

    def transform_column(self, state, name, values):
        return {f"{name}.x": [value * 2 for value in values.to_pylist()]}


def test_no_rows_have_the_types_of_the_fit_even_if_the_node_cannot_know_them():
    fitted = Untyped().as_graph().fit(task())
    found = fitted.predict(task().empty())
    assert len(found) == 0
    assert dict(found.types) == {
        "a.x": "float",
        "word.x": "string",
        "b.x": "int",
        "c.x": "int",
        "y": "string",
    }


class Backwards(RowTransform):
    def positions(self, task, ctx):
        return np.arange(len(task))[::-1].copy()


def test_a_row_transform_changes_rows_in_the_fit_only():
    data = task()
    fitted = Backwards().as_graph().fit(data)
    assert fitted.outputs["backwards.output"].row_ids.tolist() == [1, 0]
    assert fitted.predict(data).row_ids.tolist() == [0, 1]
