"""A graph as a matplotlib picture, for figures and for files that are not SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlgraph.core.algebra import GraphBase
from mlgraph.draw.colours import BACK, INK, MUTED, PALETTE, QUIET, WIRE
from mlgraph.draw.layout import Point
from mlgraph.draw.measure import CALL, CODE, SMALL, TITLE, Font
from mlgraph.draw.scene import GAP, HEAD, LINE, PAD, PORTS, Card, scene
from mlgraph.errors import ConfigError

DOTS = 72.0  # pixels of the scene per inch of a new figure
MARGIN = 16.0


def plot(graph: GraphBase, ax: Any = None, flows: Mapping[str, str] | None = None) -> Any:
    """Draw the graph with matplotlib and return the axes.

    Args:
        graph: The graph.
        ax: Axes to draw into; by default a new figure of the right size.
        flows: What leaves each output, by ``id.port``, in a few words.

    Raises:
        ConfigError: matplotlib is not installed.

    >>> from mlgraph.core.route import Nop
    >>> axes = plot(Nop() >> Nop())
    >>> [text.get_text() for text in axes.texts][:2]
    ['INPUT', 'nop']
    """
    drawn = scene(graph, flows)
    size = drawn.width + 2 * MARGIN, drawn.height + 2 * MARGIN
    axes = _axes(size[0] / DOTS, size[1] / DOTS) if ax is None else ax
    scale = _fitted(axes, *size)
    for wire in drawn.wires:
        _wire(axes, wire, scale)
    for card in drawn.cards:
        _card(axes, card, scale)
    return axes


def _fitted(axes: Any, width: float, height: float) -> float:
    """Fit axes to a picture; by how much text, whose size is in points, must shrink with it."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-MARGIN, width - MARGIN)
    axes.set_ylim(height - MARGIN, -MARGIN)
    room = axes.get_window_extent()
    return float(min(room.width / width, room.height / height) * DOTS / axes.figure.dpi)


def _axes(width: float, height: float) -> Any:
    """Axes that fill a new figure."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ConfigError(
            "plot() needs matplotlib, which is not installed.",
            why=str(error),
            mend="pip install mlgraph[plot], or use graph.draw(), which needs nothing",
        ) from error
    figure = pyplot.figure(figsize=(width, height), facecolor=BACK)
    return figure.add_axes((0.0, 0.0, 1.0, 1.0))


def _wire(axes: Any, points: tuple[Point, ...], scale: float) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    x, y = points[0]
    corners, codes = [(x, y)], [Path.MOVETO]
    for to_x, to_y in points[1:]:
        middle = (y + to_y) / 2
        corners += [(x, middle), (to_x, middle), (to_x, to_y)]
        codes += [Path.CURVE4] * 3
        x, y = to_x, to_y
    line = PathPatch(Path(corners, codes), fill=False, edgecolor=WIRE, linewidth=1.3 * scale)
    axes.add_patch(line)
    axes.add_patch(Polygon([(x - 4, y - 7), (x, y), (x + 4, y - 7)], facecolor=WIRE, linewidth=0))


def _card(axes: Any, card: Card, scale: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    shade, left = PALETTE[card.family], card.x - card.width / 2
    round_by = card.height / 2 if card.family == "end" else 6.0
    box = FancyBboxPatch(
        (left, card.y),
        card.width,
        card.height,
        boxstyle=f"round,pad=0,rounding_size={round_by}",
        facecolor=shade.fill,
        edgecolor=shade.line,
        linewidth=scale,
    )
    axes.add_patch(box)
    if card.family == "end":
        _text(axes, card.title, card.x, card.y + card.height / 2 + 4, SMALL, shade.ink, scale, 0.5)
    else:
        _words(axes, card, left, scale)


def _words(axes: Any, card: Card, left: float, scale: float) -> None:
    top = card.y + (PORTS if any(slot.name for slot in card.entries) else 0)
    _text(axes, card.title, left + PAD, top + 19.5, TITLE, INK, scale)
    call = left + card.width - PAD
    _text(axes, card.call, call, top + 19.5, CALL, PALETTE[card.family].ink, scale, 1.0)
    for at, line in enumerate(card.lines):
        _text(axes, line, left + PAD, top + HEAD + 7 + LINE * at, CODE, MUTED, scale)
    bottom = card.y + card.height
    for slots, y in ((card.entries, card.y + 11), (card.exits, bottom - 5)):
        for slot in slots:
            _text(axes, slot.name, card.x + slot.x, y, SMALL, QUIET, scale, 0.5)
    for slot in card.exits:
        _text(axes, slot.flow, card.x + slot.x + GAP - 1, bottom + 14, SMALL, MUTED, scale)


def _text(
    axes: Any, text: str, x: float, y: float, font: Font, colour: str, scale: float, left: float = 0
) -> None:
    """A text on its base line, with this part of it left of x."""
    if not text:
        return
    axes.text(
        x,
        y,
        text.replace("$", r"\$"),
        fontsize=0.92 * font.size * scale,
        fontweight="bold" if font.bold else "normal",
        family="monospace" if font.mono else "sans-serif",
        color=colour,
        horizontalalignment={0: "left", 0.5: "center", 1: "right"}[left],
        verticalalignment="baseline",
    )
