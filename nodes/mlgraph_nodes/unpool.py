"""Unpooling: the numbers that max pooling chose, back where they were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from mlgraph.core.param import param
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.explain import listed
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.conv import Extent, SpatialLayer


class _MaxUnpool(SpatialLayer):
    """The numbers that max pooling chose, back in their places."""

    kernel_size: Extent = param(lower=1)
    stride: Extent | None = param(default=None, lower=1)
    padding: Extent = param(default=0, lower=0)
    output_size: Extent | None = param(default=None, lower=1)

    def infer(
        self, *specs: TensorSpec, task: TaskSpec | None = None, name: str | None = None
    ) -> tuple[TensorSpec, ...]:
        """Specs of the outputs; the inputs have one shape, so what is known of one is of both."""
        if {x.rank for x in specs} == {self.spatial + 2}:
            x, indices = specs
            fitting = (None, None, *map(self._fitting, range(self.spatial)))
            specs = _filled(x, indices, fitting), _filled(indices, x, fitting)
        return super().infer(*specs, task=task, name=name)

    @classmethod
    def examples(cls) -> Iterable[tuple[Layer, tuple[TensorSpec, ...]]]:
        shape = (3, 2, *(4, 2, 2)[: cls.spatial])
        specs = TensorSpec(shape), TensorSpec(shape, torch.int64)
        size = tuple(2 * old + 1 for old in shape[2:])
        yield cls.create(params={"kernel_size": 3, "stride": 2, "padding": 1}), specs
        yield cls.create(params={"kernel_size": 2, "output_size": size}), specs

    def build(self, input: TensorSpec, indices: TensorSpec) -> nn.Module:
        self.need_layout(input)
        _need_indices(input, indices)
        for place in range(self.spatial):
            self._need_near(input, place)
        pool = self.torch_class(self.kernel_size, self.stride, self.padding)
        if self.output_size is None:
            return pool
        return UnpooledTo(pool, self.per_dim("output_size"))

    def _window(self, place: int) -> tuple[int, int]:
        """Step between windows in a dimension, and what a single window gives."""
        size, pad = self.per_dim("kernel_size")[place], self.per_dim("padding")[place]
        return self.per_dim("stride", self.kernel_size)[place], size - 2 * pad

    def _fitting(self, place: int) -> int | None:
        """A size that can become the one that is chosen, as stand-ins for unknown ones cannot."""
        chosen = self.per_dim("output_size")[place]
        step, single = self._window(place)
        return None if chosen is None else max(1, (int(chosen) - single) // step + 1)

    def _need_near(self, x: TensorSpec, place: int) -> None:
        """Refuse a size of the output that pooling would not bring to a known one."""
        size, chosen = x.dim(place + 2), self.per_dim("output_size")[place]
        step, single = self._window(place)
        if isinstance(size, str):
            return
        made = (size - 1) * step + single
        if (chosen is None and made < 1) or (chosen is not None and abs(made - chosen) >= step):
            raise ShapeError(
                f"Dimension {place + 2} cannot become {made if chosen is None else chosen} long.",
                why=f"its size is {size}, which can become {max(1, made - step + 1)} to "
                f"{made + step - 1}",
                mend="choose the parameters of the pooling, and output_size in this range",
            )


class MaxUnpool1d(_MaxUnpool):
    """The numbers that ``MaxPool1d`` chose, back in their places; all others are zero.

    Shape:
        input: ``(batch, channels, length)``.
        indices: int64, the same, as ``MaxPool1d(return_indices=True)`` gives them.
        output: ``(batch, channels, length')``: ``output_size``, or the shortest length that is
            pooled to ``length``.

    Args:
        kernel_size: Length of a window, as in the pooling.
        stride: Step from window to window; None for that length.
        padding: How far the outer windows stood out.
        output_size: The size before pooling, as several are pooled to the same one.

    Differs from torch: ``output_size`` is a parameter, and the spatial one only; a sequence
    without a batch is refused.

    >>> indices = TensorSpec(("batch", 3, 5), torch.int64)
    >>> MaxUnpool1d(kernel_size=2).infer(TensorSpec(("batch", 3, 5)), indices)
    ((batch, 3, 10) float32,)
    """

    spatial = 1
    torch_class = nn.MaxUnpool1d


class MaxUnpool2d(_MaxUnpool):
    """The numbers that ``MaxPool2d`` chose, back in their places; all others are zero.

    Shape:
        input: ``(batch, channels, height, width)``.
        indices: int64, the same, as ``MaxPool2d(return_indices=True)`` gives them.
        output: ``(batch, channels, height', width')``: ``output_size``, or the smallest sizes
            that are pooled to those of the input.

    Args: those of ``MaxUnpool1d``; sizes are one number, or ``(height, width)``.

    Differs from torch: as ``MaxUnpool1d``.

    >>> indices = TensorSpec(("batch", 3, 5, 4), torch.int64)
    >>> MaxUnpool2d(kernel_size=2).infer(TensorSpec(("batch", 3, 5, 4)), indices)
    ((batch, 3, 10, 8) float32,)
    """

    spatial = 2
    torch_class = nn.MaxUnpool2d


class MaxUnpool3d(_MaxUnpool):
    """The numbers that ``MaxPool3d`` chose, back in their places; all others are zero.

    Shape:
        input: ``(batch, channels, depth, height, width)``.
        indices: int64, the same, as ``MaxPool3d(return_indices=True)`` gives them.
        output: ``(batch, channels, depth', height', width')``: ``output_size``, or the smallest
            sizes that are pooled to those of the input.

    Args: those of ``MaxUnpool1d``; sizes are one number, or ``(depth, height, width)``.

    Differs from torch: as ``MaxUnpool1d``.

    >>> indices = TensorSpec(("batch", 3, 2, 5, 4), torch.int64)
    >>> MaxUnpool3d(kernel_size=2).infer(TensorSpec(("batch", 3, 2, 5, 4)), indices)
    ((batch, 3, 4, 10, 8) float32,)
    """

    spatial = 3
    torch_class = nn.MaxUnpool3d


class UnpooledTo(nn.Module):
    """Max unpooling to a size that is chosen.

    >>> x, indices = torch.ones(1, 1, 2), torch.tensor([[[0, 4]]])
    >>> UnpooledTo(nn.MaxUnpool1d(2), (5,))(x, indices)
    tensor([[[1., 0., 0., 0., 1.]]])
    """

    def __init__(self, pool: nn.Module, output_size: tuple[int, ...]) -> None:
        super().__init__()
        self.pool, self.output_size = pool, output_size

    def forward(self, input: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """The numbers in their places."""
        unpooled: torch.Tensor = self.pool(input, indices, self.output_size)
        return unpooled

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


def _need_indices(x: TensorSpec, indices: TensorSpec) -> None:
    pairs = list(zip(x.shape, indices.shape, strict=False))
    unlike = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
    if indices.dtype != torch.int64 or x.rank != indices.rank or unlike:
        raise ShapeError(
            "The indices do not fit the input.",
            why=f"they are {listed([x, indices])}, and should be of one shape, indices int64",
            mend="connect both outputs of the pooling with return_indices=True",
        )


def _filled(x: TensorSpec, other: TensorSpec, fitting: Sequence[int | None]) -> TensorSpec:
    """A spec with its unknown sizes as known for the other one, or else as fits or is named."""
    sizes: list[int | str] = []
    for size, same, fit in zip(x.shape, other.shape, fitting, strict=True):
        known = [one for one in (size, same, fit) if isinstance(one, int)]
        sizes.append(known[0] if known else min(str(size), str(same)))
    return x.with_shape(sizes)
