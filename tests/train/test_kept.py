"""What is kept of a run is a copy, and is put back in full."""

import torch
from torch import nn

from mlgraph.data.batch import TensorBatches
from mlgraph.train.kept import Kept, copied
from mlgraph.train.run import Plan, Run


def run():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    data = TensorBatches((torch.randn(8, 2),), torch.randn(8, 1), None, 4)
    adam = torch.optim.AdamW(network.parameters(), lr=0.1)
    return Run(network, nn.MSELoss(), adam, data, Plan(epochs=3), seed=1)


def step(made):
    made.optimizer.zero_grad()
    made.network(made.batches.inputs[0]).pow(2).sum().backward()
    made.optimizer.step()
    made.epoch += 1
    made.history.append({"epoch": made.epoch})
    made.states["one"]["sum"] += 1.0
    made.states["one"]["list"].append(made.epoch)


def content(made):
    return copied(
        {
            "network": made.network.state_dict(),
            "optimizer": made.optimizer.state_dict(),
            "rest": [made.epoch, made.history, made.states],
        }
    )


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def test_a_run_is_put_back_as_it_was_however_often_it_was_kept():
    made, kept = run(), Kept()
    made.states = {"one": {"sum": torch.zeros(()), "list": []}}
    for _ in range(3):
        step(made)
        kept.keep(made)
        before = content(made)
    step(made)
    assert not equal(content(made), before)
    kept.put_back(made)
    assert equal(content(made), before)


def test_a_run_is_put_back_to_its_beginning():
    made, kept = run(), Kept()
    made.states = {"one": {"sum": torch.zeros(()), "list": []}}
    before = content(made)
    kept.keep(made)
    step(made)
    kept.put_back(made)
    assert equal(content(made), before)


def test_a_copy_uses_the_memory_of_the_one_before():
    old = copied({"a": torch.zeros(2), "b": [torch.zeros(1)]})
    place = old["a"].data_ptr()
    new = copied({"a": torch.ones(2), "b": [torch.ones(1)], "c": 3}, old)
    assert new["a"].data_ptr() == place and new["a"].tolist() == [1.0, 1.0]
    assert new["c"] == 3
    other = copied({"a": torch.ones(3)}, new)
    assert other["a"].shape == (3,)
