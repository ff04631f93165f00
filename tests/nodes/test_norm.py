from __future__ import annotations

import pytest
import torch

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.tensor.spec import TensorSpec

RANKS = {"batch_norm1d": (2, 3), "batch_norm2d": (4,), "batch_norm3d": (5,)}


@pytest.mark.parametrize("key", RANKS)
def test_batch_norm_has_a_size_for_each_channel(key: str) -> None:
    for rank in RANKS[key]:
        module = nn(key, eps=0.1).build(TensorSpec(("batch", 3, *"hwd"[: rank - 2])))
        assert (module.num_features, module.eps) == (3, 0.1)


@pytest.mark.parametrize("key", RANKS)
def test_batch_norm_refuses_other_ranks_in_our_words(key: str) -> None:
    for rank in {2, 3, 4, 5, 6} - set(RANKS[key]):
        with pytest.raises(ShapeError, match="dimensions is needed") as caught:
            nn(key).infer(TensorSpec(("batch", *range(2, rank + 1))))
        assert f"has rank {rank}" in caught.value.why


@pytest.mark.parametrize("key", RANKS)
def test_batch_norm_needs_to_know_the_channels(key: str) -> None:
    with pytest.raises(ShapeError, match="'c'"):
        nn(key).infer(TensorSpec(("batch", "c", *"hwd"[: RANKS[key][0] - 2])))


@pytest.mark.parametrize("key", ["batch_norm1d", "layer_norm"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.complex64])
def test_a_norm_refuses_what_its_weights_cannot_work_with(key: str, dtype: torch.dtype) -> None:
    with pytest.raises(ShapeError, match="needed"):
        nn(key).infer(TensorSpec(("batch", 4), dtype))


def test_layer_norm_counts_trailing_dimensions() -> None:
    module = nn("layer_norm", dims=2).build(TensorSpec(("batch", "time", 3, 4)))
    assert module.normalized_shape == (3, 4)


def test_layer_norm_without_bias_or_weights() -> None:
    spec = TensorSpec(("batch", 4))
    assert nn("layer_norm", bias=False).build(spec).bias is None
    assert list(nn("layer_norm", elementwise_affine=False).build(spec).parameters()) == []


@pytest.mark.parametrize("dims", [2, 3])
def test_layer_norm_never_includes_the_batch(dims: int) -> None:
    with pytest.raises(ShapeError, match="include the batch"):
        nn("layer_norm", dims=dims).infer(TensorSpec(("batch", 4)))


def test_layer_norm_needs_to_know_its_sizes() -> None:
    with pytest.raises(ShapeError, match="'time'"):
        nn("layer_norm", dims=2).infer(TensorSpec(("batch", "time", 4)))


@pytest.mark.parametrize(
    ("key", "params", "expected"),
    [
        ("layer_norm", {"dims": 0}, "at least"),
        ("batch_norm1d", {"eps": -1}, "at least"),
        ("batch_norm2d", {"momentum": -1}, "from 0 to 1"),
        ("batch_norm2d", {"momentum": 2.0}, "from 0 to 1"),
    ],
)
def test_impossible_parameters_are_refused(
    key: str, params: dict[str, object], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        nn(key, **params)
