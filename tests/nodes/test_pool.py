from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from mlgraph import ConfigError, ShapeError, nn, tune
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_layer

INPUTS = {1: (2, 4, 9), 2: (2, 4, 7, 6), 3: (2, 3, 5, 4, 6)}

ROWS: list[tuple[str, dict[str, object]]] = [
    ("max", {"kernel_size": 2}),
    ("max", {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}),
    ("max", {"kernel_size": 2, "return_indices": True}),
    ("avg", {"kernel_size": 3, "stride": 1}),
    ("avg", {"kernel_size": 3, "padding": 1, "ceil_mode": True, "count_include_pad": False}),
    ("lp", {"norm_type": 2, "kernel_size": 2}),
    ("lp", {"norm_type": 4.0, "kernel_size": 3, "stride": 2, "ceil_mode": True}),
]


def made(key: str, *args: object, **params: object) -> Layer:
    node = nn(key, *args, **params)
    assert isinstance(node, Layer)
    return node


def noise(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(("kind", "params"), ROWS)
def test_a_pool_keeps_the_promises_of_a_layer(kind: str, params: dict[str, object], n: int) -> None:
    check_layer(made(f"{kind}_pool{n}d", **params), [TensorSpec(INPUTS[n])])


@pytest.mark.parametrize("n", [2, 3])
def test_a_sum_can_be_divided_by_any_number(n: int) -> None:
    pool = made(f"avg_pool{n}d", 2, divisor_override=1)
    check_layer(pool, [TensorSpec(INPUTS[n])])
    assert torch.all(pool.build(TensorSpec(INPUTS[n]))(torch.ones(INPUTS[n])) == 2**n)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_numbers_are_those_of_torch(kind: str, n: int) -> None:
    sizes = {"kernel_size": (2, 3, 2)[:n], "stride": (2, 1, 3)[:n], "padding": (1, 0, 1)[:n]}
    module, x = made(f"{kind}_pool{n}d", **sizes).build(TensorSpec(INPUTS[n])), noise(INPUTS[n])
    expected = getattr(functional, f"{kind}_pool{n}d")(x, **sizes)
    assert torch.equal(module(x), expected)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_power_average_is_the_root_of_a_sum_of_powers(n: int) -> None:
    x = noise(INPUTS[n]).abs()
    pooled = made(f"lp_pool{n}d", 3, (2,) * n).build(TensorSpec(INPUTS[n]))(x)
    mean = getattr(functional, f"avg_pool{n}d")(x**3, 2)
    assert torch.allclose(pooled, (mean * 2**n) ** (1 / 3), atol=1e-5)


def test_parameters_are_in_the_order_of_torch() -> None:
    fields = {key: type(made(key, 2, 2)).field_names() for key in ("max_pool2d", "avg_pool3d")}
    order = "kernel_size stride padding dilation return_indices ceil_mode"
    assert fields["max_pool2d"] == tuple(order.split())
    order = "kernel_size stride padding ceil_mode count_include_pad divisor_override"
    assert fields["avg_pool3d"] == tuple(order.split())
    order = "norm_type kernel_size stride ceil_mode"
    assert type(made("lp_pool1d", 2, 2)).field_names() == tuple(order.split())
    assert "divisor_override" not in type(made("avg_pool1d", 2)).field_names()


# Indices


def test_the_indices_are_where_the_numbers_were() -> None:
    pool = made("max_pool2d", 2, return_indices=True)
    assert [port.name for port in pool.ports()[1]] == ["output", "indices"]
    x = noise((2, 3, 4, 6))
    largest, indices = pool.build(TensorSpec((2, 3, 4, 6)))(x)
    assert torch.equal(x.flatten(2).gather(2, indices.flatten(2)).reshape(largest.shape), largest)


def test_without_indices_there_is_one_output() -> None:
    assert [port.name for port in made("max_pool2d", 2).ports()[1]] == ["output"]


def test_both_outputs_have_the_same_unknown_sizes() -> None:
    pool = made("max_pool1d", 2, return_indices=True)
    output, indices = pool.infer(TensorSpec(("batch", 3, "time")), name="pool")
    assert output.shape == indices.shape == ("batch", 3, "pool_output_2")
    assert indices.dtype == torch.int64


def test_a_pool_with_indices_is_another_one() -> None:
    one, two = made("max_pool2d", 2), made("max_pool2d", 2, return_indices=True)
    assert one != two and hash(one) != hash(two)


@pytest.mark.parametrize("key", ["max_pool2d", "adaptive_max_pool2d", "fractional_max_pool2d"])
def test_whether_there_are_indices_cannot_be_left_to_tuning(key: str) -> None:
    size = {"output_size": 2} if key.startswith("frac") else {}
    with pytest.raises(ConfigError, match="cannot be left to tuning"):
        nn(key, 2, return_indices=tune([True, False]), **size)


# Sizes


@pytest.mark.parametrize("length", range(1, 8))
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_a_pool_refuses_what_torch_refuses_and_nothing_else(kernel: int, length: int) -> None:
    ways = itertools.product((1, 2, 3), range(kernel // 2 + 1), (False, True))
    for stride, padding, ceil_mode in ways:
        for kind, dilations in (("max", (1, 2)), ("avg", (None,))):
            for dilation in dilations:
                params = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
                params |= {"dilation": dilation} if dilation else {}
                _compare(f"{kind}_pool1d", kernel, params, length)


def _compare(key: str, kernel: int, params: dict[str, int], length: int) -> None:
    pool = made(key, kernel, **params)
    try:
        real = getattr(functional, key)(torch.zeros(2, 3, length), kernel, **params)
    except RuntimeError:
        with pytest.raises(ShapeError, match="window"):
            pool.build(TensorSpec((2, 3, length)))
    else:
        assert pool.infer(TensorSpec((2, 3, length)))[0].shape == tuple(real.shape)


@pytest.mark.parametrize(("length", "windows"), [(5, 2), (6, 3)])
def test_in_ceil_mode_the_last_window_starts_inside(length: int, windows: int) -> None:
    # The third one starts at place 5, counted without the padding before the numbers.
    pool = made("max_pool1d", 3, padding=1, ceil_mode=True)
    assert pool.infer(TensorSpec(("batch", 3, length)))[0].shape == ("batch", 3, windows)


@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
def test_neither_channels_nor_sizes_need_to_be_known(kind: str) -> None:
    power = {"norm_type": 2} if kind == "lp" else {}
    pool = made(f"{kind}_pool2d", kernel_size=2, **power)
    shape = pool.infer(TensorSpec(("batch", "c", "h", 6)), name="p")[0].shape
    assert shape == ("batch", "c", "p_2", 3)


@pytest.mark.parametrize(
    ("key", "params", "shape", "why"),
    [
        ("max_pool2d", {"kernel_size": 2}, (3, 8, 8), "4 dimensions is needed"),
        ("avg_pool1d", {"kernel_size": 2}, (3, 8), "3 dimensions is needed"),
        ("lp_pool3d", {"norm_type": 2, "kernel_size": 2}, (3, 8, 8, 8), "5 dimensions is needed"),
        ("max_pool2d", {"kernel_size": 5}, (2, 3, 4, 8), "5 is larger than dimension 2; the size"),
        ("max_pool2d", {"kernel_size": 3, "dilation": 2}, (2, 3, 8, 4), "than dimension 3"),
        ("avg_pool2d", {"kernel_size": (2, 9), "padding": 1}, (2, 3, 8, 6), "6, 8 with what is"),
        ("lp_pool1d", {"norm_type": 2, "kernel_size": 5}, (2, 3, 4), "window of 5 is larger"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_our_words(
    key: str, params: dict[str, object], shape: tuple[int, ...], why: str
) -> None:
    with pytest.raises(ShapeError, match=f"{key} cannot accept") as caught:
        made(key, **params).infer(TensorSpec(shape))
    assert why in caught.value.why
    assert caught.value.mend


@pytest.mark.parametrize("key", ["max_pool1d", "avg_pool1d"])
def test_integers_are_refused(key: str) -> None:
    with pytest.raises(ShapeError, match="floating-point"):
        made(key, 2).infer(TensorSpec(("batch", 3, 8), torch.int64))


@pytest.mark.parametrize(
    ("key", "params", "expected"),
    [
        ("max_pool2d", {"kernel_size": 0}, "at least 1"),
        ("max_pool2d", {"kernel_size": (2, 2, 2)}, "one number, or a list of 2"),
        ("max_pool2d", {"kernel_size": 2, "stride": (1,)}, "one number, or a list of 2"),
        ("max_pool2d", {"kernel_size": 2, "stride": 0}, "at least 1"),
        ("max_pool2d", {"kernel_size": 3, "padding": 2}, "half of kernel_size, 1 and 1"),
        ("max_pool1d", {"kernel_size": 2, "padding": -1}, "at least 0"),
        ("avg_pool1d", {"kernel_size": 3, "padding": 2}, "half of kernel_size, 1"),
        ("avg_pool2d", {"kernel_size": (4, 3), "padding": 2}, "half of kernel_size, 2 and 1"),
        ("avg_pool2d", {"kernel_size": 2, "divisor_override": 0}, "at least 1"),
        ("avg_pool1d", {"kernel_size": 2, "divisor_override": 1}, "its parameters are"),
        ("lp_pool2d", {"kernel_size": 2, "norm_type": 0}, "a positive number"),
        ("lp_pool2d", {"kernel_size": 2, "norm_type": float("inf")}, "not infinite"),
        ("lp_pool2d", {"kernel_size": 2, "norm_type": float("nan")}, "a positive number"),
    ],
)
def test_impossible_parameters_are_refused(
    key: str, params: dict[str, object], expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        nn(key, **params)
    assert f'nn("{key}")' in caught.value.what
    assert expected in caught.value.why


@pytest.mark.parametrize("n", [1, 2, 3])
def test_dilation_makes_no_room_for_padding_as_in_torch(n: int) -> None:
    with pytest.raises(RuntimeError, match="half of kernel size"):
        getattr(functional, f"max_pool{n}d")(torch.zeros(2, 3, *(6,) * n), 3, 1, 2, dilation=2)
    with pytest.raises(ConfigError, match="at most half of kernel_size, 1"):
        nn(f"max_pool{n}d", 3, padding=2, dilation=2)


@pytest.mark.parametrize(
    "layer",
    [
        made("max_pool2d", 3, 2, 1, return_indices=True, ceil_mode=True),
        made("avg_pool2d", 2),
        made("lp_pool2d", 2, 2),
    ],
    ids=repr,
)
def test_a_pool_compiles_and_exports(layer: Layer) -> None:
    module, x = layer.build(TensorSpec(INPUTS[2])).eval(), noise(INPUTS[2])
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    rows = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(module, (x,), dynamic_shapes=rows).module()
    more = torch.cat([x, -x])
    torch.testing.assert_close(compiled(x), module(x))
    torch.testing.assert_close(exported(more), module(more))
