"""The checks of ``mlgraph.testing.layer`` find layers that break a promise."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import (
    check_build,
    check_id,
    check_inference,
    check_layer,
    check_network,
    check_rows,
    check_value,
)

X = TensorSpec((4, 3))


class _Base(Layer):
    def build(self, x: TensorSpec) -> nn.Module:
        return nn.Linear(x.size(-1), 2)


class GoodLayer(_Base):
    """Nothing is wrong with it."""


class _Shared(_Base):
    module: ClassVar[nn.Module] = nn.Linear(3, 2)

    def build(self, x: TensorSpec) -> nn.Module:
        return self.module


class _Growing(_Base):
    widths: ClassVar[Any] = itertools.count(1)

    def build(self, x: TensorSpec) -> nn.Module:
        return nn.Linear(x.size(-1), next(self.widths))


class _NeedsRows(_Base):
    def build(self, x: TensorSpec) -> nn.Module:
        return nn.Linear(x.size(-1), x.size(0))


class _WrongSpec(_Base):
    def spec(self, *inputs: TensorSpec, task: object) -> tuple[TensorSpec, ...]:
        return (inputs[0],)


class _OtherInTraining(_Base):
    def build(self, x: TensorSpec) -> nn.Module:
        return TwiceInTraining()


class TwiceInTraining(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x], 1) if self.training else x


class _Unregistered(_Base):
    def build(self, x: TensorSpec) -> nn.Module:
        return Forgetful(x.size(-1))


class Forgetful(nn.Module):
    count: ClassVar[Any] = itertools.count()

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = torch.ones(size) * next(self.count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


class _TooMany(_Base):
    def spec(self, *inputs: TensorSpec, task: object) -> tuple[TensorSpec, ...]:
        return inputs * 2


class _HidesParameters(_Base):
    width: int = 3

    def __repr__(self) -> str:
        return self.call_name()


class _Unequal(_Base):
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 0


class _AnyId(_Base):
    @classmethod
    def check_id(cls, id: str) -> None:
        pass


def test_a_good_layer_passes() -> None:
    check_layer(GoodLayer(), [X], seeds=(0, 1))


@pytest.mark.parametrize(
    ("check", "layer", "text"),
    [
        (check_build, _Shared(), "share tensors"),
        (check_build, _Growing(), "modules that differ"),
        (check_rows, _NeedsRows(), "number of rows"),
        (check_inference, _WrongSpec(), "not the inferred"),
        (check_inference, _OtherInTraining(), "in training"),
        (check_inference, _TooMany(), "has 1 outputs, not 2"),
        (check_network, _Unregistered(), "differs in a network"),
    ],
)
def test_a_broken_promise_about_modules_is_found(check: object, layer: Layer, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check(layer, (X,))


@pytest.mark.parametrize(
    ("check", "layer", "text"),
    [
        (check_value, _HidesParameters(width=4), "does not show width"),
        (check_value, _Unequal(), "is not equal"),
        (check_id, _AnyId(), "can be called 'forward'"),
    ],
)
def test_a_broken_promise_about_values_is_found(check: object, layer: Layer, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check(layer)
