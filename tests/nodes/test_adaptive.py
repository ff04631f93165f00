from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from mlgraph import ConfigError, ShapeError, nn, tune
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_layer
from mlgraph_nodes.adaptive import RandomSteps

INPUTS = {1: (2, 4, 9), 2: (2, 4, 7, 6), 3: (2, 3, 5, 4, 6)}
NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def made(key: str, *args: object, **params: object) -> Layer:
    node = nn(key, *args, **params)
    assert isinstance(node, Layer)
    return node


def noise(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("keep", [False, True])
def test_an_adaptive_pool_keeps_the_promises_of_a_layer(kind: str, n: int, keep: bool) -> None:
    size = (None, 8, 1)[:n] if keep else 3
    params = {"return_indices": True} if kind == "max" and keep else {}
    check_layer(made(f"adaptive_{kind}_pool{n}d", size, **params), [TensorSpec(INPUTS[n])])


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_numbers_are_those_of_torch(kind: str, n: int) -> None:
    size, x = (4, 2, 3)[:n], noise(INPUTS[n])
    module = made(f"adaptive_{kind}_pool{n}d", size).build(TensorSpec(INPUTS[n]))
    expected = getattr(functional, f"adaptive_{kind}_pool{n}d")(x, size)
    assert torch.equal(module(x), expected)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_the_size_is_known_even_if_that_of_the_input_is_not(kind: str, n: int) -> None:
    x = TensorSpec(("batch", "c", *NAMES[n]))
    pool = made(f"adaptive_{kind}_pool{n}d", 2)
    assert pool.infer(x)[0].shape == ("batch", "c", *(2,) * n)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_a_size_of_none_is_kept(kind: str, n: int) -> None:
    pool = made(f"adaptive_{kind}_pool{n}d", (None,) * n)
    names = TensorSpec(("batch", 4, *NAMES[n]))
    assert pool.infer(names)[0] == names
    assert torch.equal(pool.build(names)(noise(INPUTS[n])), noise(INPUTS[n]))


def test_where_a_kept_number_was_is_its_place() -> None:
    pool = made("adaptive_max_pool1d", (None,), return_indices=True)
    _, indices = pool.build(TensorSpec((2, 3, 5)))(noise((2, 3, 5)))
    assert torch.equal(indices, torch.arange(5).expand(2, 3, 5))


@pytest.mark.parametrize("key", ["adaptive_avg_pool2d", "adaptive_max_pool2d"])
def test_an_image_without_a_batch_is_refused(key: str) -> None:
    with pytest.raises(ShapeError, match="4 dimensions"):
        made(key, 2).infer(TensorSpec((3, 8, 8)))


@pytest.mark.parametrize(
    ("key", "size", "expected"),
    [
        ("adaptive_avg_pool2d", 0, "at least 1"),
        ("adaptive_avg_pool2d", (1, 2, 3), "one number, or a list of 2"),
        ("adaptive_avg_pool1d", (1, 2), "one number, or a list of 1"),
        ("adaptive_max_pool3d", (1, None), "one number, or a list of 3"),
        ("adaptive_max_pool2d", (None, 0), "at least 1"),
        ("adaptive_max_pool2d", None, "an integer or a list"),
    ],
)
def test_impossible_sizes_are_refused(key: str, size: object, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        nn(key, size)
    assert f'nn("{key}")' in caught.value.what
    assert expected in caught.value.why


# Fractional max pooling


@pytest.mark.parametrize(
    "params",
    [
        {"kernel_size": 2, "output_size": 3},
        {"kernel_size": (2, 3), "output_size": (6, 1), "return_indices": True},
        {"kernel_size": 1, "output_ratio": 0.5},
        {"kernel_size": 2, "output_ratio": (0.5, 0.7), "return_indices": True},
    ],
)
def test_fractional_pooling_keeps_the_promises_of_a_layer(params: dict[str, object]) -> None:
    check_layer(made("fractional_max_pool2d", **params), [TensorSpec(INPUTS[2])])


def test_fractional_pooling_is_random_in_training_only() -> None:
    module, x = RandomSteps((2, 2), output_size=(9, 9)), noise((2, 3, 20, 20))
    torch.manual_seed(0)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))
    samples = torch.full((2, 3, 2), 0.5)
    expected = functional.fractional_max_pool2d(x, 2, 9, _random_samples=samples)
    assert torch.equal(module(x), expected)


def test_fractional_pooling_gives_what_torch_gives_from_the_same_stream() -> None:
    module, x = RandomSteps((2, 3), output_ratio=(0.5, 0.4), return_indices=True), noise(INPUTS[2])
    torch.manual_seed(3)
    largest, indices = module(x)
    torch.manual_seed(3)
    expected = functional.fractional_max_pool2d(
        x, (2, 3), output_ratio=(0.5, 0.4), return_indices=True
    )
    assert torch.equal(largest, expected[0]) and torch.equal(indices, expected[1])


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"kernel_size": 2, "output_size": 7}, "7 windows of 2 cannot be taken from dimension 2"),
        ({"kernel_size": 8, "output_size": 1}, "its size is 7, where there are 1 to 0"),
        ({"kernel_size": (1, 4), "output_ratio": 0.7}, "4 windows of 4 cannot be taken from dim"),
        ({"kernel_size": 1, "output_ratio": 0.1}, "0 windows of 1 cannot be taken"),
    ],
)
def test_more_windows_than_fit_are_refused(params: dict[str, object], why: str) -> None:
    with pytest.raises(ShapeError) as caught:
        made("fractional_max_pool2d", **params).infer(TensorSpec(INPUTS[2]))
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "it got neither"),
        ({"output_size": 2, "output_ratio": 0.5}, "it got both"),
        ({"output_ratio": 1.0}, "between 0 and 1"),
        ({"output_ratio": (0.5, 0.0)}, "between 0 and 1"),
        ({"output_ratio": (0.5, 0.5, 0.5)}, "one number, or a list of 2"),
        ({"output_size": (2,)}, "one number, or a list of 2"),
        ({"output_size": 0}, "at least 1"),
    ],
)
def test_impossible_parameters_of_fractional_pooling_are_refused(
    params: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        nn("fractional_max_pool2d", 2, **params)


def test_a_ratio_can_be_left_to_tuning() -> None:
    pool = made("fractional_max_pool2d", 2, output_ratio=(0.5, tune(0.4, 0.8)))
    ready = pool.with_parameters({"output_ratio__1": 0.6})
    assert ready.infer(TensorSpec(("batch", 3, 10, 10)))[0].shape == ("batch", 3, 5, 6)


@pytest.mark.parametrize(
    "layer",
    [
        made("adaptive_avg_pool2d", (None, 2)),
        made("adaptive_max_pool2d", 2, return_indices=True),
        made("fractional_max_pool2d", 2, output_ratio=0.5),
    ],
    ids=repr,
)
def test_pooling_to_a_size_compiles_and_exports(layer: Layer) -> None:
    module, x = layer.build(TensorSpec(INPUTS[2])).eval(), noise(INPUTS[2])
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    rows = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(module, (x,), dynamic_shapes=rows).module()
    more = torch.cat([x, -x])
    torch.testing.assert_close(compiled(x), module(x))
    torch.testing.assert_close(exported(more), module(more))
