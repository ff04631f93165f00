"""``@layer``: a function of tensors, or a class of modules, as a node.

The decorated function or class stays what it is. Beside it a class of nodes is made, which
``nn(key)`` finds like any other; it is the attribute ``node`` of what was decorated.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from torch import nn

from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import GraphError
from mlgraph.net.apply import Apply
from mlgraph.net.layer import Layer, layer_port
from mlgraph.tensor.spec import TensorSpec

Made = TypeVar("Made", bound=Callable[..., Any])

_TENSOR = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = inspect.Parameter.VAR_POSITIONAL
_OPEN = (_VARIADIC, inspect.Parameter.VAR_KEYWORD)


@overload
def layer(made: Made, /) -> Made: ...
@overload
def layer(*, key: str = ..., outputs: Sequence[str] = ...) -> Callable[[Made], Made]: ...
def layer(
    made: Any = None, /, *, key: str | None = None, outputs: Sequence[str] = ("output",)
) -> Any:
    """Make a layer of a function of tensors, or of a class of modules.

    Of a function, the arguments without a default are tensors, and input ports; all others are
    parameters. Of a class, those of ``forward`` without a default are input ports, and those of
    ``__init__`` are parameters, but for arguments annotated ``TensorSpec``, which get the specs of
    the inputs in order, and one annotated ``TaskSpec``, which gets what is known of the task. The
    types of parameters are their annotations.

    Args:
        made: The function or class.
        key: Key of the node without ``nn_``; by default the name in snake case.
        outputs: Names of the tensors that are returned, if there are several.

    Raises:
        GraphError: It takes no tensor, or is neither function nor class of modules.

    >>> import torch
    >>> @layer
    ... def scaled_tanh(x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
    ...     return scale * torch.tanh(x)
    >>> scaled_tanh.node(scale=2.0).infer(TensorSpec(("batch", 3)))
    ((batch, 3) float32,)
    >>> @layer
    ... class Widened(nn.Linear):
    ...     def __init__(self, x: TensorSpec, factor: int = 2) -> None:
    ...         super().__init__(x.size(-1), factor * x.size(-1))
    >>> Widened.node(factor=3).infer(TensorSpec(("batch", 4)))
    ((batch, 12) float32,)
    """
    if made is None:
        return lambda later: layer_of(later, key=key, outputs=outputs)
    return layer_of(made, key=key, outputs=outputs)


def layer_of(made: Any, *, key: str | None, outputs: Sequence[str]) -> Any:
    """``made`` with a class of nodes as its attribute ``node``."""
    is_class = isinstance(made, type) and issubclass(made, nn.Module)
    if not callable(made) or (isinstance(made, type) and not is_class):
        raise GraphError(
            f"{made!r} cannot become a layer.",
            why="a layer is a function of tensors, or a class of modules",
        )
    tensors, options = _of_class(made) if is_class else _of_function(made)
    if not tensors:
        raise GraphError(
            f"{made.__qualname__} takes no tensor.",
            why="its tensors are the arguments without a default",
            mend="give a default to every other argument",
        )
    namespace = {
        "__doc__": made.__doc__ or f"``{made.__qualname__}`` as a layer.",
        "__module__": made.__module__,
        "__qualname__": f"{made.__qualname__}.node",
        "__annotations__": {option.name: hint for option, hint in options},
        "made": staticmethod(made),
        "build": _build_class if is_class else _build_function,
        "outputs": tuple(map(layer_port, outputs)),
        "input_ports": classmethod(lambda cls: tensors),
        **{option.name: _field(option) for option, _ in options},
        **({"key": f"nn_{key}"} if key else {}),
    }
    name = "".join(part[:1].upper() + part[1:] for part in made.__name__.split("_"))
    made.node = types.new_class(name, (Layer,), exec_body=lambda body: body.update(namespace))
    return made


def _of_function(made: Any) -> tuple[tuple[Port, ...], list[tuple[inspect.Parameter, Any]]]:
    arguments = list(inspect.signature(made).parameters.values())
    tensors = [a for a in arguments if _is_tensor(a)]
    options = [a for a in arguments if a not in tensors and a.kind not in _OPEN]
    return _ports(tensors), _typed(options, made)


def _of_class(made: Any) -> tuple[tuple[Port, ...], list[tuple[inspect.Parameter, Any]]]:
    forward = list(inspect.signature(made.forward).parameters.values())[1:]
    arguments = list(inspect.signature(made.__init__).parameters.values())[1:]
    typed = _typed([a for a in arguments if a.kind not in _OPEN], made.__init__)
    options = [(a, hint) for a, hint in typed if hint not in (TensorSpec, TaskSpec)]
    return _ports([a for a in forward if _is_tensor(a)]), options


def _is_tensor(argument: inspect.Parameter) -> bool:
    required = argument.kind in _TENSOR and argument.default is argument.empty
    return required or argument.kind is _VARIADIC


def _ports(tensors: Sequence[inspect.Parameter]) -> tuple[Port, ...]:
    if len(tensors) == 1 and tensors[0].kind is not _VARIADIC:
        return (layer_port("input"),)
    return tuple(layer_port(a.name, variadic=a.kind is _VARIADIC) for a in tensors)


def _typed(
    arguments: Sequence[inspect.Parameter], of: Callable[..., Any]
) -> list[tuple[inspect.Parameter, Any]]:
    try:
        hints = typing.get_type_hints(of)
    except (NameError, TypeError):  # annotations that name classes of an enclosing function
        hints = {}
    return [(argument, hints.get(argument.name, Any)) for argument in arguments]


def _field(option: inspect.Parameter) -> Any:
    return param() if option.default is option.empty else param(default=option.default)


def _build_function(self: Any, *inputs: TensorSpec) -> nn.Module:
    return Apply(type(self).made, **self.parameters())


def _build_class(self: Any, *inputs: TensorSpec, task: TaskSpec) -> nn.Module:
    made = type(self).made
    arguments = list(inspect.signature(made.__init__).parameters.values())[1:]
    known = {a.name: hint for a, hint in _typed(arguments, made.__init__)}
    specs = iter(inputs)
    told: dict[str, Any] = {
        name: task if hint is TaskSpec else next(specs)
        for name, hint in known.items()
        if hint in (TensorSpec, TaskSpec)
    }
    module: nn.Module = made(**told, **self.parameters())
    return module
