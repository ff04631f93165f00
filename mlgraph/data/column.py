"""One column of a task: stored Arrow data and a view of its rows.

A view is a range (contiguous rows: a slice, no copying), an array of positions, or ``None`` for all
rows. Views are composed when they are made and so never nest; the stored data is shared by every
view of it, and so is its content hash, which is computed once.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeAlias

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.types as pat
from numpy.typing import NDArray

from mlgraph.core.value import digest
from mlgraph.data.hashing import hash_array
from mlgraph.data.normalise import missing_values

Positions: TypeAlias = NDArray[np.int64]
View: TypeAlias = "range | Positions | None"

TYPES = ("float", "int", "bool", "category", "string", "datetime", "tensor")


@attrs.frozen(eq=False, slots=False)
class Stored:
    """Arrow data as it was ingested, shared by all its views.

    Args:
        data: The values, of one of the normalised types, in at least one chunk.
        extra: A value that travels with the column, such as the sources of lazy tensors. Its
            ``fingerprint``, if it has one, counts as content.
        token: The content hash where it is known already (data that came from another process).
    """

    data: pa.ChunkedArray
    extra: object = None
    token: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content, whatever the chunks."""
        if self.token is not None:
            return self.token
        return digest(self.content, str(getattr(self.extra, "fingerprint", "")))

    @cached_property
    def content(self) -> str:
        """Hash of the data alone."""
        return hash_array(self.data)

    @cached_property
    def levels(self) -> tuple[str, ...] | None:
        """Levels of a category, unused ones included; ``None`` for other types."""
        if not pat.is_dictionary(self.data.type):
            return None
        return tuple(self.data.chunk(0).dictionary.to_pylist())


@attrs.frozen(eq=False, slots=False)
class Column:
    """Stored data and the rows of it that are seen.

    >>> column = Column.of(pa.chunked_array([[1.5, 2.5, None]]))
    >>> column.kind, len(column), column.missing
    ('float', 3, 1)
    >>> column.take(range(1, 3)).array().to_pylist()
    [2.5, None]
    """

    stored: Stored
    rows: View = None

    @classmethod
    def of(cls, data: pa.ChunkedArray, extra: object = None) -> Column:
        """A column that shows all of some normalised data."""
        return cls(Stored(data, extra))

    def __len__(self) -> int:
        return len(self.stored.data) if self.rows is None else len(self.rows)

    def __reduce__(self) -> tuple[object, ...]:
        # Only the rows that are seen travel; the hash goes along so that it stays the same.
        return _restore, (self._seen(), self.stored.extra, self.fingerprint)

    @property
    def type(self) -> Any:
        """The Arrow type."""
        return self.stored.data.type

    @property
    def kind(self) -> str:
        """The feature type: one of ``TYPES``."""
        return feature_type(self.type)

    @property
    def levels(self) -> tuple[str, ...] | None:
        """Levels of a category, ``None`` for other types."""
        return self.stored.levels

    @property
    def ordered(self) -> bool:
        """Whether this is a category whose levels are ordered."""
        return bool(pat.is_dictionary(self.type) and self.type.ordered)

    @cached_property
    def missing(self) -> int:
        """Number of missing values in view."""
        if self.stored.data.null_count == 0:
            return 0
        return int(self.array().null_count)

    @property
    def fingerprint(self) -> str:
        """Hash of the stored content and the view."""
        return self.content_key("" if self.rows is None else digest(view_key(self.rows)))

    def content_key(self, view: str) -> str:
        """The fingerprint, when the hash of the view is known: columns share views."""
        stored = self.stored.fingerprint
        return stored if self.rows is None else digest(stored, view)

    def array(self) -> pa.ChunkedArray:
        """The values in view: the data itself, a slice of it, or the rows taken from it."""
        data, rows = self.stored.data, self.rows
        if rows is None:
            return data
        if isinstance(rows, range):
            return data.slice(rows.start, len(rows))
        return data.take(pa.array(rows)) if len(rows) else data.slice(0, 0)

    def take(self, rows: range | Positions) -> Column:
        """The column with these rows of the present view."""
        return Column(self.stored, compose(self.rows, rows))

    def emptied(self) -> Column:
        """A column of the same type and levels without rows, and without the data."""
        extra = self.stored.extra
        left = extra.emptied() if hasattr(extra, "emptied") else extra
        return Column.of(missing_values(self.type, self.levels, 0), left)

    def _seen(self) -> pa.ChunkedArray:
        if self.rows is None or len(self.rows) == 0:
            return self.array()
        return self.stored.data.take(pa.array(np.asarray(self.rows, dtype=np.int64)))


def feature_type(arrow: Any) -> str:
    """The feature type of a normalised Arrow type.

    >>> feature_type(pa.large_string()), feature_type(pa.date32())
    ('string', 'datetime')
    """
    if isinstance(arrow, pa.BaseExtensionType):
        return "tensor"
    tests = (
        ("float", pat.is_floating),
        ("int", pat.is_integer),
        ("bool", pat.is_boolean),
        ("category", pat.is_dictionary),
        ("string", pat.is_large_string),
    )
    return next((name for name, test in tests if test(arrow)), "datetime")


def as_view(positions: Positions) -> range | Positions:
    """Positions as a range where they are contiguous and rising.

    >>> as_view(np.array([2, 3, 4]))
    range(2, 5)
    """
    n = len(positions)
    if n == 0:
        return range(0)
    first = int(positions[0])
    if int(positions[-1]) - first == n - 1 and bool(np.all(np.diff(positions) == 1)):
        return range(first, first + n)
    return positions


def compose(view: View, rows: range | Positions) -> range | Positions:
    """The view that shows these rows of a view.

    >>> compose(range(10, 20), range(2, 4))
    range(12, 14)
    """
    if view is None:
        return rows
    if isinstance(rows, range):
        return view[rows.start : rows.stop]
    return rows + view.start if isinstance(view, range) else view[rows]


def view_key(rows: range | Positions) -> bytes:
    """Bytes that tell one view from another.

    >>> view_key(range(2, 5))
    b'2:5'
    """
    if isinstance(rows, range):
        return f"{rows.start}:{rows.stop}".encode()
    return np.ascontiguousarray(rows).tobytes()


def _restore(data: pa.ChunkedArray, extra: object, token: str) -> Column:
    return Column(Stored(data, extra, token))
