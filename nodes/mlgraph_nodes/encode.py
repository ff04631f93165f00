"""Encode: categories, strings and booleans as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.param import param
from mlgraph.data.arrays import codes_among, levels_of, numbers
from mlgraph.data.task import Task
from mlgraph.data.transform import ColumnTransform
from mlgraph.errors import DataError, did_you_mean, listing


class Encode(ColumnTransform):
    """Turn categories, strings and booleans into numbers.

    A category has the levels it declares, used or not; a string the values seen in the fit, sorted.
    Columns are called ``<column>.<level>``. A boolean becomes one column of 0 and 1 under its own
    name, in which missing values stay missing.

    Args:
        method: ``"one-hot"``: a column of 0 and 1 per level. ``"treatment"``: the same without the
            first level. ``"ordinal"``: one integer column, the place of the level.
        unknown: What becomes of a level that was not there in the fit, or of a missing value.
            ``"zeros"``: 0 in all columns. ``"missing"``: missing in all columns. ``"error"``: it
            is refused. With ``"ordinal"``, zeros would be the first level: it is missing.

    Raises:
        DataError: A level is unknown and ``unknown="error"``.

    >>> task = Task({"a": ["u", "v", "u"]})
    >>> Encode().as_graph().fit(task).predict(task).table().to_pydict()
    {'a.u': [1.0, 0.0, 1.0], 'a.v': [0.0, 1.0, 0.0]}
    """

    accepts = frozenset({"category", "string", "bool"})

    method: str = param(default="one-hot", choices=("one-hot", "treatment", "ordinal"))
    unknown: str = param(default="zeros", choices=("zeros", "missing", "error"))

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        if pat.is_boolean(values.type):
            return None
        if pat.is_dictionary(values.type):
            return levels_of(values)
        return tuple(sorted(pc.unique(values.drop_null()).to_pylist()))

    def transform_column(self, state: Any, name: str, values: pa.Array) -> Mapping[str, Any]:
        if state is None:
            self._refuse_unknown(name, values, pc.is_null(values), ("True", "False"))
            return {name: numbers(values)}
        codes = codes_among(values, state)
        self._refuse_unknown(name, values, pa.array(codes < 0), state)
        if self.method == "ordinal":
            return {name: pa.array(codes, mask=codes < 0)}
        used = state[1:] if self.method == "treatment" else state
        first = len(state) - len(used)
        return {f"{name}.{level}": self._dummy(codes, first + i) for i, level in enumerate(used)}

    def _dummy(self, codes: NDArray[np.int64], code: int) -> pa.Array:
        mask = codes < 0 if self.unknown == "missing" else None
        return pa.array((codes == code).astype(np.float64), mask=mask)

    def _refuse_unknown(
        self, name: str, values: pa.Array, unknown: pa.Array, levels: tuple[str, ...]
    ) -> None:
        if self.unknown != "error" or not pc.any(unknown).as_py():
            return
        found = values.filter(unknown)
        value = found[0].as_py()
        raise DataError(
            f"Column {name!r} has the unknown level {value!r}."
            if value is not None
            else f"Column {name!r} has missing values.",
            where=f"column {name!r}",
            why=f"{len(found)} values are none of {listing(levels)}",
            mend=did_you_mean(value, levels) or 'impute first, or use unknown="zeros"',
        )
