"""A graph as text: an expression on one line, or a table with a row per node.

One line is written by cutting the nodes, in the order they run, wherever everything before the
cut feeds everything after it: ``before >> after``. Pieces that cannot be cut are pulled apart into
parallel paths, and so on inside each path. A graph that resists is only listed.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from mlgraph.core.algebra import GraphBase
from mlgraph.core.base import NodeBase
from mlgraph.core.wiring import Edge
from mlgraph.draw.labels import INPUT, OUTPUT, flow, free_ports, packed, settings

LINE = 100  # longest expression
CELL = 44  # widest column of a table
CHAIN_CELL = 64  # widest list of parameters where nothing follows it
Pairs = frozenset[tuple[str, str]]


def one_line(graph: GraphBase) -> str:
    """The graph as an expression of its ids, or a list of them.

    >>> from mlgraph.core.compose import chain
    >>> from mlgraph.core.route import Nop
    >>> one_line(chain(Nop(), [Nop(), Nop(id="skip")]))
    'nop >> [nop_2, skip]'
    """
    if not len(graph):
        return "Graph()"
    if sum(len(id) + 2 for id in graph.ids) <= LINE:
        pairs = frozenset((edge.source, edge.target) for edge in graph.edges)
        text = _whole(list(graph.order), pairs)
        if text is not None and len(text) <= LINE:
            return text
    return _listed(graph.ids)


def to_text(
    graph: GraphBase, flows: Mapping[str, str] | None = None, notes: Sequence[str] = ()
) -> str:
    """The graph with a line per node: its parameters and, if given, what leaves it.

    Args:
        graph: The graph.
        flows: What leaves each output, by ``id.port``, in a few words.
        notes: Remarks on what was filled in.

    >>> from mlgraph.core.route import Copy, Nop
    >>> print(to_text(Nop() >> Copy(n=1), {"nop.output": "Task 150 x 4"}))
    ┌ INPUT
    │ nop        → Task 150 x 4
    │ copy  n=1
    ▼ OUTPUT
    """
    if not len(graph):
        lines = ["Graph()"]
    elif _is_chain(graph):
        lines = _chain(graph, flows)
    else:
        lines = _table(graph, flows)
    told = ["", "filled in:", *(f"  {note}" for note in notes)] if notes else []
    return "\n".join(line.rstrip() for line in lines + told)


# One line ---------------------------------------------------------------------------------------


def _whole(order: list[str], pairs: Pairs) -> str | None:
    paths = [_serial(path, pairs) for path in _paths(order, pairs)]
    if len(paths) == 1:
        return paths[0]
    whole = [f"({path})" if path and " >> " in path else path for path in paths]
    return _join(" & ", whole)


def _serial(order: list[str], pairs: Pairs) -> str | None:
    """A connected piece as ``part >> part >> ...``, or None."""
    cuts = [at for at in range(1, len(order)) if _is_cut(order[:at], order[at:], pairs)]
    ends = zip([0, *cuts], [*cuts, len(order)], strict=True)
    return _join(" >> ", [_parallel(order[start:end], pairs) for start, end in ends])


def _parallel(order: list[str], pairs: Pairs) -> str | None:
    """A piece that cannot be cut: a node, or ``[path, path]``, or None."""
    if len(order) == 1:
        return order[0]
    paths = _paths(order, pairs)
    if len(paths) == 1:
        return None
    inside = _join(", ", [_serial(path, pairs) for path in paths])
    return inside and f"[{inside}]"


def _is_cut(before: list[str], after: list[str], pairs: Pairs) -> bool:
    """Whether the ends of one part feed exactly the starts of the other, as ``>>`` would."""
    left, right = set(before), set(after)
    crossing = {(a, b) for a, b in pairs if a in left and b in right}
    ends = left - {a for a, b in pairs if a in left and b in left}
    starts = right - {b for a, b in pairs if a in right and b in right}
    complete = crossing == {(a, b) for a in ends for b in starts}
    return complete and (len(ends) == 1 or len(starts) == 1)


def _paths(order: list[str], pairs: Pairs) -> list[list[str]]:
    """The connected parts of some nodes, in the order of their first node."""
    group = {id: place for place, id in enumerate(order)}
    inner = [(a, b) for a, b in pairs if a in group and b in group]
    for _ in order:
        for a, b in inner:
            group[a] = group[b] = min(group[a], group[b])
    return [[id for id in order if group[id] == name] for name in sorted(set(group.values()))]


def _join(sign: str, parts: list[str | None]) -> str | None:
    known = [part for part in parts if part is not None]
    return sign.join(known) if len(known) == len(parts) else None


def _listed(ids: Sequence[str]) -> str:
    counted = f"{len(ids)} node{'s' if len(ids) > 1 else ''}"
    names = ", ".join(ids)
    if len(names) > LINE - 20:
        names = names[: LINE - 24].rpartition(", ")[0] or names[: LINE - 24]
        names += ", ..."
    return f"Graph({counted}: {names})"


# A line per node --------------------------------------------------------------------------------


def _is_chain(graph: GraphBase) -> bool:
    """Whether each node feeds the next through the only edge, and all else is the two ends."""
    inputs, outputs = ([id for id, _ in side] for side in free_ports(graph))
    steps = sorted((edge.source, edge.target) for edge in graph.edges)
    first, *_, last = graph.order * 2
    straight = steps == sorted(itertools.pairwise(graph.order))
    return straight and inputs in ([], [first]) and outputs in ([], [last])


def _chain(graph: GraphBase, flows: Mapping[str, str] | None) -> list[str]:
    rows = []
    for id in graph.order:
        node = graph.nodes[id]
        leaving = _going_on(graph, id, flows)
        arrow = f"→ {', '.join(leaving)}" if leaving else ""
        width = CELL if flows else CHAIN_CELL
        rows.append([id, "".join(packed(settings(node), width, lines=1)), arrow])
    lines = [f"│ {line}" for line in _aligned(rows)]
    top = [f"┌ {INPUT}"] if graph.inputs else []
    return top + lines + ([f"▼ {OUTPUT}"] if graph.outputs else [])


def _going_on(graph: GraphBase, id: str, flows: Mapping[str, str] | None) -> list[str]:
    """What leaves a node of a chain: of several ports, by the one that feeds the next node."""
    names = [port.name for port in graph.nodes[id].ports()[1]]
    used = {edge.output for edge in graph.edges if edge.source == id} or set(names)
    told = {name: flow(flows, id, name) for name in names if name in used}
    return [f"{name}: {what}" if len(names) > 1 else what for name, what in told.items() if what]


def _table(graph: GraphBase, flows: Mapping[str, str] | None) -> list[str]:
    feeding: dict[str, list[Edge]] = {id: [] for id in graph.ids}
    for edge in graph.edges:
        feeding[edge.target].append(edge)
    free = {address for side in (graph.inputs, graph.outputs) for address in side}
    columns = [
        ["id", *graph.order],
        ["parameters", *(_parameters(graph.nodes[id]) for id in graph.order)],
        ["from", *(_wrapped(_sources(graph, id, feeding[id], free)) for id in graph.order)],
        ["out", *(_wrapped(_leaving(graph, id, flows, free)) for id in graph.order)],
    ]
    used = [column for column in columns if any(column[1:])]
    rules = ["─" * width for width in _widths(used)]
    head, *rows = zip(*used, strict=True)
    return _aligned([head, rules, *rows])


def _parameters(node: NodeBase) -> str:
    return "\n".join(packed(settings(node, CELL), CELL, lines=4))


def _sources(graph: GraphBase, id: str, edges: list[Edge], free: set[str]) -> list[str]:
    """What feeds a node, port by port: ``scale``, ``branch.left``, ``image=resize``, ``INPUT``."""
    inputs = graph.nodes[id].ports()[0]
    found = []
    for port in inputs:
        name = f"{port.name}=" if len(inputs) > 1 else ""
        found += [name + _origin(graph, edge) for edge in edges if edge.input == port.name]
        found += [name + INPUT] * (f"{id}.{port.name}" in free)
    return found


def _origin(graph: GraphBase, edge: Edge) -> str:
    several = len(graph.nodes[edge.source].ports()[1]) > 1
    return f"{edge.source}.{edge.output}" if several else edge.source


def _leaving(
    graph: GraphBase, id: str, flows: Mapping[str, str] | None, free: set[str]
) -> list[str]:
    """What leaves a node, port by port, and where to: ``left: Task 150 x 4 → OUTPUT``."""
    outputs = graph.nodes[id].ports()[1]
    found = []
    for port in outputs:
        name = port.name if len(outputs) > 1 else ""
        what = flow(flows, id, port.name)
        out = OUTPUT if f"{id}.{port.name}" in free else ""
        if what or out:
            left = ": ".join(word for word in (name, what) if word)
            found.append(" → ".join(word for word in (left, out) if word))
    return found


def _wrapped(words: list[str]) -> str:
    # Spaces inside a word may not break it, those between words may.
    text = ", ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words)
    lines = textwrap.wrap(text, CELL, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows in columns; a cell may have several lines."""
    widths = _widths(zip(*rows, strict=True))
    lines = []
    for row in rows:
        cells = [cell.split("\n") for cell in row]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            padded = zip(parts, widths, strict=True)
            lines.append("  ".join(part.ljust(width) for part, width in padded))
    return lines


def _widths(columns: Iterable[Sequence[str]]) -> list[int]:
    return [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
