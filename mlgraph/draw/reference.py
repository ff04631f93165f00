"""The table of all nodes, in Markdown; what README files show is generated from the code."""

from __future__ import annotations

import itertools
import re
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from mlgraph.catalogue import Offer, catalogue, stated_ports
from mlgraph.core.declare import declared, defaults
from mlgraph.core.node import Node
from mlgraph.core.param import shown
from mlgraph.core.port import Port, type_name

INTRODUCTION = (
    "Written by `python -m mlgraph nodes`. A layer takes and puts out a ModelDescriptor while a",
    "graph is fitted; `...` marks a port that takes any number of edges.",
)
HEAD = (
    "| node | what it does | inputs | outputs | parameters |",
    "|---|---|---|---|---|",
)


def to_markdown() -> str:
    """Every node by module: what it does, its ports with their types, its parameters.

    >>> print(to_markdown().splitlines()[0])
    # Nodes
    """
    offers = sorted(catalogue().offers.values(), key=lambda offer: _place(offer.node))
    lines = ["# Nodes", "", *INTRODUCTION, ""]
    for module, group in itertools.groupby(offers, key=lambda offer: offer.node.__module__):
        lines += [f"## {_title(module)}", "", *HEAD, *map(_row, group), ""]
    return "\n".join(lines)


def _place(node: type[Node]) -> tuple[str, int]:
    """Modules by name, and the nodes of one in the order they are written."""
    names = list(vars(sys.modules[node.__module__]))
    return node.__module__, names.index(node.__name__) if node.__name__ in names else len(names)


def _title(module: str) -> str:
    words = " ".join(itertools.takewhile(bool, (sys.modules[module].__doc__ or "").splitlines()))
    return re.split(r"[:;.,]", words or module)[0]


def _row(offer: Offer) -> str:
    node = offer.node
    inputs, outputs = stated_ports(node)
    label = (node.__doc__ or "").strip().splitlines()[0]
    cells = (
        f"`{node.call_name()}`",
        label.replace("``", "`"),
        ", ".join(map(_port, inputs)),
        ", ".join(map(_port, outputs)),
        ", ".join(_parameters(node)),
    )
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _port(port: Port) -> str:
    kind = port.apply if port.fit is None else port.fit
    return f"{port.name}{'...' if port.variadic else ''}: {type_name(kind)}"


def _parameters(node: type[Node]) -> Iterator[str]:
    known = defaults(node)
    for name, hint, details in declared(node):
        choices = " or ".join(map(repr, details.choices)) if details.choices else ""
        default = f" = {shown(known[name])}" if name in known else ""
        yield f"`{name}: {choices or type_text(hint)}{default}`"


def type_text(hint: Any) -> str:
    """A type as it is written in source.

    >>> type_text(int | None), type_text(tuple[int, ...]), type_text(typing.Literal["a", "b"])
    ('int | None', 'tuple[int, ...]', "'a' or 'b'")
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(type_text, arguments))
    name = "None" if hint is type(None) else getattr(hint, "__name__", str(hint))
    return f"{name}[{_listed(arguments)}]" if arguments else name


def _listed(arguments: Iterable[Any]) -> str:
    return ", ".join(
        "..." if a is ... else f"[{_listed(a)}]" if isinstance(a, list) else type_text(a)
        for a in arguments
    )
