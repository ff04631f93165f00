"""Where to compute, and whether somebody is watching."""

from __future__ import annotations

import os
import sys

import torch

from mlgraph.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """The device of a name; ``"auto"`` is the first of cuda, mps and cpu that is there.

    Of several processes that torchrun started, each has the CUDA device of its ``LOCAL_RANK``.

    Raises:
        ConfigError: There is no such device here.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        name = _available()[0]
    if name == "cuda":
        name = _own_cuda()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"No device is called {name!r}.",
            why=f"available are {', '.join(_available())}",
            mend='device="auto" takes what is there',
        ) from error
    if device.type not in _available() or (device.index or 0) >= _count(device.type):
        raise ConfigError(
            f"The device {name!r} is not available.",
            why=f"available are {', '.join(_available())}" + _how_many(device.type),
            mend='device="auto" takes what is there',
        )
    return device


def shows_progress(wanted: bool | str) -> bool:
    """Whether to show a progress bar: always, never, or where somebody is watching.

    >>> shows_progress(False)
    False
    """
    if isinstance(wanted, bool):
        return wanted
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def _own_cuda() -> str:
    rank = os.environ.get("LOCAL_RANK")
    # A launcher may show each process its own device only.
    return "cuda" if rank is None or _count("cuda") == 1 else f"cuda:{rank}"


def _available() -> tuple[str, ...]:
    found = ("cuda",) if torch.cuda.is_available() else ()
    return (*found, *(("mps",) if torch.backends.mps.is_available() else ()), "cpu")


def _count(kind: str) -> int:
    return torch.cuda.device_count() if kind == "cuda" else 1


def _how_many(kind: str) -> str:
    return f"; there are {_count(kind)} of {kind}" if kind in _available() else ""
