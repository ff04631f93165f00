"""The order of boxes within their layers: few crossings, and always the same ones."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable

from mlgraph.draw.net import Net, Step

SWEEPS = 12
Layers = list[list[int]]


def ordered(net: Net) -> Layers:
    """The boxes and points of each layer, from left to right.

    >>> from mlgraph.draw.net import Box, Link
    >>> links = [Link(0, 3), Link(1, 2)]
    >>> ordered(Net.of([Box(80, 20)] * 4, links, ranks=[0, 0, 1, 1]))
    [[0, 1], [3, 2]]
    """
    layers: Layers = [[] for _ in range(max(net.ranks, default=-1) + 1)]
    for box in _by_depth(net):
        layers[net.ranks[box]].append(box)
    best, fewest = layers, crossings(net, layers)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        layers = _sorted_once(net, layers, downwards=sweep % 2 == 0)
        if (count := crossings(net, layers)) < fewest:
            best, fewest = layers, count
    return best


def _by_depth(net: Net) -> Iterable[int]:
    """Boxes and points, each followed by all below it that was not seen before."""
    seen: dict[int, None] = {}
    for root in range(len(net.boxes)):
        waiting = [root] if not net.ups[root] else []
        while waiting:
            box = waiting.pop()
            if box not in seen:
                seen[box] = None
                steps = sorted(net.downs[box], key=lambda step: step.leave)
                waiting += [step.lower for step in reversed(steps)]
    return seen


def _sorted_once(net: Net, layers: Layers, downwards: bool) -> Layers:
    layers = [list(layer) for layer in layers]
    place = {box: float(i) for layer in layers for i, box in enumerate(layer)}
    for layer in layers if downwards else reversed(layers):
        means = {box: _mean_place(net, box, place, downwards) for box in layer}
        layer.sort(key=lambda box: means[box])
        place.update({box: float(i) for i, box in enumerate(layer)})
    return layers


def _mean_place(net: Net, box: int, place: dict[int, float], downwards: bool) -> float:
    steps = net.ups[box] if downwards else net.downs[box]
    ends = [_end(net, step, place, upper=downwards) for step in steps]
    return sum(ends) / len(ends) if ends else place[box]


def _end(net: Net, step: Step, place: dict[int, float], upper: bool) -> float:
    """The place of an end of a step; ports split the place of their box."""
    box, offset = (step.upper, step.leave) if upper else (step.lower, step.enter)
    width = net.boxes[box].width
    return place[box] + (0.9 * offset / width if width else 0.0)


def crossings(net: Net, layers: Layers) -> int:
    """How often steps cross between the layers."""
    place = {box: float(i) for layer in layers for i, box in enumerate(layer)}
    count = 0
    for layer in layers:
        steps = [step for box in layer for step in net.downs[box]]
        ends = sorted((_end(net, s, place, True), _end(net, s, place, False)) for s in steps)
        passed: list[float] = []
        for _, lower in ends:
            count += len(passed) - bisect_right(passed, lower)
            insort(passed, lower)
    return count
