"""Normalisation: over the batch, or within each observation."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from mlgraph.core.param import param
from mlgraph.errors import ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.conv import LAYOUTS, need_groups
from mlgraph_nodes.demands import need_floats, need_rank, need_singles


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
        shape = _trailing(x, self.dims)
        return nn.LayerNorm(shape, self.eps, self.elementwise_affine, self.bias)


class RMSNorm(Layer):
    """Each observation divided by the root mean square of its last dimensions.

    Shape:
        input, output: ``(batch, ...)``, the last ``dims`` sizes known.

    Args:
        dims: Number of trailing dimensions to normalise over.
        eps: Added to the mean square; None for the least number the dtype can add to 1.
        elementwise_affine: Learn a scale per element.

    Differs from torch: ``dims`` in place of ``normalized_shape``, which is read from the input.

    References: Zhang and Sennrich (2019), "Root Mean Square Layer Normalization",
    arXiv:1910.07467.

    >>> RMSNorm().infer(TensorSpec(("batch", "time", 4)))
    ((batch, time, 4) float32,)
    """

    dims: int = param(default=1, lower=1)
    eps: float | None = param(default=None, lower=0)
    elementwise_affine: bool = True

    def build(self, x: TensorSpec) -> nn.Module:
        return nn.RMSNorm(_trailing(x, self.dims), self.eps, self.elementwise_affine)


class GroupNorm(Layer):
    """Normalisation of each observation over groups of channels.

    Shape:
        input, output: ``(batch, channels, ...)``, ``channels`` known.

    Args:
        num_groups: Number of groups, which divides the channels; 1 for all channels together.
        eps: Added to the variance.
        affine: Learn a scale and a shift per channel.

    Differs from torch: ``num_channels`` is read from the input. Groups of a single number are
    refused; they would all be zero, and torch refuses a single row of them.

    References: Wu and He (2018), "Group Normalization", arXiv:1803.08494.

    >>> GroupNorm(num_groups=2).infer(TensorSpec(("batch", 4, "height", "width")))
    ((batch, 4, height, width) float32,)
    """

    num_groups: int = param(lower=1)
    eps: float = param(default=1e-5, lower=0)
    affine: bool = True

    def build(self, x: TensorSpec) -> nn.Module:
        need_singles(x)
        if x.rank < 2:
            need_rank(x, [2], "(batch, channels, ...)")
        channels = x.size(1)
        need_groups(x, self.num_groups)
        _need_several(x.with_shape((*x.shape[2:], channels // self.num_groups)), "group")
        return nn.GroupNorm(self.num_groups, channels, self.eps, self.affine)


class _InstanceNorm(Layer):
    """Normalisation of each channel of each observation."""

    torch_class: ClassVar[type[nn.Module]]
    layout: ClassVar[str]

    eps: float = param(default=1e-5, lower=1e-12)  # as for batch norm
    momentum: float = param(default=0.1, lower=0, upper=1)
    affine: bool = False
    track_running_stats: bool = False

    def build(self, x: TensorSpec) -> nn.Module:
        need_singles(x)
        need_rank(x, [self.layout.count(",") + 1], self.layout)
        _need_several(x.with_shape(x.shape[2:]), "channel")
        return self.torch_class(x.size(1), **self.parameters())


class InstanceNorm1d(_InstanceNorm):
    """Normalisation of each channel of each sequence.

    Shape:
        input, output: ``(batch, channels, length)``, ``channels`` known.

    Args:
        eps: Added to the variance.
        momentum: Weight of a new batch in the running statistics.
        affine: Learn a scale and a shift per channel.
        track_running_stats: Predict with the statistics of training, as batch normalisation does.

    Differs from torch: ``num_features`` is read from the input; a sequence without a batch, and
    one of a single number, are refused.

    >>> InstanceNorm1d().infer(TensorSpec(("batch", 4, "length")))
    ((batch, 4, length) float32,)
    """

    torch_class = nn.InstanceNorm1d
    layout = "(batch, channels, length)"


class InstanceNorm2d(_InstanceNorm):
    """Normalisation of each channel of each image.

    Shape:
        input, output: ``(batch, channels, height, width)``, ``channels`` known.

    Args: those of ``InstanceNorm1d``.

    Differs from torch: as ``InstanceNorm1d``.

    References: Ulyanov et al. (2016), "Instance Normalization: The Missing Ingredient for Fast
    Stylization", arXiv:1607.08022.

    >>> InstanceNorm2d().infer(TensorSpec(("batch", 3, "height", "width")))
    ((batch, 3, height, width) float32,)
    """

    torch_class = nn.InstanceNorm2d
    layout = "(batch, channels, height, width)"


class InstanceNorm3d(_InstanceNorm):
    """Normalisation of each channel of each volume.

    Shape:
        input, output: ``(batch, channels, depth, height, width)``, ``channels`` known.

    Args: those of ``InstanceNorm1d``.

    Differs from torch: as ``InstanceNorm1d``.

    >>> InstanceNorm3d().infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 4, 8, 8) float32,)
    """

    torch_class = nn.InstanceNorm3d
    layout = "(batch, channels, depth, height, width)"


class LocalResponseNorm(Layer):
    """Each number divided by a power of the squares around it, in the channels next to its own.

    Shape:
        input, output: ``(batch, channels, ...)``, at least three dimensions.

    Args:
        size: Number of channels that count, the own one in their middle.
        alpha: Weight of the mean of their squares.
        beta: The power.
        k: Added to the weighted mean.

    Differs from torch: there are one to three spatial dimensions.

    References: Krizhevsky et al. (2012), "ImageNet Classification with Deep Convolutional Neural
    Networks", section 3.3.

    >>> LocalResponseNorm(size=5).infer(TensorSpec(("batch", 8, "height", "width")))
    ((batch, 8, height, width) float32,)
    """

    size: int = param(lower=1)
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        need_rank(x, [n + 2 for n in LAYOUTS], " or ".join(LAYOUTS.values()))
        return nn.LocalResponseNorm(**self.parameters())


def _trailing(x: TensorSpec, dims: int) -> tuple[int, ...]:
    """The last sizes of an input that is normalised over them."""
    need_singles(x)
    if dims >= x.rank:
        raise ShapeError(
            f"The last {dims} dimensions would include the batch.",
            why=f"{x} has rank {x.rank}",
            mend=f"write dims={max(x.rank - 1, 1)} or less",
        )
    return x.last(dims)


def _need_several(part: TensorSpec, name: str) -> None:
    """Refuse to normalise single numbers."""
    if part.numel == 1:
        raise ShapeError(
            f"A {name} of a single number cannot be normalised.",
            why="minus its mean, it is zero",
            mend='choose fewer groups, or nn("layer_norm")',
        )
