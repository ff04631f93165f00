from __future__ import annotations

import pytest
import torch

from mlgraph import ShapeError, Task, nn, po
from mlgraph.net.layer import Layer
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_layer

CODES = TensorSpec((5, 2), torch.int64, cardinalities=(3, 5))


def one_hot(**params: object) -> Layer:
    node = nn("one_hot", **params)
    assert isinstance(node, Layer)
    return node


@pytest.mark.parametrize(
    ("node", "spec"),
    [
        (one_hot(), CODES),
        (one_hot(drop_last=True), CODES),
        (one_hot(drop_last=True), TensorSpec((4, 3), torch.int64, cardinalities=(1, 2, 1))),
        (one_hot(cardinalities=(2, 2)), TensorSpec((4, 2), torch.int64)),
    ],
    ids=repr,
)
def test_one_hot_keeps_the_promises_of_layers(node: Layer, spec: TensorSpec) -> None:
    check_layer(node, [spec])


def test_levels_become_zeros_and_ones_as_in_torch() -> None:
    codes = torch.tensor([[0, 4], [2, 0], [1, 3]])
    wanted = [torch.nn.functional.one_hot(codes[:, i], levels) for i, levels in enumerate((3, 5))]
    out = one_hot().build(CODES)(codes)
    assert out.dtype == torch.float32
    assert torch.equal(out, torch.cat(wanted, dim=1).float())


def test_without_the_last_level_its_rows_are_zeros() -> None:
    full, short = one_hot().build(CODES), one_hot(drop_last=True).build(CODES)
    codes = torch.tensor([[0, 4], [2, 0]])
    assert torch.equal(short(codes), full(codes)[:, [0, 1, 3, 4, 5, 6]])


def test_indicators_are_no_state() -> None:
    assert one_hot().build(CODES).state_dict() == {}


def test_a_level_not_seen_in_fit_is_all_zeros() -> None:
    task = Task({"a": ["u", "v"], "b": [True, False], "y": [1.0, 2.0]}, target="y")
    graph = po("ingress_categ", unknown="slot") >> nn("one_hot", drop_last=True)
    descriptor = graph.fit(task, seed=0).outputs["one_hot.output"]
    token = descriptor.tokens["ingress_categ"]
    codes = token.tensor(task.like({"a": ["new", "v"], "b": [True, True]}))
    assert network(descriptor)(codes).tolist() == [[0, 0, 0, 1], [0, 1, 0, 1]]


@pytest.mark.parametrize(
    ("spec", "params", "message"),
    [
        (TensorSpec(("batch", 2)), {}, "codes are needed"),
        (TensorSpec(("batch", 2), torch.int64), {}, "levels of each column"),
        (CODES, {"cardinalities": (2,)}, "1 cardinalities do not fit 2 columns"),
        (
            TensorSpec(("batch", 1), torch.int64, cardinalities=(1,)),
            {"drop_last": True},
            "without the last level",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_refused(
    spec: TensorSpec, params: dict[str, object], message: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        one_hot(**params).infer(spec)
    assert message in str(caught.value)
