"""Where in a sequence a vector stands, added to the vector: attention alone does not see it."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from mlgraph.core.param import param
from mlgraph.errors import ShapeError
from mlgraph.net.apply import Apply
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_rank, need_singles

_LAYOUT = "(batch, time, features)"


class PositionalEncoding(Layer):
    """Sines and cosines of the position, of wavelengths from 2 pi to 10000 times that, added.

    Nothing is learned, and a sequence may be of any length.

    Shape:
        input, output: ``(batch, time, features)``, ``features`` known.

    References: Vaswani et al. (2017), "Attention Is All You Need", arXiv:1706.03762.

    >>> PositionalEncoding().infer(TensorSpec(("batch", "time", 8)))
    ((batch, time, 8) float32,)
    """

    def build(self, x: TensorSpec) -> nn.Module:
        need_singles(x)
        need_rank(x, [3], _LAYOUT)
        x.size(-1)
        return Apply(with_sines)


class PositionalEmbedding(Layer):
    """A learned vector for each position, added.

    Shape:
        input, output: ``(batch, time, features)``, ``features`` known.

    Args:
        max_len: Number of positions; the length of the longest sequence.

    The vectors start from a normal distribution of standard deviation 0.02.

    References: Devlin et al. (2019), "BERT", arXiv:1810.04805.

    >>> PositionalEmbedding(max_len=50).infer(TensorSpec(("batch", "time", 8)))
    ((batch, time, 8) float32,)
    """

    max_len: int = param(lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        need_singles(x)
        need_rank(x, [3], _LAYOUT)
        time = x.dim(1)
        if isinstance(time, int):
            _refuse_longer(time, self.max_len)
        return Positions(self.max_len, x.size(-1))


def with_sines(x: torch.Tensor) -> torch.Tensor:
    """Sequences with sines of the position added in even places, and cosines in odd ones.

    >>> with_sines(torch.zeros(1, 2, 3))
    tensor([[[0.0000, 1.0000, 0.0000],
             [0.8415, 0.5403, 0.0022]]])
    """
    time, features = x.shape[1], x.shape[2]
    even = torch.arange(0, features, 2, device=x.device, dtype=torch.float32)
    frequencies = torch.exp(even * (-math.log(10000.0) / features))
    positions = torch.arange(time, device=x.device, dtype=torch.float32)
    angles = positions.unsqueeze(1) * frequencies
    # An odd number of features has one sine more than cosines.
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :features]
    return x + waves.to(x.dtype)


class Positions(nn.Module):
    """A learned vector for each position, added to sequences.

    >>> Positions(5, 8)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, max_len: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_len, features))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sequences with the vectors of their positions."""
        # On the meta device lengths are stand-ins, and may be longer than any that will come.
        if not x.is_meta:
            _refuse_longer(x.shape[1], self.weight.shape[0])
        positions = torch.arange(x.shape[1], device=x.device)
        return x + functional.embedding(positions, self.weight)

    def extra_repr(self) -> str:
        return f"max_len={self.weight.shape[0]}, features={self.weight.shape[1]}"


def _refuse_longer(time: int, max_len: int) -> None:
    if time > max_len:
        raise ShapeError(
            f"There is no vector for position {max_len}.",
            why=f"sequences have {time} positions, and max_len={max_len}",
            mend="choose a larger max_len, or shorten the sequences",
        )
