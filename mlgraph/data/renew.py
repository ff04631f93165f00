"""New data in the form of old: which columns it must have, and what they become."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlgraph.data.column import Column
from mlgraph.data.convert import convert
from mlgraph.data.frame import Frame
from mlgraph.data.goal import Goal, check_weight_values, class_codes
from mlgraph.data.ingest import ingest
from mlgraph.data.normalise import missing_values
from mlgraph.errors import DataError, did_you_mean, listing

Found = tuple[dict[str, Column], NDArray[np.int64]]


def match(old: Frame, data: Any) -> Found:
    """The columns of new data that have a name here, and their row ids.

    Raises:
        DataError: Features are missing.

    >>> from mlgraph.data.task import Task
    >>> list(match(Task({"a": [1]}), {"b": [1], "a": [2]})[0])
    ['a']
    """
    columns, row_ids, others = _columns(old, data)
    _require(old.features, [*columns, *others])
    return {name: columns[name] for name in old.columns if name in columns}, row_ids


def match_below(old: Frame, data: Any) -> Found:
    """The same for rows to be put below the old ones: all roles, and ids that are free.

    Raises:
        DataError: Columns are missing, or row ids clash.

    >>> from mlgraph.data.task import Task
    >>> match_below(Task({"a": [1]}), {"a": [2]})[1]
    array([1])
    """
    columns, row_ids = match(old, data)
    _require([name for names in old.roles.values() for name in names], columns)
    if not isinstance(data, Frame):
        return columns, row_ids + int(old.row_ids.max(initial=-1)) + 1
    clash = np.intersect1d(old.row_ids, row_ids)
    if len(clash):
        raise DataError(
            f"Row {clash[0]} is in both tasks.",
            why=f"{len(clash)} row ids occur on both sides",
            mend="Pass its columns, task.concat(dict(other.columns)): its rows get new ids.",
        )
    return columns, row_ids


def renewed(
    old: Frame, goal: Goal, columns: Mapping[str, Column], row_ids: NDArray[np.int64]
) -> dict[str, Column]:
    """New columns in the types of the old ones; the target all missing if there is none.

    Raises:
        DataError: Something would be lost, a class is unknown, or a weight is none.

    >>> from mlgraph.data.task import Task
    >>> task = Task({"a": [1], "y": [1.0]}, target="y")
    >>> renewed(task, task.goal, task.like({"a": [2]}).columns, np.arange(1))["y"].missing
    1
    """
    new = {name: convert(name, column, old.columns[name]) for name, column in columns.items()}
    for name in [name for name in old.roles["weight"] if name in new]:
        if _is_unlabelled(old, new) and new[name].missing == len(row_ids):
            del new[name]  # nothing is weighed where nothing is known
        else:
            check_weight_values(name, new[name], row_ids)
    for name in old.roles["target"]:
        new[name] = _target(name, old.columns[name], goal, new.get(name), len(row_ids))
    return {name: new[name] for name in old.columns if name in new}


def _is_unlabelled(old: Frame, new: Mapping[str, Column]) -> bool:
    """Whether no target of any row is known."""
    found = [new[name] for name in old.roles["target"] if name in new]
    return all(column.missing == len(column) for column in found)


def _columns(
    old: Frame, data: Any
) -> tuple[Mapping[str, Column], NDArray[np.int64], tuple[str, ...]]:
    """The columns that are needed and perhaps more, row ids, and names of columns not read."""
    if isinstance(data, Frame):
        return data.columns, data.row_ids, ()
    found = ingest(data, old.roles["target"], wanted=old.columns)
    columns = found.columns
    if found.positional:
        columns = _named(old.features, columns, found.target)
    return columns, np.arange(found.n_rows, dtype=np.int64), found.others


def _named(
    features: tuple[str, ...], columns: Mapping[str, Column], targets: tuple[str, ...]
) -> dict[str, Column]:
    """Columns of a bare array, named by place."""
    given = {name: column for name, column in columns.items() if name not in targets}
    if len(given) != len(features):
        raise DataError(
            f"The array has {len(given)} columns and the task {len(features)} features.",
            why="columns of a bare array are matched by place",
            mend="Pass a table with names, or all features in order.",
        )
    named = dict(zip(features, given.values(), strict=True))
    return {**named, **{name: columns[name] for name in targets}}


def _require(names: Iterable[str], columns: Collection[str]) -> None:
    lost = [name for name in names if name not in columns]
    if not lost:
        return
    extra = [name for name in columns if name not in names]
    raise DataError(
        f"{len(lost)} columns are missing: {listing(lost)}."
        if len(lost) > 1
        else f"Column {lost[0]!r} is missing.",
        why=f"the columns are {listing(columns)}" if columns else "there are no columns",
        mend=did_you_mean(lost[0], extra),
    )


def _target(name: str, old: Column, goal: Goal, new: Column | None, n_rows: int) -> Column:
    if new is None:
        return Column.of(missing_values(old.type, old.levels, n_rows))
    if goal.classes:
        _check_labels(name, new, goal)
        return _with_levels(new, old)
    return new


def _check_labels(name: str, new: Column, goal: Goal) -> None:
    array = new.array()
    strange = (class_codes(new, goal.classes) < 0) & np.asarray(array.is_valid().to_numpy())
    if strange.any():
        label = array[int(np.argmax(strange))].as_py()
        raise DataError(
            f"{label!r} is not a class of target {name!r}.",
            where=f"column {name!r}",
            why=f"the classes are {listing(goal.classes)}",
            mend=did_you_mean(label, map(str, goal.classes)),
        )


def _with_levels(new: Column, old: Column) -> Column:
    """The levels of the old column, where the new one declares more and uses none of them."""
    return new if new.levels == old.levels else convert("", new, old)
