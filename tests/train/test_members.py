"""Networks that are ensembles: every member learns, and their probabilities are averaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch import nn as tnn

from mlgraph import Layer, ShapeError, Task, nn, po
from mlgraph.data.taskspec import TaskSpec
from mlgraph.tensor.spec import TensorSpec
from mlgraph.train.lossfn import ObjectiveFn
from mlgraph.train.members import OfMembers, combined


class _Heads(tnn.Module):
    def __init__(self, features: int, members: int, size: int) -> None:
        super().__init__()
        self.members = members
        self.linear = tnn.Linear(features, members * size)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (self.members, -1))


class MemberHeads(Layer):
    """Independent heads, for the tests."""

    ensemble = True
    members: int = 3

    def build(self, x: TensorSpec, *, task: TaskSpec) -> tnn.Module:
        return _Heads(x.size(-1), self.members, task.output_size)


SPECS = {
    "binary": TaskSpec("classification", ("no", "yes"), "yes"),
    "flipped": TaskSpec("classification", ("no", "yes"), "no"),
    "multiclass": TaskSpec("classification", ("a", "b", "c")),
}


def task_of(kind: str) -> Task:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2))
    if kind == "regression":
        return Task({"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] - x[:, 1]}, target="y")
    names = np.array(["u", "v", "w"])[: 2 if kind == "binary" else 3]
    y = names[np.digitize(x[:, 0], [0.0, 0.8][: len(names) - 1])]
    return Task({"a": x[:, 0], "b": x[:, 1], "y": y}, target="y")


@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
def test_an_ensemble_trains_and_predicts_the_mean_of_its_members(kind):
    task = task_of(kind)
    graph = nn("member_heads") >> po("torch_model", epochs=3, progress=False)
    fitted = graph.fit(task, seed=1)
    output = fitted.module()(torch.from_numpy(_features(task))).double()
    found = fitted.predict(task)
    if kind == "regression":
        np.testing.assert_allclose(found.response, output.mean(1)[:, 0].detach(), rtol=1e-6)
        return
    each = output.softmax(2) if kind == "multiclass" else output.sigmoid()
    prob = each.mean(1).detach().numpy()
    expected = prob if kind == "multiclass" else np.hstack([1 - prob, prob])
    np.testing.assert_allclose(found.prob, expected, rtol=1e-6)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_mean_is_one_of_probabilities_and_not_of_logits(spec):
    size = spec.output_size
    logits = torch.tensor([[-3.0] * size, [4.0] + [0.0] * (size - 1)]).double().unsqueeze(0)
    found = combined(logits, spec)
    probability = torch.sigmoid if size == 1 else lambda x: torch.softmax(x, -1)
    assert torch.allclose(probability(found), probability(logits).mean(1))
    assert not torch.allclose(probability(found), probability(logits.mean(1)), atol=1e-3)


def test_members_that_are_sure_keep_finite_logits():
    found = combined(torch.tensor([[[60.0], [60.0]], [[-60.0], [-60.0]]]), SPECS["binary"])
    assert torch.allclose(found, torch.tensor([[60.0], [-60.0]]))


def test_the_loss_is_the_mean_over_the_members_with_weights_of_rows():
    loss = OfMembers(ObjectiveFn(tnn.MSELoss(), tnn.MSELoss(reduction="none")))
    output, target = torch.randn(4, 3, 1), torch.randn(4, 1)
    squares = (output - target.unsqueeze(1)).square()
    assert torch.allclose(loss(output, target), squares.mean())
    assert torch.allclose(loss.per_row(output, target), squares.mean((1, 2)))
    weights = torch.tensor([1.0, 0.0, 2.0, 1.0])
    expected = (squares.mean((1, 2)) * weights).sum() / weights.sum()
    assert torch.allclose(loss.weighted(output, target, weights), expected)


@pytest.mark.parametrize("kind", ["regression", "multiclass"])
def test_weights_and_validation_work_for_an_ensemble(kind):
    task = task_of(kind).with_weight(np.linspace(0.5, 1.5, 60))
    options = {"epochs": 2, "progress": False, "patience": 1}
    fitted = (nn("member_heads") >> po("torch_model", **options)).fit(task, valid=0.25, seed=1)
    assert all(np.isfinite(fitted.history["valid_loss"].to_numpy()))


def test_no_rows_are_predicted_without_the_network():
    task = task_of("multiclass")
    fitted = (nn("member_heads") >> po("torch_model", epochs=1, progress=False)).fit(task, seed=1)
    assert fitted.predict(task.take([])).prob.shape == (0, 3)


def test_three_dimensions_of_another_layer_are_still_refused():
    graph = nn("unsqueeze", dim=1) >> nn("linear") >> po("torch_model", epochs=1, progress=False)
    with pytest.raises(ShapeError, match="puts out"):
        graph.fit(task_of("regression"), seed=1)


def _features(task: Task) -> np.ndarray:
    columns = [task.column(name).to_numpy() for name in ("a", "b")]
    return np.stack(columns, axis=1).astype(np.float32)
