"""Nodes that choose, name, join and derive columns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.data.arrays import category, plain
from mlgraph.data.column import Column
from mlgraph.data.selector import Selector
from mlgraph.data.task import Task
from mlgraph.data.transform import ColumnTransform, TaskTransform, layout_of, restored
from mlgraph.errors import ConfigError, DataError, GraphError, UnknownColumnError, listing


class KeepColumns(Node):
    """Base of nodes that keep some features as they are and drop the others.

    >>> class FirstTwo(KeepColumns):
    ...     def kept(self, task, ctx):
    ...         return task.features[:2]
    >>> task = Task({"a": [1], "b": [2], "c": [3]})
    >>> FirstTwo().as_graph().fit(task).predict(task).features
    ('a', 'b')
    """

    inputs = (Port("input", Task),)
    outputs = (Port("output", Task),)

    @abstractmethod
    def kept(self, task: Task, ctx: Context) -> Sequence[str]:
        """The features to keep; asked while fitting only."""

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        task = inputs["input"]
        kept = tuple(self.kept(task, ctx))
        state = {"layout": {name: task.types[name] for name in kept}}
        return (task.replace({}, kept),), state

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (restored(inputs["input"], state["layout"]),)


class Select(KeepColumns):
    """Keep some features. A selector that looks at data does so while fitting only.

    Args:
        columns: A name, names, or a selector such as ``sel.type("float")``.

    >>> task = Task({"a": [1.5], "b": ["u"]})
    >>> Select(columns="a").as_graph().fit(task).predict(task).features
    ('a',)
    """

    columns: Any = param(convert=Selector.of)

    def kept(self, task: Task, ctx: Context) -> Sequence[str]:
        return tuple(self.columns.pick(task))


class Drop(KeepColumns):
    """Drop some features.

    Args:
        columns: A name, names, or a selector such as ``sel.type("string")``.

    >>> task = Task({"a": [1.5], "b": ["u"]})
    >>> Drop(columns="a").as_graph().fit(task).predict(task).features
    ('b',)
    """

    columns: Any = param(convert=Selector.of)

    def kept(self, task: Task, ctx: Context) -> Sequence[str]:
        gone = self.columns.pick(task)
        return [name for name in task.features if name not in gone]


class RenameColumns(Node):
    """Give features other names.

    Args:
        names: New names by old name, or a function from the old name to the new.
        ignore_missing: Let old names pass that are no features.

    Raises:
        DataError: An old name is no feature, or two columns would have one name.

    >>> task = Task({"a": [1], "b": [2]})
    >>> RenameColumns(names={"a": "size"}).as_graph().fit(task).predict(task).features
    ('size', 'b')
    """

    key = "renamecolumns"
    inputs = (Port("input", Task),)
    outputs = (Port("output", Task),)

    names: Any = param()
    ignore_missing: bool = False

    def validate(self) -> None:
        if not isinstance(self.names, Mapping) and not callable(self.names):
            raise ConfigError(
                f"{self.call_name()} needs new names.",
                why="expected a dict from old to new names, or a function",
            )

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        task = inputs["input"]
        names = self._new_names(task)
        return (task.rename(names),), {"layout": layout_of(task), "names": names}

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (restored(inputs["input"], state["layout"]).rename(state["names"]),)

    def _new_names(self, task: Task) -> dict[str, str]:
        if callable(self.names):
            return {name: str(self.names(name)) for name in task.features}
        absent = [name for name in self.names if name not in task.features]
        if absent and not self.ignore_missing:
            raise UnknownColumnError(
                f"{listing(absent)} cannot be renamed.",
                why=f"the features are {listing(task.features)}",
                mend="pass ignore_missing=True to let this pass",
            )
        return {name: new for name, new in self.names.items() if name in task.features}


class FeatureUnion(Node):
    """Put the features of several tasks side by side, rows matched by their ids.

    Target and other roles are those of the first task. A name may occur several times if the values
    are the same; the column is then kept once.

    Args:
        prefixes: A prefix for the features of each input, in order; ``"p"`` makes ``a`` to ``p.a``,
            an empty one changes nothing.

    Raises:
        DataError: Columns of one name differ, targets differ, or the rows are not the same.

    >>> task = Task({"a": [1], "b": [2]})
    >>> graph = [Select(columns="b"), Select(columns="a")] >> FeatureUnion()
    >>> graph.fit(task).predict(task).features
    ('b', 'a')
    """

    key = "featureunion"
    inputs = (Port("inputs", Task, variadic=True),)
    outputs = (Port("output", Task),)

    prefixes: tuple[str, ...] = ()

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        return self.apply(None, inputs, ctx), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        tasks = inputs["inputs"]
        if not tasks:
            raise GraphError("A featureunion has no inputs.", mend="put something before it")
        first, *others = self._prefixed(tasks)
        others = [first.align(other) for other in others]
        for other in others:
            _check_targets(first, other)
        columns: dict[str, Column] = {}
        for task in (first, *others):
            _add_columns(columns, task)
        fresh = {name: column for name, column in columns.items() if name not in first.features}
        return (first.replace(fresh, list(columns)),)

    def check_wiring(self, edges: Mapping[str, int]) -> None:
        count = edges.get("inputs", 0)
        if self.prefixes and count and len(self.prefixes) != count:
            raise GraphError(
                f"A featureunion has {len(self.prefixes)} prefixes for {count} inputs.",
                mend='give every input one; "" changes nothing',
            )

    def _prefixed(self, tasks: Sequence[Task]) -> list[Task]:
        prefixes = (*self.prefixes, *[""] * len(tasks))
        return [
            task.rename({name: f"{prefix}.{name}" for name in task.features}) if prefix else task
            for task, prefix in zip(tasks, prefixes, strict=False)
        ]


class MissInd(TaskTransform):
    """Replace features by columns that tell where they are missing: ``missing_<column>``.

    The features themselves are gone: put the node beside another path and join both with
    ``featureunion``.

    Args:
        which: ``"missing_train"``: columns with missing values in the fit. ``"all"``: every column.
        type: Type of the new columns; a category has the levels ``missing`` and ``present``.
        columns: The columns to look at and to replace. By default every feature is replaced,
            and categories, strings and tensors get no indicator.

    >>> task = Task({"a": [1.0, None], "b": [1, 2]})
    >>> MissInd().as_graph().fit(task).predict(task).table().to_pydict()
    {'missing_a': [False, True]}
    """

    key = "missind"

    which: str = param(default="missing_train", choices=("missing_train", "all"))
    type: str = param(default="bool", choices=("bool", "int", "float", "category"))

    def fit_columns(self, table: pa.Table, task: Task, ctx: Context) -> Any:
        silent = ("category", "string", "tensor") if self.columns is None else ()
        return tuple(
            name
            for name in table.column_names
            if task.types[name] not in silent and (self.which == "all" or table[name].null_count)
        )

    def transform_columns(self, state: Any, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        return {f"missing_{name}": self._typed(plain(pc.is_null(table[name]))) for name in state}

    def _typed(self, missing: pa.Array) -> pa.Array:
        if self.type == "category":
            codes = 1 - np.asarray(missing).astype(np.int64)
            return category(codes, ("missing", "present"))
        kinds = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}
        # Arrow turns booleans into floats by way of integers only.
        return missing if self.type == "bool" else missing.cast(pa.int64()).cast(kinds[self.type])


class ColApply(ColumnTransform):
    """Apply a function to every column, while fitting and afterwards.

    The function gets a NumPy array: missing numbers are NaN (and integers floats, if some are
    missing), categories are their words. It returns as many values, or a dict of such columns;
    these are called ``<column>.<name>``. What it computes from the whole column (a mean) depends on
    the batch; for this, a node with a state is needed.

    Args:
        fn: The function.

    >>> task = Task({"a": [1.0, 4.0]})
    >>> ColApply(fn=np.sqrt).as_graph().fit(task).predict(task).column("a").to_pylist()
    [1.0, 2.0]
    """

    key = "colapply"

    fn: Callable[..., Any] = param()

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        return None

    def transform_column(self, state: Any, name: str, values: pa.Array) -> Mapping[str, Any]:
        if pat.is_dictionary(values.type):
            values = values.dictionary_decode()
        result = self.fn(values.to_numpy(zero_copy_only=False))
        if isinstance(result, Mapping) or hasattr(result, "columns"):
            return {f"{name}.{part}": self._checked(result[part], values) for part in result}
        return {name: self._checked(result, values)}

    def _checked(self, result: Any, values: pa.Array) -> Any:
        if not hasattr(result, "__len__") or len(result) != len(values):
            size = len(result) if hasattr(result, "__len__") else "no"
            raise DataError(
                f"The function of {self.call_name()} must return one value per row.",
                why=f"{size} values came back for {len(values)} rows",
            )
        return np.array(result) if isinstance(result, np.ndarray) else result


def _add_columns(columns: dict[str, Column], task: Task) -> None:
    new = {name: task.columns[name] for name in task.features}
    differ = [
        name for name, column in new.items() if name in columns and not _same(columns[name], column)
    ]
    if differ:
        raise DataError(
            f"Columns of one name differ: {listing(differ)}.",
            why="two inputs have them, with different values",
            mend="drop them from all inputs but one, or give prefixes=[...]",
        )
    columns.update({name: column for name, column in new.items() if name not in columns})


def _same(one: Column, other: Column) -> bool:
    if one is other or (one.stored is other.stored and one.rows is other.rows):
        return True
    if one.type != other.type or one.levels != other.levels:
        return False
    if one.kind == "tensor":
        return one.fingerprint == other.fingerprint
    return bool(one.array().equals(other.array()))


def _check_targets(first: Task, other: Task) -> None:
    if not first.targets or not other.targets:
        return
    same = first.targets == other.targets and first.classes == other.classes
    if not same or not np.array_equal(first.target_codes(), other.target_codes(), equal_nan=True):
        raise DataError(
            f"The inputs of a featureunion have different targets: {listing(first.targets)}.",
            why=f"the other has {listing(other.targets)}, with other values or classes",
            mend="transform the target before the paths part",
        )
