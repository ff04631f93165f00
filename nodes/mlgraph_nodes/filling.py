"""What imputers compute: what was observed, draws from it, and columns with holes filled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat
from numpy.typing import NDArray

from mlgraph.core.value import digest
from mlgraph.data.arrays import category, codes_among, levels_of

MISSING = ".MISSING"
_INT64 = np.iinfo(np.int64)


def uniforms(seed: int, name: str, row_ids: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers in [0, 1) that depend on the seed, the column and the row id only.

    The rounds of splitmix64 turn a counter into well-mixed bits, for all rows at once.

    >>> bool(uniforms(1, "a", np.array([7]))[0] == uniforms(1, "a", np.array([5, 7]))[1])
    True
    """
    start = np.uint64(int(digest(str(seed), name)[:16], 16))
    z = row_ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ start
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    z = z ^ (z >> np.uint64(31))
    numbers: NDArray[np.float64] = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


def filled_category(
    values: pa.Array, missing: pa.Array, chosen: pa.Array, levels: tuple[str, ...]
) -> pa.Array:
    """A category column with these levels first, and the chosen ones where it has holes.

    >>> values = pa.array(["u", None]).dictionary_encode()
    >>> filled_category(values, pc.is_null(values), pa.array(["v"]), ("u", "v")).to_pylist()
    ['u', 'v']
    """
    fresh = [level for level in levels_of(values) if level not in levels]
    if not values.null_count and not fresh and levels_of(values) == levels:
        return values
    every = (*levels, *fresh)
    codes = codes_among(values, every)
    if len(chosen):
        codes[np.asarray(missing)] = codes_among(chosen, every)
    return category(codes, every, values.type.ordered)


def physical(values: pa.Array) -> NDArray[Any]:
    """What is not missing and not infinite, as floats or 64-bit integers.

    >>> physical(pa.array([1.0, None, float("inf")]))
    array([1.])
    """
    known = values.drop_null()
    if pat.is_floating(known.type):
        floats = known.to_numpy(zero_copy_only=False).astype(np.float64)
        return np.asarray(floats[np.isfinite(floats)])
    if pat.is_date32(known.type):
        known = known.cast(pa.int32())
    return np.asarray(known.cast(pa.int64()).to_numpy(zero_copy_only=False))


def observed(values: pa.Array) -> tuple[pa.Array, NDArray[Any]]:
    """The distinct values and how often they occur; a makeshift where there are none.

    >>> observed(pa.array([3, 3, None]))[1].tolist()
    [2]
    """
    if pat.is_dictionary(values.type):
        words = values.dictionary.cast(pa.large_string())
        codes = codes_among(values, words.to_pylist())
        counts = np.bincount(codes[codes >= 0], minlength=len(words))
        # Of a category without any values, one level is as good as another.
        counts = counts if counts.any() else np.ones(len(words), dtype=np.int64)
        return words.filter(pa.array(counts > 0)), counts[counts > 0]
    found = pc.value_counts(values.drop_null())
    if len(found) == 0:
        stand_in = MISSING if pat.is_large_string(values.type) else 0
        return as_array([stand_in], values.type), np.ones(1, dtype=np.int64)
    return found.field("values"), found.field("counts").to_numpy()


def median(values: pa.Array) -> Any:
    """The median in the column's own units, rounded half to even for integers; 0 of nothing.

    >>> median(pa.array([1, 2, None]))
    2
    """
    known = physical(values)
    if len(known) == 0:
        return 0
    middle = [(len(known) - 1) // 2, len(known) // 2]
    low, high = np.partition(known, middle)[middle].tolist()
    if isinstance(low, float):
        return low / 2 + high / 2
    half, odd = divmod(low + high, 2)  # Python's integers do not overflow
    return half + (half % 2 if odd else 0)


def in_type(number: Any, known: NDArray[Any]) -> Any:
    """A number as the column can hold it: integers rounded and within 64 bits.

    >>> in_type(1e300, np.array([1]))
    9223372036854775807
    """
    if known.dtype.kind == "f":
        return float(number)
    return min(max(round(number), int(_INT64.min)), int(_INT64.max))


def between(drawn: NDArray[np.float64], ends: NDArray[Any]) -> NDArray[Any]:
    """Draws within the observed range, rounded for integers, without leaving 64 bits.

    >>> between(np.array([0.2, 2.6, 9.0]), np.array([1, 4]))
    array([1, 3, 4])
    """
    low, high = ends[0], ends[-1]
    if ends.dtype.kind == "f":
        return np.clip(drawn, low, high)
    rounded = np.rint(drawn)
    above, below = rounded >= float(high), rounded <= float(low)
    inside = np.where(above | below, 0.0, rounded).astype(np.int64)
    return np.where(above, high, np.where(below, low, inside))


def sturges(known: NDArray[np.float64]) -> int:
    """The number of bins of a histogram.

    >>> sturges(np.zeros(8))
    4
    """
    return int(np.ceil(np.log2(len(known)))) + 1 if len(known) else 1


def as_array(values: Any, wanted: Any) -> pa.Array:
    """Values as an array of a column's type; for dates, integers count units.

    >>> as_array([1], pa.date32()).to_pylist()
    [datetime.date(1970, 1, 2)]
    """
    if isinstance(values, pa.Array):
        return values.cast(wanted)
    values = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if pat.is_boolean(wanted):
        values = [bool(value) for value in values]
    if pat.is_temporal(wanted):
        return pa.array([_moment(value, wanted) for value in values], wanted)
    return pa.array(values).cast(wanted, safe=False) if values else pa.array([], wanted)


def _moment(value: Any, wanted: Any) -> Any:
    if isinstance(value, str):
        return pa.scalar(value).cast(wanted)
    return value if not isinstance(value, np.generic) else value.item()


def reads_as(value: Any, wanted: Any) -> bool:
    """Whether a value can be one of this type.

    >>> reads_as("2020-01-31", pa.date32()), reads_as("soon", pa.date32())
    (True, False)
    """
    try:
        as_array([value], wanted)
    except (pa.ArrowException, TypeError, ValueError):
        return False
    return True
