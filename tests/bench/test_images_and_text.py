"""The benchmarks of fine-tuning and of tables together with images and text."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import data, finetune, lite0, multimodal
from mlgraph import Task, chain, materialize


@pytest.fixture
def emoji():
    try:
        data.path("efficientnet_lite0")
        return data.emoji()
    except data.NotFetched as error:
        pytest.skip(str(error))


def some(task, n):
    return task.take(np.linspace(0, len(task) - 1, n).astype(int))


def test_the_halves_of_a_digit_come_from_its_two_sides():
    task, towers = multimodal.digits_cut()
    assert len(task) == 1797 and len(task.features) == 1 + 8 + 4
    assert set(towers) | {multimodal.ALL} == set(multimodal.BASELINES["digits"])
    (left,) = materialize(task.lazy("image").take([0]))
    whole = multimodal.digits().to_numpy()[0][0].reshape(8, 8) / 16
    np.testing.assert_allclose(left[0], whole[:, :4])
    rows = [task.column(f"row_{i}")[0].as_py() for i in range(8)]
    np.testing.assert_allclose(rows, whole[:, 4:].mean(1), rtol=1e-6)
    columns = [task.column(f"column_{i}")[0].as_py() for i in range(4)]
    np.testing.assert_allclose(columns, whole[:, 4:].mean(0), rtol=1e-6)


def test_groups_stay_together_and_every_row_is_tested_once():
    groups = np.repeat(np.arange(20), 3)
    columns = {"x": np.arange(60.0), "of": groups.astype(str), "y": ["a", "b", "a"] * 20}
    tested = []
    for train, test in multimodal.splits(Task(columns, target="y", group="of"), 5):
        assert not set(train.column("of").to_pylist()) & set(test.column("of").to_pylist())
        tested += test.column("x").to_pylist()
    assert sorted(tested) == list(range(60))


def test_all_parts_are_compared_on_the_same_folds():
    task, towers = multimodal.digits_cut()
    graphs = multimodal.contestants(towers, epochs=1)
    scores = multimodal.compared(some(task, 80), graphs, folds=2)
    assert set(scores) == {"image", "columns", multimodal.ALL}
    assert all(len(found) == 2 and 0 <= min(found) for found in scores.values())


def test_a_part_that_is_as_good_as_everything_misses_the_target(capsys):
    scores = {("digits", "image"): [0.9, 0.8], ("digits", multimodal.ALL): [0.9, 0.8]}
    assert multimodal._judged(scores) == 1
    assert "MISSED" in capsys.readouterr().out
    scores["digits", multimodal.ALL] = [0.95, 0.8]
    assert multimodal._judged(scores) == 0


@pytest.mark.parametrize("bench", [multimodal, finetune])
def test_the_results_that_are_kept_meet_their_targets(bench, capsys):
    assert bench.main(["--show"]) == 0
    assert "met" in capsys.readouterr().out


def test_emoji_become_features_and_no_name_or_number_is_lost(emoji):
    task = some(emoji, 6)
    made = multimodal.with_features(task, size=32)
    assert made.features == task.features
    found = materialize(made.lazy("image"), stacked=True)
    assert found.shape == (6, 1280) and found.std(0).max() > 0
    assert torch.equal(found, materialize(made.lazy("image"), stacked=True))


def test_a_body_has_no_head_and_a_network_has_the_body_of_the_file(emoji):
    body, network = (
        chain(lite0.layer(classes, pretrained=True)).network(("batch", 3, 32, 32), seed=1)
        for classes in (None, 4)
    )
    known = dict(body.named_parameters())
    there = dict(network.named_parameters())
    assert set(there) - set(known) == {"lite0._fc.weight", "lite0._fc.bias"}
    assert all(torch.equal(known[name], there[name]) for name in known)


@pytest.mark.slow
def test_two_curves_are_one_until_the_body_is_unfrozen(emoji):
    task = some(emoji, 60)
    graphs = finetune.contestants(epochs=3, unfreeze=3, classes=len(task.classes), size=32)
    tuned, frozen, scratch = finetune.measured(task, graphs).values()
    assert tuned[:2] == frozen[:2]
    assert len(tuned) == len(frozen) == len(scratch) == 3
