from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn as tnn
from torch.export import Dim, export
from torch.nn import functional

from mlgraph import ConfigError, ShapeError, Task, chain, nn, po
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.compiled import check_compiled, check_exported
from mlgraph.testing.layer import check_layer

Shape = tuple[int | str, ...]
X, MEMORY = TensorSpec((3, 5, 8)), TensorSpec((3, 4, 8))


def encoder(heads: int = 2, **params: object) -> Layer:
    layer = nn("transformer_encoder_layer", heads, **{"dim_feedforward": 6, **params})
    assert isinstance(layer, Layer)
    return layer


def decoder(heads: int = 2, **params: object) -> Layer:
    layer = nn("transformer_decoder_layer", heads, **{"dim_feedforward": 6, **params})
    assert isinstance(layer, Layer)
    return layer


def bools(*shape: int) -> TensorSpec:
    return TensorSpec(shape, torch.bool)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


ALL = {
    "tgt_mask": True,
    "memory_mask": True,
    "tgt_key_padding_mask": True,
    "memory_key_padding_mask": True,
}
ROWS = [
    (encoder(), [X]),
    (encoder(1, activation="gelu", norm_first=True, is_causal=True), [TensorSpec((3, 5, 7))]),
    (encoder(bias=False, layer_norm_eps=0.1, dropout=0.5), [X]),
    (encoder(src_mask=True, src_key_padding_mask=True), [X, bools(3, 5, 5), bools(3, 5)]),
    (
        encoder(4, activation=functional.silu, is_causal=True, src_key_padding_mask=True),
        [X, bools(3, 5)],
    ),
    (decoder(), [X, MEMORY]),
    (decoder(is_causal=True, memory_mask=True), [X, MEMORY, TensorSpec((5, 4))]),
    (decoder(**ALL), [X, MEMORY, bools(5, 5), bools(3, 5, 4), bools(3, 5), bools(3, 4)]),
]


@pytest.mark.parametrize(("layer", "specs"), ROWS, ids=repr)
def test_the_layers_keep_their_promises(layer: Layer, specs: list[TensorSpec]) -> None:
    check_layer(layer, specs)


@pytest.mark.parametrize("row", [0, 3, 6], ids=lambda row: repr(ROWS[row][0]))
def test_the_layers_can_be_compiled_and_exported(row: int) -> None:
    layer, specs = ROWS[row]
    check_compiled(layer, tuple(specs))
    check_exported(layer, tuple(specs))


def test_a_causal_layer_is_exported_for_any_length() -> None:
    module = encoder(is_causal=True).build(X).eval()
    sizes = {0: Dim("batch"), 1: Dim("time")}
    exported = export(module, (noise(3, 5, 8),), dynamic_shapes=(sizes,)).module()
    torch.testing.assert_close(exported(noise(2, 9, 8)), module(noise(2, 9, 8)))


OPTIONS: list[dict[str, Any]] = [
    {},
    {"norm_first": True, "layer_norm_eps": 0.1},
    {"activation": "gelu", "bias": False},
    {"activation": functional.silu},
]


def like(module: tnn.Module, torch_class: type[tnn.Module], **options: object) -> tnn.Module:
    """The layer of torch with the same weights."""
    made = torch_class(8, 2, 6, batch_first=True, **options)
    made.load_state_dict(module.state_dict())
    return made.train(module.training)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("gradients", [True, False])
def test_the_encoder_is_that_of_torch(options: dict[str, Any], gradients: bool) -> None:
    layer = encoder(src_mask=True, src_key_padding_mask=True, **options)
    ours = layer.build(X, bools(5, 5), bools(3, 5)).eval()
    x, mask = noise(3, 5, 8), torch.ones(5, 5, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False] * 5, [False, False] + [True] * 3, [False] * 4 + [True]])
    theirs = like(ours, tnn.TransformerEncoderLayer, **options)
    with torch.set_grad_enabled(gradients):
        wanted = theirs(x, src_mask=mask, src_key_padding_mask=padding)
        torch.testing.assert_close(ours(x, mask, padding), wanted)
        alone = encoder(**options).build(X).eval()
        alone.load_state_dict(ours.state_dict())
        torch.testing.assert_close(alone(x), theirs(x))


@pytest.mark.parametrize("options", OPTIONS)
def test_the_decoder_is_that_of_torch(options: dict[str, Any]) -> None:
    layer = decoder(**ALL, **options)
    ours = layer.build(X, MEMORY, bools(5, 5), bools(5, 4), bools(3, 5), bools(3, 4)).eval()
    x, memory = noise(3, 5, 8), noise(3, 4, 8, seed=1)
    masks = {
        "tgt_mask": torch.ones(5, 5, dtype=torch.bool).triu(1),
        "memory_mask": torch.ones(5, 4, dtype=torch.bool).triu(2),
        "tgt_key_padding_mask": torch.tensor([[False] * 4 + [True]] * 3),
        "memory_key_padding_mask": torch.tensor([[False] * 3 + [True]] * 3),
    }
    wanted = like(ours, tnn.TransformerDecoderLayer, **options)(x, memory, **masks)
    torch.testing.assert_close(ours(x, memory, *masks.values()), wanted)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_a_causal_encoder_does_not_see_what_comes_later(training: bool, padded: bool) -> None:
    specs = [X, bools(3, 5)] if padded else [X]
    layer = encoder(is_causal=True, dropout=0.0, src_key_padding_mask=padded)
    module = layer.build(*specs).train(training)
    masks = [torch.tensor([[False] * 3 + [True, False]] * 3)] if padded else []
    one, two = noise(3, 5, 8), noise(3, 5, 8)
    two[:, -1] = 9.0
    with torch.set_grad_enabled(training):
        first, second = module(one, *masks), module(two, *masks)
    torch.testing.assert_close(first[:, :-1], second[:, :-1])
    assert not torch.allclose(first[:, -1], second[:, -1])


def test_a_causal_decoder_sees_the_whole_memory_and_no_later_input() -> None:
    module = decoder(is_causal=True).build(X, MEMORY).eval()
    one, two, memory = noise(3, 5, 8), noise(3, 5, 8), noise(3, 4, 8, seed=1)
    two[:, -1] = 9.0
    first, second = module(one, memory), module(two, memory)
    torch.testing.assert_close(first[:, :-1], second[:, :-1])
    other = memory.clone()
    other[:, -1] = 9.0
    assert not torch.allclose(module(one, other)[:, 0], first[:, 0])


def test_is_causal_is_the_mask_that_a_user_would_make() -> None:
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    causal, masked = encoder(is_causal=True).build(X), encoder(src_mask=True).build(X, bools(5, 5))
    masked.load_state_dict(causal.state_dict())
    x = noise(3, 5, 8)
    torch.testing.assert_close(causal.eval()(x), masked.eval()(x, mask))


@pytest.mark.parametrize("training", [True, False])
def test_a_sequence_without_positions_is_no_nan(training: bool) -> None:
    padding = torch.tensor([[True] * 5, [False] * 5, [False] * 5])
    one = encoder(src_key_padding_mask=True).build(X, bools(3, 5)).train(training)
    two = decoder(memory_key_padding_mask=True).build(X, X, bools(3, 5)).train(training)
    with torch.set_grad_enabled(training):
        assert one(noise(3, 5, 8), padding).isfinite().all()
        assert two(noise(3, 5, 8), noise(3, 5, 8), padding).isfinite().all()


def test_ports_follow_the_parameters() -> None:
    assert [port.name for port in encoder().ports()[0]] == ["input"]
    several = encoder(src_mask=True, src_key_padding_mask=True).ports()[0]
    assert [port.name for port in several] == ["input", "src_mask", "src_key_padding_mask"]
    assert [port.name for port in decoder(**ALL).ports()[0]] == ["input", "memory", *ALL]


@pytest.mark.parametrize(
    ("layer", "shapes", "text"),
    [
        (encoder(3), [("batch", "time", 8)], "8 features cannot be divided among 3 heads"),
        (encoder(), [("batch", "time", "f")], "'f', is needed now"),
        (encoder(), [("batch", 8)], "has rank 2"),
        (decoder(3), [X.shape, MEMORY.shape], "8 features cannot be divided among 3 heads"),
        (decoder(), [X.shape, (3, 4, 6)], "different sizes of 'features'"),
        (decoder(), [X.shape, (2, 4, 8)], "different sizes of 'batch'"),
        (decoder(), [X.shape, (3, 8)], "input 'memory'.*has rank 2"),
        (decoder(), [X.shape], "2 inputs are needed"),
    ],
)
def test_refused_inputs(layer: Layer, shapes: list[Shape], text: str) -> None:
    with pytest.raises(ShapeError, match=r"^it cannot accept") as caught:
        layer.infer(*map(TensorSpec, shapes), name="it")
    caught.match(text)


def test_the_features_of_one_sequence_are_those_of_the_other() -> None:
    specs = TensorSpec(("batch", "time", "f")), TensorSpec(("batch", 4, 8))
    assert decoder().infer(*specs)[0].shape == ("batch", "time", 8)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "nhead"),
        ({"nhead": 0}, "at least 1"),
        ({"nhead": 2, "dim_feedforward": 0}, "at least 1"),
        ({"nhead": 2, "activation": "rellu"}, "Did you mean 'relu'"),
        ({"nhead": 2, "activation": tnn.SiLU}, "torch.nn.functional.silu"),
        ({"nhead": 2, "activation": tnn.SiLU()}, "torch.nn.functional.silu"),
        ({"nhead": 2, "d_model": 8}, "no parameter 'd_model'"),
    ],
)
@pytest.mark.parametrize("key", ["transformer_encoder_layer", "transformer_decoder_layer"])
def test_impossible_parameters(key: str, params: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        nn(key, **params)


@pytest.mark.parametrize(
    ("key", "mask"),
    [("transformer_encoder_layer", "src_mask"), ("transformer_decoder_layer", "tgt_mask")],
)
def test_a_causal_layer_takes_no_mask(key: str, mask: str) -> None:
    with pytest.raises(ConfigError, match=f"is_causal=True and {mask}=True"):
        nn(key, 2, **{"is_causal": True, mask: True})


def test_copies_give_the_same() -> None:
    module = encoder(is_causal=True, activation=functional.silu).build(X).eval()
    x = noise(3, 5, 8)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), module(x))


def accuracy(*positions: object) -> float:
    """Of telling in which half of a sequence its largest number stands."""
    numbers = noise(64, 4)
    data = {f"x{place}": numbers[:, place].tolist() for place in range(4)}
    halves = ["early" if place < 2 else "late" for place in numbers.argmax(1)]
    task = Task({**data, "y": halves}, target="y")
    graph = chain(
        nn("unsqueeze", -1),
        nn("linear", 16),
        *positions,
        nn("transformer_encoder_layer", 2, dim_feedforward=32, dropout=0.0),
        nn("reduce", "mean", dim=1),
        nn("head"),
        po("torch_model", epochs=60, batch_size=16),
    )
    response = graph.fit(task, seed=1).predict(task).response
    return sum(str(one) == two for one, two in zip(response, halves, strict=True)) / 64


@pytest.mark.parametrize(
    "position", [nn("positional_embedding", 4), nn("positional_encoding")], ids=repr
)
def test_a_transformer_learns_where_something_stands_from_positions_only(position: Layer) -> None:
    assert accuracy(position) > 0.9
    assert accuracy() < 0.8
