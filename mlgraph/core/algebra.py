"""GraphBase: nodes and edges as one value; building graphs from graphs, and reading them.

Joining two graphs checks only the ports that are joined and the ids the user chose, and copies
references, so that building a long chain is cheap. Everything that needs the whole graph (ids,
order, hash) is computed once, when it is first asked for.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self, TypeVar

from mlgraph.core import wiring
from mlgraph.core.base import NodeBase
from mlgraph.core.param import Token
from mlgraph.core.port import clash
from mlgraph.core.value import canonical, digest
from mlgraph.core.wiring import Edge, Socket, Wire
from mlgraph.errors import GraphError, MLGraphError, did_you_mean, listing


class GraphBase:
    """Nodes and edges; what can be done with them without running anything."""

    def __init__(
        self,
        nodes: tuple[NodeBase, ...] = (),
        wires: tuple[Wire, ...] = (),
        free: tuple[tuple[Socket, ...], tuple[Socket, ...]] | None = None,
    ) -> None:
        if free is None:
            free = wiring.free_inputs(nodes, wires), wiring.free_outputs(nodes, wires)
        chosen = frozenset(node.id for node in nodes if node.id is not None)
        self.__dict__.update(_nodes=nodes, _wires=wires, _free=free, _chosen=chosen)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a graph is a value: its methods return a changed copy")

    # Building ---------------------------------------------------------------------------------

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
            raise wiring.count_error(self.outputs, other.inputs)
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

    # Reading ----------------------------------------------------------------------------------

    @functools.cached_property
    def ids(self) -> tuple[str, ...]:
        """The id of every node, in the order they were added."""
        return wiring.automatic_ids(self._nodes)

    @functools.cached_property
    def nodes(self) -> Mapping[str, NodeBase]:
        """The nodes by id, in the order they were added."""
        return MappingProxyType(dict(zip(self.ids, self._nodes, strict=True)))

    @functools.cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The edges, in the order they were made."""
        return tuple(
            Edge(self.ids[w.source], w.output, self.ids[w.target], w.input) for w in self._wires
        )

    @functools.cached_property
    def inputs(self) -> tuple[str, ...]:
        """The free input ports, as ``id.port``."""
        return tuple(self._at(socket) for socket in self._free[0])

    @functools.cached_property
    def outputs(self) -> tuple[str, ...]:
        """The free output ports, as ``id.port``."""
        return tuple(self._at(socket) for socket in self._free[1])

    @functools.cached_property
    def order(self) -> tuple[str, ...]:
        """The ids in the order the nodes run."""
        return tuple(self.ids[i] for i in wiring.order(len(self._nodes), self._wires))

    def params(self, deep: bool = True) -> dict[str, Any]:
        """Parameter values by ``<id>__<param>``; with ``deep=False`` the nodes by id."""
        if not deep:
            return dict(self.nodes)
        return {
            f"{id}__{name}": value
            for id, node in self.nodes.items()
            for name, value in node.parameters().items()
        }

    def search_space(self) -> dict[str, Token]:
        """The tuning tokens by ``<id>__<param>``."""
        return {
            f"{id}__{path}": token
            for id, node in self.nodes.items()
            for path, token in node.tokens().items()
        }

    @functools.cached_property
    def requires(self) -> frozenset[str]:
        """Packages the nodes need beyond those of mlgraph itself."""
        return frozenset(package for node in self._nodes for package in node.requires)

    @functools.cached_property
    def hash(self) -> str:
        """Digest of nodes, parameters, edges and ids: equal in every process, and after fitting."""
        return digest(self._canonical)

    @functools.cached_property
    def structure_hash(self) -> str:
        """The same without the values of parameters that do not change the structure."""
        return digest(canonical(self._content(structure_only=True)))

    def to_dict(self) -> dict[str, Any]:
        """The graph as JSON values."""
        nodes = [{**node.to_json(), "id": id} for id, node in self.nodes.items()]
        chosen = [node.id is not None for node in self._nodes]
        return {"nodes": nodes, "chosen": chosen, "edges": [list(edge) for edge in self.edges]}

    def __mlgraph_json__(self) -> dict[str, Any]:
        return self._content(structure_only=False)

    def __getitem__(self, id: str) -> NodeBase:
        return self._nodes[wiring.by_id(self.ids, id)]

    def __contains__(self, id: object) -> bool:
        return id in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self._nodes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GraphBase):
            return NotImplemented
        return self._canonical == other._canonical

    def __hash__(self) -> int:
        return hash(self._canonical)

    def __getstate__(self) -> dict[str, Any]:
        return {"_nodes": self._nodes, "_wires": self._wires, "_free": self._free}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_nodes"], state["_wires"], state["_free"])  # type: ignore[misc]

    # Inside -----------------------------------------------------------------------------------

    _nodes: tuple[NodeBase, ...]
    _wires: tuple[Wire, ...]
    _free: tuple[tuple[Socket, ...], tuple[Socket, ...]]
    _chosen: frozenset[str]

    @functools.cached_property
    def _canonical(self) -> bytes:
        return canonical(self._content(structure_only=False))

    def _content(self, structure_only: bool) -> dict[str, Any]:
        nodes = {
            id: wiring.structure(node) if structure_only else node.to_json()
            for id, node in self.nodes.items()
        }
        return {"nodes": nodes, "edges": self._placed_edges(), "free": [self.inputs, self.outputs]}

    def _placed_edges(self) -> list[list[Any]]:
        """Edges with their place in the port they enter, sorted."""
        count: dict[tuple[str, str], int] = {}
        placed = []
        for edge in self.edges:
            place = count.get((edge.target, edge.input), 0)
            count[edge.target, edge.input] = place + 1
            placed.append([*edge, place])
        return sorted(placed)

    def _at(self, socket: Socket) -> str:
        return f"{self.ids[socket.node]}.{socket.port}"

    def _socket(self, address: str, side: int) -> Socket:
        if not isinstance(address, str):
            mend = 'write "id.port", or "id" where a node has one port'
            raise GraphError(f"{address!r} is not the address of a port.", mend=mend)
        id, dot, port = address.rpartition(".")
        if not dot or address in self.ids:  # ids of unfolded nodes hold dots themselves
            id, port = address, ""
        index = wiring.by_id(self.ids, id)
        names = [p.name for p in self._nodes[index].ports()[side]]
        if not port and len(names) == 1:
            return Socket(index, names[0])
        if port not in names:
            kind = ("input", "output")[side]
            raise GraphError(
                f"{id!r} has no {kind} {port!r}." if port else f"Which {kind} of {id!r}?",
                why=f"its {kind}s are {listing(names)}" if names else f"it has no {kind}s",
                mend=did_you_mean(port, names) or f"write {id}.{names[0]}" if names else "",
            )
        return Socket(index, port)

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
