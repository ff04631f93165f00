"""What torch cannot compile or export, or gives other results for then, is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from mlgraph.core.port import Port
from mlgraph.net.layer import Layer, layer_port
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing import check_compiled, check_exported

X = (TensorSpec((4, 3)),)


class Work(nn.Module):
    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.fn(*tensors)


class _Working(Layer):
    def build(self, *inputs: TensorSpec) -> nn.Module:
        return Work(type(self).work)

    @staticmethod
    def work(*tensors: torch.Tensor) -> Any:
        raise NotImplementedError


class _Both(_Working):
    """Two inputs that hold the rows, one that does not, two outputs."""

    outputs: ClassVar[tuple[Port, ...]] = (layer_port("sum"), layer_port("rows"))

    @staticmethod
    def work(x: torch.Tensor, y: torch.Tensor, shared: torch.Tensor) -> Any:
        return x + y + shared, x.sum(1)


class _LooksAtValues(_Working):
    @staticmethod
    def work(x: torch.Tensor) -> torch.Tensor:
        return x if bool((x > 0).any()) else -x


class _KnowsRows(_Working):
    """Refuses, while it runs, any number of rows but one."""

    @staticmethod
    def work(x: torch.Tensor) -> torch.Tensor:
        return x + torch.zeros(3) if x.shape[0] == 4 else x.clone()


class _OtherWhenCompiled(_Working):
    @staticmethod
    def work(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if torch.compiler.is_compiling() else x - 1


@pytest.mark.parametrize("check", [check_compiled, check_exported])
def test_several_inputs_and_outputs_are_compared(check: Callable[..., None]) -> None:
    check(_Both(), (TensorSpec((4, 3)), TensorSpec((4, 1)), TensorSpec((1, 3))))


@pytest.mark.parametrize(
    ("check", "broken", "text"),
    [
        (check_compiled, _LooksAtValues(), "cannot be compiled"),
        (check_exported, _LooksAtValues(), "cannot be exported"),
        (check_exported, _KnowsRows(), "cannot be exported"),
        (check_compiled, _OtherWhenCompiled(), "something else when it is compiled"),
        (check_exported, _OtherWhenCompiled(), "something else when it is exported"),
    ],
)
def test_what_torch_cannot_do_is_found(
    check: Callable[..., None], broken: Layer, text: str
) -> None:
    with pytest.raises(AssertionError, match=text):
        check(broken, X)


def test_code_for_another_number_of_rows_is_compiled_again() -> None:
    check_compiled(_KnowsRows(), X)


def test_the_refusal_names_layer_and_inputs() -> None:
    with pytest.raises(AssertionError, match=r'nn\("_looks_at_values"\) for \(\(4, 3\) float32,\)'):
        check_compiled(_LooksAtValues(), X)
