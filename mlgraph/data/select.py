"""``sel.*``: the selectors, by name.

>>> sel.type("float") - sel.match("^id_")
sel.type('float') & ~sel.match('^id_')
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mlgraph.data.column import TYPES
from mlgraph.data.selector import (
    PARAMETER_KINDS,
    All,
    Both,
    Cardinality,
    Kind,
    Match,
    Missing,
    Names,
    Not,
    Nothing,
    Selector,
    Type,
    Where,
)
from mlgraph.errors import ConfigError, did_you_mean, listing

__all__ = ["Selector", "sel"]


class sel:
    """The selectors, by name.

    >>> sel.type("float") & ~sel.names("a")
    sel.type('float') & ~sel.names('a')
    """

    @staticmethod
    def all() -> Selector:
        """Every name."""
        return All()

    @staticmethod
    def none() -> Selector:
        """No name."""
        return Nothing()

    @staticmethod
    def type(*types: str) -> Selector:
        """Columns of these feature types: float, int, bool, category, string, datetime, tensor.

        Raises:
            ConfigError: There is no such type.

        >>> sel.type("int", "bool").pick_from("ab", {"a": "float", "b": "int"})
        ('b',)
        """
        _refuse_unknown("feature type", types, TYPES)
        return Type(types)

    @staticmethod
    def kind(*kinds: str) -> Selector:
        """Parameters of a network of these kinds; one may be of several.

        Args:
            kinds: ``"bias"``: what is added, by its name. ``"norm"``: those of normalisations.
                ``"embedding"``: of embeddings and tokenizers, and tokens. ``"vector"``: those of
                one dimension or none.

        Raises:
            ConfigError: There is no such kind.

        >>> kinds = {"fc.weight": frozenset(), "fc.bias": frozenset({"bias", "vector"})}
        >>> sel.kind("bias", "norm").pick_from(kinds, kinds=kinds)
        ('fc.bias',)
        """
        _refuse_unknown("kind of parameters", kinds, PARAMETER_KINDS)
        return Kind(kinds)

    @staticmethod
    def names(*names: str, strict: bool = True) -> Selector:
        """These names; unless ``strict``, those of them that there are.

        >>> sel.names("a", "z", strict=False).pick_from(["a", "b"])
        ('a',)
        """
        if any(not isinstance(name, str) for name in names):
            raise ConfigError(
                f"sel.names takes names, not {names!r}.", mend="Write sel.names('a', 'b')."
            )
        return Names(names, strict)

    @staticmethod
    def match(regex: str) -> Selector:
        """Names in which a regular expression is found.

        Raises:
            ConfigError: This is no regular expression.

        >>> sel.match("^bill_").pick_from(["bill_depth", "island"])
        ('bill_depth',)
        """
        try:
            re.compile(regex)
        except re.error as problem:
            raise ConfigError(
                f"{regex!r} is not a regular expression.", why=str(problem)
            ) from problem
        return Match(regex)

    @staticmethod
    def missing() -> Selector:
        """Columns with at least one missing value."""
        return Missing()

    @staticmethod
    def cardinality(
        *,
        gt: int | None = None,
        ge: int | None = None,
        lt: int | None = None,
        le: int | None = None,
    ) -> Selector:
        """Columns by number of levels, or of distinct values if they have no levels.

        >>> sel.cardinality(gt=2, le=10)
        sel.cardinality(gt=2, le=10)
        """
        given = {"gt": gt, "ge": ge, "lt": lt, "le": le}
        bounds = tuple((name, bound) for name, bound in given.items() if bound is not None)
        if not bounds:
            raise ConfigError("sel.cardinality needs a bound.", mend="Say gt=, ge=, lt= or le=.")
        return Cardinality(bounds)

    @staticmethod
    def where(function: Callable[[pa.ChunkedArray], bool]) -> Selector:
        """Columns whose values, an Arrow array, make a function true."""
        return Where(function)

    @staticmethod
    def from_json(
        content: Mapping[str, Any], functions: Mapping[str, Callable[..., bool]] | None = None
    ) -> Selector:
        """The selector whose ``__mlgraph_json__`` this is.

        Args:
            content: The description.
            functions: The functions of ``sel.where`` by address; nothing is imported.

        >>> sel.from_json(sel.type("float").__mlgraph_json__())
        sel.type('float')
        """
        return _read(content, functions or {})


def _refuse_unknown(what: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(
                f"There is no {what} {name!r}.",
                why=f"there are {listing(known)}",
                mend=did_you_mean(name, known),
            )


def _read(content: Mapping[str, Any], functions: Mapping[str, Callable[..., bool]]) -> Selector:
    kind, args = content["sel"], content.get("args", ())
    if kind in ("and", "or"):
        left, right = (_read(side, functions) for side in args)
        return Both(kind, (left, right))
    if kind == "not":
        return Not(_read(args[0], functions))
    if kind == "where":
        return Where(_function(content["fn"], functions))
    options = {key: value for key, value in content.items() if key not in ("sel", "args")}
    selector: Selector = getattr(sel, kind)(*args, **options)
    return selector


def _function(
    named: str | Callable[..., bool], functions: Mapping[str, Callable[..., bool]]
) -> Callable[..., bool]:
    if not isinstance(named, str):
        return named
    if named not in functions:
        raise ConfigError(
            f"The function {named!r} of a selector is not known.",
            mend="Pass it along by its address.",
        )
    return functions[named]
