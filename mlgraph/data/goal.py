"""What a task asks for: its kind, its classes, and the checks of target and weights."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlgraph.data.column import Column
from mlgraph.data.normalise import codes_of
from mlgraph.errors import ConfigError, DataError, did_you_mean, listing

KINDS = ("classification", "regression", "unsupervised")

Label: TypeAlias = str | int | bool


@attrs.frozen
class Goal:
    """Kind, classes in order (empty for regression), and the positive one of two."""

    kind: str = "unsupervised"
    classes: tuple[Label, ...] = ()
    positive: Label | None = None


def goal_of(name: str, column: Column, kind: str | None, positive: Label | None) -> Goal:
    """The goal that a target column sets.

    Raises:
        DataError: The column cannot be a target of this kind.

    >>> goal_of("y", Column.of(pa.chunked_array([[True, False]])), None, None)
    Goal(kind='classification', classes=(False, True), positive=True)
    """
    kind = _kind_of(name, column, kind)
    if kind == "regression":
        return with_positive(Goal(kind), positive)
    classes = _classes(column)
    return with_positive(Goal(kind, classes), positive)


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
            mend=did_you_mean(positive, map(str, goal.classes)),
        )
    return attrs.evolve(goal, positive=goal.classes[goal.classes.index(positive)])


def check_kind(kind: str | None, target: str | None) -> None:
    """Raise unless this kind exists and agrees with there being a target.

    >>> check_kind("regression", "y")
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(
            f"There is no kind of task {kind!r}.",
            why=f"the kinds are {listing(KINDS)}",
            mend=did_you_mean(kind, KINDS),
        )
    if target is None and kind not in (None, "unsupervised"):
        raise DataError(f"A task of kind {kind!r} needs a target.", mend='Say target="...".')
    if target is not None and kind == "unsupervised":
        raise DataError(f"An unsupervised task has no target, this has {target!r}.")


def check_target(name: str, column: Column, goal: Goal, row_ids: NDArray[np.int64]) -> None:
    """Raise unless the target is complete, finite, and has something to learn.

    >>> y = Column.of(pa.chunked_array([[1.0, 2.0]]))
    >>> check_target("y", y, Goal("regression"), np.arange(2))
    """
    array = column.array()
    if column.missing:
        rows = _first(row_ids[~_mask(pc.is_valid(array))])
        raise DataError(
            f"Target {name!r} has {column.missing} missing values.",
            where=f"column {name!r}",
            why=f"rows {rows} have none",
            mend="Drop these rows; in data to predict the target may be missing.",
        )
    if goal.kind == "classification":
        _check_classes(name, array)
    elif column.kind == "float":
        _check_finite(name, "Target", array, row_ids)


def check_weights(name: str, column: Column, row_ids: NDArray[np.int64]) -> None:
    """Raise unless these are weights: numbers of at least 0, none missing, not all 0.

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
                why=f"rows {_first(row_ids[bad])}",
                mend="Give every row a weight of at least 0.",
            )
    _check_finite(name, "Weight column", column.array(), row_ids)


def numbers(column: Column) -> NDArray[np.float64]:
    """The values of a numeric or boolean column as float64, missing ones as NaN.

    >>> numbers(Column.of(pa.chunked_array([[1, None]])))
    array([ 1., nan])
    """
    return np.asarray(column.array().cast(pa.float64()).to_numpy(), dtype=np.float64)


def class_codes(column: Column, classes: tuple[Label, ...]) -> NDArray[np.int64]:
    """Places of the values among the classes, -1 where missing or unknown.

    >>> class_codes(Column.of(pa.chunked_array([[3, 1, None]])), (1, 3))
    array([ 1,  0, -1])
    """
    array = column.array()
    if column.levels is None:
        known = pa.array(list(classes), column.type)
        codes = pc.index_in(array, value_set=known, skip_nulls=True)
        return np.asarray(codes.fill_null(-1).to_numpy(), dtype=np.int64)
    place = {label: i for i, label in enumerate(classes)}
    table = np.array([*(place.get(level, -1) for level in column.levels), -1], dtype=np.int64)
    return np.asarray(table[codes_of(array).fill_null(-1).to_numpy()], dtype=np.int64)


def _kind_of(name: str, column: Column, kind: str | None) -> str:
    fits = _FITS.get(column.kind, ())
    if kind is None and len(fits) == 1:
        return fits[0]
    if kind in fits:
        return kind
    if len(fits) == 2:
        raise DataError(
            f"Target {name!r} is an integer, so the kind of the task is not clear.",
            where=f"column {name!r}",
            why="integers may be classes or quantities",
            mend='Say kind="classification" or kind="regression".',
        )
    expected = [known for known, kinds in _FITS.items() if kind is None or kind in kinds]
    hint = " Turn floats into integers or strings first." if column.kind == "float" else ""
    raise DataError(
        f"Target {name!r} of type {column.kind} does not fit {kind or 'any kind of task'}.",
        where=f"column {name!r}",
        why=f"a target is one of {listing(expected)}, this is {column.kind}",
        mend=f"Choose another target or kind.{hint}",
    )


def _classes(column: Column) -> tuple[Label, ...]:
    if column.levels is not None:
        return column.levels
    if column.kind == "bool":
        return (False, True)
    return tuple(sorted(pc.unique(column.array()).drop_null().to_pylist()))


def _check_classes(name: str, array: pa.ChunkedArray) -> None:
    seen = pc.unique(array).to_pylist()
    if len(seen) > 1:
        return
    raise DataError(
        f"Target {name!r} is always {seen[0]!r}: nothing to learn."
        if seen
        else f"Target {name!r} has no values: nothing to learn.",
        where=f"column {name!r}",
        why="a classification needs rows of at least two classes",
    )


def _check_finite(name: str, what: str, array: pa.ChunkedArray, row_ids: NDArray[np.int64]) -> None:
    infinite = _mask(pc.is_inf(array.cast(pa.float64())).fill_null(False))
    if infinite.any():
        raise DataError(
            f"{what} {name!r} has {int(infinite.sum())} infinite values.",
            where=f"column {name!r}",
            why=f"rows {_first(row_ids[infinite])}",
            mend="Drop these rows or replace the values.",
        )


def _mask(array: pa.ChunkedArray) -> Any:
    return np.asarray(array.to_numpy(), dtype=bool)


def _first(row_ids: NDArray[np.int64], limit: int = 5) -> str:
    more = f" and {len(row_ids) - limit} more" if len(row_ids) > limit else ""
    return ", ".join(map(str, row_ids[:limit].tolist())) + more


_FITS: dict[str, tuple[str, ...]] = {
    "string": ("classification",),
    "bool": ("classification",),
    "category": ("classification",),
    "float": ("regression",),
    "int": ("classification", "regression"),
}
