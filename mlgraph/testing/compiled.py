"""Whether a layer survives ``torch.compile`` and ``torch.export``.

Not a part of ``check_layer``: it takes a second for each layer, and torch cannot do it with every
operation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx, nn

from mlgraph.core.base import Context
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import MLGraphError
from mlgraph.net.layer import Layer
from mlgraph.net.network import network
from mlgraph.tensor.probe import flat
from mlgraph.tensor.stream import forked
from mlgraph.testing.layer import arriving
from mlgraph.testing.rows import CLASSES, Specs, Tensors, row_inputs, same, values, with_rows


def check_compiled(
    layer: Layer,
    specs: Specs,
    task: TaskSpec = CLASSES,
    seed: int = 0,
    *,
    backend: str = "eager",
) -> None:
    """Compiled without a break, a network of the layer gives the same, for another batch too.

    Args:
        layer: The layer.
        specs: Specs of its inputs, all sizes known.
        task: What ``build`` is told of the task.
        seed: Of values and weights.
        backend: Of ``torch.compile``; ``"eager"`` captures the network without generating code.

    Raises:
        AssertionError: It cannot be compiled, or gives something else.

    >>> from mlgraph.tensor.spec import TensorSpec
    >>> from mlgraph_nodes.linear import Linear
    >>> check_compiled(Linear(out_features=2), (TensorSpec((5, 3)),))
    """

    def compiled(net: nn.Module, tensors: Tensors) -> Callable[..., object]:
        made: Callable[..., object] = torch.compile(net, fullgraph=True, backend=backend)
        return made

    _compare("compiled", compiled, layer, specs, task, seed)


def check_exported(layer: Layer, specs: Specs, task: TaskSpec = CLASSES, seed: int = 0) -> None:
    """Exported for any number of rows, a network of the layer gives the same.

    Raises:
        AssertionError: It cannot be exported, or gives something else.

    >>> from mlgraph.tensor.spec import TensorSpec
    >>> from mlgraph_nodes.linear import Linear
    >>> check_exported(Linear(out_features=2), (TensorSpec((5, 3)),))
    """
    from torch.export import Dim, export

    places = row_inputs(specs)
    batch = Dim("batch")

    def exported(net: nn.Module, tensors: Tensors) -> Callable[..., object]:
        dims = tuple({0: batch} if place in places else None for place in range(len(specs)))
        return export(net, tensors, dynamic_shapes=dims).module()

    _compare("exported", exported, layer, specs, task, seed)


Way = Callable[[nn.Module, Tensors], Callable[..., object]]


def _compare(done: str, way: Way, layer: Layer, specs: Specs, task: TaskSpec, seed: int) -> None:
    net = _network(layer, specs, task, seed)
    batches = _batches(layer, specs, task, seed)
    wanted = [_run(net, tensors, seed) for tensors in batches]
    torch.compiler.reset()
    try:
        with torch.no_grad():
            other = way(net, batches[0])
        got = [_run(other, tensors, seed) for tensors in batches]
    except Exception as error:
        raise AssertionError(f"{layer!r} for {specs} cannot be {done}: {error}") from error
    finally:
        torch.compiler.reset()
    for one, two in zip(wanted, got, strict=True):
        alike = len(one) == len(two) and all(map(same, one, two))
        assert alike, f"{layer!r} for {specs} gives something else when it is {done}"


def _network(layer: Layer, specs: Specs, task: TaskSpec, seed: int) -> fx.GraphModule:
    """The layer alone in a network that returns all that it returns."""
    ctx = Context(id="layer", phase="fit", seed=seed)
    made, _ = layer.fit(arriving(layer, specs, task), ctx)
    with forked(seed):
        return network(made[0], outputs=[one.source for one in made]).eval()


def _batches(layer: Layer, specs: Specs, task: TaskSpec, seed: int) -> list[Tensors]:
    """Values of the specs, and of another number of rows, unless the layer refuses that."""
    places = row_inputs(specs)
    if not places:
        return [values(specs, seed)]
    more = with_rows(specs, specs[places[0]].size(0) + 3)
    try:
        layer.infer(*more, task=task)
    except MLGraphError:
        return [values(specs, seed)]
    return [values(specs, seed), values(more, seed + 1000)]


def _run(net: Callable[..., object], tensors: Tensors, seed: int) -> Tensors:
    with torch.no_grad(), forked(seed):
        found = net(*tensors)
    return flat(found) if isinstance(found, torch.Tensor) else tuple(found)  # type: ignore[arg-type]


__all__ = ["check_compiled", "check_exported"]
