"""A graph in DOT, the language of Graphviz; Graphviz itself is not needed to write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlgraph.core.algebra import GraphBase
from mlgraph.draw.colours import PALETTE, WIRE
from mlgraph.draw.labels import (
    INPUT,
    OUTPUT,
    edge_label,
    family,
    free_ports,
    leaving_label,
    packed,
    settings,
)


def to_dot(graph: GraphBase, flows: Mapping[str, str] | None = None) -> str:
    """The graph in DOT, with a box per node and an edge per edge.

    Args:
        graph: The graph.
        flows: What leaves each output, by ``id.port``, in a few words.

    >>> from mlgraph.core.route import Nop
    >>> print(to_dot(Nop() >> Nop()))  # doctest: +ELLIPSIS
    digraph mlgraph {
    ...
      "nop" -> "nop_2";
    ...
    }
    """
    head = [
        "digraph mlgraph {",
        "  rankdir=TB;",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        f'  edge [color="{WIRE}", fontname="Helvetica", fontsize=9];',
    ]
    lines = [*_nodes(graph), *_edges(graph, flows), *_ends(graph, flows)]
    return "\n".join([*head, *(f"  {line};" for line in lines), "}"]) + "\n"


def _nodes(graph: GraphBase) -> Iterator[str]:
    for id in graph.order:
        node = graph.nodes[id]
        words = "\n".join([id, node.call_name(), *packed(settings(node), 44, lines=4)])
        shade = PALETTE[family(node.key)]
        colours = f'fillcolor="{shade.fill}", color="{shade.line}"'
        yield f"{_quoted(id)} [label={_quoted(words)}, {colours}]"


def _edges(graph: GraphBase, flows: Mapping[str, str] | None) -> Iterator[str]:
    for edge in graph.edges:
        label = _attributes(edge_label(graph, edge, flows))
        yield f"{_quoted(edge.source)} -> {_quoted(edge.target)}{label}"


def _ends(graph: GraphBase, flows: Mapping[str, str] | None) -> Iterator[str]:
    """The ends of the graph; no id holds the brackets in their names."""
    inputs, outputs = free_ports(graph)
    if inputs:
        yield f'"({INPUT})" [label="{INPUT}", shape=oval, fillcolor=white]'
    for id, port in inputs:
        several = len(graph.nodes[id].ports()[0]) > 1
        yield f'"({INPUT})" -> {_quoted(id)}{_attributes(port if several else "")}'
    for count, (id, port) in enumerate(outputs, start=1):
        name = f'"({OUTPUT} {count})"'
        yield f'{name} [label="{OUTPUT}", shape=oval, fillcolor=white]'
        yield f"{_quoted(id)} -> {name}{_attributes(leaving_label(graph, id, port, flows))}"


def _attributes(label: str) -> str:
    return f" [label={_quoted(label)}]" if label else ""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
