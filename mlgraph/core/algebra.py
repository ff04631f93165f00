"""GraphBase: building graphs from graphs.

Joining two graphs checks only the ports that are joined and the ids the user chose, and copies
references, so that building a long chain is cheap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar

from mlgraph.core import wiring
from mlgraph.core.base import NodeBase
from mlgraph.core.port import clash
from mlgraph.core.structure import Structure
from mlgraph.core.wiring import Socket, Wire
from mlgraph.errors import GraphError, MLGraphError


class GraphBase(Structure):
    """Nodes and edges; what can be done with them without running anything."""

    @classmethod
    def empty(cls) -> Self:
        """The graph without nodes: neutral in ``>>`` and ``&``."""
        return cls()

    def then(self, other: Self) -> Self:
        """``self >> other``: the free outputs of this feed the free inputs of the other."""
        if not self._nodes or not other._nodes:
            return other if not self._nodes else self
        wiring.refuse_clashes(self._chosen, other._chosen)
        pairs = wiring.pair(self._free[1], other._free[0], other._nodes)
        if pairs is None:
            ending = (self._nodes[socket.node].how_to_join for socket in self._free[1])
            raise wiring.count_error(self.outputs, other.inputs, next(filter(None, ending), ""))
        shift = len(self._nodes)
        for out, into in pairs:
            _refuse_pair(self, out, other, into)
        joined = tuple(
            Wire(out.node, out.port, into.node + shift, into.port) for out, into in pairs
        )
        moved = _shifted(other, shift)
        free = (self._free[0], moved[1])
        return _assemble(self, other, (*self._wires, *moved[2], *joined), free)

    def beside(self, other: Self) -> Self:
        """``self & other``: both side by side."""
        if not self._nodes or not other._nodes:
            return other if not self._nodes else self
        wiring.refuse_clashes(self._chosen, other._chosen)
        inputs, outputs, wires = _shifted(other, len(self._nodes))
        free = (self._free[0] + inputs, self._free[1] + outputs)
        return _assemble(self, other, self._wires + wires, free)

    def add(self, node: NodeBase) -> Self:
        """The graph with one more node, not connected."""
        return self.beside(type(self)((node,)))

    def connect(self, source: str, target: str) -> Self:
        """The graph with an edge from ``"id.output"`` to ``"id.input"``.

        The port may be left out where the node has only one.

        Raises:
            GraphError: Unknown port, types that do not fit, an input that is fed already, a
                cycle. The graph itself stays as it is.
        """
        out, into = self._socket(source, 1), self._socket(target, 0)
        wire = Wire(out.node, out.port, into.node, into.port)
        port = wiring.input_port(self._nodes[into.node], into.port)
        self._refuse_second(into, port.variadic)
        _refuse_pair(self, out, self, into)
        if wiring.reaches(into.node, out.node, self._wires):
            raise GraphError(
                f"{self._at(out)} -> {self._at(into)} closes a cycle.",
                why=f"a path leads from {self.ids[into.node]!r} to {self.ids[out.node]!r}",
                mend="a graph runs once through; repeat layers with nn('block')",
            )
        return type(self)(self._nodes, (*self._wires, wire))

    def with_params(self, params: Mapping[str, Any] | None = None, /, **flat: Any) -> Self:
        """The graph with other parameter values, addressed ``<id>__<param>``.

        Raises:
            UnknownKeyError: No node has this id.
            UnknownParameterError: The node has no such parameter.
            ConfigError: The value does not fit.
        """
        grouped = wiring.group_params(self.ids, {**(params or {}), **flat})
        nodes = list(self._nodes)
        for id, changes in grouped.items():
            index = wiring.by_id(self.ids, id)
            try:
                nodes[index] = nodes[index].with_parameters(changes)
            except MLGraphError as error:
                raise error.at(f"node {id!r}") from None
        return self._with_nodes(nodes)

    def replace(self, id: str, node: NodeBase) -> Self:
        """The graph with another node, of equal ports, in the place of ``id``.

        Raises:
            GraphError: The node's ports are not those of the one it replaces.
        """
        index = wiring.by_id(self.ids, id)
        old = self._nodes[index]
        if not isinstance(node, NodeBase):
            raise GraphError(f"{id!r} can only be replaced by a node.", why=f"got {node!r}")
        if wiring.port_names(old) != wiring.port_names(node):
            raise GraphError(
                f"{node.call_name()} cannot replace {id!r}.",
                why=f"ports {wiring.port_names(node)} differ from {wiring.port_names(old)}",
                mend="build the graph again with >>",
            )
        nodes = list(self._nodes)
        nodes[index] = node.renamed(old.id)
        same_name = wiring.automatic_ids(nodes)[index] == id
        nodes[index] = nodes[index] if same_name else node.renamed(id)
        graph = self._with_nodes(nodes)
        for wire in graph._wires:
            if index in (wire.source, wire.target):
                out, into = Socket(wire.source, wire.output), Socket(wire.target, wire.input)
                _refuse_pair(graph, out, graph, into)
        return graph

    def rename(self, names: Mapping[str, str]) -> Self:
        """The graph with nodes under other ids; edges follow, and all other ids stay."""
        for old in names:
            wiring.by_id(self.ids, old)
        wanted = [names.get(id, id) for id in self.ids]
        graph = self._renamed(wanted, [id in names for id in self.ids])
        return type(self)(wiring.keep_ids(graph._nodes, wanted), self._wires, self._free)

    def prefix(self, prefix: str) -> Self:
        """The graph with a prefix before every id.

        >>> from mlgraph.core.graph import Graph
        >>> Graph.empty().prefix("left_")
        Graph()
        """
        return self._renamed([prefix + id for id in self.ids], [True] * len(self))

    def subgraph(self, ids: Iterable[str]) -> Self:
        """The nodes of these ids and the edges between them; ids stay as they are."""
        chosen = [ids] if isinstance(ids, str) else ids
        kept = sorted({wiring.by_id(self.ids, id) for id in chosen})
        place = {old: new for new, old in enumerate(kept)}
        wires = tuple(
            Wire(place[w.source], w.output, place[w.target], w.input)
            for w in self._wires
            if w.source in place and w.target in place
        )
        nodes = tuple(self._nodes[i] for i in kept)
        return type(self)(wiring.keep_ids(nodes, [self.ids[i] for i in kept]), wires)

    def _refuse_second(self, socket: Socket, variadic: bool) -> None:
        if variadic:
            return
        for wire in self._wires:
            if (wire.target, wire.input) == (socket.node, socket.port):
                present = f"{self.ids[wire.source]}.{wire.output} -> {self._at(socket)}"
                raise GraphError(
                    f"{self._at(socket)} is fed already.",
                    why=f"the edge {present} is there, and an input takes one",
                    mend='join several with po("featureunion") or nn("merge_cat")',
                )

    def _with_nodes(self, nodes: Iterable[NodeBase]) -> Self:
        """Other nodes in the same places; free ports are found again, as they may have changed."""
        graph = type(self)(tuple(nodes), self._wires, _same_free(self, tuple(nodes)))
        for wire in self._wires if graph._free is not self._free else ():
            _refuse_lost_port(graph, wire)
        return graph

    def _renamed(self, ids: Sequence[str], changed: Sequence[bool]) -> Self:
        twice = [id for id, count in Counter(ids).items() if count > 1]
        if twice:
            raise GraphError(f"Two nodes are called {twice[0]!r}.", mend="choose another id")
        nodes = [
            node.renamed(id) if new and id != node.id else node
            for node, id, new in zip(self._nodes, ids, changed, strict=True)
        ]
        return type(self)(tuple(nodes), self._wires, self._free)


AnyGraph = TypeVar("AnyGraph", bound=GraphBase)


def _shifted(
    graph: GraphBase, by: int
) -> tuple[tuple[Socket, ...], tuple[Socket, ...], tuple[Wire, ...]]:
    inputs = tuple(Socket(socket.node + by, socket.port) for socket in graph._free[0])
    outputs = tuple(Socket(socket.node + by, socket.port) for socket in graph._free[1])
    wires = tuple(Wire(w.source + by, w.output, w.target + by, w.input) for w in graph._wires)
    return inputs, outputs, wires


def _assemble(
    left: AnyGraph,
    right: AnyGraph,
    wires: tuple[Wire, ...],
    free: tuple[tuple[Socket, ...], tuple[Socket, ...]],
) -> AnyGraph:
    graph = object.__new__(type(left))
    graph.__dict__.update(
        _nodes=left._nodes + right._nodes,
        _wires=wires,
        _free=free,
        _chosen=left._chosen | right._chosen,
    )
    return graph


def _refuse_pair(left: GraphBase, out: Socket, right: GraphBase, into: Socket) -> None:
    source = wiring.output_port(left._nodes[out.node], out.port)
    target = wiring.input_port(right._nodes[into.node], into.port)
    if clash(source, target) is not None:
        wiring.refuse_types(source, left._at(out), target, right._at(into))


def _same_free(
    graph: GraphBase, nodes: tuple[NodeBase, ...]
) -> tuple[tuple[Socket, ...], tuple[Socket, ...]] | None:
    """The free ports of a graph if none of its nodes changed its ports."""
    pairs = zip(graph._nodes, nodes, strict=True)
    same = all(old is new or wiring.port_names(old) == wiring.port_names(new) for old, new in pairs)
    return graph._free if same else None


def _refuse_lost_port(graph: GraphBase, wire: Wire) -> None:
    for index, name, side in ((wire.source, wire.output, 1), (wire.target, wire.input, 0)):
        if name not in wiring.port_names(graph._nodes[index])[side]:
            raise GraphError(
                f"An edge needs port {name!r} of {graph.ids[index]!r}, which is gone.",
                mend="build the graph again with >>",
            )
