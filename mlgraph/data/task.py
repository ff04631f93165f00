"""Task: a table, what to learn from it, and views of both.

A task is a value. Nothing about it ever changes; every method that seems to change it returns
another task, which shares the data. ``Frame`` has the columns, rows and views, this module what
makes them a learning problem: target, classes, weights, validation, new data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Self

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlgraph.core.value import canonical
from mlgraph.data.convert import append
from mlgraph.data.frame import Frame
from mlgraph.data.goal import Goal, Kind, Label, grown, numbers
from mlgraph.data.ingest import ingest
from mlgraph.data.lazy.column import forms
from mlgraph.data.making import check_weight_role, goal_in, new_fields, target_names
from mlgraph.data.renew import match, match_below, renewed
from mlgraph.data.roles import Names, reassign, refuse_added, refuse_lost
from mlgraph.data.rowids import check_row_ids
from mlgraph.data.show import target_lines, types_lines
from mlgraph.data.splitting import split_rows
from mlgraph.errors import DataError, listing


@attrs.frozen(eq=False, slots=False, init=False, repr=False)
class Task(Frame):
    """A table with roles: features, a target, perhaps weights, groups, strata, an order, names.

    Args:
        data: Anything with the Arrow PyCapsule interface (pandas, polars, DuckDB, Arrow), a dict
            of columns, a two-dimensional array (columns ``x0``, ``x1``, ...), a pair ``(X, y)``,
            the path of a CSV, Parquet or Arrow file, or a task.
        target: The column to learn, or several. Strings, booleans and categories are classes,
            floats are quantities; integers may be either, so ``kind`` must say. Several columns
            of floats are quantities, several of booleans labels.
        weight: The column of row weights.
        kind: ``"classification"``, ``"regression"``, ``"unsupervised"``, ``"multilabel"``,
            ``"multitarget"``, ``"quantile"``, ``"normal"``, the key of a kind of your own, or a
            ``TaskType`` with options.
        positive: The positive one of two classes, by default the second.
        group: The column whose equal values keep rows together when splitting.
        stratum: Columns whose proportions are kept when splitting.
        order: Columns to sort rows by.
        name: The column with names of rows.
        row_ids: Integers, by default 0, 1, 2, ...; stable through all views.
        copy: Whether memory that others can write to is copied.

    Raises:
        DataError: The data is no table, has a type a task cannot hold, or the target is not fit.
        UnknownColumnError: There is no such column.

    >>> Task({"size": [1.0, None, 3.0, 4.0], "y": ["a", "b", "b", "a"]}, target="y")
    Task 4 x 1, classification
      target 'y': a (2), b (2, positive)
      float (1): size [1 missing]
    """

    how_to_make: ClassVar[str] = 'make one with Task(data, target="..."), or Task((X, y))'

    goal: Goal = attrs.field(factory=Goal)

    def __init__(
        self,
        data: Any,
        target: Names = None,
        *,
        weight: str | None = None,
        kind: Kind = None,
        positive: Label | None = None,
        group: str | None = None,
        stratum: Names = None,
        order: Names = None,
        name: str | None = None,
        row_ids: ArrayLike | None = None,
        copy: bool = True,
    ) -> None:
        given = {"weight": weight, "group": group, "stratum": stratum, "order": order, "name": name}
        roles = {role: columns for role, columns in given.items() if columns is not None}
        if isinstance(data, Task):
            made = _again(data, target, kind, positive, roles, row_ids)
        else:
            found = ingest(data, target_names(target), copy=copy)
            made = new_fields(found, target, kind, positive, roles, row_ids)
        self._set(made)

    # Reading

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return self.roles["target"]

    @property
    def target(self) -> str | None:
        """Name of the only target; None if there is none, or more than one."""
        return self.targets[0] if len(self.targets) == 1 else None

    @property
    def kind(self) -> str:
        """The key of the kind of task, such as ``"classification"``."""
        return self.goal.kind

    @property
    def classes(self) -> tuple[Label, ...]:
        """The classes, declared or sorted, also those without rows; empty unless classifying."""
        return self.goal.classes

    @property
    def positive(self) -> Label | None:
        """The positive one of two classes."""
        return self.goal.positive

    def target_codes(self) -> NDArray[Any]:
        """Places in ``classes`` as int64, -1 where missing; or float64, NaN where missing.

        Shape:
            returns: ``(rows,)``, of several targets ``(rows, targets)``.

        Raises:
            DataError: There is no target.

        >>> Task({"x": [1, 2], "y": ["b", "a"]}, target="y").target_codes()
        array([1, 0])
        """
        return self._codes.copy()

    def truth(self) -> NDArray[Any] | None:
        """``target_codes``, or None without a target."""
        return self.target_codes() if self.targets else None

    def weights(self) -> NDArray[np.float64] | None:
        """Row weights as float64, or ``None`` without a weight column."""
        names = self.roles["weight"]
        return numbers(self.columns[names[0]]).copy() if names else None

    def to_numpy(self) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
        """Numeric and boolean features as a float64 matrix, missing as NaN; and ``target_codes``.

        Raises:
            DataError: Some features are neither numeric nor boolean.

        >>> Task({"a": [1, 2], "b": [True, None]}).to_numpy()[0]
        array([[ 1., 1.], [ 2., nan]])
        """
        other = [name for name in self.features if self.types[name] not in ("float", "int", "bool")]
        if other:
            raise DataError(
                "Not all features are numbers.",
                why=f"these are not: {listing(other)}",
                mend="Encode them, or task.select(sel.type('float', 'int', 'bool')).",
            )
        matrix = np.empty((len(self), len(self.features)))
        for i, name in enumerate(self.features):
            matrix[:, i] = numbers(self.columns[name])
        return matrix, self.truth()

    def describe(self) -> str:
        """The task in one phrase.

        >>> Task({"a": [1, 2]}).describe()
        'Task 2 x 1'
        """
        return f"Task {len(self)} x {len(self.features)}"

    def __repr__(self) -> str:
        lines = [f"{self.describe()}, {self.kind}"]
        lines += target_lines(self.targets, self._codes, self.goal) if self.targets else []
        lines += types_lines(self.features, self.types, self.missing, forms(self.columns))
        others = [(role, self.roles[role]) for role in self.roles if role not in _SHOWN]
        extra = [f"{role} {', '.join(map(repr, names))}" for role, names in others if names]
        return "\n  ".join([*lines, *(["; ".join(extra)] if extra else [])])

    # Changing

    def with_target(self, name: Names, kind: Kind = None, positive: Label | None = None) -> Self:
        """The same data with other targets, or none; an old target becomes a feature.

        >>> task = Task({"a": [1.0, 2.0], "y": ["u", "v"]}, target="y").with_target("a")
        >>> task.kind, task.features
        ('regression', ('y',))
        """
        names = target_names(name)
        features = {*self.features, *self.targets} - {*names}
        order = tuple(column for column in self.columns if column in features)
        roles = {**self.roles, "feature": order, "target": names}
        goal = goal_in(self.columns, names, kind, positive, self.row_ids)
        return self._with(roles=roles, goal=goal)

    def with_roles(self, **roles: str | Iterable[str] | None) -> Self:
        """The same columns with some roles given anew, ``None`` taking a role away.

        A column with another role is no feature; one that loses its role stays aside until
        ``with_roles(feature=...)`` names it.

        Raises:
            ConfigError: There is no such role.

        >>> Task({"a": [1, 2], "w": [1.0, 0.5]}).with_roles(weight="w").features
        ('a',)
        """
        new = reassign(self.roles, self.columns, roles)
        if new["weight"] != self.roles["weight"]:
            check_weight_role(self.columns, new["weight"], self.row_ids)
        return self._with(roles=new)

    def with_target_values(self, values: ArrayLike) -> Self:
        """The same task with other quantities to learn; NaN where one is missing.

        Args:
            values: One per row, of several targets ``(rows, targets)``.

        Raises:
            DataError: Nothing numeric is learned, or values are infinite or not one per row.

        >>> task = Task({"a": [1, 2], "y": [1.0, 2.0]}, target="y")
        >>> task.with_target_values(np.log([1.0, 1.0])).target_codes()
        array([0., 0.])
        """
        if self.goal.type.transforms == "none":
            raise DataError(f"A task of kind {self.kind!r} has no quantities to replace.")
        numeric = np.array(values, dtype=np.float64)
        parts = [numeric] if self.goal.type.arity == "one" else list(numeric.T)
        new = {
            name: self._arrived(name, part) for name, part in zip(self.targets, parts, strict=True)
        }
        for name, part in zip(self.targets, parts, strict=True):
            if np.isinf(part).any():
                raise DataError(
                    f"{int(np.isinf(part).sum())} new values of target {name!r} are infinite."
                )
        return self._with(columns={**self.columns, **new})

    def rename(self, mapping: Mapping[str, str]) -> Self:
        """The same columns under new names, in all their roles.

        Raises:
            DataError: There is no such column, or two would have one name.

        >>> Task({"a": [1.0], "y": [2.0]}, target="y").rename({"y": "z"}).goal.targets
        ('z',)
        """
        new = super().rename(mapping)
        return new._with(goal=attrs.evolve(self.goal, targets=new.targets))

    def with_weight(self, values: ArrayLike, name: str = "weight") -> Self:
        """The same task with these row weights.

        Raises:
            DataError: These are no weights, or another column has this name.

        >>> Task({"a": [1, 2]}).with_weight([0.5, 1.0]).weights()
        array([0.5, 1. ])
        """
        if name in self.columns and name not in self.roles["weight"]:
            raise DataError(f"Column {name!r} is there already.", mend='Pass another name="...".')
        columns = {**self.columns, name: self._arrived(name, np.asarray(values, dtype=np.float64))}
        check_weight_role(columns, (name,), self.row_ids)
        kept = {key: column for key, column in columns.items() if key not in self.roles["weight"]}
        roles = {**self.roles, "weight": (name,)}
        return self._with(columns={**kept, name: columns[name]}, roles=roles)

    def concat(self, other: Any) -> Self:
        """The rows of both; columns by name, levels and classes merged, other columns left out.

        Args:
            other: A task, which keeps its row ids, or a table, whose rows get new ones.

        Raises:
            DataError: A column is missing or has another type, or row ids clash.

        >>> Task({"a": [1]}).concat({"a": [2]}).row_ids
        array([0, 1])
        """
        columns, row_ids = match_below(self, other)
        joined = {name: append(name, self.columns[name], columns[name]) for name in columns}
        goal = self.goal
        if goal.classes:
            goal = grown(goal, joined[self.targets[0]])
        ids = np.concatenate([self.row_ids, row_ids])
        return self._with(columns=joined, row_ids=ids, goal=goal)

    # What the engine asks

    def split(self, valid: Any, seed: int) -> tuple[Self, Self]:
        """A task to train on and one to validate with.

        Args:
            valid: A ratio between 0 and 1 (stratified by class, groups whole), the ids of the rows
                to hold out, or a task to validate with.
            seed: What a random choice depends on.

        Raises:
            ConfigError: ``valid`` is none of these.
            DataError: One side would have no rows, or the given task does not fit.

        >>> train, valid = Task({"a": [1, 2, 3, 4]}).split(0.25, seed=1)
        >>> len(train), len(valid)
        (3, 1)
        """
        if isinstance(valid, Task):
            return self, self._validation(valid)
        labels = self.targets if self.classes else ()
        train, held = split_rows(self, self.roles["stratum"] or labels, valid, seed)
        return self.take(train), self.take(held)

    def like(self, data: Any) -> Self:
        """New data as a task of this form: same columns, types, levels and classes.

        Columns are found by name (those of a bare array by place), extra ones are left out.
        Types are converted where nothing is lost. Without a target column the target is missing.
        Levels not seen before are appended; whether they may occur is decided downstream.

        Raises:
            DataError: A feature is missing, or a column or class label does not fit.

        >>> task = Task({"a": [1.0, 2.0], "y": ["u", "v"]}, target="y")
        >>> task.like({"a": [3]}).target_codes()
        array([-1])
        """
        columns, row_ids = match(self, data)
        new = renewed(self, self.goal, columns, row_ids)
        roles = {
            role: tuple(name for name in names if name in new) for role, names in self.roles.items()
        }
        return self._with(columns=new, row_ids=row_ids, roles=roles)

    def refuse_other_roles(self, new: Self, given: Any) -> None:
        """Refuse a task to learn from in which rows are weighed, grouped or ordered otherwise.

        Args:
            new: The task in the form of this one.
            given: What it was made of.

        Raises:
            DataError: A column is missing that has a role here, or one has a role that none has.

        >>> task = Task({"a": [1.0], "w": [2.0]}, weight="w")
        >>> task.refuse_other_roles(task.like({"a": [3.0], "w": [1.0]}), None)
        """
        if isinstance(given, Task):
            refuse_added(self.roles, given.roles, ("weight", "group", "stratum"))
        refuse_lost(self.roles, new.columns)

    # Inside

    @cached_property
    def _codes(self) -> NDArray[Any]:
        if not self.targets:
            raise DataError("This task has no target.", mend='Use task.with_target("...").')
        return self.goal.type.codes([self.columns[name] for name in self.targets], self.goal)

    def _validation(self, valid: Task) -> Self:
        lost = [name for name in self.targets if name not in valid.columns]
        if lost:
            raise DataError(
                "The task to validate with has no target.",
                why=f"it has no column {listing(lost)}",
            )
        if len(valid) == 0:
            raise DataError("The task to validate with has no rows.")
        refuse_added(self.roles, valid.roles, ("weight",))
        return self.like(valid)

    def _key(self) -> str:
        return f"{super()._key()} {canonical(self.goal).decode()}"


def _again(
    task: Task,
    target: Names,
    kind: Kind,
    positive: Label | None,
    roles: Mapping[str, Names],
    row_ids: ArrayLike | None,
) -> dict[str, Any]:
    """The fields of a task made from another one, with what is said anew."""
    if target is not None:
        task = task.with_target(target, kind, positive)
    elif kind is not None or positive is not None:
        task = task.with_target(task.targets or None, kind or task.goal.type, positive)
    task = task.with_roles(**roles) if roles else task
    ids = task.row_ids if row_ids is None else check_row_ids(row_ids, len(task))
    return {**task._fields(), "row_ids": ids}


_SHOWN = ("feature", "target")
