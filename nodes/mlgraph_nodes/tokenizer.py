"""Tokenizers: every column of a table becomes a vector, a token, of one width."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from mlgraph.core.param import param
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_rank, need_singles
from mlgraph_nodes.embedding import ColumnEmbedding, Embedding

Initialization = Literal["uniform", "normal"]


class TokenizerNum(Layer):
    """A token for each number: the number times a learned vector, plus another one.

    Shape:
        input: ``(batch, columns)`` numbers, ``columns`` known.
        output: ``(batch, columns, d_token)``.

    Args:
        d_token: Width of a token.
        bias: Add the second vector.
        initialization: Of both: ``"uniform"`` between ``-1 / sqrt(d_token)`` and its opposite,
            or ``"normal"`` with this standard deviation.

    References: Gorishniy et al. (2021), "Revisiting Deep Learning Models for Tabular Data",
    arXiv:2106.11959.

    >>> TokenizerNum(d_token=8).infer(TensorSpec(("batch", 3)))
    ((batch, 3, 8) float32,)
    """

    d_token: int = param(lower=1)
    bias: bool = True
    initialization: Initialization = "uniform"

    def build(self, x: TensorSpec) -> nn.Module:
        need_singles(x)
        need_rank(x, [2], "(batch, columns)")
        return NumericTokens(x.size(-1), self.d_token, self.bias, self.initialization)


class TokenizerCateg(Layer):
    """A token for each category: a learned vector of its level, plus one of its column.

    Shape:
        input: ``(batch, columns)`` integer codes, ``columns`` known.
        output: ``(batch, columns, d_token)`` float32.

    Args:
        d_token: Width of a token.
        bias: Add the vector of the column.
        initialization: Of all vectors, as in ``tokenizer_num``.
        cardinalities: Number of levels of each column; by default that of the ingress.

    References: Gorishniy et al. (2021), "Revisiting Deep Learning Models for Tabular Data",
    arXiv:2106.11959.

    >>> codes = TensorSpec(("batch", 2), torch.int64, cardinalities=(3, 5))
    >>> TokenizerCateg(d_token=8).infer(codes)
    ((batch, 2, 8) float32,)
    """

    d_token: int = param(lower=1)
    bias: bool = True
    initialization: Initialization = "uniform"
    cardinalities: tuple[int, ...] | None = param(default=None, lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        embedding = Embedding(embedding_dim=self.d_token, cardinalities=self.cardinalities)
        vectors = embedding.build(x)
        assert isinstance(vectors, ColumnEmbedding)
        return CategoricalTokens(vectors, self.bias, self.initialization)


class CLSToken(Layer):
    """One more token, the same learned vector in every row: it collects what a network found.

    Shape:
        input: ``(batch, tokens, d_token)``, ``d_token`` known.
        output: ``(batch, tokens + 1, d_token)``.

    Args:
        position: Whether it is the first token or the last.
        initialization: Of the vector, as in ``tokenizer_num``.

    References: Devlin et al. (2018), "BERT", arXiv:1810.04805; for tables Gorishniy et al. (2021),
    arXiv:2106.11959.

    >>> CLSToken().infer(TensorSpec(("batch", 5, 8)))
    ((batch, 6, 8) float32,)
    """

    position: Literal["first", "last"] = "first"
    initialization: Initialization = "uniform"

    def build(self, x: TensorSpec) -> nn.Module:
        need_singles(x)
        need_rank(x, [3], "(batch, tokens, d_token)")
        return WithToken(x.size(-1), self.position, self.initialization)


class NumericTokens(nn.Module):
    """Numbers, each times a vector of its column, plus another one.

    >>> NumericTokens(3, 8)(torch.zeros(2, 3)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(
        self,
        columns: int,
        width: int,
        bias: bool = True,
        initialization: Initialization = "uniform",
    ) -> None:
        super().__init__()
        self.weight = started((columns, width), initialization)
        self.bias = started((columns, width), initialization) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens ``(batch, columns, width)`` of numbers ``(batch, columns)``."""
        tokens = x.unsqueeze(-1) * self.weight
        return tokens if self.bias is None else tokens + self.bias


class CategoricalTokens(nn.Module):
    """Vectors of codes, plus a vector of the column.

    >>> CategoricalTokens(ColumnEmbedding((3, 5), 8))(torch.tensor([[0, 0], [2, 4]])).shape
    torch.Size([2, 2, 8])
    """

    def __init__(
        self,
        vectors: ColumnEmbedding,
        bias: bool = True,
        initialization: Initialization = "uniform",
    ) -> None:
        super().__init__()
        self.vectors = vectors
        table = vectors.table.weight
        start_(table, initialization)
        columns = (len(vectors.offsets), table.shape[1])
        self.bias = started(columns, initialization) if bias else None

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Tokens ``(batch, columns, width)`` of codes ``(batch, columns)``."""
        tokens: torch.Tensor = self.vectors(codes)
        return tokens if self.bias is None else tokens + self.bias


class WithToken(nn.Module):
    """Tokens with one more, before or after them.

    >>> WithToken(8)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 6, 8])
    """

    def __init__(
        self,
        width: int,
        position: Literal["first", "last"] = "first",
        initialization: Initialization = "uniform",
    ) -> None:
        super().__init__()
        self.position = position
        self.weight = started((width,), initialization)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All tokens, ``(batch, tokens + 1, width)``."""
        token = self.weight.expand(x.shape[0], 1, -1)
        return torch.cat([token, x] if self.position == "first" else [x, token], dim=1)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, position={self.position!r}"


def started(shape: tuple[int, ...], initialization: Initialization) -> nn.Parameter:
    """A weight whose last dimension is the width of a token, with its start.

    >>> bool((started((3, 4), "uniform").abs() <= 0.5).all())
    True
    """
    weight = nn.Parameter(torch.empty(shape))
    start_(weight, initialization)
    return weight


def start_(weight: torch.Tensor, initialization: Initialization) -> None:
    """Give a weight the start of tokens, in place.

    >>> start_(torch.empty(3, 4), "normal")
    """
    scale = weight.shape[-1] ** -0.5
    if initialization == "uniform":
        nn.init.uniform_(weight, -scale, scale)
    else:
        nn.init.normal_(weight, std=scale)
