"""A periodic activation."""

import torch
from torch import nn

from mlgraph import Layer, param


class Wave(nn.Module):
    def __init__(self, omega: float) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.omega * x)


class Sine(Layer):
    """Sine of the input: ``(batch, ...) -> (batch, ...)``; see SIREN (Sitzmann et al., 2020)."""

    omega: float = param(default=30.0, lower=0)

    def build(self, x):
        return Wave(self.omega)
