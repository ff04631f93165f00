"""What nodes from tasks to tasks share: which columns, what is remembered, where results go.

    TaskTransform     learns from and changes some columns together
    ColumnTransform   the same, one column at a time
    RowTransform      chooses rows while fitting, and changes nothing afterwards

The bases keep the promises all these nodes make. The layout (names and feature types) seen in
``fit`` is remembered and checked in ``apply``; columns that are not concerned are passed on by
reference; results stand where the columns stood that they replace; no rows and no columns work;
``apply`` never looks at the target.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.port import Port
from mlgraph.data.arrays import plain
from mlgraph.data.chosen import ColumnsNode
from mlgraph.data.column import Column
from mlgraph.data.ingest import to_column
from mlgraph.data.task import Task
from mlgraph.errors import DataError, UnknownColumnError, did_you_mean, listing

NUMERIC = frozenset({"float", "int"})


class TaskTransform(ColumnsNode):
    """A node that changes columns of a task, several of them together.

    A subclass says what it learns from the columns (``fit_columns``) and what it makes of them
    (``transform_columns``). A result with the name of one of the columns stands in its place, all
    others stand where the first of the columns stood; a column without a result is gone.

    Class attributes:
        accepts: The feature types the node can work on.

    Args:
        columns: The columns to work on, by default all that the node accepts.

    >>> from mlgraph.data.arrays import numbers
    >>> class Total(TaskTransform):
    ...     accepts = NUMERIC
    ...
    ...     def fit_columns(self, table, task, ctx):
    ...         return None
    ...
    ...     def transform_columns(self, state, table, ctx):
    ...         return {"total": sum(numbers(column) for column in table.columns)}
    >>> task = Task({"name": ["u", "v"], "a": [1.0, 2.0], "b": [3, 4]})
    >>> Total().as_graph().fit(task).predict(task).table().to_pydict()
    {'name': ['u', 'v'], 'total': [4.0, 6.0]}
    """

    @abstractmethod
    def fit_columns(self, table: pa.Table, task: Task, ctx: Context) -> Any:
        """What is learned from the columns: plain data (numbers, strings, arrays, dicts)."""

    @abstractmethod
    def transform_columns(self, state: Any, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """What the columns become: arrays by name, one value per row."""

    def transform_task(
        self, state: Any, task: Task, names: Sequence[str], ctx: Context
    ) -> Mapping[str, Mapping[str, Any]]:
        """Results by the column in whose place they stand; for nodes that need row ids."""
        return placed(self.transform_columns(state, task.table(names), ctx), names)

    def fit_task(
        self, task: Task, names: Sequence[str], ctx: Context
    ) -> tuple[Any, Mapping[str, Mapping[str, Any]]]:
        """What is learned, and the results; for nodes that find both in one step."""
        learned = self.fit_columns(task.table(names), task, ctx)
        return learned, self.transform_task(learned, task, names, ctx)

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        task = inputs["input"]
        names = self.affected(task)
        learned, made = self.fit_task(task, names, ctx) if names else (None, {})
        results = _as_columns(made)
        state = {"layout": layout_of(task), "columns": names, "learned": learned}
        return (_replaced(task, results),), {**state, "results": _without_rows(results)}

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        task = restored(inputs["input"], state["layout"])
        results = self._results(state, task, ctx)
        _check_results(state["results"], results)
        return (_replaced(task, results),)

    def _results(self, state: Mapping[str, Any], task: Task, ctx: Context) -> _Results:
        names = state["columns"]
        if not names or len(task) == 0:
            return _of_tables(state["results"])
        return _as_columns(self.transform_task(state["learned"], task, names, ctx))


class ColumnTransform(TaskTransform):
    """A node that changes every column on its own; results stand where their column stood.

    >>> from mlgraph.data.arrays import numbers
    >>> class Double(ColumnTransform):
    ...     accepts = NUMERIC
    ...
    ...     def fit_column(self, name, values, task, ctx):
    ...         return None
    ...
    ...     def transform_column(self, state, name, values):
    ...         return {f"{name}.twice": 2 * numbers(values)}
    >>> task = Task({"a": [1.0, 2.0], "b": ["u", "v"], "c": [3, 4]})
    >>> Double(columns=["a"]).as_graph().fit(task).predict(task).features
    ('a.twice', 'b', 'c')
    """

    @abstractmethod
    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        """What is learned from a column: plain data."""

    @abstractmethod
    def transform_column(self, state: Any, name: str, values: pa.Array) -> Mapping[str, Any]:
        """What the column becomes: arrays by name."""

    def fit_columns(self, table: pa.Table, task: Task, ctx: Context) -> Any:
        return {
            name: self.fit_column(name, plain(table[name]), task, ctx)
            for name in table.column_names
        }

    def transform_columns(self, state: Any, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        results: dict[str, Any] = {}
        for name in table.column_names:
            results.update(self.transform_column(state[name], name, plain(table[name])))
        return results

    def transform_task(
        self, state: Any, task: Task, names: Sequence[str], ctx: Context
    ) -> Mapping[str, Mapping[str, Any]]:
        return {
            name: self.transform_column(state[name], name, plain(task.column(name)))
            for name in names
        }


class RowTransform(Node):
    """A node that chooses rows to learn from, and leaves new data as they are.

    >>> class FirstHalf(RowTransform):
    ...     def positions(self, task, ctx):
    ...         return np.arange(len(task) // 2)
    >>> task = Task({"a": [1, 2, 3, 4]})
    >>> fitted = FirstHalf().as_graph().fit(task)
    >>> len(fitted.outputs["first_half.output"]), len(fitted.predict(task))
    (2, 4)
    """

    inputs = (Port("input", Task),)
    outputs = (Port("output", Task),)

    @abstractmethod
    def positions(self, task: Task, ctx: Context) -> NDArray[np.int64]:
        """Positions of the rows to keep; they may repeat."""

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        task = inputs["input"]
        return (task.take(self.positions(task, ctx)),), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (inputs["input"],)

    def apply_training(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return self.fit(inputs, ctx)[0]


_Results = Mapping[str, Mapping[str, Column]]


def layout_of(task: Task) -> dict[str, str]:
    """Names and feature types of the features, in order.

    >>> layout_of(Task({"a": [1], "b": ["u"]}))
    {'a': 'int', 'b': 'string'}
    """
    return {name: task.types[name] for name in task.features}


def restored(task: Task, layout: Mapping[str, str]) -> Task:
    """The task with exactly the features of a layout, in its order; others are left out.

    Raises:
        DataError: A feature is missing, or has another type.

    >>> restored(Task({"b": ["u"], "a": [1]}), {"a": "int"}).features
    ('a',)
    """
    lost = [name for name in layout if name not in task.features]
    if lost:
        raise UnknownColumnError(
            f"{'Column' if len(lost) == 1 else 'Columns'} {listing(lost)} of the fit "
            f"{'is' if len(lost) == 1 else 'are'} missing.",
            why=f"the features are {listing(task.features)}",
            mend=did_you_mean(lost[0], task.features),
        )
    changed = [name for name in layout if task.types[name] != layout[name]]
    if changed:
        shown = [f"{name!r} was {layout[name]} and is {task.types[name]}" for name in changed]
        raise DataError(
            f"Columns have other types than in the fit: {listing(changed)}.",
            why=", ".join(shown[:8]),
            mend="convert them to the types they had",
        )
    return task if task.features == tuple(layout) else task.replace({}, list(layout))


def placed(results: Mapping[str, Any], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Results by the column in whose place they stand: the one of their name, or the first.

    >>> placed({"b": 1, "c": 2}, ["a", "b"])
    {'a': {'c': 2}, 'b': {'b': 1}}
    """
    parts: dict[str, dict[str, Any]] = {name: {} for name in names}
    for name, values in results.items():
        parts[name if name in parts else names[0]][name] = values
    return parts


def _replaced(task: Task, results: _Results) -> Task:
    """The task with results in the places of the columns they come from."""
    if not results:
        return task
    order = [new for name in task.features for new in results.get(name, (name,))]
    kept = {name for name in task.features if name not in results}
    made = [name for part in results.values() for name in part]
    twice = sorted({name for name in made if name in kept or made.count(name) > 1})
    if twice:
        raise DataError(
            f"New columns would have names that are taken: {listing(twice)}.",
            why="a feature has this name already, or two results have it",
            mend='rename the feature first, with po("renamecolumns", names={...})',
        )
    return task.replace({k: v for part in results.values() for k, v in part.items()}, order)


def _as_columns(parts: Mapping[str, Mapping[str, Any]]) -> _Results:
    return {
        place: {name: to_column(name, values, copy=False) for name, values in part.items()}
        for place, part in parts.items()
    }


def _without_rows(results: _Results) -> dict[str, pa.Table]:
    """The results of no rows: what they are when there is nothing to compute them from."""
    return {
        place: pa.table({name: column.emptied().array() for name, column in part.items()})
        for place, part in results.items()
    }


def _of_tables(tables: Mapping[str, pa.Table]) -> _Results:
    return {
        place: {name: Column.of(table[name]) for name in table.column_names}
        for place, table in tables.items()
    }


def _check_results(tables: Mapping[str, pa.Table], results: _Results) -> None:
    """Refuse results that differ from those of the fit: nodes further down count on them."""
    wanted, made = _kinds(_of_tables(tables)), _kinds(results)
    odd = [name for name in {**wanted, **made} if wanted.get(name) != made.get(name)]
    if odd:
        raise DataError(
            f"Results differ from those of the fit: {listing(odd)}.",
            why=f"then {_shown(wanted)}; now {_shown(made)}",
            mend="the same columns must come out for all data",
        )


def _kinds(results: _Results) -> dict[str, str]:
    return {name: column.kind for part in results.values() for name, column in part.items()}


def _shown(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in list(kinds.items())[:6]) or "nothing"
