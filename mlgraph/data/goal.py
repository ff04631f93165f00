"""What a task asks for, found from its target columns; and the checks of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlgraph.data.answers import Label
from mlgraph.data.column import Column
from mlgraph.data.kind import Goal, TaskType, task_type, task_types
from mlgraph.data.kinds import Classification, Regression, Unsupervised
from mlgraph.data.several import MultiLabel, MultiTarget
from mlgraph.data.spread import NormalRegression, QuantileRegression
from mlgraph.data.targets import check_finite, class_codes, first_rows, numbers, unfit
from mlgraph.errors import ConfigError, DataError, did_you_mean, listing

__all__ = [
    "Classification",
    "Goal",
    "Kind",
    "Label",
    "MultiLabel",
    "MultiTarget",
    "NormalRegression",
    "QuantileRegression",
    "Regression",
    "TaskType",
    "Unsupervised",
    "check_kind",
    "check_weight_values",
    "check_weights",
    "class_codes",
    "goal_of",
    "numbers",
    "task_types",
    "with_positive",
]

Kind: TypeAlias = str | TaskType | type[TaskType] | None


def goal_of(
    columns: Mapping[str, Column], kind: Kind, positive: Label | None, row_ids: NDArray[np.int64]
) -> Goal:
    """The goal that target columns set, once they are checked.

    Raises:
        DataError: The columns cannot be targets of this kind.

    >>> import pyarrow as pa
    >>> y = Column.of(pa.chunked_array([[True, False]]))
    >>> goal_of({"y": y}, None, None, np.arange(2)).classes
    (False, True)
    """
    found = _usual(columns) if kind is None else task_type(kind)
    if found.arity == "one" and len(columns) > 1:
        several = [key for key, cls in task_types().items() if cls.arity == "several"]
        raise DataError(
            f"A task of kind {found.key!r} has one target, not {len(columns)}.",
            why=f"the targets are {listing(columns)}",
            mend=f"name one of them, or say kind= one of {listing(several)}",
        )
    found.check(columns, row_ids)
    return with_positive(Goal(found, found.classes_of(columns), None, tuple(columns)), positive)


def with_positive(goal: Goal, positive: Label | None) -> Goal:
    """The goal with this positive class, by default the second of two.

    >>> with_positive(Goal("classification", ("a", "b")), None).positive
    'b'
    """
    if positive is None:
        return attrs.evolve(goal, positive=goal.classes[1] if len(goal.classes) == 2 else None)
    if len(goal.classes) != 2:
        raise ConfigError(
            "Only a task with two classes has a positive one.",
            why=f"this is {goal.kind} with {len(goal.classes)} classes",
            mend="Leave out positive=.",
        )
    if positive not in goal.classes:
        raise ConfigError(
            f"{positive!r} is not a class, so it cannot be the positive one.",
            why=f"the classes are {goal.classes[0]!r} and {goal.classes[1]!r}",
            mend=_as_class(positive, goal) or did_you_mean(positive, map(str, goal.classes)),
        )
    return attrs.evolve(goal, positive=goal.classes[goal.classes.index(positive)])


def _as_class(positive: Label, goal: Goal) -> str:
    """The class that looks the same."""
    same = [label for label in goal.classes if str(label) == str(positive)]
    return f"write positive={same[0]!r}" if same else ""


def check_kind(kind: Kind, targets: tuple[str, ...]) -> None:
    """Raise unless this kind exists and agrees with there being a target.

    >>> check_kind("regression", ("y",))
    """
    if kind is None:
        return
    found = task_type(kind)
    if found.tokens():
        raise ConfigError(
            "A task cannot be tuned.",
            where=f"kind={found!r}",
            why=f"{listing(found.tokens())} is left to tuning, and the search is over graphs",
            mend="give it a value",
        )
    if not targets and found.arity != "none":
        raise DataError(f"A task of kind {found.key!r} needs a target.", mend='Say target="...".')
    if targets and found.arity == "none":
        article = "An" if found.key[0] in "aeiou" else "A"
        raise DataError(f"{article} {found.key} task has no target, this has {listing(targets)}.")


def check_weights(name: str, column: Column, row_ids: NDArray[np.int64]) -> None:
    """Raise unless these are weights: numbers of at least 0, none missing, not all 0.

    >>> import pyarrow as pa
    >>> check_weights("w", Column.of(pa.chunked_array([[1.0, 0.0]])), np.arange(2))
    """
    check_weight_values(name, column, row_ids)
    if len(column) and not np.any(numbers(column)):
        raise DataError(
            f"All weights in {name!r} are 0.",
            where=f"column {name!r}",
            mend="At least one row must count.",
        )


def check_weight_values(name: str, column: Column, row_ids: NDArray[np.int64]) -> None:
    """Raise unless each of these is a weight.

    >>> import pyarrow as pa
    >>> check_weight_values("w", Column.of(pa.chunked_array([[0.0]])), np.arange(1))
    """
    if column.kind not in ("float", "int"):
        raise DataError(
            f"Weight column {name!r} is not numeric.",
            where=f"column {name!r}",
            why=f"weights are float or int, this is {column.kind}",
        )
    values = numbers(column)
    for bad, words in ((np.isnan(values), "missing"), (values < 0, "negative")):
        if bad.any():
            raise DataError(
                f"Weight column {name!r} has {int(bad.sum())} {words} values.",
                where=f"column {name!r}",
                why=f"rows {first_rows(row_ids[bad])}",
                mend="Give every row a weight of at least 0.",
            )
    check_finite(name, "Weight column", column, row_ids)


def grown(goal: Goal, target: Column) -> Goal:
    """The goal with the classes that more rows brought along.

    >>> import pyarrow as pa
    >>> target = Column.of(pa.chunked_array([["c"]]))
    >>> grown(Goal("classification", ("a", "b"), "b"), target).classes
    ('a', 'b', 'c')
    """
    seen = pc.unique(target.array()).drop_null().to_pylist()
    fresh = [label for label in (target.levels or sorted(seen)) if label not in goal.classes]
    if not fresh:
        return goal
    classes = (*goal.classes, *fresh)
    declared = target.levels is not None
    more = attrs.evolve(goal, classes=classes if declared else tuple(sorted(classes)))
    return with_positive(more, None)


def _usual(columns: Mapping[str, Column]) -> TaskType:
    """The kind that the types of the targets mean when nobody says.

    >>> import pyarrow as pa
    >>> y = Column.of(pa.chunked_array([[1.0, 2.0]]))
    >>> _usual({"a": y, "b": y})
    MultiTarget()
    """
    kinds = {column.kind for column in columns.values()}
    if len(columns) == 1:
        return _usual_of_one(*columns.items())
    if kinds == {"float"}:
        return MultiTarget()
    if kinds == {"bool"}:
        return MultiLabel()
    raise DataError(
        f"The kind of a task with targets {listing(columns)} is not clear.",
        why="columns of floats are quantities and of booleans labels; "
        f"here is {listing(sorted(kinds))}",
        mend='Say kind="multitarget" or kind="multilabel", or convert the columns.',
    )


def _usual_of_one(target: tuple[str, Column]) -> TaskType:
    name, column = target
    if column.kind == "int":
        raise DataError(
            f"Target {name!r} is an integer, so the kind of the task is not clear.",
            where=f"column {name!r}",
            why="integers may be classes or quantities",
            mend='Say kind="classification" or kind="regression".',
        )
    if column.kind == "float":
        return Regression()
    if column.kind in Classification.accepts:
        return Classification()
    accepts = ("string", "bool", "category", "float", "int")
    raise unfit(name, column, accepts, None)
