from __future__ import annotations

import copy
import pickle

import pytest
import rtdl_revisiting_models as rtdl
import torch

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked
from mlgraph.testing.layer import check_layer
from mlgraph_nodes.ft_transformer import TokenAttention

TOKENS = TensorSpec((3, 5, 16))


def block(**params: object) -> Layer:
    node = nn("ft_transformer_block", **params)
    assert isinstance(node, Layer)
    return node


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def attention_like(ours: TokenAttention, width: int, heads: int) -> rtdl.MultiheadAttention:
    theirs = rtdl.MultiheadAttention(d_embedding=width, n_heads=heads, dropout=0.0)
    names = {"query": "W_q", "key": "W_k", "value": "W_v", "output": "W_out"}
    state = {}
    for name, value in ours.state_dict().items():
        part, _, kind = name.partition(".")
        state[f"{names[part]}.{kind}"] = value
    theirs.load_state_dict(state)
    return theirs


@pytest.mark.parametrize(
    ("node", "spec"),
    [
        (block(), TOKENS),
        (block(is_first_layer=True, query_idx=(0,)), TOKENS),
        (block(query_idx=(-1, 1)), TOKENS),
        (block(prenormalization=False, query_idx=(2,)), TOKENS),
        (block(prenormalization=False, is_first_layer=True), TOKENS),
        (block(attention_n_heads=1, ffn_d_hidden=3), TensorSpec((2, 1, 5))),
        (block(attention_n_heads=2, ffn_activation="geglu"), TensorSpec((2, 4, 6))),
        (block(ffn_activation="relu", ffn_d_hidden_multiplier=0.5), TOKENS),
        (block(ffn_activation="gelu", residual_dropout=0.5), TOKENS),
        (block(attention_normalization="rms_norm", ffn_normalization="rms_norm"), TOKENS),
        (block(attention_bias=False, ffn_bias_first=False, ffn_bias_second=False), TOKENS),
        (block(attention_initialization="xavier", attention_dropout=1.0), TOKENS),
    ],
    ids=repr,
)
def test_the_block_keeps_the_promises_of_layers(node: Layer, spec: TensorSpec) -> None:
    check_layer(node, [spec])


@pytest.mark.parametrize("heads", [1, 8])
def test_attention_is_that_of_the_paper(heads: int) -> None:
    ours = TokenAttention(16, heads)
    theirs = attention_like(ours, 16, heads)
    queries, tokens = noise(3, 2, 16), noise(3, 5, 16, seed=1)
    torch.testing.assert_close(ours(queries, tokens), theirs(queries, tokens), rtol=0, atol=1e-6)


def test_attention_drops_its_weights_in_training_only() -> None:
    attention = TokenAttention(16, 2, dropout=1.0)
    x = noise(3, 5, 16)
    assert torch.equal(attention.train()(x, x), attention.output.bias.expand(3, 5, 16))
    assert attention.eval()(x, x).abs().sum() > 0


def test_normalising_first_is_the_formula_of_the_paper() -> None:
    module = block().build(TOKENS).eval()
    x = noise(3, 5, 16)
    normed = module.attention_norm(x)
    middle = x + module.attention(normed, normed)
    wanted = middle + module.ffn(module.ffn_norm(middle))
    torch.testing.assert_close(module(x), wanted)


def test_normalising_last_normalises_the_sums() -> None:
    module = block(prenormalization=False).build(TOKENS).eval()
    x = noise(3, 5, 16)
    middle = module.attention_norm(x + module.attention(x, x))
    torch.testing.assert_close(module(x), module.ffn_norm(middle + module.ffn(middle)))


@pytest.mark.parametrize(
    ("params", "normalises"),
    [
        ({}, True),
        ({"is_first_layer": True}, False),
        ({"prenormalization": False}, True),
        ({"prenormalization": False, "is_first_layer": True}, True),
    ],
)
def test_only_a_first_block_that_normalises_first_leaves_attention_alone(
    params: dict[str, object], normalises: bool
) -> None:
    norm = block(**params).build(TOKENS).attention_norm
    assert isinstance(norm, torch.nn.LayerNorm) == normalises


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("places", [(0,), (-1,), (3, 1), (2, 2)])
def test_queries_are_some_of_the_tokens_that_all_would_give(
    first: bool, places: tuple[int, ...]
) -> None:
    full = block(prenormalization=first).build(TOKENS).eval()
    some = block(prenormalization=first, query_idx=places).build(TOKENS).eval()
    some.load_state_dict(full.state_dict())
    x = noise(3, 5, 16)
    torch.testing.assert_close(some(x), full(x)[:, list(places)])


def test_two_queries_are_two_tokens() -> None:
    assert block(query_idx=(0, 2)).infer(TensorSpec(("batch", "tokens", 16)))[0].shape == (
        "batch",
        2,
        16,
    )


@pytest.mark.parametrize(
    ("params", "entering", "hidden"),
    [
        ({}, 42, 21),
        ({"ffn_activation": "relu"}, 21, 21),
        ({"ffn_activation": "geglu", "ffn_d_hidden": 5}, 10, 5),
        ({"ffn_activation": "gelu", "ffn_d_hidden_multiplier": 0.7}, 11, 11),
    ],
)
def test_a_gated_activation_gets_twice_the_width(
    params: dict[str, object], entering: int, hidden: int
) -> None:
    ffn = block(**params).build(TOKENS).ffn
    assert (ffn[0].out_features, ffn[3].in_features) == (entering, hidden)


def test_each_bias_can_be_left_out() -> None:
    params = {"attention_bias": False, "ffn_bias_first": False, "ffn_bias_second": False}
    module = block(**params).build(TOKENS)
    biases = [name for name, _ in module.named_parameters() if name.endswith("bias")]
    assert biases == ["attention_norm.bias", "ffn_norm.bias"]


@pytest.mark.parametrize(("start", "bound"), [("kaiming", 16**-0.5), ("xavier", (3 / 32) ** 0.5)])
def test_queries_keys_and_values_start_as_they_should(start: str, bound: float) -> None:
    with forked(0):
        attention = block(attention_initialization=start).build(TOKENS).attention
    for part in (attention.query, attention.key, attention.value):
        assert part.weight.abs().max().item() == pytest.approx(bound, rel=0.05)
        assert part.weight.abs().max().item() <= bound
        assert not part.bias.any()
    assert not attention.output.bias.any()


def test_the_module_survives_copies() -> None:
    module = block(query_idx=(0,)).build(TOKENS).eval()
    x = noise(3, 5, 16)
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(again(x), module(x))


def test_widths_are_given_once() -> None:
    with pytest.raises(ConfigError, match="given twice") as caught:
        block(ffn_d_hidden=4, ffn_d_hidden_multiplier=2.0)
    assert "ffn_d_hidden=4" in caught.value.why


@pytest.mark.parametrize(
    ("spec", "params", "message"),
    [
        (TensorSpec(("batch", 16)), {}, "3 dimensions is needed"),
        (TensorSpec(("batch", 5, "width")), {}, "'width', is needed now"),
        (TensorSpec(("batch", 5, 16), torch.int64), {}, "floating-point numbers are needed"),
        (TensorSpec(("batch", 5, 12)), {}, "8 heads cannot share tokens of width 12"),
        (TOKENS, {"query_idx": (5,)}, "there is no token 5"),
        (TOKENS, {"query_idx": (0, -6)}, "there is no token -6"),
        (TOKENS, {"ffn_d_hidden_multiplier": 0.01}, "hidden width would be 0"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(
    spec: TensorSpec, params: dict[str, object], message: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        block(**params).infer(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "params",
    [
        {"query_idx": ()},
        {"query_idx": (0.5,)},
        {"attention_n_heads": 0},
        {"attention_dropout": 1.1},
        {"attention_initialization": "zeros"},
        {"ffn_activation": "tanh"},
        {"ffn_normalization": "batch_norm"},
        {"ffn_d_hidden": 0},
    ],
)
def test_impossible_parameters_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="ft_transformer_block"):
        block(**params)
