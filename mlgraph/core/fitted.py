"""FittedGraph: a graph with its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mlgraph.core import wiring
from mlgraph.core.base import NodeBase
from mlgraph.core.graph import Graph
from mlgraph.errors import ConfigError, GraphError, listing


@attrs.frozen(eq=False, repr=False)
class FittedGraph:
    """A graph with its memory: what every node learned.

    Args:
        graph: The graph that was fitted, unchanged.
        resolved: The plain graph that ran.
        states: What each node learned, by id.
        seed: The seed of the run.
        prototypes: Empty values that new data are modelled on, by free input.
        outputs: What came out while fitting, by free output; not saved.
        kept: Outputs of the nodes named in ``keep``; not saved.
    """

    graph: Graph
    resolved: Graph
    states: Mapping[str, Any]
    seed: int
    prototypes: Mapping[str, Any]
    outputs: Mapping[str, Any] = attrs.field(factory=dict)
    kept: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)

    def predict(self, data: Any = None, *, inputs: Mapping[str, Any] | None = None) -> Any:
        """Run every node's ``apply`` on new data.

        Args:
            data: The value for every free input: a Task, or anything a Task is made of.
            inputs: Values by free input, in place of ``data``.

        Returns:
            The value of the one free output, or a dict by free output.

        Raises:
            DataError: The data do not fit what the graph was fitted on.
        """
        from mlgraph.core.run import predict

        return predict(self, data, inputs=inputs)

    def continue_(
        self,
        task: Any = None,
        *,
        epochs: int,
        inputs: Mapping[str, Any] | None = None,
        valid: Any = None,
    ) -> FittedGraph:
        """Train for more epochs: weights, optimizer and callbacks go on where the fit ended.

        With the same data and ``valid``, it ends as if it had never been interrupted, also after
        Ctrl-C; only that the last epoch of the fit was evaluated whatever ``eval_freq`` is. Nodes
        before the trainer are not fitted anew.

        Args:
            task: The same data, or others that fit the graph, with their target.
            epochs: How many more.
            inputs: Values by free input, in place of ``task``.
            valid: As for ``fit``.

        Raises:
            StateError: How the fit ended was not kept, or a schedule that spans it is over.
            DataError: The data do not fit what the graph was fitted on.
        """
        from mlgraph.core.continuing import go_on

        return go_on(self, task, inputs=inputs, epochs=epochs, valid=valid)

    def without_training_state(self) -> FittedGraph:
        """The fitted graph without what only ``continue_`` needs; predictions stay the same."""
        trained = {id: self.states[id] for id in self.trainers()}
        networks = {id: state for id, state in trained.items() if _is_network(state)}
        lean = {id: state.without_training_state() for id, state in networks.items()}
        return attrs.evolve(self, states={**self.states, **lean})

    def __getitem__(self, id: str) -> FittedNode:
        wiring.by_id(self.resolved.ids, id)
        return FittedNode(self.resolved[id], self.states.get(id))

    def trainers(self) -> tuple[str, ...]:
        """The ids of the trainers that ran."""
        return tuple(id for id, node in self.resolved.nodes.items() if node.trains)

    def trained(self) -> Any:
        """The state of the only trainer.

        Raises:
            GraphError: There is none, or there are several.
        """
        ids = self.trainers()
        if len(ids) != 1:
            raise GraphError(
                f"The graph has {len(ids)} trainers, not one.",
                why=f"they are {listing(ids)}" if ids else "",
                mend="ask for one by its id: fitted[id].state"
                if ids
                else 'end it with po("torch_model"); what other nodes learned is fitted[id].state',
            )
        return self.states[ids[0]]

    def trained_network(self) -> Any:
        """The state of the only trainer, where it trained a network.

        Raises:
            GraphError: It trained something else, or there is not exactly one trainer.
        """
        state = self.trained()
        if not _is_network(state):
            raise GraphError(
                f"{self.trainers()[0]!r} has trained a model, but no network.",
                why=f"what it learned is a {type(state).__name__}",
                mend="look at it: fitted.trained()",
            )
        return state

    @property
    def history(self) -> Any:
        """The training history of the only trainer: an Arrow table, one row per epoch."""
        return self.trained_network().history

    def module(self) -> Any:
        """The trained network of the only trainer, as a fresh ``torch.nn.Module``."""
        return self.trained_network().module()

    def save(self, path: Any) -> None:
        """Write the fitted graph to a file, which ``mlgraph.load`` reads; it holds no pickle."""
        from mlgraph.store.save import save

        save(self, path)

    def to_state_dict(self) -> Any:
        """The weights and buffers of the only trainer's network, by name; a copy."""
        from mlgraph.store.export import to_state_dict

        return to_state_dict(self)

    def export_torch(self, path: Any) -> None:
        """Write the only trainer's network as a ``torch.export`` program for any batch size."""
        from mlgraph.store.export import export_torch

        export_torch(self, path)

    def with_params(self, **flat: Any) -> FittedGraph:
        """The fitted graph with other values of parameters that only matter when predicting.

        Raises:
            ConfigError: The parameter matters while fitting.
        """
        for id, changes in wiring.group_params(self.resolved.ids, flat).items():
            for name in changes:
                tags = self.resolved[id].tags(name)
                there = name in self.resolved[id].parameters()
                if there and (not tags & {"predict", "runtime"} or "structure" in tags):
                    raise ConfigError(
                        f"{id}__{name} cannot change after fitting.",
                        why="its value decided what was learned",
                        mend=f"fit graph.with_params({id}__{name}=...)",
                    )
        known = {path: v for path, v in flat.items() if path.partition("__")[0] in self.graph}
        resolved = self.resolved.with_params(flat)
        return attrs.evolve(self, graph=self.graph.with_params(known), resolved=resolved)

    def __repr__(self) -> str:
        return f"FittedGraph({self.graph!r}, seed={self.seed})"

    def __getstate__(self) -> dict[str, Any]:
        gone: dict[str, Any] = {"outputs": {}, "kept": {}}
        return {a.name: gone.get(a.name, getattr(self, a.name)) for a in attrs.fields(FittedGraph)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def _is_network(state: Any) -> bool:
    return hasattr(state, "without_training_state")


@attrs.frozen
class FittedNode:
    """A node and what it learned."""

    node: NodeBase
    state: Any
