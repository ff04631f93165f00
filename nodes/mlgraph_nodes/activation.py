"""Activations that look at each number alone; see also ``softmax`` and ``gated``.

Together they are every class of ``torch.nn.modules.activation`` that takes one tensor. There is no
``inplace``: a tensor may have other readers.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from mlgraph.core.param import param
from mlgraph.errors import ConfigError, ShapeError
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_floats


def _not_zero(value: float) -> str | None:
    return None if value else "a number other than 0"


class _Activation(Layer):
    """A layer whose parameters are those of a class of torch."""

    torch_class: ClassVar[type[nn.Module]]

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        return self.torch_class(**self.parameters())


class ELU(_Activation):
    """Exponential linear unit: ``x`` above zero, ``alpha * (exp(x) - 1)`` below.

    Shape:
        input, output: any shape, the same.

    >>> ELU(alpha=0.5).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.ELU
    alpha: float = 1.0


class CELU(_Activation):
    """Continuously differentiable ELU: ``alpha * (exp(x / alpha) - 1)`` below zero.

    Shape:
        input, output: any shape, the same.

    >>> CELU().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.CELU
    alpha: float = param(default=1.0, check=_not_zero)


class SELU(_Activation):
    """Scaled ELU, which keeps activations of mean 0 and variance 1.

    Shape:
        input, output: any shape, the same.

    >>> SELU().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.SELU


class ReLU(_Activation):
    """Rectified linear unit: ``max(x, 0)``.

    Shape:
        input, output: any shape, the same.

    >>> ReLU().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.ReLU


class ReLU6(_Activation):
    """ReLU that stops at 6.

    Shape:
        input, output: any shape, the same.

    >>> ReLU6().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.ReLU6


class GELU(_Activation):
    """Gaussian error linear unit: ``x * Phi(x)``.

    Shape:
        input, output: any shape, the same.

    Args:
        approximate: ``"none"``, or ``"tanh"`` for the faster approximation.

    >>> GELU(approximate="tanh").infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.GELU
    approximate: Literal["none", "tanh"] = "none"


class LeakyReLU(_Activation):
    """ReLU with a small slope below zero.

    Shape:
        input, output: any shape, the same.

    >>> LeakyReLU(negative_slope=0.1).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.LeakyReLU
    negative_slope: float = 0.01


class PReLU(_Activation):
    """Leaky ReLU whose slope is learned.

    Shape:
        input, output: ``(batch, ...)``; the size of dimension 1 is ``num_parameters``, if that
        is more than 1.

    Args:
        num_parameters: 1, or one slope per channel.
        init: Where the slopes start.

    >>> PReLU(num_parameters=4).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.PReLU
    num_parameters: int = param(default=1, lower=1)
    init: float = 0.25

    def build(self, x: TensorSpec) -> nn.Module:
        channels = x.size(1) if self.num_parameters > 1 else 1
        if channels != self.num_parameters:
            raise ShapeError(
                f"There are {self.num_parameters} slopes for {channels} channels.",
                mend=f"write num_parameters={channels}, or 1",
            )
        return super().build(x)


class RReLU(_Activation):
    """Leaky ReLU whose slope is random in training, and the mean of its range otherwise.

    Shape:
        input, output: any shape, the same.

    Args:
        lower: Smallest slope.
        upper: Largest slope.

    >>> RReLU(lower=0.1, upper=0.2).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.RReLU
    lower: float = 1 / 8
    upper: float = 1 / 3

    def validate(self) -> None:
        if self.lower > self.upper:
            raise ConfigError(
                f"{self.call_name()} has a lower slope above the upper one.",
                where=f"node {self.default_id!r}",
                why=f"lower={self.lower}, upper={self.upper}",
            )


class Hardshrink(_Activation):
    """Zero within ``lambd`` of zero, ``x`` elsewhere.

    Shape:
        input, output: any shape, the same.

    >>> Hardshrink(lambd=0.1).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Hardshrink
    lambd: float = 0.5


class Softshrink(_Activation):
    """Zero within ``lambd`` of zero, ``x`` moved towards zero by ``lambd`` elsewhere.

    Shape:
        input, output: any shape, the same.

    >>> Softshrink(lambd=0.1).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Softshrink
    lambd: float = param(default=0.5, lower=0)


class Hardsigmoid(_Activation):
    """Sigmoid of three straight pieces.

    Shape:
        input, output: any shape, the same.

    >>> Hardsigmoid().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Hardsigmoid


class Hardswish(_Activation):
    """``x`` times its hard sigmoid.

    Shape:
        input, output: any shape, the same.

    >>> Hardswish().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Hardswish


class Hardtanh(_Activation):
    """``x``, clipped to a range.

    Shape:
        input, output: any shape, the same.

    Args:
        min_val: Lower end of the range.
        max_val: Upper end of the range.

    >>> Hardtanh(max_val=2).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Hardtanh
    min_val: float = -1.0
    max_val: float = 1.0

    def validate(self) -> None:
        if self.min_val >= self.max_val:
            raise ConfigError(
                f"{self.call_name()} has an empty range.",
                where=f"node {self.default_id!r}",
                why=f"min_val={self.min_val}, max_val={self.max_val}",
                mend="give min_val the smaller number",
            )


class Sigmoid(_Activation):
    """Logistic function, ``1 / (1 + exp(-x))``.

    Shape:
        input, output: any shape, the same.

    >>> Sigmoid().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Sigmoid


class LogSigmoid(_Activation):
    """Logarithm of the logistic function.

    Shape:
        input, output: any shape, the same.

    >>> LogSigmoid().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.LogSigmoid


class Softsign(_Activation):
    """``x / (1 + |x|)``.

    Shape:
        input, output: any shape, the same.

    >>> Softsign().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Softsign


class Tanh(_Activation):
    """Hyperbolic tangent.

    Shape:
        input, output: any shape, the same.

    >>> Tanh().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Tanh


class Tanhshrink(_Activation):
    """``x - tanh(x)``.

    Shape:
        input, output: any shape, the same.

    >>> Tanhshrink().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Tanhshrink


class Softplus(_Activation):
    """Smooth ReLU, ``log(1 + exp(beta * x)) / beta``.

    Shape:
        input, output: any shape, the same.

    Args:
        beta: Sharpness of the bend.
        threshold: ``beta * x`` above which the function is ``x`` itself.

    >>> Softplus(beta=2).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Softplus
    beta: float = param(default=1.0, check=_not_zero)
    threshold: float = 20.0


class Threshold(_Activation):
    """``x`` above a threshold, a fixed value elsewhere.

    Shape:
        input, output: any shape, the same.

    >>> Threshold(threshold=0, value=-1).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Threshold
    threshold: float
    value: float


class SiLU(_Activation):
    """``x`` times its sigmoid; also known as swish.

    Shape:
        input, output: any shape, the same.

    >>> SiLU().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.SiLU


class Mish(_Activation):
    """``x * tanh(softplus(x))``.

    Shape:
        input, output: any shape, the same.

    >>> Mish().infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    """

    torch_class = nn.Mish
