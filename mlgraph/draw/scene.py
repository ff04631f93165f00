"""A graph as cards and wires with places in pixels: what SVG and matplotlib both draw.

Each node is a card: its id, how it is asked for, and the parameters that were changed; along its
edges the names of ports where there are several. All free inputs hang on one card ``INPUT``, each
free output ends in a card ``OUTPUT`` of its own. What flows is written below the port it leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs

from mlgraph.core.algebra import GraphBase
from mlgraph.core.base import NodeBase
from mlgraph.core.port import Port
from mlgraph.draw.labels import INPUT, OUTPUT, cut, family, flow, free_ports, packed, settings
from mlgraph.draw.layout import Point, layered
from mlgraph.draw.measure import CALL, CODE, SMALL, TITLE, text_width
from mlgraph.draw.net import Box, Link

PAD = 12.0  # between the words of a card and its border
GAP = 8.0  # between id and call, and around what stands side by side
HEAD = 30.0  # height of a card with nothing but its id
END = 24.0  # height of INPUT and OUTPUT
LINE = 15.0  # height of a line of parameters
PORTS = 13.0  # height of a line of port names
BELOW = 20.0  # room for what flows
ENTRY = 12.0  # between two wires that enter one port
LETTERS, LINES = 38, 4  # parameters on a card
PORT = 24  # letters of the name of a port


@attrs.frozen
class Slot:
    """A port on the edge of a card: its distance from the middle, its name, and what leaves it."""

    x: float = 0.0
    name: str = ""
    flow: str = ""


@attrs.frozen
class Card:
    """A node, or an end of the graph: words, and the place of its middle and its top."""

    title: str
    family: str
    width: float
    height: float
    entries: tuple[Slot, ...] = ()
    exits: tuple[Slot, ...] = ()
    call: str = ""
    lines: tuple[str, ...] = ()
    tooltip: str = ""
    x: float = 0.0
    y: float = 0.0

    @property
    def box(self) -> Box:
        """The room the card takes, together with what is written below it."""
        flows = [slot for slot in self.exits if slot.flow]
        right = max((slot.x + GAP + text_width(slot.flow, SMALL) for slot in flows), default=0.0)
        return Box(self.width, self.height, right, BELOW if flows else 0.0)


@attrs.frozen
class Scene:
    """Everything that is drawn, and the room it takes.

    From one point of a wire to the next is a vertical line or, where x changes, a curve.
    """

    cards: tuple[Card, ...]
    wires: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def scene(graph: GraphBase, flows: Mapping[str, str] | None = None) -> Scene:
    """Cards and wires of a graph.

    >>> from mlgraph.core.route import Nop
    >>> [card.title for card in scene(Nop() >> Nop()).cards]
    ['INPUT', 'nop', 'nop_2', 'OUTPUT']
    """
    ends = list(_ends(graph))
    cards = list(_cards(graph, flows, Counter((end.target, end.input) for end in ends)))
    layout = layered([card.box for card in cards], list(_links(cards, ends)))
    placed = zip(cards, layout.places, strict=True)
    there = tuple(attrs.evolve(card, x=x, y=y) for card, (x, y) in placed)
    return Scene(there, layout.routes, layout.width, layout.height)


# Wires --------------------------------------------------------------------------------------------


@attrs.frozen
class _Ends:
    """Both ends of a wire: positions of the cards, and of the ports on them."""

    source: int
    output: int
    target: int
    input: int


def _ends(graph: GraphBase) -> Iterator[_Ends]:
    inputs, outputs = free_ports(graph)
    first = 1 if inputs else 0
    place = {id: first + at for at, id in enumerate(graph.order)}
    ports = {id: [[p.name for p in side] for side in n.ports()] for id, n in graph.nodes.items()}
    for id, port in inputs:
        yield _Ends(0, 0, place[id], ports[id][0].index(port))
    for edge in graph.edges:
        output = ports[edge.source][1].index(edge.output)
        input = ports[edge.target][0].index(edge.input)
        yield _Ends(place[edge.source], output, place[edge.target], input)
    for at, (id, port) in enumerate(outputs, start=first + len(place)):
        yield _Ends(place[id], ports[id][1].index(port), at, 0)


def _links(cards: Sequence[Card], ends: Sequence[_Ends]) -> Iterator[Link]:
    """Where on its cards each wire begins and ends; wires into one port stand side by side."""
    entering = Counter((end.target, end.input) for end in ends)
    seen: Counter[tuple[int, int]] = Counter()
    for end in ends:
        port = end.target, end.input
        beside = ENTRY * (seen[port] - (entering[port] - 1) / 2)
        seen[port] += 1
        leave = cards[end.source].exits[end.output].x
        enter = cards[end.target].entries[end.input].x + beside
        yield Link(end.source, end.target, leave, enter)


# Cards --------------------------------------------------------------------------------------------


def _cards(
    graph: GraphBase, flows: Mapping[str, str] | None, entering: Mapping[tuple[int, int], int]
) -> Iterator[Card]:
    if graph.inputs:
        yield _end_card(INPUT, exits=(Slot(),))
    for place, id in enumerate(graph.order, start=1 if graph.inputs else 0):
        node = graph.nodes[id]
        inputs, outputs = node.ports()
        counts = [entering.get((place, at), 1) for at in range(len(inputs))]
        leaving = [flow(flows, id, port.name) for port in outputs]
        yield _node_card(id, node, _entries(inputs, counts), _exits(outputs, leaving))
    for _ in graph.outputs:
        yield _end_card(OUTPUT, entries=(Slot(),))


def _end_card(title: str, entries: tuple[Slot, ...] = (), exits: tuple[Slot, ...] = ()) -> Card:
    width = text_width(title, SMALL) + 3 * PAD
    return Card(title, "end", width, END, entries=entries, exits=exits)


def _node_card(id: str, node: NodeBase, entries: tuple[Slot, ...], exits: tuple[Slot, ...]) -> Card:
    lines = packed(settings(node, LETTERS), LETTERS, LINES)
    call = node.call_name()
    head = text_width(id, TITLE) + GAP + text_width(call, CALL)
    words = max([head, *(text_width(line, CODE) for line in lines)])
    named = sum(any(slot.name for slot in slots) for slots in (entries, exits))
    sides = [2 * abs(slot.x) + text_width(slot.name, SMALL) for slot in (*entries, *exits)]
    return Card(
        id,
        family(node.key),
        width=max([words + 2 * PAD, *(side + 2 * GAP for side in sides)]),
        height=HEAD + LINE * len(lines) + (4 if lines else 0) + PORTS * named,
        entries=entries,
        exits=exits,
        call=call,
        lines=tuple(lines),
        tooltip=cut(repr(node), 400),
    )


def _entries(ports: Sequence[Port], counts: Sequence[int]) -> tuple[Slot, ...]:
    names = _names(ports)
    room = max(
        [0.0, *(ENTRY * n for n in counts), *(text_width(n, SMALL) + 2 * GAP for n in names)]
    )
    return tuple(Slot(*slot) for slot in zip(_beside(len(ports), room), names, strict=True))


def _exits(ports: Sequence[Port], flows: Sequence[str]) -> tuple[Slot, ...]:
    names = _names(ports)
    room = max((text_width(word, SMALL) for word in (*names, *flows)), default=0.0) + 2 * GAP
    return tuple(Slot(*slot) for slot in zip(_beside(len(ports), room), names, flows, strict=True))


def _names(ports: Sequence[Port]) -> list[str]:
    """Their names where there are several, long ones cut; the tooltip of a branch has all."""
    return [cut(port.name, PORT) if len(ports) > 1 else "" for port in ports]


def _beside(count: int, room: float) -> list[float]:
    """The middles of things that stand side by side, seen from the middle of them all."""
    return [room * (place - (count - 1) / 2) for place in range(count)]
