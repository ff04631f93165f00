"""The numbers a network computes in: float32, or 16 bits where torch holds that to be safe.

Weights stay in float32 whatever the precision, and so do outputs, losses, metrics and predictions:
only what happens between input and output is computed in fewer bits, as ``torch.autocast`` decides
operation by operation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from mlgraph.errors import ConfigError
from mlgraph.train.steps import ScaledSteps, Steps

Precision = Literal["32", "bf16", "fp16"]
Forward = Callable[..., Tensor]

_DTYPES = {"32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The type of 16 bits that a precision means on a device; None for float32.

    Raises:
        ConfigError: The device cannot compute in it.

    >>> dtype_of("32", torch.device("cpu")) is None
    True
    >>> dtype_of("bf16", torch.device("cpu"))
    torch.bfloat16
    """
    dtype = _DTYPES[precision]
    if dtype is not None and not _is_there(dtype, device):
        raise ConfigError(
            f"precision={precision!r} is not available on the device {device.type!r}.",
            why=f"this torch ({torch.__version__}) does not compute in {_name(dtype)} there",
            mend='precision="32", or another device',
        )
    return dtype


def autocasting(forward: Forward, dtype: torch.dtype, device: torch.device) -> Forward:
    """The same function with what it computes in 16 bits; its output is float32 again.

    >>> linear = autocasting(torch.nn.Linear(2, 1), torch.bfloat16, torch.device("cpu"))
    >>> linear(torch.ones(3, 2)).dtype
    torch.float32
    """

    def cast(*inputs: Any) -> Tensor:
        with torch.autocast(device.type, dtype):
            output = forward(*inputs)
        return output.float() if output.dtype is dtype else output

    return cast


def computed(
    network: Forward, code: Forward | None, dtype: torch.dtype | None, device: torch.device
) -> Forward | None:
    """What computes a network; None for the network as it is.

    Args:
        network: The network.
        code: The network compiled, or None.
        dtype: The 16 bits it computes in; None for float32.
        device: Where it is.

    >>> computed(torch.nn.Linear(2, 1), None, None, torch.device("cpu")) is None
    True
    """
    return code if dtype is None else autocasting(code or network, dtype, device)


def steps_of(precision: Precision, device: torch.device) -> Steps:
    """How gradients are made and used with this precision.

    >>> type(steps_of("bf16", torch.device("cpu"))).__name__
    'Steps'
    """
    return ScaledSteps(device) if precision == "fp16" else Steps()


def _is_there(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether autocast does as it is told; where it cannot, torch warns and does nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.autocast(device.type, dtype):
                return torch.is_autocast_enabled(device.type)
    except RuntimeError:
        return False


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
