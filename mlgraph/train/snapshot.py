"""The whole state of a run as plain data and tensors: taken from one run, put into another.

A run that goes on from a snapshot is the run that was never interrupted, bit for bit on the CPU:
weights, optimizer, callbacks, random streams and the place in the epoch are all there. The order
of the rows is not: it depends on seed and epoch only.
"""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from mlgraph.core.param import shown
from mlgraph.core.value import canonical, digest
from mlgraph.errors import MLGraphError, StateError, listing
from mlgraph.train import memory
from mlgraph.train.callback import Callback, key_of
from mlgraph.train.gathered import Gathered
from mlgraph.train.losses import Losses
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
    found = {
        **{name: getattr(run, name) for name in COUNTERS},
        "scores": dict(run.scores),
        "history": [dict(row) for row in run.history],
        # Between two epochs they are those of the last one, which nobody needs any more.
        "losses": run.losses.all().cpu() if run.step else torch.empty(0),
        "outputs": run.outputs.all().cpu() if run.step and run.outputs.count else torch.empty(0),
        "lost": list(run.batches.lost) if run.step else [],
        "network": run.network.state_dict(),
        "trainable": trainable(run.network),
        "optimizer": run.optimizer.state_dict(),
        "steps": run.steps.state_dict(),
        "callbacks": {id: _memory(run.callbacks.get(id), s) for id, s in run.states.items()},
        "random": streams(run),
    }
    # A rate or a score may be a number of NumPy, which the file would not hold.
    plain: dict[str, Any] = tree_map_only(np.generic, lambda number: number.item(), found)
    return plain


def put_back(run: Run, saved: Mapping[str, Any]) -> None:
    """Let a run that has not begun go on where another one was.

    Callbacks are found by id. One that did not take part then begins anew; one that is missing
    now, and remembered something or steered the run, is named in a warning.

    Raises:
        StateError: A callback was one of another class, had other parameters that steer the run,
            or remembered something of another kind.
    """
    _compare(run.callbacks, saved["callbacks"])
    run.network.load_state_dict(saved["network"])
    train_only(run.network, saved["trainable"])
    # Torch would go on with the very tensors that were saved.
    run.optimizer.load_state_dict(copy.deepcopy(saved["optimizer"]))
    run.steps.load_state_dict(saved["steps"])
    _remember(run, saved["callbacks"])
    for name in COUNTERS:
        setattr(run, name, saved[name])
    device = next(iter(run.network.parameters())).device
    run.scores, run.history = dict(saved["scores"]), [dict(row) for row in saved["history"]]
    run.losses = Losses.of(saved["losses"].to(device))
    outputs = saved["outputs"].to(device)
    run.outputs = Gathered.of(outputs) if len(outputs) else Gathered(run.batches.rows)
    run.batches.lose(saved["lost"])
    set_streams(run, saved["random"])


def trainable(network: nn.Module) -> list[str]:
    """The names of the weights that are trained."""
    return [name for name, weight in network.named_parameters() if weight.requires_grad]


def train_only(network: nn.Module, names: Collection[str]) -> None:
    """Train the weights of these names and no others."""
    for name, weight in network.named_parameters():
        weight.requires_grad_(name in names)


def _memory(callback: Callback | None, state: Any) -> dict[str, Any]:
    """What is to be known of a callback: its key, the parameters that must stay, its memory."""
    fixed = {} if callback is None else callback.fixed()
    return {
        "key": "" if callback is None else key_of(callback),
        "fixed": {name: [shown(value), digest(canonical(value))] for name, value in fixed.items()},
        "missed": getattr(callback, "missed", False),
        # Where one writes to steers nothing, and equal fits are equal wherever they are saved.
        "is": "" if getattr(callback, "writes", True) else content_of(callback),
        "state": memory.state_dict(state),
    }


def content_of(part: Any) -> str:
    """All of a loss, a callback or a sampler as a digest; the empty string if it has none.

    >>> content_of(Callback()) == content_of(Callback(weight=1.0))
    False
    """
    with suppress(MLGraphError):
        return digest(canonical(part))
    return ""


def is_steered_otherwise(run: Run, saved: Mapping[str, Any]) -> bool:
    """Whether callbacks that count have come, gone, or changed since a run was saved."""
    was = {id: old["is"] for id, old in saved["callbacks"].items() if old["missed"]}
    now = {id: _memory(callback, None) for id, callback in run.callbacks.items()}
    return was != {id: found["is"] for id, found in now.items() if found["missed"]}


def _compare(callbacks: Mapping[str, Callback], saved: Mapping[str, Any]) -> None:
    """Refuse a callback that is not what it was."""
    for id in (id for id in saved if id in callbacks):
        was, now = saved[id], _memory(callbacks[id], None)
        if was["key"] != now["key"]:
            raise StateError(
                f"The callback {id!r} was a {was['key']!r} and is a {now['key']!r}.",
                mend="give the new one another id, or start afresh",
            )
        names = [name for name in now["fixed"] if was["fixed"].get(name) != now["fixed"][name]]
        if names:
            changes = (
                f"{name} was {was['fixed'].get(name, ['not there'])[0]} "
                f"and is {now['fixed'][name][0]}"
                for name in names
            )
            raise StateError(
                f"The callback {id!r} had another {listing(names)}.",
                why=f"{'; '.join(changes)}; this steers the training",
                mend="use what that run used, or start afresh",
            )


def _remember(run: Run, saved: Mapping[str, Any]) -> None:
    for id, old in saved.items():
        if id in run.states:
            run.states[id] = memory.restored(run.states[id], old["state"])
        elif old["missed"] and (old["state"] is not None or old["fixed"]):
            warnings.warn(f"The callback {id!r} of the saved run is missing.", stacklevel=2)


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
    """Set the random streams that were saved to where they stood."""
    torch.set_rng_state(saved["torch"])
    if "numpy" in saved:
        kind, keys, *rest = saved["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    if "python" in saved:
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
