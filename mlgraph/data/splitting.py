"""What ``valid=`` means: which rows train and which validate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlgraph.data.frame import Frame
from mlgraph.data.holdout import by_groups, by_strata, group_codes
from mlgraph.data.rowids import find_rows, repeats
from mlgraph.errors import ConfigError, DataError

Ints = NDArray[np.int64]


def split_rows(frame: Frame, strata: Sequence[str], valid: Any, seed: int) -> tuple[Ints, Ints]:
    """Positions of the rows to train on and of those to validate with.

    Args:
        frame: The rows.
        strata: Columns whose proportions are kept, unless there are groups.
        valid: A ratio, or row ids.
        seed: What a random choice depends on.

    Raises:
        ConfigError: ``valid`` is neither a ratio nor row ids.
        DataError: A row id is not there, or one side would have no rows.

    >>> from mlgraph.data.task import Task
    >>> split_rows(Task({"a": [1, 2, 3]}), (), [2], seed=0)
    (array([0, 1]), array([2]))
    """
    if isinstance(valid, float | np.floating):
        held = _draw(frame, strata, _ratio(float(valid)), seed)
    else:
        held = np.unique(find_rows(frame.row_ids, _row_ids(valid)))
    train = np.setdiff1d(np.arange(len(frame)), held, assume_unique=True)
    for side, rows in (("train on", train), ("validate with", held)):
        if len(rows) == 0:
            raise DataError(
                f"No rows are left to {side}.",
                why=f"{len(frame)} rows, of which {len(held)} were to validate",
                mend="Choose another valid=.",
            )
    return train, held


def _draw(frame: Frame, strata: Sequence[str], ratio: float, seed: int) -> Ints:
    if len(frame) < 2:
        raise DataError(f"{len(frame)} rows cannot be split in two.", mend="Pass a larger task.")
    groups = [frame.columns[name] for name in frame.roles["group"]]
    if groups and frame.roles["stratum"]:
        raise DataError(
            "Rows cannot be split by groups and strata at once.",
            mend="Take one of the roles away: task.with_roles(stratum=None).",
        )
    if groups:
        return by_groups(group_codes(groups), ratio, seed)
    if repeats(frame.row_ids):  # copies of a row must not be on both sides
        return by_groups(frame.row_ids, ratio, seed)
    columns = [frame.columns[name] for name in strata]
    codes = group_codes(columns) if columns else np.zeros(len(frame), dtype=np.int64)
    if np.bincount(codes).max() < 2:  # every row a stratum of its own: nothing to keep
        codes = np.zeros_like(codes)
    return by_strata(codes, ratio, seed)


def _ratio(valid: float) -> float:
    if 0 < valid < 1:
        return valid
    raise _unclear(valid)


def _row_ids(valid: Any) -> Any:
    if isinstance(valid, list | tuple):
        whole = all(isinstance(id, int | np.integer) and not isinstance(id, bool) for id in valid)
    else:
        whole = isinstance(valid, range) or _is_row_of_ints(valid)
    if not whole:
        raise _unclear(valid)
    return np.asarray(valid, dtype=np.int64)


def _is_row_of_ints(valid: Any) -> bool:
    """An array or a column of a data frame."""
    if getattr(valid, "ndim", 0) != 1 or not hasattr(valid, "__array__"):
        return False
    return len(valid) == 0 or np.asarray(valid).dtype.kind in "iu"


def _unclear(valid: object) -> ConfigError:
    what = repr(valid) if isinstance(valid, int | float | str) else f"a {type(valid).__name__}"
    return ConfigError(
        f"valid={what} does not say which rows validate.",
        why="a ratio between 0 and 1, row ids or a Task is expected",
        mend="Try valid=0.2, or valid=Task(table, target=...) for rows of another table. "
        "Turn a mask into row ids with task.row_ids[mask].",
    )
