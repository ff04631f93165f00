"""Boxes and the links between them, as the layout sees them: pixels, no graph."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import attrs


@attrs.frozen
class Box:
    """What takes up room: a box, with room for labels on its right and below, in pixels."""

    width: float
    height: float
    right: float = 0.0
    below: float = 0.0


@attrs.frozen
class Link:
    """A line from the bottom of one box to the top of another, by position; ``source < target``.

    ``leave`` and ``enter`` are where it starts and ends, as distances from the box's middle.
    """

    source: int
    target: int
    leave: float = 0.0
    enter: float = 0.0


@attrs.frozen
class Step:
    """A piece of a link, from one layer to the next; ``inner`` counts its invisible ends."""

    upper: int
    lower: int
    leave: float
    enter: float
    inner: int


@attrs.frozen
class Net:
    """Boxes and invisible points in their layers, and the steps between them.

    >>> net = Net.of([Box(80, 20)] * 3, [Link(0, 1), Link(1, 2), Link(0, 2)], ranks=[0, 1, 2])
    >>> net.ranks, [[step.lower for step in steps] for steps in net.downs]
    ((0, 1, 2, 1), [[1, 3], [2], [], [2]])
    """

    boxes: tuple[Box, ...]
    ranks: tuple[int, ...]
    ups: tuple[list[Step], ...]
    downs: tuple[list[Step], ...]
    routes: tuple[tuple[Link, range], ...]
    real: int

    @classmethod
    def of(cls, boxes: Sequence[Box], links: Sequence[Link], ranks: Sequence[int]) -> Net:
        """Boxes and links, with a point in every layer that a link skips."""
        skipped = [range(ranks[link.source] + 1, ranks[link.target]) for link in links]
        starts = itertools.accumulate(map(len, skipped), initial=len(boxes))
        via = [
            range(start, start + len(skip)) for start, skip in zip(starts, skipped, strict=False)
        ]
        points = [rank for skip in skipped for rank in skip]
        routes = tuple(zip(links, via, strict=True))
        steps = [step for link, between in routes for step in _steps(link, between)]
        every = (*boxes, *(Box(0.0, 0.0) for _ in points))
        ups: tuple[list[Step], ...] = tuple([] for _ in every)
        downs: tuple[list[Step], ...] = tuple([] for _ in every)
        for step in steps:
            downs[step.upper].append(step)
            ups[step.lower].append(step)
        return cls(every, (*ranks, *points), ups, downs, routes, len(boxes))


def _steps(link: Link, via: Sequence[int]) -> Iterator[Step]:
    """The pieces of a link: the first leaves a box, the last enters one."""
    stops = [link.source, *via, link.target]
    for place, (upper, lower) in enumerate(itertools.pairwise(stops)):
        first, last = place == 0, place == len(via)
        yield Step(upper, lower, link.leave * first, link.enter * last, 2 - first - last)
