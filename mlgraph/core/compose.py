"""Larger graphs from smaller ones: chain, union, replicate."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from mlgraph.core.graph import Graph, to_graph
from mlgraph.errors import ConfigError, GraphError


def chain(*parts: Any) -> Graph:
    """``a >> b >> c``; ``None`` is skipped, so that a step can be left out.

    Raises:
        GraphError: The parts are given as one list, which would put them side by side.

    >>> chain(None, None)
    Graph()
    """
    if len(parts) == 1 and isinstance(parts[0], (list, tuple)) and len(parts[0]) > 1:
        raise GraphError(
            f"chain() takes parts, and got one list of {len(parts[0])}.",
            why="a list stands for paths side by side",
            mend="write chain(*parts), or union(parts) if they are to stand side by side",
        )
    return functools.reduce(Graph.then, map(to_graph, parts), Graph.empty())


def union(parts: Sequence[Any] | Mapping[str, Any]) -> Graph:
    """Graphs side by side; the keys of a mapping become prefixes of the ids.

    ``None`` as an element is a ``nop``: the path that changes nothing.

    Raises:
        GraphError: Two nodes have the same chosen id.

    >>> union([])
    Graph()
    """
    return to_graph(list(parts) if not isinstance(parts, Mapping) else parts)


def replicate(graph: Any, n: int, sep: str = "_") -> Graph:
    """``n`` copies side by side, their ids suffixed ``_1`` to ``_n``.

    Raises:
        ConfigError: ``n`` is negative.
    """
    if not isinstance(n, int) or n < 0:
        raise ConfigError(
            f"replicate() makes n copies, and {n!r} is no count.", mend="give an integer from 0"
        )
    one = to_graph(graph)
    copies = (one.rename({id: f"{id}{sep}{i}" for id in one.ids}) for i in range(1, n + 1))
    return functools.reduce(Graph.beside, copies, Graph.empty())
