"""Kinds of task as values, and tasks with several targets."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mlgraph import ConfigError, DataError, Prediction, QuantileRegression, Task, TaskType, param
from mlgraph.core.value import canonical
from mlgraph.data.goal import (
    Classification,
    Goal,
    MultiLabel,
    MultiTarget,
    NormalRegression,
    Regression,
    Unsupervised,
)
from mlgraph.data.kind import task_type, task_types
from mlgraph.data.taskspec import TaskSpec

TABLE = {
    "a": [1.0, 2.0, 3.0, 4.0],
    "u": [0.5, 1.5, 2.5, 3.5],
    "v": [4.0, 3.0, 2.0, 1.0],
    "p": [True, False, True, False],
    "q": [False, False, True, True],
    "n": [0, 1, 1, 0],
    "s": list("abab"),
}
SHIPPED = {
    "classification": Classification,
    "regression": Regression,
    "unsupervised": Unsupervised,
    "multilabel": MultiLabel,
    "multitarget": MultiTarget,
    "quantile": QuantileRegression,
    "normal": NormalRegression,
}


class Tilted(TaskType):
    """A kind with an option that has no default."""

    tilt: float = param(lower=0)
    around: str = "mean"

    def output_size(self, goal):
        return 1

    def encode(self, task, goal):
        return torch.tensor(task.target_codes())

    def loss(self):
        return "mse"

    def predict(self, output, goal, task):
        return Prediction.regression(task.row_ids, output[:, 0])


# Kinds as values


@pytest.mark.parametrize("key", SHIPPED)
def test_a_kind_is_found_by_key_class_and_value(key: str) -> None:
    kind = SHIPPED[key]
    assert task_types()[key] is kind
    assert task_type(key) == task_type(kind) == task_type(kind()) == kind()
    assert Goal(key).kind == key


def test_kinds_with_equal_options_are_equal_and_survive_pickling() -> None:
    one, same, other = Tilted(tilt=1), Tilted(tilt=1.0), Tilted(tilt=2.0)
    assert one == same and hash(one) == hash(same) and one != other
    assert pickle.loads(pickle.dumps(one)) == one
    assert canonical(one) == canonical(same) != canonical(other)
    assert repr(one) == "Tilted(tilt=1.0, around='mean')"
    assert Regression() != "regression"


def test_a_kind_shows_all_its_options() -> None:
    assert repr(QuantileRegression()) == "QuantileRegression(levels=(0.1, 0.5, 0.9))"
    assert repr(QuantileRegression(levels=(0.2, 0.8))) == "QuantileRegression(levels=(0.2, 0.8))"
    assert repr(Regression()) == "Regression()"


def test_options_are_checked_when_the_kind_is_made() -> None:
    with pytest.raises(ConfigError, match=r"Tilted\(\) cannot take tilt=-1"):
        Tilted(tilt=-1)
    with pytest.raises(ConfigError, match="kind of task 'tilted' needs 'tilt'") as missing:
        Task(TABLE, target="u", kind="tilted")
    assert missing.value.mend == "write kind=Tilted(tilt=...)"
    assert Task(TABLE, target="u", kind=Tilted(tilt=1)).kind == "tilted"


@pytest.mark.parametrize("levels", [(), (0.5, 0.1), (0.1, 0.1), (0.0, 0.5), (0.5, 1.0), 0.5, "ab"])
def test_levels_rise_between_0_and_1(levels: Any) -> None:
    with pytest.raises(ConfigError, match=r"QuantileRegression\(\) cannot take levels"):
        QuantileRegression(levels=levels)


@pytest.mark.parametrize("given", ["clasification", 3, ["regression"], int])
def test_what_is_no_kind_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="No kind of task is called"):
        task_type(given)


def test_a_kind_of_ones_own_cannot_take_the_key_of_another() -> None:
    with pytest.raises(ConfigError, match="cannot be the kind of task 'regression'"):
        type("Mine", (Regression,), {"key": "regression"})
    assert task_types()["regression"] is Regression


def test_a_class_defined_again_takes_the_place_of_the_old_one() -> None:
    first = type("Again", (Tilted,), {"__module__": __name__})
    second = type("Again", (Tilted,), {"__module__": __name__})
    assert first is not second and task_types()["again"] is second


def test_a_kind_that_lacks_a_method_is_not_offered() -> None:
    half = type("HalfMade", (TaskType,), {"__module__": __name__})
    assert "half_made" not in task_types()
    with pytest.raises(ConfigError, match="HalfMade is no kind of task yet") as refused:
        task_type(half)
    assert "'encode'" in refused.value.why


def test_the_spec_of_a_task_is_its_goal() -> None:
    task = Task(TABLE, target=["u", "v"])
    spec = TaskSpec.of(task)
    assert (spec.type, spec.kind, spec.targets) == (MultiTarget(), "multitarget", ("u", "v"))
    assert hash(spec) == hash(pickle.loads(pickle.dumps(spec)))


# Several targets


@pytest.mark.parametrize(
    ("target", "kind", "found"),
    [
        (["u", "v"], None, MultiTarget()),
        (["p", "q"], None, MultiLabel()),
        (["p", "n"], "multilabel", MultiLabel()),
        (["u", "n"], "multitarget", MultiTarget()),
        (["p"], "multilabel", MultiLabel()),
        (["u"], None, Regression()),
        ("p", None, Classification()),
        ("n", "quantile", QuantileRegression()),
        ("u", NormalRegression, NormalRegression()),
    ],
)
def test_types_of_the_targets_decide_the_kind(target: Any, kind: Any, found: TaskType) -> None:
    task = Task(TABLE, target=target, kind=kind)
    assert task.goal.type == found
    assert task.targets == (tuple(target) if isinstance(target, list) else (target,))
    assert not set(task.features) & set(task.targets)


def test_target_is_the_only_one_and_targets_are_all() -> None:
    one, two = Task(TABLE, target="u"), Task(TABLE, target=["u", "v"])
    assert (one.target, one.targets) == ("u", ("u",))
    assert (two.target, two.targets) == (None, ("u", "v"))
    assert (Task(TABLE).target, Task(TABLE).targets) == (None, ())


def test_codes_of_several_targets_are_a_matrix() -> None:
    task = Task(TABLE, target=["v", "u"])
    assert task.target_codes().tolist() == [[4, 0.5], [3, 1.5], [2, 2.5], [1, 3.5]]
    assert Task(TABLE, target=["p", "n"], kind="multilabel").target_codes().dtype == np.float64
    assert Task(TABLE).truth() is None


def test_a_task_shows_each_of_its_targets() -> None:
    assert "target 'u': 0.5 to 3.5" in repr(Task(TABLE, target=["u", "v"]))
    assert "target 'p': 2 of 4 true" in repr(Task(TABLE, target=["p", "q"]))
    many = Task({f"y{i}": [1.0, 2.0] for i in range(9)}, target=[f"y{i}" for i in range(9)])
    assert "... 4 more targets" in repr(many)


def test_other_targets_make_features_of_the_old_ones() -> None:
    task = Task(TABLE, target=["u", "v"]).with_target(["p", "q"])
    assert (task.kind, task.targets) == ("multilabel", ("p", "q"))
    assert {"u", "v"} <= set(task.features)
    assert Task(task, target="u").kind == "regression"
    assert Task(Task(TABLE, target="u"), kind="quantile").targets == ("u",)


def test_a_renamed_target_is_known_by_its_new_name() -> None:
    task = Task(TABLE, target=["u", "v"]).rename({"v": "w"})
    assert task.targets == task.goal.targets == ("u", "w")


def test_views_and_copies_keep_several_targets() -> None:
    task = Task(TABLE, target=["p", "q"])
    assert task.take([1, 2]).target_codes().tolist() == [[0, 0], [1, 1]]
    again = pickle.loads(pickle.dumps(task))
    assert again.fingerprint == task.fingerprint
    assert task.empty().target_codes().shape == (0, 2)


def test_new_data_may_have_some_targets_or_none() -> None:
    task = Task(TABLE, target=["u", "v"])
    new = {"a": [1.0], "p": [True], "q": [True], "n": [1], "s": ["a"]}
    assert np.isnan(task.like(new).target_codes()).all()
    partly = task.like({**new, "v": [2.0]}).target_codes()
    assert np.isnan(partly[0, 0]) and partly[0, 1] == 2


def test_rows_are_put_below_with_all_targets() -> None:
    task = Task(TABLE, target=["p", "q"])
    assert len(task.concat(TABLE)) == 8
    with pytest.raises(DataError, match="Column 'q' is missing"):
        task.concat({name: values for name, values in TABLE.items() if name != "q"})


def test_new_values_replace_those_of_every_target() -> None:
    task = Task(TABLE, target=["u", "v"])
    assert task.with_target_values(np.ones((4, 2))).target_codes().tolist() == [[1, 1]] * 4
    with pytest.raises(DataError, match="target 'v' are infinite"):
        task.with_target_values([[1.0, np.inf]] * 4)
    with pytest.raises(DataError, match="has no quantities"):
        Task(TABLE, target=["p", "q"]).with_target_values(np.ones((4, 2)))


@pytest.mark.parametrize(
    "y", [np.array([[1.0, 2.0]] * 4), pd.DataFrame({"u": [1.0] * 4, "v": [2.0] * 4})]
)
def test_y_of_a_pair_may_have_several_columns(y: Any) -> None:
    task = Task((np.zeros((4, 2)), y), target=["u", "v"])
    assert (task.kind, task.features) == ("multitarget", ("x0", "x1"))
    assert task.target_codes().tolist() == [[1, 2]] * 4


def test_columns_of_y_and_targets_have_to_agree() -> None:
    X = np.zeros((4, 2))
    with pytest.raises(DataError, match="y has 3 columns, and 2 targets"):
        Task((X, np.zeros((4, 3))), target=["u", "v"])
    with pytest.raises(DataError, match="y has columns 'p', 'q', the targets are"):
        Task((X, pd.DataFrame({"p": [1.0] * 4, "q": [1.0] * 4})), target=["u", "v"])


def test_validation_rows_are_drawn_without_strata_where_there_are_no_classes() -> None:
    many = {name: list(values) * 10 for name, values in TABLE.items()}
    for target in (["u", "v"], ["p", "q"]):
        train, valid = Task(many, target=target).split(0.25, seed=1)
        assert (len(train), len(valid)) == (30, 10)
    with pytest.raises(DataError, match="validate with has no target"):
        task = Task(TABLE, target=["u", "v"])
        task.split(Task({name: TABLE[name] for name in "apqnsu"}), seed=1)


# Refusals


def test_several_targets_of_unlike_types_need_a_kind() -> None:
    with pytest.raises(DataError, match="targets 'u', 'p' is not clear") as unclear:
        Task(TABLE, target=["u", "p"])
    assert 'kind="multitarget"' in unclear.value.mend


@pytest.mark.parametrize("kind", ["classification", "regression", "quantile", "normal"])
def test_a_kind_with_one_target_refuses_several(kind: str) -> None:
    with pytest.raises(DataError, match=f"kind '{kind}' has one target, not 2") as refused:
        Task(TABLE, target=["u", "v"], kind=kind)
    assert "'multitarget'" in refused.value.mend


@pytest.mark.parametrize(
    ("target", "kind", "text"),
    [
        (["u", "p"], "multilabel", "Target 'u' of type float does not fit multilabel"),
        (["u", "s"], "multitarget", "Target 's' of type string does not fit multitarget"),
        ("s", "quantile", "Target 's' of type string does not fit quantile"),
        ("p", "normal", "Target 'p' of type bool does not fit normal"),
    ],
)
def test_a_target_of_the_wrong_type_is_named(target: Any, kind: str, text: str) -> None:
    with pytest.raises(DataError, match=text):
        Task(TABLE, target=target, kind=kind)


def test_labels_are_true_or_false() -> None:
    with pytest.raises(DataError, match="Label 'n' is neither true nor false in 1 rows") as strange:
        Task({**TABLE, "n": [0, 1, 2, 0]}, target=["p", "n"], kind="multilabel")
    assert "here is a 2" in strange.value.why
    with pytest.raises(DataError, match="No label is true for some rows"):
        Task({"p": [True, True], "q": [False, False]}, target=["p", "q"])


@pytest.mark.parametrize("name", ["u", "v"])
def test_a_missing_value_of_any_target_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"Target '{name}' has 1 missing"):
        Task({**TABLE, name: [1.0, None, 2.0, 3.0]}, target=["u", "v"])
    with pytest.raises(DataError, match=f"Target '{name}' has 1 infinite"):
        Task({**TABLE, name: [1.0, np.inf, 2.0, 3.0]}, target=["u", "v"])


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ([], "list of targets is empty"),
        (["u", "u"], "'u' is named twice"),
        (["u", 3], "not a int"),
        (["u", "w"], "No column is called 'w'"),
    ],
)
def test_names_of_targets_are_checked(target: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        Task(TABLE, target=target)


def test_only_one_kind_is_without_a_target() -> None:
    with pytest.raises(DataError, match="An unsupervised task has no target"):
        Task(TABLE, target=["u", "v"], kind="unsupervised")
    with pytest.raises(DataError, match="kind 'quantile' needs a target"):
        Task(TABLE, kind="quantile")
