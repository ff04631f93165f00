"""Which columns share rows and operations: what is fetched once and computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.operation import Operation
from mlgraph.data.lazy.source import Fetched, ReadFailure, Source
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen(eq=False)
class Step:
    """One operation of a group: where its input comes from.

    Args:
        operation: The operation.
        key: What its draws depend on: its id, and how many before it have the same.
        input: Number of the result it takes: 0 is what was fetched, n that of step n - 1.

    >>> import torch
    >>> from mlgraph.data.lazy.operation import Function
    >>> Step(Function("abs", torch.abs), "abs", 0).input
    0
    """

    operation: Operation
    key: str
    input: int


@attrs.frozen(eq=False)
class Group:
    """Columns over the same rows of the same sources.

    Args:
        sources: The sources.
        source: Number of the source of each row; None if there is only one source.
        rows: Row in its source, for each row of the task.
        names: Names of the columns.
        steps: All operations, each after its input.
        outputs: For each column, the number of its result.
        spec: Shape and dtype of what is fetched.

    >>> groups_of({})
    ()
    """

    sources: tuple[Source, ...]
    source: NDArray[np.int32] | None
    rows: NDArray[np.int64]
    names: tuple[str, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    spec: TensorSpec

    def fetch(self, positions: NDArray[np.int64]) -> tuple[Fetched, list[tuple[int, ReadFailure]]]:
        """The rows at these positions before any operation, and those that cannot be read.

        Raises:
            ReadFailure: A row cannot be read, and its source is not to skip it.
        """
        rows = self.rows[positions]
        if self.source is None:
            return self.sources[0].attempt(rows)
        return _gathered(self.sources, self.source[positions], rows)


def groups_of(columns: Mapping[str, LazyTensor]) -> tuple[Group, ...]:
    """The columns in groups that read the same rows, each with its operations as a tree.

    >>> import torch
    >>> from mlgraph.data.lazy.operation import Function
    >>> from mlgraph.data.lazy.source import ArraySource
    >>> column = LazyTensor.over(ArraySource(torch.zeros(3, 2))).append(Function("f", torch.abs))
    >>> both = groups_of({"a": column, "b": column.append(Function("g", torch.sqrt))})
    >>> [(group.names, group.outputs) for group in both]
    [(('a', 'b'), (1, 2))]
    """
    found: list[tuple[LazyTensor, NDArray[np.int32], NDArray[np.int64], list[str]]] = []
    for name, column in columns.items():
        source, row = column.places()
        for other, sources, rows, names in found:
            same = np.array_equal(row, rows) and np.array_equal(source, sources)
            if same and _same_sources(column, other):
                names.append(name)
                break
        else:
            found.append((column, source, row, [name]))
    return tuple(
        _group(column, source, row, {name: columns[name] for name in names})
        for column, source, row, names in found
    )


def _same_sources(one: LazyTensor, other: LazyTensor) -> bool:
    mine, theirs = one.lazy.sources, other.lazy.sources
    return [s.fingerprint for s in mine] == [s.fingerprint for s in theirs]


def _group(
    column: LazyTensor,
    source: NDArray[np.int32],
    rows: NDArray[np.int64],
    columns: Mapping[str, LazyTensor],
) -> Group:
    steps: list[Step] = []
    places: dict[tuple[int, str], int] = {}
    outputs = []
    for one in columns.values():
        at, seen = 0, dict[str, int]()
        for operation in one.lazy.operations:
            count = seen[operation.id] = seen.get(operation.id, 0) + 1
            key = operation.id if count == 1 else f"{operation.id}#{count}"
            kind = operation.fingerprint + (key if operation.random else "")
            if (at, kind) not in places:
                steps.append(Step(operation, key, at))
                places[at, kind] = len(steps)
            at = places[at, kind]
        outputs.append(at)
    lazy = column.lazy
    which = source if len(lazy.sources) > 1 else None
    made = (tuple(columns), tuple(steps), tuple(outputs))
    return Group(lazy.sources, which, rows, *made, lazy.source_spec)


def _gathered(
    sources: Sequence[Source], which: NDArray[np.int32], rows: NDArray[np.int64]
) -> tuple[Fetched, list[tuple[int, ReadFailure]]]:
    """Rows of several sources, each asked once."""
    found: list[Tensor | None] = [None] * len(rows)
    failed: list[tuple[int, ReadFailure]] = []
    for number in np.unique(which).tolist():
        places = np.flatnonzero(which == number)
        value, bad = sources[number].attempt(rows[places])
        failed += [(int(places[at]), failure) for at, failure in bad]
        good = np.delete(places, [at for at, _ in bad]) if bad else places
        for place, row in zip(good.tolist(), value, strict=True):
            found[place] = row
    return [row for row in found if row is not None], sorted(failed, key=lambda pair: pair[0])
