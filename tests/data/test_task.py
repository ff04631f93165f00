"""A task: target, kind, classes, weights, roles, and the changes of them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlgraph.data.select import sel
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, DataError, UnknownColumnError

X = {"a": [1.0, 2.0, 3.0, 4.0], "c": ["u", "v", "u", "v"]}


def task_of(target: object, **options: object) -> Task:
    return Task({**X, "y": target}, target="y", **options)


# Kind and classes


@pytest.mark.parametrize(
    ("target", "kind", "classes"),
    [
        (["b", "a", "b", "a"], "classification", ("a", "b")),
        ([True, False, True, True], "classification", (False, True)),
        (pd.Categorical(list("xzxz"), ["z", "y", "x"]), "classification", ("z", "y", "x")),
        ([0.5, 1.0, 2.0, 3.0], "regression", ()),
    ],
)
def test_the_type_of_the_target_decides_the_kind(target, kind: str, classes: tuple) -> None:
    task = task_of(target)
    assert (task.kind, task.classes, task.target) == (kind, classes, "y")
    assert task.features == ("a", "c")


def test_an_integer_target_needs_a_kind() -> None:
    with pytest.raises(DataError, match="Target 'y' is an integer") as unclear:
        task_of([3, 1, 3, 2])
    assert 'kind="classification" or kind="regression"' in unclear.value.mend
    classes = task_of([3, 1, 3, 2], kind="classification")
    assert classes.classes == (1, 2, 3)
    assert classes.target_codes().tolist() == [2, 0, 2, 1]
    values = task_of([3, 1, 3, 2], kind="regression").target_codes()
    assert values.dtype == np.float64
    assert values.tolist() == [3.0, 1.0, 3.0, 2.0]


def test_without_target_a_task_is_unsupervised() -> None:
    task = Task(X)
    assert (task.kind, task.target, task.classes, task.positive) == ("unsupervised", None, (), None)
    with pytest.raises(DataError, match="has no target"):
        task.target_codes()


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (list("abab"), "regression"),
        ([True, False, True, False], "regression"),
        ([0.0, 1.0, 0.0, 1.0], "classification"),
        (np.array(["2020-01-01"] * 4, "datetime64[D]"), None),
        (np.zeros((4, 2)), None),
    ],
)
def test_a_target_that_does_not_fit_the_kind_is_refused(target, kind: str | None) -> None:
    with pytest.raises(DataError, match="Target 'y' of type") as refused:
        task_of(target, kind=kind)
    assert refused.value.where == "column 'y'"


def test_unknown_kinds_and_missing_targets_are_refused() -> None:
    with pytest.raises(ConfigError, match="No kind of task is called 'clasification'") as unknown:
        task_of(list("abab"), kind="clasification")
    assert "'classification'" in unknown.value.mend
    with pytest.raises(DataError, match="needs a target"):
        Task(X, kind="regression")
    with pytest.raises(DataError, match="unsupervised task has no target"):
        task_of(list("abab"), kind="unsupervised")


def test_a_target_with_missing_values_is_refused_with_count_and_rows() -> None:
    with pytest.raises(DataError, match="Target 'y' has 2 missing values") as missing:
        task_of(["a", None, "b", None], row_ids=[10, 20, 30, 40])
    assert "rows 20, 40" in missing.value.why
    with pytest.raises(DataError, match="1 missing"):
        task_of([1.0, float("nan"), 2.0, 3.0])


def test_an_infinite_target_is_refused() -> None:
    with pytest.raises(DataError, match="Target 'y' has 1 infinite values") as infinite:
        task_of([1.0, 2.0, float("inf"), 3.0])
    assert "rows 2" in infinite.value.why


@pytest.mark.parametrize(
    "target", [list("aaaa"), [True] * 4, pd.Categorical(list("aaaa"), ["a", "b"])]
)
def test_one_class_is_nothing_to_learn(target) -> None:
    with pytest.raises(DataError, match=r"Target 'y' is always (True|'a'): nothing to learn"):
        task_of(target)


def test_no_rows_are_nothing_to_learn_but_may_be_a_table() -> None:
    with pytest.raises(DataError, match="Target 'y' has no values"):
        Task({"a": pa.array([], pa.float64()), "y": pa.array([], pa.string())}, target="y")
    assert len(Task({"a": []})) == 0


def test_a_constant_quantity_is_allowed() -> None:
    assert task_of([1.0] * 4).kind == "regression"


def test_unused_levels_stay_classes() -> None:
    task = task_of(pd.Categorical(list("acac"), ["a", "b", "c"]))
    assert task.classes == task.take([0]).classes == task.empty().classes == ("a", "b", "c")
    assert task.target_codes().tolist() == [0, 2, 0, 2]


def test_views_may_lack_classes() -> None:
    task = task_of(["b", "a", "b", "a"]).filter([1])
    assert task.classes == ("a", "b")
    assert task.target_codes().tolist() == [0]


def test_labels_are_not_mangled() -> None:
    labels = ["", "-", "0", "é"]
    assert task_of(labels).classes == tuple(sorted(labels))


def test_the_positive_class_is_the_second_unless_said_otherwise() -> None:
    assert task_of(list("abab")).positive == "b"
    assert task_of(list("abab"), positive="a").positive == "a"
    assert task_of(list("abab"), positive="a").classes == ("a", "b")
    assert task_of(list("abca")).positive is None
    assert task_of([0, 1, 0, 1], kind="classification").positive == 1


def test_a_positive_class_needs_two_classes_and_is_one_of_them() -> None:
    with pytest.raises(ConfigError, match="two classes"):
        task_of(list("abca"), positive="a")
    with pytest.raises(ConfigError, match="two classes"):
        task_of([1.0, 2.0, 3.0, 4.0], positive=1)
    with pytest.raises(ConfigError, match="'yess' is not a class") as unknown:
        task_of(["yes", "no", "no", "no"], positive="yess")
    assert "'yes'" in unknown.value.mend


def test_codes_are_fresh_arrays() -> None:
    task = task_of(list("abab"))
    task.target_codes()[:] = 7
    assert task.target_codes().tolist() == [0, 1, 0, 1]


# Changes


def test_another_target_makes_the_old_one_a_feature() -> None:
    task = task_of(list("abab"), positive="a")
    other = task.with_target("a")
    assert (other.kind, other.features) == ("regression", ("c", "y"))
    assert task.with_target(None).features == ("a", "c", "y")
    assert Task(task, target="a").kind == "regression"
    with pytest.raises(UnknownColumnError):
        task.with_target("z")


def test_a_task_of_a_task_changes_only_what_is_said() -> None:
    task = Task({**X, "w": [1, 2, 3, 4], "y": list("abab")}, target="y", row_ids=[4, 5, 6, 7])
    assert Task(task).fingerprint == task.fingerprint
    assert Task(task, positive="a").positive == "a"
    weighted = Task(task, weight="w")
    assert (weighted.target, weighted.features) == ("y", ("a", "c"))
    assert Task(task, row_ids=[1, 2, 3, 4]).row_ids.tolist() == [1, 2, 3, 4]


def test_target_values_can_be_replaced_in_a_regression() -> None:
    task = task_of([1.0, 2.0, 3.0, 4.0])
    new = task.with_target_values(np.array([0.0, np.nan, 1.0, 2.0]))
    assert new.features == task.features
    assert np.isnan(new.target_codes()[1])
    assert task.target_codes().tolist() == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(DataError, match="infinite"):
        task.with_target_values([np.inf, 0, 0, 0])
    with pytest.raises(DataError, match="3 values for 4 rows"):
        task.with_target_values([1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="kind 'classification' has no quantities"):
        task_of(list("abab")).with_target_values([1.0] * 4)


def test_weights_can_be_given_as_values() -> None:
    task = Task(X).with_weight(np.array([1.0, 2.0, 3.0, 4.0]))
    assert task.weights().tolist() == [1.0, 2.0, 3.0, 4.0]
    again = task.with_weight([1.0] * 4, name="w2")
    assert again.roles["weight"] == ("w2",)
    assert "weight" not in again.columns
    assert task.with_weight([2.0] * 4).weights().tolist() == [2.0] * 4
    with pytest.raises(DataError, match="'a' is there already"):
        task.with_weight([1.0] * 4, name="a")
    with pytest.raises(DataError, match="negative"):
        task.with_weight([-1.0, 1.0, 1.0, 1.0])


def test_concat_puts_rows_below_and_merges_levels_and_classes() -> None:
    kind = pd.CategoricalDtype(["b", "a"])
    upper = Task({"c": pd.Series(["a", "b"], dtype=kind), "y": ["u", "v"]}, target="y")
    both = upper.concat({"extra": [1, 2], "y": ["t", "u"], "c": ["z", "a"]})
    assert both.column("c").to_pylist() == ["a", "b", "z", "a"]
    assert both.levels("c") == ("b", "a", "z")
    assert both.classes == ("t", "u", "v")
    assert both.target_codes().tolist() == [1, 2, 0, 1]
    assert both.row_ids.tolist() == [0, 1, 2, 3]
    assert both.features == ("c",)


def test_concat_of_what_was_split_keeps_row_ids() -> None:
    task = Task(X)
    assert task.take([2, 3]).concat(task.take([0])).row_ids.tolist() == [2, 3, 0]


def test_concat_refuses_clashing_ids_and_missing_columns() -> None:
    task = task_of([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(DataError, match="Row 0 is in both") as clash:
        task.concat(task)
    assert "4 row ids" in clash.value.why
    assert len(task.concat(task.to_arrow())) == 8
    with pytest.raises(DataError, match="Column 'y' is missing"):
        task.concat(X)


# Reading


def test_numpy_gets_numbers_and_codes() -> None:
    task = Task({"a": [1, None], "b": [True, False], "y": ["v", "u"]}, target="y")
    matrix, codes = task.to_numpy()
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, [[1.0, 1.0], [np.nan, 0.0]])
    assert codes.tolist() == [1, 0]
    assert Task({"a": [1]}).to_numpy()[1] is None
    with pytest.raises(DataError, match="Not all features are numbers") as words:
        task_of(list("abab")).to_numpy()
    assert "'c'" in words.value.why
    assert task_of(list("abab")).select(sel.type("float")).to_numpy()[0].shape == (4, 1)


def test_a_task_prints_what_it_is() -> None:
    task = Task({**X, "w": [1, 2, 3, 4], "y": list("abab")}, target="y", weight="w")
    assert repr(task).splitlines() == [
        "Task 4 x 2, classification",
        "  target 'y': a (2), b (2, positive)",
        "  float (1): a",
        "  string (1): c",
        "  weight 'w'",
    ]
    assert "target 'y': 1 to 4" in repr(task_of([1.0, 2.0, 3.0, 4.0]))
    assert "all missing" in repr(task_of([1.0, 2.0, 3.0, 4.0]).like(X))
    assert repr(Task({"a": [1]})) == "Task 1 x 1, unsupervised\n  int (1): a"


def test_a_wide_task_prints_in_few_lines() -> None:
    wide = Task({f"column_{i}": [0.5] for i in range(1000)})
    assert len(repr(wide).splitlines()) == 2
    assert "more)" in repr(wide)
    assert max(map(len, repr(wide).splitlines())) < 120


def test_a_task_is_a_value() -> None:
    task = task_of(list("abab"))
    with pytest.raises(AttributeError):
        task.goal = None
    assert copy.deepcopy(task) is task
    assert isinstance(hash(task), int)
    assert Task.how_to_make == 'make one with Task(data, target="..."), or Task((X, y))'


def test_a_task_survives_pickling_with_its_fingerprint() -> None:
    kind = pd.CategoricalDtype(["z", "y", "x"], ordered=True)
    data = {**X, "k": pd.Series(list("xyxy"), dtype=kind), "y": list("abab")}
    for task in (Task(data, target="y"), Task(data, target="y").take([2, 0]), Task(data).empty()):
        again = pickle.loads(pickle.dumps(task))
        assert again.fingerprint == task.fingerprint
        assert again.to_arrow().equals(task.to_arrow())
        assert again.goal == task.goal
        assert again.levels("k") == ("z", "y", "x")
        assert again.is_ordered("k")
        assert not again.row_ids.flags.writeable


def test_a_view_pickles_only_its_rows() -> None:
    task = Task({"a": np.arange(100_000.0), "s": [f"word {i}" for i in range(100_000)]})
    assert len(pickle.dumps(task.take(range(10)))) < 10_000
    assert len(pickle.dumps(task.take([5, 3]))) < 10_000
    assert len(pickle.dumps(task.empty())) < 10_000


def test_what_looks_like_the_class_or_the_name_is_told() -> None:
    data = {"x": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 0, 1]}
    with pytest.raises(ConfigError) as caught:
        Task(data, target="y", kind="classification", positive="1")
    assert caught.value.mend == "write positive=1"
    with pytest.raises(DataError) as unnamed:
        Task(pd.DataFrame(np.ones((4, 3))), target=2)
    assert "target='2'" in unnamed.value.mend


def test_weights_that_would_be_lost_are_refused() -> None:
    plain = Task({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 2.0, 3.0]}, target="y")
    weighted = plain.with_weight([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(DataError, match="would be lost") as caught:
        plain.split(weighted, seed=1)
    assert "'weight'" in caught.value.why
    assert len(weighted.split(weighted, seed=1)[1]) == 4


def test_a_lazy_frame_is_to_be_collected() -> None:
    with pytest.raises(DataError) as caught:
        Task(pl.LazyFrame({"x": [1.0]}))
    assert "collect()" in caught.value.mend
