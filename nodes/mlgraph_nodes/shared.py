"""Several nodes that use the same weights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from mlgraph.core.graph import Graph
from mlgraph.core.node import Node
from mlgraph.core.param import Mismatch, param
from mlgraph.core.port import Port
from mlgraph.data.taskspec import TaskSpec
from mlgraph.net.layer import Layer, Start
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.macro import Macro, graph_of

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")


def _name(name: str) -> str | None:
    return None if _NAME.fullmatch(name) else "a name of letters, digits and _"


def _layer(value: Any) -> Any:
    if isinstance(value, Layer) and not isinstance(value, Tied):
        return value
    raise Mismatch("a layer")


class Tied(Layer):
    """A layer that uses the module of all layers tied under one name.

    Shape:
        inputs, outputs: those of the layer.

    Args:
        layer: The layer; equal wherever the name is.
        name: Name of the module, and of its weights.

    Raises:
        GraphError: Layers under one name, or the sizes of their weights, differ.

    >>> from mlgraph_nodes.linear import Linear
    >>> Tied(layer=Linear(out_features=2), name="tower").infer(TensorSpec(("batch", 4)))
    ((batch, 2) float32,)
    """

    layer: Any = param(convert=_layer, tags={"structure"})
    name: str = param(check=_name)

    @property
    def shared_as(self) -> str:
        return self.name

    @property
    def ensemble(self) -> bool:  # type: ignore[override]
        return bool(self.layer.ensemble)

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        ports: tuple[tuple[Port, ...], tuple[Port, ...]] = self.layer.ports()
        return ports

    def build(self, *inputs: TensorSpec, task: TaskSpec) -> nn.Module:
        module: nn.Module = self.layer.make(inputs, task)
        return module

    def spec(self, *inputs: TensorSpec, task: TaskSpec) -> tuple[TensorSpec, ...] | None:
        stated: tuple[TensorSpec, ...] | None = self.layer.spec(*inputs, task=task)
        return stated

    def initialize(self, module: nn.Module, ctx: Start) -> None:
        self.layer.initialize(module, ctx)

    @classmethod
    def examples(cls) -> Iterable[tuple[Layer, tuple[TensorSpec, ...]]]:
        from mlgraph_nodes.linear import Linear

        yield cls(layer=Linear(out_features=2), name="tower.first"), (TensorSpec((5, 3)),)


class Shared(Macro):
    """A graph of layers whose weights are those of all graphs shared under one name.

    Write the tower once, and use it twice::

        tower = nn("shared", nn("linear", 16) >> nn("relu"), name="tower")
        {"left": left >> tower, "right": right >> tower}

    The weights are called ``tower.linear.weight``.

    Shape:
        inputs, outputs: those of the graph.

    Args:
        graph: The graph, or a single node.
        name: Name of the weights; what is called alike is the same.

    Raises:
        GraphError: Graphs of one name, or the sizes of their weights, differ.

    References: Bromley et al. (1993), "Signature verification using a Siamese time delay neural
    network", NeurIPS.

    >>> from mlgraph_nodes.linear import Linear
    >>> tower = Shared(graph=Linear(out_features=4, id="linear"), name="tower")
    >>> tower.expand()["linear"].shared_as
    'tower.linear'
    """

    inner = "graph"

    graph: Graph = param(convert=graph_of, tags={"structure"})
    name: str = param(check=_name)

    def unfolded(self) -> Graph:
        plain = self.graph.resolved
        nodes = tuple(self._tied(id, node) for id, node in plain.nodes.items())
        return Graph(nodes, plain._wires, plain._free)

    def _tied(self, id: str, node: Any) -> Node:
        if not isinstance(node, Layer):
            return node  # type: ignore[no-any-return]
        if isinstance(node, Tied):
            return node
        layer = node.renamed(None)
        return Tied(layer=layer, name=f"{self.name}.{id}").pinned(id)
