"""The parameters of an estimator that holds a graph: its own, and those of the graph's nodes.

    <name>            an argument of the constructor, such as ``random_state``
    <id>              a node of the graph
    <id>__<param>     a parameter of a node

Changing a node's parameter makes another graph, so that estimators that share one never affect
each other. Everything is worked out before anything is set: a change that is refused leaves the
estimator as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlgraph.core.graph import Graph
from mlgraph.errors import ConfigError, UnknownParameterError, did_you_mean, listing


def deep_params(graph: Any) -> dict[str, Any]:
    """Nodes by id and their parameters by ``<id>__<param>``; nothing if this is no graph.

    >>> from mlgraph.core.route import Copy
    >>> deep_params(Copy(n=1).as_graph())
    {'copy': po("copy", n=1), 'copy__n': 1}
    """
    return {**graph.params(deep=False), **graph.params()} if isinstance(graph, Graph) else {}


def changed(owner: str, own: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor arguments that change, with their new values.

    Args:
        owner: Name of the estimator's class, for messages.
        own: The constructor arguments and their present values.
        params: What is to change: own arguments, nodes, parameters of nodes.

    Raises:
        UnknownParameterError: A name that is neither; says what may have been meant.
        MLGraphError: The node refuses the value, or cannot be replaced by it.

    >>> from mlgraph.core.route import Copy
    >>> changed("GraphClassifier", {"graph": Copy(n=1).as_graph()}, {"copy__n": 2})["graph"]["copy"]
    po("copy")
    """
    new = {name: value for name, value in params.items() if name in own}
    inner = {path: value for path, value in params.items() if path not in own}
    if inner:
        new["graph"] = _changed_graph(owner, own, new.get("graph", own["graph"]), inner)
    return new


def refuse_clashes(owner: str, own: Mapping[str, Any], graph: Graph) -> None:
    """Refuse ids that are names of constructor arguments: their addresses would be ambiguous.

    Raises:
        ConfigError: Names the ids.

    >>> from mlgraph.core.route import Nop
    >>> refuse_clashes("GraphClassifier", {"verbose": 0}, Nop(id="verbose").as_graph())
    Traceback (most recent call last):
    ...
    mlgraph.errors.ConfigError: A node of the graph cannot be called 'verbose' here.
    ...
    """
    both = [id for id in graph.ids if id in own]
    if both:
        raise ConfigError(
            f"A node of the graph cannot be called {both[0]!r} here.",
            why=f"{listing(both)} in set_params would mean the argument of {owner} "
            "as well as the node",
            mend=f'rename it: graph.rename({{"{both[0]}": "{both[0]}_1"}})',
        )


def _changed_graph(
    owner: str, own: Mapping[str, Any], graph: Any, inner: Mapping[str, Any]
) -> Graph:
    known = graph.ids if isinstance(graph, Graph) else ()
    lost = [path for path in inner if path.partition("__")[0] not in known]
    if lost or not isinstance(graph, Graph):
        raise _unknown(owner, own, graph, lost[0])
    # Whole nodes first: parameters given along with them are those of the new node.
    made: Graph = graph
    for id in [path for path in inner if path in known]:
        made = made.replace(id, inner[id])
    flat = {path: value for path, value in inner.items() if path not in known}
    return made.with_params(flat) if flat else made


def _unknown(owner: str, own: Mapping[str, Any], graph: Any, path: str) -> UnknownParameterError:
    known = [*own, *deep_params(graph)]
    nodes = listing(graph.ids, 12) if isinstance(graph, Graph) else "unknown, as it has none"
    return UnknownParameterError(
        f"{owner} has no parameter {path!r}.",
        why=f"its own are {listing(own)}; the nodes of its graph are {nodes}",
        mend=did_you_mean(path, known) or "parameters of nodes are addressed <id>__<param>",
    )
