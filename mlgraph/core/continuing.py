"""Training further: the nodes as they were fitted prepare data, and trainers go on with them.

Nothing but trainers learns anything. Training data pass through ``apply_training`` of every node,
validation data through ``apply``, up to the trainers, which ``go_on``. What follows a trainer
stays as it is.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import attrs

from mlgraph.core.base import Context, NodeBase
from mlgraph.core.calls import call
from mlgraph.core.entry import Address, given_values, node_seed, to_continue
from mlgraph.core.fitted import FittedGraph
from mlgraph.core.run import Walk
from mlgraph.errors import ConfigError, GraphError


def go_on(
    fitted: FittedGraph, task: Any, *, inputs: Mapping[str, Any] | None, epochs: int, valid: Any
) -> FittedGraph:
    """See ``FittedGraph.continue_``."""
    epochs = _whole(epochs)
    given = given_values(fitted.graph, task, inputs)
    train, held = to_continue(fitted, given, valid)
    arrived, beside = _Training.lead(fitted, train), _Leading.lead(fitted, held)
    states = dict(fitted.states)
    for id in _trainers(fitted, arrived):
        seed = node_seed(fitted.seed, id, "fit")
        has = valid is not None and id in beside
        held_here = beside.get(id)
        ctx = Context(
            id=id, phase="fit", seed=seed, valid=held_here, has_valid=has, run_seed=fitted.seed
        )
        node, state = fitted.resolved[id], fitted.states[id]
        states[id] = call(node, "go_on", id, arrived[id], ctx, state, epochs=epochs)
    return attrs.evolve(fitted, states=states, outputs={}, kept={})


def _whole(epochs: Any) -> int:
    """A number of epochs, also one of NumPy."""
    if isinstance(epochs, bool) or not hasattr(epochs, "__index__") or epochs < 0:
        raise ConfigError(f"epochs={epochs!r} is no number of epochs.", mend="write epochs=5")
    return operator.index(epochs)


class _Leading(Walk):
    """Leads data to the trainers, the way new data go."""

    method, phase_of_seed = "apply", "apply"

    @classmethod
    def lead(cls, fitted: FittedGraph, values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """What arrives at each trainer."""
        walk = cls(fitted.resolved, fitted.seed, "apply", None, frozenset())
        walk.states, walk.arrived = dict(fitted.states), {}
        walk.enter(values, {}, False)
        walk.run()
        return walk.arrived

    arrived: dict[str, Mapping[str, Any]]

    def _step(self, id: str, node: NodeBase, sources: Mapping[str, list[Address]]) -> None:
        inputs = self._gather(node, sources, self.values)
        if node.trains:
            self.arrived[id] = inputs
            return
        ctx = self._context(id, None, self.phase_of_seed)
        outputs = call(node, self.method, id, inputs, ctx, self.states.get(id))
        self._store(id, node, outputs, self.values, "apply")


class _Training(_Leading):
    """The same for data to train on, which some nodes treat in a way of their own."""

    method, phase_of_seed = "apply_training", "fit"


def _trainers(fitted: FittedGraph, arrived: Mapping[str, Any]) -> tuple[str, ...]:
    trainers = fitted.trainers()
    if not trainers:
        raise GraphError("The graph has no trainer that could go on.", mend="fit it anew")
    for id in trainers:
        if id not in arrived:
            raise GraphError(
                "No data reach the trainer.",
                where=f"node {id!r}",
                why="another trainer comes before it",
                mend="fit the graph anew",
            )
    return trainers
