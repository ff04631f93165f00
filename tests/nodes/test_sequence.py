from __future__ import annotations

import pytest
import torch

from mlgraph import ConfigError, ShapeError, nn, tune
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_layer

LENGTHS = TensorSpec(("batch",), torch.int64)


def test_a_sequence_mask_is_true_behind_the_end() -> None:
    module = nn("sequence_mask").build(LENGTHS, TensorSpec(("batch", "time", 2)))
    mask = module(torch.tensor([0, 2, 3]), torch.zeros(3, 3, 2))
    assert mask.tolist() == [[True] * 3, [False, False, True], [False] * 3]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("rest", [(), (2,), (2, 4)])
def test_a_sequence_mask_keeps_its_promises(dtype: torch.dtype, rest: tuple[int, ...]) -> None:
    check_layer(nn("sequence_mask"), [TensorSpec((3,), dtype), TensorSpec((3, 5, *rest))])


@pytest.mark.parametrize(
    ("lengths", "sequence", "text"),
    [
        (TensorSpec(("batch",)), TensorSpec(("batch", 5)), "integers are needed"),
        (TensorSpec(("batch",), torch.bool), TensorSpec(("batch", 5)), "integers are needed"),
        (TensorSpec(("batch", 1), torch.int64), TensorSpec(("batch", 5)), "1 dimensions"),
        (LENGTHS, TensorSpec(("batch",)), "2 dimensions or more"),
        (TensorSpec((3,), torch.int64), TensorSpec((4, 5)), "different sizes of 'batch'"),
    ],
)
def test_a_sequence_mask_refuses(lengths: TensorSpec, sequence: TensorSpec, text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        nn("sequence_mask").infer(lengths, sequence)


def test_sizes_that_are_equal_may_arrive_under_different_names() -> None:
    layer = nn("transformer_encoder_layer", 2, src_mask=True, src_key_padding_mask=True)
    pairs, padding = TensorSpec(("a", "b"), torch.bool), TensorSpec(("rows", "c"), torch.bool)
    sequence = TensorSpec(("batch", "time", 8))
    assert layer.infer(sequence, pairs, padding)[0].shape == ("batch", "time", 8)
    known = TensorSpec(("rows", 5), torch.bool)
    assert layer.infer(sequence, pairs, known)[0].shape == ("batch", 5, 8)


def test_names_are_those_of_the_sequence_not_of_the_mask() -> None:
    layer = nn("multihead_attention", 2, mode="cross", attn_mask=True)
    query, source = TensorSpec(("batch", "t", 8)), TensorSpec(("rows", "s", 6))
    mask = TensorSpec(("b", "x", "y"), torch.bool)
    assert layer.infer(query, source, mask)[0].shape == ("batch", "t", 8)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([(3, 5, 8), (4, 5), (3, 5)], "different sizes of 'time'"),
        ([(3, 5, 8), (5, 4), (3, 5)], "different sizes of 'time'"),
        ([(3, 5, 8), (5, 5), (2, 5)], "different sizes of 'batch'"),
        ([(3, 5, 8), (2, 5, 5), (3, 5)], "different sizes of 'batch'"),
        ([(3, 5, 8), (5, 5), (3, 6)], "different sizes of 'time'"),
        ([(3, 5, 8), (5, 5), (3, 5, 1)], "input 'src_key_padding_mask'.*has rank 3"),
        ([(3, 5, 8), (5,), (3, 5)], "input 'src_mask'.*time, time.*or.*batch, time, time"),
        ([(3, 5, 8), (5, 5)], "3 inputs are needed"),
    ],
)
def test_known_sizes_that_differ_are_refused(shapes: list[tuple[int, ...]], text: str) -> None:
    layer = nn("transformer_encoder_layer", 2, src_mask=True, src_key_padding_mask=True)
    dtypes = [torch.float32, torch.bool, torch.bool]
    specs = [TensorSpec(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=False)]
    with pytest.raises(ShapeError, match=r"^it cannot accept") as caught:
        layer.infer(*specs, name="it")
    caught.match(text)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_a_mask_is_bool_or_numbers_like_those_of_the_sequence(dtype: torch.dtype) -> None:
    layer = nn("multihead_attention", 1, key_padding_mask=True)
    with pytest.raises(ShapeError, match="mask is bool, or numbers") as caught:
        layer.infer(TensorSpec(("batch", 5, 8)), TensorSpec(("batch", 5), dtype))
    assert "torch.Tensor.bool" in caught.value.mend


OPEN: list[tuple[str, dict[str, object]]] = [
    ("multihead_attention", {"num_heads": 2, "mode": tune(["self", "cross"])}),
    ("multihead_attention", {"num_heads": 2, "need_weights": tune([True, False])}),
    ("multihead_attention", {"num_heads": 2, "attn_mask": tune([True, False])}),
    ("transformer_encoder_layer", {"nhead": 2, "src_mask": tune([True, False])}),
    ("transformer_decoder_layer", {"nhead": 2, "memory_mask": tune([True, False])}),
    ("lstm", {"hidden_size": 4, "lengths": tune([True, False])}),
    ("gru", {"hidden_size": 4, "returns": tune(["output", "both"])}),
    ("split", {"sizes": tune([2, 3])}),
    ("chunk", {"chunks": tune(2, 3)}),
]


@pytest.mark.parametrize(("key", "params"), OPEN)
def test_ports_cannot_be_left_to_tuning(key: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"ports of .* cannot be left to tuning"):
        nn(key, **params)


def test_what_changes_no_port_can_be_left_to_tuning() -> None:
    layers: list[Layer] = [
        nn("multihead_attention", tune(1, 4), is_causal=tune([True, False])),
        nn("transformer_encoder_layer", tune(1, 4), src_mask=True),
        nn("lstm", tune(4, 8), num_layers=tune(1, 2)),
        nn("split", (tune(2, 4), -1)),
    ]
    assert all(layer.tokens() for layer in layers)
