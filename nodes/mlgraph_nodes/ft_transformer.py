"""The block of FT-Transformer: attention among the tokens of a row, then a network for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from mlgraph.core.param import param
from mlgraph.errors import ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_rank, need_singles
from mlgraph_nodes.gated import Gated
from mlgraph_nodes.tab_resnet import hidden_width, refuse_two_widths

MULTIPLIER = 4 / 3  # of the paper: with a gated activation as many weights as 2 without

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "reglu": lambda: Gated(functional.relu),
    "geglu": lambda: Gated(functional.gelu),
}
_NORMS: Mapping[str, Callable[[int], nn.Module]] = {
    "layer_norm": nn.LayerNorm,
    "rms_norm": nn.RMSNorm,
}


def _places(places: tuple[int, ...]) -> str | None:
    return None if places else "at least one token"


class FTTransformerBlock(Layer):
    """A block of FT-Transformer: self-attention and a feed-forward network, each with a skip.

    Shape:
        input: ``(batch, tokens, d_token)``, ``d_token`` known.
        output: the same; with ``query_idx`` ``(batch, len(query_idx), d_token)``.

    Args:
        attention_n_heads: Number of heads; divides ``d_token``.
        attention_dropout: Of the weights of attention.
        attention_initialization: Of queries, keys and values: ``"kaiming"`` as in
            ``torch.nn.Linear``, or ``"xavier"`` with gain ``1 / sqrt(2)``.
        attention_normalization: The normalisation of attention.
        ffn_d_hidden: Width inside the feed-forward network.
        ffn_d_hidden_multiplier: The same in units of ``d_token``, rounded down; 4/3 where
            neither is given.
        ffn_dropout: Inside the feed-forward network.
        ffn_activation: Its activation; ``"reglu"`` and ``"geglu"`` are gated.
        ffn_normalization: The normalisation of the feed-forward network.
        residual_dropout: Of what is added to the input, both times.
        prenormalization: Normalise what enters; if not, the sums.
        is_first_layer: The first of several blocks: with ``prenormalization`` it does not
            normalise what enters its attention.
        query_idx: The tokens to keep, negative ones counted from the end. They attend to all
            tokens; a last block needs no others.
        attention_bias: Biases in attention.
        ffn_bias_first: A bias in the first map of the feed-forward network.
        ffn_bias_second: A bias in the second.

    Raises:
        ConfigError: Both widths are given.

    References: Gorishniy et al. (2021), "Revisiting Deep Learning Models for Tabular Data",
    arXiv:2106.11959.

    >>> FTTransformerBlock().infer(TensorSpec(("batch", 5, 16)))
    ((batch, 5, 16) float32,)
    >>> FTTransformerBlock(query_idx=[0]).infer(TensorSpec(("batch", "tokens", 16)))
    ((batch, 1, 16) float32,)
    """

    attention_n_heads: int = param(default=8, lower=1)
    attention_dropout: float = param(default=0.2, lower=0, upper=1)
    attention_initialization: Literal["kaiming", "xavier"] = "kaiming"
    attention_normalization: Literal["layer_norm", "rms_norm"] = "layer_norm"
    ffn_d_hidden: int | None = param(default=None, lower=1)
    ffn_d_hidden_multiplier: float | None = param(default=None, lower=0)
    ffn_dropout: float = param(default=0.1, lower=0, upper=1)
    ffn_activation: Literal["reglu", "geglu", "relu", "gelu"] = "reglu"
    ffn_normalization: Literal["layer_norm", "rms_norm"] = "layer_norm"
    residual_dropout: float = param(default=0.0, lower=0, upper=1)
    prenormalization: bool = True
    is_first_layer: bool = False
    query_idx: tuple[int, ...] | None = param(default=None, check=_places)
    attention_bias: bool = True
    ffn_bias_first: bool = True
    ffn_bias_second: bool = True

    def validate(self) -> None:
        refuse_two_widths(self, "ffn_d_hidden")

    def build(self, x: TensorSpec) -> nn.Module:
        need_singles(x)
        need_rank(x, [3], "(batch, tokens, d_token)", 'make tokens with nn("tokenizer_num")')
        self._refuse_heads(x.size(-1))
        self._refuse_places(x)
        return TransformerBlock(
            attention=self._attention(x.size(-1)),
            ffn=self._ffn(x.size(-1)),
            norms=self._norms(x.size(-1)),
            dropout=self.residual_dropout,
            first=self.prenormalization,
            queries=self.query_idx,
        )

    def _attention(self, width: int) -> nn.Module:
        return TokenAttention(
            width,
            self.attention_n_heads,
            dropout=self.attention_dropout,
            bias=self.attention_bias,
            initialization=self.attention_initialization,
        )

    def _ffn(self, width: int) -> nn.Module:
        hidden = hidden_width(self, "ffn_d_hidden", width, default=MULTIPLIER)
        entering = hidden * 2 if self.ffn_activation in ("reglu", "geglu") else hidden
        return nn.Sequential(
            nn.Linear(width, entering, self.ffn_bias_first),
            _ACTIVATIONS[self.ffn_activation](),
            nn.Dropout(self.ffn_dropout),
            nn.Linear(hidden, width, self.ffn_bias_second),
        )

    def _norms(self, width: int) -> tuple[nn.Module | None, nn.Module]:
        skipped = self.prenormalization and self.is_first_layer
        attention = None if skipped else _NORMS[self.attention_normalization](width)
        return attention, _NORMS[self.ffn_normalization](width)

    def _refuse_heads(self, width: int) -> None:
        if width % self.attention_n_heads:
            raise ShapeError(
                f"{self.attention_n_heads} heads cannot share tokens of width {width}.",
                why="attention_n_heads has to divide the width",
                mend="make tokens of another width, or choose another number of heads",
            )

    def _refuse_places(self, x: TensorSpec) -> None:
        tokens = x.dim(1)
        if self.query_idx is None or isinstance(tokens, str):
            return
        wrong = [place for place in self.query_idx if not -tokens <= place < tokens]
        if wrong:
            raise ShapeError(
                f"There is no token {wrong[0]}.",
                why=f"query_idx={self.query_idx}, and {x} has {tokens} tokens",
                mend="tokens are counted from 0, or from -1 at the end",
            )


class TransformerBlock(nn.Module):
    """Attention and a feed-forward network, each normalised and with a skip.

    Args:
        attention: Makes new tokens of queries and of all tokens.
        ffn: Changes each token alone.
        norms: Their normalisations; the first may be left out.
        dropout: Of what they add.
        first: Normalise what enters; if not, the sums.
        queries: The tokens to keep; None for all.

    >>> norms = (None, nn.LayerNorm(8))
    >>> block = TransformerBlock(attention=TokenAttention(8, 2), ffn=nn.Linear(8, 8), norms=norms)
    >>> block(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        *,
        attention: nn.Module,
        ffn: nn.Module,
        norms: tuple[nn.Module | None, nn.Module],
        dropout: float = 0.0,
        first: bool = True,
        queries: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.first, self.queries = first, queries
        self.attention_norm = norms[0] or nn.Identity()
        self.attention = attention
        self.attention_dropout = nn.Dropout(dropout)
        self.ffn_norm = norms[1]
        self.ffn = ffn
        self.ffn_dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """New tokens ``(batch, tokens, width)``, or those of the queries."""
        kept = self._kept(x)
        if self.first:
            every = self.attention_norm(x)
            x = kept + self.attention_dropout(self.attention(self._kept(every), every))
            new: torch.Tensor = x + self.ffn_dropout(self.ffn(self.ffn_norm(x)))
            return new
        x = self.attention_norm(kept + self.attention_dropout(self.attention(kept, x)))
        new = self.ffn_norm(x + self.ffn_dropout(self.ffn(x)))
        return new

    def _kept(self, x: torch.Tensor) -> torch.Tensor:
        if self.queries is None:
            return x
        return torch.stack([x.select(1, place) for place in self.queries], dim=1)

    def extra_repr(self) -> str:
        return f"first={self.first}, queries={self.queries}"


class TokenAttention(nn.Module):
    """Multi-head attention; a single head has no map of its output.

    >>> attention = TokenAttention(16, 8)
    >>> attention(torch.zeros(2, 1, 16), torch.zeros(2, 5, 16)).shape
    torch.Size([2, 1, 16])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        initialization: Literal["kaiming", "xavier"] = "kaiming",
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width, bias)
        self.key = nn.Linear(width, width, bias)
        self.value = nn.Linear(width, width, bias)
        self.output = nn.Linear(width, width, bias) if heads > 1 else None
        self._start(initialization)

    def _start(self, initialization: str) -> None:
        maps = [self.query, self.key, self.value]
        if initialization == "xavier":
            for map in maps:
                # Three maps in place of one of three times the width.
                nn.init.xavier_uniform_(map.weight, gain=2**-0.5)
        for map in [*maps, *filter(None, [self.output])]:
            if map.bias is not None:
                nn.init.zeros_(map.bias)

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """New tokens ``(batch, queries, width)`` from all tokens ``(batch, tokens, width)``."""
        query, key, value = self.query(queries), self.key(tokens), self.value(tokens)
        found = functional.scaled_dot_product_attention(
            self._apart(query),
            self._apart(key),
            self._apart(value),
            dropout_p=self.dropout if self.training else 0.0,
        )
        found = found.transpose(1, 2).flatten(2)
        return found if self.output is None else self.output(found)

    def _apart(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, heads, tokens, width of a head)``."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, dropout={self.dropout}"
