"""The residual block of ResNet for tables."""

from __future__ import annotations

import torch
from torch import nn

from mlgraph.core.param import param
from mlgraph.errors import ConfigError, ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_rank, need_singles


class TabResnetBlock(Layer):
    """A residual block: batch norm, two affine maps with a ReLU between them, and a skip.

    Shape:
        input, output: ``(batch, features)``, ``features`` known.

    Args:
        d_hidden: Width between the maps.
        d_hidden_multiplier: The same in units of ``features``, rounded down; 2 where neither is
            given.
        dropout1: After the activation.
        dropout2: Of what is added to the input.

    Raises:
        ConfigError: Both widths are given.

    References: Gorishniy et al. (2021), "Revisiting Deep Learning Models for Tabular Data",
    arXiv:2106.11959.

    >>> TabResnetBlock().infer(TensorSpec(("batch", 16)))
    ((batch, 16) float32,)
    """

    d_hidden: int | None = param(default=None, lower=1)
    d_hidden_multiplier: float | None = param(default=None, lower=0)
    dropout1: float = param(default=0.15, lower=0, upper=1)
    dropout2: float = param(default=0.0, lower=0, upper=1)

    def validate(self) -> None:
        refuse_two_widths(self, "d_hidden")

    def build(self, x: TensorSpec) -> nn.Module:
        need_singles(x)
        need_rank(x, [2], "(batch, features)")
        width = x.size(-1)
        hidden = hidden_width(self, "d_hidden", width, default=2.0)
        return ResidualBlock(width, hidden, self.dropout1, self.dropout2)


class ResidualBlock(nn.Module):
    """The input plus two affine maps of it, normalised over the batch.

    >>> ResidualBlock(4, 8, 0.1, 0.0)(torch.zeros(2, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(self, width: int, hidden: int, dropout1: float, dropout2: float) -> None:
        super().__init__()
        self.normalization = nn.BatchNorm1d(width)
        self.linear1 = nn.Linear(width, hidden)
        self.activation = nn.ReLU()
        self.dropout1 = nn.Dropout(dropout1)
        self.linear2 = nn.Linear(hidden, width)
        self.dropout2 = nn.Dropout(dropout2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum, ``(batch, width)``."""
        hidden = self.dropout1(self.activation(self.linear1(self.normalization(x))))
        added: torch.Tensor = self.dropout2(self.linear2(hidden))
        return x + added


def refuse_two_widths(layer: Layer, name: str) -> None:
    """Refuse a width that is given as a number and as a multiple.

    Args:
        layer: The layer.
        name: Its parameter for the number; that for the multiple is ``<name>_multiplier``.

    Raises:
        ConfigError: Neither is None.

    >>> refuse_two_widths(TabResnetBlock(d_hidden=8), "d_hidden")
    """
    fixed, multiple = getattr(layer, name), getattr(layer, f"{name}_multiplier")
    if fixed is not None and multiple is not None:
        raise ConfigError(
            "The hidden width is given twice.",
            where=f"node {layer.default_id!r}",
            why=f"{name}={fixed} and {name}_multiplier={multiple}",
            mend="leave one of them out",
        )


def hidden_width(layer: Layer, name: str, width: int, *, default: float) -> int:
    """A width given as a number, or as a multiple of the input's, rounded down.

    Args:
        layer: The layer.
        name: Its parameter for the number; that for the multiple is ``<name>_multiplier``.
        width: Width of the input.
        default: The multiple where neither is given.

    Raises:
        ShapeError: The width would be 0.

    >>> hidden_width(TabResnetBlock(), "d_hidden", 5, default=1.5)
    7
    """
    fixed, multiple = getattr(layer, name), getattr(layer, f"{name}_multiplier")
    multiple = default if multiple is None else multiple
    found = int(width * multiple) if fixed is None else fixed
    if found < 1:
        raise ShapeError(
            "The hidden width would be 0.",
            why=f"{name}_multiplier={multiple} times {width} is below 1",
            mend=f"write {name}=..., or give the input more features",
        )
    return int(found)
