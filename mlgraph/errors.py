"""Every exception of mlgraph, and the one shape their messages have.

    MLGraphError (a ValueError)
      GraphError              wiring, ids, unknown node keys
        UnknownKeyError       ... also a LookupError
        UnknownAttributeError ... also an AttributeError
      ShapeError              sizes and dtypes of tensors
      DataError               tables, columns, values
        UnknownColumnError    ... also a LookupError
      ConfigError             parameters and tuning tokens
        UnknownParameterError ... also a LookupError
      StateError              fitted state, checkpoints and files that do not fit

A message answers four questions, *what*, *where*, *why* and *how to mend it*; its first line makes
sense alone. Exceptions of other libraries keep their type and gain a note with the address.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Self


class MLGraphError(ValueError):
    """Something is wrong with a graph, its data or its state.

    Args:
        what: One sentence: what went wrong.
        where: Address in the graph: node id, port, column.
        why: What was expected and what arrived.
        mend: What to change.
        errors: The single findings, when one error reports several.

    >>> print(MLGraphError("No.", where="node 'a'", mend="Say yes."))
    No.
      where: node 'a'
      mend:  Say yes.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        why: str = "",
        mend: str = "",
        errors: Sequence[MLGraphError] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.mend = mend
        self.errors: tuple[MLGraphError, ...] = tuple(errors)

    def __str__(self) -> str:
        answers = (("where:", self.where), ("why:  ", self.why), ("mend: ", self.mend))
        lines = [self.what, *(f"  {label} {text}" for label, text in answers if text)]
        lines += [_indent(str(error)) for error in self.errors]
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.why, self.mend, self.errors)

    def at(self, where: str) -> Self:
        """Put this address in front of the one the error has, if any, and return the error."""
        if not f"{self.where},".startswith(f"{where},"):
            self.where = f"{where}, {self.where}" if self.where else where
        for error in self.errors:
            error.at(where)
        return self


class GraphError(MLGraphError):
    """A graph is wired wrongly: ports, edges, ids."""


class UnknownKeyError(GraphError, LookupError):
    """No node, recipe or id has this name."""


class UnknownAttributeError(GraphError, AttributeError):
    """A node or graph has no such method; as an AttributeError it makes ``hasattr`` say no."""


class ShapeError(MLGraphError):
    """A tensor has, or would have, sizes or a dtype that do not fit."""


class DataError(MLGraphError):
    """A table, column or value cannot be used as asked."""


class UnknownColumnError(DataError, LookupError):
    """No column has this name."""


class ConfigError(MLGraphError):
    """A parameter has a value it cannot have, or a tuning token was left in place."""


class UnknownParameterError(ConfigError, LookupError):
    """No parameter has this name."""


class StateError(MLGraphError):
    """Fitted state, a checkpoint or a file does not fit what it is used for."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A question that offers the nearest known words, or the empty string.

    >>> did_you_mean("sclae", ["scale", "pca"])
    "Did you mean 'scale'?"
    >>> did_you_mean("zzz", ["scale", "pca"])
    ''
    """
    close = difflib.get_close_matches(str(word), [str(name) for name in known], n=3, cutoff=0.6)
    return f"Did you mean {_or(close)}?" if close else ""


def listing(words: Iterable[object], limit: int = 8) -> str:
    """Words in quotes, separated by commas, cut after ``limit``.

    >>> listing(["a", "b", "c"], limit=2)
    "'a', 'b' and 1 more"
    """
    quoted = [repr(str(word)) for word in words]
    if len(quoted) <= limit:
        return ", ".join(quoted)
    return f"{', '.join(quoted[:limit])} and {len(quoted) - limit} more"


def together(errors: Sequence[MLGraphError], what: str) -> MLGraphError:
    """The one finding itself, or one error of the common type that carries them all.

    >>> together([DataError("a"), DataError("b")], "Two.").errors[1].what
    'b'
    """
    flat = [leaf for error in errors for leaf in (error.errors or (error,))]
    if len(flat) == 1:
        return flat[0]
    kinds = {_branch(type(error)) for error in flat}
    kind = kinds.pop() if len(kinds) == 1 else MLGraphError
    return kind(what, errors=flat)


def _branch(kind: type[MLGraphError]) -> type[MLGraphError]:
    main = (GraphError, ShapeError, DataError, ConfigError, StateError)
    return next((base for base in main if issubclass(kind, base)), MLGraphError)


def _or(words: Sequence[str]) -> str:
    return " or ".join(repr(word) for word in words)


def _indent(text: str) -> str:
    first, *rest = text.splitlines()
    return "\n".join([f"  - {first}", *(f"    {line}" for line in rest)])


def _rebuild(
    kind: type[MLGraphError],
    what: str,
    where: str,
    why: str,
    mend: str,
    errors: tuple[MLGraphError, ...],
) -> MLGraphError:
    return kind(what, where=where, why=why, mend=mend, errors=errors)
