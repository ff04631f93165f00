from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_layer

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


@pytest.mark.parametrize("key", ["batch_norm1d", "layer_norm", "rms_norm"])
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


@pytest.mark.parametrize("key", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("dims", [2, 3])
def test_trailing_dimensions_never_include_the_batch(key: str, dims: int) -> None:
    with pytest.raises(ShapeError, match="include the batch"):
        nn(key, dims=dims).infer(TensorSpec(("batch", 4)))


@pytest.mark.parametrize("key", ["layer_norm", "rms_norm"])
def test_trailing_dimensions_need_to_be_known(key: str) -> None:
    with pytest.raises(ShapeError, match="'time'"):
        nn(key, dims=2).infer(TensorSpec(("batch", "time", 4)))


@pytest.mark.parametrize(
    ("key", "params", "expected"),
    [
        ("layer_norm", {"dims": 0}, "at least"),
        ("batch_norm1d", {"eps": -1}, "at least"),
        ("batch_norm2d", {"momentum": -1}, "from 0 to 1"),
        ("batch_norm2d", {"momentum": 2.0}, "from 0 to 1"),
        ("rms_norm", {"dims": 0}, "at least 1"),
        ("rms_norm", {"eps": -1}, "at least 0"),
        ("group_norm", {"num_groups": 0}, "at least 1"),
        ("instance_norm1d", {"eps": 0}, "at least"),
        ("instance_norm2d", {"momentum": 1.5}, "from 0 to 1"),
        ("local_response_norm", {"size": 0}, "at least 1"),
    ],
)
def test_impossible_parameters_are_refused(
    key: str, params: dict[str, object], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        nn(key, **params)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def made(key: str, **params: object) -> Layer:
    node = nn(key, **params)
    assert isinstance(node, Layer)
    return node


WITHIN_ROWS = [
    (made("rms_norm"), (4, 5)),
    (made("rms_norm", dims=2, eps=0.1, elementwise_affine=False), (4, 3, 5)),
    (made("group_norm", num_groups=2), (4, 6)),
    (made("group_norm", num_groups=1, affine=False), (2, 3, 5)),
    (made("group_norm", num_groups=3, eps=0), (2, 3, 5, 4)),
    (made("group_norm", num_groups=2), (2, 4, 3, 2, 3)),
    (made("instance_norm1d"), (2, 3, 5)),
    (made("instance_norm2d", affine=True), (2, 3, 5, 4)),
    (made("instance_norm3d", track_running_stats=True), (2, 3, 2, 5, 4)),
    (made("local_response_norm", size=3), (2, 5, 4)),
    (made("local_response_norm", size=2, alpha=1.0, beta=0.5, k=2), (2, 5, 4, 3)),
    (made("local_response_norm", size=9), (2, 5, 4, 3, 2)),
]


@pytest.mark.parametrize(("layer", "shape"), WITHIN_ROWS, ids=repr)
def test_a_norm_keeps_the_promises_of_a_layer(layer: Layer, shape: tuple[int, ...]) -> None:
    check_layer(layer, [TensorSpec(shape)])


def test_rms_norm_divides_by_the_root_mean_square() -> None:
    x = noise(3, 4, 5)
    for dims, axes in ((1, (-1,)), (2, (-1, -2))):
        module = made("rms_norm", dims=dims, eps=0.1).build(TensorSpec((3, 4, 5)))
        expected = x / (x.square().mean(axes, keepdim=True) + 0.1).sqrt()
        assert torch.allclose(module(x), expected, atol=1e-6)
        assert module.weight.shape == (3, 4, 5)[-dims:]


def test_group_norm_normalises_within_groups_of_channels() -> None:
    x = noise(2, 6, 4, 3)
    module = made("group_norm", num_groups=2, eps=0).build(TensorSpec((2, 6, 4, 3)))
    groups = module(x).reshape(2, 2, -1)
    assert torch.allclose(groups.mean(-1), torch.zeros(2, 2), atol=1e-6)
    assert torch.allclose(groups.var(-1, correction=0), torch.ones(2, 2), atol=1e-5)
    assert torch.equal(module(x), functional.group_norm(x, 2, module.weight, module.bias, eps=0))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_instance_norm_normalises_each_channel_of_each_row(n: int) -> None:
    x = noise(2, 3, *(4, 5, 2)[:n])
    channels = made(f"instance_norm{n}d").build(TensorSpec(tuple(x.shape)))(x).flatten(2)
    assert torch.allclose(channels.mean(-1), torch.zeros(2, 3), atol=1e-6)
    assert torch.allclose(channels.var(-1, correction=0), torch.ones(2, 3), atol=1e-3)


def test_local_response_norm_looks_at_the_channels_next_to_its_own() -> None:
    x = noise(2, 5, 4)
    params = {"size": 3, "alpha": 0.5, "beta": 0.75, "k": 2.0}
    module = made("local_response_norm", **params).build(TensorSpec((2, 5, 4)))
    squares = functional.pad(x.square(), (0, 0, 1, 1)).unfold(1, 3, 1).mean(-1)
    assert torch.allclose(module(x), x / (2 + 0.5 * squares) ** 0.75, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape", "why"),
    [
        (made("group_norm", num_groups=4), (2, 6, 3), "6 channels cannot be split in 4 groups"),
        (made("group_norm", num_groups=2), (2, "c", 3), "dimension 1, 'c', is needed"),
        (made("group_norm", num_groups=2), (2,), "2 dimensions is needed"),
        (made("group_norm", num_groups=6), (2, 6), "a group of a single number"),
        (made("group_norm", num_groups=6), (2, 6, 1, 1), "a group of a single number"),
        (made("instance_norm1d"), (3, 8), "3 dimensions is needed"),
        (made("instance_norm2d"), (3, 8, 8), "4 dimensions is needed"),
        (made("instance_norm2d"), (2, "c", 8, 8), "dimension 1, 'c', is needed"),
        (made("instance_norm2d"), (2, 3, 1, 1), "a channel of a single number"),
        (made("local_response_norm", size=3), (2, 8), "3 or 4 or 5 dimensions is needed"),
    ],
    ids=repr,
)
def test_inputs_that_do_not_fit_are_refused_in_our_words(
    layer: Layer, shape: tuple[int | str, ...], why: str
) -> None:
    with pytest.raises(ShapeError, match="cannot accept") as caught:
        layer.infer(TensorSpec(shape))
    assert why in caught.value.why


def test_a_group_of_several_numbers_works_for_a_single_row() -> None:
    for groups, shape in ((3, (1, 6)), (6, (1, 6, 2))):
        module = made("group_norm", num_groups=groups).build(TensorSpec(shape))
        assert module(noise(*shape)).shape == shape


@pytest.mark.parametrize(
    "layer",
    [
        made("rms_norm"),
        made("group_norm", num_groups=2),
        made("instance_norm2d", affine=True),
        made("local_response_norm", size=3),
    ],
    ids=repr,
)
def test_a_norm_compiles_and_exports(layer: Layer) -> None:
    x = noise(2, 4, 5, 3)
    module = layer.build(TensorSpec((2, 4, 5, 3))).eval()
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    rows = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(module, (x,), dynamic_shapes=rows).module()
    more = torch.cat([x, -x])
    torch.testing.assert_close(compiled(x), module(x))
    torch.testing.assert_close(exported(more), module(more))
