"""Layer: a node that adds one module to the network being described.

A layer says how to build its module for inputs of given specs, and nothing about shapes: those
come from building the module on the meta device and running it.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ClassVar

import attrs
import torch
from torch import nn
from torch.fx import Graph, GraphModule

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.port import Port
from mlgraph.core.value import canonical, nameless
from mlgraph.data.feed import Feed
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ConfigError, GraphError, MLGraphError
from mlgraph.net.descriptor import Call, ModelDescriptor, Unfinished, merged
from mlgraph.tensor.infer import infer_outputs
from mlgraph.tensor.spec import TensorSpec


def layer_port(name: str, *, variadic: bool = False) -> Port:
    """A port of a layer: a description of a network while fitting, data when applied.

    >>> layer_port("output")
    Port('output', fit=ModelDescriptor, apply=Feed)
    """
    return Port(name, fit=ModelDescriptor, apply=Feed, variadic=variadic)


@attrs.frozen
class Start:
    """What ``initialize`` may look at: the training data, and where the layer stands.

    Args:
        tensors: The training tensors, by ingress id; empty where there are no data.
        sources: Ids of the layers and ingresses that feed the layer, in the order of its inputs.
        columns: Names of the columns that enter, by ingress id.

    >>> start = Start({"numbers": torch.ones(2, 1)}, ("numbers",))
    >>> start.tensors[start.sources[0]].mean()
    tensor(1.)
    """

    tensors: Mapping[str, torch.Tensor]
    sources: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)


class Layer(Node):
    """A node that stands for an ``nn.Module`` built by ``build``.

    The arguments of ``build`` are the input ports: one is called ``input``, several have the
    arguments' names, ``*inputs`` is variadic. Tensors are passed to the module by position. An
    argument ``task`` is no port: it gets the TaskSpec.

    Class attributes:
        ensemble: The output is ``(batch, members, size)``, and every member learns the task.

    >>> class Double(Layer):
    ...     def build(self, x):
    ...         return nn.Linear(x.size(-1), 2 * x.size(-1))
    >>> Double().infer(TensorSpec(("batch", 4)))
    ((batch, 8) float32,)
    """

    prefix: ClassVar[str] = "nn_"
    ensemble: ClassVar[bool] = False
    outputs: ClassVar[tuple[Port, ...]] = (layer_port("output"),)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        _refuse_no_inputs(cls)
        super().__init_subclass__(**kwargs)

    @property
    def shared_as(self) -> str | None:
        """The name under which several nodes use one module; None for a module of its own."""
        return None

    @abstractmethod
    def build(self, *inputs: Any, **_: Any) -> nn.Module:
        """The module for inputs of these specs: pure, and able to run on the meta device."""

    def spec(self, *inputs: TensorSpec, task: TaskSpec) -> tuple[TensorSpec, ...] | None:
        """Output specs where running the module cannot find them; None to run it."""
        return None

    @classmethod
    def examples(cls) -> Iterable[tuple[Layer, tuple[TensorSpec, ...]]]:
        """Layers and inputs it is tested with, where these cannot be guessed."""
        return ()

    def initialize(self, module: nn.Module, ctx: Start) -> None:
        """Give the real module its start (pretrained weights, quantiles of the data, ...)."""

    @classmethod
    def input_ports(cls) -> tuple[Port, ...]:
        """The input ports that the arguments of ``build`` stand for."""
        return _input_ports(cls)

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return self.input_ports(), self.outputs

    def make(self, specs: tuple[TensorSpec, ...], task: TaskSpec) -> nn.Module:
        """The module for inputs of these specs, ``task`` passed on if ``build`` asks for it.

        Raises:
            GraphError: ``build`` did not return a module.
            ConfigError: The module is lazy.
        """
        extra = {"task": task} if _asks_for_task(type(self)) else {}
        module = self.build(*specs, **extra)
        if not isinstance(module, nn.Module):
            raise GraphError(
                f"build() of {type(self).__name__} returned a {type(module).__name__}.",
                why="it has to return a torch.nn.Module",
            )
        refuse_lazy(module)
        return module

    def infer(
        self, *specs: TensorSpec, task: TaskSpec | None = None, name: str | None = None
    ) -> tuple[TensorSpec, ...]:
        """Specs of the outputs for inputs of these specs.

        Raises:
            ShapeError: The layer cannot take such inputs.
        """
        known = task or TaskSpec("unsupervised")
        stated = self.spec(*specs, task=known)
        if stated is not None:
            return stated
        told = known if _asks_for_task(type(self)) else None
        return infer_outputs(
            lambda: self.make(specs, known),
            specs,
            name=name or self.default_id.removeprefix("nn_"),
            outputs=[port.name for port in self.ports()[1]],
            key=self._infer_key(told),
        )

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        arriving = self._arriving(inputs)
        network = merged(arriving)
        specs = tuple(descriptor.spec for descriptor in arriving)
        try:
            found = self.infer(*specs, task=network.task, name=ctx.id)
        except MLGraphError as error:
            fed = ", ".join(f"{d.source.id!r} {d.spec}" for d in arriving)
            error.at(f"node {ctx.id!r}, fed by {fed}")
            raise
        sources = tuple(descriptor.source for descriptor in arriving)
        call = Call(ctx.id, self, sources, specs, found, network.task)
        return network.extended(call), None

    def check(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        arriving = self._arriving(inputs)
        if any(isinstance(descriptor, Unfinished) for descriptor in arriving):
            return tuple(Unfinished.of(merged(arriving)) for _ in self.ports()[1]), None
        return self.fit(inputs, ctx)

    def instead(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, ...]:
        first, *_ = self._arriving(inputs)
        passed = Unfinished.of(first) if isinstance(first, ModelDescriptor) else first
        return tuple(passed for _ in self.ports()[1])

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        arriving = self._arriving(inputs)
        feed = Feed.merged(arriving) if len(arriving) > 1 else arriving[0]
        return tuple(feed for _ in self.ports()[1])

    def _arriving(self, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
        found: list[Any] = []
        for port in self.ports()[0]:
            value = inputs[port.name]
            found.extend(value) if port.variadic else found.append(value)
        if not found:
            raise GraphError(f"{self.call_name()} has nothing to work on.", mend="feed its input")
        return tuple(found)

    def _infer_key(self, told: TaskSpec | None) -> Hashable:
        """What the specs of the outputs depend on; None where that cannot be said."""
        parameters = self.parameters()
        # A lambda is known by its code, and may refer to anything outside it.
        return None if nameless(parameters) else (type(self), canonical(parameters), told)

    @property
    def default_id(self) -> str:
        id = super().default_id
        return f"nn_{id}" if id in _attributes() else id

    @classmethod
    def check_id(cls, id: str) -> None:
        super().check_id(id)
        if id in _attributes():
            raise GraphError(
                f"A layer cannot be called {id!r}.",
                why="torch modules have an attribute of this name",
                mend=f"call it {id + '_1'!r}",
            )


def refuse_lazy(module: nn.Module) -> None:
    """Refuse a module whose weights have no sizes yet.

    Raises:
        ConfigError: The module, or a part of it, is lazy.

    >>> refuse_lazy(nn.Linear(2, 1))
    """
    tensors = itertools.chain(module.parameters(), module.buffers())
    if any(nn.parameter.is_lazy(tensor) for tensor in tensors):
        raise ConfigError(
            f"The sizes of the {type(module).__name__} are not fixed.",
            why="a lazy module gets them from its first batch, after the optimizer is made",
            mend='use a layer that reads them from its input, such as nn("linear"); '
            "in a build() of your own, x.size(-1) is the last size of the input x",
        )


@functools.cache
def _attributes() -> frozenset[str]:
    """What a network without layers has already."""
    return frozenset(dir(GraphModule(nn.Module(), Graph())))


@functools.cache
def _arguments(cls: type[Layer]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(cls.build).parameters.values())[1:]


@functools.cache
def _asks_for_task(cls: type[Layer]) -> bool:
    return any(argument.name == "task" for argument in _arguments(cls))


def _refuse_no_inputs(cls: type[Layer]) -> None:
    """Refuse a ``build`` that takes no input: such a layer could be fed by nothing."""
    if "build" in vars(cls) and all(a.name == "task" for a in _arguments(cls)):
        raise GraphError(
            f"build() of {cls.__name__} takes no input.",
            where=f"class {cls.__name__!r}",
            why="its arguments are the inputs of the layer, each a TensorSpec",
            mend="write def build(self, x)",
        )


@functools.cache
def _input_ports(cls: type[Layer]) -> tuple[Port, ...]:
    kinds = {a.name: a.kind for a in _arguments(cls) if a.name != "task"}
    several = inspect.Parameter.VAR_POSITIONAL
    single = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [name for name, kind in kinds.items() if kind in (*single, several)]
    if len(names) == 1 and kinds[names[0]] is not several:
        return (layer_port("input"),)
    return tuple(layer_port(name, variadic=kinds[name] is several) for name in names)
