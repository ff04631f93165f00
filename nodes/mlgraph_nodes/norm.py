"""Normalisation: over the batch, or within each observation."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from mlgraph.core.param import param
from mlgraph.errors import ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_rank, need_singles


class _BatchNorm(Layer):
    """Normalisation of each channel over the batch."""

    torch_class: ClassVar[type[nn.Module]]
    ranks: ClassVar[tuple[int, ...]]
    layout: ClassVar[str]

    eps: float = param(default=1e-5, lower=1e-12)  # torch refuses 0, but only in training
    momentum: float | None = param(default=0.1, lower=0, upper=1)
    affine: bool = True
    track_running_stats: bool = True

    def build(self, x: TensorSpec) -> nn.Module:
        need_singles(x)
        need_rank(x, self.ranks, self.layout)
        return self.torch_class(x.size(1), **self.parameters())


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of features, or of the channels of a sequence.

    Shape:
        input, output: ``(batch, features)`` or ``(batch, channels, length)``; the size of
        dimension 1 is known.

    Args:
        eps: Added to the variance.
        momentum: Weight of a new batch in the running statistics; None for their mean.
        affine: Learn a scale and a shift per channel.
        track_running_stats: Keep statistics of training for prediction.

    Differs from torch: ``num_features`` is read from the input.

    >>> BatchNorm1d().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.BatchNorm1d
    ranks = (2, 3)
    layout = "(batch, features) or (batch, channels, length)"


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of the channels of images.

    Shape:
        input, output: ``(batch, channels, height, width)``, ``channels`` known.

    Args:
        eps: Added to the variance.
        momentum: Weight of a new batch in the running statistics; None for their mean.
        affine: Learn a scale and a shift per channel.
        track_running_stats: Keep statistics of training for prediction.

    Differs from torch: ``num_features`` is read from the input.

    >>> BatchNorm2d().infer(TensorSpec(("batch", 3, "height", "width")))
    ((batch, 3, height, width) float32,)
    """

    torch_class = nn.BatchNorm2d
    ranks = (4,)
    layout = "(batch, channels, height, width)"


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of the channels of volumes.

    Shape:
        input, output: ``(batch, channels, depth, height, width)``, ``channels`` known.

    Args:
        eps: Added to the variance.
        momentum: Weight of a new batch in the running statistics; None for their mean.
        affine: Learn a scale and a shift per channel.
        track_running_stats: Keep statistics of training for prediction.

    Differs from torch: ``num_features`` is read from the input.

    >>> BatchNorm3d().infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 4, 8, 8) float32,)
    """

    torch_class = nn.BatchNorm3d
    ranks = (5,)
    layout = "(batch, channels, depth, height, width)"


class LayerNorm(Layer):
    """Normalisation of each observation over its last dimensions.

    Shape:
        input, output: ``(batch, ...)``, the last ``dims`` sizes known.

    Args:
        dims: Number of trailing dimensions to normalise over.
        eps: Added to the variance.
        elementwise_affine: Learn a scale (and a shift) per element.
        bias: Learn the shift; without effect where there is no scale.

    Differs from torch: ``dims`` in place of ``normalized_shape``, which is read from the input.

    >>> LayerNorm(dims=2).infer(TensorSpec(("batch", 3, 4)))
    ((batch, 3, 4) float32,)
    """

    dims: int = param(default=1, lower=1)
    eps: float = param(default=1e-5, lower=0)
    elementwise_affine: bool = True
    bias: bool = True

    def build(self, x: TensorSpec) -> nn.Module:
        need_singles(x)
        if self.dims >= x.rank:
            raise ShapeError(
                f"The last {self.dims} dimensions would include the batch.",
                why=f"{x} has rank {x.rank}",
                mend=f"write dims={max(x.rank - 1, 1)} or less",
            )
        return nn.LayerNorm(x.last(self.dims), self.eps, self.elementwise_affine, self.bias)
