"""The processes that train together, and what they tell each other.

The group is made of its own connections. torch's default group, if there is one, only says who
takes part: so nothing of it changes, and closing the connections is enough to end all others when
one of them fails.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import attrs
import torch
import torch.distributed
from torch import Tensor

from mlgraph.errors import ConfigError, StateError

dist: Any = torch.distributed  # most of what it exports, type checkers do not see
PATIENCE = timedelta(minutes=30)  # for one that does not come; torch's own
GRACE = timedelta(seconds=5)  # for the last words of one that is gone
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@attrs.define(eq=False)
class Group:
    """The processes of one fit.

    Args:
        rank: The number of this process, from 0.
        size: How many there are.
        store: Where the last words of a process are left.
        cpu: The connections for tensors on the CPU.
        cuda: The connections for those on a CUDA device.

    >>> Group(0, 1, None, None).is_first
    True
    """

    rank: int
    size: int
    store: Any
    cpu: Any
    cuda: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Sum tensors over all processes, in place; one message for each dtype.

        Raises:
            StateError: Another process failed.
        """
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            same = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            self._wait("allreduce", torch.view_as_real(flat) if dtype.is_complex else flat)
            parts = torch.split(flat, [tensor.numel() for tensor in same])
            for tensor, part in zip(same, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Let tensors be those of the first process, bit for bit, in place.

        Raises:
            StateError: Another process failed.
        """
        for tensor in tensors:
            if tensor.numel():
                flat = tensor.contiguous().reshape(-1)
                self._wait("broadcast", flat.view(torch.uint8))
                tensor.copy_(flat.view_as(tensor))

    def each(self, value: Any) -> list[Any]:
        """What each process has to say, of JSON values, by its number.

        Raises:
            StateError: Another process failed.
        """
        said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = torch.zeros(self.size, dtype=torch.int64)
        lengths[self.rank] = len(said)
        self.add([lengths])
        texts = torch.zeros(self.size, int(lengths.max()), dtype=torch.uint8)
        texts[self.rank, : len(said)] = said
        self.add([texts])
        pairs = zip(texts, lengths.tolist(), strict=True)
        return [json.loads(bytes(text[:length].tolist())) for text, length in pairs]

    def leave_word(self, error: BaseException) -> None:
        """Say why this process ends, for the others to repeat."""
        text = f"{type(error).__name__}: {error}"
        try:
            self.store.compare_set("failed", "", json.dumps([self.rank, text]))
        except RuntimeError:  # of the store's process, which is gone as well
            pass

    def close(self, failed: bool = False) -> None:
        """Close the connections; whoever still waits for this process gets an error."""
        if self.cuda is not None:
            self.cuda.abort() if failed else self.cuda.shutdown()
        self.cuda = self.cpu = None

    def _wait(self, what: str, tensor: Tensor) -> None:
        root = (0,) if what == "broadcast" else ()
        try:
            # In no variable: a traceback would keep the connections open.
            getattr(self.cuda if tensor.is_cuda else self.cpu, what)(tensor, *root).wait()
        except RuntimeError as error:
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> Lost:
        try:
            self.store.wait(["failed"], GRACE)
            rank, text = json.loads(self.store.get("failed"))
        except RuntimeError:
            return Lost(
                "Another process of this training is gone, or does not answer.",
                why=str(error).splitlines()[0],
                mend="look at what it wrote; every process must fit the same graphs in turn",
            )
        return Lost(f"Process {rank} of {self.size} failed, so the training ends.", why=text)


class Lost(StateError):
    """Another process failed.

    >>> raise Lost("Process 1 of 2 failed, so the training ends.")
    Traceback (most recent call last):
    mlgraph.train.parallel.group.Lost: Process 1 of 2 failed, so the training ends.
    """


@contextmanager
def joined(device: torch.device) -> Iterator[Group | None]:
    """The group of the processes that were started together; None where there is one alone.

    Args:
        device: Where this process trains.

    Raises:
        ConfigError: Processes cannot train together on such a device.
        StateError: Another process failed, or did not come.

    >>> with joined(torch.device("cpu")) as group:
    ...     print(group)
    None
    """
    found = _found()
    if found is None:
        yield None
        return
    group = _connected(*found, device)
    failed = True
    try:
        yield group
        failed = False
    except BaseException as error:
        if not isinstance(error, Lost):
            group.leave_word(error)
        raise
    finally:
        group.close(failed)


def _found() -> tuple[Any, int, int] | None:
    """A store that all processes see, the number of this one, and how many there are."""
    if not dist.is_available():
        return None
    if dist.is_initialized():
        store = dist.distributed_c10d._get_default_store()
        found = store, dist.get_rank(), dist.get_world_size()
    elif _was_launched():
        found = _launched()
    else:
        return None
    return found if found[2] > 1 else None


def _was_launched() -> bool:
    # What a process starts in turn, such as workers of joblib, inherits its environment.
    return all(name in os.environ for name in LAUNCHED) and not multiprocessing.parent_process()


@functools.cache
def _launched() -> tuple[Any, int, int]:
    """What torchrun says; kept, as the first process may be the one that holds the store."""
    store, rank, size = next(dist.rendezvous("env://", timeout=PATIENCE))
    return store, rank, size


def _connected(store: Any, rank: int, size: int, device: torch.device) -> Group:
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(
            f"Several processes cannot train together on {device.type!r}.",
            why="they can on the CPU (gloo) and on CUDA devices (nccl)",
            mend='device="cpu"',
        )
    fit = store.add(f"mlgraph/fits/{rank}", 1)  # each process counts its own, all to the same
    own = dist.PrefixStore(f"mlgraph/fit/{fit}", store)
    try:
        cpu = dist.ProcessGroupGloo(dist.PrefixStore("gloo", own), rank, size, PATIENCE)
        cuda = None
        if device.type == "cuda":
            cuda = dist.ProcessGroupNCCL(dist.PrefixStore("nccl", own), rank, size, PATIENCE)
    except RuntimeError as error:
        raise Lost(
            f"Process {rank} of {size} found no connection to the others.",
            why=str(error).splitlines()[0],
            mend="every process must fit the same graphs in turn",
        ) from error
    return Group(rank, size, own, cpu, cuda)
