"""Trained: what a trainer learned, as a value."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any

import attrs
import pyarrow as pa
import torch
from torch import Tensor, fx

from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.net.network import load_tensors, network
from mlgraph.tensor.stream import forked
from mlgraph.train.compiled import Compiled, compiled


@attrs.frozen(eq=False, repr=False)
class Trained:
    """A trained network: its description, its tensors and its history.

    Args:
        descriptor: The network, without data.
        tensors: Weights and buffers by name, on the CPU; never changed.
        history: One row per epoch.
        seed: The seed of the training.
        epochs: Number of complete epochs.
        best_epoch: The epoch of the best evaluation where early stopping watched, else the last.
        interrupted: Whether the user ended the training.
        stopped: Why a callback ended it, or the empty string.
        loss: Description of the loss.
        optimizer: Description of the optimizer.
        ended: How the training ended, to train further from there, weights as far as they differ
            from ``tensors``; or why that cannot be done.

    >>> from mlgraph import Task, nn, po
    >>> task = Task({"x": [0.0, 1.0], "y": [1.0, 3.0]}, target="y")
    >>> graph = nn("linear") >> po("torch_model", epochs=2, progress=False)
    >>> graph.fit(task, seed=1).trained()
    Trained(2 numbers, 2 epochs, seed=...)
    """

    descriptor: ModelDescriptor
    tensors: Mapping[str, Tensor]
    history: pa.Table
    seed: int
    epochs: int
    best_epoch: int
    interrupted: bool
    stopped: str
    loss: Any
    optimizer: Any
    ended: Mapping[str, Any] | str = "it was not kept"

    def module(self, device: torch.device | str = "cpu") -> fx.GraphModule:
        """The trained network as a fresh module in eval mode; changing it changes nothing here."""
        with _LOCK, forked(0):
            made = network(self.descriptor)
        load_tensors(made, self.tensors)
        return made.eval().to(device)

    def live(self, device: torch.device) -> fx.GraphModule:
        """The same for reading only, kept for the next call in this process."""
        with _LOCK:
            kept = _LIVE.setdefault(self, {})
            if str(device) not in kept:
                kept[str(device)] = self.module(device)
            return kept[str(device)]

    @property
    def callbacks(self) -> Mapping[str, Any]:
        """What each callback remembered at the end, by id, as plain data; kept with ``ended``."""
        if isinstance(self.ended, str):
            return {}
        return {id: found["state"] for id, found in self.ended["callbacks"].items()}

    def without_training_state(self) -> Trained:
        """The same without what only further training needs."""
        return attrs.evolve(self, ended="it was dropped")

    def code(self, device: torch.device, backend: str, must: bool) -> Compiled:
        """The same compiled, with the code of the last call in this process."""
        with _LOCK:
            module, kept = self.live(device), _CODE.setdefault(self, {})
            key = (str(device), backend, must)
            if key not in kept:
                kept[key] = compiled(module, backend, must=must)
            return kept[key]

    def describe(self) -> str:
        """The state in one phrase."""
        return f"trained for {self.epochs} epochs"

    def __repr__(self) -> str:
        size = sum(tensor.numel() for tensor in self.tensors.values())
        return f"Trained({size} numbers, {self.epochs} epochs, seed={self.seed})"


_LOCK = threading.RLock()
_CODE: weakref.WeakKeyDictionary[Trained, dict[tuple[str, str, bool], Compiled]] = (
    weakref.WeakKeyDictionary()
)
_LIVE: weakref.WeakKeyDictionary[Trained, dict[str, fx.GraphModule]] = weakref.WeakKeyDictionary()
