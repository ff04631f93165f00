"""A random part of the rows for validation: stratified, or in whole groups.

Everything is a function of the codes, the ratio and the seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlgraph.data.column import Column
from mlgraph.data.normalise import codes_of
from mlgraph.errors import DataError

Ints = NDArray[np.int64]


def by_strata(strata: Ints, ratio: float, seed: int) -> Ints:
    """Positions for validation, every stratum of two rows or more on both sides.

    >>> held = by_strata(np.array([0, 0, 0, 0, 1, 1]), 0.3, seed=1)
    >>> np.array([0, 0, 0, 0, 1, 1])[held]
    array([0, 1])
    """
    sizes = np.bincount(strata)
    counts = _shares(sizes, ratio)
    shuffled = np.random.default_rng(seed).permutation(len(strata))
    ordered = shuffled[np.argsort(strata[shuffled], kind="stable")]
    rank = np.arange(len(strata)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(ordered[rank < np.repeat(counts, sizes)]).astype(np.int64)


def by_groups(groups: Ints, ratio: float, seed: int) -> Ints:
    """Positions for validation, groups kept whole, as near to the ratio as they allow.

    Raises:
        DataError: There is only one group.

    >>> groups = np.array([0, 0, 1, 1])
    >>> len(set(groups[by_groups(groups, 0.5, seed=0)]))
    1
    """
    names, groups = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise DataError(
            "One group of rows cannot be split.",
            why="rows of a group, and copies of a row, stay together",
            mend="Pass validation data, or another group column.",
        )
    order = np.random.default_rng(seed).permutation(len(names))
    reached = np.cumsum(np.bincount(groups)[order])[:-1]
    n_groups = 1 + int(np.argmin(np.abs(reached - ratio * len(groups))))
    return np.flatnonzero(np.isin(groups, order[:n_groups])).astype(np.int64)


def group_codes(columns: Sequence[Column]) -> Ints:
    """One code per distinct combination of values; missing counts as a value.

    >>> import pyarrow as pa
    >>> group_codes([Column.of(pa.chunked_array([[1, 2, 1]]))])
    array([0, 1, 0])
    """
    combined = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        codes = _codes(column) + 1  # missing is -1
        pairs = combined * (int(codes.max(initial=0)) + 1) + codes
        combined = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
    return combined


def _shares(sizes: Ints, ratio: float) -> Ints:
    """Rows per stratum: largest remainders, then at least one on each side."""
    quotas = ratio * sizes
    counts = np.floor(quotas).astype(np.int64)
    total = max(1, round(ratio * int(sizes.sum())))
    order = np.argsort(counts - quotas, kind="stable")
    counts[order[: max(0, total - int(counts.sum()))]] += 1
    lower = np.where(sizes >= 2, 1, 0)
    shares: Ints = np.clip(counts, lower, np.maximum(sizes - 1, 0)).astype(np.int64)
    return shares


def _codes(column: Column) -> Ints:
    array = column.array()
    if column.levels is not None:
        codes = codes_of(array)
    else:
        codes = array.combine_chunks().dictionary_encode().indices
    return np.asarray(codes.fill_null(-1).to_numpy(), dtype=np.int64)
