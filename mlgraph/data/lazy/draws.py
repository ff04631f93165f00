"""Random numbers that depend on seed, epoch, row and operation, and on nothing else."""

from __future__ import annotations

import hashlib

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Keys = NDArray[np.uint64]


@attrs.frozen
class Draw:
    """What random operations draw from, besides the row.

    Args:
        seed: The seed of the fit.
        epoch: The epoch, so that every epoch draws anew.

    >>> Draw(1).epoch
    0
    """

    seed: int
    epoch: int = 0


def keys(draw: Draw, operation: str, row_ids: NDArray[np.int64], copies: Keys) -> Keys:
    """One key per row: where the stream of its draws starts.

    Args:
        draw: Seed and epoch.
        operation: Id of the operation.
        row_ids: Ids of the rows.
        copies: How many earlier rows of the task have the same id.

    >>> keys(Draw(0), "flip", np.array([7, 7]), np.array([0, 1], dtype=np.uint64)).shape
    (2,)
    """
    text = f"{draw.seed}:{draw.epoch}:{operation}".encode()
    base = np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), dtype="<u8")
    return _mixed(_mixed(base ^ _mixed(row_ids.astype(np.uint64))) + copies)


def uniforms(keys: Keys, count: int) -> Tensor:
    """Numbers in [0, 1), shape ``(rows, count)``, float64.

    >>> uniforms(np.array([1, 2], dtype=np.uint64), 3).shape
    torch.Size([2, 3])
    """
    steps = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    bits = _mixed(keys[:, None] + steps[None, :])
    return torch.from_numpy((bits >> np.uint64(11)) * 2.0**-53)


def copies_of(row_ids: NDArray[np.int64]) -> Keys:
    """How many earlier rows have the same id, for each row.

    >>> copies_of(np.array([4, 7, 4, 4]))
    array([0, 0, 1, 2], dtype=uint64)
    """
    order = np.argsort(row_ids, kind="stable")
    ordered = row_ids[order]
    first = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    ends = np.append(first[1:], len(ordered))
    counts = np.empty(len(row_ids), dtype=np.uint64)
    counts[order] = np.arange(len(ordered)) - np.repeat(first, ends - first)
    return counts


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(state: Keys) -> Keys:
    """One step of splitmix64; integers wrap around."""
    z = state + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
