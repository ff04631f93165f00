"""A graph as a Mermaid flowchart, which GitHub and many notebooks draw by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlgraph.core.algebra import GraphBase
from mlgraph.draw.colours import INK, PALETTE
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

# Signs with a meaning in Mermaid's labels, or in the HTML and Markdown it makes of them.
SIGNS = frozenset('"#&<>`*~|\\')


def to_mermaid(graph: GraphBase, flows: Mapping[str, str] | None = None) -> str:
    """The graph as a Mermaid flowchart from top to bottom.

    Ids may be words of Mermaid, such as ``end``, so that nodes are numbered and ids are labels.

    Args:
        graph: The graph.
        flows: What leaves each output, by ``id.port``, in a few words.

    >>> from mlgraph.core.route import Nop
    >>> print(to_mermaid(Nop() >> Nop()))  # doctest: +ELLIPSIS
    flowchart TD
      n0["nop<br>po(#quot;nop#quot;)"]:::routing
      n1["nop_2<br>po(#quot;nop#quot;)"]:::routing
      n0 --> n1
    ...
    """
    names = {id: f"n{place}" for place, id in enumerate(graph.order)}
    lines = [
        *_nodes(graph, names),
        *_edges(graph, names, flows),
        *_ends(graph, names, flows),
        *_classes(graph),
    ]
    return "\n".join(["flowchart TD", *(f"  {line}" for line in lines)]) + "\n"


def _nodes(graph: GraphBase, names: Mapping[str, str]) -> Iterator[str]:
    for id, name in names.items():
        node = graph.nodes[id]
        words = "\n".join([id, node.call_name(), *packed(settings(node), 44, lines=4)])
        yield f"{name}[{_quoted(words)}]:::{family(node.key)}"


def _edges(
    graph: GraphBase, names: Mapping[str, str], flows: Mapping[str, str] | None
) -> Iterator[str]:
    for edge in graph.edges:
        yield _arrow(names[edge.source], names[edge.target], edge_label(graph, edge, flows))


def _ends(
    graph: GraphBase, names: Mapping[str, str], flows: Mapping[str, str] | None
) -> Iterator[str]:
    inputs, outputs = free_ports(graph)
    if inputs:
        yield f"in([{INPUT}]):::finish"
    for id, port in inputs:
        several = len(graph.nodes[id].ports()[0]) > 1
        yield _arrow("in", names[id], port if several else "")
    for count, (id, port) in enumerate(outputs, start=1):
        yield f"out{count}([{OUTPUT}]):::finish"
        yield _arrow(names[id], f"out{count}", leaving_label(graph, id, port, flows))


def _classes(graph: GraphBase) -> Iterator[str]:
    used = dict.fromkeys(family(node.key) for node in graph.nodes.values())
    ends = ["end"] if graph.inputs or graph.outputs else []
    for name in [*used, *ends]:
        shade = PALETTE[name]
        written = "finish" if name == "end" else name  # "end" is a word of Mermaid
        yield f"classDef {written} fill:{shade.fill},stroke:{shade.line},color:{INK}"


def _arrow(source: str, target: str, label: str) -> str:
    return f"{source} -->|{_quoted(label)}| {target}" if label else f"{source} --> {target}"


def _quoted(text: str) -> str:
    escaped = "".join(_escaped(letter) for letter in text)
    return f'"{escaped}"'


def _escaped(letter: str) -> str:
    if letter == "\n":
        return "<br>"
    if letter == '"':
        return "#quot;"
    return f"#{ord(letter)};" if letter in SIGNS else letter
