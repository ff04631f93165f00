"""Gated linear units: one half of the numbers decides how much of the other half passes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_floats, need_halves


class GLU(Layer):
    """Gated linear unit: one half times the sigmoid of the other.

    Shape:
        input: any shape, even along ``dim``, which is not the batch.
        output: the same, halved along ``dim``.

    >>> GLU().infer(TensorSpec(("batch", 8)))
    ((batch, 4) float32,)
    """

    dim: int = -1

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        need_halves(x, self.dim)
        return nn.GLU(self.dim)


class ReGLU(Layer):
    """Gated unit: one half of the last dimension times the ReLU of the other.

    Shape:
        input: ``(batch, ..., features)``, ``features`` even.
        output: ``(batch, ..., features / 2)``.

    References: Shazeer (2020), "GLU Variants Improve Transformer", arXiv:2002.05202.

    >>> ReGLU().infer(TensorSpec(("batch", 8)))
    ((batch, 4) float32,)
    """

    key = "nn_reglu"

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        need_halves(x, -1)
        return Gated(functional.relu)


class GEGLU(Layer):
    """Gated unit: one half of the last dimension times the GELU of the other.

    Shape:
        input: ``(batch, ..., features)``, ``features`` even.
        output: ``(batch, ..., features / 2)``.

    References: Shazeer (2020), "GLU Variants Improve Transformer", arXiv:2002.05202.

    >>> GEGLU().infer(TensorSpec(("batch", 8)))
    ((batch, 4) float32,)
    """

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        need_halves(x, -1)
        return Gated(functional.gelu)


class Gated(nn.Module):
    """One half of the last dimension, times a function of the other half.

    >>> Gated(functional.relu)(torch.tensor([2.0, 3.0, -1.0, 4.0]))
    tensor([ 0., 12.])
    """

    def __init__(self, gate: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The gated half."""
        if x.shape[-1] % 2:
            raise ValueError(f"the last size, {x.shape[-1]}, is not divisible by 2")
        value, gate = x.chunk(2, dim=-1)
        return value * self.gate(gate)
