from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, DataError
from mlgraph_nodes.sample import ClassBalancing, ClassWeights, Subsample


def task(counts: dict[str, int], levels=None, **more) -> Task:
    words = [label for label, count in counts.items() for _ in range(count)]
    levels = levels or sorted(counts)
    codes = pa.array([levels.index(word) for word in words], pa.int32())
    target = pa.DictionaryArray.from_arrays(codes, pa.array(levels))
    return Task({"x": np.arange(len(words)), "y": target, **more}, target="y")


def rows(node, data, seed=1):
    graph = node.as_graph()
    return graph.fit(data, seed=seed).outputs[graph.outputs[0]]


def counts(data: Task) -> dict[str, int]:
    found = np.bincount(data.target_codes(), minlength=len(data.classes))
    return {str(label): int(n) for label, n in zip(data.classes, found, strict=True)}


@pytest.mark.parametrize(("frac", "count"), [(0.5, 5), (0.51, 6), (0.3, 3), (0.0, 0), (1.0, 10)])
def test_the_share_is_rounded_up(frac, count):
    found = rows(Subsample(frac=frac), Task({"x": np.arange(10)}))
    assert len(found) == count
    assert found.row_ids.tolist() == sorted(set(found.row_ids.tolist()))


def test_a_tenth_of_thirty_rows_is_three():
    assert len(rows(Subsample(frac=0.1), Task({"x": np.arange(30)}))) == 3


def test_more_rows_than_there_are_need_replacement():
    with pytest.raises(ConfigError, match="more rows"):
        Subsample(frac=1.5)
    assert len(rows(Subsample(frac=1.5, replace=True), Task({"x": np.arange(10)}))) == 15


def test_every_class_keeps_its_share():
    found = rows(Subsample(frac=0.5, stratify=True), task({"a": 10, "b": 3}))
    assert counts(found) == {"a": 5, "b": 2}


def test_classes_are_needed_to_stratify():
    with pytest.raises(DataError, match="needs classes"):
        rows(Subsample(stratify=True), Task({"x": [1.0, 2.0], "y": [1.0, 2.0]}, target="y"))


def test_groups_stay_whole():
    groups = np.repeat(np.arange(10), 4)
    data = Task({"x": np.arange(40), "g": groups}, group="g")
    found = rows(Subsample(frac=0.5), data)
    taken = np.bincount(np.asarray(found.column("g")), minlength=10)
    assert set(taken.tolist()) == {0, 4}
    assert len(found) == 20


def test_groups_can_be_ignored_but_not_invented():
    groups = np.repeat(np.arange(2), 20)
    data = Task({"x": np.arange(40), "g": groups}, group="g")
    assert len(rows(Subsample(frac=0.25, use_groups=False), data)) == 10
    with pytest.raises(DataError, match="no groups"):
        rows(Subsample(use_groups=True), Task({"x": [1, 2]}))


def test_stratifying_is_fine_without_groups_and_refused_with_them():
    with pytest.raises(ConfigError):
        Subsample(stratify=True, use_groups=True)
    data = task({"a": 2, "b": 2}, g=[1, 1, 2, 2]).with_roles(group="g")
    with pytest.raises(DataError, match="stratify"):
        rows(Subsample(stratify=True), data)


def test_groups_can_be_drawn_with_replacement():
    data = Task({"x": np.arange(40), "g": np.repeat(np.arange(10), 4)}, group="g")
    found = rows(Subsample(frac=2.0, replace=True), data)
    assert len(found) == 80


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, {"a": 5, "b": 5, "c": 5}),  # mean of 9, 4 and 2
        ({"reference": "major"}, {"a": 9, "b": 9, "c": 9}),
        ({"reference": "minor"}, {"a": 2, "b": 2, "c": 2}),
        ({"reference": "nonmajor"}, {"a": 3, "b": 3, "c": 3}),
        ({"reference": "nonminor"}, {"a": 6, "b": 6, "c": 6}),  # 6.5, half to even
        ({"reference": "one", "ratio": 7}, {"a": 7, "b": 7, "c": 7}),
        ({"adjust": "upsample"}, {"a": 9, "b": 5, "c": 5}),
        ({"adjust": "downsample"}, {"a": 5, "b": 4, "c": 2}),
        ({"adjust": "major"}, {"a": 5, "b": 4, "c": 2}),
        ({"adjust": "minor", "reference": "major"}, {"a": 9, "b": 4, "c": 9}),
        ({"adjust": "nonminor"}, {"a": 5, "b": 5, "c": 2}),
        ({"ratio": 2.0}, {"a": 10, "b": 10, "c": 10}),
    ],
)
def test_classes_are_balanced_to_the_target_count(options, wanted):
    assert counts(rows(ClassBalancing(**options), task({"a": 9, "b": 4, "c": 2}))) == wanted


def test_rows_are_repeated_equally_often():
    found = rows(ClassBalancing(reference="major"), task({"a": 10, "b": 4}))
    repeats = np.bincount(found.row_ids)[10:]
    assert sorted(repeats.tolist()) == [2, 2, 3, 3]


def test_classes_without_rows_do_not_count():
    data = task({"a": 6, "b": 2}, levels=["a", "none", "b"])
    found = rows(ClassBalancing(reference="minor"), data)
    assert counts(found) == {"a": 2, "none": 0, "b": 2}


def test_without_shuffling_additions_follow_the_larger_class_first():
    data = task({"c": 1, "a": 4, "b": 2})
    found = rows(ClassBalancing(reference="major", shuffle=False), data)
    assert found.row_ids[:7].tolist() == [*range(7)]
    labels = np.array(found.classes)[found.target_codes()[7:]].tolist()
    assert labels == ["b", "b", "c", "c", "c"]


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        ("balanced", [8 / 12, 8 / 4]),
        ("inverse_class_frequency", [8 / 6, 8 / 2]),
        ("inverse_square_root_of_frequency", [(8 / 6) ** 0.5, 2.0]),
        ("median_frequency_balancing", [4 / 6, 4 / 2]),
    ],
)
def test_weights_follow_the_class_counts(method, weights):
    found = rows(ClassWeights(method=method), task({"a": 6, "b": 2}))
    np.testing.assert_allclose(found.weights(), [weights[0]] * 6 + [weights[1]] * 2)
    assert found.features == ("x",)


def test_balanced_weights_agree_with_scikit_learn_if_a_class_has_no_rows():
    from sklearn.utils.class_weight import compute_sample_weight

    data = task({"a": 6, "b": 2}, levels=["a", "none", "b"])
    found = rows(ClassWeights(), data).weights()
    np.testing.assert_allclose(found, compute_sample_weight("balanced", data.target_codes()))


def test_explicit_weights_go_by_name_not_by_order():
    data = task({"a": 1, "b": 1}, levels=["b", "a"])
    assert rows(ClassWeights(weights={"a": 1, "b": 5}), data).weights().tolist() == [1.0, 5.0]


def test_weights_must_name_every_class():
    with pytest.raises(DataError, match="do not fit the classes") as caught:
        rows(ClassWeights(weights={"a": 1, "bb": 5}), task({"a": 1, "b": 1}))
    assert "'b'" in caught.value.why
    with pytest.raises(ConfigError, match="weights"):
        ClassWeights(method="explicit")
    with pytest.raises(ConfigError, match="-1"):
        ClassWeights(weights={"a": -1})


def test_new_data_get_no_weights():
    data = task({"a": 2, "b": 2})
    assert ClassWeights().as_graph().fit(data).predict(data).weights() is None
