"""Nodes that bring numeric columns to a common scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.param import param
from mlgraph.data.arrays import numbers
from mlgraph.data.task import Task
from mlgraph.data.transform import NUMERIC, ColumnTransform
from mlgraph.errors import ConfigError

# Makes the median absolute deviation an estimate of the standard deviation of a normal.
_MAD = 1.4826


class _Linear(ColumnTransform):
    """Subtracts a centre and divides by a scale; missing values stay missing."""

    accepts = NUMERIC

    def transform_column(self, state: Any, name: str, values: pa.Array) -> Mapping[str, Any]:
        scaled = (numbers(values) - state["center"]) / state["scale"] + state.get("start", 0.0)
        return {name: scaled}


class Scale(_Linear):
    """Centre numeric columns and divide them by their spread.

    Missing values do not count and stay missing. The scale is the root of the mean square of the
    centred column (or of the column itself, with ``center=False``). A constant column becomes 0.

    Args:
        center: Subtract the mean, or the median if ``robust``.
        scale: Divide by the spread.
        robust: Use median and median absolute deviation (times 1.4826).
        ddof: The sum of squares is divided by the number of values minus this.

    Differs from mlr3pipelines: ``ddof`` is 0, as in scikit-learn, not 1.

    >>> task = Task({"a": [1.0, 3.0, None]})
    >>> Scale().as_graph().fit(task).predict(task).column("a").to_pylist()
    [-1.0, 1.0, None]
    """

    center: bool = True
    scale: bool = True
    robust: bool = False
    ddof: int = param(default=0, lower=0)

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        known = _known(values)
        if len(known) == 0:
            return {"center": 0.0, "scale": 1.0}
        center = float(np.median(known) if self.robust else np.mean(known)) if self.center else 0.0
        return {"center": center, "scale": self._spread(known, center) if self.scale else 1.0}

    def _spread(self, known: NDArray[np.float64], center: float) -> float:
        if self.center and known.min() == known.max():
            return 1.0  # what rounding leaves of a constant must not be blown up
        away = known - center
        if self.robust:
            return float(np.median(np.abs(away))) * _MAD or 1.0
        divisor = len(known) - self.ddof
        return float(np.sqrt(np.sum(away**2) / divisor)) or 1.0 if divisor > 0 else 1.0


class ScaleRange(_Linear):
    """Map the range of numeric columns to an interval; a constant column goes to its lower end.

    Args:
        lower: What the smallest value seen in the fit becomes.
        upper: What the largest becomes. New data may lie outside.

    Raises:
        ConfigError: The interval is empty.

    >>> task = Task({"a": [1.0, 3.0, 2.0]})
    >>> ScaleRange().as_graph().fit(task).predict(task).column("a").to_pylist()
    [0.0, 1.0, 0.5]
    """

    key = "scalerange"

    lower: float = 0.0
    upper: float = 1.0

    def validate(self) -> None:
        if self.lower >= self.upper:
            raise ConfigError(
                f"{self.call_name()} needs an interval.",
                why=f"lower={self.lower} is not below upper={self.upper}",
            )

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        known = _known(values)
        low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
        scale = float((high - low) / (self.upper - self.lower)) or 1.0
        return {"center": float(low), "scale": scale, "start": self.lower}


class ScaleMaxAbs(_Linear):
    """Divide numeric columns by their largest absolute value; a column of zeros stays as it is.

    Args:
        maxabs: What the largest absolute value becomes.

    >>> task = Task({"a": [1.0, -2.0]})
    >>> ScaleMaxAbs().as_graph().fit(task).predict(task).column("a").to_pylist()
    [0.5, -1.0]
    """

    key = "scalemaxabs"

    maxabs: float = param(default=1.0, check=lambda v: None if v > 0 else "a number above 0")

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        known = _known(values)
        largest = float(np.max(np.abs(known))) if len(known) else 0.0
        return {"center": 0.0, "scale": largest / self.maxabs or 1.0}


def _known(values: pa.Array) -> NDArray[np.float64]:
    floats = numbers(values)
    known: NDArray[np.float64] = floats[np.isfinite(floats)]
    return known
