"""Metrics on training data: of the outputs as they come, or of a pass of their own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn as tnn

from mlgraph import ConfigError, Task, callback, nn, po, recipe, sampler
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.metric import metric


def task(n=50, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 2))
    y = np.where(x.sum(1) + 0.5 * x[:, 0] ** 2 > 0.3, "yes", "no")
    return Task({"a": x[:, 0], "b": x[:, 1], "y": y}, target="y")


def graph(*callbacks, body=nn("linear", 4), **options):
    given = {"epochs": 3, "batch_size": 8, "progress": False, **options}
    return (
        body
        >> nn("dropout")
        >> nn("head")
        >> po("torch_callbacks", list(callbacks))
        >> po("torch_model", **given)
    )


def test_running_scores_are_those_of_the_outputs_of_the_steps():
    """The loss is the mean of the same outputs, so the metric of it must be the loss."""
    for options in ({}, {"shuffle": False}, {"accumulate": 3}, {"drop_last": True}):
        history = graph(metrics_train="log_loss", **options).fit(task(), seed=1).history
        loss, score = history["train_loss"].to_pylist(), history["train_log_loss"].to_pylist()
        assert score == pytest.approx(loss, rel=1e-6)


def test_running_scores_go_with_the_rows_that_were_drawn():
    chosen = sampler("weighted", frac=1.7)
    fitted = graph(metrics_train="log_loss", sampler=chosen).fit(task(), seed=1)
    row = fitted.history.to_pylist()[-1]
    assert row["train_log_loss"] == pytest.approx(row["train_loss"], rel=1e-6)


def test_weights_of_rows_count_in_them():
    weights = np.random.default_rng(1).uniform(0, 2, size=50)
    weights[::7] = 0.0
    options = {"metrics_train": "log_loss", "batch_size": 50}
    fitted = graph(**options).fit(task().with_weight(weights), seed=1)
    row = fitted.history.to_pylist()[-1]
    assert row["train_log_loss"] == pytest.approx(row["train_loss"], rel=1e-6)


def test_clean_scores_are_those_of_predictions_for_the_training_data():
    fitted = graph(metrics_train=["accuracy", "log_loss"], metrics_train_from="clean").fit(
        task(), seed=1
    )
    row = fitted.history.to_pylist()[-1]
    scores = fitted.predict(task()).score(["accuracy", "log_loss"])
    assert row["train_accuracy"] == scores["accuracy"]
    assert row["train_log_loss"] == pytest.approx(scores["log_loss"], rel=1e-6)
    running = graph(metrics_train="log_loss").fit(task(), seed=1).history["train_log_loss"]
    assert running.to_pylist()[-1] != row["train_log_loss"]


@pytest.mark.parametrize("source", ["running", "clean"])
def test_they_change_nothing_that_is_learned(source):
    plain = graph().fit(task(), valid=0.2, seed=1)
    scored = graph(metrics_train="accuracy", metrics_train_from=source).fit(
        task(), valid=0.2, seed=1
    )
    for name, tensor in plain.trained().tensors.items():
        assert torch.equal(tensor, scored.trained().tensors[name])
    assert scored.history.column_names == ["epoch", "train_loss", "train_accuracy", "valid_loss"]


@pytest.mark.parametrize("source", ["running", "clean"])
def test_they_come_in_epochs_that_are_evaluated(source):
    options = {"metrics_train": "accuracy", "metrics_train_from": source, "eval_freq": 2}
    history = graph(**options, epochs=5).fit(task(), seed=1).history
    there = [value is not None for value in history["train_accuracy"].to_pylist()]
    assert there == [False, True, False, True, True]


def test_an_epoch_that_is_ended_within_is_scored_by_what_it_saw():
    stop = Functions(on_batch_end=lambda run: run.stop_now("enough") if run.step == 3 else None)
    history = graph(stop, metrics_train="log_loss", eval_freq=9).fit(task(), seed=1).history
    row = history.to_pylist()[0]
    assert row["train_log_loss"] == pytest.approx(row["train_loss"], rel=1e-6)


def test_nothing_is_noted_where_nobody_asks():
    noted = []
    watch = Functions(on_epoch_end=lambda run: noted.append(run.outputs.count))
    graph(watch).fit(task(), seed=1)
    graph(watch, metrics_train="accuracy", metrics_train_from="clean").fit(task(), seed=1)
    assert noted == [0] * 6
    graph(watch, metrics_train="accuracy").fit(task(), seed=1)
    assert noted[6:] == [50] * 3


def test_members_of_an_ensemble_are_scored_together():
    made = recipe("tabm", task(), epochs=2)
    made = made.with_params(
        torch_model__progress=False,
        torch_model__metrics_train="accuracy",
        torch_model__metrics_train_from="clean",
    )
    fitted = made.fit(task(), seed=1)
    found = fitted.history["train_accuracy"].to_pylist()[-1]
    assert found == fitted.predict(task()).score("accuracy")


# What fails


class Broken(tnn.Module):
    def __init__(self):
        super().__init__()
        self.inner = tnn.Linear(2, 4)

    def forward(self, x):
        return self.inner(x) if self.training else self.inner(x) * torch.nan


def test_outputs_that_are_no_numbers_score_nan():
    options = {"metrics_train": "accuracy", "metrics_train_from": "clean"}
    history = graph(body=nn("module", Broken), **options).fit(task(), seed=1).history
    assert all(math.isnan(value) for value in history["train_accuracy"].to_pylist())


@pytest.mark.parametrize("where", ["metrics", "metrics_train"])
def test_a_metric_that_fails_is_nan_and_the_training_goes_on(where):
    def fails(truth, response):
        raise ZeroDivisionError("no way")

    with pytest.warns(UserWarning, match="'fails' failed, and is NaN: ZeroDivisionError: no way"):
        fitted = graph(**{where: fails}).fit(task(), valid=0.2, seed=1)
    values = fitted.history[f"{'train' if where == 'metrics_train' else 'valid'}_fails"]
    assert len(values) == 3 and all(math.isnan(value) for value in values.to_pylist())


def test_a_metric_of_another_kind_is_refused():
    for act in (graph(metrics_train="rmse").fit, graph(metrics_train="rmse").check):
        with pytest.raises(ConfigError, match="wrong metric"):
            act(task())


# Watched


def test_early_stopping_may_watch_them():
    options = {"metrics_train": "accuracy", "monitor": "train_accuracy", "patience": 1}
    for given in ({"valid": 0.2}, {}):
        fitted = graph(**options, min_delta=2.0, epochs=9).fit(task(), seed=1, **given)
        assert fitted.trained().epochs == 2
        assert "train_accuracy did not improve" in fitted.trained().stopped


def test_without_validation_data_the_best_weights_come_back_too():
    options = {"metrics_train": "log_loss", "metrics_train_from": "clean", "epochs": 6}
    options |= {"monitor": "train_log_loss", "patience": 6}
    worse = callback("lr_lambda", lr_lambda=lambda epoch: -1.0 if epoch >= 2 else 1.0)
    fitted = graph(worse, **options).fit(task(), seed=1)
    losses = fitted.history["train_log_loss"].to_pylist()
    best = fitted.trained().best_epoch
    assert 0 < best < 6 and losses[best - 1] == min(losses)
    assert fitted.predict(task()).score("log_loss") == pytest.approx(min(losses), rel=1e-6)


def test_a_direction_nobody_knows_is_asked_for():
    def mine(truth, response):
        return 0.5

    options = {"monitor": "train_mine", "patience": 1}
    with pytest.raises(ConfigError, match="high or low"):
        graph(metrics_train=mine, **options).fit(task(), seed=1)
    up = metric(mine, greater_is_better=True)
    assert graph(metrics_train=up, **options).fit(task(), seed=1).trained().epochs == 2


def test_a_score_nobody_asked_for_cannot_be_watched():
    with pytest.raises(ConfigError, match="no score 'train_accuracy'"):
        graph(monitor="train_accuracy", patience=1).fit(task(), seed=1)
