"""Ports: the named, typed sockets of a node, and which two of them may be joined.

A port has a type per phase. While fitting, a layer passes a description of a network on; when
applied to new data it passes data. A type is a Python class, a union, ``Any``, or ``None`` for
"no value".
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from typing import Any

import attrs

from mlgraph.errors import GraphError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_UNSET = object()


@attrs.frozen(init=False)
class Port:
    """A named, typed socket.

    Args:
        name: Name of the port, unique among the inputs (or outputs) of its node.
        type: Type of the value in both phases.
        fit: Type while fitting, if it differs.
        apply: Type when applied to new data, if it differs.
        variadic: Takes any number of edges; the node sees a tuple.
        optional: May go without a value where the path to it is not taken.
        level: Nesting of values; only 0 is supported.

    Raises:
        GraphError: The name is not an identifier, the type not one, or the level not 0.

    >>> Port("output", fit=None, apply=int)
    Port('output', fit=None, apply=int)
    """

    name: str
    fit: Any
    apply: Any
    variadic: bool
    optional: bool
    level: int

    def __init__(
        self,
        name: str,
        type: Any = Any,
        *,
        fit: Any = _UNSET,
        apply: Any = _UNSET,
        variadic: bool = False,
        optional: bool = False,
        level: int = 0,
    ) -> None:
        if not NAME.fullmatch(name):
            raise GraphError(f"A port cannot be called {name!r}.", mend="use letters, digits and _")
        if level != 0:
            raise GraphError(f"Port {name!r} asks for level {level}.", why="only 0 is supported")
        kinds = (type if fit is _UNSET else fit, type if apply is _UNSET else apply)
        for kind in kinds:
            _refuse_kind(name, kind)
        self.__attrs_init__(name, *kinds, variadic, optional, level)

    def type_in(self, phase: str) -> Any:
        """The type in ``"fit"`` or ``"apply"``."""
        return self.fit if phase == "fit" else self.apply

    def __repr__(self) -> str:
        same = self.fit == self.apply
        kinds = type_name(self.fit) if same else ""
        if not same:
            kinds = f"fit={type_name(self.fit)}, apply={type_name(self.apply)}"
        return f"Port({self.name!r}, {kinds}{', variadic=True' if self.variadic else ''})"


def type_name(kind: Any) -> str:
    """A type as users write it.

    >>> type_name(int | None), type_name(Any)
    ('int | None', 'Any')
    """
    if kind is None or kind is type(None):
        return "None"
    if _is_union(kind):
        return " | ".join(type_name(part) for part in typing.get_args(kind))
    return getattr(kind, "__name__", str(kind))


def article(kind: Any) -> str:
    """A type with its article.

    >>> article(int), article(str), article(None)
    ('an int', 'a str', 'nothing')
    """
    name = type_name(kind)
    if name == "None":
        return "nothing"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def accepts(kind: Any, value: Any) -> bool:
    """Whether a value may stand at a port of this type.

    >>> accepts(int | None, None), accepts(int, "a")
    (True, False)
    """
    if kind is Any or kind is None:
        return True
    if _is_union(kind):
        return any(accepts(part, value) for part in typing.get_args(kind))
    if kind is type(None):
        return value is None
    return isinstance(value, kind)


def fits(source: Any, target: Any) -> bool:
    """Whether an output of type ``source`` may feed an input of type ``target``.

    A subclass fits its base, and a base may turn out to be the subclass at run time; unrelated
    classes never fit. ``None`` as target takes anything and drops it.

    >>> fits(bool, int), fits(int, str), fits(None, int), fits(int, None)
    (True, False, False, True)
    """
    if Any in (*_parts(source), *_parts(target)) or target is None:
        return True
    if source is None:
        return type(None) in _parts(target)
    sources, targets = _parts(source), _parts(target)
    return any(
        issubclass(a, b) or issubclass(b, a)
        for a in sources
        for b in targets
        if isinstance(a, type) and isinstance(b, type)
    )


def clash(source: Port, target: Port) -> str | None:
    """Why two ports cannot be joined, or None; conversions count as joinable.

    >>> clash(Port("output", int), Port("input", str))
    'an int is not a str'
    """
    for phase, when in (("fit", "while fitting, "), ("apply", "when predicting, ")):
        given, wanted = source.type_in(phase), target.type_in(phase)
        if not fits(given, wanted):
            if conversion(source, target) is not None:
                return None
            if given is None:
                return _NOTHING
            same = source.fit == source.apply and target.fit == target.apply
            return f"{'' if same else when}{article(given)} is not {article(wanted)}"
    return None


_NOTHING = "a trainer gives nothing while fitting; only predictions come out of it"

_CONVERSIONS: dict[tuple[Any, Any], Callable[[], Any]] = {}


def register_conversion(source: type, target: type, factory: Callable[[], Any]) -> None:
    """Declare that a node made by ``factory`` turns ``source`` into ``target`` while fitting.

    The node is put between the two when a graph is resolved; its id is derived from its key.
    """
    _CONVERSIONS[source, target] = factory


def conversion(source: Port, target: Port) -> Callable[[], Any] | None:
    """The factory of the node that makes an output fit an input, if one is registered."""
    return conversion_between(source.fit, target.fit)


def conversion_between(source: Any, target: Any) -> Callable[[], Any] | None:
    """The same for two types of values while fitting."""
    if not (isinstance(source, type) and isinstance(target, type)):
        return None
    for (given, wanted), factory in _CONVERSIONS.items():
        if issubclass(source, given) and issubclass(target, wanted):
            return factory
    return None


def _refuse_kind(port: str, kind: Any) -> None:
    for part in _parts(kind):
        if not (part is Any or part is None or isinstance(part, type)):
            raise GraphError(
                f"Port {port!r} cannot have the type {part!r}.",
                why="a type is a class without brackets, a union of classes, Any or None",
            )


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _parts(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if _is_union(kind) else (kind,)
