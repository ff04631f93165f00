"""The ``nn.Module`` a description becomes: an ``fx.GraphModule`` with generated forward code.

Submodules are named by node id, arguments by ingress id. The result is plain PyTorch: it runs
without mlgraph's engine, under ``torch.compile`` and ``torch.export``.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping

import torch
from torch import fx, nn

from mlgraph.net.descriptor import ModelDescriptor, Source


def network(
    descriptor: ModelDescriptor, device: torch.device | str | None = None
) -> fx.GraphModule:
    """Build the network, its modules in the order of the description.

    Args:
        descriptor: The network.
        device: Where the weights are made; ``"meta"`` allocates none.

    Raises:
        MLGraphError: A layer cannot be built.
    """
    root = nn.Module()
    with torch.device(device or "cpu"):
        for call in descriptor.reachable():
            _add(root, call.id, call.make())
    return fx.GraphModule(root, _wired(descriptor), class_name="Network")


def _add(root: nn.Module, id: str, module: nn.Module) -> None:
    """Add a submodule; dots in an id become nested modules."""
    *path, name = id.split(".")
    parent = root
    for part in path:
        if part not in parent._modules:
            parent.add_module(part, nn.Module())
        parent = parent.get_submodule(part)
    parent.add_module(name, module)


def _wired(descriptor: ModelDescriptor) -> fx.Graph:
    graph = fx.Graph()
    calls = descriptor.reachable()
    used = dict.fromkeys(source for call in calls for source in call.sources)
    used[descriptor.source] = None
    values: dict[Source, fx.Node] = {}
    for id in descriptor.tokens:
        values[Source(id)] = graph.placeholder(id.replace(".", "_"))
    for call in calls:
        made = graph.call_module(call.id, tuple(values[source] for source in call.sources))
        if len(call.outputs) == 1:
            values[Source(call.id)] = made
            continue
        for source in used:
            if source.id == call.id:
                values[source] = graph.call_function(operator.getitem, (made, source.index))
    graph.output(values[descriptor.source])
    return graph


def n_parameters(module: nn.Module) -> int:
    """Number of trainable numbers of a module.

    >>> n_parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def load_tensors(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into the module, by name; every name must be there."""
    module.load_state_dict(dict(tensors), strict=True, assign=False)
