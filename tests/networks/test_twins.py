"""Two towers of equal weights (Bromley et al., 1993): are two irises of one species?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch import nn as tnn
from torch.nn import functional

from mlgraph import Task, nn, po, sel
from mlgraph.datasets import iris
from mlgraph.net.network import n_parameters
from mlgraph.tensor.spec import TensorSpec

TOWER = nn("shared", nn("linear", 16) >> nn("relu") >> nn("linear", 8), name="tower")
TWINS = {"left": TOWER, "right": TOWER} >> nn("merge_dot")
SPECS = {"left_shared": ("batch", 4), "right_shared": ("batch", 4)}
RENAME = {"tower.0.": "tower.linear.", "tower.2.": "tower.linear_2."}


class Twins(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower = tnn.Sequential(tnn.Linear(4, 16), tnn.ReLU(), tnn.Linear(16, 8))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        made: Tensor = (self.tower(left) * self.tower(right)).sum(1, keepdim=True)
        return made


@pytest.fixture(scope="module")
def pairs() -> Task:
    """Pairs of irises, half of them of one species."""
    measures, species = iris().to_numpy()
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, len(species), (2, 4000))
    alike = species[left] == species[right]
    kept = np.concatenate([np.flatnonzero(alike)[:300], np.flatnonzero(~alike)[:300]])
    columns = {
        f"{side}_{name}": measures[rows[kept], place]
        for side, rows in (("left", left), ("right", right))
        for place, name in enumerate(iris().features)
    }
    return Task({**columns, "alike": alike[kept]}, target="alike", positive=True)


def _sides(task: Task) -> tuple[Tensor, Tensor]:
    values = torch.from_numpy(task.to_numpy()[0]).float()
    left, right = ((values - values.mean(0)) / values.std(0, correction=0)).split(4, dim=1)
    return left, right


def test_it_is_the_module_written_by_hand(check_same, pairs):
    network = TWINS.network(SPECS, seed=1)
    check_same(network, Twins, *_sides(pairs), rename=RENAME)
    assert n_parameters(network) == 4 * 16 + 16 + 16 * 8 + 8


def test_the_shape_is_known_but_for_the_batch(shapes):
    specs = {f"{side}_shared.input": TensorSpec(("batch", 4)) for side in ("left", "right")}
    assert shapes(TWINS, specs) == [(None, 1)]


def test_it_learns_from_tensors(train, pairs):
    network = TWINS.network(SPECS, seed=1)
    alike = torch.from_numpy(pairs.target_codes()).float().unsqueeze(1)
    batches = [(_sides(pairs), alike)] * 60
    losses = train(network, functional.binary_cross_entropy_with_logits, batches, lr=1e-2)
    assert losses[-1] < 0.3 * losses[0]


def test_it_learns_from_a_table(pairs):
    sides = {
        side: po("ingress_num", columns=sel.match(f"^{side}")) >> TOWER
        for side in ("left", "right")
    }
    graph = po("scale") >> sides >> nn("merge_dot") >> po("torch_model", epochs=15, progress=False)
    fitted = graph.fit(pairs, seed=1)
    losses = fitted.history["train_loss"].to_pylist()
    assert losses[-1] < 0.3 * losses[0]
    prediction = fitted.predict(pairs)
    assert prediction.score("accuracy") > 0.9

    twins, left, right = Twins(), *_sides(pairs)
    twins.tower[0].load_state_dict(fitted.module().tower.linear.state_dict())
    twins.tower[2].load_state_dict(fitted.module().tower.linear_2.state_dict())
    assert len(fitted.module().state_dict()) == 4
    expected = twins(left, right).sigmoid().detach().squeeze(1)
    np.testing.assert_allclose(prediction.prob[:, 1], expected, atol=1e-5)
