"""Pooling to a size that is chosen, whatever that of the input; windows differ in size."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.errors import ConfigError, ShapeError
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.conv import Extent, SpatialLayer
from mlgraph_nodes.pool import output_ports

_KEEP = (None,)


class _AdaptiveAvgPool(SpatialLayer):
    """The means of as many windows as are asked for."""

    output_size: int | tuple[int | None, ...] = param(lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        self.need_layout(x)
        if self.output_size == _KEEP:  # torch knows None among several sizes only
            return nn.AvgPool1d(1)
        return self.torch_class(self.output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The means of as many windows of a sequence as are asked for.

    Shape:
        input: ``(batch, channels, length)``.
        output: ``(batch, channels, output_size)``, known even if ``length`` is not.

    Args:
        output_size: The new length, or a list of one for each spatial dimension, in which None
            keeps the size.

    Differs from torch: a sequence without a batch is refused.

    >>> AdaptiveAvgPool1d(output_size=1).infer(TensorSpec(("batch", 3, "length")))
    ((batch, 3, 1) float32,)
    """

    spatial = 1
    torch_class = nn.AdaptiveAvgPool1d


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The means of as many windows of an image as are asked for.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, *output_size)``, known even if height and width are not.

    Args:
        output_size: One number of pixels for a square, or ``(height, width)``, in which None
            keeps the size.

    Differs from torch: an image without a batch is refused.

    >>> AdaptiveAvgPool2d(output_size=(4, None)).infer(TensorSpec(("batch", 3, "height", "width")))
    ((batch, 3, 4, width) float32,)
    """

    spatial = 2
    torch_class = nn.AdaptiveAvgPool2d


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The means of as many windows of a volume as are asked for.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        output: ``(batch, channels, *output_size)``, known even if the sizes are not.

    Args:
        output_size: One number for a cube, or ``(depth, height, width)``, in which None keeps
            the size.

    Differs from torch: a volume without a batch is refused.

    >>> AdaptiveAvgPool3d(output_size=2).infer(TensorSpec(("batch", 3, 4, 8, "width")))
    ((batch, 3, 2, 2, 2) float32,)
    """

    spatial = 3
    torch_class = nn.AdaptiveAvgPool3d


class _AdaptiveMaxPool(SpatialLayer):
    """The largest numbers of as many windows as are asked for."""

    output_size: int | tuple[int | None, ...] = param(lower=1)
    return_indices: bool = param(default=False, tags={"structure"})

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return super().ports()[0], output_ports(self.return_indices)

    def build(self, x: TensorSpec) -> nn.Module:
        self.need_layout(x)
        if self.output_size == _KEEP:
            return nn.MaxPool1d(1, return_indices=self.return_indices)
        return self.torch_class(self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest numbers of as many windows of a sequence as are asked for.

    Shape:
        input: ``(batch, channels, length)``.
        output: ``(batch, channels, output_size)``, known even if ``length`` is not.
        indices: int64, where in the sequence each of them is; only with ``return_indices``.

    Args:
        output_size: The new length, or a list of one for each spatial dimension, in which None
            keeps the size.
        return_indices: Add the output ``indices``.

    Differs from torch: a sequence without a batch is refused.

    >>> AdaptiveMaxPool1d(output_size=1).infer(TensorSpec(("batch", 3, "length")))
    ((batch, 3, 1) float32,)
    """

    spatial = 1
    torch_class = nn.AdaptiveMaxPool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest numbers of as many windows of an image as are asked for.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, *output_size)``, known even if height and width are not.
        indices: int64, their places in the image, counted row by row; only on demand.

    Args:
        output_size: One number of pixels for a square, or ``(height, width)``, in which None
            keeps the size.
        return_indices: Add the output ``indices``.

    Differs from torch: an image without a batch is refused.

    >>> AdaptiveMaxPool2d(output_size=4).infer(TensorSpec(("batch", 3, "height", "width")))
    ((batch, 3, 4, 4) float32,)
    """

    spatial = 2
    torch_class = nn.AdaptiveMaxPool2d


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest numbers of as many windows of a volume as are asked for.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        output: ``(batch, channels, *output_size)``, known even if the sizes are not.
        indices: int64, their places in the volume; only with ``return_indices``.

    Args:
        output_size: One number for a cube, or ``(depth, height, width)``, in which None keeps
            the size.
        return_indices: Add the output ``indices``.

    Differs from torch: a volume without a batch is refused.

    >>> AdaptiveMaxPool3d(output_size=2).infer(TensorSpec(("batch", 3, 4, 8, "width")))
    ((batch, 3, 2, 2, 2) float32,)
    """

    spatial = 3
    torch_class = nn.AdaptiveMaxPool3d


def _ratio(ratio: float | tuple[float, ...]) -> str | None:
    ratios = ratio if isinstance(ratio, tuple) else (ratio,)
    # What is not a number is a place left to tuning.
    numbers = [one for one in ratios if isinstance(one, float)]
    return None if all(0 < one < 1 for one in numbers) else "a number between 0 and 1"


class FractionalMaxPool2d(SpatialLayer):
    """The largest number of each window of an image; the steps between windows are random.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, height', width')``: ``output_size``, or the input's sizes times
            ``output_ratio``, rounded down.
        indices: int64, their places in the image, counted row by row; only on demand.

    Args:
        kernel_size: Pixels of a window, one number or ``(height, width)``; windows overlap.
        output_size: The new size, one number or ``(height, width)``.
        output_ratio: The new size as a part of the old one, one number or two, between 0 and 1.
        return_indices: Add the output ``indices``.

    Differs from torch: the steps are random in training only; predictions do not depend on chance.

    References: Graham (2014), "Fractional Max-Pooling", arXiv:1412.6071.

    >>> images = TensorSpec(("batch", 3, 32, 20))
    >>> FractionalMaxPool2d(kernel_size=2, output_ratio=0.7).infer(images)
    ((batch, 3, 22, 14) float32,)
    """

    spatial = 2

    kernel_size: Extent = param(lower=1)
    output_size: Extent | None = param(default=None, lower=1)
    output_ratio: float | tuple[float, ...] | None = param(default=None, check=_ratio)
    return_indices: bool = param(default=False, tags={"structure"})

    def validate(self) -> None:
        super().validate()
        if (self.output_size is None) == (self.output_ratio is None):
            raise ConfigError(
                f"{self.call_name()} needs either output_size or output_ratio.",
                where=f"node {self.default_id!r}",
                why="it got both" if self.output_size else "it got neither",
            )

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return super().ports()[0], output_ports(self.return_indices)

    def build(self, x: TensorSpec) -> nn.Module:
        self.need_layout(x)
        for dim, window in enumerate(self.per_dim("kernel_size"), start=2):
            self._need_room(x, dim, window)
        size = None if self.output_size is None else self.per_dim("output_size")
        ratio = None if self.output_ratio is None else self.per_dim("output_ratio")
        return RandomSteps(self.per_dim("kernel_size"), size, ratio, self.return_indices)

    def _need_room(self, x: TensorSpec, dim: int, window: int) -> None:
        size = x.dim(dim)
        if isinstance(size, str):
            return
        chosen, ratio = self.per_dim("output_size")[dim - 2], self.per_dim("output_ratio")[dim - 2]
        made = int(size * ratio) if chosen is None else chosen
        if not 1 <= made <= size - window + 1:
            raise ShapeError(
                f"{made} windows of {window} cannot be taken from dimension {dim}.",
                why=f"its size is {size}, where there are 1 to {max(size - window + 1, 0)}",
                mend="choose another kernel_size or size of the output",
            )


class RandomSteps(nn.Module):
    """Fractional max pooling that leaves nothing to chance in evaluation.

    >>> module = RandomSteps((2, 2), output_size=(3, 3)).eval()
    >>> x = torch.arange(25.0).reshape(1, 1, 5, 5)
    >>> torch.equal(module(x), module(x))
    True
    """

    def __init__(
        self,
        kernel_size: tuple[int, int],
        output_size: tuple[int, int] | None = None,
        output_ratio: tuple[float, float] | None = None,
        return_indices: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.return_indices = kernel_size, return_indices
        self.output_size, self.output_ratio = output_size, output_ratio

    def forward(self, input: torch.Tensor) -> Any:
        """The pooled images, and with ``return_indices`` the indices."""
        samples = None if self.training else input.new_full((*input.shape[:2], 2), 0.5)
        pooled, indices = functional.fractional_max_pool2d_with_indices(
            input, self.kernel_size, self.output_size, self.output_ratio, _random_samples=samples
        )
        return (pooled, indices) if self.return_indices else pooled

    def extra_repr(self) -> str:
        size = self.output_size or self.output_ratio
        return f"kernel_size={self.kernel_size}, output={size}"
