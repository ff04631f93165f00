"""A graph as an SVG picture, from nothing but text.

The picture brings its own light background, so that it reads the same in light and dark
notebooks. It defines no ids and no style sheet: what is shown twice on a page cannot disturb
itself, and nothing of it leaks into the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import attrs

from mlgraph.core.algebra import GraphBase
from mlgraph.draw.colours import BACK, FRAME, INK, MUTED, PALETTE, QUIET, WIRE
from mlgraph.draw.layout import Point
from mlgraph.draw.measure import CALL, CODE, SMALL, TITLE, Font
from mlgraph.draw.scene import GAP, HEAD, LINE, PAD, PORTS, Card, Slot, scene
from mlgraph.errors import ConfigError

MARGIN = 22.0
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
CODE_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@attrs.frozen
class Picture:
    """An SVG picture: a notebook shows it, ``save`` writes it, ``str`` is its text.

    >>> Picture("<svg/>")
    Picture(6 characters of SVG)
    """

    svg: str

    def save(self, path: str | PathLike[str]) -> None:
        """Write the picture to a file.

        Raises:
            ConfigError: The name of the file does not end in ``.svg``.
        """
        target = Path(path)
        if target.suffix.lower() != ".svg":
            raise ConfigError(
                f"A picture cannot be written as {target.name!r}.",
                why=f"it is SVG, and the name ends in {target.suffix or 'nothing'!r}",
                mend=f"write {target.with_suffix('.svg').name!r}; "
                "for PNG or PDF, graph.plot().figure.savefig(...)",
            )
        target.write_text(self.svg, encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Picture({len(self.svg)} characters of SVG)"


def draw(
    graph: GraphBase,
    path: str | PathLike[str] | None = None,
    flows: Mapping[str, str] | None = None,
) -> Picture:
    """The graph as a picture, written to ``path`` if one is given.

    Raises:
        ConfigError: The name of the file does not end in ``.svg``.

    >>> from mlgraph.core.route import Nop
    >>> draw(Nop() >> Nop()).svg.startswith("<svg")
    True
    """
    picture = Picture(to_svg(graph, flows))
    if path is not None:
        picture.save(path)
    return picture


def to_svg(graph: GraphBase, flows: Mapping[str, str] | None = None) -> str:
    """The graph as SVG: boxes in layers from top to bottom, wires between their ports.

    Args:
        graph: The graph.
        flows: What leaves each output, by ``id.port``, in a few words.

    >>> from mlgraph.core.route import Nop
    >>> to_svg(Nop() >> Nop(), {"nop.output": "Task 150 x 4"}).count("Task 150 x 4")
    1
    """
    drawn = scene(graph, flows)
    parts = [_wire(wire) for wire in drawn.wires]
    parts += [part for card in drawn.cards for part in _card(card)]
    if not drawn.cards:
        parts = [_text("empty graph", 50, 18, SMALL, QUIET, anchor="middle")]
    width, height = (drawn.width, drawn.height) if drawn.cards else (100.0, 28.0)
    return "\n".join([*_frame(width, height, len(graph)), *parts, "</g>", "</svg>"]) + "\n"


def _frame(width: float, height: float, count: int) -> Iterator[str]:
    w, h = _n(width + 2 * MARGIN), _n(height + 2 * MARGIN)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}"'
        f' role="img" aria-label="graph of {count} node{"" if count == 1 else "s"}"'
        f' font-family={quoteattr(SANS)} style="max-width:100%;height:auto">'
    )
    size = f'width="{_n(width + 2 * MARGIN - 1)}" height="{_n(height + 2 * MARGIN - 1)}"'
    yield f'<rect x="0.5" y="0.5" {size} rx="10" fill="{BACK}" stroke="{FRAME}"/>'
    yield f'<g transform="translate({_n(MARGIN)} {_n(MARGIN)})">'


# Wires --------------------------------------------------------------------------------------------


def _wire(points: tuple[Point, ...]) -> str:
    (x, y), *rest = points
    path = [f"M{_n(x)} {_n(y)}"]
    for to_x, to_y in rest:
        middle = _n((y + to_y) / 2)
        curve = f"C{_n(x)} {middle} {_n(to_x)} {middle} {_n(to_x)} {_n(to_y)}"
        path.append(f"V{_n(to_y)}" if _n(to_x) == _n(x) else curve)
        x, y = to_x, to_y
    head = f"M{_n(x - 4)} {_n(y - 7)}L{_n(x)} {_n(y)}L{_n(x + 4)} {_n(y - 7)}Z"
    return (
        f'<g class="edge"><path d="{"".join(path)}" fill="none" stroke="{WIRE}"'
        f' stroke-width="1.5"/><path d="{head}" fill="{WIRE}"/></g>'
    )


# Cards --------------------------------------------------------------------------------------------


def _card(card: Card) -> Iterator[str]:
    yield '<g class="node">'
    if card.tooltip:
        yield f"<title>{escape(card.tooltip)}</title>"
    yield from _end(card) if card.family == "end" else _node(card)
    yield "</g>"
    for slot in card.exits:
        if slot.flow:
            y = card.y + card.height + 14
            yield _text(slot.flow, card.x + slot.x + GAP - 1, y, SMALL, MUTED)


def _end(card: Card) -> Iterator[str]:
    shade = PALETTE["end"]
    yield _rect(card, card.height / 2, shade.fill, shade.line)
    yield _text(card.title, card.x, card.y + 15.8, SMALL, shade.ink, anchor="middle", spread=True)


def _node(card: Card) -> Iterator[str]:
    shade = PALETTE[card.family]
    left, top = card.x - card.width / 2, card.y
    yield _rect(card, 6, shade.fill, shade.line)
    if any(slot.name for slot in card.entries):
        yield from _ports(card, card.entries, top + 11)
        top += PORTS
    yield _text(card.title, left + PAD, top + 19.5, TITLE, INK)
    call = card.x + card.width / 2 - PAD
    yield _text(card.call, call, top + 19.5, CALL, shade.ink, anchor="end")
    for at, line in enumerate(card.lines):
        yield _text(line, left + PAD, top + HEAD + 7 + LINE * at, CODE, MUTED)
    yield from _ports(card, card.exits, card.y + card.height - 5)


def _ports(card: Card, slots: tuple[Slot, ...], y: float) -> Iterator[str]:
    for slot in slots:
        if slot.name:
            yield _text(slot.name, card.x + slot.x, y, SMALL, QUIET, anchor="middle")


def _rect(card: Card, radius: float, fill: str, line: str) -> str:
    return (
        f'<rect x="{_n(card.x - card.width / 2)}" y="{_n(card.y)}" width="{_n(card.width)}"'
        f' height="{_n(card.height)}" rx="{_n(radius)}" fill="{fill}" stroke="{line}"/>'
    )


def _text(
    text: str,
    x: float,
    y: float,
    font: Font,
    fill: str,
    anchor: str = "start",
    spread: bool = False,
) -> str:
    family = f" font-family={quoteattr(CODE_FONT)}" if font.mono else ""
    weight = ' font-weight="600"' if font.bold else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    space = ' letter-spacing="0.8"' if spread else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(font.size)}"{family}{weight}{place}{space}'
        f' fill="{fill}" xml:space="preserve">{escape(text)}</text>'
    )


def _n(number: float) -> str:
    """A number with at most one digit after the point."""
    return f"{round(number, 1) + 0.0:.1f}".removesuffix(".0")
