"""Whether tensors are those of the network they are said to belong to; nothing is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mlgraph.errors import MLGraphError, listing
from mlgraph.net.network import network
from mlgraph.store.archive import damaged
from mlgraph.tensor.stream import forked
from mlgraph.train.trained import Trained

# Beyond what belongs to the tensors of a network: bytes, and operations for each of them.
SLACK = 2**26
_OPERATIONS = 100


def check_weights(trained: Trained) -> None:
    """Refuse weights that the described network does not have.

    Raises:
        StateError: A name, shape or dtype differs, or the network cannot be built.

    >>> from mlgraph import Task, nn, po
    >>> task = Task({"x": [0.0, 1.0], "y": [1.0, 3.0]}, target="y")
    >>> graph = nn("linear") >> po("torch_model", epochs=1, progress=False)
    >>> check_weights(graph.fit(task, seed=1).trained())
    """
    found = dict(trained.tensors)
    size = sum(tensor.nbytes for tensor in found.values())
    try:
        with forked(0), Bounded(4 * size + SLACK, _OPERATIONS * (len(found) + 10)):
            built = network(trained.descriptor, "meta").state_dict()
    except MLGraphError as error:
        raise damaged("The network in it cannot be built.", why=str(error)) from error
    _compare(built, found)


def _compare(built: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
    if built.keys() != found.keys():
        odd = sorted(built.keys() ^ found.keys())
        raise damaged(
            "Its tensors are not those of its network.", why=f"in one only: {listing(odd)}"
        )
    for name, tensor in built.items():
        wanted, given = _layout(tensor), _layout(found[name])
        if wanted != given:
            raise damaged(
                "A tensor in it does not fit its network.",
                where=f"tensor {name!r}",
                why=f"expected {wanted}, got {given}",
            )


def _layout(tensor: Any) -> str:
    if not isinstance(tensor, Tensor):
        return type(tensor).__name__
    return f"{tuple(tensor.shape)} {tensor.dtype}"


class Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Stops what makes more tensors than it may, before they are filled.

    Networks are built on the meta device. Some modules cannot be, and a description may ask for
    another device; then real memory is taken, as much as a file says.

    Args:
        size: Bytes that may be taken.
        operations: How many operations there may be.

    >>> with Bounded(100, operations=2):
    ...     torch.ones(1000)
    Traceback (most recent call last):
    ...
    mlgraph.errors.StateError: The file cannot be loaded. It would take much more memory than ...
    """

    def __init__(self, size: int, operations: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._left, self._operations = size, operations

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self._operations -= 1
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and leaf.device != _META:
                self._left -= leaf.nbytes
        if self._left < 0 or self._operations < 0:
            raise damaged("It would take much more memory than its own size.")
        return made


_META = torch.device("meta")
