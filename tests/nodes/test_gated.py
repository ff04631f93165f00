from __future__ import annotations

import pytest
import torch
from torch import nn as tnn

from mlgraph import ShapeError, nn
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec


def made(key: str, **params: object) -> Layer:
    node = nn(key, **params)
    assert isinstance(node, Layer)
    return node


def test_gated_units_are_a_half_times_a_function_of_the_other() -> None:
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    value, gate = x[:, :4], x[:, 4:]
    spec = TensorSpec(("batch", 8))
    assert torch.equal(made("reglu").build(spec)(x), value * gate.relu())
    assert torch.equal(made("geglu").build(spec)(x), value * tnn.functional.gelu(gate))


@pytest.mark.parametrize("key", ["glu", "reglu", "geglu"])
def test_a_gated_unit_refuses_odd_sizes_while_the_network_is_described(key: str) -> None:
    with pytest.raises(ShapeError, match="divisible by 2"):
        made(key).infer(TensorSpec(("batch", 11)))


@pytest.mark.parametrize("key", ["glu", "reglu", "geglu"])
def test_a_gated_unit_refuses_to_split_the_batch(key: str) -> None:
    with pytest.raises(ShapeError, match="the batch cannot be split"):
        made(key).infer(TensorSpec(("batch",)))


@pytest.mark.parametrize("key", ["reglu", "geglu"])
def test_a_gated_unit_refuses_odd_sizes_when_it_runs_too(key: str) -> None:
    module = made(key).build(TensorSpec(("batch", "features")))
    with pytest.raises(ValueError, match="not divisible by 2"):
        module(torch.zeros(2, 5))


def test_glu_halves_the_dimension_it_is_given() -> None:
    assert made("glu", dim=-2).infer(TensorSpec(("batch", 6, 8)))[0].shape == ("batch", 3, 8)


def test_glu_of_an_unknown_size_is_an_unknown_size() -> None:
    shape = made("glu").infer(TensorSpec(("batch", "features")), name="gate")[0].shape
    assert shape == ("batch", "gate_1")
