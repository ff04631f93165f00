"""ModelDescriptor: the network so far, where we stand in it, and how it will be trained.

A descriptor has two parts. The network (calls of layers with the specs of their tensors, loss,
optimizer, callbacks) is all there is to its equality and hash. Beside it travel the tasks that
enter at the ingresses. It holds no weights; ``mlgraph.net.network`` makes a module of it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import attrs
import torch.nn

from mlgraph.core.value import canonical, digest
from mlgraph.data.feed import Feed
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.data.token import IngressToken
from mlgraph.errors import GraphError, MLGraphError, listing
from mlgraph.tensor.spec import TensorSpec


class Source(NamedTuple):
    """A tensor in the network: the call (or ingress) that makes it, and which of its outputs.

    >>> Source("linear")
    Source(id='linear', output=0)
    """

    id: str
    output: int = 0


class Builder(Protocol):
    """What a call needs of a layer."""

    ensemble: ClassVar[bool]

    @property
    def shared_as(self) -> str | None:
        """The name under which calls use one module; None for a module of its own."""

    def parameters(self) -> dict[str, Any]:
        """Every parameter and its value."""

    def make(self, specs: tuple[TensorSpec, ...], task: TaskSpec) -> torch.nn.Module:
        """The module for inputs of these specs."""

    def initialize(self, module: torch.nn.Module, ctx: Any) -> None:
        """Give the finished module its start, if that is not the module's own."""

    def canonical(self) -> bytes:
        """Canonical JSON of class and parameters."""


@attrs.frozen(eq=False)
class Call:
    """One use of a layer.

    Args:
        id: Id of the node.
        layer: The layer.
        sources: Where its arguments come from, in order.
        inputs: Their specs.
        outputs: The specs of what it returns.
        task: What ``build`` was told of the task.

    >>> from mlgraph import nn
    >>> rows = TensorSpec(("batch", 2))
    >>> Call("act", nn("relu"), (Source("x"),), (rows,), (rows,), TaskSpec("unsupervised")).make()
    ReLU()
    """

    id: str
    layer: Builder
    sources: tuple[Source, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    task: TaskSpec

    def make(self) -> torch.nn.Module:
        """The module of this call."""
        return self.layer.make(self.inputs, self.task)

    @property
    def module(self) -> str:
        """Name of the submodule: the id, unless calls share one."""
        return self.layer.shared_as or self.id

    @functools.cached_property
    def digest(self) -> str:
        """Digest of everything but where it stands."""
        content = [self.id, self.sources, self.inputs, self.outputs, self.task]
        return digest(self.layer.canonical(), canonical(content))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Call) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)


@attrs.frozen(eq=False, repr=False)
class ModelDescriptor:
    """A description of a network; no weights.

    Args:
        task: What is to be learned.
        tokens: How tasks become tensors, by ingress id, in order of the network's arguments.
        calls: The layers, by id, each after those it depends on.
        source: The tensor we stand at.
        spec: Its spec.
        inputs: The task that enters at each ingress; not part of the network.
        loss: Description of the loss, or None for the task's default.
        optimizer: Description of the optimizer, or None for the default.
        callbacks: Callbacks, by id.

    >>> from mlgraph.data.token import NumericToken
    >>> task = Task({"x": [1.0, 2.0], "y": [0.5, 1.0]}, target="y")
    >>> ModelDescriptor.entering(NumericToken("numbers", ("x",)), task)
    ModelDescriptor(numbers (batch, 1) float32 -> 0 layers -> numbers (batch, 1) float32; loss
    default, optimizer default)
    """

    task: TaskSpec
    tokens: Mapping[str, IngressToken]
    calls: Mapping[str, Call]
    source: Source
    spec: TensorSpec
    inputs: Feed
    loss: Any = None
    optimizer: Any = None
    callbacks: Mapping[str, Any] = attrs.field(factory=dict)

    left_to_do: ClassVar[str] = 'the network is not trained: end it with po("torch_model")'
    applied_as: ClassVar[type] = Feed  # what stands in its place when a graph is applied
    how_to_feed = 'put po("ingress_num") or po("ingress_categ") between them'
    how_to_make = f"give it a Task, which enters by itself: {Task.how_to_make}"

    @classmethod
    def entering(cls, token: IngressToken, task: Task) -> ModelDescriptor:
        """The network that consists of one input."""
        spec = attrs.evolve(
            TaskSpec.of(task),
            columns={token.id: token.columns},
            cardinalities={token.id: token.cardinalities} if token.cardinalities else {},
        )
        inputs = Feed({token.id: task})
        return cls(spec, {token.id: token}, {}, Source(token.id), token.spec, inputs)

    def extended(self, call: Call) -> tuple[ModelDescriptor, ...]:
        """The network with one more call: a descriptor standing at each of its outputs.

        Raises:
            GraphError: Another call has its id.
        """
        present = self.calls.get(call.id)
        if (present is not None and present != call) or call.id in self.tokens:
            raise GraphError(
                f"Two parts of one network are called {call.id!r}.", mend="rename one of them"
            )
        calls = {**self.calls, call.id: call}
        return tuple(
            attrs.evolve(self, calls=calls, source=Source(call.id, i), spec=spec)
            for i, spec in enumerate(call.outputs)
        )

    def reachable(self, sources: Iterable[Source] = ()) -> tuple[Call, ...]:
        """The calls that these tensors, or the one we stand at, depend on, in order."""
        todo = [source.id for source in sources] or [self.source.id]
        needed = set(todo)
        while todo:
            call = self.calls.get(todo.pop())
            for source in call.sources if call else ():
                if source.id not in needed:
                    needed.add(source.id)
                    todo.append(source.id)
        return tuple(call for id, call in self.calls.items() if id in needed)

    def without_data(self) -> ModelDescriptor:
        """The network alone, as it is kept after training."""
        return attrs.evolve(self, inputs=Feed({}))

    @functools.cached_property
    def hash(self) -> str:
        """Digest of the network: equal for equal networks, in every process."""
        tokens = [self.tokens[id] for id in sorted(self.tokens)]
        rest = [tokens, list(self.source), self.loss, self.optimizer, self.callbacks, self.task]
        return digest(canonical(rest), *(self.calls[id].digest for id in sorted(self.calls)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ModelDescriptor):
            return NotImplemented
        return self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def describe(self) -> str:
        """The spec of the tensor we stand at."""
        return repr(self.spec)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{id} {token.spec}" for id, token in self.tokens.items())
        return (
            f"ModelDescriptor({inputs} -> {len(self.calls)} layers -> "
            f"{self.source.id} {self.spec}; loss {self.loss or 'default'}, "
            f"optimizer {self.optimizer or 'default'})"
        )


@attrs.frozen(eq=False, repr=False)
class Unfinished(ModelDescriptor):
    """A description in which a layer does not fit: it says all but the tensor it stands at.

    >>> from mlgraph.data.token import NumericToken
    >>> task = Task({"x": [1.0]})
    >>> Unfinished.of(ModelDescriptor.entering(NumericToken("numbers", ("x",)), task)).describe()
    'a network that does not fit'
    """

    @classmethod
    def of(cls, descriptor: ModelDescriptor) -> Unfinished:
        """The description before the layer that does not fit."""
        names = [field.name for field in attrs.fields(ModelDescriptor)]
        return cls(**{name: getattr(descriptor, name) for name in names})

    def describe(self) -> str:
        return "a network that does not fit"


def merged(descriptors: tuple[ModelDescriptor, ...]) -> ModelDescriptor:
    """One network with the inputs and layers of all; it stands where the first one stands.

    Raises:
        GraphError: Equal ids stand for different things, or losses, optimizers or callbacks
            differ.
        DataError: The tasks have different rows, targets or weights.

    >>> from mlgraph.data.token import NumericToken
    >>> task = Task({"a": [1.0], "b": [2.0]})
    >>> tokens = (NumericToken("left", ("a",)), NumericToken("right", ("b",)))
    >>> list(merged(tuple(ModelDescriptor.entering(token, task) for token in tokens)).inputs)
    ['left', 'right']
    """
    first = descriptors[0]
    if all(other is first for other in descriptors):
        return first
    tasks = [descriptor.task for descriptor in descriptors]
    return attrs.evolve(
        first,
        task=attrs.evolve(
            tasks[0],
            columns={id: names for task in tasks for id, names in task.columns.items()},
            cardinalities={id: n for task in tasks for id, n in task.cardinalities.items()},
        ),
        tokens=_joined("ingresses", (d.tokens for d in descriptors)),
        calls=_joined("layers", (d.calls for d in descriptors)),
        inputs=Feed.merged(tuple(d.inputs for d in descriptors)),
        loss=_one("loss", [d.loss for d in descriptors]),
        optimizer=_one("optimizer", [d.optimizer for d in descriptors]),
        callbacks=_joined("callbacks", (d.callbacks for d in descriptors)),
    )


def _joined(what: str, mappings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for mapping in mappings:
        for id, value in mapping.items():
            present = joined.setdefault(id, value)
            if present is not value and present != value:
                raise _conflict(f"Two different {what} are called {id!r}.")
    return joined


def _one(what: str, values: list[Any]) -> Any:
    given = [value for value in values if value is not None]
    if any(value != given[0] for value in given[1:]):
        raise _conflict(f"Paths that meet bring different values of {what}: {listing(given)}.")
    return given[0] if given else None


def _conflict(what: str) -> MLGraphError:
    return GraphError(what, mend="set it once, after the paths have met, or rename one")
