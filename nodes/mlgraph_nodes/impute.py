"""Nodes that fill in missing values.

Every imputer learns something about every column it may work on, and fills what is missing in
``fit`` and in ``apply``, also in columns where nothing was missing before. Integers stay
integers, and a category has its levels in the same order in both phases; levels that were never
seen come last.

What the random ones draw depends on the seed, the column and the row id: the same row gets the same
value in fit and apply, and whatever the other rows of the batch are.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.param import param
from mlgraph.core.value import digest
from mlgraph.data.column import feature_type
from mlgraph.data.task import Task
from mlgraph.data.transform import (
    NUMERIC,
    ColumnTransform,
    category,
    codes_among,
    levels_of,
    plain,
)
from mlgraph.errors import DataError

MISSING = ".MISSING"
_INT64 = np.iinfo(np.int64)
_NUMBERS = NUMERIC | {"datetime"}
_PLAIN = _NUMBERS | {"bool", "category", "string"}


class _Imputer(ColumnTransform):
    """Fills missing values with one of a few values, the *choices*."""

    @abstractmethod
    def choices(self, name: str, values: pa.Array) -> tuple[Any, Any]:
        """What to fill in: values, and how often each is drawn (``None``: equally often)."""

    def levels(self, values: pa.Array) -> tuple[str, ...] | None:
        """Levels of a category once it is filled."""
        return levels_of(values) if pat.is_dictionary(values.type) else None

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        chosen, counts = self.choices(name, values)
        levels = self.levels(values)
        wanted = pa.large_string() if levels is not None else values.type
        state = {"choices": _as_array(chosen, wanted), "levels": levels, "seed": ctx.seed}
        return state if counts is None else {**state, "counts": np.asarray(counts)}

    def transform_column(self, state: Any, name: str, values: pa.Array) -> Mapping[str, Any]:
        return {name: self.filled(state, name, values, None)}

    def transform_task(
        self, state: Any, task: Task, names: Sequence[str], ctx: Context
    ) -> Mapping[str, Mapping[str, Any]]:
        return {
            name: {name: self.filled(state[name], name, plain(task.column(name)), task.row_ids)}
            for name in names
        }

    def filled(
        self, state: Any, name: str, values: pa.Array, row_ids: NDArray[np.int64] | None
    ) -> pa.Array:
        """The values with nothing missing, where there is something to fill in."""
        missing = pc.is_null(values)
        chosen = self.drawn(state, name, np.flatnonzero(missing), row_ids)
        if state["levels"] is not None:
            return _filled_category(values, missing, chosen, state["levels"])
        if values.null_count == 0 or len(chosen) == 0:
            return values
        return pc.replace_with_mask(values, missing, chosen.cast(values.type))

    def drawn(
        self, state: Any, name: str, places: NDArray[Any], row_ids: NDArray[np.int64] | None
    ) -> pa.Array:
        """One of the choices for every missing value."""
        choices = state["choices"]
        if len(choices) == 0:
            return choices
        if len(choices) == 1:
            return choices.take(pa.array(np.zeros(len(places), dtype=np.int64)))
        counts = state.get("counts", np.ones(len(choices)))
        ends = np.cumsum(counts)
        ids = places if row_ids is None else row_ids[places]
        found = np.searchsorted(ends, uniforms(state["seed"], name, ids) * ends[-1], side="right")
        return choices.take(pa.array(np.minimum(found, len(choices) - 1)))


class ImputeMean(_Imputer):
    """Fill missing numbers and dates with the mean, rounded for integers.

    A column in which all is missing is filled with 0. Infinite values do not count.

    >>> task = Task({"a": [1.0, None, 4.0]})
    >>> ImputeMean().as_graph().fit(task).predict(task).column("a").to_pylist()
    [1.0, 2.5, 4.0]
    """

    key = "imputemean"
    accepts = frozenset(_NUMBERS)

    def choices(self, name: str, values: pa.Array) -> tuple[Any, Any]:
        known = _physical(values)
        return [_in_type(np.mean(known.astype(np.float64)), known) if len(known) else 0], None


class ImputeMedian(_Imputer):
    """Fill missing numbers and dates with the median, rounded for integers.

    A column in which all is missing is filled with 0. Infinite values do not count.

    >>> task = Task({"a": [1, None, 4, 4]})
    >>> ImputeMedian().as_graph().fit(task).predict(task).column("a").to_pylist()
    [1, 4, 4, 4]
    """

    key = "imputemedian"
    accepts = frozenset(_NUMBERS)

    def choices(self, name: str, values: pa.Array) -> tuple[Any, Any]:
        return [_median(values)], None


class ImputeMode(_Imputer):
    """Fill missing values with the most frequent one; one of them at random when several are.

    A column in which all is missing is filled with 0, ``False``, ``.MISSING`` or, if it is a
    category, one of its levels.

    >>> task = Task({"a": ["u", None, "v", "v"]})
    >>> ImputeMode().as_graph().fit(task).predict(task).column("a").to_pylist()
    ['u', 'v', 'v', 'v']
    """

    key = "imputemode"
    random = True
    accepts = frozenset(_PLAIN)

    def choices(self, name: str, values: pa.Array) -> tuple[Any, Any]:
        seen, counts = _observed(values)
        most = [i for i, count in enumerate(counts) if count == max(counts)]
        return seen.take(pa.array(most, pa.int64())), None


class ImputeSample(_Imputer):
    """Fill missing values with values that were observed, as often as they were observed.

    A column in which all is missing is filled as ``imputemode`` does.

    >>> task = Task({"a": [5, None, 5]})
    >>> ImputeSample().as_graph().fit(task).predict(task).column("a").to_pylist()
    [5, 5, 5]
    """

    key = "imputesample"
    random = True
    accepts = frozenset(_PLAIN)

    def choices(self, name: str, values: pa.Array) -> tuple[Any, Any]:
        return _observed(values)


class ImputeConstant(_Imputer):
    """Fill missing values with a constant.

    Args:
        constant: The value; for dates a date, or a string that reads as one.
        check_levels: Refuse a constant that is not a level of a category; if not, the level is
            added.

    Raises:
        DataError: The constant does not fit a column with missing values.

    >>> task = Task({"a": [1, None], "b": ["u", "v"]})
    >>> ImputeConstant(constant=-1).as_graph().fit(task).predict(task).column("a").to_pylist()
    [1, -1]
    """

    key = "imputeconstant"
    accepts = frozenset(_PLAIN)

    constant: Any = param()
    check_levels: bool = True

    def choices(self, name: str, values: pa.Array) -> tuple[Any, Any]:
        # A constant need only fit where something is missing.
        complaint = self._complaint(values)
        if complaint and values.null_count:
            raise self._does_not_fit(name, complaint)
        return [] if complaint else [self.constant], None

    def levels(self, values: pa.Array) -> tuple[str, ...] | None:
        known = super().levels(values)
        if known is None or self.constant in known or self._complaint(values):
            return known
        return (*known, self.constant)

    def filled(
        self, state: Any, name: str, values: pa.Array, row_ids: NDArray[np.int64] | None
    ) -> pa.Array:
        if values.null_count and len(state["choices"]) == 0:
            raise self._does_not_fit(name, self._complaint(values))
        return super().filled(state, name, values, row_ids)

    def _complaint(self, values: pa.Array) -> str:
        kind = feature_type(values.type)
        if not _CONSTANTS[kind](self.constant):
            return f"the column is {kind}"
        if kind == "datetime" and not _reads_as(self.constant, values.type):
            return f"the column is {values.type}"
        if kind == "category" and self.check_levels and self.constant not in levels_of(values):
            return "it is not one of the levels"
        return ""

    def _does_not_fit(self, name: str, complaint: str) -> DataError:
        return DataError(
            f"Column {name!r} cannot be filled with {self.constant!r}.",
            where=f"column {name!r}",
            why=complaint,
            mend="restrict columns=, or pass check_levels=False to add a level",
        )


class ImputeHist(_Imputer):
    """Fill missing numbers and dates with draws from a histogram of the observed ones.

    The bins are those of Sturges. Integers are rounded, and never leave the observed range. A
    column in which all is missing is filled with 0.

    >>> task = Task({"a": [1.0, None, 1.0]})
    >>> ImputeHist().as_graph().fit(task).predict(task).column("a").to_pylist()
    [1.0, 1.0, 1.0]
    """

    key = "imputehist"
    random = True
    accepts = frozenset(_NUMBERS)

    def choices(self, name: str, values: pa.Array) -> tuple[Any, Any]:
        known = _physical(values)
        return [known.min(), known.max()] if len(known) else [0, 0], None

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        state = super().fit_column(name, values, task, ctx)
        known = _physical(values).astype(np.float64)
        counts, edges = np.histogram(known if len(known) else np.zeros(1), _sturges(known))
        return {**state, "counts": counts, "edges": edges}

    def drawn(
        self, state: Any, name: str, places: NDArray[Any], row_ids: NDArray[np.int64] | None
    ) -> pa.Array:
        ids = places if row_ids is None else row_ids[places]
        counts, edges = state["counts"], state["edges"]
        ends = np.cumsum(counts)
        where = uniforms(state["seed"], name, ids) * ends[-1]
        bins = np.minimum(np.searchsorted(ends, where, side="right"), len(counts) - 1)
        inside = 1.0 - (ends[bins] - where) / counts[bins]
        drawn = edges[bins] * (1.0 - inside) + edges[bins + 1] * inside
        return _as_array(_between(drawn, _physical(state["choices"])), state["choices"].type)


class ImputeOor(_Imputer):
    """Fill missing values so that they stand out.

    Numbers get one outside the observed range: ``min - offset - multiplier * range``. Categories
    get a new level and strings the word ``.MISSING``. For integers the number ends at the limits of
    the type.

    Args:
        min: Go below the smallest value; if not, above the largest.
        offset: Distance from the observed range.
        multiplier: Additional distance, in ranges.
        create_empty_level: Add the level to categories in which nothing is missing, too. If not,
            values that are missing there later stay missing.

    >>> task = Task({"a": [1.0, None, 3.0], "b": ["u", None, "v"]})
    >>> ImputeOor().as_graph().fit(task).predict(task).table().to_pydict()
    {'a': [1.0, -2.0, 3.0], 'b': ['u', '.MISSING', 'v']}
    """

    key = "imputeoor"
    accepts = frozenset(NUMERIC | {"category", "string"})

    min: bool = True
    offset: float = param(default=1.0, lower=0)
    multiplier: float = param(default=1.0, lower=0)
    create_empty_level: bool = False

    def choices(self, name: str, values: pa.Array) -> tuple[Any, Any]:
        if feature_type(values.type) in NUMERIC:
            return [self._number(_physical(values))], None
        levels = self.levels(values)
        return [MISSING] if levels is None or MISSING in levels else [], None

    def levels(self, values: pa.Array) -> tuple[str, ...] | None:
        known = super().levels(values)
        if known is None or MISSING in known or not (values.null_count or self.create_empty_level):
            return known
        return (*known, MISSING)

    def _number(self, known: NDArray[Any]) -> Any:
        if len(known) == 0:
            return 0
        low, high = known.min().item(), known.max().item()
        away = self.offset + self.multiplier * (high - low)
        return _in_type(low - away if self.min else high + away, known)


class Impute(_Imputer):
    """Fill missing values, whatever the column: a good start.

    Numbers and dates get the median, booleans the more frequent value, categories the new level
    ``.MISSING`` and strings this word. A category with nothing missing while fitting gets no new
    level; what is missing there later gets its most frequent level. Infinite values do not count,
    and numbers that are all missing become 0.

    >>> task = Task({"a": [1.0, None, 4.0, 5.0], "b": ["u", None, "v", "v"]})
    >>> Impute().as_graph().fit(task).predict(task).table().to_pydict()
    {'a': [1.0, 4.0, 4.0, 5.0], 'b': ['u', '.MISSING', 'v', 'v']}
    """

    accepts = frozenset(_PLAIN)

    def choices(self, name: str, values: pa.Array) -> tuple[Any, Any]:
        kind = feature_type(values.type)
        if kind in _NUMBERS:
            return [_median(values)], None
        if kind == "string" or (kind == "category" and values.null_count):
            return [MISSING], None
        seen, counts = _observed(values)
        return seen.slice(int(np.argmax(counts)), 1) if len(seen) else seen, None

    def levels(self, values: pa.Array) -> tuple[str, ...] | None:
        known = super().levels(values)
        if known is None or MISSING in known or not values.null_count:
            return known
        return (*known, MISSING)


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


def _filled_category(
    values: pa.Array, missing: pa.Array, chosen: pa.Array, levels: tuple[str, ...]
) -> pa.Array:
    fresh = [level for level in levels_of(values) if level not in levels]
    if not values.null_count and not fresh and levels_of(values) == levels:
        return values
    every = (*levels, *fresh)
    codes = codes_among(values, every)
    if len(chosen):
        codes[np.asarray(missing)] = codes_among(chosen, every)
    return category(codes, every, values.type.ordered)


def _physical(values: pa.Array) -> NDArray[Any]:
    """What is not missing and not infinite, as floats or 64-bit integers."""
    known = values.drop_null()
    if pat.is_floating(known.type):
        floats = known.to_numpy(zero_copy_only=False).astype(np.float64)
        return np.asarray(floats[np.isfinite(floats)])
    if pat.is_date32(known.type):
        known = known.cast(pa.int32())
    return np.asarray(known.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _observed(values: pa.Array) -> tuple[pa.Array, NDArray[Any]]:
    """The distinct values and how often they occur; a makeshift where there are none."""
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
        return _as_array([stand_in], values.type), np.ones(1, dtype=np.int64)
    return found.field("values"), found.field("counts").to_numpy()


def _median(values: pa.Array) -> Any:
    known = np.sort(_physical(values))
    if len(known) == 0:
        return 0
    low, high = known[(len(known) - 1) // 2].item(), known[len(known) // 2].item()
    if isinstance(low, float):
        return low / 2 + high / 2
    half, odd = divmod(low + high, 2)  # Python's integers do not overflow
    return half + (half % 2 if odd else 0)


def _in_type(number: Any, known: NDArray[Any]) -> Any:
    """A number as the column can hold it: integers rounded and within 64 bits."""
    if known.dtype.kind == "f":
        return float(number)
    return min(max(round(number), int(_INT64.min)), int(_INT64.max))


def _between(drawn: NDArray[np.float64], ends: NDArray[Any]) -> NDArray[Any]:
    """Draws within the observed range, rounded for integers, without leaving 64 bits."""
    low, high = ends[0], ends[-1]
    if ends.dtype.kind == "f":
        return np.clip(drawn, low, high)
    rounded = np.rint(drawn)
    above, below = rounded >= float(high), rounded <= float(low)
    inside = np.where(above | below, 0.0, rounded).astype(np.int64)
    return np.where(above, high, np.where(below, low, inside))


def _sturges(known: NDArray[np.float64]) -> int:
    return int(np.ceil(np.log2(len(known)))) + 1 if len(known) else 1


def _as_array(values: Any, wanted: Any) -> pa.Array:
    """Values as an array of a column's type; for dates, integers count units."""
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


def _reads_as(value: Any, wanted: Any) -> bool:
    try:
        _as_array([value], wanted)
    except (pa.ArrowException, TypeError, ValueError):
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_date(value: Any) -> bool:
    return isinstance(value, str) or hasattr(value, "isoformat")


_CONSTANTS = {
    "float": _is_number,
    "int": lambda value: _is_number(value) and value == int(value),
    "bool": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "category": lambda value: isinstance(value, str),
    "datetime": _is_date,
}
