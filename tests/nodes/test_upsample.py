from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from mlgraph import ConfigError, ShapeError, nn, tune
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_inference, check_layer

INPUTS = {1: (2, 4, 9), 2: (2, 4, 6, 8), 3: (2, 4, 5, 4, 6)}
BLENDS = {1: ["linear"], 2: ["bilinear", "bicubic"], 3: ["trilinear"]}
MODES = [(mode, n) for n in INPUTS for mode in ["nearest", "area", "nearest-exact", *BLENDS[n]]]


def made(key: str, *args: object, **params: object) -> Layer:
    node = nn(key, *args, **params)
    assert isinstance(node, Layer)
    return node


def noise(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


# Upsample


@pytest.mark.parametrize(("mode", "n"), MODES)
def test_upsampling_keeps_the_promises_of_a_layer(mode: str, n: int) -> None:
    check_layer(made("upsample", 5, mode=mode), [TensorSpec(INPUTS[n])])
    factors = (1.7, 0.5, 2.0)[:n]
    check_layer(made("upsample", scale_factor=factors, mode=mode), [TensorSpec(INPUTS[n])])


@pytest.mark.parametrize(("mode", "n"), MODES)
def test_numbers_are_those_of_torch(mode: str, n: int) -> None:
    x, corners = noise(INPUTS[n]), {"align_corners": True} if mode in BLENDS[n] else {}
    for params in ({"size": (5, 11, 3)[:n]}, {"scale_factor": 1.7}):
        module = made("upsample", mode=mode, **params, **corners).build(TensorSpec(INPUTS[n]))
        expected = functional.interpolate(x, mode=mode, **params, **corners)
        assert torch.equal(module(x), expected)


def test_unknown_sizes_are_known_when_they_are_chosen() -> None:
    x = TensorSpec(("batch", "c", "height", "width"))
    assert made("upsample", (4, 5)).infer(x)[0].shape == ("batch", "c", 4, 5)
    up = made("upsample", scale_factor=(1, 2))
    assert up.infer(x, name="up")[0].shape == ("batch", "c", "height", "up_3")


@pytest.mark.parametrize(
    ("params", "shape", "why"),
    [
        ({"size": 4}, ("batch", 8), "3 or 4 or 5 dimensions is needed"),
        ({"size": (4, 4)}, (3, 8, 8), "4 dimensions is needed; it is (batch, channels, height"),
        ({"size": 4, "mode": "bicubic"}, (3, 8, 8), "4 dimensions is needed"),
        ({"size": 4, "mode": "trilinear"}, (2, 3, 8, 8), "5 dimensions is needed"),
        ({"scale_factor": (0.5, 0.1)}, (2, 3, 8, 8), "scale_factor of 0.1 leaves nothing of dim"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    params: dict[str, object], shape: tuple[int, ...], why: str
) -> None:
    with pytest.raises(ShapeError, match="upsample cannot accept") as caught:
        made("upsample", **params).infer(TensorSpec(shape))
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "it got neither"),
        ({"size": 4, "scale_factor": 2}, "it got both"),
        ({"size": 0}, "at least 1"),
        ({"size": (1, 2, 3, 4)}, "one number, or a list of 1 or 2 or 3"),
        ({"size": (4, 4), "mode": "linear"}, "one number, or a list of 1"),
        ({"scale_factor": (2.0,), "mode": "bilinear"}, "one number, or a list of 2"),
        ({"scale_factor": 0}, "positive numbers"),
        ({"scale_factor": (1, -2)}, "positive numbers"),
        ({"scale_factor": float("inf")}, "positive numbers"),
        ({"size": 4, "mode": "cubic"}, "Did you mean 'bicubic'"),
        ({"size": 4, "align_corners": False}, "None, or one of 'linear', 'bilinear'"),
    ],
)
def test_impossible_parameters_of_upsampling_are_refused(
    params: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        nn("upsample", **params)
    assert 'nn("upsample")' in caught.value.what
    assert text in str(caught.value)


def test_a_factor_can_be_left_to_tuning() -> None:
    up = made("upsample", scale_factor=(1.0, tune(2.0, 4.0)))
    ready = up.with_parameters({"scale_factor__1": 3.0})
    assert ready.infer(TensorSpec((2, 3, 4, 4)))[0].shape == (2, 3, 4, 12)


# Pixels and channels


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (made("pixel_shuffle", 2), (2, 8, 3, 4)),
        (made("pixel_shuffle", 3), (2, 18, 3, 4)),
        (made("pixel_unshuffle", 2), (3, 5, 4, 6)),
        (made("pixel_unshuffle", 1), (3, 5, 4, 6)),
        (made("channel_shuffle", 2), (2, 6, 5)),
        (made("channel_shuffle", 3), (2, 6, 5, 4)),
        (made("channel_shuffle", 1), (2, 6, 5, 4, 3)),
    ],
    ids=repr,
)
def test_shuffling_keeps_the_promises_of_a_layer(layer: Layer, shape: tuple[int, ...]) -> None:
    check_layer(layer, [TensorSpec(shape)])


def test_pixels_return_to_their_places() -> None:
    x = noise((2, 3, 6, 9))
    down = made("pixel_unshuffle", 3).build(TensorSpec((2, 3, 6, 9)))(x)
    assert down.shape == (2, 27, 2, 3)
    assert torch.equal(made("pixel_shuffle", 3).build(TensorSpec((2, 27, 2, 3)))(down), x)


def test_the_first_channels_of_the_groups_come_first() -> None:
    x = torch.arange(6.0).reshape(1, 6, 1)
    shuffled = made("channel_shuffle", 2).build(TensorSpec((1, 6, 1)))(x)
    assert shuffled.flatten().tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize(
    ("key", "value", "shape", "why"),
    [
        ("pixel_shuffle", 2, (8, 3, 4), "4 dimensions is needed"),
        ("pixel_shuffle", 2, (2, 6, 3, 4), "divisible by 4 is needed; dimension 1"),
        ("pixel_unshuffle", 2, (2, 6, 3, 4), "divisible by 2 is needed; dimension 2"),
        ("pixel_unshuffle", 2, (2, 6, 4, 3), "divisible by 2 is needed; dimension 3"),
        ("channel_shuffle", 2, (2, 6), "3 or 4 or 5 dimensions is needed"),
        ("channel_shuffle", 4, (2, 6, 3, 4), "6 channels cannot be split in 4 groups"),
    ],
)
def test_pixels_or_channels_that_are_left_over_are_refused(
    key: str, value: int, shape: tuple[int, ...], why: str
) -> None:
    with pytest.raises(ShapeError, match=f"{key} cannot accept") as caught:
        made(key, value).infer(TensorSpec(shape))
    assert why in caught.value.why


@pytest.mark.parametrize("key", ["pixel_shuffle", "pixel_unshuffle", "channel_shuffle"])
def test_factors_are_positive(key: str) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        nn(key, 0)


# Windows as columns


@pytest.mark.parametrize(
    "params",
    [
        {"kernel_size": 2},
        {"kernel_size": (2, 3), "stride": 2},
        {"kernel_size": 3, "dilation": 2, "padding": 1, "stride": (1, 2)},
    ],
)
def test_unfolding_and_folding_keep_the_promises_of_a_layer(params: dict[str, object]) -> None:
    unfold = made("unfold", **params)
    check_layer(unfold, [TensorSpec(INPUTS[2])])
    columns = unfold.infer(TensorSpec(INPUTS[2]))[0]
    check_layer(made("fold", output_size=INPUTS[2][2:], **params), [columns])


def test_folding_sums_what_overlaps() -> None:
    x = noise(INPUTS[2])
    columns = made("unfold", 3, padding=1).build(TensorSpec(INPUTS[2]))(x)
    assert torch.equal(columns, functional.unfold(x, 3, padding=1))
    fold = made("fold", INPUTS[2][2:], 3, padding=1).build(TensorSpec(tuple(columns.shape)))
    assert torch.equal(fold(columns), functional.fold(columns, INPUTS[2][2:], 3, padding=1))


def test_the_number_of_windows_need_not_be_known() -> None:
    fold = made("fold", (4, 5), 2)
    assert fold.infer(TensorSpec(("batch", 12, "windows")))[0].shape == ("batch", 3, 4, 5)
    assert check_inference(fold, (TensorSpec((3, 12, 12)),)) == 6


def test_no_size_is_made_up_where_neither_channels_nor_windows_are_known() -> None:
    with pytest.raises(ShapeError):
        made("fold", (4, 5), 2).infer(TensorSpec(("batch", "c", "windows")))


@pytest.mark.parametrize(
    ("layer", "shape", "why"),
    [
        (made("unfold", 2), (3, 8, 8), "4 dimensions is needed"),
        (made("unfold", 5), (2, 3, 8, 4), "window of 5 is larger than dimension 3"),
        (made("fold", 4, 2), (12, 9), "3 dimensions is needed"),
        (made("fold", 4, 2), (2, 6, 9), "divisible by 4 is needed; dimension 1"),
        (made("fold", (4, 5), 2), (2, 8, 9), "are 12, not 9; output_size=(4, 5) has 3 x 4"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    layer: Layer, shape: tuple[int, ...], why: str
) -> None:
    with pytest.raises(ShapeError, match="cannot accept") as caught:
        layer.infer(TensorSpec(shape))
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("key", "params", "expected"),
    [
        ("unfold", {"kernel_size": 0}, "at least 1"),
        ("unfold", {"kernel_size": (2, 2, 2)}, "one number, or a list of 2"),
        ("fold", {"kernel_size": 2, "output_size": (4,)}, "one number, or a list of 2"),
        ("fold", {"kernel_size": 2, "output_size": 1}, "windows that fit in output_size=1"),
        ("fold", {"kernel_size": 2, "output_size": 4, "stride": 0}, "at least 1"),
    ],
)
def test_impossible_windows_are_refused(key: str, params: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        nn(key, **params)
    assert expected in caught.value.why


@pytest.mark.parametrize(
    "layer",
    [
        made("upsample", scale_factor=1.7, mode="bilinear"),
        made("pixel_unshuffle", 2),
        made("channel_shuffle", 2),
        made("unfold", 2),
    ],
    ids=repr,
)
def test_these_layers_compile_and_export(layer: Layer) -> None:
    module, x = layer.build(TensorSpec(INPUTS[2])).eval(), noise(INPUTS[2])
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    rows = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(module, (x,), dynamic_shapes=rows).module()
    more = torch.cat([x, -x])
    torch.testing.assert_close(compiled(x), module(x))
    torch.testing.assert_close(exported(more), module(more))
