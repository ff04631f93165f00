"""A part of a network, repeated."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import attrs

from mlgraph.core.base import Context
from mlgraph.core.compose import union
from mlgraph.core.entry import input_at, output_at
from mlgraph.core.graph import Composable, Graph, to_graph
from mlgraph.core.node import Node
from mlgraph.core.param import Mismatch, Token, param
from mlgraph.core.port import Port, fits
from mlgraph.errors import ConfigError, GraphError, MLGraphError, listing
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.net.layer import Layer, layer_port
from mlgraph_nodes.identity import Identity

VARY = "vary__"


def _graph(value: Any) -> Any:
    if isinstance(value, Token):
        return value
    if not isinstance(value, Composable):
        raise Mismatch("a graph or a node")
    return to_graph(value)


class Block(Node):
    """A graph of layers, repeated in series.

    The nodes of copy ``i`` are called ``<block>.<i>.<id>``. Parameters of the graph are parameters
    of the block: in ``nn("block", nn("linear"), n_blocks=2)`` the address of the width is
    ``block__linear__out_features``.

    Shape:
        inputs, outputs: those of the graph.

    Args:
        block: The graph, or a single node.
        n_blocks: Number of copies; with 0 copies nothing changes.
        vary: Parameters that differ between the copies, ``{"linear__out_features": [64, 32]}``:
            one value per copy.

    Raises:
        ConfigError: It is not as many outputs as inputs that are passed from copy to copy, or
            ``vary`` has another number of values.

    >>> from mlgraph_nodes.linear import Linear
    >>> block = Block(block=Linear(id="linear"), n_blocks=2, vary={"linear__out_features": [8, 4]})
    >>> block.expand().ids
    ('0.linear', '1.linear')
    >>> block.with_parameters({"linear__bias": False}).parameters()["linear__bias"]
    False
    """

    prefix = "nn_"

    block: Graph = param(convert=_graph, tags={"structure"})
    n_blocks: int = param(lower=0, tags={"structure"})
    vary: Mapping[str, Any] = param(default={})

    @classmethod
    def create(
        cls,
        args: Sequence[Any] = (),
        params: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        stem: str | None = None,
    ) -> Self:
        inner = {name: value for name, value in (params or {}).items() if "__" in name}
        own = {name: value for name, value in (params or {}).items() if name not in inner}
        made = super().create(args, own, id=id, stem=stem)
        try:
            return made.with_parameters(inner) if inner else made
        except MLGraphError as error:
            raise error.at(f"node {made.default_id!r}") from None

    @classmethod
    def check_id(cls, id: str) -> None:
        # The copies' modules are parts of a module of this name.
        Layer.check_id(id)

    def validate(self) -> None:
        inputs, outputs = self.ports()
        if not inputs or not outputs:
            raise self._wrong("its graph needs inputs and outputs", "put a layer in it")
        alien = [p for p in (*inputs, *outputs) if not fits(p.fit, ModelDescriptor)]
        if alien:
            raise self._wrong(f"{alien[0]!r} is no port of a layer", "repeat layers only")
        if self.n_blocks != 1 and len(inputs) != len(outputs):
            raise self._wrong(
                f"{listing(self.block.outputs)} cannot feed {listing(self.block.inputs)}",
                "a graph that is repeated needs as many outputs as inputs",
            )
        for path, values in self.vary.items():
            if not isinstance(values, tuple) or len(values) != self.n_blocks:
                raise self._wrong(
                    f"vary[{path!r}] is {values!r}", f"give a list of {self.n_blocks} values"
                )
        for number in range(self.n_blocks):
            self._copy(number)

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return self._ports

    @functools.cached_property
    def _ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        if isinstance(self.block, Token):
            return (layer_port("input"),), (layer_port("output"),)
        inputs = [(name, input_at(self.block, name)) for name in self.block.inputs]
        outputs = [(name, output_at(self.block, name)) for name in self.block.outputs]
        return _named(inputs, "input"), _named(outputs, "output")

    def expand(self) -> Graph:
        return self._expanded

    @functools.cached_property
    def _expanded(self) -> Graph:
        if self.tokens():
            raise self._wrong(f"{listing(self.tokens())} is left to tuning", "give it a value")
        if self.n_blocks == 0:
            return union([Identity(stem="identity") for _ in self.ports()[0]])
        return functools.reduce(Graph.then, map(self._copy, range(self.n_blocks)))

    def _copy(self, number: int) -> Graph:
        changes = {path: values[number] for path, values in self.vary.items()}
        try:
            graph = self.block.with_params(changes)
        except MLGraphError as error:
            raise error.at(f"vary of node {self.default_id!r}") from None
        nodes = tuple(node.pinned(f"{number}.{id}") for id, node in graph.nodes.items())
        return Graph(nodes, graph._wires, graph._free)

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        raise self._not_unfolded()

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        raise self._not_unfolded()

    def parameters(self) -> dict[str, Any]:
        inner = {} if isinstance(self.block, Token) else self.block.params()
        return {**super().parameters(), **inner}

    def with_parameters(self, changes: Mapping[str, Any]) -> Self:
        own = {name: value for name, value in changes.items() if "__" not in name}
        inner = {name: value for name, value in changes.items() if "__" in name}
        varied = {name: inner.pop(name) for name in list(inner) if self._is_varied(name)}
        if varied:
            vary = {name.removeprefix(VARY): value for name, value in varied.items()}
            own["vary"] = {**own.get("vary", self.vary), **vary}
        if inner:
            own["block"] = _graph(own.get("block", self.block)).with_params(inner)
        return super().with_parameters(own)

    def changed(self) -> dict[str, Any]:
        return {name: value for name, value in super().changed().items() if "__" not in name}

    def _tokens(self) -> Iterator[tuple[str, Token]]:
        yield from super()._tokens()
        if not isinstance(self.block, Token):
            yield from self.block.search_space().items()

    def _is_varied(self, name: str) -> bool:
        """Whether this is the address of a value in ``vary``, as tokens have it."""
        return name.startswith(VARY) and "vary" not in self.block

    def _wrong(self, why: str, mend: str) -> ConfigError:
        return ConfigError(
            f"{self.call_name()} cannot repeat its graph {self.n_blocks} times.",
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


def _named(ports: Sequence[tuple[str, Port]], single: str) -> tuple[Port, ...]:
    """Free ports of a graph as ports of a node."""
    if len(ports) == 1:
        return (attrs.evolve(ports[0][1], name=single),)
    return tuple(attrs.evolve(port, name=name.replace(".", "_")) for name, port in ports)
