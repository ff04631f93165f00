"""Nodes that only pass values on: nop, copy, branch and unbranch.

A branch never runs a path that is not taken: its selection is a parameter, so the graph is cut
before it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlgraph.core.base import Context
from mlgraph.core.compose import union
from mlgraph.core.graph import Graph, to_graph
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import NAME, Port
from mlgraph.errors import ConfigError, GraphError, did_you_mean, listing


class _Passing(Node):
    """Passes its one input to every output, in both phases."""

    inputs = (Port("input"),)

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        return self.apply(None, inputs, ctx), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return tuple(inputs["input"] for _ in self.ports()[1])

    def output_types(self, given: Mapping[str, tuple[Any, Any]]) -> Mapping[str, tuple[Any, Any]]:
        kind = given.get("input", (Any, Any))
        return {port.name: kind for port in self.ports()[1]}


class Nop(_Passing):
    """Pass the input on unchanged.

    >>> Nop().as_graph().fit(3).outputs
    {'nop.output': 3}
    """

    outputs = (Port("output"),)


class Copy(_Passing):
    """Pass one input to ``n`` outputs, by reference.

    >>> Copy(n=2).as_graph().fit(3).outputs
    {'copy.output_1': 3, 'copy.output_2': 3}
    """

    n: int = param(default=2, lower=1, tags={"structure"})

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return self.inputs, tuple(Port(f"output_{i + 1}") for i in range(self.n))


class Branch(_Passing):
    """Pass the input to one of several outputs; the others' paths do not run.

    Args:
        options: Names of the paths, or their number.
        selection: The path to take: a name, or its index; by default the first.

    Raises:
        ConfigError: No path has the selected name.

    >>> Branch(options=["a", "b"], selection="b").as_graph().fit(3).outputs
    {'branch.b': 3}
    """

    options: tuple[str, ...] | int = param(tags={"structure"})
    selection: str | int = param(default=0, tags={"structure"})

    def validate(self) -> None:
        names = self._names()
        if not names or len(set(names)) < len(names):
            raise ConfigError('po("branch") needs names that differ.', why=f"got {listing(names)}")
        bad = [name for name in names if not NAME.fullmatch(name)]
        if bad:
            raise ConfigError(f"A path cannot be called {bad[0]!r}.", mend="use letters and digits")
        self._selected()

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return self.inputs, tuple(Port(name) for name in self._names())

    def active_outputs(self) -> frozenset[str]:
        if "selection" in self.tokens():  # any of them may become the one
            return frozenset(self._names())
        return frozenset({self._selected()})

    def _names(self) -> tuple[str, ...]:
        if isinstance(self.options, int):
            return tuple(f"output_{i}" for i in range(self.options))
        return self.options

    def _selected(self) -> str:
        names = self._names()
        if isinstance(self.selection, int) and 0 <= self.selection < len(names):
            return names[self.selection]
        if self.selection in names:
            return str(self.selection)
        raise ConfigError(
            f"No path of the branch is called {self.selection!r}.",
            where=f"node {self.default_id!r}",
            why=f"its paths are {listing(names)}",
            mend=did_you_mean(self.selection, names),
        )


class Unbranch(Node):
    """Pass on the one value that arrives from the paths of a branch.

    Raises:
        GraphError: Several of its inputs are active.

    >>> Unbranch().as_graph().fit(3).outputs
    {'unbranch.output': 3}
    """

    inputs = (Port("inputs", variadic=True, optional=True),)
    outputs = (Port("output"),)

    def check_wiring(self, edges: Mapping[str, int]) -> None:
        if edges.get("inputs", 0) > 1:
            raise GraphError(
                f"{edges['inputs']} of the inputs of an unbranch are active; it takes one.",
                why="its inputs must come from the outputs of one branch",
                mend='join paths that all run with po("featureunion") or nn("merge_cat")',
            )

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        return self.apply(None, inputs, ctx), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (inputs["inputs"][0],)

    def output_types(self, given: Mapping[str, tuple[Any, Any]]) -> Mapping[str, tuple[Any, Any]]:
        return {"output": given.get("inputs", (Any, Any))}


def branch(paths: Mapping[str, Any], *, selection: str | int = 0, id: str | None = None) -> Graph:
    """Alternatives, of which the parameter ``<id>__selection`` chooses one.

    Args:
        paths: Graphs by name, each with one free output; ``None`` changes nothing.
        selection: The path to take.
        id: Id of the branch node; the node that joins the paths is ``un<id>``. Without one they
            are ``branch`` and ``unbranch``, numbered where several branches meet in one graph.

    Raises:
        ConfigError: The paths have no names, or there are none.
        GraphError: A path has no input, or not exactly one output.

    >>> branch({"off": None, "on": None}, selection="on")
    branch >> [nop, nop_2] >> unbranch
    """
    _check_paths(paths)
    graphs = {name: to_graph([path]) for name, path in paths.items()}
    for name, path in graphs.items():
        if len(path.outputs) != 1 or not path.inputs:
            raise GraphError(
                f"Path {name!r} of the branch needs inputs and one output.",
                why=f"it has {listing(path.inputs)} and {listing(path.outputs)}",
            )
    node = Branch(options=tuple(graphs), selection=selection, id=id)
    # Side by side before the paths, so that both get the same number where they are numbered.
    ends = node.as_graph() & Unbranch(id=None if id is None else f"un{id}")
    graph = ends & union(list(graphs.values()))
    start, end = graph.ids[:2]
    targets, sources = (
        iter(graph.inputs[len(ends.inputs) :]),
        iter(graph.outputs[len(ends.outputs) :]),
    )
    for name, path in graphs.items():
        for target in [next(targets) for _ in path.inputs]:
            graph = graph.connect(f"{start}.{name}", target)
        graph = graph.connect(next(sources), end)
    return graph


def _check_paths(paths: Any) -> None:
    if isinstance(paths, Mapping) and paths:
        return
    raise ConfigError(
        "A branch needs at least one path."
        if isinstance(paths, Mapping)
        else f"A branch takes a dict of paths, not a {type(paths).__name__}.",
        why="paths have names, and its selection is one of them",
        mend='branch({"pca": po("pca"), "plain": None})',
    )
