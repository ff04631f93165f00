"""Unknown sizes that a module needs to be equal.

Different names get different numbers, but a merge may need two of them to be the same, or one to
be the known size next to it: `(batch, time)` and `(batch, 5)` can be added if time is 5. Nothing
is known that forbids it, so it is allowed. Sizes are only made equal where they stand at the same
place, and at as few places as will do: two tensors joined along `time` need not be equally long.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from mlgraph.tensor.spec import TensorSpec

Column = set[int | str]

# All sets of places are tried; of more than this many places, only the single ones and all.
MAX_PLACES = 4


def unified(inputs: Sequence[TensorSpec]) -> Iterator[tuple[TensorSpec, ...]]:
    """The inputs with sizes made equal at one place, then at two, and so on.

    An unknown size next to a known one takes its number. Unknown ones next to each other take a
    common name that is the name of none of them, for one of them could be 1 and broadcast.

    >>> for specs in unified([TensorSpec(("batch", "a", "b")), TensorSpec(("batch", 4, "c"))]):
    ...     print(specs)
    ((batch, 4, b) float32, (batch, 4, c) float32)
    ((batch, a, b=c) float32, (batch, 4, b=c) float32)
    ((batch, 4, b=c) float32, (batch, 4, b=c) float32)
    >>> list(unified([TensorSpec(("batch", "time"))]))
    []
    """
    if len({spec.rank for spec in inputs}) != 1:
        return
    columns = [set(column) for column in zip(*(spec.shape for spec in inputs), strict=True)]
    open_columns = [column for column in columns if _common(column) is not None]
    seen = {tuple(inputs)}
    for some in _subsets(open_columns):
        specs = _made_equal(inputs, _groups(some))
        if specs not in seen:
            seen.add(specs)
            yield specs


def _subsets(columns: list[Column]) -> Iterator[tuple[Column, ...]]:
    counts = range(1, len(columns) + 1)
    for count in counts if len(columns) <= MAX_PLACES else (1, len(columns)):
        yield from itertools.combinations(columns, count)


def _groups(columns: Sequence[Column]) -> list[Column]:
    """The columns, those that share a name put together."""
    groups: list[Column] = []
    for column in columns:
        names = {size for size in column if isinstance(size, str)}
        touching = [group for group in groups if names & group]
        groups = [group for group in groups if group not in touching]
        groups.append(column.union(*touching))
    return groups


def _made_equal(inputs: Sequence[TensorSpec], groups: list[Column]) -> tuple[TensorSpec, ...]:
    pairs = [(name, size) for group in groups if (size := _common(group)) for name in group]
    common: dict[int | str, int | str] = {
        name: size for name, size in pairs if isinstance(name, str)
    }
    return tuple(
        spec.with_shape([common.get(size, size) for size in spec.shape]) for spec in inputs
    )


def _common(group: Column) -> int | str | None:
    """What all these sizes can be, or None: they differ, or are one thing already."""
    known = {size for size in group if isinstance(size, int) and size != 1}
    names = sorted(size for size in group if isinstance(size, str))
    if len(known) > 1 or not names or len(names) + len(known) < 2:
        return None
    return known.pop() if known else "=".join(names)
