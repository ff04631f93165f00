"""New data in the form of a task: found by name, converted where nothing is lost."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from mlgraph.data.lazy.make import lazy, materialize
from mlgraph.data.task import Task
from mlgraph.errors import DataError

DAY = dt.datetime(2024, 2, 29)
UTC = dt.UTC


def prototype() -> Task:
    data = {
        "x": [1.0, 2.0, 3.0],
        "n": [1, 2, 3],
        "k": pd.Categorical(["b", "a", "b"], ["b", "a"]),
        "y": ["u", "v", "u"],
    }
    return Task(data, target="y")


def new_data() -> dict[str, object]:
    return {"n": [5, 6], "k": ["a", "b"], "x": [0.5, None]}


def test_columns_are_found_by_name_whatever_their_order() -> None:
    new = prototype().like({"extra": ["?", "!"], **new_data()})
    assert new.features == ("x", "n", "k")
    assert list(new.columns) == ["x", "n", "k", "y"]
    assert new.column("n").to_pylist() == [5, 6]
    assert new.row_ids.tolist() == [0, 1]


@pytest.mark.parametrize("origin", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_every_origin_is_new_data(origin) -> None:
    assert prototype().like(origin(new_data())).column("k").to_pylist() == ["a", "b"]


def test_a_prototype_needs_no_rows() -> None:
    new = prototype().empty().like(new_data())
    assert new.levels("k") == ("b", "a")
    assert new.column("x").to_pylist() == [0.5, None]


def test_a_task_keeps_its_row_ids_and_its_data() -> None:
    task = prototype()
    view = task.take([2, 0])
    new = task.like(view)
    assert new.row_ids.tolist() == [2, 0]
    assert new.columns["x"] is view.columns["x"]
    assert new.fingerprint == view.fingerprint


def test_missing_features_are_listed_with_a_hint() -> None:
    with pytest.raises(DataError, match=r"2 columns are missing: 'n', 'k'") as lost:
        prototype().like({"x": [1.0], "N1": [2], "nn": [1]})
    assert "'nn'" in lost.value.mend
    with pytest.raises(DataError, match="Column 'k' is missing"):
        prototype().like({"x": [1.0], "n": [1]})


def odd_pandas() -> pd.DataFrame:
    frame = pd.DataFrame(new_data())
    frame["raw"] = [b"?", b"!"]
    frame["took"] = [dt.timedelta(1), None]
    frame["mixed"] = pd.Series([1, "x"], dtype=object)
    frame["spare"] = pd.arrays.SparseArray([0, 1])
    frame[7.5] = 1.0
    frame[""] = 1.0
    frame[("two", "parts")] = 1.0
    return pd.concat([frame, frame[["raw", "spare"]]], axis=1)


def odd_polars() -> pl.DataFrame:
    odd = {"took": [dt.timedelta(1), None], "raw": [b"?", b"!"], "": [1, 2]}
    objects = pl.Series("objects", [object(), object()], dtype=pl.Object)
    return pl.DataFrame({**new_data(), **odd}).with_columns(objects)


def odd_arrow() -> pa.Table:
    table = pa.table({**new_data(), "took": pa.array([dt.timedelta(1), None])})
    return table.append_column("raw", [[b"?", b"!"]]).append_column("raw", [[b"?", b"!"]])


def odd_mapping() -> dict[object, object]:
    return {**new_data(), 7.5: [1, 2], "mixed": [1, "x"], "one": [1], "scalar": 3, "": None}


@pytest.mark.parametrize("odd", [odd_pandas, odd_polars, odd_arrow, odd_mapping])
def test_columns_that_are_not_needed_may_be_called_and_hold_anything(odd) -> None:
    with pytest.raises(DataError):
        Task(odd())
    new = prototype().like(odd())
    assert new.features == ("x", "n", "k")
    assert new.column("k").to_pylist() == ["a", "b"]
    assert new.column("x").to_pylist() == [0.5, None]


def test_columns_that_are_needed_are_still_checked_beside_odd_ones() -> None:
    with pytest.raises(DataError, match="Column 'k' is missing") as lost:
        prototype().like({"x": [1.0], "n": [1], "kk": [b"?"], 7.5: [1]})
    assert "'kk', '7.5'" in lost.value.why
    assert "'kk'" in lost.value.mend
    twice = pd.concat([pd.DataFrame(new_data())] * 2, axis=1)
    with pytest.raises(DataError, match="Several columns are called"):
        prototype().like(twice)
    with pytest.raises(DataError, match="'x' has the type binary"):
        prototype().like({**new_data(), "x": [b"?", b"!"]})
    with pytest.raises(DataError, match="X has a column 'y' already"):
        prototype().like(({**new_data(), "y": ["u", "v"]}, ["u", "v"]))


def test_rows_are_counted_where_no_column_is_needed() -> None:
    task = Task({"y": [1.0, 2.0]}, target="y")
    for new in ({"other": ["?", "!"]}, pd.DataFrame({"other": ["?", "!"]})):
        assert len(task.like(new)) == 2


def test_an_array_is_matched_by_place_and_width() -> None:
    task = Task({"a": [1.0, 2.0], "b": [3, 4], "y": ["u", "v"]}, target="y")
    new = task.like(np.array([[0.5, 7.0]]))
    assert new.column("a").to_pylist() == [0.5]
    assert new.column("b").to_pylist() == [7]
    assert task.like((np.array([[0.5, 7.0]]), ["v"])).target_codes().tolist() == [1]
    with pytest.raises(DataError, match="array has 3 columns and the task 2 features"):
        task.like(np.zeros((1, 3)))


def cat(values: list, levels: list, ordered: bool = False) -> pd.Series:
    return pd.Series(pd.Categorical(values, levels, ordered=ordered))


CONVERTED = [
    ("int to float", [1.5], [2, None], [2.0, None]),
    ("bool to float", [1.5], [True, False], [1.0, 0.0]),
    ("integral float to int", [1], [2.0, None], [2, None]),
    ("bool to int", [1], [True, False], [1, 0]),
    ("0 and 1 to bool", [True], [0, 1, None], [False, True, None]),
    ("0.0 and 1.0 to bool", [True], [0.0, 1.0], [False, True]),
    ("float64 to float32", pa.array([1.0], pa.float32()), [1.5], [1.5]),
    ("string to category", cat(["a"], ["a", "b"]), ["b", None], ["b", None]),
    ("int to category", cat([1], [1, 2]), [2, 1], ["2", "1"]),
    ("bool to category", cat([True], [True, False]), [False, None], ["False", None]),
    ("category to string", ["a"], cat(["b", None], ["a", "b"]), ["b", None]),
    ("date to time", [DAY], [DAY.date()], [DAY]),
    ("time to date", [DAY.date()], [DAY], [DAY.date()]),
    ("all missing to category", cat(["a"], ["a"]), [None, None], [None, None]),
    ("all missing to string", ["a"], [float("nan")], [None]),
    ("all missing to date", [DAY], [None], [None]),
]


@pytest.mark.parametrize(("wanted", "arrived", "result"), [row[1:] for row in CONVERTED], ids=[
    row[0] for row in CONVERTED
])  # fmt: skip
def test_what_loses_nothing_is_converted(wanted, arrived, result) -> None:
    task = Task({"c": wanted})
    new = task.like({"c": arrived})
    assert new.column("c").to_pylist() == result
    assert new.column("c").type == task.column("c").type


REFUSED = [
    ("1.1 to int", [1], [2.0, 1.1], "int64", "double", "1.1"),
    ("infinity to int", [1], [float("inf")], "int64", "double", "inf"),
    ("2 to bool", [True], [1, 2], "bool", "int64", "2"),
    ("word to float", [1.5], ["?"], "double", "large_string", "'?'"),
    ("number to word", ["a"], [1], "large_string", "int64", "1"),
    ("word to date", [DAY], ["2024-01-01"], "timestamp[us]", "large_string", "'2024-01-01'"),
    ("float to category", cat(["a"], ["a"]), [1.5], "dictionary", "double", "1.5"),
    ("noon to date", [DAY.date()], [DAY.replace(hour=12)], "date32", "timestamp", "12, 0"),
    ("zone to none", [DAY], [DAY.replace(tzinfo=UTC)], "timestamp[us]", "tz=UTC", "datetime"),
    (
        "word to tensor",
        np.zeros((1, 2)),
        ["a"],
        "extension<arrow.fixed_shape",
        "large_string",
        "'a'",
    ),
]


@pytest.mark.parametrize(("wanted", "arrived", "to", "came", "value"), [
    row[1:] for row in REFUSED
], ids=[row[0] for row in REFUSED])  # fmt: skip
def test_what_would_lose_something_is_refused(wanted, arrived, to, came, value) -> None:
    with pytest.raises(DataError, match=r"Column 'c' is .* here and was") as refused:
        Task({"c": wanted}).like({"c": arrived})
    assert f"expected {to}" in refused.value.why
    assert came in refused.value.why.partition("arrived ")[2]
    assert value in refused.value.why.rpartition("fit is ")[2]


def test_levels_are_recoded_to_the_order_of_the_prototype() -> None:
    task = Task({"k": cat(["b", "a"], ["b", "a"], ordered=True)})
    new = task.like({"k": cat(["a", "b", None], ["z", "a", "b"])})
    assert new.levels("k") == ("b", "a")
    assert new.is_ordered("k")
    assert new.column("k").chunk(0).indices.to_pylist() == [1, 0, None]


def test_new_levels_come_after_the_known_ones() -> None:
    task = Task({"k": cat(["b", "a"], ["b", "a"])})
    new = task.like({"k": ["z", "a", "c", None]})
    assert new.levels("k") == ("b", "a", "c", "z")
    assert new.column("k").to_pylist() == ["z", "a", "c", None]
    assert task.levels("k") == ("b", "a")


@pytest.mark.parametrize(
    "target", [list("uvu"), cat(list("uvu"), ["v", "u"]), [True, False, True], [0.5, 1.5, 2.5]]
)
def test_without_a_target_column_the_target_is_missing(target) -> None:
    task = Task({"x": [1.0, 2.0, 3.0], "y": target}, target="y")
    new = task.like({"x": [1.0, 2.0]})
    assert (new.target, new.kind, new.classes) == ("y", task.kind, task.classes)
    assert new.column("y").type == task.column("y").type
    assert new.column("y").null_count == 2
    codes = new.target_codes()
    assert np.isnan(codes).all() if task.kind == "regression" else (codes == -1).all()


def test_a_target_that_is_there_is_converted_and_may_have_gaps() -> None:
    words = prototype().like({**new_data(), "y": ["v", None]})
    assert words.target_codes().tolist() == [1, -1]
    recoded = prototype().like({**new_data(), "y": cat(["v", "u"], ["v", "u", "w"])})
    assert recoded.target_codes().tolist() == [1, 0]
    numbers = Task({"x": [1.0, 2.0], "y": [1, 2]}, target="y", kind="classification")
    assert numbers.like({"x": [0.0, 0.0], "y": [2.0, 1.0]}).target_codes().tolist() == [1, 0]
    declared = Task({"x": [1.0, 2.0], "y": cat(["a", "b"], ["b", "a"])}, target="y")
    again = declared.like({"x": [1.0], "y": cat(["a"], ["a", "b", "c"])})
    assert (again.levels("y"), again.target_codes().tolist()) == (("b", "a"), [1])


@pytest.mark.parametrize("target", [["u", "v", "u"], cat(["u", "v", "u"], ["u", "v"])])
def test_an_unknown_class_is_refused_by_its_label(target) -> None:
    task = Task({"x": [1.0, 2.0, 3.0], "y": target}, target="y")
    with pytest.raises(DataError, match="'w' is not a class of target 'y'") as unknown:
        task.like({"x": [1.0, 2.0], "y": ["u", "w"]})
    assert "'u', 'v'" in unknown.value.why


def test_optional_roles_are_dropped_when_absent_and_kept_when_there() -> None:
    data = {"x": [1.0, 2.0], "w": [1, 2], "g": ["p", "q"], "y": ["u", "v"]}
    task = Task(data, target="y", weight="w", group="g")
    bare = task.like({"x": [1.0]})
    assert bare.roles["weight"] == bare.roles["group"] == ()
    assert bare.weights() is None
    full = task.like({**data, "w": [0.0, 3.0]})
    assert full.weights().tolist() == [0.0, 3.0]
    with pytest.raises(DataError, match="negative"):
        task.like({**data, "w": [-1, 0]})


def test_an_unsupervised_prototype_makes_unsupervised_tasks() -> None:
    assert Task({"x": [1.0]}).like({"x": [2], "y": ["a"]}).kind == "unsupervised"


def test_tables_without_rows_are_new_data_too() -> None:
    new = prototype().like(pd.DataFrame(new_data()).iloc[:0])
    assert len(new) == 0
    assert new.types == prototype().types


def test_new_data_that_is_no_table_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be made from int"):
        prototype().like(3)


def test_lazy_columns_go_below_each_other_as_the_message_says() -> None:
    one, other = (Task({"image": lazy(torch.full((2, 3), i)), "n": [1, 2]}) for i in (0.0, 1.0))
    with pytest.raises(DataError, match="in both tasks") as caught:
        one.concat(other)
    assert "task.concat(dict(other.columns))" in caught.value.mend
    both = one.concat(dict(other.columns))
    assert both.row_ids.tolist() == [0, 1, 2, 3]
    assert materialize(both, stacked=True)["image"][:, 0].tolist() == [0, 0, 1, 1]


def test_rows_of_which_nothing_is_known_need_no_weights() -> None:
    weighted = Task({"x": [1.0, 2.0], "w": [1.0, 2.0], "y": [0.0, 1.0]}, "y", weight="w")
    for unknown in ({}, {"y": [None, None]}):
        new = weighted.like({"x": [3.0, 4.0], "w": [None, None], **unknown})
        assert new.weights() is None and len(new) == 2
    with pytest.raises(DataError, match="2 missing values"):
        weighted.like({"x": [3.0, 4.0], "w": [None, None], "y": [1.0, 2.0]})
    with pytest.raises(DataError, match="1 missing values"):
        weighted.like({"x": [3.0, 4.0], "w": [None, 1.0]})
