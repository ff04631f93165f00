from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_inference, check_layer

SMALL = {1: (2, 3, 4), 2: (2, 3, 4, 3), 3: (2, 2, 3, 2, 4)}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Where indices repeat, as random ones do, which number stays depends on the threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(key: str, *args: object, **params: object) -> Layer:
    node = nn(key, *args, **params)
    assert isinstance(node, Layer)
    return node


def specs(*shape: int | str) -> tuple[TensorSpec, TensorSpec]:
    return TensorSpec(shape), TensorSpec(shape, torch.int64)


def noise(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(
    "params",
    [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}],
)
def test_unpooling_keeps_the_promises_of_a_layer(n: int, params: dict[str, object]) -> None:
    check_layer(made(f"max_unpool{n}d", **params), specs(*SMALL[n]))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling_to_a_size_accepts_every_pattern_of_unknown_sizes(n: int) -> None:
    size = tuple(2 * old + 1 for old in SMALL[n][2:])
    layer = made(f"max_unpool{n}d", 2, output_size=size)
    assert check_inference(layer, specs(*SMALL[n])) == 2 ** (2 * n + 4)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_largest_numbers_return_to_their_places(n: int) -> None:
    x = noise((2, 3, *(7, 5, 6)[:n]))
    pool = made(f"max_pool{n}d", 2, return_indices=True)
    largest, indices = pool.build(TensorSpec(tuple(x.shape)))(x)
    back = made(f"max_unpool{n}d", 2, output_size=tuple(x.shape[2:]))
    unpooled = back.build(*specs(*largest.shape))(largest, indices)
    assert torch.equal(unpooled, torch.where(unpooled != 0, x, 0.0))
    assert unpooled.count_nonzero() == largest.numel()
    function = getattr(functional, f"max_unpool{n}d")
    assert torch.equal(unpooled, function(largest, indices, 2, output_size=x.shape))


def test_pooling_and_unpooling_are_wired_by_their_ports() -> None:
    pool = made("max_pool2d", 2, return_indices=True)
    pooled = pool.infer(TensorSpec(("batch", 3, "height", 8)), name="pool")
    back = made("max_unpool2d", 2)
    assert [port.name for port in back.ports()[0]] == ["input", "indices"]
    assert back.infer(*pooled, name="back")[0].shape == ("batch", 3, "back_2", 8)


def test_what_is_known_of_one_input_is_known_of_both() -> None:
    back = made("max_unpool1d", 2)
    x, indices = TensorSpec(("rows", 3, "time")), TensorSpec(("batch", "c", 5), torch.int64)
    assert back.infer(x, indices)[0].shape[1:] == (3, 10)


@pytest.mark.parametrize(
    ("params", "given", "why"),
    [
        ({}, specs(3, 8, 8), "4 dimensions is needed"),
        ({}, (specs(2, 3, 4, 4)[0], specs(2, 3, 4)[1]), "indices do not fit the input"),
        ({}, (specs(2, 3, 4, 4)[0], specs(2, 3, 4, 5)[1]), "indices do not fit the input"),
        ({}, (specs(2, 3, 4, 4)[0],) * 2, "indices int64"),
        ({}, specs(2, 3, 4, 4)[::-1], "floating-point numbers are needed"),
        ({"output_size": 10}, specs(2, 3, 4, 4), "cannot become 10 long; its size is 4, which can"),
        ({"output_size": (8, 6)}, specs(2, 3, 4, 4), "can become 7 to 9"),
        ({"padding": 3}, specs(2, 3, 1, 4), "dimension 2 cannot become -4 long"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_our_words(
    params: dict[str, object], given: tuple[TensorSpec, ...], why: str
) -> None:
    with pytest.raises(ShapeError, match="max_unpool2d cannot accept") as caught:
        made("max_unpool2d", 2, **params).infer(*given)
    assert why in caught.value.why
    assert caught.value.mend


@pytest.mark.parametrize("size", range(1, 14))
def test_a_size_is_refused_where_torch_refuses_it(size: int) -> None:
    layer, x = made("max_unpool1d", 3, 2, output_size=size), torch.zeros(1, 1, 4)
    try:
        functional.max_unpool1d(x, x.long(), 3, 2, output_size=(size,))
    except ValueError:
        with pytest.raises(ShapeError, match="cannot become"):
            layer.build(*specs(1, 1, 4))
    else:
        assert layer.infer(*specs(1, 1, 4))[0].shape == (1, 1, size)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"kernel_size": 0}, "at least 1"),
        ({"kernel_size": (2,)}, "one number, or a list of 2"),
        ({"kernel_size": 2, "output_size": (2, 3, 8, 8)}, "one number, or a list of 2"),
        ({"kernel_size": 2, "padding": -1}, "at least 0"),
    ],
)
def test_impossible_parameters_are_refused(params: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        nn("max_unpool2d", **params)
    assert expected in caught.value.why


@pytest.mark.parametrize("params", [{}, {"output_size": (9, 7)}])
def test_unpooling_compiles_and_exports(params: dict[str, object]) -> None:
    shape = SMALL[2]
    module = made("max_unpool2d", 2, **params).build(*specs(*shape)).eval()
    x, indices = noise(shape), torch.arange(12).reshape(4, 3).expand(shape) * 3
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x, indices), module(x, indices))
    rows = {0: torch.export.Dim("batch")}
    exported = torch.export.export(module, (x, indices), dynamic_shapes=(rows, rows)).module()
    more = torch.cat([x, -x]), torch.cat([indices, indices])
    assert torch.equal(exported(*more), module(*more))
