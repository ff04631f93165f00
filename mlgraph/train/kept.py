"""A complete epoch of a run, kept in memory for the case that the next one is interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

import attrs
import torch
from torch import Tensor

from mlgraph.errors import StateError
from mlgraph.train import memory
from mlgraph.train.run import Run
from mlgraph.train.snapshot import COUNTERS, set_streams, streams, train_only, trainable


@attrs.define(eq=False)
class Kept:
    """A copy of everything a run changes: weights, optimizer, memories, streams, counts.

    >>> Kept().state
    {}
    """

    state: dict[str, Any] = attrs.field(factory=dict)
    seconds: float = 0.0

    @contextmanager
    def training(self) -> Iterator[None]:
        """Count the seconds of training since the run was copied."""
        begun = monotonic()
        yield
        self.seconds += monotonic() - begun

    def is_of(self, run: Run) -> bool:
        """Whether the copy is of the epoch that the run has just completed."""
        return bool(self.state) and self.state["counters"]["epoch"] == run.epoch

    def keep(self, run: Run) -> None:
        """Copy the run as it is, into the tensors of the copy before."""
        self.seconds = 0.0
        self.state = copied(
            {
                "counters": {name: getattr(run, name) for name in COUNTERS},
                "scores": run.scores,
                "epochs": len(run.history),
                "network": run.network.state_dict(),
                "optimizer": run.optimizer.state_dict(),
                "steps": run.steps.state_dict(),
                "trainable": trainable(run.network),
                "random": streams(run),
                "memories": _memories(run),
            },
            self.state,
        )

    def put_back(self, run: Run) -> None:
        """Let the run be as it was."""
        kept = self.state
        run.network.load_state_dict(kept["network"])
        run.optimizer.load_state_dict(kept["optimizer"])
        run.steps.load_state_dict(kept["steps"])
        train_only(run.network, kept["trainable"])
        set_streams(run, kept["random"])
        for name, saved in kept["memories"].items():
            memory.load_state_dict(run.states[name], saved)
        for name, value in kept["counters"].items():
            setattr(run, name, value)
        run.scores = dict(kept["scores"])
        del run.history[kept["epochs"] :]


def copied(value: Any, old: Any = None) -> Any:
    """A copy of nested dicts, lists and tensors, made in the tensors of an older copy.

    >>> import torch
    >>> copied({"a": torch.ones(1)}, {"a": torch.zeros(1)})
    {'a': tensor([1.])}
    """
    if isinstance(value, Tensor):
        return _copied_tensor(value.detach(), old)
    if isinstance(value, Mapping):
        known = old if isinstance(old, Mapping) else {}
        return {name: copied(item, known.get(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copied(item) for item in value)
    return value


def _copied_tensor(value: Tensor, old: Any) -> Tensor:
    """A copy on the CPU: the memory of other devices is what networks are short of."""
    if isinstance(old, Tensor) and (old.shape, old.dtype) == (value.shape, value.dtype):
        return old.copy_(value)
    return torch.empty_like(value, device="cpu").copy_(value)


def _memories(run: Run) -> dict[str, Any]:
    """What callbacks remember; a memory that cannot be saved is not kept."""
    found = {}
    for name, state in run.states.items():
        if state is None or isinstance(state, (bool, int, float, str, tuple)):
            continue  # it cannot have changed
        try:
            found[name] = memory.state_dict(state, copy=Tensor.detach)
        except StateError:
            continue
    return found
