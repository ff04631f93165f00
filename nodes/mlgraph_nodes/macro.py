"""Macro: a node that stands for a graph, with the parameters of the graphs it was given."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from mlgraph.core.base import Context
from mlgraph.core.entry import input_at, output_at
from mlgraph.core.graph import Composable, Graph, to_graph
from mlgraph.core.node import Node
from mlgraph.core.param import Mismatch, Token
from mlgraph.core.port import Port, fits
from mlgraph.errors import ConfigError, GraphError, MLGraphError, listing
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.net.layer import Layer, layer_port


def graph_of(value: Any) -> Any:
    """A node or a graph as a graph; the type of a parameter.

    >>> from mlgraph_nodes.identity import Identity
    >>> graph_of(Identity()).ids
    ('nn_identity',)
    """
    if isinstance(value, Token):
        return value
    if not isinstance(value, Composable):
        raise Mismatch("a graph or a node")
    return to_graph(value)


class Macro(Node):
    """A node that unfolds into a graph of layers made of the graph in its field ``inner``.

    Parameters of that graph are parameters of the node, ``<id>__<inner id>__<parameter>``.

    >>> from mlgraph_nodes.block import Block
    >>> issubclass(Block, Macro)
    True
    """

    prefix = "nn_"
    inner: ClassVar[str]

    @abstractmethod
    def unfolded(self) -> Graph:
        """The graph this node stands for; called when no token is left."""

    @property
    def held(self) -> Any:
        """The graph inside, or a token that stands for it."""
        return getattr(self, self.inner)

    @classmethod
    def check_id(cls, id: str) -> None:
        # The layers' modules are parts of a module of this name.
        Layer.check_id(id)

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return self._ports

    @functools.cached_property
    def _ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        graph = self.held
        if isinstance(graph, Token):
            return (layer_port("input"),), (layer_port("output"),)
        inputs = [(name, input_at(graph, name)) for name in graph.inputs]
        outputs = [(name, output_at(graph, name)) for name in graph.outputs]
        return _named(inputs, "input"), _named(outputs, "output")

    def validate(self) -> None:
        inputs, outputs = self.ports()
        if not inputs or not outputs:
            raise self.wrong("its graph needs inputs and outputs", "put a layer in it")
        alien = [p for p in (*inputs, *outputs) if not fits(p.fit, ModelDescriptor)]
        if alien:
            raise self.wrong(f"{alien[0]!r} is no port of a layer", "put layers in it only")

    def expand(self) -> Graph:
        return self._expanded

    @functools.cached_property
    def _expanded(self) -> Graph:
        if self.tokens():
            raise self.wrong(f"{listing(self.tokens())} is left to tuning", "give it a value")
        return self.unfolded()

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        raise self._not_unfolded()

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        raise self._not_unfolded()

    @classmethod
    def absorbed(cls, values: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        plain = [name for name in extra if "__" not in name]
        if plain:
            raise cls._unknown(plain[0], cls.field_names())
        if cls.inner not in values:
            return values  # the refusal of a missing graph says more
        try:
            return {**values, cls.inner: graph_of(values[cls.inner]).with_params(extra)}
        except MLGraphError as error:
            raise error.at(f"node {cls.key.removeprefix('nn_')!r}") from None

    def parameters(self) -> dict[str, Any]:
        inner = {} if isinstance(self.held, Token) else self.held.params()
        return {**super().parameters(), **inner}

    def changed(self) -> dict[str, Any]:
        return {name: value for name, value in super().changed().items() if "__" not in name}

    def _inner(self, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        own = {name: value for name, value in changes.items() if "__" not in name}
        return own, {name: value for name, value in changes.items() if "__" in name}

    def _tokens(self) -> Iterator[tuple[str, Token]]:
        yield from super()._tokens()
        if not isinstance(self.held, Token):
            yield from self.held.search_space().items()

    def wrong(self, why: str, mend: str) -> ConfigError:
        """The error for a graph this node cannot stand for."""
        return ConfigError(
            f"{self.call_name()} cannot use its graph.",
            where=f"node {self.default_id!r}",
            why=why,
            mend=mend,
        )

    def _not_unfolded(self) -> GraphError:
        return GraphError(
            f"{self.call_name()} does not run; the graph it stands for does.",
            where=f"node {self.default_id!r}",
            mend="run graph.resolved, as graph.fit() does",
        )


def pinned(graph: Graph) -> Graph:
    """The graph with its ids chosen, so that nodes around it cannot change them.

    >>> from mlgraph_nodes.identity import Identity
    >>> pinned(Identity().as_graph())["nn_identity"].id
    'nn_identity'
    """
    nodes = tuple(node.pinned(id) for id, node in graph.nodes.items())
    return Graph(nodes, graph._wires, graph._free)


def _named(ports: Sequence[tuple[str, Port]], single: str) -> tuple[Port, ...]:
    """Free ports of a graph as ports of a node."""
    if len(ports) == 1:
        return (attrs.evolve(ports[0][1], name=single),)
    return tuple(attrs.evolve(port, name=name.replace(".", "_")) for name, port in ports)
