"""Layers keep every promise of a layer, for every pattern of unknown sizes: pinned cases.

A layer needs no row here: ``test_every_layer.py`` draws cases for all that there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn as tnn

from mlgraph import ShapeError, Task, nn, po
from mlgraph.catalogue import catalogue
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_inference, check_layer
from mlgraph_nodes.macro import Macro

Row = tuple[Layer, Sequence[TensorSpec]]


def floats(*shape: int) -> TensorSpec:
    return TensorSpec(shape)


def codes(*cardinalities: int, rows: int = 5) -> TensorSpec:
    shape = (rows, len(cardinalities))
    return TensorSpec(shape, torch.int64, cardinalities=cardinalities)


def layer(key: str, *args: object, **params: object) -> Layer:
    node = nn(key, *args, **params)
    assert isinstance(node, Layer)
    return node


class TwoHeads(tnn.Module):
    """Two inputs, two outputs, and weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = tnn.Linear(3, width)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inner(x), x * y


def make_mlp(width: int) -> tnn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)  # its hash is in the name of a test, the same in every process
        return tnn.Sequential(tnn.Linear(3, width), tnn.ReLU())


def half(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    return x.narrow(dim, 0, x.shape[dim] // 2)


def mean_and_max(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.mean(1), x.amax(1)


PLAIN = "elu celu selu relu relu6 gelu leaky_relu prelu rrelu hardshrink softshrink hardsigmoid "
PLAIN += "hardswish hardtanh sigmoid log_sigmoid softsign tanh tanhshrink softplus silu mish "
PLAIN += "softmax log_softmax softmin dropout alpha_dropout identity"

ROWS: list[Row] = [
    *((layer(key), [floats(4, 5)]) for key in PLAIN.split()),
    *((layer(key), [floats(3, 4, 6)]) for key in ("relu", "softmax", "glu", "reglu", "geglu")),
    (layer("relu"), [floats(7)]),
    (layer("gelu", "tanh"), [floats(4, 5)]),
    (layer("prelu", num_parameters=5), [floats(4, 5, 3)]),
    (layer("threshold", 0.5, -1.0), [floats(4, 5)]),
    (layer("softmax", dim=1), [floats(4, 5, 3)]),
    (layer("softmax2d"), [floats(2, 3, 4, 5)]),
    (layer("glu", dim=-2), [floats(3, 6, 8)]),
    (layer("dropout1d"), [floats(2, 3, 4)]),
    (layer("dropout2d"), [floats(2, 3, 4, 5)]),
    (layer("dropout3d"), [floats(2, 3, 4, 5, 2)]),
    (layer("linear", 7), [floats(4, 5)]),
    (layer("linear", 7, bias=False), [floats(4, 2, 5)]),
    (layer("linear"), [floats(4, 5)]),
    (layer("head"), [floats(4, 5)]),
    (layer("head", bias=False), [floats(4, 5)]),
    (layer("batch_norm1d"), [floats(4, 5)]),
    (layer("batch_norm1d", affine=False, momentum=None), [floats(4, 5, 3)]),
    (layer("batch_norm2d", track_running_stats=False), [floats(2, 3, 4, 5)]),
    (layer("batch_norm3d"), [floats(2, 3, 4, 5, 2)]),
    (layer("layer_norm"), [floats(4, 5)]),
    (layer("layer_norm", dims=2, elementwise_affine=False), [floats(4, 5, 3)]),
    (layer("layer_norm", dims=2, bias=False), [floats(4, 5, 3)]),
    (layer("embedding", embedding_dim=6), [codes(3, 5, 2)]),
    (layer("embedding", embedding_dim=6, padding_idx=1), [codes(3, 5)]),
    (layer("embedding", embedding_dim=6, cardinalities=(3, 5)), [TensorSpec((4, 2), torch.int64)]),
    (layer("embedding_cat"), [codes(3, 200, 1)]),
    (layer("embedding_cat", max_dim=2), [codes(3, 7)]),
    *((layer(key), [floats(4, 5), floats(4, 1)]) for key in ("merge_sum", "merge_prod")),
    (layer("merge_sum"), [floats(3, 4), floats(1, 4), floats(3, 4)]),
    (layer("merge_prod"), [floats(3, 4, 2), floats(3, 1, 2)]),
    (layer("merge_cat"), [floats(4, 5), floats(4, 3), floats(4, 1)]),
    (layer("merge_cat", dim=1), [floats(2, 4, 6), floats(2, 3, 6)]),
    (layer("merge_cat"), [floats(4, 5)]),
    (layer("flatten"), [floats(2, 3, 4)]),
    (layer("flatten", 1, -2), [floats(2, 4, 6, 8)]),
    (layer("flatten", start_dim=0), [floats(2, 3)]),
    (layer("unflatten", dim=1, sizes=(2, 3)), [floats(4, 6)]),
    (layer("unflatten", dim=-1, sizes=(2, -1)), [floats(4, 3, 6)]),
    (layer("reshape", (-1, 2, 6)), [floats(4, 3, 4)]),
    (layer("reshape", (2, -1)), [floats(4, 4, 6)]),
    (layer("reshape", lambda old: (old[0], -1)), [floats(4, 3, 4)]),
    (layer("reshape", lambda old: (old[0], old[1], 10)), [floats(4, 3, 2, 5)]),
    (layer("squeeze", dim=(-1, -3)), [floats(4, 1, 5, 1)]),
    (layer("squeeze", dim=1), [floats(4, 5)]),
    (layer("squeeze", dim=0), [floats(1, 3, 5)]),
    (layer("unsqueeze", dim=1), [floats(4, 5)]),
    (layer("unsqueeze", dim=-1), [floats(4, 5)]),
    (layer("permute", (0, 2, 1)), [floats(4, 5, 3)]),
    (layer("permute", (2, 0, -2)), [floats(4, 5, 3)]),
    (layer("transpose", 1, -1), [floats(4, 5, 3)]),
    (layer("fn", torch.sin), [floats(4, 5)]),
    (layer("fn", half), [floats(4, 6)]),
    (layer("fn", half, dim=1), [floats(4, 6, 3)]),
    (layer("fn", lambda x: x[:, :2]), [floats(4, 5)]),
    (layer("fn", torch.atan2, inputs=("y", "x")), [floats(4, 5), floats(4, 5)]),
    (layer("fn", mean_and_max, outputs=("mean", "max")), [floats(4, 5, 3)]),
    (layer("module", tnn.Linear, in_features=5, out_features=2), [floats(4, 5)]),
    (
        layer("module", tnn.Bilinear, in1_features=3, in2_features=4, out_features=5),
        [floats(2, 3), floats(2, 4)],
    ),
    (layer("module", TwoHeads, width=6, outputs=("a", "b")), [floats(2, 3), floats(2, 3)]),
    (layer("module", make_mlp, width=4), [floats(2, 3)]),
    (layer("module", make_mlp(4)), [floats(2, 3)]),
    (layer("module", tnn.BatchNorm1d(3)), [floats(2, 3)]),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]!r} {list(row[1])}"[:90])
def test_a_layer_keeps_its_promises(row: Row) -> None:
    check_layer(row[0], row[1])


@pytest.mark.parametrize("key", PLAIN.split())
def test_a_layer_that_keeps_the_shape_accepts_every_pattern(key: str) -> None:
    assert check_inference(layer(key), (floats(3, 4, 5),)) == 2**3


@st.composite
def random_rows(draw: st.DrawFn) -> Row:
    """A layer with random parameters, and inputs of a random shape that may or may not suit it."""
    key = draw(st.sampled_from(["linear", "glu", "layer_norm", "merge_sum", "merge_cat", "cast"]))
    rank = draw(st.integers(1, 2 if key.startswith("merge") else 4))
    shape = draw(st.lists(st.integers(1, 6), min_size=rank, max_size=rank))
    spec = TensorSpec((draw(st.integers(2, 4)), *shape[1:]))
    others = [TensorSpec([draw(st.sampled_from([1, size])) for size in spec.shape]) for _ in "ab"]
    dim, width = draw(st.integers(-rank, rank - 1)), draw(st.integers(1, 4))
    if key.startswith("merge"):
        return layer(key, **({"dim": dim} if key == "merge_cat" else {})), [spec, *others]
    params: dict[str, dict[str, object]] = {
        "linear": {"out_features": width, "bias": draw(st.booleans())},
        "glu": {"dim": dim},
        "layer_norm": {"dims": width, "elementwise_affine": draw(st.booleans())},
    }
    if key in params:
        return layer(key, **params[key]), [spec]
    dtype = draw(st.sampled_from([torch.int64, torch.float16, torch.bool]))
    return layer("fn", torch.Tensor.to, dtype=dtype), [spec]


@settings(max_examples=40, deadline=None)
@given(row=random_rows(), seed=st.integers(0, 3))
def test_random_parameters_on_random_shapes_are_inferred_or_refused(row: Row, seed: int) -> None:
    try:
        row[0].infer(*row[1])
    except ShapeError:
        return
    check_inference(row[0], tuple(row[1]), seed=seed)


@settings(max_examples=15, deadline=None)
@given(levels=st.lists(st.integers(1, 9), min_size=1, max_size=4), width=st.integers(1, 5))
def test_embeddings_of_random_columns_are_inferred(levels: list[int], width: int) -> None:
    check_layer(layer("embedding", embedding_dim=width), [codes(*levels)])
    check_layer(layer("embedding_cat", max_dim=width), [codes(*levels)])


TRAINED = [*PLAIN.split(), "linear", "batch_norm1d", "layer_norm", "glu", "reglu", "geglu"]


@pytest.mark.parametrize("key", TRAINED)
def test_a_layer_trains_in_a_chain(key: str) -> None:
    draws = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, 12, generator=draws).tolist()
    task = Task({"x": x, "z": z, "y": ["a", "b", "c"] * 4}, target="y")
    graph = nn("linear", 4) >> nn(key) >> nn("head") >> po("torch_model", epochs=1, batch_size=6)
    prob = graph.fit(task, seed=0).predict(task).prob
    assert prob.shape == (12, 3)
    assert (prob.sum(1) > 0.99).all()


def test_what_is_called_nn_is_a_layer_or_unfolds_into_layers() -> None:
    others = {
        offer.node
        for key, offer in catalogue().offers.items()
        if key.startswith("nn_") and not issubclass(offer.node, Layer)
    }
    assert all(issubclass(node, Macro) for node in others)
    block = nn("block", nn("linear"), n_blocks=2)
    assert all(isinstance(node, Layer) for node in block.as_graph().resolved.nodes.values())


def test_every_layer_can_be_asked_for_with_po_too() -> None:
    assert po("nn_relu").as_graph().ids == ("nn_relu",)
    assert nn("relu").as_graph().ids == ("relu",)
