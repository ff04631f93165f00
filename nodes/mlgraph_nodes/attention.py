"""Attention: every position of a sequence gathers what it needs from all positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.errors import ConfigError, ShapeError
from mlgraph.net.layer import Layer, layer_port
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.sequence import SequenceLayer, settled, switched_on


class MultiheadAttention(SequenceLayer):
    """Every position gathers what it needs from all positions of a sequence.

    Shape:
        input: ``(batch, time, features)`` in mode ``"self"``.
        query, key_value: ``(batch, target, features)``, ``(batch, source, any)`` in mode
        ``"cross"``.
        query, key, value: the same, keys and values of one length, in mode ``"general"``.
        attn_mask: ``(target, source)`` or ``(batch, target, source)``.
        key_padding_mask: ``(batch, source)``.
        output: the shape of the query.
        weights: ``(batch, target, source)``, or ``(batch, num_heads, target, source)``.
        The features of each sequence are known.

    Args:
        num_heads: Number of heads; a divisor of the features of the query.
        dropout: Probability that a weight is zero while training.
        bias: Add a learned constant in all projections.
        add_bias_kv: Append a learned key and value to the source.
        add_zero_attn: Append a key and value of zeros to the source.
        mode: Which sequences come in by ports of their own.
        need_weights: A second output, ``weights``.
        average_weights: Their mean over the heads.
        attn_mask: An input that says, for each target, where in the source not to look: True, or
            a number to add to the score.
        key_padding_mask: An input that says which positions of the source are padding, in the
            same way; see ``sequence_mask``.
        is_causal: A position sees none that comes after it.

    Differs from torch: ``embed_dim``, ``kdim`` and ``vdim`` are read from the inputs, the batch
    always comes first, ``is_causal`` is a mask and not a hint, and an ``attn_mask`` of three
    dimensions has a row per observation, not per observation and head. A target that may look
    nowhere gathers zeros, in prediction too; with ``need_weights`` it is nan.

    References: Vaswani et al. (2017), "Attention Is All You Need", arXiv:1706.03762.

    >>> MultiheadAttention(num_heads=2).infer(TensorSpec(("batch", "time", 8)))
    ((batch, time, 8) float32,)
    """

    num_heads: int = param(lower=1)
    dropout: float = param(default=0.0, lower=0, upper=1)
    bias: bool = True
    add_bias_kv: bool = False
    add_zero_attn: bool = False
    mode: Literal["self", "cross", "general"] = param(default="self", tags={"structure"})
    need_weights: bool = param(default=False, tags={"structure"})
    average_weights: bool = True
    attn_mask: bool = param(default=False, tags={"structure"})
    key_padding_mask: bool = param(default=False, tags={"structure"})
    is_causal: bool = False

    def validate(self) -> None:
        refuse_second_mask(self, "attn_mask")

    def layout(self) -> dict[str, str]:
        settled(self.mode, self.need_weights)
        sequences, target, source = _MODES[self.mode]
        masks = {
            "attn_mask": f"{target} {source} | batch {target} {source}",
            "key_padding_mask": f"batch {source}",
        }
        return sequences | switched_on(self, masks)

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        weights = (layer_port("weights"),) if self.need_weights else ()
        return super().ports()[0], self.outputs + weights

    def build(self, *inputs: TensorSpec) -> nn.Module:
        found = self.checked(inputs)
        query, *rest = (found[port] for port in _MODES[self.mode][0])
        return Attention(
            heads_width(query, self.num_heads, "num_heads"),
            self.num_heads,
            masks=tuple(port for port in found if port.endswith("mask")),
            need_weights=self.need_weights,
            average_weights=self.average_weights,
            is_causal=self.is_causal,
            dropout=self.dropout,
            bias=self.bias,
            add_bias_kv=self.add_bias_kv,
            add_zero_attn=self.add_zero_attn,
            kdim=rest[0].size(-1) if rest else None,
            vdim=rest[-1].size(-1) if rest else None,
        )


_QUERY = {"query": "batch target features"}
_MODES = {
    "self": ({"input": "batch time features"}, "time", "time"),
    "cross": (_QUERY | {"key_value": "batch source key_features"}, "target", "source"),
    "general": (
        _QUERY | {"key": "batch source key_features", "value": "batch source value_features"},
        "target",
        "source",
    ),
}


class Attention(nn.MultiheadAttention):
    """torch's attention, with tensors by position: one to three sequences, then masks.

    >>> Attention(8, 2, is_causal=True, need_weights=True)(torch.zeros(1, 2, 8))[1].tolist()
    [[[1.0, 0.0], [0.5, 0.5]]]
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        masks: tuple[str, ...] = (),
        need_weights: bool = False,
        average_weights: bool = True,
        is_causal: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(embed_dim, num_heads, batch_first=True, **options)
        self.masks, self.need_weights = masks, need_weights
        self.average_weights, self.is_causal = average_weights, is_causal

    def forward(self, *tensors: Tensor) -> Any:  # type: ignore[override]
        """The output, or output and weights."""
        count = len(tensors) - len(self.masks)
        query, *rest = tensors[:count]
        key, value = (rest[0], rest[-1]) if rest else (query, query)
        masks = dict(zip(self.masks, tensors[count:], strict=True))
        if self.is_causal:
            masks["attn_mask"] = causal_mask(query.shape[1], key.shape[1], query.device)
        # To torch is_causal is a hint, and a wrong one where something is appended to the source.
        appended = self.bias_k is not None or self.add_zero_attn
        made = super().forward(
            query,
            key,
            value,
            need_weights=self.need_weights,
            average_attn_weights=self.average_weights,
            is_causal=self.is_causal and not rest and not appended,
            **for_torch(masks, self.num_heads, query.dtype),
        )
        return made if self.need_weights else made[0]


def causal_mask(target: int, source: int, device: torch.device | str | None = None) -> Tensor:
    """True where the source comes after the target.

    >>> causal_mask(2, 3).int().tolist()
    [[0, 1, 1], [0, 0, 1]]
    """
    return torch.ones(target, source, dtype=torch.bool, device=device).triu(1)


def for_torch(masks: Mapping[str, Tensor], heads: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Masks of one attention as torch takes them: numbers to add, and a row for each head.

    Of truth values torch takes a faster path in prediction. There, what may look nowhere becomes
    nan; in training it becomes zeros.

    >>> masks = for_torch({"attn_mask": torch.tensor([[[False, True]]])}, 2, torch.float32)
    >>> masks["attn_mask"].tolist()
    [[[0.0, -inf]], [[0.0, -inf]]]
    """
    found = {}
    for name, mask in masks.items():
        if mask.dim() == 3:
            mask = mask.unsqueeze(1).expand(-1, heads, -1, -1).flatten(0, 1)
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))
        found[name] = mask
    return found


def heads_width(x: TensorSpec, heads: int, name: str) -> int:
    """The features of a sequence, which heads share out evenly.

    Raises:
        ShapeError: Their number is not known, or not divisible by the number of heads.

    >>> heads_width(TensorSpec(("batch", "time", 8)), 4, "num_heads")
    8
    """
    width = x.size(-1)
    if width % heads:
        raise ShapeError(
            f"{width} features cannot be divided among {heads} heads.",
            why=f"{name}={heads} is no divisor of the last size of {x}",
            mend='choose another number of heads, or another size with nn("linear")',
        )
    return width


def refuse_second_mask(layer: Layer, name: str) -> None:
    """Refuse a mask that comes in where the layer makes a causal one.

    Raises:
        ConfigError: Both are asked for.

    >>> refuse_second_mask(MultiheadAttention(num_heads=1, attn_mask=True), "attn_mask")
    """
    if getattr(layer, name) and layer.parameters()["is_causal"]:
        raise ConfigError(
            f"{layer.call_name()} cannot take both is_causal=True and {name}=True.",
            where=f"node {layer.default_id!r}",
            why="is_causal makes that very mask",
            mend=f"let {name} hide what comes later as well, or leave one out",
        )
