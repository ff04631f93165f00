"""Validation rows: by ratio, by id, or given."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, DataError


def classification(labels: list[str], **columns: list[object]) -> Task:
    data = {"x": list(range(len(labels))), "y": labels, **columns}
    roles = {name: name for name in columns}
    return Task(data, target="y", **roles)


def ids(task: Task) -> list[int]:
    return task.row_ids.tolist()


def test_a_ratio_splits_every_row_to_one_side() -> None:
    train, valid = Task({"x": list(range(100))}).split(0.2, seed=1)
    assert len(valid) == 20
    assert sorted(ids(train) + ids(valid)) == list(range(100))
    assert ids(train) == sorted(ids(train))


def test_a_split_is_a_function_of_the_seed() -> None:
    task = Task({"x": list(range(100))})
    again = [ids(task.split(0.2, seed)[1]) for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_a_split_leaves_the_global_generator_alone() -> None:
    state = np.random.get_state()[1].copy()
    Task({"x": list(range(10))}).split(0.2, seed=1)
    assert np.array_equal(state, np.random.get_state()[1])


def test_classes_keep_their_proportions() -> None:
    task = classification(["a"] * 80 + ["b"] * 20)
    train, valid = task.split(0.25, seed=3)
    assert Counter(valid.column("y").to_pylist()) == {"a": 20, "b": 5}
    assert train.classes == valid.classes == ("a", "b")


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from("abcd"), min_size=2, max_size=40).filter(lambda y: len(set(y)) > 1),
    st.floats(0.01, 0.99),
    st.integers(0, 1000),
)
def test_every_class_of_two_rows_is_on_both_sides(
    labels: list[str], ratio: float, seed: int
) -> None:
    task = classification(labels)
    train, valid = task.split(ratio, seed)
    assert sorted(ids(train) + ids(valid)) == list(range(len(labels)))
    assert len(train) > 0 and len(valid) > 0
    for label, count in Counter(labels).items():
        if count >= 2:
            assert label in train.column("y").to_pylist()
            assert label in valid.column("y").to_pylist()


def test_given_strata_count_instead_of_classes() -> None:
    strata = ["p"] * 50 + ["q"] * 50
    task = classification(["a", "b"] * 50, stratum=strata)
    _, valid = task.split(0.2, seed=1)
    assert Counter(valid.column("stratum").to_pylist()) == {"p": 10, "q": 10}


def test_groups_stay_whole() -> None:
    groups = [f"g{i // 7}" for i in range(70)]
    task = classification(["a", "b"] * 35, group=groups)
    for seed in range(5):
        train, valid = task.split(0.3, seed)
        sides = [set(side.column("group").to_pylist()) for side in (train, valid)]
        assert not sides[0] & sides[1]
        assert len(valid) == 21


def test_copies_of_a_row_stay_together() -> None:
    task = Task({"x": list(range(20))}).take([0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    train, valid = task.split(0.4, seed=0)
    assert not set(ids(train)) & set(ids(valid))
    assert len(valid) == 4


def test_splits_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(DataError, match="1 rows cannot be split"):
        Task({"x": [1]}).split(0.5, seed=1)
    with pytest.raises(DataError, match="0 rows cannot be split"):
        Task({"x": [1]}).empty().split(0.5, seed=1)
    with pytest.raises(DataError, match="One group of rows"):
        Task({"x": [1, 2], "g": [1, 1]}, group="g").split(0.5, seed=1)
    both = Task({"x": [1, 2], "g": [1, 2], "s": [1, 2]}, group="g", stratum="s")
    with pytest.raises(DataError, match="groups and strata at once"):
        both.split(0.5, seed=1)


def test_two_rows_are_one_and_one() -> None:
    for ratio in (0.01, 0.5, 0.99):
        train, valid = Task({"x": [1, 2]}).split(ratio, seed=1)
        assert (len(train), len(valid)) == (1, 1)


@pytest.mark.parametrize("given_ids", [[12, 10], (12, 10), np.array([12, 10]), range(10, 13, 2)])
def test_row_ids_name_the_rows_to_hold_out(given_ids) -> None:
    task = Task({"x": [1, 2, 3]}, row_ids=[10, 11, 12])
    train, valid = task.split(given_ids, seed=1)
    assert ids(train) == [11]
    assert ids(valid) == [10, 12]


def test_all_copies_of_a_row_are_held_out() -> None:
    train, valid = Task({"x": [1, 2]}).take([0, 1, 0]).split([0], seed=1)
    assert (ids(train), ids(valid)) == ([1], [0, 0])


def test_row_ids_that_leave_a_side_empty_or_are_unknown_are_refused() -> None:
    task = Task({"x": [1, 2]})
    with pytest.raises(DataError, match="Row 7 is not here"):
        task.split([7], seed=1)
    with pytest.raises(DataError, match="No rows are left to validate with"):
        task.split([], seed=1)
    with pytest.raises(DataError, match="No rows are left to train on"):
        task.split([0, 1], seed=1)


@pytest.mark.parametrize(
    "valid",
    [
        *[True, 0, 1, 1.0, 0.0, -0.2, 1.5, float("nan"), "0.2", None, [0.2], [True, False], {}],
        *[([1], [2, 3]), (pd.DataFrame({"x": [1]}), [1]), pd.DataFrame({"x": [1]})],
        *[np.zeros((2, 2), int), np.array([True, False]), pd.Series([0.5])],
    ],
    ids=lambda valid: f"{type(valid).__name__}",
)
def test_what_says_not_which_rows_is_refused(valid) -> None:
    with pytest.raises(ConfigError, match="does not say which rows validate"):
        Task({"x": [1, 2]}).split(valid, seed=1)


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, pd.Index])
def test_row_ids_come_in_any_row_of_integers(kind) -> None:
    train, valid = Task({"x": [1, 2, 3]}).split(kind([2, 0]), seed=1)
    assert (ids(train), ids(valid)) == ([1], [0, 2])


def test_a_task_to_validate_with_is_brought_into_form() -> None:
    task = Task({"x": [1.0, 2.0], "y": ["b", "a"]}, target="y")
    train, valid = task.split(Task({"y": ["b", "a"], "x": [5, 6], "z": [0, 0]}, "y"), seed=1)
    assert train is task
    assert valid.features == ("x",)
    assert valid.types["x"] == "float"
    assert valid.target_codes().tolist() == [1, 0]


def test_a_task_that_cannot_validate_is_refused() -> None:
    task = Task({"x": [1.0, 2.0], "y": ["b", "a"]}, target="y")
    with pytest.raises(DataError, match="has no target"):
        task.split(Task({"x": [1.0]}), seed=1)
    with pytest.raises(DataError, match="has no rows"):
        task.split(task.empty(), seed=1)
    with pytest.raises(DataError, match="'x' is missing"):
        task.split(task.drop("x"), seed=1)


def test_several_strata_and_missing_values_make_strata_of_their_own() -> None:
    data = {"x": list(range(40)), "p": [1, 2] * 20, "q": [None, "a", "a", None] * 10}
    task = Task(data, stratum=["p", "q"])
    _, valid = task.split(0.2, seed=1)
    strata = zip(valid.column("p").to_pylist(), valid.column("q").to_pylist(), strict=True)
    assert Counter(strata) == {(1, None): 2, (2, "a"): 2, (1, "a"): 2, (2, None): 2}
