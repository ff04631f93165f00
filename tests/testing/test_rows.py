"""Which inputs hold the rows, and which layers may mix them."""

from __future__ import annotations

import pytest
import torch
from torch import nn as tnn

from mlgraph import nn
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.rows import check_alone, row_inputs, with_rows


def specs(*shapes: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    return tuple(map(TensorSpec, shapes))


@pytest.mark.parametrize(
    ("shapes", "places"),
    [
        ([(4, 3)], (0,)),
        ([(4,)], (0,)),
        ([(4, 4)], (0,)),
        ([(1, 3)], ()),
        ([()], ()),
        ([(1, 3), (4, 3)], (1,)),
        ([(4, 3), (1, 3), (4, 3)], (0, 2)),
        ([(4, 4), (4, 4)], (0, 1)),
        ([(4, 5, 8), (4, 6, 8), (5, 6)], (0, 1)),
        ([(4, 5, 8), (4, 5), (5, 5)], (0, 1)),
        ([(4, 5, 8), (4, 4)], ()),
        ([(4, 4, 8), (4, 4)], ()),
    ],
)
def test_the_inputs_that_hold_the_rows(
    shapes: list[tuple[int, ...]], places: tuple[int, ...]
) -> None:
    assert row_inputs(specs(*shapes)) == places


def test_only_inputs_that_hold_rows_get_another_number_of_them() -> None:
    changed = with_rows(specs((4, 5, 8), (5, 5), (4, 5)), 7)
    assert [spec.shape for spec in changed] == [(7, 5, 8), (5, 5), (7, 5)]


def mixed(x: torch.Tensor, dim: int = 0) -> torch.Tensor:
    return x.softmax(dim)


def with_keepdim(x: torch.Tensor, keepdim: bool = False) -> torch.Tensor:
    return x - x.mean(0)


TOLD = [
    nn("softmax", dim=0),
    nn("softmax", dim=-2),
    nn("fn", mixed, dim=0),
    nn("batch_norm1d", track_running_stats=False),
    nn("transpose", 0, 1),
]


@pytest.mark.parametrize("layer", TOLD, ids=repr)
def test_a_layer_that_is_told_to_mix_rows_may(layer: Layer) -> None:
    check_alone(layer, specs((4, 3)))


@pytest.mark.parametrize(
    "layer",
    [
        nn("fn", mixed),
        nn("fn", with_keepdim, keepdim=False),
        nn("module", tnn.Softmax(0)),
    ],
    ids=repr,
)
def test_another_layer_may_not(layer: Layer) -> None:
    with pytest.raises(AssertionError, match="mixes rows"):
        check_alone(layer, specs((4, 3)))


def later(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x, x + y.flip(0)


def test_every_input_and_output_is_looked_at() -> None:
    layer = nn("fn", later, inputs=("x", "y"), outputs=("a", "b"))
    with pytest.raises(AssertionError, match="a row of output 1"):
        check_alone(layer, specs((4, 3), (4, 3)))


def shared(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return x * mask.sum()


def test_an_input_without_rows_may_be_used_by_every_row() -> None:
    check_alone(nn("fn", shared, inputs=("x", "mask")), specs((4, 3), (3, 3)))
