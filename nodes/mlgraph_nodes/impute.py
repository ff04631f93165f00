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
from mlgraph.data.arrays import levels_of, plain
from mlgraph.data.column import feature_type
from mlgraph.data.task import Task
from mlgraph.data.transform import NUMERIC, ColumnTransform
from mlgraph.errors import DataError
from mlgraph_nodes.filling import (
    MISSING,
    as_array,
    between,
    filled_category,
    in_type,
    median,
    observed,
    physical,
    reads_as,
    sturges,
    uniforms,
)

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
        state: dict[str, Any] = {"choices": as_array(chosen, wanted), "levels": levels}
        if self.random:
            state["seed"] = ctx.seed
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
            return filled_category(values, missing, chosen, state["levels"])
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
        known = physical(values)
        return [in_type(np.mean(known.astype(np.float64)), known) if len(known) else 0], None


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
        return [median(values)], None


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
        seen, counts = observed(values)
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
        return observed(values)


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
        if kind == "datetime" and not reads_as(self.constant, values.type):
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
        known = physical(values)
        return [known.min(), known.max()] if len(known) else [0, 0], None

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        state = super().fit_column(name, values, task, ctx)
        known = physical(values).astype(np.float64)
        counts, edges = np.histogram(known if len(known) else np.zeros(1), sturges(known))
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
        return as_array(between(drawn, physical(state["choices"])), state["choices"].type)


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
            return [self._number(physical(values))], None
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
        return in_type(low - away if self.min else high + away, known)


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
            return [median(values)], None
        if kind == "string" or (kind == "category" and values.null_count):
            return [MISSING], None
        seen, counts = observed(values)
        return seen.slice(int(np.argmax(counts)), 1) if len(seen) else seen, None

    def levels(self, values: pa.Array) -> tuple[str, ...] | None:
        known = super().levels(values)
        if known is None or MISSING in known or not values.null_count:
            return known
        return (*known, MISSING)


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
