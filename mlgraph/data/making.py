"""The fields of a task made of new data: columns, row ids, roles and goal, all checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlgraph.data.column import Column
from mlgraph.data.goal import (
    Goal,
    Kind,
    Label,
    check_kind,
    check_weights,
    goal_of,
    with_positive,
)
from mlgraph.data.ingest import Ingested
from mlgraph.data.roles import Names, assign, unknown_column
from mlgraph.data.rowids import check_row_ids
from mlgraph.errors import DataError


def new_fields(
    found: Ingested,
    target: Names,
    kind: Kind,
    positive: Label | None,
    roles: Mapping[str, Names],
    row_ids: ArrayLike | None,
) -> dict[str, Any]:
    """The fields of a task of new data.

    >>> sorted(new_fields(Ingested({}, 0), None, None, None, {}, None))
    ['columns', 'goal', 'roles', 'row_ids']
    """
    targets = target_names(found.target or None if target is None else target)
    ids = check_row_ids(row_ids, _n_rows(found, row_ids))
    columns = found.columns
    assigned = assign(columns, {**roles, "target": targets})
    goal = goal_in(columns, targets, kind, positive, ids)
    check_weight_role(columns, assigned["weight"], ids)
    return {"columns": columns, "row_ids": ids, "roles": assigned, "goal": goal}


def goal_in(
    columns: Mapping[str, Column],
    targets: Sequence[str],
    kind: Kind,
    positive: Label | None,
    row_ids: NDArray[np.int64],
) -> Goal:
    """The goal of a task over these columns, its target checked.

    >>> goal_in({}, (), None, None, np.arange(0)).kind
    'unsupervised'
    """
    check_kind(kind, tuple(targets))
    if not targets:
        return with_positive(Goal("unsupervised" if kind is None else kind), positive)
    for name in targets:
        if name not in columns:
            raise unknown_column(name, columns, "target")
    return goal_of({name: columns[name] for name in targets}, kind, positive, row_ids)


def target_names(target: Names) -> tuple[str, ...]:
    """The targets as a tuple of names.

    Raises:
        DataError: No name is given, one is given twice, or these are no names.

    >>> target_names("y"), target_names(["u", "v"]), target_names(None)
    (('y',), ('u', 'v'), ())
    """
    if target is None or isinstance(target, str):
        return () if target is None else (target,)
    names = tuple(target) if isinstance(target, list | tuple) else (target,)
    strange = [name for name in names if not isinstance(name, str)]
    if strange or not names:
        raise DataError(
            f"The target is the name of a column, not a {type((strange or [target])[0]).__name__}."
            if strange
            else "The list of targets is empty.",
            mend=_how_to_name(strange[0])
            if strange
            else "Leave target out for a task without one.",
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"Target {twice[0]!r} is named twice.", mend="Name every target once.")
    return names


def _how_to_name(target: object) -> str:
    if isinstance(target, (int, np.integer)):
        return f"Names are strings here: target={str(target)!r}."
    return "Pass values together with the table: Task((X, y))."


def check_weight_role(
    columns: Mapping[str, Column], names: Iterable[str], row_ids: NDArray[np.int64]
) -> None:
    """Raise unless the columns of the role hold weights.

    >>> check_weight_role({}, (), np.arange(0))
    """
    for name in names:
        check_weights(name, columns[name], row_ids)


def _n_rows(found: Ingested, row_ids: ArrayLike | None) -> int:
    """Without columns only the row ids say how many rows there are."""
    if found.columns or found.n_rows or row_ids is None:
        return found.n_rows
    return len(np.asarray(row_ids))
