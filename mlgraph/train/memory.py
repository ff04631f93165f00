"""What callbacks remember of a run, as plain data and back.

A memory is None, a number, string or tensor, a list or dict of memories, an object of an attrs
class whose fields are memories, or an object with ``state_dict`` and ``load_state_dict``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np
import torch

from mlgraph.errors import StateError, listing

_SCALARS = (bool, int, float, str)


def to_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of a tensor on the CPU.

    >>> to_cpu(torch.zeros(1, requires_grad=True))
    tensor([0.])
    """
    return tensor.detach().to("cpu", copy=True)


def state_dict(state: Any, copy: Callable[[torch.Tensor], torch.Tensor] = to_cpu) -> Any:
    """A copy of a memory as None, numbers, strings, tensors, lists and dicts of these.

    Args:
        state: The memory.
        copy: What copies its tensors.

    Raises:
        StateError: Something in it is of another kind.

    >>> @attrs.define
    ... class Seen:
    ...     losses: list
    ...     sum: torch.Tensor
    >>> state_dict(Seen([0.5], torch.zeros(())))
    {'losses': [0.5], 'sum': tensor(0.)}
    """
    if state is None or isinstance(state, _SCALARS):
        return state
    if isinstance(state, np.generic):
        return state.item()
    if isinstance(state, torch.Tensor):
        return copy(state)
    if isinstance(state, (list, tuple)):
        return [state_dict(item, copy) for item in state]
    if isinstance(state, Mapping):
        return {_name(key): state_dict(item, copy) for key, item in state.items()}
    if hasattr(state, "state_dict"):
        return state_dict(state.state_dict(), copy)
    if attrs.has(type(state)):
        return {name: state_dict(getattr(state, name), copy) for name in _fields(state)}
    raise StateError(
        f"A {type(state).__name__} cannot be saved.",
        why="a callback may remember numbers, strings, tensors, lists and dicts",
        mend="give it the methods state_dict() and load_state_dict(saved)",
    )


def restored(state: Any, saved: Any) -> Any:
    """What takes the place of a memory: itself with the saved content, where it can be changed.

    Raises:
        StateError: It was saved from another kind of memory.

    >>> restored(0.0, 0.5), restored((1, []), [2, ["a"]])
    (0.5, (2, ['a']))
    """
    if isinstance(state, (*_SCALARS, np.generic)) and isinstance(saved, _SCALARS):
        return saved
    if isinstance(state, tuple) and isinstance(saved, list):
        return tuple(_restored_items(state, saved))
    load_state_dict(state, saved)
    return state


def load_state_dict(state: Any, saved: Any) -> None:
    """Put saved content back into a memory, in place.

    Raises:
        StateError: It was saved from another kind of memory.

    >>> @attrs.define
    ... class Seen:
    ...     losses: list
    >>> seen = Seen([])
    >>> load_state_dict(seen, {"losses": [0.5]})
    >>> seen
    Seen(losses=[0.5])
    """
    if hasattr(state, "load_state_dict"):
        state.load_state_dict(saved)
    elif isinstance(state, torch.Tensor) and isinstance(saved, torch.Tensor):
        state.detach().copy_(saved)
    elif isinstance(state, list) and isinstance(saved, list):
        state[:] = _restored_items(state, saved)
    elif isinstance(state, dict) and isinstance(saved, Mapping):
        kept = {name: _restored(state.get(name), value) for name, value in saved.items()}
        state.clear()
        state.update(kept)
    elif attrs.has(type(state)) and isinstance(saved, Mapping):
        _load_fields(state, saved)
    elif state is not None or saved is not None:
        raise _unlike(state, saved)


def _load_fields(state: Any, saved: Mapping[str, Any]) -> None:
    names = _fields(state)
    if set(names) != set(saved):
        raise StateError(
            f"What was saved is not a {type(state).__name__}.",
            why=f"it has {listing(saved)}, not {listing(names)}",
            mend="resume with the callback that was saved",
        )
    for name in names:
        setattr(state, name, _restored(getattr(state, name), saved[name]))


def _restored(old: Any, saved: Any) -> Any:
    """What takes the place of ``old``: itself, where it can be changed in place."""
    if isinstance(saved, torch.Tensor):
        same = isinstance(old, torch.Tensor) and (old.shape, old.dtype) == (
            saved.shape,
            saved.dtype,
        )
        if same:
            old.detach().copy_(saved)
            return old
        return saved.to(old.device if isinstance(old, torch.Tensor) else "cpu", copy=True)
    if isinstance(old, tuple) and isinstance(saved, list):
        return tuple(_restored_items(old, saved))
    if isinstance(old, (list, dict)) or hasattr(old, "load_state_dict") or _is_object(old):
        if saved is None:
            return None
        load_state_dict(old, saved)
        return old
    return _fresh(saved)


def _restored_items(old: Any, saved: list[Any]) -> list[Any]:
    known = [*old, *[None] * max(0, len(saved) - len(old))]
    return [_restored(item, value) for item, value in zip(known, saved, strict=False)]


def _fresh(saved: Any) -> Any:
    """A copy, so that two runs may go on from one save."""
    if isinstance(saved, torch.Tensor):
        return saved.clone()
    if isinstance(saved, list):
        return [_fresh(item) for item in saved]
    if isinstance(saved, Mapping):
        return {name: _fresh(value) for name, value in saved.items()}
    return saved


def _fields(state: Any) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(type(state)))


def _is_object(value: Any) -> bool:
    return value is not None and attrs.has(type(value))


def _name(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise StateError(
        f"A dict with the key {key!r} cannot be saved.", why="keys of a memory are strings"
    )


def _unlike(state: Any, saved: Any) -> StateError:
    return StateError(
        f"What was saved cannot be put back into {type(state).__name__}.",
        why=f"it is {type(saved).__name__}",
        mend="resume with the callback that was saved",
    )
