"""From a graph of layers to a plain module, without data and without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, fx

from mlgraph.core.checked import CheckedGraph
from mlgraph.core.entry import input_at, run_seed
from mlgraph.core.graph import Graph
from mlgraph.core.port import fits
from mlgraph.data.feed import Feed
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.data.token import IngressToken
from mlgraph.errors import ConfigError, GraphError, ShapeError, listing
from mlgraph.net.descriptor import ModelDescriptor, Source, merged
from mlgraph.net.layer import Start
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked


@attrs.frozen
class Argument(IngressToken):
    """A tensor that is passed to a network by the user.

    >>> Argument("input", (), TensorSpec(("batch", 3))).spec
    (batch, 3) float32
    """

    given: TensorSpec

    @property
    def spec(self) -> TensorSpec:
        return self.given

    def tensor(self, task: Task) -> Tensor:
        raise ConfigError(
            f"{self.id!r} is an argument of a network, and not made of a task.",
            mend="train a graph that begins with a task",
        )


def build_network(
    graph: Graph,
    specs: Any,
    *,
    task: Task | TaskSpec | None = None,
    seed: int | None = None,
    device: torch.device | str | None = None,
) -> fx.GraphModule:
    """See ``Graph.network``.

    >>> from mlgraph import nn
    >>> graph = nn("linear", 8) >> nn("relu") >> nn("linear", 2)
    >>> build_network(graph, ("batch", 4), seed=1)(torch.zeros(3, 4)).shape
    torch.Size([3, 2])
    """
    inputs = _entering(graph, specs, task)
    found = list(graph.fit(inputs=inputs, seed=0).outputs.values())
    # In the order of the arguments, whichever path comes first.
    tokens = {id: token for entering in inputs.values() for id, token in entering.tokens.items()}
    whole = attrs.evolve(merged(tuple(found)), tokens=tokens)
    several = [descriptor.source for descriptor in found] if len(found) > 1 else []
    with forked(run_seed(seed)):
        built = network(whole, device, several)
        if torch.device(device or "cpu").type != "meta":
            initialize(built, whole, {}, several)
    return built


def check_network(graph: Graph, specs: Any, *, task: Task | TaskSpec | None = None) -> CheckedGraph:
    """See ``Graph.shapes``.

    >>> from mlgraph import nn
    >>> print(check_network(nn("linear", 8) >> nn("relu"), ("batch", "time", 4)))
    ┌ INPUT
    │ linear  out_features=8  → (batch, time, 8) float32
    │ relu                    → (batch, time, 8) float32
    ▼ OUTPUT
    """
    found = graph.check(inputs=_entering(graph, specs, task))
    return attrs.evolve(found, notes=())  # that it is not trained is no news here


def initialize(
    built: fx.GraphModule,
    descriptor: ModelDescriptor,
    tensors: Mapping[str, Tensor],
    outputs: Sequence[Source] = (),
) -> None:
    """Let the layers give their modules a start: pretrained weights, quantiles of the data.

    Args:
        built: The network.
        descriptor: What it was built from.
        tensors: The training tensors by ingress id; empty without data.
        outputs: The tensors it returns, if there are several.

    >>> from mlgraph import Task, nn
    >>> task = Task({"x": [1.0, 2.0], "y": [0.5, 1.0]}, target="y")
    >>> (descriptor,) = nn("linear").as_graph().fit(task).outputs.values()
    >>> initialize(network(descriptor), descriptor, {})
    """
    columns = {id: token.columns for id, token in descriptor.tokens.items()}
    calls = {call.module: call for call in descriptor.reachable(outputs)}
    for name, call in calls.items():
        sources = tuple(source.id for source in call.sources)
        call.layer.initialize(built.get_submodule(name), Start(tensors, sources, columns))


def _entering(graph: Graph, specs: Any, task: Task | TaskSpec | None) -> dict[str, ModelDescriptor]:
    """A network without layers for each free input of the graph."""
    _refuse_all_but_layers(graph)
    spec = TaskSpec.of(task) if isinstance(task, Task) else task or TaskSpec("unsupervised")
    return {name: _described(token, spec) for name, token in _arguments(graph, specs).items()}


def _described(token: Argument, spec: TaskSpec) -> ModelDescriptor:
    source = Source(token.id)
    return ModelDescriptor(spec, {token.id: token}, {}, source, token.spec, Feed({}))


def _arguments(graph: Graph, specs: Any) -> dict[str, Argument]:
    """The argument for each free input of the graph."""
    if not isinstance(specs, Mapping):
        shared = Argument("input", (), _spec("input", specs))
        return dict.fromkeys(graph.inputs, shared)
    given = {_address(graph, name): _spec(name, value) for name, value in specs.items()}
    missing = [name for name in graph.inputs if name not in given]
    if missing:
        raise ShapeError(
            f"The shape of {listing(missing)} is not given.",
            why=f"the free inputs are {listing(graph.inputs)}",
            mend="give a shape for each of them, or one for all",
        )
    return {name: Argument(_name(graph, name), (), spec) for name, spec in given.items()}


def _address(graph: Graph, name: str) -> str:
    """The free input that a full address, or the id of its node, means."""
    found = [known for known in graph.inputs if name in (known, known.rpartition(".")[0])]
    if len(found) != 1:
        raise GraphError(
            f"{name!r} is not one free input of the graph.",
            why=f"they are {listing(graph.inputs)}",
        )
    return found[0]


def _name(graph: Graph, address: str) -> str:
    """A name for an argument that no node has."""
    if len(graph.inputs) == 1:
        return "input"
    return address.replace(".", "_")


def _spec(name: str, given: Any) -> TensorSpec:
    if isinstance(given, TensorSpec):
        return given
    if isinstance(given, Tensor):
        return TensorSpec(("batch", *given.shape[1:]), given.dtype)
    if isinstance(given, tuple | list):
        return TensorSpec(tuple(given))
    raise ShapeError(
        f"{given!r} is no shape for {name!r}.",
        why="a shape is a tuple of sizes and names, a TensorSpec, or an example",
        mend='write ("batch", 10)',
    )


def _refuse_all_but_layers(graph: Graph) -> None:
    if not graph.inputs:
        raise GraphError("The graph has no free input.", mend="begin it with a layer")
    alien = [name for name in graph.inputs if not fits(ModelDescriptor, input_at(graph, name).fit)]
    alien += [id for id, node in graph.resolved.nodes.items() if node.trains]
    if alien:
        raise GraphError(
            "A network is made of layers only.",
            where=listing(alien),
            mend="take the layers out of the graph: graph.subgraph([...])",
        )
