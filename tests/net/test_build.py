"""``graph.network``: a plain module from layers, without data."""

from __future__ import annotations

import pytest
import torch
from torch import nn as tnn

from mlgraph import ConfigError, GraphError, ShapeError, Task, nn, po
from mlgraph.data.taskspec import TaskSpec
from mlgraph.net.network import n_parameters
from mlgraph.tensor.spec import TensorSpec

MLP = nn("linear", 8) >> nn("relu") >> nn("linear", 2)


def test_layers_become_a_module_named_by_their_ids():
    module = MLP.network(("batch", 4), seed=1)
    assert list(module.state_dict()) == [
        "linear.weight",
        "linear.bias",
        "linear_2.weight",
        "linear_2.bias",
    ]
    x = torch.randn(5, 4)
    expected = tnn.Sequential(module.linear, tnn.ReLU(), module.linear_2)(x)
    assert torch.equal(module(x), expected)


def test_weights_depend_on_the_seed_only():
    def weight(seed: int | None) -> torch.Tensor:
        return MLP.network(("batch", 4), seed=seed).linear.weight

    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(weight(1), weight(1))
    assert not torch.equal(weight(None), weight(None))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("spec", [("rows", 4), TensorSpec(("batch", 4)), torch.zeros(7, 4)])
def test_a_shape_a_spec_or_an_example_will_do(spec):
    assert MLP.network(spec)(torch.zeros(3, 4)).shape == (3, 2)


def test_several_inputs_are_arguments_in_the_order_they_are_given():
    graph = {"left": nn("linear", 3), "right": nn("linear", 3)} >> nn("merge_sum")
    module = graph.network({"right_linear": ("batch", 2), "left_linear.input": ("batch", 5)})
    assert module(torch.zeros(1, 2), torch.zeros(1, 5)).shape == (1, 3)
    named = module(left_linear_input=torch.zeros(1, 5), right_linear_input=torch.zeros(1, 2))
    assert named.shape == (1, 3)


def test_one_shape_for_several_inputs_is_one_argument():
    graph = [nn("linear", 3), nn("linear", 3)] >> nn("merge_sum")
    assert graph.network(("batch", 2))(torch.zeros(4, 2)).shape == (4, 3)


def test_several_outputs_come_as_a_tuple_of_one_pass():
    graph = nn("linear", 8, id="trunk") >> [nn("linear", 1, id="mean"), nn("linear", 2, id="rest")]
    mean, rest = graph.network(("batch", 4))(torch.zeros(3, 4))
    assert mean.shape == (3, 1) and rest.shape == (3, 2)


def test_the_task_tells_the_size_of_the_head():
    graph = nn("linear", 8) >> nn("head")
    task = Task({"x": [1.0, 2.0, 3.0], "y": ["a", "b", "c"]}, target="y")
    assert graph.network(("batch", 4), task=task)(torch.zeros(2, 4)).shape == (2, 3)
    spec = TaskSpec("classification", ("a", "b", "c"))
    assert graph.network(("batch", 4), task=spec)(torch.zeros(2, 4)).shape == (2, 3)
    with pytest.raises(ConfigError, match="target"):
        graph.network(("batch", 4))


def test_macros_and_paths_of_a_branch_are_unfolded():
    graph = nn("block", nn("linear", 4) >> nn("relu"), n_blocks=2) >> nn("linear", 1)
    assert list(graph.network(("batch", 3)).state_dict())[:2] == [
        "block.0.linear.weight",
        "block.0.linear.bias",
    ]


@pytest.mark.parametrize(
    ("graph", "specs", "kind", "text"),
    [
        (MLP, ("batch", "features"), ShapeError, "linear"),
        (MLP, 4, ShapeError, "no shape"),
        (MLP, {}, ShapeError, "not given"),
        (MLP, {"relu": ("batch", 4)}, GraphError, "not one free input"),
        (MLP >> po("torch_model"), ("batch", 4), GraphError, "layers only"),
        (po("scale") >> nn("linear", 2), ("batch", 4), GraphError, "scale"),
    ],
)
def test_what_is_no_network_is_refused(graph, specs, kind, text):
    with pytest.raises(kind, match=text):
        graph.network(specs)


def test_it_cannot_be_fed_by_a_task():
    (descriptor,) = MLP.fit(
        inputs={"linear.input": _described(("batch", 4))}, seed=1
    ).outputs.values()
    with pytest.raises(ConfigError, match="argument of a network"):
        descriptor.tokens["input"].tensor(Task({"x": [1.0]}))


def test_forty_gigabytes_of_weights_are_described_without_allocating_them():
    graph = nn("block", nn("linear", 100_000), n_blocks=1).as_graph()
    module = graph.network(("batch", 100_000), device="meta")
    assert n_parameters(module) * 4 > 40e9
    assert all(weight.is_meta for weight in module.parameters())
    assert module(torch.zeros(2, 100_000, device="meta")).shape == (2, 100_000)


def test_a_thousand_layers_are_described_on_the_meta_device():
    graph = nn("block", nn("linear", 64) >> nn("relu"), n_blocks=500).as_graph()
    module = graph.network(("batch", 64), device="meta")
    assert len(list(module.named_parameters())) == 1000
    assert all(weight.is_meta for weight in module.parameters())


def _described(shape):
    from mlgraph.net.build import Argument, _described

    return _described(Argument("input", (), TensorSpec(shape)), TaskSpec("unsupervised"))


def test_shapes_are_shown_without_data():
    checked = MLP.shapes(("batch", "time", 4))
    assert "(batch, time, 8) float32" in str(checked)
    assert "(batch, time, 8)" in checked._repr_html_()
    with pytest.raises(ShapeError, match="linear"):
        MLP.shapes(("batch", "features"))
    with pytest.raises(GraphError, match="layers only"):
        (MLP >> po("torch_model")).shapes(("batch", 4))
