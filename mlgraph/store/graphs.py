"""Codecs of nodes and graphs: a node is its key and its parameters, a graph nodes and edges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mlgraph.catalogue import catalogue, find, refuse_hidden
from mlgraph.core import wiring
from mlgraph.core.base import ID, NodeBase
from mlgraph.core.declare import required
from mlgraph.core.graph import Graph
from mlgraph.core.node import Node
from mlgraph.core.port import clash
from mlgraph.core.wiring import Socket, Wire
from mlgraph.errors import GraphError, MLGraphError, StateError, did_you_mean, listing
from mlgraph.store.archive import damaged
from mlgraph.store.codec import Codec, Reader, Writer, parts_of, text_of


def _write_node(writer: Writer, node: NodeBase) -> dict[str, Any]:
    _note_provider(writer, node)
    chosen = {"id": node.id} if node.id is not None else {}
    named = {"stem": node.stem} if node.stem is not None else {}
    with writer.inside(node.id or node.default_id):
        params = writer.fields({name: getattr(node, name) for name in node.field_names()})
    return {"key": node.key, **chosen, **named, "params": params}


def _note_provider(writer: Writer, node: NodeBase) -> None:
    offer = catalogue().offers.get(node.key)
    refuse_hidden(node)
    if offer is not None:
        provider, version = offer.provider, offer.version
    else:
        provider, version = type(node).__module__.partition(".")[0], ""
    writer.providers.setdefault(provider, (version, set()))[1].add(node.key)


def _read_node(reader: Reader, content: Any) -> Node:
    if not isinstance(content, dict) or not content.keys() <= {"key", "id", "stem", "params"}:
        raise damaged("A node is described by key, id and params.")
    key = text_of(content.get("key"))
    cls = _class_of(reader, key)
    params = reader.fields(content.get("params"))
    _check_parameters(cls, params)
    stem = content.get("stem")
    try:
        node = cls(id=None, stem=None if stem is None else text_of(stem), **params)
    except MLGraphError as error:
        raise damaged(f"A {key!r} cannot be made as it says.", why=str(error)) from error
    return node if content.get("id") is None else _called(node, text_of(content["id"]))


def _class_of(reader: Reader, key: str) -> type[Node]:
    """The class of a key; a number at its end, which ``po`` would take for an id, is none."""
    try:
        cls, chosen = find(key)
    except MLGraphError as error:
        raise _unknown(reader, key, error) from None
    if chosen is not None:
        raise _unknown(reader, key, GraphError(f"No node is called {key!r}."))
    return cls


def _unknown(reader: Reader, key: str, error: MLGraphError) -> StateError:
    provider = reader.providers.get(key, "")
    return StateError(
        f"The file needs a node {key!r}, which is not there.",
        why=f"it was saved with {provider}; {error.why}" if provider else error.why,
        mend="install that package, or import the module in which the class is defined",
    )


def _check_parameters(cls: type[Node], params: Mapping[str, Any]) -> None:
    known = cls.field_names()
    for name in params:
        if name not in known:
            raise damaged(
                f"{cls.call_name()} has no parameter {name!r}.",
                why=f"its parameters are {listing(known, 30)}",
                mend=did_you_mean(name, known) or "a newer version of its package may have it",
            )
    missing = [name for name in required(cls) if name not in params]
    if missing:
        raise damaged(f"{cls.call_name()} needs {listing(missing)}.")


def _called(node: Node, id: str) -> Node:
    """The node under an id; one of an unfolded graph may hold dots and start with a number."""
    if "." not in id:
        try:
            return node.renamed(id)
        except MLGraphError as error:
            raise damaged(f"A node cannot be called {id!r}.", why=error.why) from None
    if not all(ID.fullmatch(part) or part.isdecimal() for part in id.split(".")):
        raise damaged(f"A node cannot be called {id!r}.")
    return node.pinned(id)


# Graphs


def _write_graph(writer: Writer, graph: Graph) -> dict[str, Any]:
    nodes = []
    for id, node in zip(graph.ids, graph._nodes, strict=True):
        try:
            nodes.append(_write_node(writer, node))
        except MLGraphError as error:
            raise error.at(f"node {id!r}") from None
    free = [[list(socket) for socket in side] for side in graph._free]
    return {"nodes": nodes, "edges": [list(wire) for wire in graph._wires], "free": free}


def _read_graph(reader: Reader, content: Any) -> Graph:
    if not isinstance(content, dict) or content.keys() != {"nodes", "edges", "free"}:
        raise damaged("A graph has nodes, edges and free ports.")
    if not isinstance(content["nodes"], list) or not isinstance(content["edges"], list):
        raise damaged("A graph has lists of nodes and edges.")
    nodes = tuple(_read_node(reader, node) for node in content["nodes"])
    wires = tuple(_wire(edge) for edge in content["edges"])
    sides = parts_of(content["free"], 2)
    free = tuple(_socket(socket) for socket in sides[0]), tuple(_socket(s) for s in sides[1])
    _check(nodes, wires, free)
    return Graph(nodes, wires, free)


def _wire(content: Any) -> Wire:
    source, output, target, input = parts_of(content, 4)
    return Wire(_place(source), text_of(output), _place(target), text_of(input))


def _socket(content: Any) -> Socket:
    node, port = parts_of(content, 2)
    return Socket(_place(node), text_of(port))


def _place(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise damaged("A node of a graph has a number of 0 or more.")
    return number


def _check(
    nodes: Sequence[Node], wires: Sequence[Wire], free: tuple[Sequence[Socket], ...]
) -> None:
    """What ``>>`` and ``connect`` see to: ids, ports, types, one edge per input, no cycle."""
    twice = [id for id, n in Counter(node.id for node in nodes if node.id).items() if n > 1]
    if twice:
        raise damaged(f"Two nodes are called {twice[0]!r}.")
    ports = [tuple({port.name: port for port in side} for side in node.ports()) for node in nodes]
    sockets = [
        *((Socket(w.source, w.output), 1) for w in wires),
        *((Socket(w.target, w.input), 0) for w in wires),
        *((socket, side) for side in (0, 1) for socket in free[side]),
    ]
    for socket, side in sockets:
        if socket.node >= len(nodes) or socket.port not in ports[socket.node][side]:
            raise damaged("An edge leads to a port that is not there.", where=f"{tuple(socket)}")
    fed = Counter(Socket(wire.target, wire.input) for wire in wires) + Counter(free[0])
    for (node, name), count in fed.items():
        if count > 1 and not ports[node][0][name].variadic:
            raise damaged("An input is fed twice.", where=f"port {name!r} of {nodes[node]!r}")
    for wire in wires:
        reason = clash(ports[wire.source][1][wire.output], ports[wire.target][0][wire.input])
        if reason is not None:
            raise damaged("An edge joins ports that do not fit.", why=reason)
    wiring.order(len(nodes), wires)


CODECS = (
    Codec("node", lambda v: isinstance(v, NodeBase), _write_node, _read_node),
    Codec("graph", lambda v: isinstance(v, Graph), _write_graph, _read_graph),
)
