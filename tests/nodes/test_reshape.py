from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.errors import MLGraphError
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_inference

Shape = tuple[int | str, ...]


def shape(key: str, of: Shape, *args: object, **params: object) -> Shape:
    return nn(key, *args, **params).infer(TensorSpec(of), name="it")[0].shape


@pytest.mark.parametrize(
    ("key", "params", "before", "after"),
    [
        ("flatten", {}, ("batch", 3, 4), ("batch", 12)),
        ("flatten", {"end_dim": -2}, (2, 4, 6, 8), (2, 24, 8)),
        ("flatten", {}, ("batch", "time", 4), ("batch", "it_1")),
        ("unflatten", {"dim": 1, "sizes": (2, 3)}, ("batch", 6), ("batch", 2, 3)),
        ("unflatten", {"dim": -1, "sizes": (-1, 2)}, ("batch", 3, 6), ("batch", 3, 3, 2)),
        ("reshape", {"shape": (-1, 2, 2)}, (1, 4), (1, 2, 2)),
        ("reshape", {"shape": (-1, 2, 2)}, ("batch", 4), ("batch", 2, 2)),
        ("reshape", {"shape": (2, -1)}, (32, 4, 6), (2, 384)),
        ("reshape", {"shape": (-1, 24)}, ("batch", 4, 6), ("batch", 24)),
        ("reshape", {"shape": lambda s: (s[0], -1)}, ("batch", 4, 6), ("batch", 24)),
        ("reshape", {"shape": lambda s: (*s[:2], 10)}, ("b", "t", 2, 5), ("b", "t", 10)),
        ("squeeze", {"dim": [-1, -3]}, ("batch", 1, 5, 1), ("batch", 5)),
        ("squeeze", {"dim": 1}, ("batch", "time"), ("batch", "time")),
        ("squeeze", {"dim": 1}, ("batch", 5), ("batch", 5)),
        ("squeeze", {"dim": 0}, (1, 3, 5), (3, 5)),
        ("squeeze", {"dim": 0}, ("batch", 3, 5), ("batch", 3, 5)),
        ("squeeze", {"dim": [1, 1, -1]}, ("batch", 1), ("batch",)),
        ("unsqueeze", {"dim": 1}, ("batch", 4), ("batch", 1, 4)),
        ("unsqueeze", {"dim": -1}, ("batch", "time"), ("batch", "time", 1)),
        ("permute", {"dims": (0, 2, 1)}, ("batch", "time", 8), ("batch", 8, "time")),
        ("permute", {"dims": (-1, 0, 1)}, ("batch", "time", 8), (8, "batch", "time")),
        ("transpose", {"dim0": 1, "dim1": -1}, ("batch", "t", 3, 8), ("batch", 8, 3, "t")),
    ],
)
def test_shapes(key: str, params: dict[str, object], before: Shape, after: Shape) -> None:
    assert shape(key, before, **params) == after


@pytest.mark.parametrize(
    ("key", "params", "of", "text"),
    [
        ("flatten", {"start_dim": 3}, ("batch", 3, 4), "start_dim=3"),
        ("flatten", {"end_dim": -4}, ("batch", 3, 4), "end_dim=-4"),
        ("flatten", {"start_dim": 2, "end_dim": 1}, ("batch", 3, 4), "lies before the first"),
        ("unflatten", {"dim": 2, "sizes": (2, 3)}, ("batch", 6), "dim=2"),
        ("unflatten", {"dim": 1, "sizes": (2, 4)}, ("batch", 6), "size 6 cannot become"),
        ("unflatten", {"dim": 1, "sizes": (4, -1)}, ("batch", 6), "size 6 cannot become"),
        ("reshape", {"shape": (-1, 5)}, (2, 3), "cannot take the shape"),
        ("reshape", {"shape": (-1, 25)}, ("batch", 4, 6), "change the number of rows"),
        ("reshape", {"shape": (-1, 12)}, ("batch", 4, 6), "change the number of rows"),
        ("reshape", {"shape": (4, 6)}, (4, 3, 2, 2), "cannot take the shape"),
        ("reshape", {"shape": lambda s: "no"}, ("batch", 4), "returned 'no'"),
        ("reshape", {"shape": lambda s: (s[0], 1.0)}, ("batch", 4), "list of integers"),
        ("reshape", {"shape": lambda s: 1 / 0}, ("batch", 4), "division by zero"),
        ("squeeze", {"dim": 2}, ("batch", 4), "dim=2"),
        ("squeeze", {"dim": [0, -3]}, ("batch", 4), "dim=-3"),
        ("unsqueeze", {"dim": 3}, ("batch", 4), "dim=3"),
        ("unsqueeze", {"dim": -4}, ("batch", 4), "dim=-4"),
        ("permute", {"dims": (0, 1)}, ("batch", 3, 4), "each of 0 to 2"),
        ("permute", {"dims": (0, 1, 1)}, ("batch", 3, 4), "each of 0 to 2"),
        ("permute", {"dims": (0, 1, 3)}, ("batch", 3, 4), "dims=3"),
        ("transpose", {"dim0": 1, "dim1": 2}, ("batch", 4), "dim1=2"),
    ],
)
def test_refused_shapes(key: str, params: dict[str, object], of: Shape, text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        shape(key, of, **params)
    assert text in str(caught.value)
    assert str(caught.value).startswith(("it cannot", "The output of it"))


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("reshape", {"shape": (-1, 0)}),
        ("reshape", {"shape": (-1, -2)}),
        ("reshape", {"shape": (-1, -1)}),
        ("reshape", {"shape": ()}),
        ("reshape", {"shape": (None, 3)}),
        ("reshape", {"shape": (-1, 2.5)}),
        ("reshape", {"shape": lambda: (1,)}),
        ("reshape", {"shape": lambda s, t: s}),
        ("unflatten", {"dim": 1, "sizes": ()}),
        ("unflatten", {"dim": 1, "sizes": (0, 2)}),
        ("squeeze", {}),
        ("squeeze", {"dim": 1.5}),
        ("permute", {"dims": 1}),
        ("flatten", {"start_dim": True}),
    ],
)
def test_impossible_parameters_are_refused(key: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f'nn\\("{key}"'):
        nn(key, **params)


def test_a_dimension_that_was_unknown_is_not_squeezed_when_it_happens_to_be_1() -> None:
    module = nn("squeeze", dim=1).build(TensorSpec(("batch", "time")))
    assert module(torch.zeros(3, 1)).shape == (3, 1)


def test_a_function_of_the_shape_is_called_with_numbers_whenever_the_network_runs() -> None:
    seen: list[tuple[int, ...]] = []

    def halve(old: tuple[int, ...]) -> tuple[int, ...]:
        seen.append(old)
        return old[0], 2, old[1] // 2

    module = nn("reshape", halve).build(TensorSpec(("batch", "time")))
    assert [module(torch.zeros(3, time)).shape[2] for time in (4, 6)] == [2, 3]
    assert seen == [(3, 4), (3, 6)]


SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, data=st.data())
def test_rearranged_shapes_are_found_whatever_is_unknown(
    sizes: list[int], data: st.DataObject
) -> None:
    places = st.integers(-len(sizes), len(sizes) - 1)
    layers = st.one_of(
        st.builds(lambda a, b: nn("flatten", a, b), places, places),
        st.builds(lambda a, b: nn("transpose", a, b), places, places),
        st.builds(lambda dim: nn("unsqueeze", dim), places),
        st.builds(lambda dims: nn("squeeze", dims), st.lists(places, min_size=1)),
        st.builds(lambda dims: nn("permute", dims), st.permutations(range(len(sizes)))),
    )
    layer, spec = data.draw(layers), TensorSpec((2, *sizes[1:]))
    try:
        layer.infer(spec)
    except MLGraphError:
        return
    check_inference(layer, (spec,))


@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, data=st.data())
def test_reshaping_is_found_or_refused_as_torch_does(sizes: list[int], data: st.DataObject) -> None:
    target = data.draw(st.lists(st.sampled_from([-1, 1, 2, 3, 4, 6, 8]), min_size=1, max_size=3))
    if target.count(-1) > 1:
        return
    layer, spec = nn("reshape", target), TensorSpec(sizes)
    try:
        torch.zeros(sizes).reshape(target)
    except RuntimeError:
        with pytest.raises(ShapeError):
            layer.infer(spec)
        return
    keeps_rows = target[0] in (-1, sizes[0]) and -1 not in target[1:]
    if keeps_rows and math.prod(sizes[1:]) != math.prod(target[1:]):
        with pytest.raises(ShapeError, match="rows"):
            layer.infer(spec)
        return
    check_inference(layer, (spec,))
