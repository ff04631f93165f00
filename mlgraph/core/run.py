"""One walk over a resolved graph: fit, check and predict.

Nodes run in topological order. While fitting, each node is fitted on its inputs and then applied
to the validation value that arrives beside them, so validation data travel exactly the way new
data will. Without validation data an empty value makes the same journey. Trainers are where it
ends: they find what arrived in ``ctx.valid``.

Values are known only through an optional protocol: ``split(valid, seed)``, ``empty()``,
``like(data)``, ``fingerprint`` and ``describe()``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlgraph.core.base import Context, NodeBase
from mlgraph.core.calls import call, check_inputs, describe, learned, named_outputs
from mlgraph.core.checked import CheckedGraph
from mlgraph.core.entry import (
    Address,
    given_values,
    kept_ids,
    node_seed,
    output_at,
    problems,
    refuse,
    refuse_more,
    run_seed,
    split_address,
    to_fit,
    to_predict,
)
from mlgraph.core.fitted import FittedGraph
from mlgraph.core.graph import Graph
from mlgraph.core.port import type_name
from mlgraph.core.resolve import admit
from mlgraph.core.value import digest, nameless
from mlgraph.errors import MLGraphError, together


def fit(
    graph: Graph,
    task: Any,
    *more: Any,
    inputs: Mapping[str, Any] | None,
    valid: Any,
    seed: int | None,
    keep: Iterable[str] | str,
    cache: Any,
) -> FittedGraph:
    """See ``Graph.fit``."""
    refuse_more(graph, more)
    refuse(problems(graph))
    seed = run_seed(seed)
    given = given_values(graph, task, inputs)
    resolved = admit(graph, given)
    kept = kept_ids(resolved, keep)
    walk = Walk(resolved, seed, "fit", cache, kept)
    walk.enter(*to_fit(graph, resolved, given, valid, seed))
    walk.run()
    return FittedGraph(
        graph=graph,
        resolved=resolved,
        states=walk.states,
        seed=seed,
        prototypes=walk.prototypes(),
        outputs=walk.outputs(),
        kept=walk.kept,
    )


def check(
    graph: Graph,
    task: Any,
    *more: Any,
    inputs: Mapping[str, Any] | None,
    valid: Any,
    seed: int | None,
) -> CheckedGraph:
    """See ``Graph.check``."""
    refuse_more(graph, more)
    found = problems(graph)
    if task is None and inputs is None:
        refuse(found)
        return CheckedGraph(graph.resolved, {})
    try:
        given = given_values(graph, task, inputs)
        resolved = admit(graph, given)
        seed = run_seed(seed)
        values = to_fit(graph, resolved, given, valid, seed)
    except MLGraphError as error:
        raise together([*found, error], "The graph cannot be fitted.") from None
    walk = Walk(resolved, seed, "check", None, frozenset())
    walk.enter(*values)
    walk.run()
    refuse([*found, *walk.problems])
    left = [getattr(value, "left_to_do", "") for value in walk.outputs().values()]
    notes = (*_notes(graph, resolved, walk.states), *dict.fromkeys(filter(None, left)))
    return CheckedGraph(resolved, walk.flows, notes)


def predict(fitted: FittedGraph, data: Any, *, inputs: Mapping[str, Any] | None) -> Any:
    """See ``FittedGraph.predict``."""
    values = to_predict(fitted, given_values(fitted.graph, data, inputs))
    walk = Walk(fitted.resolved, fitted.seed, "apply", None, frozenset())
    walk.states = dict(fitted.states)
    walk.enter(values, {}, False)
    walk.run()
    outputs = walk.outputs()
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


class Walk:
    """The values of one walk; made for one run and dropped after it."""

    def __init__(
        self, graph: Graph, seed: int, phase: str, cache: Any, keep: frozenset[str]
    ) -> None:
        self.graph, self.seed, self.phase, self.cache = graph, seed, phase, cache
        self.keep = keep
        self.values: dict[Address, Any] = {}
        self.valid: dict[Address, Any] = {}
        self.prints: dict[Address, str] = {}
        self.entry: dict[str, Any] = {}
        self.has_valid = False
        self.states: dict[str, Any] = {}
        self.kept: dict[str, dict[str, Any]] = {}
        self.flows: dict[str, str] = {}
        self.problems: list[MLGraphError] = []
        self.feeders: dict[str, dict[str, list[Address]]] = {}
        for edge in graph.edges:
            into = self.feeders.setdefault(edge.target, {}).setdefault(edge.input, [])
            into.append((edge.source, edge.output))
        self.waiting: dict[Address, int] = {}
        for edge in graph.edges:
            source = (edge.source, edge.output)
            self.waiting[source] = self.waiting.get(source, 0) + 1

    def enter(self, values: Mapping[str, Any], valid: Mapping[str, Any], has_valid: bool) -> None:
        """Put values on the free inputs, under the address of the input itself."""
        self.entry, self.has_valid = dict(values), has_valid
        for name, value in values.items():
            id, port = split_address(name)
            source = ("", name)
            self.feeders.setdefault(id, {}).setdefault(port, []).append(source)
            self.values[source] = value
            self.waiting[source] = self.waiting.get(source, 0) + 1
            if name in valid:
                self.valid[source] = valid[name]
            print_ = getattr(value, "fingerprint", None)
            if isinstance(print_, str):
                self.prints[source] = print_

    def run(self) -> None:
        for id in self.graph.order:
            node = self.graph.nodes[id]
            sources = self.feeders.get(id, {})
            if self._reachable(node, sources):
                self._step(id, node, sources)
            self._release(sources)

    def outputs(self) -> dict[str, Any]:
        """The values at the free outputs."""
        found = {name: self.values.get(split_address(name)) for name in self.graph.outputs}
        phase = "apply" if self.phase == "apply" else "fit"
        return {
            name: value
            for name, value in found.items()
            if output_at(self.graph, name).type_in(phase) is not None or value is not None
        }

    def prototypes(self) -> dict[str, Any]:
        """Empty values like those that entered, for modelling new data on."""
        return {
            name: value.empty() if hasattr(value, "empty") else None
            for name, value in self.entry.items()
        }

    def _reachable(self, node: NodeBase, sources: Mapping[str, list[Address]]) -> bool:
        """Whether everything the node needs is there; only in a check may something be missing."""
        wanted = [address for addresses in sources.values() for address in addresses]
        return not node.tokens() and all(address in self.values for address in wanted)

    def _step(self, id: str, node: NodeBase, sources: Mapping[str, list[Address]]) -> None:
        inputs = self._gather(node, sources, self.values)
        if self.phase == "apply":
            ctx = self._context(id, None, "apply")
            outputs = call(node, "apply", id, inputs, ctx, self.states.get(id))
            self._store(id, node, outputs, self.values, "apply")
            return
        try:
            self._fit(id, node, inputs, sources)
        except MLGraphError as error:
            if self.phase != "check":
                raise
            if not any(_repeats(error, problem) for problem in self.problems):
                self.problems.append(error)
            self._stand_in(id, node, sources)

    def _stand_in(self, id: str, node: NodeBase, sources: Mapping[str, list[Address]]) -> None:
        """Put what a node gives instead of its outputs where these would be."""
        every = [address for addresses in sources.values() for address in addresses]
        for values, phase in ((self.values, "fit"), (self.valid, "apply")):
            if not every or not all(address in values for address in every):
                return
            ctx = self._context(id, None, "check" if phase == "fit" else "apply")
            outputs = node.instead(self._gather(node, sources, values), ctx)
            if outputs is not None:
                self._store(id, node, outputs, values, phase)

    def _fit(
        self, id: str, node: NodeBase, inputs: Mapping[str, Any], sources: Mapping[str, Any]
    ) -> None:
        ready = all(a in self.valid for addresses in sources.values() for a in addresses)
        held = self._gather(node, sources, self.valid) if ready and sources else None
        ctx = self._context(id, held, self.phase)
        outputs, state = self._remembered(id, node, inputs, sources, ctx)
        self.states[id] = state
        self._store(id, node, outputs, self.values, "fit")
        if held is not None and not node.trains:
            ctx = self._context(id, None, "apply")
            applied = call(node, "apply", id, held, ctx, state)
            self._store(id, node, applied, self.valid, "apply")

    def _remembered(
        self,
        id: str,
        node: NodeBase,
        inputs: Mapping[str, Any],
        sources: Mapping[str, list[Address]],
        ctx: Context,
    ) -> tuple[Any, Any]:
        """``fit`` of a node, or what the cache remembers of it."""
        method = "check" if self.phase == "check" else "fit"
        key = self._memo_key(id, node, sources, ctx)
        if key is None:
            return learned(id, node, call(node, method, id, inputs, ctx))
        for port in node.ports()[1]:
            self.prints[id, port.name] = digest(key, port.name)
        found: tuple[Any, Any] | None = self.cache.get(key)
        if found is None:
            found = learned(id, node, call(node, method, id, inputs, ctx))
            self.cache.put(key, found)
        return found

    def _memo_key(
        self, id: str, node: NodeBase, sources: Mapping[str, list[Address]], ctx: Context
    ) -> str | None:
        """What the results of a node depend on; None where that cannot be said.

        A trainer's results also depend on the validation data, and nobody can tell what a
        function without an importable name refers to.
        """
        if self.cache is None or node.trains or nameless(node.parameters()):
            return None
        every = [(name, address) for name in sorted(sources) for address in sources[name]]
        if not all(address in self.prints for _, address in every):
            return None
        seed = str(ctx.seed) if node.random else ""
        entering = [part for name, address in every for part in (name, self.prints[address])]
        return digest(node.memo_digest(), id, seed, *entering)

    def _gather(
        self,
        node: NodeBase,
        sources: Mapping[str, list[Address]],
        values: Mapping[Address, Any],
    ) -> dict[str, Any]:
        gathered: dict[str, Any] = {}
        for port in node.ports()[0]:
            found = [values[address] for address in sources.get(port.name, ())]
            if port.variadic:
                gathered[port.name] = tuple(found)
            elif found:
                gathered[port.name] = found[0]
        phase = "apply" if values is self.valid or self.phase == "apply" else "fit"
        check_inputs(node, gathered, phase)
        return gathered

    def _store(
        self, id: str, node: NodeBase, outputs: Any, values: dict[Address, Any], phase: str
    ) -> None:
        named = named_outputs(id, node, outputs, phase)
        for port in node.ports()[1]:
            value = named[port.name]
            values[id, port.name] = value
            if values is self.values and self.phase == "check":
                # What a trainer puts out exists only when it is applied.
                shown = type_name(port.apply) if value is None else describe(value)
                self.flows[f"{id}.{port.name}"] = shown
        if id in self.keep and values is self.values:
            self.kept[id] = named

    def _release(self, sources: Mapping[str, list[Address]]) -> None:
        """Forget values whose last consumer has run."""
        for addresses in sources.values():
            for address in addresses:
                self.waiting[address] -= 1
                if self.waiting[address] == 0:
                    self.values.pop(address, None)
                    self.valid.pop(address, None)

    def _context(self, id: str, valid: Mapping[str, Any] | None, phase: str) -> Context:
        seed = node_seed(self.seed, id, "fit" if phase == "check" else phase)
        has = self.has_valid and valid is not None
        return Context(
            id=id, phase=phase, seed=seed, valid=valid, has_valid=has, run_seed=self.seed
        )


def _repeats(error: MLGraphError, problem: MLGraphError) -> bool:
    """Whether a node met again what one before it had found."""
    same = (error.what, error.why) == (problem.what, problem.why)
    return same and problem.where != error.where and problem.where in error.where


def _notes(graph: Graph, resolved: Graph, states: Mapping[str, Any]) -> tuple[str, ...]:
    """What the graph does not say and the check filled in."""
    known = set(graph.ids)
    added = [
        f"{id} was put between {' and '.join(_around(resolved, id))}"
        for id in resolved.ids
        if id not in known and "." not in id
    ]
    told = [f"{id}: {note}" for id, s in states.items() for note in getattr(s, "notes", ())]
    return (*added, *told)


def _around(graph: Graph, id: str) -> list[str]:
    before = [edge.source for edge in graph.edges if edge.target == id] or ["the input"]
    after = [edge.target for edge in graph.edges if edge.source == id]
    return [before[0], after[0]]
