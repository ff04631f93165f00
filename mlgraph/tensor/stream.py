"""torch's stream of random numbers: there is one in a process, so whoever draws takes turns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TURN = threading.RLock()


@contextmanager
def forked(seed: int | None = None, device: torch.device | None = None) -> Iterator[None]:
    """Draw from a fork of torch's generators; they are as before afterwards, also on an error.

    Args:
        seed: Where the fork starts; None goes on from where the stream is.
        device: A CUDA device whose generator is forked as well.

    >>> before = torch.get_rng_state()
    >>> with forked(1):
    ...     drawn = torch.rand(1)
    >>> bool((torch.get_rng_state() == before).all())
    True
    """
    cuda = [_index(device)] if device is not None and device.type == "cuda" else []
    with _TURN, torch.random.fork_rng(devices=cuda):
        if seed is not None:
            # Not torch.manual_seed: it would seed devices whose state nobody restores.
            torch.default_generator.manual_seed(seed)
            for index in cuda:
                torch.cuda.default_generators[index].manual_seed(seed)
        yield


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index
