"""Gradient clipping, by norm or by value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mlgraph.core.param import param
from mlgraph.errors import ConfigError
from mlgraph.train.callback import Callback
from mlgraph.train.running import Running


class GradClip(Callback):
    """Keep gradients small before each step of the optimizer.

    Args:
        norm: Scale all gradients together so that their norm is at most this.
        value: Cut each number of a gradient to this size.
        norm_type: Which norm; 2 is the Euclidean one.

    >>> GradClip(norm=1.0)
    callback("grad_clip", norm=1.0)
    """

    norm: float | None = param(default=None, lower=0)
    value: float | None = param(default=None, lower=0)
    norm_type: float = param(default=2.0, lower=0)

    def validate(self) -> None:
        if (self.norm is None) == (self.value is None):
            raise ConfigError(
                "Gradients are clipped by norm or by value.",
                where=repr(self),
                mend='write callback("grad_clip", norm=1.0)',
            )

    def fixed(self) -> Mapping[str, Any]:
        return self.own()

    def on_after_backward(self, run: Running, state: Any) -> None:
        """Clip."""
        parameters = run.network.parameters()
        if self.norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.norm, self.norm_type)
        elif self.value is not None:
            nn.utils.clip_grad_value_(parameters, self.value)
