"""``@layer``: functions and classes of modules as nodes, in one line."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor
from torch import nn as tnn

from mlgraph import ConfigError, GraphError, Layer, layer, nn
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import UnknownParameterError
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing import check_layer


@layer
def shifted(x: Tensor, *, by: float = 1.0) -> Tensor:
    """Add a number."""
    return x + by


@layer
def weighted_pair(x: Tensor, y: Tensor, weight: float = 0.5) -> Tensor:
    return weight * x + (1 - weight) * y


@layer
def total(*xs: Tensor) -> Tensor:
    return torch.stack(xs).sum(0)


@layer(key="halves", outputs=("left", "right"))
def halves_of_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    left, right = x.chunk(2, dim=-1)
    return left, right


@layer
class LowRank(tnn.Module):
    """An affine map of low rank."""

    def __init__(self, x: TensorSpec, rank: int, task: TaskSpec, bias: bool = True) -> None:
        super().__init__()
        self.down = tnn.Linear(x.size(-1), rank, bias=False)
        self.up = tnn.Linear(rank, task.output_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


@layer
class Crossed(tnn.Module):
    def __init__(self, x: TensorSpec, y: TensorSpec, width: int = 2) -> None:
        super().__init__()
        self.map = tnn.Bilinear(x.size(-1), y.size(-1), width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.map(x, y)


ROWS = [
    (nn("shifted"), [(4, 3)]),
    (nn("shifted", by=2.0), [(4, 3, 2)]),
    (nn("weighted_pair", weight=0.2), [(4, 3), (4, 3)]),
    (nn("total"), [(4, 3), (4, 3), (4, 3)]),
    (nn("halves"), [(4, 6)]),
    (nn("low_rank", rank=2), [(4, 5)]),
    (nn("low_rank", rank=2, bias=False), [(4, 5)]),
    (nn("crossed", width=3), [(4, 5), (4, 2)]),
]


@pytest.mark.parametrize(("node", "shapes"), ROWS, ids=lambda value: repr(value)[:40])
def test_they_keep_the_promises_of_layers(node, shapes):
    check_layer(node, [TensorSpec(shape) for shape in shapes])


def test_what_was_decorated_stays_what_it_was():
    assert torch.equal(shifted(torch.zeros(2), by=3.0), torch.full((2,), 3.0))
    assert isinstance(LowRank, type) and issubclass(LowRank, tnn.Module)
    assert issubclass(shifted.node, Layer) and shifted.node.__doc__ == "Add a number."


def test_keys_are_names_in_snake_case_unless_given():
    assert shifted.node.key == "nn_shifted"
    assert LowRank.node.key == "nn_low_rank"
    assert halves_of_rows.node.key == "nn_halves"


def test_ports_are_the_tensors():
    def names(node):
        return [[port.name for port in side] for side in node.ports()]

    assert names(nn("shifted")) == [["input"], ["output"]]
    assert names(nn("weighted_pair")) == [["x", "y"], ["output"]]
    assert names(nn("halves")) == [["input"], ["left", "right"]]
    assert nn("total").ports()[0][0].variadic


def test_nodes_and_networks_survive_pickling():
    graph = nn("shifted", by=2.0) >> nn("low_rank", rank=1)
    assert pickle.loads(pickle.dumps(graph)) == graph
    module = graph.network(("batch", 3), task=TaskSpec("regression"), seed=1)
    again = pickle.loads(pickle.dumps(module))
    x = torch.randn(2, 3)
    assert torch.equal(again(x), module(x))


def test_parameters_have_the_types_of_their_annotations():
    with pytest.raises(ConfigError, match="by"):
        nn("shifted", by="far")
    with pytest.raises(ConfigError, match="rank"):
        nn("low_rank")
    with pytest.raises(UnknownParameterError, match="Did you mean 'weight'"):
        nn("weighted_pair", weigth=0.1)


@pytest.mark.parametrize("made", [3, int, lambda x=1: x])
def test_what_takes_no_tensor_is_refused(made):
    with pytest.raises(GraphError):
        layer(made)
