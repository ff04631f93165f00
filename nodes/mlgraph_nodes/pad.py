"""Padding: sequences, images and volumes made larger at their ends."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from mlgraph.core.param import param
from mlgraph.errors import ShapeError
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.conv import Extent, SpatialLayer, need_source


class _Pad(SpatialLayer):
    """Padding with numbers of some kind."""

    mode: ClassVar[str]

    def validate(self) -> None:
        ends = 2 * self.spatial
        padding = getattr(self, "padding", 0)
        if isinstance(padding, tuple) and len(padding) != ends:
            expected = f"one number, or a list of {ends}: {', '.join(_ENDS[:ends])}"
            raise self._refuse("padding", padding, expected)

    def build(self, x: TensorSpec) -> nn.Module:
        self.need_layout(x)
        pads = self.pads()
        _need_rest(x, pads)
        need_source(x, pads, self.mode)
        return self.torch_class(**self.parameters())

    def pads(self) -> list[tuple[int, int]]:
        """What is added before and after each dimension; torch lists the last one first."""
        padding: Any = getattr(self, "padding", 0)
        ends = padding if isinstance(padding, tuple) else (padding,) * (2 * self.spatial)
        return [(ends[i], ends[i + 1]) for i in range(0, len(ends), 2)][::-1]


_ENDS = ("left", "right", "top", "bottom", "front", "back")


def _need_rest(x: TensorSpec, pads: list[tuple[int, int]]) -> None:
    for dim, (before, after) in enumerate(pads, start=2):
        size = x.dim(dim)
        if isinstance(size, int) and size + min(before, 0) + min(after, 0) < 1:
            raise ShapeError(
                f"A padding of {before} and {after} leaves nothing of dimension {dim}.",
                why=f"its size is {size}, and negative padding cuts off",
                mend="cut off less",
            )


class _ConstantPad(_Pad):
    """Padding with a number."""

    mode = "constant"

    padding: Extent
    value: float


class _ZeroPad(_Pad):
    """Padding with zeros."""

    mode = "constant"

    padding: Extent


class _SourcedPad(_Pad):
    """Padding with numbers of the input."""

    padding: Extent = param(lower=0)


class ConstantPad1d(_ConstantPad):
    """Sequences with a number added at both ends.

    Shape:
        input: ``(batch, channels, length)``.
        output: ``(batch, channels, left + length + right)``.

    Args:
        padding: How many are added: one count, or ``(left, right)``; negative cuts off.
        value: The number.

    Differs from torch: a sequence without a batch is refused.

    >>> ConstantPad1d(padding=(1, 2), value=-1).infer(TensorSpec(("batch", 3, 8)))
    ((batch, 3, 11) float32,)
    """

    spatial = 1
    torch_class = nn.ConstantPad1d


class ConstantPad2d(_ConstantPad):
    """Images with a number added on all sides.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, height', width')``.

    Args: those of ``ConstantPad1d``; ``padding`` is one count or
        ``(left, right, top, bottom)``.

    Differs from torch: an image without a batch is refused.

    >>> ConstantPad2d(padding=(0, 0, 1, 2), value=-1).infer(TensorSpec(("batch", 3, 8, "width")))
    ((batch, 3, 11, width) float32,)
    """

    spatial = 2
    torch_class = nn.ConstantPad2d


class ConstantPad3d(_ConstantPad):
    """Volumes with a number added on all sides.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        output: ``(batch, channels, depth', height', width')``.

    Args: those of ``ConstantPad1d``; ``padding`` is one count or
        ``(left, right, top, bottom, front, back)``.

    Differs from torch: a volume without a batch is refused.

    >>> ConstantPad3d(padding=1, value=-1).infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 6, 10, 10) float32,)
    """

    spatial = 3
    torch_class = nn.ConstantPad3d


class ZeroPad1d(_ZeroPad):
    """Sequences with zeros added at both ends.

    Shape:
        input: ``(batch, channels, length)``.
        output: ``(batch, channels, left + length + right)``.

    Args:
        padding: How many are added: one count, or ``(left, right)``; negative cuts off.

    Differs from torch: a sequence without a batch is refused.

    >>> ZeroPad1d(padding=(1, 2)).infer(TensorSpec(("batch", 3, 8)))
    ((batch, 3, 11) float32,)
    """

    spatial = 1
    torch_class = nn.ZeroPad1d


class ZeroPad2d(_ZeroPad):
    """Images with zeros added on all sides.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, height', width')``.

    Args: those of ``ZeroPad1d``; ``padding`` is one count or
        ``(left, right, top, bottom)``.

    Differs from torch: an image without a batch is refused.

    >>> ZeroPad2d(padding=(0, 0, 1, 2)).infer(TensorSpec(("batch", 3, 8, "width")))
    ((batch, 3, 11, width) float32,)
    """

    spatial = 2
    torch_class = nn.ZeroPad2d


class ZeroPad3d(_ZeroPad):
    """Volumes with zeros added on all sides.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        output: ``(batch, channels, depth', height', width')``.

    Args: those of ``ZeroPad1d``; ``padding`` is one count or
        ``(left, right, top, bottom, front, back)``.

    Differs from torch: a volume without a batch is refused.

    >>> ZeroPad3d(padding=1).infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 6, 10, 10) float32,)
    """

    spatial = 3
    torch_class = nn.ZeroPad3d


class _ReflectionPad(_SourcedPad):
    """Padding with the input in a mirror."""

    mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """Sequences that go on at both ends as in a mirror, the outermost number not repeated.

    Shape:
        input: ``(batch, channels, length)``.
        output: ``(batch, channels, left + length + right)``.

    Args:
        padding: How many are added, less than there are: one count, or ``(left, right)``.

    Differs from torch: a sequence without a batch is refused, and so is negative padding.

    >>> ReflectionPad1d(padding=(1, 2)).infer(TensorSpec(("batch", 3, 8)))
    ((batch, 3, 11) float32,)
    """

    spatial = 1
    torch_class = nn.ReflectionPad1d


class ReflectionPad2d(_ReflectionPad):
    """Images that go on on all sides as in a mirror, the outermost number not repeated.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, height', width')``.

    Args: those of ``ReflectionPad1d``; ``padding`` is one count or
        ``(left, right, top, bottom)``.

    Differs from torch: an image without a batch is refused, and so is negative padding.

    >>> ReflectionPad2d(padding=(0, 0, 1, 2)).infer(TensorSpec(("batch", 3, 8, "width")))
    ((batch, 3, 11, width) float32,)
    """

    spatial = 2
    torch_class = nn.ReflectionPad2d


class ReflectionPad3d(_ReflectionPad):
    """Volumes that go on on all sides as in a mirror, the outermost number not repeated.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        output: ``(batch, channels, depth', height', width')``.

    Args: those of ``ReflectionPad1d``; ``padding`` is one count or
        ``(left, right, top, bottom, front, back)``.

    Differs from torch: a volume without a batch is refused, and so is negative padding.

    >>> ReflectionPad3d(padding=1).infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 6, 10, 10) float32,)
    """

    spatial = 3
    torch_class = nn.ReflectionPad3d


class _ReplicationPad(_SourcedPad):
    """Padding with the outermost numbers."""

    mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """Sequences whose outermost numbers are repeated at both ends.

    Shape:
        input: ``(batch, channels, length)``.
        output: ``(batch, channels, left + length + right)``.

    Args:
        padding: How many are added: one count, or ``(left, right)``.

    Differs from torch: a sequence without a batch is refused, and so is negative padding.

    >>> ReplicationPad1d(padding=(1, 2)).infer(TensorSpec(("batch", 3, 8)))
    ((batch, 3, 11) float32,)
    """

    spatial = 1
    torch_class = nn.ReplicationPad1d


class ReplicationPad2d(_ReplicationPad):
    """Images whose outermost numbers are repeated on all sides.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, height', width')``.

    Args: those of ``ReplicationPad1d``; ``padding`` is one count or
        ``(left, right, top, bottom)``.

    Differs from torch: an image without a batch is refused, and so is negative padding.

    >>> ReplicationPad2d(padding=(0, 0, 1, 2)).infer(TensorSpec(("batch", 3, 8, "width")))
    ((batch, 3, 11, width) float32,)
    """

    spatial = 2
    torch_class = nn.ReplicationPad2d


class ReplicationPad3d(_ReplicationPad):
    """Volumes whose outermost numbers are repeated on all sides.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        output: ``(batch, channels, depth', height', width')``.

    Args: those of ``ReplicationPad1d``; ``padding`` is one count or
        ``(left, right, top, bottom, front, back)``.

    Differs from torch: a volume without a batch is refused, and so is negative padding.

    >>> ReplicationPad3d(padding=1).infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 6, 10, 10) float32,)
    """

    spatial = 3
    torch_class = nn.ReplicationPad3d


class _CircularPad(_SourcedPad):
    """Padding with the other end of the input."""

    mode = "circular"


class CircularPad1d(_CircularPad):
    """Sequences that go on at both ends with what is at the other end.

    Shape:
        input: ``(batch, channels, length)``.
        output: ``(batch, channels, left + length + right)``.

    Args:
        padding: How many are added, at most as many as there are: one count, or ``(left, right)``.

    Differs from torch: a sequence without a batch is refused, and so is negative padding.

    >>> CircularPad1d(padding=(1, 2)).infer(TensorSpec(("batch", 3, 8)))
    ((batch, 3, 11) float32,)
    """

    spatial = 1
    torch_class = nn.CircularPad1d


class CircularPad2d(_CircularPad):
    """Images that go on on all sides with what is at the other end.

    Shape:
        input: ``(batch, channels, height, width)``.
        output: ``(batch, channels, height', width')``.

    Args: those of ``CircularPad1d``; ``padding`` is one count or
        ``(left, right, top, bottom)``.

    Differs from torch: an image without a batch is refused, and so is negative padding.

    >>> CircularPad2d(padding=(0, 0, 1, 2)).infer(TensorSpec(("batch", 3, 8, "width")))
    ((batch, 3, 11, width) float32,)
    """

    spatial = 2
    torch_class = nn.CircularPad2d


class CircularPad3d(_CircularPad):
    """Volumes that go on on all sides with what is at the other end.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        output: ``(batch, channels, depth', height', width')``.

    Args: those of ``CircularPad1d``; ``padding`` is one count or
        ``(left, right, top, bottom, front, back)``.

    Differs from torch: a volume without a batch is refused, and so is negative padding.

    >>> CircularPad3d(padding=1).infer(TensorSpec(("batch", 3, 4, 8, 8)))
    ((batch, 3, 6, 10, 10) float32,)
    """

    spatial = 3
    torch_class = nn.CircularPad3d
