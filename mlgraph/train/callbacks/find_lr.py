"""The learning-rate finder: train for some steps at rising rates, and see where the loss falls.

Smith (2017), "Cyclical learning rates for training neural networks".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.graph import Graph, to_graph
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.data.feed import Feed
from mlgraph.errors import ConfigError, listing
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.groups import factors
from mlgraph.train.running import Running


@attrs.frozen(eq=False, repr=False)
class RateSearch:
    """What was seen at each learning rate.

    Args:
        rates: The learning rates, rising.
        losses: The loss of the step at each.
        smoothed: The same without most of its noise.

    >>> search = RateSearch((0.001, 0.01, 0.1), (1.0, 0.9, 0.4), (1.0, 0.9, 0.4))
    >>> search.suggestion
    0.1
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def table(self) -> pa.Table:
        """Rate, loss and smoothed loss of each step."""
        columns = {"lr": self.rates, "loss": self.losses, "smoothed": self.smoothed}
        return pa.table({name: list(values) for name, values in columns.items()})

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls most steeply.

        Raises:
            ConfigError: It falls nowhere, or there are too few steps to tell.
        """
        tenth = len(self.rates) // 10  # in the first tenth the average is still settling
        if len(self.rates) - tenth < 3:
            raise self._nothing("there are too few steps")
        slopes = np.gradient(_spread(self.smoothed, tenth), np.log(self.rates))[tenth:]
        if not slopes.min() < 0:
            raise self._nothing("the loss falls at none of the rates")
        return self.rates[tenth + int(slopes.argmin())]

    def plot(self, ax: Any = None) -> Any:
        """Draw loss against rate; returns the axes."""
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots()[1]
        ax.plot(self.rates, self.losses, alpha=0.3)
        ax.plot(self.rates, self.smoothed)
        ax.axvline(self.suggestion, linestyle="--", color="0.5")
        ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
        return ax

    def __repr__(self) -> str:
        return f"RateSearch({len(self.rates)} rates from {self.rates[0]:g} to {self.rates[-1]:g})"

    def _nothing(self, why: str) -> ConfigError:
        return ConfigError(
            "No learning rate can be suggested.", why=why, mend="try other rates, or more steps"
        )


def find_lr(
    graph: Any,
    task: Any,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    diverged: float = 4.0,
    seed: int | None = None,
) -> RateSearch:
    """Try learning rates on a graph with one trainer; the graph and the task stay as they are.

    Args:
        graph: What is to be fitted.
        task: Data to fit it on.
        low: The first rate, that of the optimizer; groups of weights keep their ratios to it.
        high: The last one; in between they rise by the same factor.
        steps: Number of steps.
        smoothing: How much of the average of the losses stays in each step.
        diverged: Ends the search when the smoothed loss is so many times the best one.
        seed: As for ``graph.fit``.

    Raises:
        ConfigError: The graph has not exactly one trainer, or the rates do not rise.

    >>> from mlgraph import Task, nn, po
    >>> task = Task({"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0, 7.0]}, target="y")
    >>> find_lr(nn("linear") >> po("torch_model"), task, steps=20, high=0.1, seed=1)
    RateSearch(20 rates from 1e-06 to 0.1)
    """
    if not (0 < low < high and steps > 1):
        raise ConfigError(
            f"Rates from {low:g} to {high:g} in {steps} steps cannot be tried.",
            mend="give 0 < low < high, and at least 2 steps",
        )
    search = _Search(low, (high / low) ** (1 / (steps - 1)), steps, smoothing, diverged)
    try:
        _watched(to_graph(graph), search).fit(task, seed=seed)
    except _Enough:
        pass
    return search.found()


def _spread(values: Sequence[float], width: int) -> NDArray[np.float64]:
    """Each value as a mean of its neighbours on both sides, the nearest counting most."""
    weights = np.hanning(2 * width + 3)[1:-1]
    padded = np.pad(np.asarray(values, dtype=np.float64), width, mode="edge")
    return np.convolve(padded, weights / weights.sum(), "valid")


class _Enough(Exception):
    """The search is over; ends the training."""


@attrs.define(eq=False)
class _Search:
    low: float
    factor: float
    steps: int
    smoothing: float
    diverged: float
    rates: list[float] = attrs.field(factory=list)
    losses: list[float] = attrs.field(factory=list)
    smoothed: list[float] = attrs.field(factory=list)
    mean: float = 0.0

    def begin(self, run: Running) -> None:
        """Set the rate of this step; groups keep their ratios."""
        rate = self.low * self.factor ** len(self.rates)
        for group, factor in zip(run.optimizer.param_groups, factors(run.optimizer), strict=True):
            group["lr"] = rate * factor

    def end(self, run: Running) -> None:
        """Note the loss; end after the last step, or when the loss has grown."""
        loss = float(run.loss)
        if not math.isfinite(loss):
            raise _Enough
        self.rates.append(self.low * self.factor ** len(self.rates))
        self.losses.append(loss)
        self.mean = self.smoothing * self.mean + (1 - self.smoothing) * loss
        self.smoothed.append(self.mean / (1 - self.smoothing ** len(self.rates)))
        if len(self.rates) == self.steps or self._has_grown():
            raise _Enough

    def _has_grown(self) -> bool:
        settled = self.smoothed[self.steps // 10 :]  # the first few are noise
        best = min(settled, default=0.0)
        return best > 0 and settled[-1] > self.diverged * best

    def found(self) -> RateSearch:
        """What was seen.

        Raises:
            ConfigError: Nothing was: the first loss is not finite.
        """
        if not self.rates:
            raise ConfigError(
                "No learning rate can be tried: the loss of the first step is not finite.",
                mend='scale the features and the target: po("scale"), po("targetscale")',
            )
        return RateSearch(tuple(self.rates), tuple(self.losses), tuple(self.smoothed))


class _Watching(Node):
    """Adds the search to the callbacks of the network that passes, and takes away all others."""

    inputs = (Port("input", fit=ModelDescriptor, apply=Feed),)
    outputs = (Port("output", fit=ModelDescriptor, apply=Feed),)

    search: Any = param()

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        watch = Functions(on_batch_begin=self.search.begin, on_batch_end=self.search.end)
        return (attrs.evolve(inputs["input"], callbacks={"find_lr": watch}),), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (inputs["input"],)


def _watched(graph: Graph, search: _Search) -> Graph:
    """The graph with the search before its trainer, which runs as long as it takes."""
    trainers = [id for id, node in graph.nodes.items() if node.trains and _takes_network(node)]
    if len(trainers) != 1:
        raise ConfigError(
            "Learning rates are tried on a graph with one trainer.",
            why=f"it has {listing(trainers) or 'none'}",
        )
    (trainer,) = trainers
    others = graph.subgraph([id for id in graph.ids if id != trainer])
    quiet = {
        "epochs": search.steps,
        "patience": 0,
        "progress": False,
        "use_valid": False,
        "resume": None,
    }
    return others >> _Watching(search=search) >> graph[trainer].with_parameters(quiet)


def _takes_network(node: Any) -> bool:
    return any(port.fit is ModelDescriptor for port in node.ports()[0])
