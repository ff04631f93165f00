"""Pooling: each window of a sequence, image or volume becomes one number.

Pooling over everything, whatever its size, is adaptive pooling to size 1.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.net.layer import layer_port
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.conv import Extent, SpatialLayer, need_windows

OUTPUTS = (layer_port("output"), layer_port("indices"))


def output_ports(return_indices: bool) -> tuple[Port, ...]:
    """The output ports of a layer that may return where the numbers were.

    >>> [port.name for port in output_ports(True)]
    ['output', 'indices']
    """
    return OUTPUTS[: 1 + return_indices]  # raises a TypeError where that is left to tuning


class _MaxPool(SpatialLayer):
    """The largest number of each window."""

    kernel_size: Extent = param(lower=1)
    stride: Extent | None = param(default=None, lower=1)
    padding: Extent = param(default=0, lower=0)
    dilation: Extent = param(default=1, lower=1)
    return_indices: bool = param(default=False, tags={"structure"})
    ceil_mode: bool = False

    def validate(self) -> None:
        super().validate()
        _refuse_padding(self)

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return super().ports()[0], output_ports(self.return_indices)

    def build(self, x: TensorSpec) -> nn.Module:
        _need_windows(self, x, self.ceil_mode)
        return self.torch_class(**self.parameters())


class MaxPool1d(_MaxPool):
    """The largest number of each window of a sequence.

    Shape:
        input: ``(batch, channels, length)``.
        output: ``(batch, channels, length')``, one number per window.
        indices: int64, where in the sequence each of them is; only with ``return_indices``.

    Args:
        kernel_size: Length of a window.
        stride: Step from window to window; None for that length.
        padding: How far the first and last window stand out, at most half of
            ``kernel_size``.
        dilation: Distance of the numbers of a window.
        return_indices: Add the output ``indices``.
        ceil_mode: Let one more window stand out at the end, if it starts inside.

    Differs from torch: a sequence without a batch is refused.

    >>> MaxPool1d(kernel_size=2).infer(TensorSpec(("batch", 3, 10)))
    ((batch, 3, 5) float32,)
    """

    spatial = 1
    torch_class = nn.MaxPool1d


class MaxPool2d(_MaxPool):
    """The largest number of each window of an image.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, height', width')``, one number per window.
        indices: int64, their places in the image, counted row by row; only on demand.

    Args: those of ``MaxPool1d``; sizes are one number, or ``(height, width)``.

    Differs from torch: an image without a batch is refused.

    >>> MaxPool2d(kernel_size=2, return_indices=True).infer(TensorSpec(("batch", 3, 10, 8)))
    ((batch, 3, 5, 4) float32, (batch, 3, 5, 4) int64)
    """

    spatial = 2
    torch_class = nn.MaxPool2d


class MaxPool3d(_MaxPool):
    """The largest number of each window of a volume.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        output: ``(batch, channels, depth', height', width')``, one number per window.
        indices: int64, their places in the volume; only on demand.

    Args: those of ``MaxPool1d``; sizes are one number, or ``(depth, height, width)``.

    Differs from torch: a volume without a batch is refused.

    >>> MaxPool3d(kernel_size=(1, 2, 2)).infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 4, 4, 4) float32,)
    """

    spatial = 3
    torch_class = nn.MaxPool3d


class _AvgPool(SpatialLayer):
    """The mean of each window."""

    kernel_size: Extent = param(lower=1)
    stride: Extent | None = param(default=None, lower=1)
    padding: Extent = param(default=0, lower=0)
    ceil_mode: bool = False
    count_include_pad: bool = True

    def validate(self) -> None:
        super().validate()
        _refuse_padding(self)

    def build(self, x: TensorSpec) -> nn.Module:
        _need_windows(self, x, self.ceil_mode)
        return self.torch_class(**self.parameters())


class _DividedPool(_AvgPool):
    """The sum of each window, divided by its size or another number."""

    divisor_override: int | None = param(default=None, lower=1)


class AvgPool1d(_AvgPool):
    """The mean of each window of a sequence.

    Shape:
        input: ``(batch, channels, length)``.
        output: ``(batch, channels, length')``, one number per window.

    Args:
        kernel_size: Length of a window.
        stride: Step from window to window; None for that length.
        padding: Number of zeros added at both ends, at most half of ``kernel_size``.
        ceil_mode: Let one more window stand out at the end, if it starts inside.
        count_include_pad: Count the zeros in the mean.

    Differs from torch: a sequence without a batch is refused.

    >>> AvgPool1d(kernel_size=3, stride=2).infer(TensorSpec(("batch", 3, 10)))
    ((batch, 3, 4) float32,)
    """

    spatial = 1
    torch_class = nn.AvgPool1d


class AvgPool2d(_DividedPool):
    """The mean of each window of an image.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, height', width')``, one number per window.

    Args: those of ``AvgPool1d``, with sizes that are one number or ``(height, width)``, and
        divisor_override: Divide the sums by this number.

    Differs from torch: an image without a batch is refused.

    >>> AvgPool2d(kernel_size=2).infer(TensorSpec(("batch", 3, 10, 8)))
    ((batch, 3, 5, 4) float32,)
    """

    spatial = 2
    torch_class = nn.AvgPool2d


class AvgPool3d(_DividedPool):
    """The mean of each window of a volume.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        output: ``(batch, channels, depth', height', width')``, one number per window.

    Args: those of ``AvgPool2d``; sizes are one number, or ``(depth, height, width)``.

    Differs from torch: a volume without a batch is refused.

    >>> AvgPool3d(kernel_size=2).infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 2, 4, 4) float32,)
    """

    spatial = 3
    torch_class = nn.AvgPool3d


def _power(power: float) -> str | None:
    return None if 0 < power < math.inf else "a positive number that is not infinite"


class _LPPool(SpatialLayer):
    """The norm of each window."""

    norm_type: float = param(check=_power)
    kernel_size: Extent = param(lower=1)
    stride: Extent | None = param(default=None, lower=1)
    ceil_mode: bool = False

    def build(self, x: TensorSpec) -> nn.Module:
        _need_windows(self, x, self.ceil_mode)
        options: dict[str, Any] = self.parameters()
        if self.spatial == 1:  # the only pooling that takes no list of one
            options["kernel_size"] = self.per_dim("kernel_size")[0]
        return self.torch_class(**options)


class LPPool1d(_LPPool):
    """The power average of each window of a sequence: the root of a sum of powers.

    Shape:
        input: ``(batch, channels, length)``.
        output: ``(batch, channels, length')``, one number per window.

    Args:
        norm_type: The power: 1 for the sum, 2 for the Euclidean norm; the larger, the closer to
            the maximum. Of negative numbers, only even powers mean much.
        kernel_size: Length of a window.
        stride: Step from window to window; None for that length.
        ceil_mode: Let one more window stand out at the end, if it starts inside.

    Differs from torch: a sequence without a batch is refused, and so is a power that is not
    positive, or infinite.

    >>> LPPool1d(norm_type=2, kernel_size=2).infer(TensorSpec(("batch", 3, 10)))
    ((batch, 3, 5) float32,)
    """

    spatial = 1
    torch_class = nn.LPPool1d


class LPPool2d(_LPPool):
    """The power average of each window of an image: the root of a sum of powers.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, height', width')``, one number per window.

    Args: those of ``LPPool1d``; sizes are one number, or ``(height, width)``.

    Differs from torch: as ``LPPool1d``.

    >>> LPPool2d(norm_type=2, kernel_size=2).infer(TensorSpec(("batch", 3, 10, 8)))
    ((batch, 3, 5, 4) float32,)
    """

    spatial = 2
    torch_class = nn.LPPool2d


class LPPool3d(_LPPool):
    """The power average of each window of a volume: the root of a sum of powers.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        output: ``(batch, channels, depth', height', width')``, one number per window.

    Args: those of ``LPPool1d``; sizes are one number, or ``(depth, height, width)``.

    Differs from torch: as ``LPPool1d``.

    >>> LPPool3d(norm_type=2, kernel_size=2).infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 2, 4, 4) float32,)
    """

    spatial = 3
    torch_class = nn.LPPool3d


def _refuse_padding(layer: SpatialLayer) -> None:
    most = tuple(size // 2 for size in layer.per_dim("kernel_size"))  # dilation does not count
    if any(pad > half for pad, half in zip(layer.per_dim("padding"), most, strict=True)):
        expected = f"at most half of kernel_size, {' and '.join(map(str, most))}"
        raise layer._refuse("padding", getattr(layer, "padding", None), expected)


def _need_windows(layer: SpatialLayer, x: TensorSpec, ceil_mode: bool) -> None:
    """Refuse a known size without a window; the only one may stand out in ceil mode."""
    layer.need_layout(x)
    strides = layer.per_dim("stride", layer.per_dim("kernel_size"))
    pairs = zip(layer.per_dim("padding", 0), strides, strict=True)
    need_windows(x, layer.reach(), [2 * pad + ceil_mode * (step - 1) for pad, step in pairs])
