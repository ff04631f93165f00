"""Roles of columns, weights, and row ids."""

from __future__ import annotations

import numpy as np
import pytest

from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, DataError, UnknownColumnError

X = {"a": [1.0, 2.0, 3.0, 4.0], "c": ["u", "v", "u", "v"]}


def test_weights_are_read_as_floats_and_follow_the_rows() -> None:
    task = Task({**X, "w": [1, 0, 2, 3]}, weight="w")
    assert task.features == ("a", "c")
    assert task.take([3, 0]).weights().tolist() == [3.0, 1.0]
    assert Task(X).weights() is None


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, None, 1.0, 1.0], "1 missing values"),
        ([1.0, -1.0, 1.0, 1.0], "1 negative values"),
        ([0, 0, 0, 0], "All weights in 'w' are 0"),
        (list("abcd"), "not numeric"),
        ([1.0, float("inf"), 1.0, 1.0], "1 infinite values"),
    ],
)
def test_what_are_no_weights_is_refused(weights, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Task({**X, "w": weights}, weight="w")


def test_roles_take_columns_out_of_the_features() -> None:
    task = Task(
        {**X, "g": [1, 1, 2, 2], "s": list("aabb"), "t": [4, 3, 2, 1], "y": list("abab")},
        target="y",
        group="g",
        stratum=["s", "y"],
        order="t",
        name="c",
    )
    assert task.features == ("a",)
    assert dict(task.roles) == {
        "feature": ("a",),
        "target": ("y",),
        "weight": (),
        "group": ("g",),
        "stratum": ("s", "y"),
        "order": ("t",),
        "name": ("c",),
    }
    assert task.types["t"] == "int"
    with pytest.raises(TypeError):
        task.roles["feature"] = ()


@pytest.mark.parametrize("role", ["target", "weight", "group", "stratum", "order", "name"])
def test_unknown_columns_in_roles_are_refused_with_a_hint(role: str) -> None:
    data = {"speed": [1, 2], "b": [1, 2]}
    with pytest.raises(UnknownColumnError, match="No column is called 'sped'") as unknown:
        Task(data, **{role: "sped"})
    assert "'speed'" in unknown.value.mend
    assert role in unknown.value.where


def test_a_role_is_given_by_name() -> None:
    with pytest.raises(DataError, match="The target is the name of a column, not a ndarray"):
        Task(X, target=np.ones(4))
    with pytest.raises(DataError, match="role 'weight' is given by the name"):
        Task(X, weight=np.ones(4))
    with pytest.raises(DataError, match="role 'group' has one column"):
        Task(X, group=["a", "c"])


def test_roles_can_be_given_anew() -> None:
    task = Task({**X, "g": [1, 1, 2, 2]})
    grouped = task.with_roles(group="g")
    assert grouped.features == ("a", "c")
    assert grouped.with_roles(group=None).features == ("a", "c")
    assert grouped.with_roles(group=None, feature=["g", "a"]).features == ("g", "a")
    assert task.features == ("a", "c", "g")


def test_wrong_roles_are_refused() -> None:
    task = Task({**X, "w": [-1, 0, 0, 0]})
    with pytest.raises(ConfigError, match="no role 'wieght'") as unknown:
        task.with_roles(wieght="w")
    assert "'weight'" in unknown.value.mend
    with pytest.raises(ConfigError, match="with_target"):
        task.with_roles(target="a")
    with pytest.raises(DataError, match="negative"):
        task.with_roles(weight="w")
    with pytest.raises(DataError, match="'a' cannot be a feature"):
        task.with_roles(group="a", feature=["a"])


def test_row_ids_are_stable_integers() -> None:
    task = Task(X, row_ids=[7, 7, 1, -3])
    assert task.row_ids.tolist() == [7, 7, 1, -3]
    assert task.row_ids.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        task.row_ids[0] = 1
    with pytest.raises(DataError, match="3 row ids for 4 rows"):
        Task(X, row_ids=[1, 2, 3])
    with pytest.raises(DataError, match="Row ids are integers"):
        Task(X, row_ids=["a", "b", "c", "d"])


def test_the_row_ids_given_stay_the_callers_own() -> None:
    ids = np.array([3, 2, 1, 0])
    task = Task(X, row_ids=ids)
    ids[:] = 0
    assert task.row_ids.tolist() == [3, 2, 1, 0]
