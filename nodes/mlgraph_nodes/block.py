"""A part of a network, repeated."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from mlgraph.core.compose import union
from mlgraph.core.graph import Graph
from mlgraph.core.keyed import with_inner
from mlgraph.core.param import param
from mlgraph.errors import ConfigError, MLGraphError, listing
from mlgraph_nodes.identity import Identity
from mlgraph_nodes.macro import Macro, graph_of

VARY = "vary__"


class Block(Macro):
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
        ConfigError: The outputs of a copy do not feed the inputs of the next as they do in
            ``>>``, or ``vary`` has another number of values.

    >>> from mlgraph_nodes.linear import Linear
    >>> block = Block(block=Linear(id="linear"), n_blocks=2, vary={"linear__out_features": [8, 4]})
    >>> block.expand().ids
    ('0.linear', '1.linear')
    >>> block.with_parameters({"linear__bias": False}).parameters()["linear__bias"]
    False
    """

    inner = "block"

    block: Graph = param(convert=graph_of, tags={"structure"})
    n_blocks: int = param(lower=0, tags={"structure"})
    vary: Mapping[str, Any] = param(default={})

    def validate(self) -> None:
        super().validate()
        inputs, outputs = self.ports()
        feeds = len(inputs) == len(outputs) or (len(outputs) == 1 and self.n_blocks > 0)
        if self.n_blocks != 1 and not feeds:
            raise self.wrong(
                f"{listing(self.block.outputs)} cannot feed {listing(self.block.inputs)}",
                "a graph that is repeated needs as many outputs as inputs, or one that feeds all",
            )
        for path, values in self.vary.items():
            if not isinstance(values, tuple) or len(values) != self.n_blocks:
                raise self.wrong(
                    f"vary[{path!r}] is {values!r}", f"give a list of {self.n_blocks} values"
                )
        for number in range(self.n_blocks):
            self._copy(number)

    def unfolded(self) -> Graph:
        if self.n_blocks == 0:
            return union([Identity(stem="identity") for _ in self.ports()[0]])
        return functools.reduce(Graph.then, map(self._copy, range(self.n_blocks)))

    def wrong(self, why: str, mend: str) -> ConfigError:
        return ConfigError(
            f"{self.call_name()} cannot repeat its graph {self.n_blocks} times.",
            where=f"node {self.default_id!r}",
            why=why,
            mend=mend,
        )

    def _copy(self, number: int) -> Graph:
        changes = {path: values[number] for path, values in self.vary.items()}
        try:
            graph = self.block.with_params(changes)
        except MLGraphError as error:
            raise error.at(f"vary of node {self.default_id!r}") from None
        nodes = tuple(node.pinned(f"{number}.{id}") for id, node in graph.nodes.items())
        return Graph(nodes, graph._wires, graph._free)

    def _inner(self, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        own, inner = super()._inner(changes)
        varied = {name: inner.pop(name) for name in list(inner) if self._is_varied(name)}
        if varied:
            vary = dict(own.get("vary", self.vary))
            for name, value in varied.items():
                vary = self._revaried(vary, name.removeprefix(VARY), value)
            own["vary"] = vary
        return own, inner

    def _revaried(self, vary: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
        """``vary`` with other values at a path, or another value inside of them."""
        around = (name for name in vary if path.startswith(f"{name}__"))
        whole = path if path in vary else next(around, path)
        inside = path.removeprefix(whole).removeprefix("__")
        try:
            return {**vary, whole: with_inner(vary.get(whole), inside, value)}
        except KeyError:
            raise self._unknown(VARY + path, [VARY + name for name in vary]) from None

    def _is_varied(self, name: str) -> bool:
        """Whether this is the address of a value in ``vary``, as tokens have it."""
        return name.startswith(VARY) and "vary" not in self.block
