"""From the graph a user wrote to the plain graph that runs.

Three steps, each a pure function: macro nodes unfold into the graphs they stand for, paths that
no branch selects are cut, and conversions between port types become nodes. What is left has no
special cases: walk, memo, drawing and estimators see ordinary nodes and edges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import attrs

from mlgraph.core import wiring
from mlgraph.core.base import NodeBase
from mlgraph.core.graph import Graph
from mlgraph.core.port import Port, conversion, conversion_between, fits
from mlgraph.core.wiring import Socket, Wire
from mlgraph.errors import GraphError, MLGraphError

Types = dict[tuple[int, str], tuple[Any, Any]]


def resolve(graph: Graph) -> Graph:
    """The plain graph: macros unfolded, paths not taken cut, conversions inserted.

    Raises:
        GraphError: A node needs a path that is cut, or types turn out not to fit.

    >>> resolve(Graph.empty())
    Graph()
    """
    return _convert(_cut(_unfolded(graph)), {})


def taken(graph: Graph) -> tuple[str, ...]:
    """The ids of the nodes that are not on a path that no branch takes, macros as they are.

    >>> taken(Graph.empty())
    ()
    """
    dead, _ = _lost(_pin(graph))
    return tuple(id for index, id in enumerate(graph.ids) if index not in dead)


def admit(graph: Graph, given: Mapping[str, Any]) -> Graph:
    """The plain graph for these values at the free inputs: conversions added where they enter.

    Inputs that are given the same value share one conversion node.
    """
    plain = graph.resolved
    nodes, wires, inputs = list(plain._nodes), list(plain._wires), []
    values = {inside: given[name] for name, inside in _inlets(graph, plain).items()}
    made: dict[tuple[Any, int], Socket] = {}
    for socket in plain._free[0]:
        value = values[plain._at(socket)]
        wanted = wiring.input_port(nodes[socket.node], socket.port).fit
        factory = None if fits(type(value), wanted) else conversion_between(type(value), wanted)
        if factory is None:
            inputs.append(socket)
            continue
        if (factory, id(value)) not in made:
            nodes.append(_converter(factory, [str(node.id) for node in nodes]))
            into, out = nodes[-1].ports()
            inputs.append(Socket(len(nodes) - 1, into[0].name))
            made[factory, id(value)] = Socket(len(nodes) - 1, out[0].name)
        wires.append(Wire(*made[factory, id(value)], *socket))
    grown = Graph(tuple(nodes), tuple(wires), (tuple(inputs), plain._free[1]))
    return _convert(grown, {name: _kinds(value) for name, value in values.items()})


def _kinds(value: Any) -> tuple[Any, Any]:
    """The types of a value while fitting and of what will stand there when applied."""
    kind = type(value)
    return kind, getattr(kind, "applied_as", kind)


def entrances(graph: Graph, admitted: Graph) -> dict[str, str]:
    """For each free input of a graph, the free input of the plain graph that leads there.

    Inputs of paths that were cut lead nowhere and are missing.
    """
    feeders = {(edge.target, edge.input): admitted[edge.source] for edge in admitted.edges}
    found = {}
    for name, inside in _inlets(graph, graph.resolved).items():
        id, _, port = inside.rpartition(".")
        node = feeders.get((id, port))
        found[name] = inside if node is None else f"{node.id}.{node.ports()[0][0].name}"
    return found


def _inlets(graph: Graph, plain: Graph) -> dict[str, str]:
    """The free inputs of a graph under their names in the plain one; none for cut paths."""
    names = zip(graph.inputs, _unfolded(graph).inputs, strict=True)
    return {name: inside for name, inside in names if inside in plain.inputs}


def _unfolded(graph: Graph) -> Graph:
    """Macros replaced by their graphs; the free ports keep their order."""
    plain = _pin(graph)
    bodies = [node.expand() for node in plain._nodes]
    while any(body is not None for body in bodies):
        plain = _unfold(plain, bodies)
        bodies = [node.expand() for node in plain._nodes]
    return plain


def _pin(graph: Graph) -> Graph:
    """Every id fixed, so that nodes added later cannot change it."""
    nodes = tuple(node.pinned(id) for id, node in graph.nodes.items())
    return Graph(nodes, graph._wires, graph._free)


def _unfold(graph: Graph, bodies: Sequence[Graph | None]) -> Graph:
    """Every node that has a body replaced by it, its nodes under ids ``<macro>.<inner>``."""
    parts = [_part(node, body) for node, body in zip(graph._nodes, bodies, strict=True)]
    starts = [0, *accumulate(len(part.nodes) for part in parts)]

    def outer(wire: Wire) -> Wire:
        source, output = parts[wire.source].outputs.get(wire.output, (0, wire.output))
        target, input = parts[wire.target].inputs.get(wire.input, (0, wire.input))
        return Wire(starts[wire.source] + source, output, starts[wire.target] + target, input)

    inner = (
        Wire(wire.source + start, wire.output, wire.target + start, wire.input)
        for part, start in zip(parts, starts, strict=False)
        for wire in part.wires
    )
    nodes = tuple(node for part in parts for node in part.nodes)
    return Graph(nodes, (*map(outer, graph._wires), *inner))


@attrs.frozen
class _Part:
    """What stands in the place of a node, and where inside of it the node's ports are."""

    nodes: tuple[NodeBase, ...]
    wires: tuple[Wire, ...] = ()
    inputs: Mapping[str, tuple[int, str]] = attrs.field(factory=dict)
    outputs: Mapping[str, tuple[int, str]] = attrs.field(factory=dict)


def _part(node: NodeBase, inner: Graph | None) -> _Part:
    if inner is None:
        return _Part((node,))
    body = _pin(inner)
    sides = []
    for ports, sockets in zip(node.ports(), body._free, strict=True):
        if len(ports) != len(sockets):
            raise GraphError(
                f"{node.call_name()} unfolds into a graph with other ports than its own.",
                where=f"node {node.id!r}",
            )
        named = zip(ports, sockets, strict=True)
        sides.append({port.name: (socket.node, socket.port) for port, socket in named})
    nodes = tuple(inside.pinned(f"{node.id}.{inside.id}") for inside in body._nodes)
    return _Part(nodes, body._wires, *sides)


def _cut(graph: Graph) -> Graph:
    """Without the nodes that only paths not taken would feed."""
    if all(node.active_outputs() is None for node in graph._nodes):
        _check_wiring(graph)
        return graph
    return _without(graph, *_lost(graph))


def _lost(graph: Graph) -> tuple[set[int], set[Wire]]:
    """The nodes and wires that only paths not taken would feed."""
    dead: set[int] = set()
    lost: set[Wire] = set()
    entering, leaving = _by_end(graph, "target"), _by_end(graph, "source")
    for index in wiring.order(len(graph._nodes), graph._wires):
        fed = entering.get(index, [])
        gone = [wire for wire in fed if wire in lost]
        if gone and len(gone) == len(fed):
            dead.add(index)
        elif gone:
            _refuse_half_cut(graph, index, gone)
        active = frozenset() if index in dead else graph._nodes[index].active_outputs()
        if active is not None:
            lost |= {wire for wire in leaving.get(index, ()) if wire.output not in active}
    return dead, lost


def _by_end(graph: Graph, end: str) -> dict[int, list[Wire]]:
    grouped: dict[int, list[Wire]] = {}
    for wire in graph._wires:
        grouped.setdefault(getattr(wire, end), []).append(wire)
    return grouped


def _without(graph: Graph, dead: set[int], lost: set[Wire]) -> Graph:
    kept = [i for i in range(len(graph._nodes)) if i not in dead]
    place = {old: new for new, old in enumerate(kept)}
    wires = tuple(
        Wire(place[w.source], w.output, place[w.target], w.input)
        for w in graph._wires
        if w not in lost
    )
    nodes = tuple(graph._nodes[i] for i in kept)
    outputs = tuple(
        socket
        for socket in wiring.free_outputs(nodes, wires)
        if (active := nodes[socket.node].active_outputs()) is None or socket.port in active
    )
    # Not found again from the wires: an input whose path was cut waits for no value.
    inputs = tuple(Socket(place[s.node], s.port) for s in graph._free[0] if s.node in place)
    cut = Graph(nodes, wires, (inputs, outputs))
    _check_wiring(cut)
    return cut


def _refuse_half_cut(graph: Graph, index: int, gone: Sequence[Wire]) -> None:
    node = graph._nodes[index]
    for wire in gone:
        if not wiring.input_port(node, wire.input).optional:
            raise GraphError(
                f"Node {node.id!r} needs a path that its branch does not take.",
                where=f"{graph.ids[wire.source]}.{wire.output} -> {node.id}.{wire.input}",
                mend='close the branch with po("unbranch") before joining other paths',
            )


def _check_wiring(graph: Graph) -> None:
    edges: dict[int, Counter[str]] = {}
    for wire in graph._wires:
        edges.setdefault(wire.target, Counter())[wire.input] += 1
    for index, node in enumerate(graph._nodes):
        if node.tokens():  # what is left open is reported by who wants to run the graph
            continue
        try:
            node.check_wiring(edges.get(index, {}))
        except MLGraphError as error:
            raise error.at(f"node {node.id!r}") from None


def _convert(graph: Graph, entering: Mapping[str, tuple[Any, Any]]) -> Graph:
    """With a conversion node for every output that feeds an input of a convertible type."""
    types = _flowing(graph, entering)
    nodes, wires = list(graph._nodes), []
    made: dict[tuple[Socket, Any], int] = {}
    for wire in graph._wires:
        source = _as_port(wire.output, types[wire.source, wire.output])
        target = wiring.input_port(graph._nodes[wire.target], wire.input)
        if fits(source.fit, target.fit) and fits(source.apply, target.apply):
            wires.append(wire)
            continue
        factory = conversion(source, target)
        if factory is None:
            at = [
                f"{graph.ids[wire.source]}.{wire.output}",
                f"{graph.ids[wire.target]}.{wire.input}",
            ]
            wiring.refuse_types(source, at[0], target, at[1])
        socket = Socket(wire.source, wire.output)
        if (socket, factory) not in made:
            nodes.append(_converter(factory, [str(node.id) for node in nodes]))
            made[socket, factory] = len(nodes) - 1
            wires.append(_plug(nodes, socket, len(nodes) - 1))
        index = made[socket, factory]
        wires.append(Wire(index, nodes[index].ports()[1][0].name, wire.target, wire.input))
    if not made:
        return graph
    return Graph(tuple(nodes), tuple(wires), graph._free)


def _converter(factory: Any, ids: Sequence[str]) -> NodeBase:
    node: NodeBase = factory()
    stem, number = node.default_id, 2
    id = stem
    while id in ids:
        id, number = f"{stem}_{number}", number + 1
    return node.pinned(id)


def _plug(nodes: Sequence[NodeBase], socket: Socket, index: int) -> Wire:
    return Wire(socket.node, socket.port, index, nodes[index].ports()[0][0].name)


def _flowing(graph: Graph, entering: Mapping[str, tuple[Any, Any]]) -> Types:
    """The types of every output, seen through nodes that pass on what they get."""
    arriving: dict[int, dict[str, tuple[Any, Any]]] = {}
    for name, socket in zip(graph.inputs, graph._free[0], strict=True):
        if name in entering:
            arriving.setdefault(socket.node, {})[socket.port] = entering[name]
    leaving = _by_end(graph, "source")
    types: Types = {}
    for index in wiring.order(len(graph._nodes), graph._wires):
        found = graph._nodes[index].output_types(arriving.get(index, {}))
        for name, kinds in found.items():
            types[index, name] = kinds
        for wire in leaving.get(index, ()):
            arriving.setdefault(wire.target, {})[wire.input] = types[wire.source, wire.output]
    return types


def _as_port(name: str, kinds: tuple[Any, Any]) -> Port:
    return Port(name, fit=kinds[0], apply=kinds[1])
