"""Nodes and edges as plain tuples: ids, free ports, order, and what may be joined.

Edges refer to nodes by position, so that joining two graphs is shifting numbers and ids can be
computed from the whole graph: ids the user chose first, then ``relu``, ``relu_2``, ... in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mlgraph.core.base import NodeBase
from mlgraph.core.port import Port, clash
from mlgraph.errors import GraphError, UnknownKeyError, did_you_mean, listing


class Wire(NamedTuple):
    """An edge between node positions."""

    source: int
    output: str
    target: int
    input: str


class Socket(NamedTuple):
    """A port of the node at a position."""

    node: int
    port: str


class Edge(NamedTuple):
    """An edge between node ids, as users see it.

    >>> print(Edge("scale", "output", "linear", "input"))
    scale.output -> linear.input
    """

    source: str
    output: str
    target: str
    input: str

    def __str__(self) -> str:
        return f"{self.source}.{self.output} -> {self.target}.{self.input}"


def automatic_ids(nodes: Sequence[NodeBase]) -> tuple[str, ...]:
    """The id of every node: chosen ones as they are, the others numbered where they clash."""
    taken = {node.id for node in nodes if node.id is not None}
    following: Counter[str] = Counter()
    ids = []
    for node in nodes:
        ids.append(
            node.id if node.id is not None else _next_free(node.default_id, taken, following)
        )
    return tuple(ids)


def _next_free(stem: str, taken: set[str], following: Counter[str]) -> str:
    while True:
        following[stem] += 1
        name = stem if following[stem] == 1 else f"{stem}_{following[stem]}"
        if name not in taken:
            taken.add(name)
            return name


def input_port(node: NodeBase, name: str) -> Port:
    """The input port of this name."""
    return next(port for port in node.ports()[0] if port.name == name)


def output_port(node: NodeBase, name: str) -> Port:
    """The output port of this name."""
    return next(port for port in node.ports()[1] if port.name == name)


def free_inputs(nodes: Sequence[NodeBase], wires: Iterable[Wire]) -> tuple[Socket, ...]:
    """Input ports without an edge, by node and then by port."""
    fed = {(wire.target, wire.input) for wire in wires}
    every = ((i, port.name) for i, node in enumerate(nodes) for port in node.ports()[0])
    return tuple(Socket(*socket) for socket in every if socket not in fed)


def free_outputs(nodes: Sequence[NodeBase], wires: Iterable[Wire]) -> tuple[Socket, ...]:
    """Output ports without an edge, by node and then by port."""
    used = {(wire.source, wire.output) for wire in wires}
    every = ((i, port.name) for i, node in enumerate(nodes) for port in node.ports()[1])
    return tuple(Socket(*socket) for socket in every if socket not in used)


def order(count: int, wires: Sequence[Wire]) -> tuple[int, ...]:
    """Node positions in topological order, ties by position.

    Raises:
        GraphError: There is a cycle.
    """
    import networkx as nx

    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from((wire.source, wire.target) for wire in wires)
    try:
        return tuple(nx.lexicographical_topological_sort(graph))
    except nx.NetworkXUnfeasible:
        raise GraphError("The edges form a cycle.") from None


def reaches(start: int, goal: int, wires: Sequence[Wire]) -> bool:
    """Whether a path leads from one node to another."""
    following: dict[int, list[int]] = {}
    for wire in wires:
        following.setdefault(wire.source, []).append(wire.target)
    seen, todo = {start}, [start]
    while todo:
        for node in following.get(todo.pop(), ()):
            if node not in seen:
                seen.add(node)
                todo.append(node)
    return goal in seen


def refuse_clashes(left: frozenset[str], right: frozenset[str]) -> None:
    """Refuse two nodes under one chosen id.

    Raises:
        GraphError: Names the ids and how to rename one.
    """
    if left.isdisjoint(right):
        return
    both = sorted(left & right)
    raise GraphError(
        f"Two nodes are called {both[0]!r}."
        if len(both) == 1
        else f"These ids are used twice: {listing(both)}.",
        mend=f'rename one where it is made, with id="{both[0]}_b", '
        'or prefix them: union({"left": ..., "right": ...})',
    )


def refuse_types(
    source: Port, source_address: str, target: Port, target_address: str, hint: str = ""
) -> None:
    """Refuse to join two ports whose types do not fit.

    Raises:
        GraphError: Names both ports and both types.
    """
    reason = clash(source, target)
    if reason is not None:
        raise GraphError(
            f"{source_address} cannot feed {target_address}.",
            where=f"edge {source_address} -> {target_address}",
            why=reason,
            mend=hint or _type_hint(source, target),
        )


def pair(
    outputs: Sequence[Socket], inputs: Sequence[Socket], right: Sequence[NodeBase]
) -> list[tuple[Socket, Socket]] | None:
    """Which outputs feed which inputs in ``left >> right``, or None where that is not clear.

    Equal counts pair up by position, one output feeds every input, and any number of outputs
    enter one variadic input.
    """
    if len(inputs) == 1 and len(outputs) >= 1 and _variadic(right, inputs[0]):
        return [(output, inputs[0]) for output in outputs]
    if len(outputs) == len(inputs) and outputs:
        return list(zip(outputs, inputs, strict=True))
    if len(outputs) == 1 and inputs:
        return [(outputs[0], socket) for socket in inputs]
    return None


def count_error(outputs: Sequence[str], inputs: Sequence[str], hint: str = "") -> GraphError:
    """The error for numbers of outputs and inputs that do not pair up."""
    n, m = len(outputs), len(inputs)
    return GraphError(
        f"{n} output{'s' * (n != 1)} cannot feed {m} input{'s' * (m != 1)}.",
        where=f"{', '.join(outputs) or 'nothing'} -> {', '.join(inputs) or 'nothing'}",
        why="outputs and inputs pair up one to one, one feeds all, or all enter a variadic port",
        mend=hint
        or 'join tasks with po("featureunion"), layers with nn("merge_cat"), '
        "or connect ports one by one with graph.connect()",
    )


def _variadic(nodes: Sequence[NodeBase], socket: Socket) -> bool:
    return input_port(nodes[socket.node], socket.port).variadic


def _type_hint(source: Port, target: Port) -> str:
    if source.fit is None and target.fit is not None:
        return "put the node before the trainer, or on a path of its own"
    wanted = getattr(target.fit if target.fit is not None else target.apply, "how_to_feed", "")
    return str(wanted) or "put a node between them that makes the one from the other"


def by_id(ids: Sequence[str], id: str) -> int:
    """The position of an id.

    Raises:
        UnknownKeyError: No node has it.
    """
    try:
        return ids.index(id)
    except ValueError:
        raise unknown_id(id, ids) from None


def unknown_id(id: str, ids: Iterable[str]) -> Exception:
    """The error for an id that no node has."""
    known = list(ids)
    return UnknownKeyError(
        f"No node of this graph is called {id!r}.",
        why=f"its nodes are {listing(known, 12)}" if known else "the graph is empty",
        mend=did_you_mean(id, known),
    )


def port_names(node: NodeBase) -> tuple[list[str], list[str]]:
    """The names of the input and of the output ports."""
    inputs, outputs = node.ports()
    return [port.name for port in inputs], [port.name for port in outputs]


def structure(node: NodeBase) -> dict[str, Any]:
    """The JSON of a node with only those parameters that change the structure."""
    content = node.to_json()
    kept = {n: v for n, v in content["params"].items() if "structure" in node.tags(n)}
    return {**content, "params": kept}


def keep_ids(nodes: tuple[NodeBase, ...], ids: list[str]) -> tuple[NodeBase, ...]:
    """The nodes with those ids chosen that would not come out by themselves."""
    found = automatic_ids(nodes)
    if list(found) == ids:
        return nodes
    return tuple(
        node if new == old else node.renamed(old)
        for node, new, old in zip(nodes, found, ids, strict=True)
    )


def group_params(ids: Iterable[str], flat: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """``{"scale__center": x}`` or ``{"scale": {"center": x}}`` as values by id and parameter.

    Raises:
        UnknownKeyError: An address whose id is not in the graph.
        GraphError: An address without a parameter name.
    """
    known = dict.fromkeys(ids)
    grouped: dict[str, dict[str, object]] = {}
    for path, value in flat.items():
        id, _, name = path.partition("__")
        if id not in known:
            raise unknown_id(id, known)
        if name:
            grouped.setdefault(id, {})[name] = value
        elif isinstance(value, Mapping):
            grouped.setdefault(id, {}).update(value)
        else:
            raise GraphError(f"{path!r} names a node, not a parameter.", mend=f"{path}__<name>")
    return grouped
