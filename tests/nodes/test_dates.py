from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from mlgraph.data.task import Task
from mlgraph_nodes.dates import DateFeatures

ALL = DateFeatures()


def parts(node, values, name="t"):
    task = Task({name: values})
    return node.as_graph().fit(task).predict(task).table().to_pylist()


def test_a_time_has_all_parts():
    found = parts(ALL, [datetime.datetime(2024, 12, 30, 21, 5, 59)])[0]
    assert found == {
        "t.year": 2024,
        "t.quarter": 4,
        "t.month": 12,
        "t.week_of_year": 1,  # of 2025, as ISO counts
        "t.day_of_year": 365,
        "t.day_of_month": 30,
        "t.day_of_week": 1,
        "t.hour": 21,
        "t.minute": 5,
        "t.second": 59,
        "t.is_day": False,
    }


def test_a_date_has_no_parts_of_the_clock():
    assert "t.hour" not in parts(ALL, [datetime.date(2024, 1, 1)])[0]


def test_the_day_goes_from_six_to_twenty():
    times = [datetime.datetime(2024, 1, 1, hour, 59) for hour in (5, 6, 20, 21)]
    assert [row["t.is_day"] for row in parts(ALL, times)] == [False, True, True, False]


def test_the_hour_is_that_of_the_time_zone():
    times = pa.array([datetime.datetime(2024, 7, 1, 23)], pa.timestamp("us")).cast(
        pa.timestamp("us", tz="Europe/Berlin")
    )
    found = parts(ALL, times)[0]
    assert (found["t.hour"], found["t.day_of_month"]) == (1, 2)


def test_missing_values_stay_missing():
    found = parts(DateFeatures(cyclic=True), [datetime.datetime(2024, 1, 1), None])[1]
    assert set(found.values()) == {None}


def test_two_columns_have_their_own_parts():
    day = [datetime.date(2024, 1, 1)]
    task = Task({"a": day, "n": [1], "b": day})
    node = DateFeatures(
        **{name: False for name in ("quarter", "month", "week_of_year", "day_of_year")},
        day_of_month=False,
        day_of_week=False,
        keep_date_var=True,
    )
    found = node.as_graph().fit(task).predict(task)
    assert found.features == ("a", "a.year", "n", "b", "b.year")


def test_no_part_leaves_the_column():
    names = [name for name in DateFeatures.field_names() if getattr(ALL, name) is True]
    none = DateFeatures(**dict.fromkeys(names, False))
    assert parts(none, [datetime.date(2024, 1, 1)]) == [{"t": datetime.date(2024, 1, 1)}]


def angle(row, part):
    turn = np.arctan2(row[f"t.{part}_sin"], row[f"t.{part}_cos"]) / (2 * np.pi)
    return turn % 1


@pytest.mark.parametrize(
    ("day", "part", "turn"),
    [
        ((2024, 1, 1), "day_of_year", 0),
        ((2024, 12, 31), "day_of_year", 365 / 366),
        ((2023, 12, 31), "day_of_year", 364 / 365),
        ((2024, 2, 29), "day_of_month", 28 / 29),
        ((2023, 2, 28), "day_of_month", 27 / 28),
        ((2023, 12, 31), "day_of_month", 30 / 31),
        ((2024, 7, 1), "month", 6 / 12),
        ((2024, 7, 1), "quarter", 2 / 4),
        ((2024, 1, 1), "day_of_week", 0),
        ((2024, 1, 7), "day_of_week", 6 / 7),
        ((2020, 12, 31), "week_of_year", 52 / 53),
        ((2021, 1, 3), "week_of_year", 52 / 53),
        ((2024, 12, 29), "week_of_year", 51 / 52),
        ((2024, 1, 1), "week_of_year", 0),
    ],
)
def test_cyclic_parts_start_at_zero_and_use_the_true_period(day, part, turn):
    row = parts(DateFeatures(cyclic=True), [datetime.date(*day)])[0]
    assert angle(row, part) == pytest.approx(turn, abs=1e-9)


def test_long_iso_years_are_those_of_the_calendar():
    days = [datetime.date(year, 7, 1) for year in range(1950, 2060)]
    task = Task({"t": days})
    found = DateFeatures(cyclic=True).as_graph().fit(task).predict(task).table()
    week = found["t.week_of_year"].to_numpy()
    sine, cosine = found["t.week_of_year_sin"].to_numpy(), found["t.week_of_year_cos"].to_numpy()
    turn = (np.arctan2(sine, cosine) / (2 * np.pi)) % 1
    weeks = [datetime.date(day.year, 12, 28).isocalendar().week for day in days]
    np.testing.assert_allclose((week - 1) / turn, weeks)


def test_clock_parts_are_cyclic_too():
    row = parts(DateFeatures(cyclic=True), [datetime.datetime(2024, 1, 1, 6, 30, 45)])[0]
    assert angle(row, "hour") == pytest.approx(6 / 24)
    assert angle(row, "minute") == pytest.approx(30 / 60)
    assert angle(row, "second") == pytest.approx(45 / 60)
    assert "t.year_sin" not in row and "t.is_day_sin" not in row
