"""Codecs of the engine's values: tasks, kinds of tasks, and frozen classes of fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np
import pyarrow as pa

from mlgraph.core.keyed import Keyed
from mlgraph.core.value import address, importable
from mlgraph.data.column import TYPES, Column
from mlgraph.data.contents import rebuild
from mlgraph.data.ingest import to_column
from mlgraph.data.kind import Goal, TaskType, task_types
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.pending import Lazy
from mlgraph.data.lazy.source import Absent
from mlgraph.data.task import Task
from mlgraph.errors import StateError, listing
from mlgraph.store.archive import damaged
from mlgraph.store.codec import Codec, Reader, Writer, parts_of, text_of
from mlgraph.store.names import is_frozen, not_allowed
from mlgraph.store.weights import check_weights
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks import known as callbacks
from mlgraph.train.formula import TABLE
from mlgraph.train.metric import Metric, metric
from mlgraph.train.sampler import BatchSampler, Sampler
from mlgraph.train.sampler import known as samplers
from mlgraph.train.trained import Trained

# Frozen classes


def _write_frozen(writer: Writer, value: Any) -> list[Any]:
    cls = type(value)
    if not importable(cls):
        raise writer.refusal(
            value,
            why="its class was defined in a notebook, in __main__ or inside a function",
            mend="define the class at the top of a module, and import it from there",
        )
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(cls)}
    return [address(cls), writer.fields(fields)]


def _read_frozen(reader: Reader, content: Any) -> Any:
    name, said = parts_of(content, 2)
    cls = reader.names.find(text_of(name))
    if not isinstance(cls, type) or not is_frozen(cls):
        raise not_allowed(name)
    values = reader.fields(said)
    names = {field.name: str(field.alias) for field in attrs.fields(cls)}
    unknown = [given for given in values if given not in names]
    if unknown:
        raise damaged(f"A {cls.__name__} has no {listing(unknown)}.")
    made = cls(**{names[given]: value for given, value in values.items()})
    if isinstance(made, Trained):
        check_weights(made)
    return made


# Kinds of tasks and callbacks, which are found by their keys


def _write_keyed(writer: Writer, value: Keyed) -> list[Any]:
    return [value.key, writer.fields(value.fields())]


def _keyed(what: str, known: Callable[[], Mapping[str, Any]]) -> Callable[[Reader, Any], Any]:
    """How values are read whose classes are found by key."""

    def read(reader: Reader, content: Any) -> Any:
        key, options = parts_of(content, 2)
        classes = known()
        if text_of(key) not in classes:
            raise StateError(
                f"The file needs the {what} {key!r}, which is not there.",
                why=f"there are {listing(classes, 20)}",
                mend="import the module in which it is defined",
            )
        return classes[key](**reader.fields(options))

    return read


def _is_known_metric(value: Any) -> bool:
    return isinstance(value, Metric) and value.name in TABLE and metric(value.name) == value


# Tasks


def _write_task(writer: Writer, task: Task) -> dict[str, Any]:
    lazy = [name for name, column in task.columns.items() if column.stored.extra is not None]
    if (lazy and len(task)) or type(task) is not Task:
        raise writer.refusal(task, why=f"its columns refer to data elsewhere: {listing(lazy)}")
    with writer.inside("columns"):
        columns = {name: writer.value(_content(column)) for name, column in task.columns.items()}
    with writer.inside("rows"):
        row_ids = writer.value(np.asarray(task.row_ids))
    roles = {role: list(names) for role, names in task.roles.items()}
    return {"columns": columns, "row_ids": row_ids, "roles": roles, "goal": writer.value(task.goal)}


def _content(column: Column) -> pa.ChunkedArray | Absent:
    """What is kept of a column; of one whose tensors are elsewhere its form."""
    lazy = column.stored.extra
    return Absent(lazy.spec, lazy.fingerprint) if isinstance(lazy, Lazy) else column._seen()


def _read_task(reader: Reader, content: Any) -> Task:
    if not isinstance(content, dict):
        raise damaged("A task is described by names.")
    values = reader.fields(content)
    goal, row_ids = values.get("goal"), values.get("row_ids")
    if type(goal) is not Goal:
        raise damaged("A task has no goal.")
    if not isinstance(row_ids, np.ndarray) or row_ids.dtype != np.int64 or row_ids.ndim != 1:
        raise damaged("A task has no row ids.")
    columns = {
        name: _column(name, data, len(row_ids)) for name, data in _named(values, "columns").items()
    }
    roles = _named(values, "roles")
    _check_roles(roles, columns, goal)
    fields = {"columns": columns, "row_ids": row_ids, "roles": roles, "goal": goal}
    made = rebuild(Task, fields)
    assert isinstance(made, Task)
    return made


def _named(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    if not isinstance(found, dict):
        raise damaged(f"A task has no {name}.")
    return found


def _column(name: str, data: Any, rows: int) -> Column:
    """A column as it was: of a type that a task may hold."""
    if isinstance(data, Absent) and rows == 0:
        return LazyTensor.over(data).column
    if not isinstance(data, pa.ChunkedArray) or len(data) != rows or not data.num_chunks:
        raise damaged("A column is no data of as many rows as the task has.", where=f"{name!r}")
    column = to_column(name, data)
    if column.type != data.type or column.kind not in TYPES:
        raise damaged("A column has a type that no task holds.", where=f"column {name!r}")
    return column


_ROLES = frozenset({"feature", "target", "weight", "group", "stratum", "order", "name"})


def _check_roles(roles: Mapping[str, Any], columns: Mapping[str, Any], goal: Goal) -> None:
    if roles.keys() != _ROLES:
        raise damaged("The roles of a task are not those there are.")
    for role, names in roles.items():
        if not isinstance(names, tuple) or not all(name in columns for name in names):
            raise damaged("A role names a column that is not there.", where=f"role {role!r}")
    if roles["target"] != goal.targets:
        raise damaged("A task has other targets than it learns.")


CODECS = (
    Codec("task", lambda v: isinstance(v, Task), _write_task, _read_task),
    Codec(
        "kind",
        lambda v: isinstance(v, TaskType),
        _write_keyed,
        _keyed("kind of task", task_types),
    ),
    Codec(
        "callback",
        lambda v: isinstance(v, Callback),
        _write_keyed,
        _keyed("callback", callbacks.known),
    ),
    Codec(
        "sampler",
        lambda v: isinstance(v, Sampler),
        _write_keyed,
        _keyed("sampler", lambda: samplers(Sampler)),
    ),
    Codec(
        "batch_sampler",
        lambda v: isinstance(v, BatchSampler),
        _write_keyed,
        _keyed("batch sampler", lambda: samplers(BatchSampler)),
    ),
    Codec("metric", _is_known_metric, lambda w, v: v.name, lambda r, c: metric(text_of(c))),
    Codec("value", lambda v: is_frozen(type(v)), _write_frozen, _read_frozen),
)
