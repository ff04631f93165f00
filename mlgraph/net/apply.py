"""A function as a module of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mlgraph.core.param import shown


class Apply(nn.Module):
    """A function as a module.

    >>> Apply(torch.unsqueeze, 0)
    Apply(unsqueeze, 0)
    """

    def __init__(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self.fn, self.arguments, self.options = fn, arguments, options

    def forward(self, *tensors: torch.Tensor) -> Any:
        """What the function returns for the tensors and its further arguments."""
        return self.fn(*tensors, *self.arguments, **self.options)

    def extra_repr(self) -> str:
        rest = [*map(shown, self.arguments), *(f"{k}={shown(v)}" for k, v in self.options.items())]
        return ", ".join([shown(self.fn), *rest])
