"""Values as JSON and back: a writer and a reader, and codecs for all that JSON does not know.

``None``, numbers, strings, tuples and dicts of strings stand for themselves. Everything else is an
object of one name that begins with ``$``, such as ``{"$tensor": ...}``; who knows what to do with
it is a ``Codec``. Tensors, tables and estimators are kept beside the JSON, which refers to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import pyarrow as pa

from mlgraph.errors import StateError
from mlgraph.store.archive import damaged
from mlgraph.store.names import Names
from mlgraph.store.tensors import Block, Read
from mlgraph.store.text import MAX_DEPTH, is_text


@attrs.frozen
class Codec:
    """How values of one kind are written and read.

    Args:
        tag: The name in JSON, without ``$``.
        knows: Whether a value is of this kind.
        write: Gives its content: JSON values, or what the writer makes of parts.
        read: Makes the value of its content again.
    """

    tag: str
    knows: Callable[[Any], bool]
    write: Callable[[Writer, Any], Any]
    read: Callable[[Reader, Any], Any]


class Writer:
    """Makes JSON of values, and collects what is kept beside it.

    Args:
        codecs: The first that knows a value writes it.

    >>> Writer(()).value({"a": (1, None)})
    {'a': [1, None]}
    >>> Writer(()).value({"a": object()})
    Traceback (most recent call last):
    mlgraph.errors.StateError: A object cannot be saved.
      where: a
    ...
    """

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self._codecs = codecs
        self.tensors: dict[str, Block] = {}
        self.tables: list[pa.Table] = []
        self.objects: list[bytes] = []
        self.providers: dict[str, tuple[str, set[str]]] = {}
        self._path: list[str] = []

    def value(self, value: Any) -> Any:
        """A value as JSON.

        Raises:
            StateError: It cannot be saved; says where it is.
        """
        kind = type(value)
        if value is None or kind in (bool, int) or (kind is float and math.isfinite(value)):
            return value
        if kind is str and is_text(value):
            return value
        if kind is tuple:
            return self.items(value)
        if kind is dict and all(type(key) is str and is_text(key) for key in value):
            if not any(key.startswith("$") for key in value):
                return self.fields(value)
        codec = next((codec for codec in self._codecs if codec.knows(value)), None)
        if codec is None:
            raise self.refusal(value)
        return {f"${codec.tag}": codec.write(self, value)}

    def items(self, values: Sequence[Any]) -> list[Any]:
        """Values in order, as JSON."""
        made = []
        for i, item in enumerate(values):
            with self.inside(i):
                made.append(self.value(item))
        return made

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by name, as JSON."""
        made = {}
        for name, item in values.items():
            with self.inside(name):
                made[name] = self.value(item)
        return made

    @contextmanager
    def inside(self, step: object) -> Iterator[None]:
        """What is written meanwhile is a part called so of what was written before."""
        if len(self._path) >= MAX_DEPTH // 4:
            raise StateError("The values are nested too deeply to be saved.", where=self.place)
        self._path.append(str(step))
        yield
        self._path.pop()

    @property
    def place(self) -> str:
        """Where we are."""
        return "/".join(self._path)

    def tensor(self, block: Block) -> str:
        """Keep a tensor; returns the name under which it is found."""
        stem = name = self.place or "value"
        number = 1
        while name in self.tensors:
            number += 1
            name = f"{stem}#{number}"
        self.tensors[name] = block
        return name

    def table(self, table: pa.Table) -> int:
        """Keep a table; returns its number."""
        self.tables.append(table)
        return len(self.tables) - 1

    def object(self, data: bytes) -> int:
        """Keep the bytes of an estimator; returns their number."""
        self.objects.append(data)
        return len(self.objects) - 1

    def refusal(self, value: Any, why: str = "", mend: str = "") -> StateError:
        """The error for a value that cannot be saved."""
        kind = type(value)
        return StateError(
            f"A {kind.__name__} cannot be saved.",
            where=self.place,
            why=why or f"nothing is known of how to write and read a {_full(kind)}",
            mend=mend
            or getattr(kind, "how_to_save", "")
            or "numbers, strings, arrays, tensors, Arrow data, tuples, dicts and frozen attrs "
            "classes can be saved",
        )


class Reader:
    """Makes values of JSON, and of what is kept beside it.

    Args:
        codecs: By name.
        names: The functions and classes that may be named.
        tensors: The tensors, by name.
        tables: The tables.
        objects: The bytes of the estimators.
        providers: Package and version that offered a node when it was saved, by key.

    >>> Reader({}, Names.of([])).value({"a": [1, None]})
    {'a': (1, None)}
    """

    def __init__(
        self,
        codecs: Mapping[str, Codec],
        names: Names,
        tensors: Mapping[str, Read] | None = None,
        tables: Sequence[pa.Table] = (),
        objects: Sequence[bytes] = (),
        providers: Mapping[str, str] | None = None,
    ) -> None:
        self._codecs = codecs
        self.names = names
        self.providers = dict(providers or {})
        self._tensors = dict(tensors or {})
        self._tables: dict[int, Any] = dict(enumerate(tables))
        self._objects: dict[int, Any] = dict(enumerate(objects))
        self._depth = 0

    def value(self, content: Any) -> Any:
        """The value of JSON.

        Raises:
            StateError: It is none that the writer makes.
        """
        if isinstance(content, str):
            return text_of(content)
        if not isinstance(content, (list, dict)):
            return content
        if self._depth > MAX_DEPTH:
            raise damaged("Its values are nested too deeply.")
        self._depth += 1
        made = self._nested(content)
        self._depth -= 1
        return made

    def items(self, content: Any) -> tuple[Any, ...]:
        """The values of a JSON list."""
        if not isinstance(content, list):
            raise damaged("A list was expected.", why=f"there is a {type(content).__name__}")
        return tuple(self.value(item) for item in content)

    def fields(self, content: Any) -> dict[str, Any]:
        """The values of a JSON object, by name."""
        if not isinstance(content, dict):
            raise damaged("Names were expected.", why=f"there is a {type(content).__name__}")
        return {text_of(name): self.value(item) for name, item in content.items()}

    def tensor(self, name: Any) -> Read:
        """A tensor, which is given out once."""
        return _taken(self._tensors, name, "tensor")  # type: ignore[no-any-return]

    def table(self, number: Any) -> pa.Table:
        """A table, which is given out once."""
        return _taken(self._tables, number, "table")

    def object(self, number: Any) -> bytes:
        """The bytes of an estimator, which are given out once."""
        return _taken(self._objects, number, "estimator")  # type: ignore[no-any-return]

    def finish(self) -> None:
        """Refuse what nothing refers to."""
        rest = [*self._tensors, *self._tables, *self._objects]
        if rest:
            raise damaged(f"{len(rest)} parts of it belong nowhere.", where=f"part {rest[0]!r}")

    def _nested(self, content: Any) -> Any:
        if isinstance(content, list):
            return self.items(content)
        tag = next((name for name in content if name.startswith("$")), None)
        if tag is None:
            return self.fields(content)
        codec = self._codecs.get(tag[1:])
        if codec is None or len(content) > 1:
            raise damaged(f"Nothing is known of a {tag!r}.", why="a newer version may have made it")
        return codec.read(self, content[tag])


def text_of(content: Any) -> str:
    """Content that has to be a string."""
    if not isinstance(content, str) or not is_text(content):
        raise damaged("A text was expected.", why=f"there is a {type(content).__name__}")
    return content


def parts_of(content: Any, count: int) -> list[Any]:
    """Content that has to be a list of so many parts."""
    if not isinstance(content, list) or len(content) != count:
        raise damaged(f"{count} parts were expected.")
    return content


def _taken(known: dict[Any, Any], key: Any, what: str) -> Any:
    if isinstance(key, bool) or not isinstance(key, (str, int)) or key not in known:
        raise damaged(f"A {what} is missing, or used twice.", where=f"{what} {key!r}")
    return known.pop(key)


def _full(kind: type) -> str:
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"
