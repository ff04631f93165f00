"""CheckedGraph: a graph whose edges know what flows on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mlgraph.core.algebra import GraphBase


@attrs.frozen(eq=False, repr=False)
class CheckedGraph:
    """A graph whose edges know what flows on them.

    Args:
        graph: The resolved graph.
        flows: A short description of the value at each output, by ``id.port``.
        notes: What was filled in: conversions, defaults, sizes.
    """

    graph: GraphBase
    flows: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        from mlgraph.draw.text import to_text

        return to_text(self.graph, self.flows, self.notes)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from mlgraph.draw.svg import to_svg

        return to_svg(self.graph, self.flows)

    def to_dot(self) -> str:
        """The graph in Graphviz' DOT language, types and shapes on the edges."""
        from mlgraph.draw.dot import to_dot

        return to_dot(self.graph, self.flows)

    def to_mermaid(self) -> str:
        """The graph as a Mermaid flowchart, types and shapes on the edges."""
        from mlgraph.draw.mermaid import to_mermaid

        return to_mermaid(self.graph, self.flows)

    def draw(self, path: str | None = None) -> Any:
        """The graph as an SVG picture, types and shapes on the edges."""
        from mlgraph.draw.svg import draw

        return draw(self.graph, path, self.flows)

    def plot(self, ax: Any = None) -> Any:
        """The graph as a matplotlib picture, types and shapes on the edges; returns the axes."""
        from mlgraph.draw.plot import plot

        return plot(self.graph, ax, self.flows)
