from __future__ import annotations

import pytest
import rtdl_revisiting_models as rtdl
import torch

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_layer

ROWS = TensorSpec((5, 6))


def block(**params: object) -> Layer:
    node = nn("tab_resnet_block", **params)
    assert isinstance(node, Layer)
    return node


@pytest.mark.parametrize(
    ("node", "spec"),
    [
        (block(), ROWS),
        (block(d_hidden=3, dropout1=0.5, dropout2=1.0), ROWS),
        (block(d_hidden_multiplier=0.5), ROWS),
        (block(), TensorSpec((2, 1))),
    ],
    ids=repr,
)
def test_the_block_keeps_the_promises_of_layers(node: Layer, spec: TensorSpec) -> None:
    check_layer(node, [spec])


@pytest.mark.parametrize("training", [False, True])
def test_the_block_is_that_of_the_paper(training: bool) -> None:
    ours = block(dropout1=0.0).build(ROWS).train(training)
    theirs = rtdl.ResNet(
        d_in=1,
        d_out=None,
        n_blocks=1,
        d_block=6,
        d_hidden_multiplier=2.0,
        dropout1=0.0,
        dropout2=0.0,
    )
    theirs.blocks[0].load_state_dict(ours.state_dict())
    theirs.train(training)
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), x + theirs.blocks[0](x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("params", "hidden"),
    [({}, 12), ({"d_hidden": 5}, 5), ({"d_hidden_multiplier": 1.3}, 7)],
)
def test_the_width_inside_is_a_number_or_a_multiple(params: dict[str, object], hidden: int) -> None:
    assert block(**params).build(ROWS).linear1.out_features == hidden


def test_dropouts_are_where_they_should_be() -> None:
    module = block(dropout1=0.3, dropout2=0.6).build(ROWS)
    assert (module.dropout1.p, module.dropout2.p) == (0.3, 0.6)
    gone = block(dropout2=1.0).build(ROWS).train()
    x = torch.ones(4, 6)
    assert torch.equal(gone(x), x)


def test_the_width_is_given_once() -> None:
    with pytest.raises(ConfigError, match="given twice") as caught:
        block(d_hidden=4, d_hidden_multiplier=2.0)
    assert "d_hidden=4 and d_hidden_multiplier=2.0" in caught.value.why


@pytest.mark.parametrize(
    ("spec", "params", "message"),
    [
        (TensorSpec(("batch", 3, 4)), {}, "2 dimensions is needed"),
        (TensorSpec(("batch", "features")), {}, "'features', is needed now"),
        (TensorSpec(("batch", 3), torch.int64), {}, "floating-point numbers are needed"),
        (ROWS, {"d_hidden_multiplier": 0.1}, "hidden width would be 0"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(
    spec: TensorSpec, params: dict[str, object], message: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        block(**params).infer(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "params", [{"d_hidden": 0}, {"dropout1": 1.5}, {"dropout2": -1}, {"d_hidden_multiplier": -1}]
)
def test_impossible_parameters_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="tab_resnet_block"):
        block(**params)
