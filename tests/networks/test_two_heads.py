"""One network with two heads: how heavy is a penguin, and how sure is that?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch import nn as tnn
from torch.nn import functional

from mlgraph import Task, nn, po
from mlgraph.datasets import penguins
from mlgraph.tensor.spec import TensorSpec

TRUNK = nn("linear", 24) >> nn("tanh")
HEADS = TRUNK >> [nn("linear", 1, id="mean"), nn("linear", 1, id="log_sigma")]
JOINED = HEADS >> nn("merge_cat")
MEASURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm")


class Heads(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = tnn.Linear(3, 24)
        self.mean, self.log_sigma = tnn.Linear(24, 1), tnn.Linear(24, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.linear(x).tanh()
        return self.mean(x), self.log_sigma(x)


class Joined(Heads):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(super().forward(x), dim=1)


def _loss(outputs: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    mean, log_sigma = outputs
    return functional.gaussian_nll_loss(mean, target, (2 * log_sigma).exp(), full=True)


@pytest.fixture(scope="module")
def masses() -> Task:
    """Three measures of penguins, and their body mass in kg."""
    frame = penguins().to_pandas()[[*MEASURES, "body_mass_g"]].dropna()
    columns = {name: frame[name].to_numpy(dtype=float) for name in MEASURES}
    kilograms = frame["body_mass_g"].to_numpy(dtype=float) / 1000
    return Task({**columns, "mass": kilograms}, target="mass", kind="normal")


def _tensors(task: Task) -> tuple[Tensor, Tensor]:
    values, mass = task.to_numpy()
    x = (values - values.mean(0)) / values.std(0)
    return torch.from_numpy(x).float(), torch.from_numpy(mass).float().unsqueeze(1)


def test_two_outputs_are_those_of_the_module_written_by_hand(check_same, masses):
    network = HEADS.network(("batch", 3), seed=1)
    x, _ = _tensors(masses)
    assert isinstance(network(x), tuple)
    check_same(network, Heads, x)


def test_so_are_they_as_one_tensor(check_same, masses):
    check_same(JOINED.network(("batch", 3), seed=1), Joined, _tensors(masses)[0])


def test_the_shapes_are_known_but_for_the_batch(shapes):
    spec = TensorSpec(("batch", 3))
    assert shapes(HEADS, {"linear.input": spec}) == [(None, 1), (None, 1)]
    assert shapes(JOINED, {"linear.input": spec}) == [(None, 2)]


def test_it_learns_from_tensors(train, masses):
    x, mass = _tensors(masses)
    network = HEADS.network(("batch", 3), seed=1)
    losses = train(network, _loss, [((x,), mass)] * 150, lr=2e-2)
    assert losses[0] > 3
    assert losses[-1] < 0.2 * losses[0]


def test_it_learns_from_a_table(masses):
    model = po("torch_model", epochs=30, progress=False)
    fitted = (po("scale") >> JOINED >> model).fit(masses, seed=1)
    losses = fitted.history["train_loss"].to_pylist()
    assert losses[-1] < 0.5 * losses[0]
    prediction = fitted.predict(masses)
    errors = prediction.response - masses.to_numpy()[1]
    spread = math.sqrt(np.mean(errors**2))
    assert spread < 0.45  # the standard deviation of the masses is 0.80
    assert 0.7 * spread < np.mean(prediction.se) < 1.4 * spread
    assert prediction.score("nll") == pytest.approx(losses[-1], abs=0.1)


def test_the_trained_heads_give_the_prediction(masses):
    model = po("torch_model", epochs=2, progress=False)
    fitted = (po("scale") >> JOINED >> model).fit(masses, seed=1)
    by_hand = Heads()
    by_hand.load_state_dict(fitted.module().state_dict())
    mean, log_sigma = by_hand(_tensors(masses)[0])
    prediction = fitted.predict(masses)
    np.testing.assert_allclose(prediction.response, mean.detach().squeeze(1), rtol=1e-4)
    np.testing.assert_allclose(prediction.se, log_sigma.exp().detach().squeeze(1), rtol=1e-4)
