"""The x of every box, once its place in its layer is known.

Where a box feeds only one other, which nothing else feeds, both go on one vertical line; so do
the points a long link passes. Such lines, the strands, move as one. In each round every strand
wants to be at the median of its neighbours above, or below. Pushing all that would overlap to the
right gives one arrangement, pushing to the left another; the middle of both keeps the order and
the room between boxes as well, and is fair to both sides. At the end each strand takes what room
is left to get closer to where it wants to be, which turns nearly straight lines into straight ones.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping
from graphlib import TopologicalSorter

import attrs

from mlgraph.draw.net import Box, Net, Step
from mlgraph.draw.order import Layers

SIDE = 26.0  # room between two boxes
NARROW = 18.0  # room beside a link that passes a layer
ROUNDS, LAST, MOST_ROUNDS = 24, 12, 200
Places = dict[int, float]
_Pulls = tuple[list[tuple[int, float]], list[tuple[int, float]]]


def columns(net: Net, layers: Layers) -> list[float]:
    """The x of the middle of every box and point; the leftmost box begins at 0.

    >>> from mlgraph.draw.net import Link
    >>> net = Net.of([Box(60, 20)] * 3, [Link(0, 1), Link(0, 2)], ranks=[0, 1, 1])
    >>> columns(net, [[0], [1, 2]])
    [73.0, 30.0, 116.0]
    """
    strands = _Strands.of(net, layers)
    x = strands.apart(_packed(net, layers, strands.order))
    rounds = min(ROUNDS + 2 * len(layers), MOST_ROUNDS)
    for turn in range(rounds):
        sides = {0, 1} if turn >= rounds - LAST else {turn % 2}
        goal = strands.apart({strand: strands.wanted(strand, x, sides) for strand in x})
        # Half way: neighbours that both jumped to the other's place would do so for ever.
        x = {strand: (x[strand] + goal[strand]) / 2 for strand in x}
    x = strands.nudged(strands.nudged(x))
    places = [x[root] + shift for root, shift in zip(strands.root, strands.shift, strict=True)]
    left = min((p - box.width / 2 for p, box in zip(places, net.boxes, strict=True)), default=0.0)
    return [place - left for place in places]


def right_half(box: Box) -> float:
    """The room a box takes on the right of its middle."""
    return max(box.width / 2, box.right)


@attrs.frozen
class _Strands:
    """Strands, each named after its topmost box.

    Args:
        root: The strand of each box.
        shift: How far each box is right of the topmost one.
        lefts: The strands beside each, on its left, and how far apart the two must be.
        rights: The same on its right.
        near: The neighbours above and below each, and where those want it, seen from them.
        order: From left to right.
    """

    root: tuple[int, ...]
    shift: tuple[float, ...]
    lefts: Mapping[int, Places]
    rights: Mapping[int, Places]
    near: Mapping[int, _Pulls]
    order: tuple[int, ...]

    @classmethod
    def of(cls, net: Net, layers: Layers) -> _Strands:
        root, shift = list(range(len(net.boxes))), [0.0] * len(net.boxes)
        for step in _straight(net, layers):
            root[step.lower] = root[step.upper]
            shift[step.lower] = shift[step.upper] + step.leave - step.enter
        lefts: dict[int, Places] = {strand: {} for strand in root}
        rights: dict[int, Places] = {strand: {} for strand in root}
        for layer in layers:
            for a, b in itertools.pairwise(layer):
                room = _distance(net, a, b) + shift[a] - shift[b]
                room = max(room, lefts[root[b]].get(root[a], room))
                lefts[root[b]][root[a]] = rights[root[a]][root[b]] = room
        # Strands do not cross, so that there always is an order from left to right.
        order = tuple(TopologicalSorter(lefts).static_order())
        return cls(tuple(root), tuple(shift), lefts, rights, _near(net, root, shift), order)

    def wanted(self, strand: int, x: Places, sides: set[int]) -> float:
        """Where the neighbours above (side 0) or below (side 1) want a strand."""
        goals = [x[other] + apart for side in sides for other, apart in self.near[strand][side]]
        return statistics.median(goals) if goals else x[strand]

    def apart(self, wanted: Places) -> Places:
        """Places near the wanted ones, in order and with enough room."""
        right, left = dict(wanted), dict(wanted)
        for strand in self.order:
            ends = [right[other] + room for other, room in self.lefts[strand].items()]
            right[strand] = max([right[strand], *ends])
        for strand in reversed(self.order):
            ends = [left[other] - room for other, room in self.rights[strand].items()]
            left[strand] = min([left[strand], *ends])
        return {strand: (right[strand] + left[strand]) / 2 for strand in self.order}

    def nudged(self, x: Places) -> Places:
        """Each strand in turn as near to where it is wanted as its neighbours beside it allow."""
        x = dict(x)
        for strand in self.order:
            lows = [x[other] + room for other, room in self.lefts[strand].items()]
            highs = [x[other] - room for other, room in self.rights[strand].items()]
            goal = self.wanted(strand, x, {0, 1})
            x[strand] = min([max([goal, *lows]), *highs])
        return x


def _near(net: Net, root: list[int], shift: list[float]) -> dict[int, _Pulls]:
    near: dict[int, _Pulls] = {strand: ([], []) for strand in root}
    for step in itertools.chain.from_iterable(net.downs):
        upper, lower = root[step.upper], root[step.lower]
        apart = shift[step.upper] + step.leave - shift[step.lower] - step.enter
        if upper != lower:
            near[lower][0].append((upper, apart))
            near[upper][1].append((lower, -apart))
    return near


def _packed(net: Net, layers: Layers, strands: tuple[int, ...]) -> Places:
    """Every layer packed around 0; a strand is where its topmost box is."""
    x = dict.fromkeys(strands, 0.0)
    for layer in layers:
        rooms = [_distance(net, a, b) for a, b in itertools.pairwise(layer)]
        places = itertools.accumulate(rooms, initial=-sum(rooms) / 2)
        x.update({box: at for box, at in zip(layer, places, strict=True) if box in x})
    return x


def _straight(net: Net, layers: Layers) -> list[Step]:
    """The steps that become vertical, from top to bottom, none of which crosses another."""
    place = {box: at for layer in layers for at, box in enumerate(layer)}
    found = []
    for layer in layers:
        steps = [step for box in layer for step in net.downs[box] if _is_alone(net, step)]
        chosen: list[Step] = []
        for step in sorted(steps, key=lambda step: -step.inner):
            if not any(_cross(place, step, other) for other in chosen):
                chosen.append(step)
        found += chosen
    return found


def _is_alone(net: Net, step: Step) -> bool:
    return len(net.downs[step.upper]) == 1 and len(net.ups[step.lower]) == 1


def _cross(place: dict[int, int], one: Step, other: Step) -> bool:
    above = place[one.upper] - place[other.upper]
    return above * (place[one.lower] - place[other.lower]) < 0


def _distance(net: Net, left: int, right: int) -> float:
    room = SIDE if left < net.real and right < net.real else NARROW
    return right_half(net.boxes[left]) + room + net.boxes[right].width / 2
