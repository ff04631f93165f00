"""Where the boxes of a picture go: layers from top to bottom, as Sugiyama drew them.

1. Every box is put in the layer below the lowest box that feeds it (longest path).
2. A link that skips layers is led through an invisible point in each of them, so that it is kept
   apart from boxes and from other links.
3. Within the layers, boxes are sorted by the mean place of their neighbours, down and up a few
   times; the order with the fewest crossings wins.
4. Boxes in a row and links that skip layers become vertical strands; each strand is moved to the
   mean of its neighbours as far as what stands beside it allows (`columns`).
5. Layers are as high as their boxes; the room between them grows with the width of what crosses.

Everything is deterministic: ties go to the box that was given first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from mlgraph.core.algebra import GraphBase
from mlgraph.draw.columns import columns, right_half
from mlgraph.draw.net import Box, Link, Net
from mlgraph.draw.order import Layers, ordered

ROOM, MORE_ROOM = 28.0, 64.0  # between layers, and at most in addition
Point = tuple[float, float]


@attrs.frozen
class Layout:
    """Where everything is: middle and top of each box, and the points each link passes.

    From one point of a link to the next is a straight vertical line or, where x changes, a curve.
    """

    places: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def to_networkx(graph: GraphBase) -> Any:
    """The graph as a ``networkx.MultiDiGraph``.

    Nodes have the attributes ``key`` and ``parameters``; the key of an edge is
    ``(output, input)``, numbered further where a node feeds a variadic port twice.

    >>> from mlgraph.core.route import Nop
    >>> list(to_networkx(Nop() >> Nop()).edges(keys=True))
    [('nop', 'nop_2', ('output', 'input'))]
    """
    import networkx as nx

    drawn = nx.MultiDiGraph()
    for id, node in graph.nodes.items():
        drawn.add_node(id, key=node.key, parameters=node.parameters())
    for edge in graph.edges:
        key: tuple[str | int, ...] = (edge.output, edge.input)
        again = drawn.number_of_edges(edge.source, edge.target)
        if drawn.has_edge(edge.source, edge.target, key=key):
            key = (*key, again)
        drawn.add_edge(edge.source, edge.target, key=key)
    return drawn


def layered(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    """Places for boxes and routes for links, from top to bottom.

    Args:
        boxes: In an order in which every link leads from an earlier to a later box.
        links: Any number between the same two boxes.

    >>> layered([Box(80, 20), Box(80, 20)], [Link(0, 1)]).places
    ((40.0, 0.0), (40.0, 48.0))
    """
    net = Net.of(boxes, links, _ranks(len(boxes), links))
    layers = ordered(net)
    x = columns(net, layers)
    rows = _rows(net, layers, x)
    places = tuple(
        (x[i], rows[net.ranks[i]].middle - box.height / 2) for i, box in enumerate(boxes)
    )
    routes = tuple(_route(net, rows, link, via, x) for link, via in net.routes)
    width = max((x[i] + right_half(box) for i, box in enumerate(net.boxes)), default=0.0)
    return Layout(places, routes, width, rows[-1].floor if rows else 0.0)


def _ranks(count: int, links: Sequence[Link]) -> list[int]:
    ranks = [0] * count
    for link in sorted(links, key=lambda link: link.source):
        ranks[link.target] = max(ranks[link.target], ranks[link.source] + 1)
    # What nothing feeds goes right above what it feeds.
    below: dict[int, int] = {}
    for link in links:
        below[link.source] = min(ranks[link.target], below.get(link.source, ranks[link.target]))
    fed = {link.target for link in links}
    return [below.get(box, 1) - 1 if box not in fed else ranks[box] for box in range(count)]


@attrs.frozen
class _Row:
    """A layer: top and bottom of its boxes, and the floor below their labels."""

    top: float
    bottom: float
    floor: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def _rows(net: Net, layers: Layers, x: list[float]) -> list[_Row]:
    rows, top = [], 0.0
    for layer in layers:
        bottom = top + max(net.boxes[box].height for box in layer)
        steps = [step for box in layer for step in net.downs[box]]
        span = max((abs(x[s.upper] + s.leave - x[s.lower] - s.enter) for s in steps), default=0.0)
        floor = bottom + max(net.boxes[box].below for box in layer)
        rows.append(_Row(top, bottom, floor))
        top = floor + ROOM + min(MORE_ROOM, span / 7)
    return rows


def _route(
    net: Net, rows: list[_Row], link: Link, via: Sequence[int], x: list[float]
) -> tuple[Point, ...]:
    """Down past the labels, curve by curve through the points, and down into the box."""
    first, last = rows[net.ranks[link.source]], rows[net.ranks[link.target]]
    start, end = x[link.source] + link.leave, x[link.target] + link.enter
    points = [(start, first.middle + net.boxes[link.source].height / 2), (start, first.floor)]
    for point in via:
        row = rows[net.ranks[point]]
        points += [(x[point], row.top), (x[point], row.floor)]
    return (*points, (end, last.top), (end, last.middle - net.boxes[link.target].height / 2))
