"""Calling a node: what goes in and what comes out is checked, and errors learn their address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlgraph.core.base import Context, NodeBase
from mlgraph.core.port import accepts, article
from mlgraph.errors import GraphError, MLGraphError, listing


def call(
    node: NodeBase,
    method: str,
    id: str,
    inputs: Mapping[str, Any],
    ctx: Context,
    state: Any = None,
    **more: Any,
) -> Any:
    """Call a node; every call of what a node does goes through here.

    Our own errors get the node's address; foreign ones keep their type and gain a note.
    """
    try:
        if method in ("fit", "check"):
            return getattr(node, method)(inputs, ctx)
        return getattr(node, method)(state, inputs, ctx, **more)
    except MLGraphError as error:
        if f"node {id!r}" not in error.where:
            error.at(f"node {id!r}")
        raise
    except Exception as error:
        shown = ", ".join(f"{name}: {describe(value)}" for name, value in inputs.items())
        error.add_note(f"in node {id!r} ({node.call_name()}), {ctx.phase}; input was {shown}")
        raise


def describe(value: Any) -> str:
    """A value in a few words, for messages and drawings.

    >>> describe(3), describe((1, 2))
    ('int 3', '(int 1, int 2)')
    """
    if value is None:
        return "nothing"
    told = value.describe() if hasattr(value, "describe") else None
    if isinstance(told, str):  # a pandas data frame describes itself by another one
        return told
    if isinstance(value, tuple):
        return f"({', '.join(describe(item) for item in value)})"
    text = repr(value)
    kind = type(value).__name__
    return f"{kind} {text}" if len(text) <= 30 and "\n" not in text else kind


def check_inputs(node: NodeBase, values: Mapping[str, Any], phase: str) -> None:
    """Refuse values that are not of the type of the port they enter.

    Raises:
        GraphError: Names the port, its type and the value.
    """
    for port in node.ports()[0]:
        found = values.get(port.name)
        for value in found if port.variadic and found is not None else (found,):
            if port.name in values and not accepts(port.type_in(phase), value):
                raise GraphError(
                    f"{node.id}.{port.name} takes {article(port.type_in(phase))}, "
                    f"and got {describe(value)}.",
                    where=f"node {node.id!r}, input {port.name!r}",
                )


def learned(id: str, node: NodeBase, result: Any) -> tuple[Any, Any]:
    """What ``fit`` returned, if that is two things.

    Raises:
        GraphError: It is something else.
    """
    if isinstance(result, tuple) and len(result) == 2:
        return result
    raise GraphError(
        f"{node.call_name()} returned {describe(result)} from fit.",
        where=f"node {id!r}",
        why="fit returns two things: the outputs, and what was learned",
        mend="write: return outputs, state",
    )


def named_outputs(id: str, node: NodeBase, outputs: Any, phase: str) -> dict[str, Any]:
    """What a node put out, by port.

    Raises:
        GraphError: Number, names or types are not those of its ports.
    """
    ports = node.ports()[1]
    names = [port.name for port in ports]
    if isinstance(outputs, Mapping) and not isinstance(outputs, tuple):
        if set(outputs) != set(names):
            raise _bad_outputs(id, node, f"outputs called {listing(outputs)}", names)
        outputs = tuple(outputs[name] for name in names)
    if not isinstance(outputs, tuple) or len(outputs) != len(names):
        count = len(outputs) if isinstance(outputs, tuple) else f"no tuple but {describe(outputs)}"
        raise _bad_outputs(id, node, f"{count} for its outputs", names)
    for port, value in zip(ports, outputs, strict=True):
        if not accepts(port.type_in(phase), value):
            wanted = f"{article(port.type_in(phase))} at {port.name!r}"
            raise _bad_outputs(id, node, describe(value), [wanted])
    return dict(zip(names, outputs, strict=True))


def _bad_outputs(id: str, node: NodeBase, got: str, names: list[str]) -> GraphError:
    return GraphError(
        f"{node.call_name()} returned {got}.",
        where=f"node {id!r}",
        why=f"expected {listing(names)}, in this order or by name",
        mend="this is a mistake in the node's fit or apply",
    )
