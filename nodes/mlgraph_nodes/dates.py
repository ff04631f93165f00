"""Datefeatures: parts of dates and times as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mlgraph.core.base import Context
from mlgraph.core.param import param
from mlgraph.data.arrays import numbers
from mlgraph.data.task import Task
from mlgraph.data.transform import ColumnTransform


class DateFeatures(ColumnTransform):
    """Replace dates and times by their parts: ``<column>.<part>``.

    The calendar is that of ISO 8601: weeks begin on Monday, which is day 1. Parts are those of the
    column's own time zone. Dates have no ``hour``, ``minute``, ``second`` and ``is_day``. Missing
    values stay missing.

    Args:
        year: The year.
        quarter: 1 to 4.
        month: 1 to 12.
        week_of_year: ISO week, 1 to 53.
        day_of_year: 1 to 366.
        day_of_month: 1 to 31.
        day_of_week: 1 (Monday) to 7.
        hour: 0 to 23.
        minute: 0 to 59.
        second: 0 to 59.
        is_day: Whether the hour is 6 to 20.
        cyclic: Besides every part with a period also ``<part>_sin`` and ``<part>_cos``, over the
            true length of the period (of this month, of this ISO year).
        keep_date_var: Keep the column, too.

    >>> task = Task({"day": pa.array([19782], pa.date32())})
    >>> parts = DateFeatures(quarter=False, week_of_year=False, day_of_year=False)
    >>> parts.as_graph().fit(task).predict(task).table().to_pylist()
    [{'day.year': 2024, 'day.month': 2, 'day.day_of_month': 29, 'day.day_of_week': 4}]
    """

    key = "datefeatures"
    accepts = frozenset({"datetime"})

    year: bool = True
    quarter: bool = True
    month: bool = True
    week_of_year: bool = True
    day_of_year: bool = True
    day_of_month: bool = True
    day_of_week: bool = True
    hour: bool = True
    minute: bool = True
    second: bool = True
    is_day: bool = True
    cyclic: bool = param(default=False)
    keep_date_var: bool = param(default=False)

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        clock = pat.is_timestamp(values.type)
        return tuple(
            part for part in _PARTS if getattr(self, part) and (clock or part not in _OF_CLOCK)
        )

    def transform_column(self, state: Any, name: str, values: pa.Array) -> Mapping[str, Any]:
        if not state:
            return {name: values}
        made: dict[str, Any] = {name: values} if self.keep_date_var else {}
        for part in state:
            found = _PARTS[part](values)
            made[f"{name}.{part}"] = found
            if self.cyclic and part in _PERIODS:
                made |= _circle(f"{name}.{part}", found, *_PERIODS[part](values))
        return made


def _circle(name: str, part: pa.Array, first: int, length: Any) -> dict[str, Any]:
    """Sine and cosine of the part, counted from 0, over the length of its period."""
    turn = 2 * np.pi * (numbers(part) - first) / length
    return {f"{name}_sin": np.sin(turn), f"{name}_cos": np.cos(turn)}


def _is_day(values: pa.Array) -> pa.Array:
    hour = pc.hour(values)
    return pc.and_(pc.greater_equal(hour, 6), pc.less_equal(hour, 20))


def _iso_weekday(values: pa.Array) -> pa.Array:
    return pc.day_of_week(values, count_from_zero=False, week_start=1)


def _year_length(values: pa.Array) -> Any:
    return 365.0 + numbers(pc.is_leap_year(values))


def _month_length(values: pa.Array) -> Any:
    lengths = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, np.nan])
    month = numbers(pc.month(values))
    leap = (numbers(pc.is_leap_year(values)) == 1) & (month == 2)
    return lengths[np.where(np.isnan(month), 13, month).astype(int) - 1] + leap


def _iso_year_length(values: pa.Array) -> Any:
    """52 or 53 weeks: an ISO year is long if it begins, or a leap year ends, on a Thursday."""
    year = numbers(pc.iso_year(values))

    def weekday_of_new_year_eve(y: Any) -> Any:
        return (y + y // 4 - y // 100 + y // 400) % 7

    long = (weekday_of_new_year_eve(year) == 4) | (weekday_of_new_year_eve(year - 1) == 3)
    return np.where(np.isnan(year), np.nan, 52.0 + long)


_PARTS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "year": pc.year,
    "quarter": pc.quarter,
    "month": pc.month,
    "week_of_year": pc.iso_week,
    "day_of_year": pc.day_of_year,
    "day_of_month": pc.day,
    "day_of_week": _iso_weekday,
    "hour": pc.hour,
    "minute": pc.minute,
    "second": pc.second,
    "is_day": _is_day,
}

_OF_CLOCK = frozenset({"hour", "minute", "second", "is_day"})

# The first value of a part, and how many there are in the period of every row.
_PERIODS: dict[str, Callable[[pa.Array], tuple[int, Any]]] = {
    "quarter": lambda values: (1, 4),
    "month": lambda values: (1, 12),
    "week_of_year": lambda values: (1, _iso_year_length(values)),
    "day_of_year": lambda values: (1, _year_length(values)),
    "day_of_month": lambda values: (1, _month_length(values)),
    "day_of_week": lambda values: (1, 7),
    "hour": lambda values: (0, 24),
    "minute": lambda values: (0, 60),
    "second": lambda values: (0, 60),
}
