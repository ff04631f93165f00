"""Node: the class to subclass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mlgraph.core.base import NodeBase
from mlgraph.core.fitted import FittedGraph
from mlgraph.core.graph import Composable, Graph
from mlgraph.errors import GraphError, UnknownAttributeError


class Node(NodeBase, Composable):
    """A unit of work that can be wired to others with ``>>``.

    >>> from mlgraph.core.port import Port
    >>> class AddOne(Node):
    ...     inputs = (Port("input", int),)
    ...     outputs = (Port("output", int),)
    ...
    ...     def fit(self, inputs, ctx):
    ...         return self.apply(None, inputs, ctx), None
    ...
    ...     def apply(self, state, inputs, ctx):
    ...         return (inputs["input"] + 1,)
    >>> (AddOne() >> AddOne()).fit(1).outputs
    {'add_one_2.output': 3}
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "fit" in cls.__dict__ and not getattr(cls.fit, "__isabstractmethod__", False):
            cls.fit = _needs_context(cls.fit)  # type: ignore[method-assign]

    def as_graph(self) -> Graph:
        """The graph with just this node.

        Raises:
            GraphError: Two ports of the node share a name.
        """
        for ports in self.ports():
            names = [port.name for port in ports]
            if len(set(names)) < len(names):
                raise GraphError(f"{self.call_name()} has two ports of one name.")
        return Graph((self,))

    def __getattr__(self, name: str) -> Any:
        # Only reached for attributes that do not exist.
        if not name.startswith("_") and (hasattr(Graph, name) or hasattr(FittedGraph, name)):
            raise _graph_only(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _needs_context(fit: Callable[..., Any]) -> Callable[..., Any]:
    """``node.fit(task)`` is a natural slip for ``node.as_graph().fit(task)``: say so."""

    @functools.wraps(fit)
    def guarded(self: Node, *args: Any, **kwargs: Any) -> Any:
        if len(args) + len(kwargs) < 2 or kwargs.keys() - {"inputs", "ctx"}:
            raise _graph_only(self, "fit")
        return fit(self, *args, **kwargs)

    return guarded


def _graph_only(node: Node, method: str) -> GraphError:
    return UnknownAttributeError(
        f"{method!r} is for graphs, and this is a node.",
        where=f"node {node.default_id!r}",
        mend=f"write {node.call_name()}.as_graph().{method}",
    )
