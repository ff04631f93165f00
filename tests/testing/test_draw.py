"""A layer is tested without a row of its own: what is broken is found, what is good passes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from mlgraph.core.param import param
from mlgraph.errors import ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing import check_drawn, drawn

PLUGIN = Path(__file__).parent.parent / "plugin"


class _Apply(nn.Module):
    def __init__(self, fn: Any) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.fn(*tensors)


class _Floats(Layer):
    def build(self, x: TensorSpec) -> nn.Module:
        if not x.dtype.is_floating_point:
            raise ShapeError("Floating-point numbers are needed.")
        return _Apply(type(self).work)

    @staticmethod
    def work(x: torch.Tensor) -> torch.Tensor:
        return x


class _WrongShape(_Floats):
    def spec(self, *inputs: TensorSpec, task: object) -> tuple[TensorSpec, ...]:
        return (inputs[0].with_shape([*inputs[0].shape, 1]),)


class _WrongForOnePattern(_Floats):
    """Right for known sizes, wrong for some unknown ones."""

    def spec(self, *inputs: TensorSpec, task: object) -> tuple[TensorSpec, ...] | None:
        last = inputs[0].shape[-1]
        return (inputs[0].with_shape([last]),) if isinstance(last, str) else None


class _WrongDtype(_Floats):
    def spec(self, *inputs: TensorSpec, task: object) -> tuple[TensorSpec, ...]:
        return (inputs[0].with_dtype(torch.float64),)


class _MixesRows(_Floats):
    @staticmethod
    def work(x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(0, keepdim=True)


class _LooksAhead(_Floats):
    """The last row depends on no other, the first on all."""

    @staticmethod
    def work(x: torch.Tensor) -> torch.Tensor:
        return x.flip(0).cumsum(0).flip(0)


class _ChangesItsInput(_Floats):
    @staticmethod
    def work(x: torch.Tensor) -> torch.Tensor:
        return x.add_(1)


class _OtherInTraining(_Floats):
    def build(self, x: TensorSpec) -> nn.Module:
        return nn.Sequential(super().build(x), _Twice())


class _Twice(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x]) if self.training else x


class _ForeignError(_Floats):
    width: int = param(lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        if x.size(-1) % self.width:
            raise ZeroDivisionError("no part is left")
        return super().build(x)


class _NeedsRows(_Floats):
    def build(self, x: TensorSpec) -> nn.Module:
        x.size(0)
        return super().build(x)


class _Picky(Layer):
    def build(self, x: TensorSpec) -> nn.Module:
        if x.shape[-1] != 224:
            raise ShapeError("An image of 224 pixels is needed.")
        return nn.Identity()


class _TakesAnything(Layer):
    thing: Any

    def build(self, x: TensorSpec) -> nn.Module:
        return nn.Identity()


class _Helped(_TakesAnything):
    @classmethod
    def examples(cls) -> Iterable[tuple[Layer, tuple[TensorSpec, ...]]]:
        return [(cls(thing="a thing"), (TensorSpec((4, 3)),))]


class _HelpedButWrong(_Helped, _WrongShape):
    pass


class _Attention(Layer):
    """Several inputs whose sizes have to fit, a parameter that divides one, a mask."""

    heads: int = param(lower=1)
    kind: Literal["full", "causal"] = "full"
    scale: float | None = param(default=None, lower=0.5, upper=2)

    def build(self, query: TensorSpec, key: TensorSpec, mask: TensorSpec) -> nn.Module:
        fits = query.rank == key.rank == 3 and mask.rank == 2 and mask.dtype == torch.bool
        if not fits or not query.dtype.is_floating_point or query.dtype != key.dtype:
            raise ShapeError("Two sequences and a mask are needed.")
        if query.size(2) % self.heads or query.size(2) != key.size(2):
            raise ShapeError("Widths do not fit.")
        if mask.shape != (query.dim(1), key.dim(1)):
            raise ShapeError("The mask does not fit.")
        return _Apply(_attend)


def _attend(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (query @ key.transpose(1, 2)).masked_fill(mask, 0.0) @ key


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (_WrongShape, "not the inferred"),
        (_WrongForOnePattern, "inferred was"),
        (_WrongDtype, "not the inferred"),
        (_MixesRows, "mixes rows"),
        (_LooksAhead, "mixes rows"),
        (_ChangesItsInput, "changes its input 0 in place"),
        (_OtherInTraining, "in training"),
        (_ForeignError, "raised a ZeroDivisionError"),
        (_HelpedButWrong, "not the inferred"),
    ],
)
def test_a_broken_layer_is_found_without_a_row(broken: type[Layer], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_drawn(broken)


@pytest.mark.parametrize("good", [_Floats, _Helped, _Attention])
def test_a_good_layer_passes_without_a_row(good: type[Layer]) -> None:
    check_drawn(good, cases=4)


def test_the_layer_of_another_package_passes_without_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(PLUGIN)
    from mlgraph_wave.sine import Sine

    check_drawn(Sine)


@pytest.mark.parametrize(
    ("unknown", "why"),
    [
        (_TakesAnything, "the parameter 'thing' is of type Any"),
        (_Picky, "an image of 224 pixels is needed"),
        (_NeedsRows, "dimension 0, 'batch', is needed now"),
    ],
)
def test_what_cannot_be_guessed_is_asked_of_the_author(unknown: type[Layer], why: str) -> None:
    with pytest.raises(AssertionError) as caught:
        drawn(unknown, random.Random(0), budget=10)
    text = str(caught.value)
    assert why in text
    assert f"{unknown.__name__}.examples()" in text


def test_a_failure_says_for_which_layer_and_inputs() -> None:
    with pytest.raises(AssertionError) as caught:
        check_drawn(_MixesRows)
    assert "_mixes_rows" in caught.value.__notes__[0]
    assert "float32" in caught.value.__notes__[0]


def test_draws_are_the_same_for_the_same_source_and_differ_otherwise() -> None:
    cases = [drawn(_Attention, random.Random(number)) for number in (1, 1, 2, 3, 4)]
    assert cases[0] == cases[1]
    assert len(set(cases)) > 2


def test_all_kinds_of_parameters_are_drawn() -> None:
    layers = [drawn(_Attention, random.Random(number))[0] for number in range(25)]
    values = [layer.parameters() for layer in layers]
    assert {value["kind"] for value in values} == {"full", "causal"}
    assert {type(value["scale"]) for value in values} == {float, type(None)}
    assert len({value["heads"] for value in values}) > 2


def test_no_size_is_equal_to_the_number_of_rows() -> None:
    for number in range(20):
        _, (query, key, mask) = drawn(_Attention, random.Random(number))
        assert query.dim(0) not in (*query.shape[1:], *key.shape[1:], *mask.shape)
