"""Structure: nodes and edges as one value, and what can be read off them.

Everything that needs the whole graph (ids, order, hash) is computed once, when it is first asked
for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from mlgraph.core import wiring
from mlgraph.core.base import NodeBase
from mlgraph.core.value import canonical, digest, lasting
from mlgraph.core.wiring import Edge, Socket, Wire
from mlgraph.errors import GraphError, did_you_mean, listing


class Structure:
    """Nodes and edges."""

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

    _nodes: tuple[NodeBase, ...]
    _wires: tuple[Wire, ...]
    _free: tuple[tuple[Socket, ...], tuple[Socket, ...]]
    _chosen: frozenset[str]

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

    @functools.cached_property
    def requires(self) -> frozenset[str]:
        """Packages the nodes need beyond those of mlgraph itself."""
        return frozenset(package for node in self._nodes for package in node.requires)

    @functools.cached_property
    def hash(self) -> str:
        """Digest of nodes, parameters, edges and ids: equal in every process, and after fitting.

        Parameters that change no result (tag ``runtime``) do not count, though they do for ``==``.
        """
        return digest(canonical(self.__mlgraph_lasting__()))

    @functools.cached_property
    def structure_hash(self) -> str:
        """The same without the values of parameters that do not change the structure."""
        return digest(canonical(self._content(wiring.structure)))

    def __mlgraph_json__(self) -> dict[str, Any]:
        return self._content(NodeBase.to_json)

    def __mlgraph_lasting__(self) -> dict[str, Any]:
        return self._content(lasting)

    def __getitem__(self, id: str) -> NodeBase:
        return self._nodes[wiring.by_id(self.ids, id)]

    def __contains__(self, id: object) -> bool:
        return id in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self._nodes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Structure):
            return NotImplemented
        return self._canonical == other._canonical

    def __hash__(self) -> int:
        return hash(self._canonical)

    def __getstate__(self) -> dict[str, Any]:
        return {"_nodes": self._nodes, "_wires": self._wires, "_free": self._free}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_nodes"], state["_wires"], state["_free"])  # type: ignore[misc]

    @functools.cached_property
    def _canonical(self) -> bytes:
        return canonical(self.__mlgraph_json__())

    def _content(self, of_node: Callable[[NodeBase], dict[str, Any]]) -> dict[str, Any]:
        nodes = {id: of_node(node) for id, node in self.nodes.items()}
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
