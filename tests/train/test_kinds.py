"""Every kind of task from a table to a score: trained, predicted, weighed, and refused."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor
from torch import nn as tnn
from torch.nn import functional as F

from mlgraph import (
    ConfigError,
    DataError,
    Graph,
    Layer,
    Prediction,
    QuantileRegression,
    Task,
    TaskType,
    nn,
    po,
)
from mlgraph.core.value import canonical
from mlgraph.data.spread import Pinball, normal_nll
from mlgraph.data.taskspec import TaskSpec
from mlgraph.tensor.spec import TensorSpec
from mlgraph.train.objective import Loss, default_loss

N = 200
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 2))
NOISE = RANDOM.normal(size=N)
LEVELS = (0.05, 0.5, 0.95)


def labels(**roles: Any) -> Task:
    truths = {"p": X[:, 0] > 0, "q": X[:, 1] > 0.5, "r": X.sum(1) + 0.3 * NOISE > 0}
    return Task({"a": X[:, 0], "b": X[:, 1], **truths}, target=["p", "q", "r"], **roles)


def targets(**roles: Any) -> Task:
    quantities = {"u": X[:, 0] - X[:, 1], "v": 10 + 5 * X[:, 1]}
    return Task({"a": X[:, 0], "b": X[:, 1], **quantities}, target=["u", "v"], **roles)


def spread(kind: Any) -> Task:
    """A quantity whose deviation is 0.5."""
    return Task({"a": X[:, 0], "b": X[:, 1], "y": X[:, 0] + 0.5 * NOISE}, target="y", kind=kind)


TASKS = {
    "multilabel": labels(),
    "multitarget": targets(),
    "quantile": spread(QuantileRegression(levels=LEVELS)),
    "normal": spread("normal"),
}


def graph(epochs: int = 60, **options: Any) -> Graph:
    """A linear network."""
    fast = po("torch_optimizer", "adamw", lr=0.05)
    model = po("torch_model", epochs=epochs, batch_size=50, progress=False, **options)
    return nn("head") >> fast >> model


@pytest.fixture(scope="module", params=TASKS)
def learned(request: pytest.FixtureRequest) -> tuple[Task, Prediction]:
    task = TASKS[request.param]
    return task, graph().fit(task, seed=1).predict(task)


def test_the_kind_decides_output_loss_and_shape_of_the_prediction(learned):
    task, found = learned
    sizes = {"multilabel": 3, "multitarget": 2, "quantile": 3, "normal": 2}
    assert TaskSpec.of(task).output_size == sizes[task.kind]
    assert len(found) == len(found.response) == N
    assert found.truth is not None and found.truth.shape == found.response.shape
    assert found.to_arrow().num_rows == N
    again = pickle.loads(pickle.dumps(found))
    assert again.score() == found.score()


def test_labels_are_learned_and_scored_as_scikit_learn_does():
    task = TASKS["multilabel"]
    found = graph().fit(task, seed=1).predict(task)
    assert found.response.dtype == bool
    assert np.array_equal(found.response, found.prob > 0.5)
    scored = found.score(["hamming_loss", "f1_macro", "f1_micro", "roc_auc", "subset_accuracy"])
    assert scored == {
        "hamming_loss": metrics.hamming_loss(found.truth, found.response),
        "f1_macro": metrics.f1_score(found.truth, found.response, average="macro"),
        "f1_micro": metrics.f1_score(found.truth, found.response, average="micro"),
        "roc_auc": metrics.roc_auc_score(found.truth, found.prob, average="macro"),
        "subset_accuracy": metrics.accuracy_score(found.truth, found.response),
    }
    assert found.score() == scored["hamming_loss"] < 0.1
    assert found.to_arrow().column_names[:4] == ["row_id", "truth.p", "truth.q", "truth.r"]


def test_labels_may_be_zeros_and_ones():
    plain = labels()
    table = {name: plain.column(name) for name in "ab"}
    ones = {name: plain.column(name).to_numpy().astype(int) for name in "pqr"}
    task = Task({**table, **ones}, target=["p", "q", "r"], kind="multilabel")
    assert np.array_equal(task.target_codes(), plain.target_codes())


def test_several_targets_are_learned_and_their_scores_averaged():
    task = TASKS["multitarget"]
    found = (po("scale") >> graph(150)).fit(task, seed=1).predict(task)
    assert (found.response.dtype, found.response.shape) == (np.float64, (N, 2))
    scored = found.score(["rmse", "mae", "r2"])
    assert scored["r2"] == metrics.r2_score(found.truth, found.response) > 0.9
    assert scored["rmse"] == metrics.root_mean_squared_error(found.truth, found.response)
    assert scored["mae"] == metrics.mean_absolute_error(found.truth, found.response)


def test_quantiles_cover_what_their_levels_say_and_do_not_cross():
    task = TASKS["quantile"]
    found = graph(150).fit(task, seed=1).predict(task)
    assert list(found.quantiles) == list(LEVELS)
    assert np.array_equal(found.response, found.quantiles[0.5])
    assert (found.quantiles[0.05] <= found.quantiles[0.5]).all()
    assert (found.quantiles[0.5] <= found.quantiles[0.95]).all()
    assert found.score("coverage") == pytest.approx(0.9, abs=0.06)
    each = [metrics.mean_pinball_loss(found.truth, q, alpha=a) for a, q in found.quantiles.items()]
    assert found.score() == found.score("pinball") == pytest.approx(np.mean(each))
    assert found.score("rmse") == pytest.approx(0.5, abs=0.1)


def test_crossing_outputs_are_sorted():
    kind = QuantileRegression(levels=(0.2, 0.8))
    task = Task({"x": [0.0], "y": [1.0]}, target="y", kind=kind)
    found = kind.predict(torch.tensor([[3.0, 1.0]]), task.goal, task)
    assert {level: values.tolist() for level, values in found.quantiles.items()} == {
        0.2: [1.0],
        0.8: [3.0],
    }


def test_a_normal_distribution_finds_mean_and_deviation():
    task = TASKS["normal"]
    found = graph(150).fit(task, seed=1).predict(task)
    assert found.se.mean() == pytest.approx(0.5, abs=0.07)
    assert found.score("rmse") == pytest.approx(0.5, abs=0.07)
    dist = torch.distributions.Normal(torch.tensor(found.response), torch.tensor(found.se))
    expected = -dist.log_prob(torch.tensor(found.truth)).mean()
    assert found.score() == found.score("nll") == pytest.approx(float(expected))
    assert found.score("crps") == pytest.approx(_crps_by_draws(found), rel=0.05)


def _crps_by_draws(found: Prediction) -> float:
    """E|X - y| - E|X - X'| / 2."""
    draws = np.random.default_rng(1).normal(size=(2, 2000, N)) * found.se + found.response
    near = np.abs(draws[0] - found.truth).mean()
    return float(near - np.abs(draws[0] - draws[1]).mean() / 2)


def test_the_losses_are_those_of_the_papers_and_have_a_value_per_row():
    output, target = torch.randn(5, 2), torch.randn(5, 1)
    sigma = output[:, 1].exp()
    expected = -torch.distributions.Normal(output[:, 0], sigma).log_prob(target[:, 0])
    assert torch.allclose(normal_nll(output, target), expected)
    levels = (0.1, 0.7)
    pinball = [
        metrics.mean_pinball_loss(target[i], output[i, j : j + 1], alpha=levels[j])
        for i in range(5)
        for j in range(2)
    ]
    wanted = torch.tensor(pinball).float().reshape(5, 2).mean(1)
    assert torch.allclose(Pinball(levels)(output, target), wanted)


@pytest.mark.parametrize("kind", TASKS)
def test_the_loss_of_every_kind_is_a_mean_of_rows_with_weights(kind):
    task = TASKS[kind]
    spec = TaskSpec.of(task)
    objective = default_loss(spec).build(spec)
    output = torch.randn(N, spec.output_size)
    target = spec.type.encode(task, spec)
    rows = objective.per_row(output, target)
    assert rows.shape == (N,)
    assert torch.allclose(objective(output, target), rows.mean())
    weights = torch.rand(N)
    expected = (rows * weights).sum() / weights.sum()
    assert torch.allclose(objective.weighted(output, target, weights), expected)


@pytest.mark.parametrize("kind", TASKS)
def test_rows_of_weight_zero_change_nothing(kind):
    task, whole = TASKS[kind].take(range(60)), {"shuffle": False, "batch_size": 100}
    half = np.arange(60) < 30
    model = graph(3).with_params(**{f"torch_model__{name}": v for name, v in whole.items()})
    weighed = model.fit(task.with_weight(half.astype(float)), seed=1).predict(task)
    alone = model.fit(task.take(range(30)), seed=1).predict(task)
    np.testing.assert_allclose(weighed.response, alone.response, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", TASKS)
def test_validation_scores_and_early_stopping_work_for_every_kind(kind):
    task = TASKS[kind]
    usual = task.goal.type.metrics
    fitted = graph(4, metrics=usual, patience=2).fit(task, valid=0.25, seed=1)
    assert {"valid_loss", f"valid_{usual[0]}"} <= set(fitted.history.column_names)


@pytest.mark.parametrize("kind", TASKS)
def test_a_kind_is_a_value_in_task_and_descriptor(kind):
    task = TASKS[kind]
    again = pickle.loads(pickle.dumps(task))
    assert again.goal == task.goal and hash(again.goal) == hash(task.goal)
    assert again.fingerprint == task.fingerprint
    spec = TaskSpec.of(task)
    assert canonical(pickle.loads(pickle.dumps(spec))) == canonical(spec)
    fitted = graph(1).fit(task, seed=1)
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.predict(task).response, fitted.predict(task).response)


def test_options_of_the_kind_are_part_of_the_network():
    one, other = (spread(QuantileRegression(levels=levels)) for levels in ((0.1, 0.9), (0.2, 0.8)))
    described = [nn("head").as_graph().fit(task).outputs["head.output"] for task in (one, other)]
    assert described[0] != described[1]
    assert one.fingerprint != other.fingerprint
    same = nn("head").as_graph().fit(spread(QuantileRegression(levels=[0.1, 0.9])))
    assert same.outputs["head.output"] == described[0]


@pytest.mark.parametrize("kind", TASKS)
def test_new_data_need_no_target(kind):
    task = TASKS[kind]
    fitted = graph(1).fit(task, seed=1)
    found = fitted.predict({"a": [0.0, 1.0], "b": [1.0, 2.0]})
    assert found.truth is None and len(found) == 2
    with pytest.raises(DataError, match="no truth"):
        found.score()
    assert len(fitted.predict(task.take([])).response) == 0


@pytest.mark.parametrize("kind", TASKS)
def test_predictions_of_folds_are_put_together(kind):
    task = TASKS[kind]
    fitted = graph(1).fit(task, seed=1)
    parts = [fitted.predict(task.take(range(90))), fitted.predict(task.take(range(90, N)))]
    whole, joined = fitted.predict(task), Prediction.concat(parts)
    np.testing.assert_allclose(joined.response, whole.response, rtol=1e-6)
    assert joined.score() == pytest.approx(whole.score())


# Ensembles


class _Members(tnn.Module):
    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.linear = tnn.Linear(features, 3 * size)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (3, -1))


class MembersOfAnyKind(Layer):
    ensemble = True

    def build(self, x: TensorSpec, *, task: TaskSpec) -> tnn.Module:
        return _Members(x.size(-1), task.output_size)


@pytest.mark.parametrize("kind", TASKS)
def test_ensembles_of_every_kind_train_and_predict(kind):
    task = TASKS[kind]
    model = nn("members_of_any_kind") >> po("torch_model", epochs=2, progress=False)
    fitted = model.fit(task, valid=0.2, seed=1)
    assert np.isfinite(fitted.predict(task).response.astype(float)).all()


def test_a_mixture_of_normals_has_the_variance_of_both_parts():
    output = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]])
    mean, log_sigma = TaskSpec("normal").type.combine(output)[0]
    assert mean == 1 and torch.allclose((2 * log_sigma).exp(), torch.tensor(2.0))


def test_members_of_labels_are_averaged_as_probabilities():
    output = torch.tensor([[[-3.0, 1.0], [4.0, 1.0]]])
    found = TaskSpec("multilabel", targets=("p", "q")).type.combine(output)
    assert torch.allclose(found.sigmoid(), output.sigmoid().mean(1))


# Losses and weights that do not fit


def test_a_loss_of_torch_may_be_chosen_where_it_fits():
    model = nn("head") >> po("torch_loss", "huber") >> po("torch_model", epochs=1, progress=False)
    assert len(model.fit(targets(), seed=1).predict(targets())) == N
    margin = po("torch_loss", "multi_label_soft_margin")
    model = nn("head") >> margin >> po("torch_model", epochs=1, progress=False)
    assert len(model.fit(labels(), seed=1).predict(labels())) == N


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("multilabel", "mse"),
        ("multitarget", "cross_entropy"),
        ("quantile", "mse"),
        ("normal", "l1"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(kind, loss):
    with pytest.raises(ConfigError, match="wrong loss for the task") as refused:
        Loss.of(loss).check(TASKS[kind].goal)
    assert f"the task is {kind}" in refused.value.why
    assert repr(default_loss(TASKS[kind].goal).name) in refused.value.mend


def test_a_loss_of_the_users_fits_every_kind():
    def third(output: Tensor, target: Tensor) -> Tensor:
        return (output[:, :1] - target).abs().pow(3).mean(1)

    Loss.of(third).check(TASKS["normal"].goal)


@pytest.mark.parametrize("kind", TASKS)
def test_class_weights_are_refused_where_there_are_no_classes(kind):
    with pytest.raises(ConfigError, match="class_weight does not fit the task"):
        graph(1, class_weight="balanced").fit(TASKS[kind], seed=1)


def test_a_metric_that_does_not_fit_is_refused_before_training():
    with pytest.raises(ConfigError, match="'accuracy' is the wrong metric for the task"):
        graph(1, metrics="accuracy").fit(labels(), seed=1)
    with pytest.raises(ConfigError, match="'max_error' is the wrong metric"):
        graph(1, metrics="max_error").fit(targets(), seed=1)
    with pytest.raises(ConfigError, match="'pinball' is the wrong metric"):
        graph(1, metrics="pinball").fit(TASKS["normal"], seed=1)


def test_an_area_needs_rows_with_and_without_each_label():
    found = Prediction.multilabel([0, 1], [[0.2, 0.1], [0.8, 0.9]], "pq", [[0, 1], [1, 1]])
    with pytest.raises(DataError, match="label 'q' is the same in all rows"):
        found.score("roc_auc")


# A kind of one's own


class Graded(TaskType):
    """Classes in order, by the logits of lying above each but the last (McCullagh, 1980)."""

    accepts = ("category",)
    scores = ("binary", "multiclass")
    metrics = ("accuracy",)
    losses = ()

    def classes_of(self, columns):
        (column,) = columns.values()
        return column.levels

    def output_size(self, goal):
        return len(goal.classes) - 1

    def encode(self, task, goal):
        return torch.from_numpy(task.target_codes())

    def loss(self):
        return ordinal_nll

    def predict(self, output, goal, task):
        prob = shares(output).numpy()
        return Prediction.classification(
            task.row_ids, prob, goal.classes, task.truth(), weights=task.weights()
        )


def shares(output: Tensor) -> Tensor:
    """The first output is the highest logit; the others say how far each is below the last."""
    falls = torch.cat([output[:, :1], -F.softplus(output[:, 1:])], 1)
    above = F.pad(torch.sigmoid(falls.cumsum(1)), (1, 1))
    above[:, 0] = 1.0
    return -above.diff(dim=1)


def ordinal_nll(output: Tensor, target: Tensor) -> Tensor:
    return -shares(output).gather(1, target.unsqueeze(1)).squeeze(1).clamp_min(1e-9).log()


def sizes() -> Task:
    import pandas as pd

    names = ["small", "middle", "large", "huge"]
    codes = np.digitize(X[:, 0] + 0.1 * NOISE, [-0.7, 0.0, 0.7])
    y = pd.Categorical.from_codes(codes, names, ordered=True)
    return Task({"a": X[:, 0], "b": X[:, 1], "y": y}, target="y", kind="graded")


def test_a_kind_of_ones_own_is_trained_predicted_and_scored_by_subclassing():
    task = sizes()
    assert (task.kind, TaskSpec.of(task).output_size) == ("graded", 3)
    model = nn("linear") >> nn("head") >> po("torch_model", epochs=60, progress=False)
    fitted = model.fit(task, valid=0.2, seed=1)
    found = fitted.predict(task)
    assert found.classes == ("small", "middle", "large", "huge")
    np.testing.assert_allclose(found.prob.sum(1), 1.0)
    assert found.score() == found.score("accuracy") > 0.8
    assert fitted.trained().loss.name == "ordinal_nll"
    again = pickle.loads(pickle.dumps(fitted)).predict(task)
    assert np.array_equal(again.response, found.response)


def test_a_kind_of_ones_own_is_stratified_balanced_and_weighed():
    task = sizes()
    train, valid = task.split(0.25, seed=1)
    counts = [np.bincount(part.target_codes(), minlength=4) for part in (train, valid)]
    np.testing.assert_allclose(counts[1] * 3, counts[0], atol=4)
    model = po("classweights") >> nn("head") >> po("torch_model", epochs=1, progress=False)
    assert len(model.fit(task, seed=1).predict(task)) == N


class TwoHeads(TaskType):
    """Mean and logarithm of the deviation, each from a layer of its own."""

    scores = ("regression", "normal")
    metrics = ("rmse", "nll")

    def output_size(self, goal):
        return 2

    def encode(self, task, goal):
        return torch.tensor(task.target_codes()).float()

    def loss(self):
        return two_heads_nll

    def predict(self, output, goal, task):
        mean, log_sigma = output.unbind(1)
        sigma = log_sigma.exp().numpy()
        return Prediction.regression(task.row_ids, mean.numpy(), task.truth(), se=sigma)


def two_heads_nll(output: Tensor, target: Tensor) -> Tensor:
    mean, log_sigma = output.unbind(1)
    return F.gaussian_nll_loss(mean, target, (2 * log_sigma).exp(), reduction="none")


def test_a_regression_with_two_heads_uses_both_in_loss_and_scores():
    task = spread(TwoHeads)
    heads = [nn("linear", 1, id="mu"), nn("linear", 1, id="log_sigma")]
    fast = po("torch_optimizer", "adamw", lr=0.05)
    model = po("torch_model", epochs=80, metrics=["rmse", "nll"], progress=False)
    fitted = (heads >> nn("merge_cat") >> fast >> model).fit(task, valid=0.2, seed=1)
    module = fitted.module()
    assert (module.mu.out_features, module.log_sigma.out_features) == (1, 1)
    found = fitted.predict(task)
    assert found.score() == found.score(["rmse", "nll"])
    assert found.se.mean() == pytest.approx(0.5, abs=0.1)
    assert {"valid_rmse", "valid_nll"} <= set(fitted.history.column_names)


class Nothing(TaskType):
    """Says nothing of use."""

    scores = ("regression",)
    losses = ()

    def output_size(self, goal):
        return 1

    def encode(self, task, goal):
        return torch.zeros(1, 1)

    def loss(self):
        return "mse"

    def predict(self, output, goal, task):
        return output


def test_a_kind_that_breaks_its_promises_is_named():
    task = spread(Nothing)
    with pytest.raises(DataError, match=r"Nothing.encode\(\) did not return a target for each"):
        graph(1).fit(task, seed=1)
    from mlgraph.train.encode import prediction

    with pytest.raises(ConfigError, match=r"Nothing.predict\(\) did not return a Prediction"):
        prediction(torch.zeros(N, 1), task, TaskSpec.of(task))
