"""Weights that several nodes use."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from mlgraph import ConfigError, GraphError, Task, nn, po, sel
from mlgraph.net.network import n_parameters

TOWER = nn("shared", nn("linear", 3) >> nn("relu"), name="tower")
TWO = {"left": TOWER, "right": TOWER} >> nn("merge_cat")
SPECS = {"left_shared": ("batch", 4), "right_shared": ("batch", 4)}


def test_towers_of_one_name_have_one_set_of_weights():
    module = TWO.network(SPECS, seed=1)
    assert list(module.state_dict()) == ["tower.linear.weight", "tower.linear.bias"]
    x, y = torch.randn(2, 5, 4)
    tower = module.tower.linear
    expected = torch.cat([torch.relu(tower(x)), torch.relu(tower(y))], dim=1)
    assert torch.equal(module(x, y), expected)


def test_gradients_of_all_uses_add_up():
    module = TWO.network(SPECS, seed=1)
    x, y = torch.randn(2, 5, 4)
    (both,) = torch.autograd.grad(module(x, y).sum(), [module.tower.linear.weight])
    single = nn("linear", 3) >> nn("relu")
    alone = single.network(("batch", 4))
    alone.load_state_dict({k.removeprefix("tower."): v for k, v in module.state_dict().items()})
    parts = [torch.autograd.grad(alone(z).sum(), [alone.linear.weight])[0] for z in (x, y)]
    assert torch.allclose(both, sum(parts))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_still_share(copied):
    module = copied(TWO.network(SPECS, seed=1))
    assert n_parameters(module) == 15
    assert list(module.state_dict()) == ["tower.linear.weight", "tower.linear.bias"]


def test_shared_towers_are_trained_through_a_task():
    task = Task({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 1.0], "y": [1.0, 2.0, 3.0]}, target="y")
    paths = {
        "left": po("ingress_num", columns=sel.names("a")) >> TOWER,
        "right": po("ingress_num", columns=sel.names("b")) >> TOWER,
    }
    graph = paths >> nn("merge_cat") >> nn("head") >> po("torch_model", epochs=2, progress=False)
    fitted = graph.fit(task, seed=1)
    names = {name.rpartition(".")[0] for name in fitted.module().state_dict()}
    assert names == {"tower.linear", "head"}
    assert fitted.predict(task).response.shape == (3,)


def test_single_layers_can_be_tied():
    graph = nn("tied", nn("linear", 4), name="again") >> nn("relu")
    twice = graph >> nn("tied", nn("linear", 4), name="again")
    assert list(twice.network(("batch", 4)).state_dict()) == ["again.weight", "again.bias"]


def test_blocks_inside_share_as_well():
    tower = nn("shared", nn("block", nn("linear", 4), n_blocks=2), name="tower")
    graph = {"left": tower, "right": tower} >> nn("merge_sum")
    names = list(graph.network(("batch", 4)).state_dict())
    assert names[0] == "tower.block.0.linear.weight" and len(names) == 4


def test_layers_that_differ_cannot_share():
    other = nn("shared", nn("linear", 5) >> nn("relu"), name="tower")
    graph = {"left": TOWER, "right": other} >> nn("merge_cat")
    with pytest.raises(GraphError, match="cannot share"):
        graph.network(SPECS)


def test_inputs_of_other_sizes_cannot_share():
    with pytest.raises(GraphError, match=r"weight \(3, 4\).* weight \(3, 9\)"):
        TWO.network({**SPECS, "right_shared": ("batch", 9)})


def test_a_name_that_a_node_has_is_refused():
    graph = TOWER >> nn("linear", 2, id="tower")
    with pytest.raises(GraphError, match="'tower'"):
        graph.network(("batch", 4))


@pytest.mark.parametrize("name", ["", "1x", "a b", "a..b"])
def test_a_name_has_letters_and_digits(name):
    with pytest.raises(ConfigError, match="name"):
        nn("shared", nn("relu"), name=name)


@pytest.mark.parametrize("layer", [3, po("scale"), nn("tied", nn("relu"), name="x")])
def test_only_layers_can_be_tied(layer):
    with pytest.raises(ConfigError, match="a layer"):
        nn("tied", layer, name="x")
