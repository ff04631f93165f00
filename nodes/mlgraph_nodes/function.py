"""Functions as layers: what torch can calculate needs no node of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from mlgraph.core.param import param, shown
from mlgraph.core.port import NAME, Port
from mlgraph.errors import ConfigError, UnknownParameterError, did_you_mean, listing
from mlgraph.net.apply import Apply
from mlgraph.net.layer import Layer, layer_port
from mlgraph.tensor.spec import TensorSpec


def port_names(names: tuple[str, ...] | None) -> str | None:
    """What is expected of names of ports, if these cannot be some.

    >>> port_names(("query", "key")), port_names(("key", "key"))
    (None, 'names that differ')
    """
    if names is None or (names and len(set(names)) == len(names)):
        return None if all(map(NAME.fullmatch, names or ())) else "names of letters, digits and _"
    return "names that differ"


class Fn(Layer):
    """A function of one or several tensors.

    Shape:
        inputs: what the function takes.
        outputs: what it returns.

    Args:
        fn: The function; the tensors are its first arguments, by position.
        inputs: Names of the input ports; a single one is always called ``input``.
        outputs: Names of the output ports, one for each tensor that is returned.
        options: Further arguments of the function, which may also be given as parameters.

    Raises:
        ConfigError: The function does not take these arguments.

    >>> import torch
    >>> Fn(fn=torch.sin).infer(TensorSpec(("batch", 4)))
    ((batch, 4) float32,)
    >>> Fn.create([lambda x, n: x[:, :n]], {"n": 2}).infer(TensorSpec(("batch", 4)))
    ((batch, 2) float32,)
    """

    open_field = "options"
    redefines = ("inputs", "outputs")

    fn: Callable[..., Any]
    inputs: tuple[str, ...] = param(  # type: ignore[assignment, misc]
        default=("input",), check=port_names, tags={"structure"}
    )
    outputs: tuple[str, ...] = param(  # type: ignore[assignment, misc]
        default=("output",), check=port_names, tags={"structure"}
    )
    options: Mapping[str, Any] = param(default={})

    def validate(self) -> None:
        kind = self.fn if isinstance(self.fn, type) else type(self.fn)
        if issubclass(kind, nn.Module):
            raise ConfigError(
                f"{self.call_name()} takes a function, not the module {kind.__name__}.",
                where=f"node {self.default_id!r}",
                mend='write nn("module", ...)',
            )
        mend = "name the tensors in inputs=(...), and give the rest as parameters"
        refuse_arguments(self, self.fn, self.options, tensors=len(self.inputs), mend=mend)

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        return tensor_ports(self.inputs, self.outputs)

    def build(self, *inputs: TensorSpec) -> nn.Module:
        return Apply(self.fn, **self.options)


def tensor_ports(
    inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Ports of a layer with these names; single ones are called ``input`` and ``output``.

    >>> [[port.name for port in ports] for ports in tensor_ports(("x", "y"), ("z",))]
    [['x', 'y'], ['output']]
    """
    inputs = inputs if len(inputs) > 1 else ("input",)
    outputs = outputs if len(outputs) > 1 else ("output",)
    return tuple(map(layer_port, inputs)), tuple(map(layer_port, outputs))


def refuse_arguments(
    node: Layer, fn: Callable[..., Any], options: Mapping[str, Any], *, tensors: int, mend: str
) -> None:
    """Refuse options that a function does not take, and required ones that are missing.

    Args:
        node: Whose parameters they are.
        fn: The function, or a class; one that says nothing of its arguments is taken on trust.
        options: Its arguments by name.
        tensors: How many arguments it gets by position.
        mend: What to do where it cannot be called so.

    Raises:
        UnknownParameterError: An option is no argument of the function.
        ConfigError: It cannot be called like that.
    """
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return
    arguments = list(signature.parameters.values())
    if not any(argument.kind is inspect.Parameter.VAR_KEYWORD for argument in arguments):
        _refuse_unknown(node, fn, options, [a.name for a in arguments if _is_named(a)][tensors:])
    try:
        signature.bind(*[None] * tensors, **options)
    except TypeError as error:
        raise ConfigError(
            f"{node.call_name()} cannot call {shown(fn)}.",
            where=f"node {node.default_id!r}",
            why=f"it is given {tensors} tensor{'s' * (tensors != 1)}; {error}"
            if tensors
            else str(error),
            mend=mend,
        ) from None


def _refuse_unknown(
    node: Layer, fn: Callable[..., Any], options: Mapping[str, Any], known: list[str]
) -> None:
    for name in options:
        if name not in known:
            raise UnknownParameterError(
                f"{shown(fn)} has no parameter {name!r}.",
                where=f"node {node.default_id!r}",
                why=f"its parameters are {listing(known, 30)}" if known else "it has none",
                mend=did_you_mean(name, known),
            )


def _is_named(argument: inspect.Parameter) -> bool:
    return argument.kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
