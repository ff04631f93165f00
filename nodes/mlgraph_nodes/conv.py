"""Convolutions, and what the layers with windows over sequences, images and volumes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from mlgraph.core.param import param
from mlgraph.errors import ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import FLOAT, need_floats, need_rank, need_singles

Extent = int | tuple[int, ...]

LAYOUTS = {
    1: "(batch, channels, length)",
    2: "(batch, channels, height, width)",
    3: "(batch, channels, depth, height, width)",
}


class SpatialLayer(Layer):
    """A layer for sequences, images or volumes.

    Some of its parameters are one number for all spatial dimensions, or a list of one for each.

    Class attributes:
        spatial: Number of spatial dimensions.
        torch_class: The module.
        sized: Names of such parameters, of which a class has some.

    >>> Conv2d(out_channels=8, kernel_size=3).per_dim("kernel_size")
    (3, 3)
    """

    spatial: ClassVar[int]
    torch_class: ClassVar[type[nn.Module]]
    sized: ClassVar[tuple[str, ...]] = (
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "output_padding",
        "output_size",
        "output_ratio",
    )

    def validate(self) -> None:
        for name in self.sized:
            value = getattr(self, name, None)
            if isinstance(value, tuple) and len(value) != self.spatial:
                expected = f"one number, or a list of {self.spatial} for as many dimensions"
                raise self._refuse(name, value, expected)

    def per_dim(self, name: str, default: Any = None) -> tuple[Any, ...]:
        """A parameter as one value for each spatial dimension."""
        value = getattr(self, name, None)
        value = default if value is None else value
        return value if isinstance(value, tuple) else (value,) * self.spatial

    def reach(self) -> tuple[int, ...]:
        """How much of each spatial dimension a window spans."""
        pairs = zip(self.per_dim("kernel_size"), self.per_dim("dilation", 1), strict=True)
        return tuple(dilation * (size - 1) + 1 for size, dilation in pairs)

    def need_layout(self, x: TensorSpec) -> None:
        """Refuse integers, and another number of dimensions; the batch is one of them."""
        need_floats(x)
        need_rank(x, [self.spatial + 2], LAYOUTS[self.spatial])


def need_dtype_of_weights(x: TensorSpec) -> None:
    """Refuse numbers of another precision than that of weights.

    Raises:
        ShapeError: The dtype is not the default one of torch.

    >>> need_dtype_of_weights(TensorSpec(("batch", 4)))
    """
    need_singles(x)
    weights = torch.get_default_dtype()
    if x.dtype != weights:
        name, other = (str(dtype).removeprefix("torch.") for dtype in (weights, x.dtype))
        raise ShapeError(
            f"Numbers of dtype {name} are needed.",
            why=f"weights are {name}, and the input is {other}",
            mend=f"put {FLOAT} before it",
        )


def need_groups(x: TensorSpec, groups: int) -> None:
    """Refuse a known number of channels that cannot be split in groups of one size.

    Raises:
        ShapeError: A channel would be left over.

    >>> need_groups(TensorSpec(("batch", 4, 8, 8)), 2)
    """
    channels = x.dim(1)
    if isinstance(channels, int) and channels % groups:
        raise ShapeError(
            f"{channels} channels cannot be split in {groups} groups.",
            why="all groups have the same number of channels",
            mend=f"choose a number that divides {channels}",
        )


def need_windows(x: TensorSpec, reach: Sequence[int], added: Sequence[int]) -> None:
    """Refuse a known size in which not one window fits.

    Args:
        x: The input.
        reach: What a window spans of each spatial dimension.
        added: How much each of them grows at its ends: by padding, and by rounding up.

    Raises:
        ShapeError: No tensor can have the size that the output would have.

    >>> need_windows(TensorSpec(("batch", 3, "height", 8)), (5, 5), (0, 0))
    """
    for dim, (window, more) in enumerate(zip(reach, added, strict=True), start=2):
        size = x.dim(dim)
        if isinstance(size, int) and size + more < window:
            grown = f", {size + more} with what is added at its ends" if more else ""
            raise ShapeError(
                f"A window of {window} is larger than dimension {dim}.",
                why=f"the size there is {size}{grown}",
                mend="choose a smaller kernel_size or dilation, or pad more",
            )


def need_source(x: TensorSpec, pads: Sequence[tuple[int, int]], mode: str) -> None:
    """Refuse padding that repeats more numbers than a known size has.

    Args:
        x: The input.
        pads: What is added before and after each spatial dimension.
        mode: How, as torch's convolutions call it.

    Raises:
        ShapeError: A dimension is too small.

    >>> need_source(TensorSpec(("batch", 3, 8)), [(7, 7)], "reflect")
    """
    least = {"reflect": 1, "circular": 0}.get(mode)
    for dim, pad in enumerate(pads, start=2):
        size = x.dim(dim)
        if least is not None and isinstance(size, int) and max(pad) > size - least:
            raise ShapeError(
                f"Dimension {dim} is too small for {mode} padding of {max(pad)}.",
                why=f"its size is {size}, which gives {size - least} numbers at most",
                mend="pad less, or with zeros",
            )


class _Conv(SpatialLayer):
    """A convolution."""

    out_channels: int = param(lower=1)
    kernel_size: Extent = param(lower=1)
    stride: Extent = param(default=1, lower=1)
    padding: Extent | Literal["same", "valid"] = param(default=0, lower=0)
    dilation: Extent = param(default=1, lower=1)
    groups: int = param(default=1, lower=1)
    bias: bool = True
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"

    def validate(self) -> None:
        super().validate()
        _refuse_groups(self)
        if self.padding == "same" and set(self.per_dim("stride")) != {1}:
            raise self._refuse("stride", self.stride, '1, as padding="same" keeps sizes')

    def build(self, x: TensorSpec) -> nn.Module:
        channels, pads = _channels(self, x), self._pads()
        need_source(x, pads, self.padding_mode)
        need_windows(x, self.reach(), [sum(pad) for pad in pads])
        return self.torch_class(channels, **self.parameters())

    def _pads(self) -> list[tuple[int, int]]:
        if self.padding == "valid":
            return [(0, 0)] * self.spatial
        if self.padding == "same":  # what cannot be halved goes to the end
            return [((span - 1) // 2, span // 2) for span in self.reach()]
        return [(pad, pad) for pad in self.per_dim("padding")]


class Conv1d(_Conv):
    """Convolution of sequences.

    Shape:
        input: ``(batch, channels, length)``, ``channels`` known.
        output: ``(batch, out_channels, length')``, as torch computes it.

    Args:
        out_channels: Number of filters.
        kernel_size: Length of a filter.
        stride: Step from one place of a filter to the next.
        padding: What is added at both ends; "same" keeps the length, "valid" adds nothing.
        dilation: Distance of the numbers that a filter looks at.
        groups: Number of groups of channels that are convolved separately.
        bias: Add a learned constant per filter.
        padding_mode: What is added: zeros, or the sequence mirrored, its ends, or itself again.

    Differs from torch: ``in_channels`` is read from the input; one without a batch is refused.

    >>> Conv1d(out_channels=8, kernel_size=3).infer(TensorSpec(("batch", 2, 10)))
    ((batch, 8, 8) float32,)
    """

    spatial = 1
    torch_class = nn.Conv1d


class Conv2d(_Conv):
    """Convolution of images.

    Shape:
        input: ``(batch, channels, height, width)``, ``channels`` known.
        output: ``(batch, out_channels, height', width')``, as torch computes them.

    Args: those of ``Conv1d``; sizes are one number of pixels, or ``(height, width)``.

    Differs from torch: ``in_channels`` is read from the input; an image without a batch is refused.

    >>> Conv2d(out_channels=8, kernel_size=3).infer(TensorSpec(("batch", 3, 32, "width")))
    ((batch, 8, 30, conv2d_3) float32,)
    """

    spatial = 2
    torch_class = nn.Conv2d


class Conv3d(_Conv):
    """Convolution of volumes.

    Shape:
        input: ``(batch, channels, depth, height, width)``, ``channels`` known.
        output: ``(batch, out_channels, depth', height', width')``, as torch computes them.

    Args: those of ``Conv1d``; sizes are one number, or ``(depth, height, width)``.

    Differs from torch: ``in_channels`` is read from the input; one without a batch is refused.

    >>> Conv3d(out_channels=8, kernel_size=(1, 3, 3)).infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 8, 4, 6, 6) float32,)
    """

    spatial = 3
    torch_class = nn.Conv3d


class _ConvTranspose(SpatialLayer):
    """A transposed convolution."""

    out_channels: int = param(lower=1)
    kernel_size: Extent = param(lower=1)
    stride: Extent = param(default=1, lower=1)
    padding: Extent = param(default=0, lower=0)
    output_padding: Extent = param(default=0, lower=0)
    groups: int = param(default=1, lower=1)
    bias: bool = True
    dilation: Extent = param(default=1, lower=1)

    def validate(self) -> None:
        super().validate()
        _refuse_groups(self)
        steps = zip(self.per_dim("stride"), self.per_dim("dilation"), strict=True)
        pairs = zip(self.per_dim("output_padding"), map(max, steps), strict=True)
        if any(more >= step for more, step in pairs):
            expected = "less than stride or less than dilation"
            raise self._refuse("output_padding", self.output_padding, expected)

    def build(self, x: TensorSpec) -> nn.Module:
        channels = _channels(self, x)
        self._need_room(x)
        return self.torch_class(channels, **self.parameters())

    def _need_room(self, x: TensorSpec) -> None:
        """Refuse a known size of which padding leaves nothing."""
        sizes = zip(self.reach(), *map(self.per_dim, _ROOM), strict=True)
        for dim, (span, stride, padding, more) in enumerate(sizes, start=2):
            size = x.dim(dim)
            if isinstance(size, int) and (size - 1) * stride + span + more <= 2 * padding:
                raise ShapeError(
                    f"A padding of {padding} leaves nothing of dimension {dim}.",
                    why=f"its size is {size}, {(size - 1) * stride + span + more} before padding "
                    "is cut off",
                    mend="choose a smaller padding",
                )


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution of sequences: longer by ``stride``, where a convolution is shorter.

    Shape:
        input: ``(batch, channels, length)``, ``channels`` known.
        output: ``(batch, out_channels, length')``, as torch computes it.

    Args:
        out_channels: Number of filters.
        kernel_size: Length of a filter.
        stride: Step in the output for each number of the input.
        padding: What is cut off at both ends.
        output_padding: What is added at the end, as several lengths convolve to the same one.
        groups: Number of groups of channels that are convolved separately.
        bias: Add a learned constant per filter.
        dilation: Distance of the numbers that a filter writes.

    Differs from torch: ``in_channels`` is read from the input; one without a batch is refused.
    There is no ``padding_mode``, for zeros are the only one that torch takes here.

    >>> ConvTranspose1d(out_channels=8, kernel_size=2, stride=2).infer(TensorSpec(("batch", 2, 10)))
    ((batch, 8, 20) float32,)
    """

    spatial = 1
    torch_class = nn.ConvTranspose1d


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution of images: larger by ``stride``, where a convolution is smaller.

    Shape:
        input: ``(batch, channels, height, width)``, ``channels`` known.
        output: ``(batch, out_channels, height', width')``, as torch computes them.

    Args: those of ``ConvTranspose1d``; sizes are one number of pixels, or ``(height, width)``.

    Differs from torch: as ``ConvTranspose1d``.

    >>> ConvTranspose2d(out_channels=8, kernel_size=2, stride=2).infer(TensorSpec((4, 2, 5, 5)))
    ((4, 8, 10, 10) float32,)
    """

    spatial = 2
    torch_class = nn.ConvTranspose2d


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution of volumes: larger by ``stride``, where a convolution is smaller.

    Shape:
        input: ``(batch, channels, depth, height, width)``, ``channels`` known.
        output: ``(batch, out_channels, depth', height', width')``, as torch computes them.

    Args: those of ``ConvTranspose1d``; sizes are one number, or ``(depth, height, width)``.

    Differs from torch: as ``ConvTranspose1d``.

    >>> ConvTranspose3d(out_channels=8, kernel_size=3).infer(TensorSpec(("batch", 2, 4, 5, 5)))
    ((batch, 8, 6, 7, 7) float32,)
    """

    spatial = 3
    torch_class = nn.ConvTranspose3d


_ROOM = ("stride", "padding", "output_padding")


def _refuse_groups(layer: _Conv | _ConvTranspose) -> None:
    if layer.out_channels % layer.groups:
        expected = f"a number that divides out_channels={layer.out_channels}"
        raise layer._refuse("groups", layer.groups, expected)


def _channels(layer: _Conv | _ConvTranspose, x: TensorSpec) -> int:
    """The number of channels, if the layer can take such an input."""
    need_dtype_of_weights(x)
    layer.need_layout(x)
    need_groups(x, layer.groups)
    return x.size(1)
