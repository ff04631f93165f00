from __future__ import annotations

import math

import pytest
import torch

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.compiled import check_compiled, check_exported
from mlgraph.testing.layer import check_inference, check_layer

KEYS = ["positional_encoding", "positional_embedding"]


def layer(key: str) -> object:
    return nn(key, max_len=6) if key == "positional_embedding" else nn(key)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("shape", [(3, 5, 8), (3, 6, 7), (2, 1, 1)])
def test_they_keep_their_promises(key: str, shape: tuple[int, ...]) -> None:
    check_layer(layer(key), [TensorSpec(shape)])


@pytest.mark.parametrize("key", KEYS)
def test_they_can_be_compiled_and_exported(key: str) -> None:
    check_compiled(layer(key), (TensorSpec((3, 5, 8)),))
    check_exported(layer(key), (TensorSpec((3, 5, 8)),))


@pytest.mark.parametrize("key", KEYS)
def test_the_length_may_be_unknown(key: str) -> None:
    assert layer(key).infer(TensorSpec(("batch", "time", 8)))[0].shape == ("batch", "time", 8)
    assert check_inference(layer(key), (TensorSpec((3, 5, 8)),)) == 4


@pytest.mark.parametrize("features", [8, 7])
def test_the_encoding_is_that_of_the_paper(features: int) -> None:
    module = nn("positional_encoding").build(TensorSpec(("batch", "time", features)))
    got = module(torch.zeros(1, 50, features))[0]
    for position in (0, 1, 49):
        for place in range(features):
            wave = math.sin if place % 2 == 0 else math.cos
            angle = position / 10000 ** ((place - place % 2) / features)
            assert got[position, place].item() == pytest.approx(wave(angle), abs=1e-4)


def test_the_encoding_has_no_weights_and_no_limit() -> None:
    module = nn("positional_encoding").build(TensorSpec(("batch", "time", 4)))
    assert not module.state_dict()
    assert module(torch.zeros(1, 7000, 4)).isfinite().all()


@pytest.mark.parametrize("key", KEYS)
def test_positions_are_added_to_every_row(key: str) -> None:
    module = layer(key).build(TensorSpec(("batch", "time", 4)))
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    added = module(torch.zeros(1, 5, 4))
    torch.testing.assert_close(module(x), x + added)
    assert torch.equal(module(torch.zeros(1, 3, 4)), added[:, :3])


def test_the_vectors_of_an_embedding_are_learned() -> None:
    module = nn("positional_embedding", 6).build(TensorSpec(("batch", "time", 4)))
    assert module.weight.shape == (6, 4)
    assert torch.equal(module(torch.zeros(1, 6, 4))[0], module.weight)
    module(torch.zeros(2, 3, 4)).sum().backward()
    assert module.weight.grad.tolist() == [[2.0] * 4] * 3 + [[0.0] * 4] * 3


def test_a_sequence_that_is_longer_than_max_len_is_refused_as_soon_as_it_is_known() -> None:
    with pytest.raises(ShapeError, match="no vector for position 6") as caught:
        nn("positional_embedding", 6).infer(TensorSpec(("batch", 7, 4)))
    assert "max_len=6" in str(caught.value)
    module = nn("positional_embedding", 6).build(TensorSpec(("batch", "time", 4)))
    with pytest.raises(ShapeError, match="no vector for position 6"):
        module(torch.zeros(1, 7, 4))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (TensorSpec(("batch", 8)), "has rank 2"),
        (TensorSpec(("batch", 5, "f")), "'f', is needed now"),
        (TensorSpec(("batch", 5, 8), torch.int64), "floating-point numbers"),
        (TensorSpec(("batch", 5, 8), torch.float64), "dtype float32 are needed"),
    ],
)
def test_refused_inputs(key: str, spec: TensorSpec, text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        layer(key).infer(spec)


@pytest.mark.parametrize(("max_len", "text"), [(0, "at least 1"), (2.5, "an integer")])
def test_impossible_parameters(max_len: object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        nn("positional_embedding", max_len=max_len)
