from __future__ import annotations

import functools

import pytest
import torch
from torch import nn as tnn

from mlgraph import ConfigError, ShapeError, Task, nn
from mlgraph.errors import UnknownParameterError
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec

X = TensorSpec(("batch", 4))
TASK = Task({"x": [1.0, 2.0], "z": [3.0, 4.0], "y": [0.5, 1.5]}, target="y")


def powered(x: torch.Tensor, exponent: float, *, scale: float = 1.0) -> torch.Tensor:
    return scale * x**exponent


def shapes(layer: object, *shapes: tuple[int | str, ...]) -> list[tuple[int | str, ...]]:
    return [spec.shape for spec in layer.infer(*map(TensorSpec, shapes), name="it")]


def test_any_function_of_a_tensor_is_a_layer() -> None:
    assert shapes(nn("fn", torch.sin), ("batch", 4)) == [("batch", 4)]
    assert shapes(nn("fn", lambda x: x[:, :2]), ("batch", 4)) == [("batch", 2)]
    assert shapes(nn("fn", torch.Tensor.float), ("batch", 4)) == [("batch", 4)]
    assert shapes(nn("fn", functools.partial(torch.sum, dim=1)), ("batch", 4)) == [("batch",)]


def test_further_arguments_are_parameters() -> None:
    layer = nn("fn", powered, exponent=2, scale=3.0)
    assert layer.build(X)(torch.tensor([2.0])).tolist() == [12.0]
    assert layer.parameters()["scale"] == 3.0
    assert repr(layer) == 'nn("fn", fn=powered, exponent=2, scale=3.0)'


def test_a_parameter_can_be_changed_in_a_graph() -> None:
    graph = nn("fn", powered, exponent=2).as_graph().with_params(fn__exponent=3, fn__scale=2.0)
    assert graph["fn"].build(X)(torch.tensor([2.0])).tolist() == [16.0]


def test_several_tensors_come_in_by_the_names_they_are_given() -> None:
    layer = nn("fn", torch.atan2, inputs=("y", "x"))
    assert [port.name for port in layer.ports()[0]] == ["y", "x"]
    start = nn("identity", id="start")
    paths = start >> [nn("fn", torch.sin), nn("fn", torch.cos)] >> layer
    net = network(paths.fit(TASK, seed=0).outputs["fn_3.output"])
    x = torch.tensor([[0.5, -1.0]])
    assert torch.equal(net(x), torch.atan2(x.sin(), x.cos()))


def test_several_results_come_out_by_the_names_they_are_given() -> None:
    layer = nn("fn", lambda x: (x[:, :1], x[:, 1:]), outputs=("first", "rest"), id="cut")
    assert shapes(layer, ("batch", 4)) == [("batch", 1), ("batch", 3)]
    graph = layer >> [nn("identity"), nn("identity")] >> nn("merge_cat")
    net = network(graph.fit(TASK, seed=0).outputs["merge_cat.output"])
    assert net(torch.tensor([[1.0, 2.0]])).tolist() == [[1.0, 2.0]]


def test_as_many_results_as_names_are_needed() -> None:
    with pytest.raises(ShapeError, match="returns 2 tensors, not 1"):
        nn("fn", lambda x: (x, x)).infer(X)


def test_the_functions_own_words_survive() -> None:
    def boom(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("boom")

    with pytest.raises(ShapeError, match="boom"):
        nn("fn", boom).infer(X)


def test_a_result_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(ShapeError, match="must return tensors"):
        nn("fn", lambda x: 3).infer(X)


def test_an_unknown_argument_is_refused_with_a_near_one() -> None:
    with pytest.raises(UnknownParameterError, match="Did you mean 'exponent'") as caught:
        nn("fn", powered, exponnent=2, id="power")
    assert caught.value.where == "node 'power'"


def test_a_tensor_cannot_be_given_as_a_parameter() -> None:
    with pytest.raises(UnknownParameterError, match="'x'"):
        nn("fn", powered, exponent=2, x=3)


def test_a_missing_argument_is_refused() -> None:
    with pytest.raises(ConfigError, match="'exponent'") as caught:
        nn("fn", powered)
    assert "inputs=" in caught.value.mend


def test_a_function_that_says_nothing_of_its_arguments_is_taken_on_trust() -> None:
    assert shapes(nn("fn", torch.sum, dim=1), ("batch", 4)) == [("batch",)]


@pytest.mark.parametrize("module", [tnn.ReLU, tnn.ReLU()])
def test_a_module_is_refused_and_its_node_named(module: object) -> None:
    with pytest.raises(ConfigError, match="ReLU") as caught:
        nn("fn", module)
    assert 'nn("module"' in caught.value.mend


@pytest.mark.parametrize(
    "params",
    [
        {"fn": 3},
        {"fn": torch.sin, "inputs": ()},
        {"fn": torch.sin, "inputs": ("a", "a")},
        {"fn": torch.sin, "inputs": ("a b",)},
        {"fn": torch.sin, "outputs": ("1st",)},
        {"fn": torch.sin, "outputs": 2},
    ],
)
def test_impossible_parameters_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r'nn\("fn"\)'):
        nn("fn", **params)


def test_other_code_or_other_captured_values_make_another_layer() -> None:
    def times(number: int) -> object:
        return nn("fn", lambda x: x * number)

    assert times(2) == times(2)
    assert times(2) != times(3)
    assert nn("fn", lambda x: x + 1) != nn("fn", lambda x: x - 1)
