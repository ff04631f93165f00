"""What every picture of a graph says about a node or an edge, as words.

The pictures differ in how they place these words, never in the words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlgraph.core.algebra import GraphBase
from mlgraph.core.base import NodeBase
from mlgraph.core.param import shown
from mlgraph.core.wiring import Edge

INPUT, OUTPUT = "INPUT", "OUTPUT"
ROUTING = frozenset({"nop", "copy", "branch", "unbranch", "featureunion", "proxy"})


def settings(node: NodeBase, width: int = 60) -> list[str]:
    """The parameters that differ from their defaults, as ``name=value``.

    >>> from mlgraph.core.route import Branch
    >>> settings(Branch(options=["a", "b"], selection="b"))
    ["options=('a', 'b')", "selection='b'"]
    """
    return [cut(f"{name}={shown(value)}", width) for name, value in node.changed().items()]


def cut(text: str, width: int) -> str:
    """The text on one line, its end replaced by an ellipsis where it is too long.

    >>> cut("epochs = 100", 8)
    'epochs …'
    """
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def packed(words: Sequence[str], width: int, lines: int) -> list[str]:
    """Words separated by commas, in at most so many lines; says how many words are left out.

    >>> packed(["a=1", "b=2", "c=3", "d=4"], width=10, lines=1)
    ['a=1, +3 more']
    >>> packed(["a=1", "b=2", "c=3"], width=10, lines=2)
    ['a=1, b=2,', 'c=3']
    """
    rows: list[list[str]] = []
    for place, word in enumerate(words):
        if rows and len(", ".join([*rows[-1], word])) < width:
            rows[-1].append(word)
        elif len(rows) < lines:
            rows.append([word])
        else:
            rows[-1] = _with_rest(rows[-1], len(words) - place, width)
            break
    joined = [", ".join(row) for row in rows]
    return [line + "," for line in joined[:-1]] + joined[-1:]


def family(key: str) -> str:
    """The kind of work a node does, which decides its colour.

    >>> family("nn_linear"), family("scale"), family("ingress_num"), family("torch_model")
    ('network', 'table', 'ingress', 'training')
    """
    for prefix, name in (("nn_", "network"), ("ingress", "ingress"), ("torch_", "training")):
        if key.startswith(prefix):
            return name
    return "routing" if key in ROUTING else "table"


def port_names(graph: GraphBase, edge: Edge) -> tuple[str, str]:
    """Names of the ports an edge joins, each empty where its node has no other port.

    >>> from mlgraph.core.compose import chain
    >>> from mlgraph.core.route import Copy, Unbranch
    >>> graph = chain(Copy(n=2), Unbranch())
    >>> [port_names(graph, edge) for edge in graph.edges]
    [('output_1', ''), ('output_2', '')]
    """
    outputs = graph.nodes[edge.source].ports()[1]
    inputs = graph.nodes[edge.target].ports()[0]
    return edge.output if len(outputs) > 1 else "", edge.input if len(inputs) > 1 else ""


def edge_label(graph: GraphBase, edge: Edge, flows: Mapping[str, str] | None) -> str:
    """Port names, where a node has several, and what flows; in one line each.

    >>> from mlgraph.core.route import Nop
    >>> graph = Nop() >> Nop()
    >>> edge_label(graph, graph.edges[0], {"nop.output": "Task 150 x 4"})
    'Task 150 x 4'
    """
    ports = " → ".join(name for name in port_names(graph, edge) if name)
    return "\n".join(text for text in (ports, flow(flows, edge.source, edge.output)) if text)


def leaving_label(graph: GraphBase, id: str, port: str, flows: Mapping[str, str] | None) -> str:
    """The same for a free output.

    >>> from mlgraph.core.route import Copy
    >>> leaving_label(Copy(n=2).as_graph(), "copy", "output_1", None)
    'output_1'
    """
    name = port if len(graph.nodes[id].ports()[1]) > 1 else ""
    return "\n".join(text for text in (name, flow(flows, id, port)) if text)


def flow(flows: Mapping[str, str] | None, id: str, port: str) -> str:
    """What leaves a port, or the empty string where that is not known."""
    return " ".join((flows or {}).get(f"{id}.{port}", "").split())


def free_ports(graph: GraphBase) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The free inputs and free outputs, each as (id, port).

    >>> from mlgraph.core.route import Nop
    >>> free_ports(Nop() >> Nop())
    ([('nop', 'input')], [('nop_2', 'output')])
    """
    return list(_split(graph.inputs)), list(_split(graph.outputs))


def _split(addresses: Sequence[str]) -> Iterator[tuple[str, str]]:
    # Ids of unfolded graphs hold dots, names of ports do not.
    for address in addresses:
        id, _, port = address.rpartition(".")
        yield id, port


def _with_rest(row: list[str], rest: int, width: int) -> list[str]:
    """The last row with room made for the number of words that are left out."""
    while len(row) > 1 and len(", ".join([*row, f"+{rest} more"])) > width:
        row, rest = row[:-1], rest + 1
    return [*row, f"+{rest} more"]
