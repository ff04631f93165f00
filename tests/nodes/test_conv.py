from __future__ import annotations

import pytest
import torch
from torch import nn as tnn
from torch.nn import functional

from mlgraph import ConfigError, ShapeError, nn, tune
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_layer

INPUTS = {1: (2, 4, 9), 2: (2, 4, 7, 6), 3: (2, 4, 5, 4, 6)}
NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}

# Parameters after out_channels and kernel_size, by name of torch's function.
CONV: list[dict[str, object]] = [
    {},
    {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": False},
    {"padding": "same", "dilation": 2},
    {"padding": "valid", "stride": 2},
    {"padding": 1, "padding_mode": "circular"},
    {"padding": 2, "padding_mode": "reflect"},
    {"padding": "same", "padding_mode": "replicate"},
]
TRANSPOSE: list[dict[str, object]] = [
    {},
    {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "bias": False},
    {"stride": 2, "output_padding": 2, "dilation": 3},
]


def made(key: str, *args: object, **params: object) -> Layer:
    node = nn(key, *args, **params)
    assert isinstance(node, Layer)
    return node


def noise(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("params", CONV)
def test_a_convolution_keeps_the_promises_of_a_layer(n: int, params: dict[str, object]) -> None:
    check_layer(made(f"conv{n}d", 6, 3, **params), [TensorSpec(INPUTS[n])])


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("params", TRANSPOSE)
def test_a_transposed_convolution_keeps_them_too(n: int, params: dict[str, object]) -> None:
    check_layer(made(f"conv_transpose{n}d", 6, 3, **params), [TensorSpec(INPUTS[n])])


def test_parameters_are_in_the_order_of_torch() -> None:
    order = "out_channels kernel_size stride padding dilation groups bias padding_mode"
    assert type(made("conv2d", 8, 3)).field_names() == tuple(order.split())
    order = "out_channels kernel_size stride padding output_padding groups bias dilation"
    assert type(made("conv_transpose2d", 8, 3)).field_names() == tuple(order.split())


@pytest.mark.parametrize("n", [1, 2, 3])
def test_numbers_are_those_of_torch_on_the_same_weights(n: int) -> None:
    kernel, stride = (3, 2, 1)[:n], (1, 2, 3)[:n]
    options = {"stride": stride, "padding": (1, 0, 0)[:n], "dilation": (1, 2, 1)[:n], "groups": 2}
    module = made(f"conv{n}d", 6, kernel, **options).build(TensorSpec(INPUTS[n]))
    x = noise(INPUTS[n])
    expected = getattr(functional, f"conv{n}d")(x, module.weight, module.bias, **options)
    assert torch.equal(module(x), expected)
    assert module.weight.shape == (6, 2, *kernel)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_numbers_of_the_transpose_are_those_of_torch_on_the_same_weights(n: int) -> None:
    kernel, options = (3, 2, 1)[:n], {"stride": (1, 2, 3)[:n], "padding": (1, 0, 0)[:n]}
    module = made(f"conv_transpose{n}d", 6, kernel, **options).build(TensorSpec(INPUTS[n]))
    x = noise(INPUTS[n])
    function = getattr(functional, f"conv_transpose{n}d")
    assert torch.equal(module(x), function(x, module.weight, module.bias, **options))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_transposed_convolution_is_as_large_as_what_was_convolved(n: int) -> None:
    x = TensorSpec(("batch", 4, *(9,) * n))
    small = made(f"conv{n}d", 6, 3, stride=2, padding=1).infer(x)[0]
    back = made(f"conv_transpose{n}d", 4, 3, stride=2, padding=1)
    assert back.infer(small)[0] == x


@pytest.mark.parametrize("n", [1, 2, 3])
def test_sizes_of_an_image_need_not_be_known(n: int) -> None:
    x = TensorSpec(("batch", 4, *NAMES[n]))
    names = tuple(f"it_{dim}" for dim in range(2, n + 2))
    assert made(f"conv{n}d", 6, 3).infer(x, name="it")[0].shape == ("batch", 6, *names)
    same = made(f"conv{n}d", 6, 3, padding="same").infer(x)[0]
    assert same.shape == ("batch", 6, *NAMES[n])


def test_sizes_per_dimension_are_used_per_dimension() -> None:
    conv = made("conv2d", 5, (1, 3), stride=[2, 1], padding=(0, 2), dilation=(1, 2))
    assert conv.infer(TensorSpec(("batch", 3, 9, 9)))[0].shape == ("batch", 5, 5, 9)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_same_padding_keeps_sizes_that_reflect_less_than_there_is(kernel: int) -> None:
    conv = made("conv1d", 1, kernel, padding="same", padding_mode="reflect")
    check_layer(conv, [TensorSpec((2, 3, kernel // 2 + 1))])
    with pytest.raises(ShapeError, match="too small for reflect padding"):
        conv.infer(TensorSpec((2, 3, kernel // 2)))


IMAGES = ("batch", 3, 4, 8)


@pytest.mark.parametrize(
    ("key", "params", "shape", "what", "mend"),
    [
        ("conv2d", {"kernel_size": 3}, (3, 8, 8), "4 dimensions is needed", "unsqueeze"),
        ("conv1d", {"kernel_size": 3}, ("batch", 8), "3 dimensions is needed", "unsqueeze"),
        ("conv3d", {"kernel_size": 3}, IMAGES, "5 dimensions is needed", "unsqueeze"),
        ("conv2d", {"kernel_size": 3}, ("batch", "c", 8, 8), "dimension 1, 'c', is", "fixed size"),
        ("conv2d", {"kernel_size": 5}, IMAGES, "window of 5 is larger than dimension 2", "smaller"),
        ("conv2d", {"kernel_size": (1, 9)}, IMAGES, "than dimension 3; the size there", "pad more"),
        ("conv2d", {"kernel_size": 3, "dilation": 2}, IMAGES, "window of 5 is larger", "dilation"),
        ("conv2d", {"kernel_size": 7, "padding": 1}, IMAGES, "4, 6 with what is added", "pad more"),
        (
            "conv2d",
            {"kernel_size": 2, "groups": 2},
            IMAGES,
            "3 channels cannot be split",
            "divides",
        ),
        (
            "conv2d",
            {"kernel_size": 3, "padding": 4, "padding_mode": "reflect"},
            IMAGES,
            "too small for reflect padding of 4; its size is 4, which gives 3",
            "with zeros",
        ),
        (
            "conv2d",
            {"kernel_size": 3, "padding": 5, "padding_mode": "circular"},
            IMAGES,
            "too small for circular padding of 5; its size is 4, which gives 4",
            "pad less",
        ),
        ("conv_transpose2d", {"kernel_size": 3}, (3, 8, 8), "4 dimensions is needed", "unsqueeze"),
        ("conv_transpose2d", {"kernel_size": 3}, ("b", "c", 8, 8), "dimension 1", "fixed size"),
        ("conv_transpose2d", {"kernel_size": 2, "groups": 2}, IMAGES, "3 channels", "divides"),
        (
            "conv_transpose2d",
            {"kernel_size": 1, "padding": 2},
            IMAGES,
            "padding of 2 leaves nothing of dimension 2; its size is 4, 4 before",
            "smaller padding",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_our_words(
    key: str, params: dict[str, object], shape: tuple[int | str, ...], what: str, mend: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        made(key, out_channels=4, **params).infer(TensorSpec(shape))
    assert f"{key} cannot accept" in caught.value.what
    assert what in caught.value.why
    assert mend in caught.value.mend


def test_a_kernel_that_fits_by_padding_is_accepted() -> None:
    assert made("conv1d", 4, 5, padding=2).infer(TensorSpec((2, 3, 1)))[0].shape == (2, 4, 1)
    assert made("conv1d", 4, 5, padding="same").infer(TensorSpec((2, 3, 1)))[0].shape == (2, 4, 1)


@pytest.mark.parametrize("key", ["conv2d", "conv_transpose2d"])
@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        (torch.int64, "floating-point numbers are needed"),
        (torch.float16, "weights are float32, and the input is float16"),
        (torch.float64, "weights are float32, and the input is float64"),
    ],
)
def test_numbers_that_weights_cannot_work_with_are_refused(
    key: str, dtype: torch.dtype, text: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        made(key, 4, 3).infer(TensorSpec(("batch", 3, 8, 8), dtype))
    assert text in caught.value.why


@pytest.mark.parametrize(
    ("key", "params", "expected"),
    [
        ("conv2d", {"kernel_size": 0}, "at least 1"),
        ("conv2d", {"kernel_size": (3, 0)}, "at least 1"),
        ("conv2d", {"kernel_size": 3, "out_channels": 0}, "at least 1"),
        ("conv2d", {"kernel_size": 2.5}, "an integer or a list"),
        ("conv2d", {"kernel_size": True}, "an integer or a list"),
        ("conv2d", {"kernel_size": (3,)}, "one number, or a list of 2"),
        ("conv1d", {"kernel_size": (3, 3)}, "one number, or a list of 1"),
        ("conv3d", {"kernel_size": 3, "stride": (1, 1)}, "one number, or a list of 3"),
        ("conv2d", {"kernel_size": 3, "dilation": (1, 1, 1)}, "one number, or a list of 2"),
        ("conv2d", {"kernel_size": 3, "padding": (1, 1, 1, 1)}, "one number, or a list of 2"),
        ("conv2d", {"kernel_size": 3, "padding": -1}, "at least 0"),
        ("conv2d", {"kernel_size": 3, "padding": "sane"}, "Did you mean 'same'"),
        ("conv2d", {"kernel_size": 3, "padding": "same", "stride": (1, 2)}, "keeps sizes"),
        ("conv2d", {"kernel_size": 3, "groups": 3}, "divides out_channels=4"),
        ("conv2d", {"kernel_size": 3, "padding_mode": "reflection"}, "Did you mean 'reflect'"),
        ("conv_transpose2d", {"kernel_size": 3, "groups": 3}, "divides out_channels=4"),
        ("conv_transpose2d", {"kernel_size": 3, "padding": "same"}, "an integer or a list"),
        ("conv_transpose2d", {"kernel_size": 3, "output_padding": 1}, "less than stride or"),
        (
            "conv_transpose2d",
            {"kernel_size": 3, "stride": (3, 2), "output_padding": 2},
            "less than stride or",
        ),
        ("conv_transpose2d", {"kernel_size": 3, "padding_mode": "zeros"}, "its parameters are"),
    ],
)
def test_impossible_parameters_are_refused(
    key: str, params: dict[str, object], expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        nn(key, **{"out_channels": 4, **params})
    assert f'nn("{key}")' in caught.value.what
    assert expected in caught.value.why


def test_an_output_padding_below_the_dilation_is_enough() -> None:
    back = made("conv_transpose1d", 4, 3, dilation=2, output_padding=1)
    check_layer(back, [TensorSpec((2, 3, 5))])


def test_one_size_of_several_can_be_left_to_tuning() -> None:
    conv = made("conv2d", tune(8, 64), kernel_size=(3, tune(1, 5)))
    assert list(conv.tokens()) == ["out_channels", "kernel_size__1"]
    ready = conv.with_parameters({"out_channels": 8, "kernel_size__1": 5})
    assert ready.per_dim("kernel_size") == (3, 5)
    with pytest.raises(ConfigError, match="kernel_size"):
        conv.with_parameters({"out_channels": 8, "kernel_size": (3, 3, 3)})


@pytest.mark.parametrize(
    "layer",
    [
        made("conv1d", 4, 3, padding="same", padding_mode="circular"),
        made("conv2d", 4, 3, stride=2, padding=1),
        made("conv_transpose2d", 4, 3, stride=2, output_padding=1),
    ],
    ids=repr,
)
def test_a_convolution_compiles_and_exports(layer: Layer) -> None:
    shape = INPUTS[1 if layer.key == "nn_conv1d" else 2]
    module, x = layer.build(TensorSpec(shape)).eval(), noise(shape)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), module(x))
    rows = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(module, (x,), dynamic_shapes=rows).module()
    more = torch.cat([x, -x])
    assert torch.allclose(exported(more), module(more), atol=1e-6)


def test_a_convolution_without_bias_has_none() -> None:
    module = made("conv2d", 4, 3, bias=False).build(TensorSpec(("batch", 3, 8, 8)))
    assert isinstance(module, tnn.Conv2d) and module.bias is None
