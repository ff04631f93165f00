"""Training further: how a run ended, kept with what was trained, and a run that goes on there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from mlgraph.errors import MLGraphError, StateError
from mlgraph.net.network import copied
from mlgraph.train.run import Run
from mlgraph.train.snapshot import put_back, taken
from mlgraph.train.trained import Trained


def ended(run: Run) -> Mapping[str, Any] | str:
    """How the last epoch left a run: weights, optimizer, memories; or why that cannot be kept.

    Whatever the end of the training does to the weights comes later: a run that goes on has to
    begin with those of the last epoch, not with the best ones or an average.

    >>> from torch import nn
    >>> from mlgraph.data.batch import TensorBatches
    >>> from mlgraph.train.run import Plan
    >>> network = nn.Linear(1, 1)
    >>> sgd = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> data = TensorBatches((torch.ones(4, 1),), torch.ones(4, 1), None, size=2)
    >>> sorted(ended(Run(network, nn.MSELoss(), sgd, data, Plan(epochs=3), seed=1)))[:3]
    ['best_epoch', 'callbacks', 'epoch']
    """
    try:
        return {**_lasting(taken(run)), "network": copied(run.network)}
    except StateError as error:
        return error.what


def _lasting(found: dict[str, Any]) -> dict[str, Any]:
    """What the seed decides: equal fits are equal values, whenever and wherever they ran.

    The streams of NumPy and Python are not the fit's own, and how long it took is no result.
    """
    own = {name: state for name, state in found["random"].items() if name in ("torch", "cuda")}
    memories = {id: memory for id, memory in found["callbacks"].items() if memory["missed"]}
    return {**found, "random": own, "callbacks": memories}


def kept(run: Run, tensors: Mapping[str, Tensor]) -> Mapping[str, Any] | str:
    """The same on the CPU, without what the trained network and its history hold already.

    >>> from types import SimpleNamespace
    >>> run = SimpleNamespace(ended={"network": {"bias": torch.zeros(1)}})
    >>> kept(run, {"bias": torch.zeros(1)})
    {'network': {}, 'history': []}
    """
    if isinstance(run.ended, str):
        return run.ended
    found: dict[str, Any] = tree_map_only(Tensor, lambda tensor: tensor.cpu(), dict(run.ended))
    own = {n: t for n, t in found["network"].items() if not torch.equal(t, tensors[n])}
    return {**found, "network": own, "history": []}


def going_on(state: Trained) -> dict[str, Any]:
    """What a run goes on from.

    Raises:
        StateError: It was not kept.

    >>> from mlgraph import Task, nn, po
    >>> task = Task({"x": [0.0, 1.0], "y": [1.0, 3.0]}, target="y")
    >>> graph = nn("linear") >> po("torch_model", epochs=2, progress=False)
    >>> going_on(graph.fit(task, seed=1).trained())["epoch"]
    2
    """
    if isinstance(state.ended, str):
        raise StateError(
            "The training cannot go on: how it ended is not known.",
            why=state.ended,
            mend="fit the graph anew, for more epochs",
        )
    rows = state.history.to_pylist()
    return {
        **state.ended,
        "network": {**state.tensors, **state.ended["network"]},
        "history": [{n: v for n, v in row.items() if v is not None} for row in rows],
    }


def continued(run: Run, saved: Mapping[str, Any]) -> None:
    """Let a run go on, for more epochs than were meant.

    Raises:
        StateError: It does not fit the network, the optimizer or the callbacks.
    """
    try:
        put_back(run, saved)
    except MLGraphError:
        raise
    except Exception as error:
        raise StateError(
            "How the training ended does not fit the network.",
            why=f"{type(error).__name__}: {error}",
            mend="fit the graph anew",
        ) from error
    run.stopped, run.is_halted, run.is_continued = "", False, True
