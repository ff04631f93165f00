"""The whole state of a run as plain data and tensors: taken from one run, put into another.

A run that goes on from a snapshot is the run that was never interrupted, bit for bit on the CPU:
weights, optimizer, callbacks, random streams and the place in the epoch are all there. The order
of the rows is not: it depends on seed and epoch only.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from mlgraph.train import memory
from mlgraph.train.run import Run

COUNTERS = ("epoch", "step", "global_step", "best_epoch", "stopped", "is_halted")


def taken(run: Run) -> dict[str, Any]:
    """The state of a run between two batches.

    >>> from torch import nn
    >>> from mlgraph.data.batch import TensorBatches
    >>> from mlgraph.train.run import Plan
    >>> network = nn.Linear(1, 1)
    >>> sgd = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> data = TensorBatches((torch.ones(4, 1),), torch.ones(4, 1), None, size=2)
    >>> taken(Run(network, nn.MSELoss(), sgd, data, Plan(epochs=3), seed=1))["epoch"]
    0
    """
    return {
        **{name: getattr(run, name) for name in COUNTERS},
        "scores": dict(run.scores),
        "history": [dict(row) for row in run.history],
        "losses": torch.stack(run.losses).cpu() if run.losses else torch.empty(0),
        "network": run.network.state_dict(),
        "trainable": [name for name, p in run.network.named_parameters() if p.requires_grad],
        "optimizer": run.optimizer.state_dict(),
        "steps": run.steps.state_dict(),
        "callbacks": {name: memory.state_dict(state) for name, state in run.states.items()},
        "random": streams(run),
    }


def put_back(run: Run, saved: Mapping[str, Any]) -> None:
    """Let a run that has not begun go on where another one was.

    A callback that did not take part then begins anew; one that remembered something and is
    missing now is named in a warning.

    Raises:
        StateError: A callback remembered something of another kind.
    """
    run.network.load_state_dict(saved["network"])
    for name, parameter in run.network.named_parameters():
        parameter.requires_grad_(name in saved["trainable"])
    run.optimizer.load_state_dict(saved["optimizer"])
    run.steps.load_state_dict(saved["steps"])
    _remember(run, saved["callbacks"])
    for name in COUNTERS:
        setattr(run, name, saved[name])
    device = next(iter(run.network.parameters())).device
    run.scores, run.history = dict(saved["scores"]), [dict(row) for row in saved["history"]]
    run.losses = list(saved["losses"].to(device).unbind())
    set_streams(run, saved["random"])


def _remember(run: Run, saved: Mapping[str, Any]) -> None:
    for name, old in saved.items():
        if name in run.states:
            memory.load_state_dict(run.states[name], old)
        elif old is not None:
            warnings.warn(f"The callback {name!r} of the saved run is missing.", stacklevel=2)


def streams(run: Run) -> dict[str, Any]:
    """Where the random streams of torch, NumPy and Python stand."""
    kind, keys, *rest = np.random.get_state()
    version, state, gauss = random.getstate()
    found = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": [version, list(state), gauss],
    }
    device = _device(run)
    return {**found, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else found


def set_streams(run: Run, saved: Mapping[str, Any]) -> None:
    """Set the random streams to where they stood."""
    torch.set_rng_state(saved["torch"])
    kind, keys, *rest = saved["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, state, gauss = saved["python"]
    random.setstate((version, tuple(state), gauss))
    device = _device(run)
    if device.type == "cuda" and "cuda" in saved:
        torch.cuda.set_rng_state(saved["cuda"], device)


@contextmanager
def kept_streams() -> Iterator[None]:
    """NumPy's and Python's random streams are afterwards as before.

    >>> with kept_streams():
    ...     random.seed(1)
    """
    before = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])


def _device(run: Run) -> torch.device:
    return next((p.device for p in run.network.parameters()), torch.device("cpu"))
