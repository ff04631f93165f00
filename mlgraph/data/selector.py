"""Selector: which columns, or parameters, are meant; a value that combines with ``& | - ~``.

A selector picks among names in their order. Most need nothing but names and types, so they pick
parameters of a network just as well; those that look at values (``missing``, ``cardinality``,
``where``) need a task.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import pyarrow as pa
import pyarrow.compute as pc

from mlgraph.data.roles import unknown_column
from mlgraph.errors import ConfigError

# What a parameter of a network may be; one may be several of them, most are none.
PARAMETER_KINDS = ("bias", "embedding", "norm", "vector")


class Table(Protocol):
    """What a selector asks of a task."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names to pick from."""

    @property
    def types(self) -> Mapping[str, str]:
        """Feature type by name."""

    @property
    def missing(self) -> Mapping[str, int]:
        """Number of missing values by name, where there are any."""

    def levels(self, name: str, /) -> tuple[str, ...] | None:
        """Levels of a category."""

    def column(self, name: str, /) -> pa.ChunkedArray:
        """Values of a column."""


@attrs.frozen
class Candidates:
    """Names to pick from and what is known of them."""

    names: tuple[str, ...]
    types: Mapping[str, str] | None = None
    table: Table | None = None
    kinds: Mapping[str, frozenset[str]] | None = None

    def known_kinds(self, asking: str) -> Mapping[str, frozenset[str]]:
        """The kinds of parameters, or an error that says who needs them."""
        if self.kinds is None:
            raise ConfigError(
                f"{asking} chooses among the parameters of a network, and here are only names."
            )
        return self.kinds

    def known_types(self, asking: str) -> Mapping[str, str]:
        """The types, or an error that says who needs them."""
        if self.types is None:
            raise ConfigError(f"{asking} needs types, and here are only names.")
        return self.types

    def known_table(self, asking: str) -> Table:
        """The task, or an error that says who needs it."""
        if self.table is None:
            raise ConfigError(f"{asking} looks at data, and here are only names.")
        return self.table


class Selector:
    """A choice of names, made when it is shown what there is to choose from.

    >>> (Selector.of(None) - Selector.of("b")).pick_from(["a", "b", "c"])
    ('a', 'c')
    """

    def picks(self, candidates: Candidates) -> frozenset[str]:
        """The names this selector picks; what subclasses define."""
        raise NotImplementedError

    def pick(self, task: Table) -> tuple[str, ...]:
        """The features of a task that are meant, in the order of the task."""
        return self._ordered(Candidates(task.features, task.types, task))

    def pick_from(
        self,
        names: Iterable[str],
        types: Mapping[str, str] | None = None,
        kinds: Mapping[str, frozenset[str]] | None = None,
    ) -> tuple[str, ...]:
        """The names that are meant, in the order given.

        Args:
            names: What there is to choose from.
            types: The types of columns.
            kinds: The kinds of parameters.

        Raises:
            ConfigError: The selector needs types, kinds or data, and none are given.
        """
        return self._ordered(Candidates(tuple(names), types, kinds=kinds))

    @staticmethod
    def of(value: object) -> Selector:
        """A selector, a name, several names, or ``None`` for all, as a selector.

        >>> Selector.of(["a", "b"])
        sel.names('a', 'b')
        """
        if isinstance(value, Selector):
            return value
        if value is None:
            return All()
        if isinstance(value, str):
            return Names((value,))
        if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
            return Names(tuple(value))
        raise ConfigError(
            f"{value!r} does not select columns.",
            why="a name, a list of names, a selector or None is expected",
            mend="Try sel.names('a', 'b') or sel.type('float').",
        )

    def __mlgraph_json__(self) -> dict[str, Any]:
        raise NotImplementedError

    def __and__(self, other: Selector) -> Selector:
        return Both("and", (self, other)) if isinstance(other, Selector) else NotImplemented

    def __or__(self, other: Selector) -> Selector:
        return Both("or", (self, other)) if isinstance(other, Selector) else NotImplemented

    def __sub__(self, other: Selector) -> Selector:
        return self & ~other if isinstance(other, Selector) else NotImplemented

    def __invert__(self) -> Selector:
        return Not(self)

    def __bool__(self) -> bool:
        raise ConfigError(
            "A selector is neither true nor false.",
            why=f"and, or, not and if ask {self!r} for it",
            mend="to combine selectors, write & | ~ instead of and, or, not",
        )

    def _ordered(self, candidates: Candidates) -> tuple[str, ...]:
        picked = self.picks(candidates)
        return tuple(name for name in candidates.names if name in picked)


@attrs.frozen(repr=False)
class All(Selector):
    """Every name."""

    def picks(self, candidates: Candidates) -> frozenset[str]:
        return frozenset(candidates.names)

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"sel": "all", "args": []}

    def __repr__(self) -> str:
        return "sel.all()"


@attrs.frozen(repr=False)
class Nothing(Selector):
    """No name."""

    def picks(self, candidates: Candidates) -> frozenset[str]:
        return frozenset()

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"sel": "none", "args": []}

    def __repr__(self) -> str:
        return "sel.none()"


@attrs.frozen(repr=False)
class Type(Selector):
    """Columns of some feature types."""

    types: tuple[str, ...]

    def picks(self, candidates: Candidates) -> frozenset[str]:
        types = candidates.known_types(repr(self))
        return frozenset(name for name in candidates.names if types.get(name) in self.types)

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"sel": "type", "args": list(self.types)}

    def __repr__(self) -> str:
        return f"sel.type({_words(self.types)})"


@attrs.frozen(repr=False)
class Names(Selector):
    """Certain names; unless strict, those of them that there are."""

    names: tuple[str, ...]
    strict: bool = True

    def picks(self, candidates: Candidates) -> frozenset[str]:
        for name in self.names:
            if self.strict and name not in candidates.names:
                raise unknown_column(name, candidates.names)
        return frozenset(self.names)

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"sel": "names", "args": list(self.names), "strict": self.strict}

    def __repr__(self) -> str:
        return f"sel.names({_words(self.names)}{'' if self.strict else ', strict=False'})"


@attrs.frozen(repr=False)
class Match(Selector):
    """Names in which a regular expression is found."""

    regex: str

    def picks(self, candidates: Candidates) -> frozenset[str]:
        return frozenset(name for name in candidates.names if re.search(self.regex, name))

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"sel": "match", "args": [self.regex]}

    def __repr__(self) -> str:
        return f"sel.match({self.regex!r})"


@attrs.frozen(repr=False)
class Kind(Selector):
    """Parameters of a network of some kinds."""

    kinds: tuple[str, ...]

    def picks(self, candidates: Candidates) -> frozenset[str]:
        kinds = candidates.known_kinds(repr(self))
        return frozenset(name for name in candidates.names if kinds[name] & {*self.kinds})

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"sel": "kind", "args": list(self.kinds)}

    def __repr__(self) -> str:
        return f"sel.kind({_words(self.kinds)})"


@attrs.frozen(repr=False)
class Missing(Selector):
    """Columns with a missing value."""

    def picks(self, candidates: Candidates) -> frozenset[str]:
        return frozenset(candidates.known_table(repr(self)).missing)

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"sel": "missing", "args": []}

    def __repr__(self) -> str:
        return "sel.missing()"


@attrs.frozen(repr=False)
class Cardinality(Selector):
    """Columns by number of levels or distinct values."""

    bounds: tuple[tuple[str, int], ...]

    def picks(self, candidates: Candidates) -> frozenset[str]:
        table = candidates.known_table(repr(self))
        types = candidates.known_types(repr(self))
        countable = [name for name in candidates.names if types[name] != "tensor"]
        return frozenset(name for name in countable if self._holds(_cardinality(table, name)))

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"sel": "cardinality", "args": [], **dict(self.bounds)}

    def __repr__(self) -> str:
        return f"sel.cardinality({', '.join(f'{name}={bound}' for name, bound in self.bounds)})"

    def _holds(self, count: int) -> bool:
        return all(_COMPARE[name](count, bound) for name, bound in self.bounds)


@attrs.frozen(repr=False)
class Where(Selector):
    """Columns whose values make a function true."""

    function: Callable[[pa.ChunkedArray], bool]

    def picks(self, candidates: Candidates) -> frozenset[str]:
        table = candidates.known_table(repr(self))
        return frozenset(name for name in candidates.names if self.function(table.column(name)))

    def __mlgraph_json__(self) -> dict[str, Any]:
        # A function that cannot be imported stands for itself: a name would not tell it apart.
        return {"sel": "where", "fn": _address(self.function) or self.function}

    def __repr__(self) -> str:
        return f"sel.where({getattr(self.function, '__qualname__', repr(self.function))})"


@attrs.frozen(repr=False)
class Both(Selector):
    """What both sides pick (``and``), or any of them (``or``)."""

    operator: str
    sides: tuple[Selector, Selector]

    def picks(self, candidates: Candidates) -> frozenset[str]:
        left, right = (side.picks(candidates) for side in self.sides)
        return left & right if self.operator == "and" else left | right

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"sel": self.operator, "args": [side.__mlgraph_json__() for side in self.sides]}

    def __repr__(self) -> str:
        sign = " & " if self.operator == "and" else " | "
        left, right = self.sides
        # Operators of Python group from the left: a side that would regroup needs brackets.
        first = _bracketed(left, isinstance(left, Both) and left.operator != self.operator)
        return first + sign + _bracketed(right, isinstance(right, Both))


@attrs.frozen(repr=False)
class Not(Selector):
    """What the inner selector does not pick."""

    inner: Selector

    def picks(self, candidates: Candidates) -> frozenset[str]:
        return frozenset(candidates.names) - self.inner.picks(candidates)

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"sel": "not", "args": [self.inner.__mlgraph_json__()]}

    def __repr__(self) -> str:
        return f"~{_bracketed(self.inner, isinstance(self.inner, Both))}"


def _cardinality(table: Table, name: str) -> int:
    levels = table.levels(name)
    if levels is not None:
        return len(levels)
    return int(pc.count_distinct(table.column(name), mode="only_valid").as_py())


def _address(function: Any) -> str:
    module, path = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    found: Any = sys.modules.get(module or "")
    for part in path.split("."):
        found = getattr(found, part, None)
    return f"{module}:{path}" if found is function and module != "__main__" else ""


def _words(words: Sequence[str]) -> str:
    return ", ".join(map(repr, words))


def _bracketed(inner: Selector, needed: bool) -> str:
    return f"({inner!r})" if needed else repr(inner)


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda count, bound: count > bound,
    "ge": lambda count, bound: count >= bound,
    "lt": lambda count, bound: count < bound,
    "le": lambda count, bound: count <= bound,
}
