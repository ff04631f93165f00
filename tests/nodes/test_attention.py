from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn as tnn

from mlgraph import ConfigError, ShapeError, Task, nn
from mlgraph.net.layer import Layer
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.compiled import check_compiled, check_exported
from mlgraph.testing.layer import check_layer

Shape = tuple[int | str, ...]


def attention(heads: int = 2, **params: object) -> Layer:
    layer = nn("multihead_attention", heads, **params)
    assert isinstance(layer, Layer)
    return layer


def bools(*shape: int) -> TensorSpec:
    return TensorSpec(shape, torch.bool)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X = TensorSpec((3, 5, 8))
ROWS = [
    (attention(), [X]),
    (attention(1, need_weights=True), [TensorSpec((3, 5, 7))]),
    (attention(4, bias=False, dropout=0.5), [X]),
    (attention(is_causal=True), [X]),
    (attention(is_causal=True, add_bias_kv=True, add_zero_attn=True), [X]),
    (attention(key_padding_mask=True), [X, bools(3, 5)]),
    (attention(attn_mask=True, key_padding_mask=True), [X, TensorSpec((5, 5)), bools(3, 5)]),
    (attention(is_causal=True, key_padding_mask=True), [X, bools(3, 5)]),
    (attention(mode="cross", need_weights=True), [X, TensorSpec((3, 4, 6))]),
    (attention(mode="cross", attn_mask=True), [X, TensorSpec((3, 4, 8)), bools(3, 5, 4)]),
    (
        attention(mode="general", add_bias_kv=True, need_weights=True, average_weights=False),
        [X, TensorSpec((3, 4, 6)), TensorSpec((3, 4, 2))],
    ),
]


@pytest.mark.parametrize(("layer", "specs"), ROWS, ids=repr)
def test_attention_keeps_its_promises(layer: Layer, specs: list[TensorSpec]) -> None:
    check_layer(layer, specs)


@pytest.mark.parametrize("row", [0, 1, 4, 6, 9], ids=lambda row: repr(ROWS[row][0]))
def test_attention_can_be_compiled_and_exported(row: int) -> None:
    layer, specs = ROWS[row]
    check_compiled(layer, tuple(specs))
    check_exported(layer, tuple(specs))


def weights(*shapes: Shape, **params: object) -> Shape:
    specs = [TensorSpec(shape) for shape in shapes]
    return attention(need_weights=True, **params).infer(*specs, name="it")[1].shape


def test_shapes_of_the_weights() -> None:
    x, key = (3, "time", 8), (3, "s", 6)
    assert weights(x) == (3, "time", "time")
    assert weights(x, average_weights=False) == (3, 2, "time", "time")
    assert weights((3, 5, 8), add_bias_kv=True, add_zero_attn=True) == (3, 5, 7)
    assert weights(x, key, mode="cross") == (3, "time", "s")
    assert weights(x, key, (3, "s", 2), mode="general") == (3, "time", "s")
    grown = weights(x, key, mode="cross", add_bias_kv=True)
    assert grown[:2] == (3, "time") and isinstance(grown[2], str) and grown[2] != "s"


def theirs(module: tnn.Module, **options: object) -> tnn.MultiheadAttention:
    made = tnn.MultiheadAttention(8, 2, batch_first=True, **options)
    made.load_state_dict(module.state_dict())
    return made.train(module.training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True}])
def test_numbers_are_those_of_torch(training: bool, options: dict[str, bool]) -> None:
    ours = attention(need_weights=True, **options).build(X).train(training)
    x = noise(3, 5, 8)
    for got, wanted in zip(ours(x), theirs(ours, **options)(x, x, x), strict=True):
        torch.testing.assert_close(got, wanted)


def test_numbers_of_three_sequences_are_those_of_torch() -> None:
    specs = [TensorSpec((3, 5, 8)), TensorSpec((3, 4, 6)), TensorSpec((3, 4, 2))]
    ours = attention(mode="general", add_zero_attn=True).build(*specs)
    tensors = noise(3, 5, 8), noise(3, 4, 6), noise(3, 4, 2)
    wanted = theirs(ours, kdim=6, vdim=2, add_zero_attn=True)(*tensors)[0]
    torch.testing.assert_close(ours(*tensors), wanted)


def test_in_mode_cross_key_and_value_are_one_sequence() -> None:
    ours = attention(mode="cross").build(X, TensorSpec((3, 4, 6)))
    query, source = noise(3, 5, 8), noise(3, 4, 6)
    wanted = theirs(ours, kdim=6, vdim=6)(query, source, source)[0]
    torch.testing.assert_close(ours(query, source), wanted)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("as_numbers", [True, False])
def test_masks_are_those_of_torch(training: bool, as_numbers: bool) -> None:
    layer = attention(attn_mask=True, key_padding_mask=True)
    ours = layer.build(X, TensorSpec((5, 5)), bools(3, 5)).train(training)
    x, hidden = noise(3, 5, 8), torch.zeros(5, 5, dtype=torch.bool)
    hidden[0, 1:] = True
    padding = torch.tensor([[False] * 4 + [True], [False] * 5, [False, False] + [True] * 3])
    scores = torch.zeros(5, 5).masked_fill(hidden, -torch.inf)
    wanted = theirs(ours)(x, x, x, attn_mask=hidden, key_padding_mask=padding)[0]
    got = ours(x, scores if as_numbers else hidden, padding)
    torch.testing.assert_close(got, wanted)


def test_a_mask_of_each_observation_is_the_same_for_all_heads() -> None:
    ours = attention(attn_mask=True).build(X, bools(3, 5, 5))
    x = noise(3, 5, 8)
    hidden = (noise(3, 5, 5, seed=1) > 0) & ~torch.eye(5, dtype=torch.bool)
    wanted = theirs(ours)(x, x, x, attn_mask=hidden.repeat_interleave(2, 0))[0]
    torch.testing.assert_close(ours(x, hidden), wanted)


def test_what_a_mask_hides_has_no_influence() -> None:
    layer = attention(mode="cross", key_padding_mask=True)
    module = layer.build(X, X, bools(3, 5)).eval()
    query, one, two = noise(3, 5, 8), noise(3, 5, 8, seed=1), noise(3, 5, 8, seed=2)
    padding = torch.tensor([[False, True, False, False, True]]).expand(3, 5)
    mixed = torch.where(padding.unsqueeze(-1), two, one)
    torch.testing.assert_close(module(query, one, padding), module(query, mixed, padding))


CAUSAL = [{}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"need_weights": True}]


@pytest.mark.parametrize("options", CAUSAL)
@pytest.mark.parametrize("training", [True, False])
def test_causal_attention_does_not_see_what_comes_later(
    options: dict[str, bool], training: bool
) -> None:
    module = attention(is_causal=True, **options).build(X).train(training)
    one, two = noise(3, 5, 8), noise(3, 5, 8)
    two[:, -1] = 9.0
    with torch.set_grad_enabled(training):
        first, second = module(one), module(two)
    if "need_weights" in options:
        first, second = first[0], second[0]
    torch.testing.assert_close(first[:, :-1], second[:, :-1])
    assert not torch.allclose(first[:, -1], second[:, -1])


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
def test_is_causal_is_the_mask_that_a_user_would_make(options: dict[str, bool]) -> None:
    causal = attention(is_causal=True, **options).build(X)
    masked = attention(attn_mask=True, **options).build(X, bools(5, 5))
    masked.load_state_dict(causal.state_dict())
    x, mask = noise(3, 5, 8), torch.ones(5, 5, dtype=torch.bool).triu(1)
    torch.testing.assert_close(causal(x), masked(x, mask))


@pytest.mark.parametrize("training", [True, False])
def test_a_sequence_without_positions_gathers_zeros_also_in_prediction(training: bool) -> None:
    module = attention(key_padding_mask=True).build(X, bools(3, 5)).train(training)
    padding = torch.tensor([[True] * 5, [False] * 5, [False] * 5])
    with torch.set_grad_enabled(training):
        out = module(noise(3, 5, 8), padding)
    assert torch.equal(out[0], torch.zeros(5, 8))  # the bias, which starts at 0
    assert out.isfinite().all()


def test_ports_follow_the_parameters() -> None:
    def names(**params: object) -> list[list[str]]:
        return [[port.name for port in ports] for ports in attention(**params).ports()]

    assert names() == [["input"], ["output"]]
    assert names(mode="cross", need_weights=True) == [["query", "key_value"], ["output", "weights"]]
    assert names(mode="general", attn_mask=True, key_padding_mask=True) == [
        ["query", "key", "value", "attn_mask", "key_padding_mask"],
        ["output"],
    ]


@pytest.mark.parametrize(
    ("params", "shapes", "text"),
    [
        ({}, [("batch", "time", 7)], "7 features cannot be divided among 2 heads"),
        ({}, [("batch", "time", "features")], "'features', is needed now"),
        ({}, [("batch", 8)], "input 'input'.*has rank 2"),
        ({"mode": "cross"}, [(3, 5, 8), (3, 8)], "input 'key_value'.*has rank 2"),
        ({"mode": "cross"}, [(3, 5, 8), (3, 5, "f")], "'f', is needed now"),
        ({"mode": "cross"}, [(3, 5, 8), (4, 5, 8)], "different sizes of 'batch'"),
        (
            {"mode": "general"},
            [(3, 5, 8), (3, 4, 8), (3, 5, 8)],
            "4 in dimension 1 of 'key', 5 in dimension 1 of 'value'",
        ),
        ({"mode": "cross"}, [(3, 5, 8)], "2 inputs are needed"),
    ],
)
def test_refused_inputs(params: dict[str, object], shapes: list[Shape], text: str) -> None:
    with pytest.raises(ShapeError, match=r"^it cannot accept") as caught:
        attention(**params).infer(*map(TensorSpec, shapes), name="it")
    caught.match(text)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.bool])
def test_a_sequence_has_numbers_of_the_dtype_of_weights(dtype: torch.dtype) -> None:
    with pytest.raises(ShapeError, match="needed"):
        attention(mode="cross").infer(X, TensorSpec((3, 5, 8), dtype))


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "num_heads"),
        ({"num_heads": 0}, "at least 1"),
        ({"num_heads": 2, "dropout": 1.5}, "from 0 to 1"),
        ({"num_heads": 2, "mode": "selff"}, "Did you mean 'self'"),
        ({"num_heads": 2, "embed_dim": 8}, "no parameter 'embed_dim'"),
        ({"num_heads": 2, "is_causal": True, "attn_mask": True}, "is_causal makes that very mask"),
    ],
)
def test_impossible_parameters(params: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        nn("multihead_attention", **params)


def test_one_head_takes_any_width() -> None:
    assert attention(1).infer(TensorSpec(("batch", "time", 7)))[0].shape == ("batch", "time", 7)


def test_copies_give_the_same() -> None:
    module = attention(is_causal=True, need_weights=True).build(X)
    x = noise(3, 5, 8)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x)[0], module(x)[0])


def test_a_mask_made_in_the_graph_reaches_its_port() -> None:
    sequence = nn("unflatten", dim=1, sizes=(2, 2), id="sequence")
    empty = nn("fn", lambda x: (x == 0).all(-1), id="empty")
    graph = (sequence & empty & attention(key_padding_mask=True, id="attention")).connect(
        "sequence", "attention.input"
    )
    graph = graph.connect("sequence", "empty").connect("empty", "attention.key_padding_mask")
    columns = {name: [1.0, 2.0] for name in "abcd"}
    fitted = graph.fit(Task({**columns, "y": [0.5, 1.5]}, target="y"), seed=0)
    net = network(fitted.outputs["attention.output"])
    alone = net.get_submodule("attention")
    rows = torch.tensor([[1.0, 2.0, 0.0, 0.0]])
    padding = torch.tensor([[False, True]])
    assert torch.equal(net(rows), alone(rows.view(1, 2, 2), padding))
