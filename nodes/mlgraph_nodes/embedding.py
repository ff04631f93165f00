"""Embeddings: learned vectors in place of the codes of categories.

The input is that of a categorical ingress: a column of codes ``0 .. k-1`` per feature. The
number of levels of each column, its cardinality, travels with the spec.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
from torch import nn

from mlgraph.core.param import param
from mlgraph.errors import ConfigError, ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_rank


class Embedding(Layer):
    """A vector for every level of every column, all of one width.

    Shape:
        input: ``(batch, columns)`` integer codes, ``columns`` known.
        output: ``(batch, columns, embedding_dim)`` float32.

    Args:
        embedding_dim: Width of a vector.
        padding_idx: Code whose vector is zero, in every column, and is not learned.
        cardinalities: Number of levels of each column; by default that of the ingress.

    Differs from torch: ``num_embeddings`` is read from the input. Columns do not share vectors:
    the table holds the levels of the first column, then those of the second, and so on.

    >>> codes = TensorSpec(("batch", 2), torch.int64, cardinalities=(3, 5))
    >>> Embedding(embedding_dim=8).infer(codes)
    ((batch, 2, 8) float32,)
    """

    embedding_dim: int = param(lower=1)
    padding_idx: int | None = param(default=None, lower=0)
    cardinalities: tuple[int, ...] | None = param(default=None, lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        levels = levels_of(x, self.cardinalities)
        return ColumnEmbedding(levels, self.embedding_dim, self.padding_idx)


class TokenEmbedding(Layer):
    """A vector for every token: all places share one table.

    Shape:
        input: ``(batch, ...)`` integers from 0 to ``num_embeddings - 1``.
        output: ``(batch, ..., embedding_dim)`` float32.

    Args:
        num_embeddings: Number of tokens.
        embedding_dim: Width of a vector.
        padding_idx: Token whose vector is zero and is not learned.

    >>> tokens = TensorSpec(("batch", "time"), torch.int64)
    >>> TokenEmbedding(num_embeddings=50, embedding_dim=8).infer(tokens)
    ((batch, time, 8) float32,)
    """

    num_embeddings: int = param(lower=1)
    embedding_dim: int = param(lower=1)
    padding_idx: int | None = param(default=None, lower=0)

    @classmethod
    def examples(cls) -> Iterable[tuple[Layer, tuple[TensorSpec, ...]]]:
        # Integers at random may be no tokens.
        for shape in ((4,), (4, 6), (2, 3, 5)):
            yield cls(num_embeddings=7, embedding_dim=3), (TensorSpec(shape, torch.int64),)

    def validate(self) -> None:
        if self.padding_idx is not None and self.padding_idx >= self.num_embeddings:
            raise ConfigError(
                f"Token {self.padding_idx} cannot be the padding.",
                where=f"node {self.default_id!r}",
                why=f"there are {self.num_embeddings} tokens",
            )

    def build(self, x: TensorSpec) -> nn.Module:
        if x.dtype not in (torch.int32, torch.int64):
            raise ShapeError(
                "Tokens are needed.",
                why=f"the dtype is {str(x.dtype).removeprefix('torch.')}",
                mend="say so where the network begins: TensorSpec(shape, torch.int64)",
            )
        if max(x.cardinalities or (0,)) > self.num_embeddings:
            raise ShapeError(
                f"{self.num_embeddings} vectors are too few for these codes.",
                why=f"a column has {max(x.cardinalities)} levels",
                mend="give num_embeddings at least as many",
            )
        return nn.Embedding(self.num_embeddings, self.embedding_dim, self.padding_idx)


class EmbeddingCat(Layer):
    """A vector for every level, wider for columns of more levels, put next to each other.

    A column of ``k`` levels gets ``min(max_dim, (k + 1) // 2)`` numbers.

    Shape:
        input: ``(batch, columns)`` integer codes, ``columns`` known.
        output: ``(batch, sum of the widths)`` float32.

    Args:
        max_dim: Largest width.
        cardinalities: Number of levels of each column; by default that of the ingress.

    References: Guo and Berkhahn (2016), "Entity Embeddings of Categorical Variables",
    arXiv:1604.06737, for the method; the widths are a rule of thumb of the early fast.ai courses.

    >>> codes = TensorSpec(("batch", 2), torch.int64, cardinalities=(3, 5))
    >>> EmbeddingCat().infer(codes)
    ((batch, 5) float32,)
    """

    max_dim: int = param(default=50, lower=1)
    cardinalities: tuple[int, ...] | None = param(default=None, lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        levels = levels_of(x, self.cardinalities)
        return ConcatenatedEmbeddings(levels, [min(self.max_dim, (k + 1) // 2) for k in levels])


class ColumnEmbedding(nn.Module):
    """One table of vectors, in which every column of codes has its own part.

    >>> ColumnEmbedding((3, 5), 4)(torch.tensor([[0, 0], [2, 4]])).shape
    torch.Size([2, 2, 4])
    """

    offsets: torch.Tensor

    def __init__(
        self, cardinalities: tuple[int, ...], embedding_dim: int, padding_idx: int | None = None
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(cardinalities), embedding_dim)
        self.padding_idx = padding_idx
        starts = list(itertools.accumulate(cardinalities[:-1], initial=0))
        self.register_buffer("offsets", torch.tensor(starts))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Vectors ``(batch, columns, embedding_dim)`` for codes ``(batch, columns)``."""
        vectors: torch.Tensor = self.table(codes + self.offsets)
        if self.padding_idx is None:
            return vectors
        return vectors.masked_fill((codes == self.padding_idx).unsqueeze(-1), 0.0)


class ConcatenatedEmbeddings(nn.Module):
    """One table of vectors per column, the vectors of a row put next to each other.

    >>> ConcatenatedEmbeddings((3, 5), [2, 3])(torch.tensor([[0, 0], [2, 4]])).shape
    torch.Size([2, 5])
    """

    def __init__(self, cardinalities: tuple[int, ...], widths: list[int]) -> None:
        super().__init__()
        pairs = zip(cardinalities, widths, strict=True)
        self.tables = nn.ModuleList(nn.Embedding(levels, width) for levels, width in pairs)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Vectors ``(batch, sum of widths)`` for codes ``(batch, columns)``."""
        return torch.cat([table(codes[:, i]) for i, table in enumerate(self.tables)], dim=1)


def levels_of(x: TensorSpec, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """The number of levels of each column: those given, or those that come with the codes.

    Raises:
        ShapeError: They are no codes, or the numbers of levels are not known.

    >>> levels_of(TensorSpec(("batch", 2), torch.int64, cardinalities=(3, 5)), None)
    (3, 5)
    """
    if x.dtype.is_floating_point or x.dtype.is_complex:
        raise ShapeError(
            "Codes are needed.",
            why=f"the dtype is {str(x.dtype).removeprefix('torch.')}",
            mend='let categories enter with po("ingress_categ")',
        )
    need_rank(x, [2], "(batch, columns)")
    levels = given or x.cardinalities
    if not levels:
        raise ShapeError(
            "The number of levels of each column is needed.",
            why="it does not come with these codes, as they are not those of an ingress",
            mend='put it right after po("ingress_categ"), or write cardinalities=(...)',
        )
    if x.size(-1) != len(levels):
        raise ShapeError(
            f"{len(levels)} cardinalities do not fit {x.size(-1)} columns.",
            mend="give one for each column",
        )
    return levels
