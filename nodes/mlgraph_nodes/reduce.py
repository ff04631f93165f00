"""Nodes that make a table smaller: fewer columns, fewer levels, fewer dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.param import param
from mlgraph.data.arrays import category, codes_among, levels_of, numbers, plain
from mlgraph.data.chosen import selector
from mlgraph.data.task import Task
from mlgraph.data.transform import NUMERIC, ColumnTransform, TaskTransform
from mlgraph.errors import DataError, listing
from mlgraph_nodes.columns import KeepColumns


class RemoveConstants(KeepColumns):
    """Drop features that are constant, or nearly so.

    A feature goes when all but a share ``ratio`` of its values are equal. Numbers are equal within
    either tolerance; infinite ones are values of their own.

    Args:
        ratio: Share of the values that may differ.
        rel_tol: Relative tolerance.
        abs_tol: Absolute tolerance.
        na_ignore: Leave missing values out; if not, they are a value of their own.
        columns: The features to look at, by default all.

    >>> task = Task({"a": [1.0, 1.0, 1.0], "b": [1, 2, 3]})
    >>> RemoveConstants().as_graph().fit(task).predict(task).features
    ('b',)
    """

    key = "removeconstants"

    ratio: float = param(default=0.0, lower=0, upper=1)
    rel_tol: float = param(default=1e-8, lower=0)
    abs_tol: float = param(default=1e-8, lower=0)
    na_ignore: bool = True
    columns: Any = param(default=None, convert=selector)

    def kept(self, task: Task, ctx: Context) -> Sequence[str]:
        looked = task.features if self.columns is None else self.columns.pick(task)
        return [name for name in task.features if name not in looked or self._varies(task, name)]

    def _varies(self, task: Task, name: str) -> bool:
        kind = task.types[name]
        if kind == "tensor":
            return True
        values = task.column(name)
        known = values.drop_null()
        n = len(known) if self.na_ignore else len(values)
        wanted = n - math.floor(n * self.ratio)
        if wanted <= 1:
            return False
        common = self._most_equal(numbers(known)) if kind in NUMERIC else _most_common(known)
        return max(common, n - len(known)) < wanted

    def _most_equal(self, known: NDArray[np.float64]) -> int:
        """The largest number of values within the tolerance of the smallest of them."""
        infinite = [int(np.sum(known == sign * np.inf)) for sign in (1, -1)]
        ordered = np.sort(known[np.isfinite(known)])
        # Halved, so that the distance of huge values of both signs stays finite.
        reach = np.maximum(self.abs_tol / 2, self.rel_tol * np.abs(ordered) / 2)
        ends = np.searchsorted(ordered / 2, ordered / 2 + reach, side="right")
        return max(*infinite, int(np.max(ends - np.arange(len(ordered)), initial=0)))


class CollapseFactors(ColumnTransform):
    """Merge rare levels of categories.

    The most frequent levels are kept, and those above either bound. Each other level joins the
    least frequent kept one; if levels are ordered, a neighbour: the rarer one, again and again,
    until only kept ones are left. Levels that appear later stay as they are and come last.

    Args:
        no_collapse_above_prevalence: Keep levels whose share is above this.
        no_collapse_above_absolute: Keep levels that occur more often than this.
        target_level_count: Number of most frequent levels to keep.

    >>> task = Task({"a": pa.array(["u", "u", "v", "v", "w"]).dictionary_encode()})
    >>> CollapseFactors().as_graph().fit(task).predict(task).column("a").to_pylist()
    ['u', 'u', 'v', 'v', 'v']
    """

    key = "collapsefactors"
    accepts = frozenset({"category"})

    no_collapse_above_prevalence: float = param(default=1.0, lower=0, upper=1)
    no_collapse_above_absolute: float = param(default=math.inf, lower=0)
    target_level_count: int = param(default=2, lower=1)

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        levels = levels_of(values)
        codes = codes_among(values, levels)
        counts = np.bincount(codes[codes >= 0], minlength=len(levels)).tolist()
        if len(levels) <= self.target_level_count or sum(counts) == 0:
            return {"levels": levels, "becomes": levels}
        join = _joined_by_order if values.type.ordered else _joined_to_rarest
        becomes = join(levels, counts, self._kept(counts))
        return {"levels": levels, "becomes": tuple(becomes)}

    def transform_column(self, state: Any, name: str, values: pa.Array) -> Mapping[str, Any]:
        becomes = dict(zip(state["levels"], state["becomes"], strict=True))
        fresh = sorted(level for level in levels_of(values) if level not in becomes)
        kept = [level for level in state["levels"] if level in set(state["becomes"])]
        every = [*kept, *(level for level in fresh if level not in kept)]
        old = (*state["levels"], *fresh)
        place = [every.index(becomes.get(level, level)) for level in old]
        table = np.array([*place, -1], dtype=np.int64)
        return {name: category(table[codes_among(values, old)], every, values.type.ordered)}

    def _kept(self, counts: list[int]) -> set[int]:
        most = sorted(range(len(counts)), key=lambda i: -counts[i])[: self.target_level_count]
        above = [
            i
            for i, count in enumerate(counts)
            if count > self.no_collapse_above_absolute
            or count / sum(counts) > self.no_collapse_above_prevalence
        ]
        return {*most, *above}


class FixFactors(ColumnTransform):
    """Fix the levels of categories to those of the fit; others become missing.

    Args:
        droplevels: Drop levels that did not occur in the fit.

    >>> fitted = FixFactors().as_graph().fit(Task({"a": pa.array(["u"]).dictionary_encode()}))
    >>> fitted.predict({"a": ["u", "w"]}).column("a").to_pylist()
    ['u', None]
    """

    key = "fixfactors"
    accepts = frozenset({"category"})

    droplevels: bool = True

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        levels = levels_of(values)
        if not self.droplevels:
            return levels
        seen = set(codes_among(values, levels).tolist())
        return tuple(level for i, level in enumerate(levels) if i in seen)

    def transform_column(self, state: Any, name: str, values: pa.Array) -> Mapping[str, Any]:
        return {name: category(codes_among(values, state), state, values.type.ordered)}


class Pca(TaskTransform):
    """Replace numeric columns by their principal components ``PC1``, ``PC2``, ...

    The sign of a component is such that its largest loading is positive.

    Args:
        center: Subtract the means.
        scale: Divide by the standard deviations.
        rank: Number of components, by default as many as there are.

    Raises:
        DataError: Values are missing.

    >>> task = Task({"a": [0.0, 3.0, 6.0], "b": [0.0, 4.0, 8.0]})
    >>> result = Pca(rank=1).as_graph().fit(task).predict(task)
    >>> np.round(numbers(result.column("PC1")), 6)
    array([-5., 0., 5.])
    """

    accepts = NUMERIC

    center: bool = True
    scale: bool = False
    rank: int | None = param(default=None, lower=1)

    def fit_columns(self, table: pa.Table, task: Task, ctx: Context) -> Any:
        x = complete_matrix(self.call_name(), table)
        if len(x) == 0:
            raise DataError(f"{self.call_name()} needs rows to be fitted.")
        center = x.mean(axis=0) if self.center else np.zeros(x.shape[1])
        spread = (x - center).std(axis=0) if self.scale else np.ones(x.shape[1])
        scale = np.where(spread > 0, spread, 1.0)
        axes = np.linalg.svd((x - center) / scale, full_matrices=False)[2][: self.rank]
        largest = axes[np.arange(len(axes)), np.argmax(np.abs(axes), axis=1)]
        rotation = np.ascontiguousarray((axes * np.where(largest < 0, -1.0, 1.0)[:, None]).T)
        return {"center": center, "scale": scale, "rotation": rotation}

    def transform_columns(self, state: Any, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        x = complete_matrix(self.call_name(), table)
        scores = ((x - state["center"]) / state["scale"]) @ state["rotation"]
        return {f"PC{i + 1}": np.ascontiguousarray(column) for i, column in enumerate(scores.T)}


def complete_matrix(asking: str, table: pa.Table) -> NDArray[np.float64]:
    """Numeric columns as a matrix.

    Raises:
        DataError: Values are missing.

    >>> complete_matrix('po("pca")', pa.table({"a": [1, 2]}))
    array([[1.], [2.]])
    """
    holes = [name for name in table.column_names if table[name].null_count]
    if holes:
        raise DataError(
            f"{asking} cannot work with missing values.",
            where=f"column {holes[0]!r}",
            why=f"columns with missing values: {listing(holes)}",
            mend='put po("impute") before it',
        )
    return np.column_stack([numbers(plain(column)) for column in table.columns])


def _most_common(known: pa.ChunkedArray) -> int:
    counts = pc.value_counts(known).field("counts") if len(known) else []
    return int(max(np.asarray(counts), default=0))


def _joined_to_rarest(levels: Sequence[str], counts: list[int], kept: set[int]) -> list[str]:
    rarest = min(sorted(kept, reverse=True), key=lambda i: counts[i])
    return [level if i in kept else levels[rarest] for i, level in enumerate(levels)]


def _joined_by_order(levels: Sequence[str], counts: list[int], kept: set[int]) -> list[str]:
    """Merge the rarest group that is not kept into its rarer neighbour, until none is left."""
    groups = [[i] for i in range(len(levels))]  # the first of a group gives it its name
    while any(group[0] not in kept for group in groups):
        sizes = [sum(counts[i] for i in group) for group in groups]
        gone = min((k for k, g in enumerate(groups) if g[0] not in kept), key=lambda k: sizes[k])
        near = [k for k in (gone - 1, gone + 1) if 0 <= k < len(groups)]
        into = min(near, key=lambda k: sizes[k])
        groups[into] = groups[into] + groups[gone]
        del groups[gone]
    name = {i: levels[group[0]] for group in groups for i in group}
    return [name[i] for i in range(len(levels))]
