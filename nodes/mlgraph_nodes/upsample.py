"""Layers that change resolution: by blur, or by trading places for channels or windows."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from mlgraph.core.param import param
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ConfigError, ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.infer import infer_outputs
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.conv import LAYOUTS, Extent, SpatialLayer, need_groups, need_windows
from mlgraph_nodes.demands import need_floats, need_rank

# Number of spatial dimensions, where a way to interpolate works for one only.
_BLENDS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


def _positive(factors: float | tuple[float, ...]) -> str | None:
    every = factors if isinstance(factors, tuple) else (factors,)
    # What is not a number is a place left to tuning.
    fine = all(0 < factor < math.inf for factor in every if isinstance(factor, float))
    return None if fine else "positive numbers"


class Upsample(Layer):
    """Sequences, images or volumes in another resolution, higher or lower.

    Shape:
        input: ``(batch, channels, ...)`` with one to three spatial dimensions; one for "linear",
            two for "bilinear" and "bicubic", three for "trilinear".
        output: the same of spatial size ``size``, or of ``scale_factor`` times that of the input,
            rounded down.

    Args:
        size: The new size, one number or a list of one for each spatial dimension.
        scale_factor: The new size in sizes of the input, one number or a list.
        mode: How numbers in between are found; "nearest-exact" has no shift, "area" is the mean.
        align_corners: Whether the outermost numbers stay where they are, or the corners of the
            pixels do, which is the default; for the modes that interpolate.

    Differs from torch: ``recompute_scale_factor`` is missing.

    >>> Upsample(scale_factor=2).infer(TensorSpec(("batch", 3, 8, 10)))
    ((batch, 3, 16, 20) float32,)
    """

    size: Extent | None = param(default=None, lower=1)
    scale_factor: float | tuple[float, ...] | None = param(default=None, check=_positive)
    mode: Literal[
        "nearest", "linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact"
    ] = "nearest"
    align_corners: bool | None = None

    def validate(self) -> None:
        if (self.size is None) == (self.scale_factor is None):
            raise ConfigError(
                f"{self.call_name()} needs either size or scale_factor.",
                where=f"node {self.default_id!r}",
                why="it got neither" if self.size is None else "it got both",
            )
        if self.align_corners is not None and self.mode not in _BLENDS:
            expected = f"None, or one of {', '.join(map(repr, _BLENDS))} as mode"
            raise self._refuse("align_corners", self.align_corners, expected)
        count = self._listed()
        if count is not None and count not in self._ranks():
            expected = f"one number, or a list of {' or '.join(map(str, self._ranks()))}"
            name = "scale_factor" if self.size is None else "size"
            raise self._refuse(name, getattr(self, name), expected)

    def infer(
        self, *specs: TensorSpec, task: TaskSpec | None = None, name: str | None = None
    ) -> tuple[TensorSpec, ...]:
        """Specs of the outputs, which do not depend on the mode: the quickest one stands in."""

        def nearest() -> nn.Module:
            module = self.build(*specs)
            module.mode, module.align_corners = "nearest", None
            return module

        if self.mode not in _BLENDS:
            return super().infer(*specs, task=task, name=name)
        # On the meta device, torch takes a second for all the sums of a bicubic interpolation.
        label, key = name or self.default_id.removeprefix("nn_"), self._infer_key(None)
        return infer_outputs(nearest, specs, name=label, outputs=["output"], key=key)

    def build(self, x: TensorSpec) -> nn.Upsample:
        need_floats(x)
        ranks = self._ranks() if self._listed() is None else (self._listed(),)
        spatial = [rank for rank in ranks if rank is not None]
        need_rank(x, [n + 2 for n in spatial], " or ".join(LAYOUTS[n] for n in spatial))
        self._need_pixels(x)
        return nn.Upsample(self.size, self.scale_factor, self.mode, self.align_corners)

    def _ranks(self) -> tuple[int, ...]:
        return (_BLENDS[self.mode],) if self.mode in _BLENDS else tuple(LAYOUTS)

    def _listed(self) -> int | None:
        """How many sizes or factors there are; None where one number is for any number of them."""
        given = self.scale_factor if self.size is None else self.size
        return len(given) if isinstance(given, tuple) else None

    def _need_pixels(self, x: TensorSpec) -> None:
        if self.scale_factor is None:
            return
        count = x.rank - 2
        given = self.scale_factor
        factors = given if isinstance(given, tuple) else (given,) * count
        for dim, factor in enumerate(factors, start=2):
            size = x.dim(dim)
            if isinstance(size, int) and int(size * factor) < 1:
                raise ShapeError(
                    f"A scale_factor of {factor} leaves nothing of dimension {dim}.",
                    why=f"its size is {size}",
                    mend="choose a larger one",
                )


class PixelShuffle(Layer):
    """Images of higher resolution, whose new pixels are taken from the channels.

    Shape:
        input: ``(batch, channels, height, width)``; ``upscale_factor ** 2`` divides the channels.
        output: ``(batch, channels / upscale_factor ** 2, height * upscale_factor,
            width * upscale_factor)``.

    Differs from torch: an image without a batch is refused.

    References: Shi et al. (2016), "Real-Time Single Image and Video Super-Resolution Using an
    Efficient Sub-Pixel Convolutional Neural Network", arXiv:1609.05158.

    >>> PixelShuffle(upscale_factor=2).infer(TensorSpec(("batch", 12, 8, 10)))
    ((batch, 3, 16, 20) float32,)
    """

    upscale_factor: int = param(lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        need_rank(x, [4], LAYOUTS[2])
        _need_multiple(x, 1, self.upscale_factor**2, "upscale_factor squared")
        return nn.PixelShuffle(self.upscale_factor)


class PixelUnshuffle(Layer):
    """Images of lower resolution, with the pixels of each square as channels.

    Shape:
        input: ``(batch, channels, height, width)``; ``downscale_factor`` divides height and width.
        output: ``(batch, channels * downscale_factor ** 2, height / downscale_factor,
            width / downscale_factor)``.

    Differs from torch: an image without a batch is refused.

    >>> PixelUnshuffle(downscale_factor=2).infer(TensorSpec(("batch", 3, 16, 20)))
    ((batch, 12, 8, 10) float32,)
    """

    downscale_factor: int = param(lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        need_rank(x, [4], LAYOUTS[2])
        for dim in (2, 3):
            _need_multiple(x, dim, self.downscale_factor, "downscale_factor")
        return nn.PixelUnshuffle(self.downscale_factor)


class ChannelShuffle(Layer):
    """The channels in another order: the first of each group, then the second of each, and so on.

    Shape:
        input, output: ``(batch, channels, ...)`` with one to three spatial dimensions; ``groups``
            divides the channels.

    Differs from torch: an input without a batch is refused.

    References: Zhang et al. (2018), "ShuffleNet: An Extremely Efficient Convolutional Neural
    Network for Mobile Devices", arXiv:1707.01083.

    >>> ChannelShuffle(groups=2).infer(TensorSpec(("batch", 4, 8, 8)))
    ((batch, 4, 8, 8) float32,)
    """

    groups: int = param(lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        need_rank(x, [n + 2 for n in LAYOUTS], " or ".join(LAYOUTS.values()))
        need_groups(x, self.groups)
        return nn.ChannelShuffle(self.groups)


class Unfold(SpatialLayer):
    """The windows of an image next to each other, each as one column.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels * pixels of a window, number of windows)``.

    Args:
        kernel_size: Size of a window, one number or ``(height, width)``, as all of these.
        dilation: Distance of the pixels of a window.
        padding: Number of zeros added on all sides.
        stride: Step from window to window.

    Differs from torch: an image without a batch is refused.

    >>> Unfold(kernel_size=2, stride=2).infer(TensorSpec(("batch", 3, 8, 10)))
    ((batch, 12, 20) float32,)
    """

    spatial = 2

    kernel_size: Extent = param(lower=1)
    dilation: Extent = param(default=1, lower=1)
    padding: Extent = param(default=0, lower=0)
    stride: Extent = param(default=1, lower=1)

    def build(self, x: TensorSpec) -> nn.Module:
        self.need_layout(x)
        need_windows(x, self.reach(), [2 * pad for pad in self.per_dim("padding")])
        return nn.Unfold(**self.parameters())


class Fold(SpatialLayer):
    """Images from columns that are windows: the reverse of ``Unfold``, overlaps summed.

    Shape:
        input: ``(batch, channels * pixels of a window, number of windows)``.
        output: ``(batch, channels, *output_size)``.

    Args:
        output_size: Size of the images, one number or ``(height, width)``, as all of these.
        kernel_size: Size of a window.
        dilation: Distance of the pixels of a window.
        padding: What is cut off on all sides.
        stride: Step from window to window.

    Differs from torch: an input without a batch is refused.

    >>> Fold(output_size=(8, 10), kernel_size=2, stride=2).infer(TensorSpec(("batch", 12, 20)))
    ((batch, 3, 8, 10) float32,)
    """

    spatial = 2

    output_size: Extent = param(lower=1)
    kernel_size: Extent = param(lower=1)
    dilation: Extent = param(default=1, lower=1)
    padding: Extent = param(default=0, lower=0)
    stride: Extent = param(default=1, lower=1)

    def validate(self) -> None:
        super().validate()
        if min(self._windows()) < 1:
            expected = f"windows that fit in output_size={self.output_size} with its padding"
            raise self._refuse("kernel_size", self.kernel_size, expected)

    def spec(self, *inputs: TensorSpec, task: TaskSpec) -> tuple[TensorSpec, ...] | None:
        x = inputs[0]
        if x.rank != 3 or isinstance(x.dim(1), str) or isinstance(x.dim(2), int):
            return None
        # Only one number of windows is possible, which no stand-in for an unknown one would be.
        return self.infer(x.with_shape((*x.shape[:2], math.prod(self._windows()))), task=task)

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        need_rank(x, [3], "(batch, channels * pixels of a window, number of windows)")
        _need_multiple(x, 1, math.prod(self.per_dim("kernel_size")), "the pixels of a window")
        count, known = math.prod(self._windows()), x.dim(2)
        if isinstance(known, int) and known != count:
            raise ShapeError(
                f"Windows of this size and stride are {count}, not {known}.",
                why=f"output_size={self.output_size} has {' x '.join(map(str, self._windows()))}",
                mend='give it the parameters of the nn("unfold") that made the windows',
            )
        return nn.Fold(**self.parameters())

    def _windows(self) -> tuple[int, ...]:
        sizes, pads = self.per_dim("output_size"), self.per_dim("padding")
        each = zip(sizes, pads, self.reach(), self.per_dim("stride"), strict=True)
        return tuple((size + 2 * pad - span) // step + 1 for size, pad, span, step in each)


def _need_multiple(x: TensorSpec, dim: int, divisor: int, name: str) -> None:
    size = x.dim(dim)
    if isinstance(size, int) and size % divisor:
        raise ShapeError(
            f"A size that is divisible by {divisor} is needed.",
            why=f"dimension {dim} of {x} has size {size}, and {name} is {divisor}",
            mend="give the layer before it another size, or choose another number here",
        )
