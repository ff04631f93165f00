"""Layers of a transformer: attention and a feed-forward network, each with a shortcut around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn

from mlgraph.core.param import param
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.attention import (
    causal_mask,
    for_torch,
    heads_width,
    refuse_second_mask,
)
from mlgraph_nodes.sequence import SequenceLayer, switched_on

Activation = Literal["relu", "gelu"] | Callable[..., Any]


def _activation(value: Any) -> str | None:
    is_module = isinstance(value, nn.Module) or isinstance(value, type)
    return "'relu', 'gelu' or a function, such as torch.nn.functional.silu" if is_module else None


class TransformerEncoderLayer(SequenceLayer):
    """Self-attention and a feed-forward network, with shortcuts and normalisation.

    Shape:
        input, output: ``(batch, time, features)``, ``features`` known.
        src_mask: ``(time, time)`` or ``(batch, time, time)``.
        src_key_padding_mask: ``(batch, time)``.

    Args:
        nhead: Number of heads; a divisor of the features.
        dim_feedforward: Width of the feed-forward network.
        dropout: Probability of a zero, at all places, while training.
        activation: Of the feed-forward network: a name, or a function of a tensor.
        layer_norm_eps: Added to the variance.
        norm_first: Normalise before attention and feed-forward network, not after.
        bias: Add a learned constant in all maps and norms.
        is_causal: A position sees none that comes after it.
        src_mask: An input that says, for each position, where not to look: True, or a number to
            add to the score.
        src_key_padding_mask: An input that says which positions are padding, in the same way;
            see ``sequence_mask``.

    Differs from torch: ``d_model`` is read from the input, the batch always comes first,
    ``is_causal`` is a mask and not a hint, and a ``src_mask`` of three dimensions has a row per
    observation, not per observation and head. A position that may look nowhere gathers zeros, in
    prediction too.

    References: Vaswani et al. (2017), "Attention Is All You Need", arXiv:1706.03762.

    >>> TransformerEncoderLayer(nhead=2).infer(TensorSpec(("batch", "time", 8)))
    ((batch, time, 8) float32,)
    """

    nhead: int = param(lower=1)
    dim_feedforward: int = param(default=2048, lower=1)
    dropout: float = param(default=0.1, lower=0, upper=1)
    activation: Activation = param(default="relu", check=_activation)
    layer_norm_eps: float = param(default=1e-5, lower=0)
    norm_first: bool = False
    bias: bool = True
    is_causal: bool = False
    src_mask: bool = param(default=False, tags={"structure"})
    src_key_padding_mask: bool = param(default=False, tags={"structure"})

    def validate(self) -> None:
        refuse_second_mask(self, "src_mask")

    def layout(self) -> dict[str, str]:
        masks = {
            "src_mask": "time time | batch time time",
            "src_key_padding_mask": "batch time",
        }
        return {"input": "batch time features"} | switched_on(self, masks)

    def build(self, *inputs: TensorSpec) -> nn.Module:
        found = self.checked(inputs)
        return EncoderLayer(
            heads_width(found["input"], self.nhead, "nhead"),
            masks=tuple(found)[1:],
            is_causal=self.is_causal,
            **_options(self),
        )


class TransformerDecoderLayer(SequenceLayer):
    """Self-attention, attention to another sequence, and a feed-forward network.

    Shape:
        input, output: ``(batch, target, features)``, ``features`` known.
        memory: ``(batch, source, features)``, what the attention looks at.
        tgt_mask, memory_mask: ``(target, target)``, ``(target, source)``; or one per observation,
        with the batch in front.
        tgt_key_padding_mask, memory_key_padding_mask: ``(batch, target)``, ``(batch, source)``.

    Args:
        nhead: Number of heads; a divisor of the features.
        dim_feedforward: Width of the feed-forward network.
        dropout: Probability of a zero, at all places, while training.
        activation: Of the feed-forward network: a name, or a function of a tensor.
        layer_norm_eps: Added to the variance.
        norm_first: Normalise before the attentions and feed-forward network, not after.
        bias: Add a learned constant in all maps and norms.
        is_causal: A position of the input sees none that comes after it.
        tgt_mask: An input that says, for each position, where in the input not to look: True, or
            a number to add to the score.
        memory_mask: The same for the memory.
        tgt_key_padding_mask: An input that says which positions of the input are padding.
        memory_key_padding_mask: The same for the memory.

    Differs from torch: as ``transformer_encoder_layer``.

    References: Vaswani et al. (2017), "Attention Is All You Need", arXiv:1706.03762.

    >>> sequence, memory = TensorSpec(("batch", "time", 8)), TensorSpec(("batch", 5, 8))
    >>> TransformerDecoderLayer(nhead=2).infer(sequence, memory)
    ((batch, time, 8) float32,)
    """

    nhead: int = param(lower=1)
    dim_feedforward: int = param(default=2048, lower=1)
    dropout: float = param(default=0.1, lower=0, upper=1)
    activation: Activation = param(default="relu", check=_activation)
    layer_norm_eps: float = param(default=1e-5, lower=0)
    norm_first: bool = False
    bias: bool = True
    is_causal: bool = False
    tgt_mask: bool = param(default=False, tags={"structure"})
    memory_mask: bool = param(default=False, tags={"structure"})
    tgt_key_padding_mask: bool = param(default=False, tags={"structure"})
    memory_key_padding_mask: bool = param(default=False, tags={"structure"})

    def validate(self) -> None:
        refuse_second_mask(self, "tgt_mask")

    def layout(self) -> dict[str, str]:
        masks = {
            "tgt_mask": "target target | batch target target",
            "memory_mask": "target source | batch target source",
            "tgt_key_padding_mask": "batch target",
            "memory_key_padding_mask": "batch source",
        }
        sequences = {"input": "batch target features", "memory": "batch source features"}
        return sequences | switched_on(self, masks)

    def build(self, *inputs: TensorSpec) -> nn.Module:
        found = self.checked(inputs)
        return DecoderLayer(
            heads_width(found["input"], self.nhead, "nhead"),
            masks=tuple(found)[2:],
            is_causal=self.is_causal,
            **_options(self),
        )


def _options(layer: TransformerEncoderLayer | TransformerDecoderLayer) -> dict[str, Any]:
    return {
        "nhead": layer.nhead,
        "dim_feedforward": layer.dim_feedforward,
        "dropout": layer.dropout,
        "activation": layer.activation,
        "layer_norm_eps": layer.layer_norm_eps,
        "norm_first": layer.norm_first,
        "bias": layer.bias,
    }


class EncoderLayer(nn.TransformerEncoderLayer):
    """torch's encoder layer, with masks by position.

    >>> import torch
    >>> EncoderLayer(8, nhead=2, is_causal=True)(torch.zeros(1, 3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(
        self,
        d_model: int,
        *,
        masks: tuple[str, ...] = (),
        is_causal: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(d_model, batch_first=True, **options)
        self.masks, self.is_causal = masks, is_causal
        if masks:  # torch's shortcut for prediction makes nan of what may look nowhere
            self.activation_relu_or_gelu = 0

    def forward(self, x: Tensor, *tensors: Tensor) -> Tensor:  # type: ignore[override]
        """The sequence after attention and feed-forward network."""
        masks = dict(zip(self.masks, tensors, strict=True))
        if self.is_causal:
            masks["src_mask"] = causal_mask(x.shape[1], x.shape[1], x.device)
        ready = for_torch(masks, self.self_attn.num_heads, x.dtype)
        return super().forward(x, is_causal=self.is_causal, **ready)


class DecoderLayer(nn.TransformerDecoderLayer):
    """torch's decoder layer, with masks by position.

    >>> import torch
    >>> DecoderLayer(8, nhead=2)(torch.zeros(1, 3, 8), torch.zeros(1, 4, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(
        self,
        d_model: int,
        *,
        masks: tuple[str, ...] = (),
        is_causal: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(d_model, batch_first=True, **options)
        self.masks, self.is_causal = masks, is_causal

    def forward(  # type: ignore[override]
        self, x: Tensor, memory: Tensor, *tensors: Tensor
    ) -> Tensor:
        """The sequence after both attentions and the feed-forward network."""
        masks = dict(zip(self.masks, tensors, strict=True))
        if self.is_causal:
            masks["tgt_mask"] = causal_mask(x.shape[1], x.shape[1], x.device)
        ready: dict[str, Any] = {}
        for attention in ("tgt", "memory"):
            of = {name: mask for name, mask in masks.items() if name.startswith(attention)}
            ready.update(for_torch(of, self.self_attn.num_heads, x.dtype))
        return super().forward(x, memory, tgt_is_causal=self.is_causal, **ready)
