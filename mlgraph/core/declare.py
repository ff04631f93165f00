"""Classes whose annotated fields are parameters: attrs classes without the decorator."""

from __future__ import annotations

import functools
import inspect
import typing
from abc import ABC
from typing import Any, ClassVar

import attrs

from mlgraph.core.param import Param, coerce, param
from mlgraph.core.value import FrozenDict, snake
from mlgraph.errors import ConfigError


@typing.dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(param, attrs.field)
)
class Declarative(ABC):
    """Makes every subclass a frozen attrs class; type checkers know it by the decorator."""

    key: ClassVar[str]
    prefix: ClassVar[str] = ""
    own_fields: ClassVar[tuple[str, ...]] = ()  # those that are no parameters
    redefines: ClassVar[tuple[str, ...]] = ()  # what a class means to have as parameters instead

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _refuse_init(cls)
        _refuse_taken_names(cls)
        if "key" not in cls.__dict__:
            cls.key = cls.prefix + snake(cls.__name__)
        own_repr = "__repr__" in cls.__dict__
        attrs.define(cls, frozen=True, slots=False, kw_only=True, eq=False, repr=False)
        if not own_repr and "__repr__" in cls.__dict__:
            del cls.__repr__


def _refuse_init(cls: type[Declarative]) -> None:
    """Refuse an ``__init__`` of its own: it is made of the fields."""
    if "__init__" not in vars(cls):
        return
    arguments = list(inspect.signature(vars(cls)["__init__"]).parameters.values())[1:]
    fields = [_as_field(a) for a in arguments if a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)]
    raise ConfigError(
        f"{cls.__name__} cannot have an __init__ of its own.",
        where=f"class {cls.__name__!r}",
        why="its parameters are the annotated fields of the class, and __init__ is made of them",
        mend=f"declare fields: {'; '.join(fields)}" if fields else "leave __init__ out",
    )


def _as_field(argument: inspect.Parameter) -> str:
    """An argument of ``__init__`` as the field it should be."""
    hint, default, empty = argument.annotation, argument.default, argument.empty
    if hint is empty:
        hint = Any if default is empty or default is None else type(default)
    name = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
    value = "" if default is empty else f"default={default!r}"
    return f"{argument.name}: {name} = param({value})"


def _refuse_taken_names(cls: type[Declarative]) -> None:
    """Refuse a parameter with the name of something that every value of this kind has."""
    hints = vars(cls).get("__annotations__", {})
    own = [name for name, hint in hints.items() if "ClassVar" not in str(hint)]
    for name in (name for name in own if name not in vars(cls).get("redefines", ())):
        owner = next((base for base in cls.__mro__[1:] if _takes(base, name)), None)
        if owner is not None:
            raise ConfigError(
                f"{cls.__name__} cannot have a parameter {name!r}.",
                where=f"class {cls.__name__!r}",
                why=f"{name} means something else in every {owner.__name__}",
                mend=f"give it another name, such as {name}_",
            )


def _takes(base: type, name: str) -> bool:
    return base.__module__.startswith("mlgraph.") and (
        name in vars(base) or name in getattr(base, "own_fields", ())
    )


@functools.cache
def declared(cls: type[Declarative]) -> tuple[tuple[str, Any, Param], ...]:
    """Name, type and details of every parameter; those of the class itself come first."""
    try:
        hints = typing.get_type_hints(cls)
    except NameError:  # annotations that name classes of an enclosing function
        hints = {}
    # By position, own parameters are given before inherited ones.
    fields = sorted(attrs.fields(cls), key=lambda field: field.inherited)  # type: ignore[arg-type]
    return tuple(
        (field.name, hints.get(field.name, Any), field.metadata.get("param", Param()))
        for field in fields
        if field.name not in cls.own_fields
    )


@functools.cache
def required(cls: type[Declarative]) -> tuple[str, ...]:
    """The parameters without a default."""
    fields = attrs.fields(cls)  # type: ignore[arg-type]
    return tuple(field.name for field in fields if field.default is attrs.NOTHING)


@functools.cache
def defaults(cls: type[Declarative]) -> FrozenDict:
    """The defaults of the others, normalised as values are."""
    values = {field.name: field.default for field in attrs.fields(cls)}  # type: ignore[arg-type]
    return FrozenDict(
        {
            name: coerce(values[name], hint, details)
            for name, hint, details in declared(cls)
            if values[name] is not attrs.NOTHING
        }
    )
