"""What an exception comes from, when a training or a prediction fails while it runs.

Nothing is wrapped and nothing is hooked, so that a network that works costs nothing more: the
traceback of a network that failed says which of its modules were running.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mlgraph.errors import ConfigError, MLGraphError
from mlgraph.train.optimizer import Optimizer


@contextmanager
def naming_layer(network: nn.Module, ids: Collection[str]) -> Iterator[None]:
    """Let exceptions of other libraries pass with a note that names the layer they come from.

    Args:
        network: The module that runs inside.
        ids: Which of its submodules are layers.

    >>> network = nn.Sequential(nn.Linear(2, 1))
    >>> try:
    ...     with naming_layer(network, {"0"}):
    ...         network(torch.zeros(5, 3))
    ... except RuntimeError as error:
    ...     print(error.__notes__[0])
    in layer '0' (Linear); input was (5, 3) float32
    """
    try:
        yield
    except MLGraphError:
        raise
    except Exception as error:
        note = _note(error, {id(network.get_submodule(name)): name for name in ids})
        if note:
            error.add_note(note)
        raise


@contextmanager
def refusing_step(optimizer: torch.optim.Optimizer, described: Optimizer) -> Iterator[None]:
    """Turn what an optimizer of torch says against a network into an error of ours.

    Raises:
        ConfigError: The step failed; torch tells only then that an optimizer needs, for example,
            sparse gradients.

    >>> weight = nn.Parameter(torch.zeros(1))
    >>> weight.grad = torch.zeros(1)
    >>> sparse = torch.optim.SparseAdam([weight])
    >>> with refusing_step(sparse, Optimizer.of("sparse_adam")):
    ...     sparse.step()
    Traceback (most recent call last):
    mlgraph.errors.ConfigError: Optimizer 'sparse_adam' cannot train this network.
      why:   RuntimeError: SparseAdam does not support dense gradients, ...
      mend:  use another one, such as 'adamw'
    """
    try:
        yield
    except MLGraphError:
        raise
    except Exception as error:
        inside = any(self is optimizer for self, _ in _calls(error))
        if not (inside and described.native):
            raise
        raise ConfigError(
            f"Optimizer {described.name!r} cannot train this network.",
            why=f"{type(error).__name__}: {error}",
            mend="use another one, such as 'adamw'",
        ) from error


def _note(error: Exception, names: dict[int, str]) -> str:
    for module, args in _calls(error):
        if isinstance(module, nn.Module) and id(module) in names:
            given = ", ".join(map(_shown, args))
            kind = type(module).__name__
            return f"in layer {names[id(module)]!r} ({kind}); input was {given or 'nothing'}"
    return ""


def _calls(error: Exception) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The objects whose methods were running, outermost first, and their further arguments."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "self" in frame.f_locals:
            yield frame.f_locals["self"], frame.f_locals.get("args", ())


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
