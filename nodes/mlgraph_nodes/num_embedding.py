"""Embeddings of numbers: every column becomes a vector of functions of its number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mlgraph.core.base import Context
from mlgraph.core.param import param
from mlgraph.errors import ConfigError, DataError, GraphError, listing
from mlgraph.net.layer import Layer, Start
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_rank, need_singles
from mlgraph_nodes.tokenizer import NumericTokens

MAX_ROWS = 2**24  # torch.quantile takes no more


class LinearReLUEmbedding(Layer):
    """Each number times a learned vector, plus another one, and a ReLU.

    Shape:
        input: ``(batch, columns)`` numbers, ``columns`` known.
        output: ``(batch, columns, d_embedding)``.

    Args:
        d_embedding: Width of a vector.

    References: Gorishniy et al. (2022), "On Embeddings for Numerical Features in Tabular Deep
    Learning", arXiv:2203.05556.

    >>> LinearReLUEmbedding().infer(TensorSpec(("batch", 3)))
    ((batch, 3, 32) float32,)
    """

    d_embedding: int = param(default=32, lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        return nn.Sequential(NumericTokens(_columns(x), self.d_embedding), nn.ReLU())


class PeriodicEmbedding(Layer):
    """Sines and cosines of each number with learned frequencies, and an affine map of them.

    Shape:
        input: ``(batch, columns)`` numbers, ``columns`` known.
        output: ``(batch, columns, d_embedding)``.

    Args:
        d_embedding: Width of a vector.
        n_frequencies: Number of frequencies of each column.
        frequency_init_scale: Standard deviation of the frequencies at the start, which is cut at
            three of it. It matters much: the more, the less smooth is what is learned.
        activation: A ReLU at the end.
        lite: One map for all columns; needs ``activation``.

    Raises:
        ConfigError: ``lite`` without ``activation``.

    References: Gorishniy et al. (2022), "On Embeddings for Numerical Features in Tabular Deep
    Learning", arXiv:2203.05556; ``lite``: Gorishniy et al. (2023), "TabR", arXiv:2307.14338.

    >>> PeriodicEmbedding().infer(TensorSpec(("batch", 3)))
    ((batch, 3, 24) float32,)
    """

    d_embedding: int = param(default=24, lower=1)
    n_frequencies: int = param(default=48, lower=1)
    frequency_init_scale: float = param(
        default=0.01, check=lambda scale: None if scale > 0 else "a number above 0"
    )
    activation: bool = True
    lite: bool = False

    def validate(self) -> None:
        if self.lite is True and self.activation is False:
            raise ConfigError(
                "lite=True needs activation=True.",
                where=f"node {self.default_id!r}",
                why="two affine maps in a row, this one and the next layer's, are as good as one",
            )

    def build(self, x: TensorSpec) -> nn.Module:
        columns, found = _columns(x), 2 * self.n_frequencies
        return nn.Sequential(
            Periodic(columns, self.n_frequencies, self.frequency_init_scale),
            nn.Linear(found, self.d_embedding)
            if self.lite
            else SeparateLinears(columns, found, self.d_embedding),
            nn.ReLU() if self.activation else nn.Identity(),
        )


class PiecewiseLinearEmbedding(Layer):
    """Functions of each number that are linear between the quantiles of the training rows.

    Within each bin between two quantiles the number counts as the part of the bin that lies below
    it; a learned map of these parts, which starts at zero, is added to a learned vector times the
    number, plus another vector. A column with fewer distinct quantiles has fewer bins.

    Shape:
        input: ``(batch, columns)`` numbers straight from an ingress, ``columns`` known.
        output: ``(batch, columns, d_embedding)``.

    Args:
        d_embedding: Width of a vector.
        n_bins: Number of bins; fewer than there are training rows.
        activation: A ReLU of the map of the parts.

    Raises:
        GraphError: The input does not come straight from an ingress.
        DataError: A column is constant or not finite, or there are too few rows.

    References: Gorishniy et al. (2022), "On Embeddings for Numerical Features in Tabular Deep
    Learning", arXiv:2203.05556, with the start of Gorishniy et al. (2024), "TabM",
    arXiv:2410.24210.

    >>> PiecewiseLinearEmbedding().infer(TensorSpec(("batch", 3)))
    ((batch, 3, 16) float32,)
    """

    d_embedding: int = param(default=16, lower=1)
    n_bins: int = param(default=48, lower=2)
    activation: bool = False

    def build(self, x: TensorSpec) -> nn.Module:
        return PiecewiseLinear(_columns(x), self.n_bins, self.d_embedding, self.activation)

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        descriptor = inputs["input"]
        if descriptor.source.id not in descriptor.tokens:
            raise GraphError(
                f"{self.call_name()} needs the numbers themselves.",
                where=f"node {ctx.id!r}",
                why=f"its bins are quantiles of the training rows, and it is fed by the layer "
                f"{descriptor.source.id!r}",
                mend='put it right after po("ingress_num")',
            )
        return super().fit(inputs, ctx)

    def initialize(self, module: nn.Module, ctx: Start) -> None:
        assert isinstance(module, PiecewiseLinear)
        id = ctx.sources[0] if ctx.sources else ""
        if id in ctx.tensors:
            rows = ctx.tensors[id]
            self._refuse_rows(rows, ctx.columns.get(id, ()))
            module.parts.set_bins([quantiles(column, self.n_bins) for column in rows.T])

    def _refuse_rows(self, rows: torch.Tensor, names: Sequence[str]) -> None:
        if self.n_bins >= len(rows):
            raise DataError(
                f"{len(rows)} rows are too few for {self.n_bins} bins.",
                where=f"node {self.default_id!r}",
                why="there have to be more training rows than bins",
                mend=f"write n_bins={max(len(rows) // 2, 2)}, or less",
            )
        finite, constant = rows.isfinite().all(0), (rows == rows[0]).all(0)
        for what, bad in (("not finite", ~finite), ("constant", constant)):
            if bad.any():
                wrong = [names[place] for place in bad.nonzero().flatten().tolist()]
                raise DataError(
                    f"Column {listing(wrong)} is {what}, and has no bins.",
                    where=f"node {self.default_id!r}",
                    mend='put po("removeconstants") before it'
                    if what == "constant"
                    else 'put po("impute") before it',
                )


class Periodic(nn.Module):
    """Cosines and sines of numbers, with learned frequencies.

    >>> Periodic(3, 4, 0.01)(torch.zeros(2, 3)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, columns: int, frequencies: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(columns, frequencies))
        nn.init.trunc_normal_(self.weight, 0.0, scale, -3 * scale, 3 * scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Waves ``(batch, columns, 2 * frequencies)`` of numbers ``(batch, columns)``."""
        turns = 2 * math.pi * self.weight * x.unsqueeze(-1)
        return torch.cat([turns.cos(), turns.sin()], dim=-1)


class SeparateLinears(nn.Module):
    """An affine map for each place of dimension 1, with weights of its own.

    >>> SeparateLinears(3, 8, 4)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, places: int, entering: int, leaving: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(places, entering, leaving))
        self.bias = nn.Parameter(torch.empty(places, leaving)) if bias else None
        scale = entering**-0.5
        nn.init.uniform_(self.weight, -scale, scale)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -scale, scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, places, leaving)`` of ``(batch, places, entering)``."""
        found = (x.transpose(0, 1) @ self.weight).transpose(0, 1)
        return found if self.bias is None else found + self.bias


class PiecewiseLinear(nn.Module):
    """A linear function of each number, plus one of the parts of its bins.

    >>> PiecewiseLinear(3, 8, 4)(torch.zeros(2, 3)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, columns: int, bins: int, width: int, activation: bool = False) -> None:
        super().__init__()
        self.linear = NumericTokens(columns, width)
        self.parts = Parts(columns, bins)
        self.map = SeparateLinears(columns, bins, width, bias=False)
        nn.init.zeros_(self.map.weight)
        self.activation = nn.ReLU() if activation else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Vectors ``(batch, columns, width)`` of numbers ``(batch, columns)``."""
        vectors: torch.Tensor = self.linear(x) + self.activation(self.map(self.parts(x)))
        return vectors


class Parts(nn.Module):
    """The parts of bins that lie below a number: 1 for a bin below it, 0 for one above.

    Below the first bin and above the last the part goes on, below 0 and beyond 1. Bins are in
    order, but the last of a column always has the last place; places between are 0.

    >>> parts = Parts(1, 3)
    >>> parts.set_bins([torch.tensor([0.0, 1.0, 3.0, 4.0])])
    >>> parts(torch.tensor([[2.0], [5.0]])).squeeze(1)
    tensor([[1.0000, 0.5000, 0.0000],
            [1.0000, 1.0000, 2.0000]])
    """

    weight: torch.Tensor
    bias: torch.Tensor
    single: torch.Tensor

    def __init__(self, columns: int, bins: int) -> None:
        super().__init__()
        # Until the data are known: bins of equal width from 0 to 1.
        self.register_buffer("weight", torch.full((columns, bins), float(bins)))
        self.register_buffer("bias", -torch.arange(bins).float().repeat(columns, 1))
        self.register_buffer("single", torch.zeros(columns, 1, dtype=torch.bool))

    def set_bins(self, edges: Sequence[torch.Tensor]) -> None:
        """Give each column bins with these edges, in ascending order, at least two."""
        self.weight.zero_()
        self.bias.zero_()
        for column, ends in enumerate(edges):
            widths = ends.diff()
            slopes, starts = 1 / widths, -ends[:-1] / widths
            for held, values in ((self.weight, slopes), (self.bias, starts)):
                held[column, : len(widths) - 1] = values[:-1]
                held[column, -1] = values[-1]
            self.single[column] = len(widths) == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Parts ``(batch, columns, bins)`` of numbers ``(batch, columns)``."""
        x = torch.addcmul(self.bias, self.weight, x.unsqueeze(-1))
        first, inner, last = x[..., :1], x[..., 1:-1], x[..., -1:]
        last = torch.where(self.single, last, last.clamp_min(0.0))
        return torch.cat([first.clamp_max(1.0), inner.clamp(0.0, 1.0), last], dim=-1)


def quantiles(column: torch.Tensor, n_bins: int) -> torch.Tensor:
    """The distinct ends of bins that hold equal numbers of values.

    >>> quantiles(torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0]), 2)
    tensor([0., 2.])
    """
    if len(column) > MAX_ROWS:
        ordered = column.sort().values
        places = torch.linspace(0, len(column) - 1, MAX_ROWS, dtype=torch.float64)
        column = ordered[places.long()]
    levels = torch.linspace(0.0, 1.0, n_bins + 1, dtype=column.dtype)
    ends: torch.Tensor = torch.unique(torch.quantile(column, levels))
    return ends


def _columns(x: TensorSpec) -> int:
    need_singles(x)
    need_rank(x, [2], "(batch, columns)")
    return x.size(-1)
