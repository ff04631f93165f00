"""The fields of a task made of new data: columns, row ids, roles and goal, all checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlgraph.data.column import Column
from mlgraph.data.goal import (
    Goal,
    Label,
    check_kind,
    check_target,
    check_weights,
    goal_of,
    with_positive,
)
from mlgraph.data.ingest import Ingested
from mlgraph.data.roles import Names, assign, unknown_column
from mlgraph.data.rowids import check_row_ids


def new_fields(
    found: Ingested,
    target: str | None,
    kind: str | None,
    positive: Label | None,
    roles: Mapping[str, Names],
    row_ids: ArrayLike | None,
) -> dict[str, Any]:
    """The fields of a task of new data.

    >>> sorted(new_fields(Ingested({}, 0), None, None, None, {}, None))
    ['columns', 'goal', 'roles', 'row_ids']
    """
    target = found.target if target is None else target
    ids = check_row_ids(row_ids, _n_rows(found, row_ids))
    columns = found.columns
    assigned = assign(columns, {**roles, "target": target})
    goal = goal_in(columns, target, kind, positive, ids)
    check_weight_role(columns, assigned["weight"], ids)
    return {"columns": columns, "row_ids": ids, "roles": assigned, "goal": goal}


def goal_in(
    columns: Mapping[str, Column],
    target: str | None,
    kind: str | None,
    positive: Label | None,
    row_ids: NDArray[np.int64],
) -> Goal:
    """The goal of a task over these columns, its target checked.

    >>> goal_in({}, None, None, None, np.arange(0)).kind
    'unsupervised'
    """
    check_kind(kind, target)
    if target is None:
        return with_positive(Goal(), positive)
    if target not in columns:
        raise unknown_column(target, columns, "target")
    goal = goal_of(target, columns[target], kind, positive)
    check_target(target, columns[target], goal, row_ids)
    return goal


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
