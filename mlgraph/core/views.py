"""How a graph is shown and kept: text, pictures, files.

The work lives on higher floors; here are the methods by which it is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from mlgraph.core.algebra import GraphBase


class GraphViews(GraphBase):
    """A graph that can be printed, drawn and saved.

    >>> from mlgraph.core.graph import Graph
    >>> issubclass(Graph, GraphViews)
    True
    """

    def save(self, path: Any) -> None:
        """Write the graph to a file, which ``mlgraph.load`` reads."""
        from mlgraph.store.save import save

        save(self, path)

    def to_dict(self) -> dict[str, Any]:
        """The graph as JSON values, which ``Graph.from_dict`` reads.

        Raises:
            StateError: A parameter cannot be written as JSON; names the node.
        """
        from mlgraph.store.document import to_dict

        return to_dict(self)  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], allow: Iterable[Any] = ()) -> Self:
        """The graph of what ``to_dict`` returned.

        Args:
            content: The JSON values.
            allow: Your own functions and classes that they may name, as for ``mlgraph.load``.

        Raises:
            StateError: They are not those of a graph, or name what is not there or not allowed.
        """
        from mlgraph.store.document import from_dict

        return from_dict(content, allow)  # type: ignore[return-value]

    def __repr__(self) -> str:
        from mlgraph.draw.text import one_line

        return one_line(self)

    def __str__(self) -> str:
        from mlgraph.draw.text import to_text

        return to_text(self)

    def _repr_html_(self) -> str:
        from mlgraph.draw.svg import to_svg

        return to_svg(self)

    def to_dot(self) -> str:
        """The graph in Graphviz' DOT language."""
        from mlgraph.draw.dot import to_dot

        return to_dot(self)

    def to_mermaid(self) -> str:
        """The graph as a Mermaid flowchart."""
        from mlgraph.draw.mermaid import to_mermaid

        return to_mermaid(self)

    def to_networkx(self) -> Any:
        """The graph as a ``networkx.MultiDiGraph``; edge keys are (output, input) ports."""
        from mlgraph.draw.layout import to_networkx

        return to_networkx(self)

    def draw(self, path: str | None = None) -> Any:
        """The graph as an SVG picture, which a notebook shows; saved to ``path`` if given."""
        from mlgraph.draw.svg import draw

        return draw(self, path)

    def plot(self, ax: Any = None) -> Any:
        """The graph as a matplotlib picture (extra ``plot``); returns the axes."""
        from mlgraph.draw.plot import plot

        return plot(self, ax)
