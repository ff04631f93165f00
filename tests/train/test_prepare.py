"""What is prepared for a run."""

import math

import numpy as np
import pytest
import torch
from torch import nn as tnn

from mlgraph import ConfigError, DataError, MLGraphError, Task, nn, po
from mlgraph.data.taskspec import TaskSpec
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.device import resolve_device, shows_progress
from mlgraph.train.metric import resolve
from mlgraph.train.prepare import check_batches, class_counts, scorer, watched


def task(n=20, **kwargs):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    labels = np.array(["u", "v", "w"])[np.arange(n) % 3]
    return Task({"a": x[:, 0], "b": x[:, 1], "y": labels}, target="y", **kwargs)


def regression(n=20):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    return Task({"a": x[:, 0], "b": x[:, 1], "y": x.sum(1)}, target="y")


def linear(**kwargs):
    return nn("linear") >> po("torch_model", **{"epochs": 2, "progress": False, **kwargs})


# Rows


def test_rows_of_weight_zero_train_nothing_whatever_the_batches():
    weights = np.tile([0.0, 1.0], 10)
    odd = list(range(1, 20, 2))
    for size in (1, 2, 5):
        graph = linear(batch_size=size, class_weight="balanced")
        weighed = graph.fit(task().with_weight(weights), seed=1).trained()
        taken = graph.fit(task().take(odd), seed=1).trained()
        for name, tensor in taken.tensors.items():
            torch.testing.assert_close(weighed.tensors[name], tensor)


def test_without_rows_that_count_there_is_nothing_to_train_on():
    weighed = task().with_weight(np.r_[np.zeros(10), np.ones(10)])
    for empty in (task().empty(), weighed.take(range(10))):
        for act in (linear().fit, linear().check):
            with pytest.raises(DataError, match="no rows to train on"):
                act(empty)


def test_rows_without_a_target_cannot_be_trained_on():
    unknown = task().like({"a": [1.0, 2.0], "b": [1.0, 2.0]})
    for act in (linear().fit, linear().check):
        with pytest.raises(DataError, match="2 rows have no target"):
            act(unknown)


def test_rows_without_a_target_cannot_be_validated_on():
    unknown = task().like({"a": [1.0, 2.0], "b": [1.0, 2.0], "y": ["u", None]})
    for act in (linear().fit, linear().check):
        with pytest.raises(DataError, match="have no target"):
            act(task(), valid=unknown)


def test_class_counts_leave_out_rows_that_do_not_count():
    found = class_counts(task(6).with_weight([1.0, 1, 0, 1, 0, 0]), TaskSpec.of(task()))
    assert found == [2, 1, 0]
    assert class_counts(regression(), TaskSpec.of(regression())) is None


@pytest.mark.parametrize(("rows", "size", "fits"), [(1, 8, False), (9, 1, False), (2, 2, True)])
def test_batches_of_one_row_are_refused_where_there_are_batch_statistics(rows, size, fits):
    check_batches(tnn.LayerNorm(2), rows, size)
    norm = tnn.Sequential(tnn.BatchNorm1d(2))
    if fits:
        check_batches(norm, rows, size)
        return
    with pytest.raises(DataError, match="one row"):
        check_batches(norm, rows, size)


# Scores


def test_outputs_that_are_no_numbers_score_nan():
    score = scorer(resolve(["accuracy", "log_loss"], "classification"), task(), TaskSpec.of(task()))
    output = torch.zeros(20, 3)
    assert all(math.isfinite(value) for value in score(output).values())
    output[3, 1] = torch.nan
    assert list(score(output)) == ["valid_accuracy", "valid_log_loss"]
    assert all(math.isnan(value) for value in score(output).values())


def test_a_network_that_fails_in_validation_is_trained_to_the_end():
    class Evil(tnn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tnn.Linear(2, 3)

        def forward(self, x):
            return self.inner(x) if self.training else self.inner(x) * torch.nan

    graph = nn("module", Evil) >> po("torch_model", epochs=3, metrics="accuracy", progress=False)
    history = graph.fit(task(), valid=0.3, seed=1).history
    assert history.num_rows == 3
    assert all(math.isnan(value) for value in history["valid_accuracy"].to_pylist())


def test_the_first_metric_is_watched_unless_another_is_named():
    metrics = resolve(["accuracy", "log_loss"], "classification")
    assert watched(None, {}) == ("valid_loss", False)
    assert watched(None, metrics) == ("valid_accuracy", True)
    assert watched("log_loss", metrics) == ("valid_log_loss", False)
    assert watched("valid_log_loss", metrics) == ("valid_log_loss", False)
    assert watched("valid_loss", metrics) == ("valid_loss", False)
    assert watched("loss", {}) == ("valid_loss", False)


def test_a_score_that_does_not_exist_cannot_be_watched():
    with pytest.raises(ConfigError, match="acuracy") as caught:
        watched("valid_acuracy", resolve(["accuracy"], "classification"))
    assert "valid_accuracy" in caught.value.mend


# Mistakes


def test_every_mistake_is_found_at_once_by_fit_and_check():
    graph = (
        nn("linear", 5)
        >> po("torch_loss", "mse")
        >> po("torch_model", patience=2, device="warp", class_weight={"u": 1.0}, progress=False)
    )
    for act in (graph.fit, graph.check):
        with pytest.raises(MLGraphError) as caught:
            act(task())
        text = str(caught.value)
        for word in ("puts out", "wrong loss", "patience=2", "'warp'", "class_weight"):
            assert word in text, word
        assert len(caught.value.errors) == 5


def test_a_check_trains_nothing_and_reports_validation_data_too():
    bad = task().like({"a": [1.0, None], "b": [1.0, 2.0], "y": ["u", "v"]})
    with pytest.raises(DataError, match=r"Missing values .*'a'"):
        linear().check(task(), valid=bad)
    linear(use_valid=False).check(task(), valid=bad)


# Callbacks


def test_callbacks_of_the_description_run_before_early_stopping():
    seen = []

    def watch(run):
        seen.append(dict(run.scores))
        run.scores["valid_loss"] = float(run.epoch)

    watching = po("torch_callbacks", {"watch": Functions(on_valid_end=watch)})
    graph = nn("linear") >> watching >> po("torch_model", epochs=50, patience=2, progress=False)
    trained = graph.fit(task(), valid=0.3, seed=1).trained()
    assert len(seen) == trained.epochs == 3
    assert trained.best_epoch == 1
    assert trained.history["valid_loss"].to_pylist() == [1.0, 2.0, 3.0]


# Devices


def test_auto_is_a_device_that_is_there():
    found = torch.zeros(1, device=resolve_device("auto"))
    assert found.is_cuda == torch.cuda.is_available()
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["warp", "cuda:99", "meta", "xla"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ConfigError, match=name) as caught:
        resolve_device(name)
    assert "cpu" in caught.value.why
    assert "auto" in caught.value.mend


@pytest.mark.parametrize("wanted", [True, False])
def test_progress_is_shown_or_not_as_asked(wanted):
    assert shows_progress(wanted) is wanted
