"""The ``nn.Module`` a description becomes: an ``fx.GraphModule`` with generated forward code.

Submodules are named by node id, or by the name under which several nodes share one; arguments by
ingress id. The result is plain PyTorch: it runs without mlgraph's engine, under ``torch.compile``
and ``torch.export``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import fx, nn

from mlgraph.errors import GraphError, MLGraphError
from mlgraph.net.descriptor import Call, ModelDescriptor, Source
from mlgraph.tensor.stream import forked


def network(
    descriptor: ModelDescriptor,
    device: torch.device | str | None = None,
    outputs: Sequence[Source] = (),
) -> fx.GraphModule:
    """Build the network, its modules in the order of the description.

    Args:
        descriptor: The network.
        device: Where the weights are made; ``"meta"`` allocates none, but for layers that cannot
            be built there.
        outputs: The tensors it returns, as a tuple; by default the one we stand at.

    Raises:
        MLGraphError: A layer cannot be built, or layers that share weights differ in them.

    >>> from mlgraph.data.task import Task
    >>> from mlgraph.data.token import NumericToken
    >>> token = NumericToken("numbers", ("a", "b"))
    >>> network(ModelDescriptor.entering(token, Task({"a": [1.0], "b": [2.0]})))(torch.ones(1, 2))
    tensor([[1., 1.]])
    """
    root, place = nn.Module(), torch.device(device or "cpu")
    makers: dict[str, Call] = {}
    for call in descriptor.reachable(outputs):
        first = makers.setdefault(call.module, call)
        if first is call:
            _add(root, call, _made(call, place))
        else:
            _refuse_other_weights(first, call)
    return fx.GraphModule(root, _wired(descriptor, outputs), class_name="Network")


def _made(call: Call, device: torch.device) -> nn.Module:
    try:
        with device:
            return call.make()
    except MLGraphError:
        raise
    except Exception:
        if device.type != "meta":
            raise
    with forked():  # some modules look at values while they are made
        return call.make()


def _add(root: nn.Module, call: Call, module: nn.Module) -> None:
    """Add a submodule; dots in its name become nested modules."""
    *path, name = call.module.split(".")
    parent = root
    for part in path:
        if part not in parent._modules:
            parent.add_module(part, nn.Module())
        parent = parent.get_submodule(part)
        if type(parent) is not nn.Module:
            raise _taken(call, part)
    if name in parent._modules:
        raise _taken(call, name)
    parent.add_module(name, module)


def _taken(call: Call, part: str) -> GraphError:
    return GraphError(
        f"Two parts of one network are called {part!r}.",
        where=f"node {call.id!r}",
        why=f"its weights are called {call.module!r}",
        mend="rename the node, or the weights that are shared",
    )


def _refuse_other_weights(first: Call, other: Call) -> None:
    """Refuse to use one module for two calls that would make different ones."""
    sizes = [
        {name: tuple(tensor.shape) for name, tensor in _made(call, _META).state_dict().items()}
        for call in (first, other)
    ]
    if first.layer.parameters() != other.layer.parameters() or sizes[0] != sizes[1]:
        raise GraphError(
            f"{first.id!r} and {other.id!r} cannot share their weights.",
            where=f"weights {first.module!r}",
            why=f"they are {_kind(first, sizes[0])} and {_kind(other, sizes[1])}",
            mend="let them be equal and feed them inputs of equal sizes, or give the weights "
            "another name, which no node has",
        )


def _kind(call: Call, sizes: Mapping[str, Sequence[int]]) -> str:
    weights = ", ".join(f"{name} {tuple(size)}" for name, size in sizes.items())
    return f"{call.layer!r} with {weights or 'no weights'}"


def _wired(descriptor: ModelDescriptor, outputs: Sequence[Source]) -> fx.Graph:
    """The calls as code; a layer of several outputs is unpacked as far as they are used."""
    graph = fx.Graph()
    values = {
        Source(id): graph.placeholder(name) for id, name in _arguments(descriptor.tokens).items()
    }
    several: dict[str, fx.Node] = {}

    def value(source: Source) -> fx.Node:
        if source not in values:
            item = (several[source.id], source.output)
            values[source] = graph.call_function(nth, item)
        return values[source]

    for call in descriptor.reachable(outputs):
        made = graph.call_module(call.module, tuple(map(value, call.sources)))
        if len(call.outputs) == 1:
            values[Source(call.id)] = made
        several[call.id] = made
    graph.output(tuple(map(value, outputs)) if outputs else value(descriptor.source))
    return graph


def direct(network: nn.Module) -> Callable[..., torch.Tensor]:
    """The network as a function that has looked up its layers once, not at each call.

    It runs the same generated code on the same modules; a module replaced later is not seen. A
    network with hooks of its own, or of another kind, is returned as it is.

    >>> from mlgraph.data.task import Task
    >>> from mlgraph.data.token import NumericToken
    >>> token = NumericToken("numbers", ("a", "b"))
    >>> entering = ModelDescriptor.entering(token, Task({"a": [1.0], "b": [2.0]}))
    >>> direct(network(entering))(torch.ones(1, 2))
    tensor([[1., 1.]])
    """
    if not isinstance(network, fx.GraphModule) or _has_hooks(network):
        return network
    return partial(type(network).forward, _children(network))


def unhooked(module: nn.Module) -> Callable[..., torch.Tensor]:
    """What a module computes, without the search for hooks; the module itself if it has some.

    >>> unhooked(nn.MSELoss())(torch.ones(2), torch.zeros(2))
    tensor(1.)
    """
    return module if _has_hooks(module) else module.forward


def _has_hooks(module: nn.Module) -> bool:
    kinds = ("forward_pre", "forward", "backward_pre", "backward")
    return any(getattr(module, f"_{kind}_hooks") for kind in kinds)


def _children(module: nn.Module) -> SimpleNamespace:
    """The submodules as plain attributes; what only groups others becomes a namespace too."""
    children = module._modules.items()
    found = {
        name: _children(child) if type(child) is nn.Module else child for name, child in children
    }
    return SimpleNamespace(**found)


def nth(made: Any, place: int) -> torch.Tensor:
    """One of the tensors that a module returned, in a tuple, list or dict.

    >>> nth({"a": 1, "b": 2}, 1)
    2
    """
    tensor: torch.Tensor = (list(made.values()) if isinstance(made, dict) else made)[place]
    return tensor


def _arguments(ids: Iterable[str]) -> dict[str, str]:
    """A name for each input: its id, as far as Python takes it."""
    names: dict[str, str] = {}
    for id in ids:
        name = id.replace(".", "_")
        while name == "self" or name in names.values():
            name += "_"
        names[id] = name
    return names


_META = torch.device("meta")


def n_parameters(module: nn.Module) -> int:
    """Number of trainable numbers of a module.

    >>> n_parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def load_tensors(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into the module, by name; every name must be there.

    >>> module = nn.Linear(1, 1, bias=False)
    >>> load_tensors(module, {"weight": torch.tensor([[2.0]])})
    >>> module.weight.item()
    2.0
    """
    module.load_state_dict(dict(tensors), strict=True, assign=False)


def copied(module: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the weights and buffers of a module, by name.

    >>> list(copied(nn.Linear(1, 1)))
    ['weight', 'bias']
    """
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
