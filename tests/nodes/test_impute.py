from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from mlgraph.core.route import Nop
from mlgraph.data.task import Task
from mlgraph.errors import DataError
from mlgraph_nodes.filling import uniforms
from mlgraph_nodes.impute import (
    Impute,
    ImputeConstant,
    ImputeHist,
    ImputeMean,
    ImputeMedian,
    ImputeMode,
    ImputeOor,
    ImputeSample,
)

EVERY = [
    Impute(),
    ImputeMean(),
    ImputeMedian(),
    ImputeMode(),
    ImputeSample(),
    ImputeHist(),
    ImputeOor(),
]


def factor(values, levels, ordered=False):
    codes = [None if value is None else levels.index(value) for value in values]
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, pa.int32()), pa.array(levels, pa.string()), ordered=ordered
    )


def fit(node, **columns):
    return node.as_graph().fit(Task(columns), seed=1)


def filled(node, values):
    task = Task({"a": values})
    return node.as_graph().fit(task, seed=1).predict(task).column("a").to_pylist()


@pytest.mark.parametrize(
    ("node", "value"), [(ImputeMean(), 7), (ImputeMedian(), 2), (ImputeMode(), 2)], ids=repr
)
def test_integers_stay_integers(node, value):
    assert filled(node, [1, 2, 2, None, 22]) == [1, 2, 2, value, 22]


def test_the_mean_of_integers_is_rounded_half_to_even():
    assert filled(ImputeMean(), [2, 3, None]) == [2, 3, 2]


@pytest.mark.parametrize("node", EVERY, ids=repr)
def test_integers_at_the_limits_of_the_type_do_not_overflow(node):
    low, high = -(2**63), 2**63 - 1
    found = filled(node, [low, high, None, None])
    assert found[:2] == [low, high]
    assert all(isinstance(value, int) and low <= value <= high for value in found)


def test_the_median_of_huge_integers_is_exact():
    assert filled(ImputeMedian(), [2**62 + 1, 2**62 + 3, None])[2] == 2**62 + 2


@pytest.mark.parametrize("node", EVERY, ids=repr)
def test_a_column_in_which_all_is_missing_becomes_zero(node):
    fitted = fit(node, a=pa.array([None, None], pa.float64()))
    assert fitted.predict({"a": [None, 5.0]}).column("a").to_pylist() == [0.0, 5.0]


@pytest.mark.parametrize("node", EVERY, ids=repr)
def test_a_category_without_levels_does_no_harm(node):
    none = pa.DictionaryArray.from_arrays(pa.array([None, None], pa.int32()), pa.array([], "str"))
    task = Task({"a": none})
    found = node.as_graph().fit(task, seed=1).predict(task)
    wanted = [".MISSING"] * 2 if node.key in ("impute", "imputeoor") else [None, None]
    assert found.column("a").to_pylist() == wanted


@pytest.mark.parametrize("node", [ImputeMode(), ImputeSample()], ids=repr)
def test_an_all_missing_category_gets_its_levels(node):
    found = filled(node, factor([None] * 40, ["u", "v"]))
    assert set(found) == {"u", "v"}


def test_a_column_complete_in_the_fit_is_filled_later():
    fitted = fit(ImputeMedian(), a=[1.0, 2.0, 3.0])
    assert fitted.predict({"a": [None, 9.0]}).column("a").to_pylist() == [2.0, 9.0]


def test_the_new_level_is_there_when_nothing_is_missing():
    fitted = fit(ImputeOor(), a=factor(["u", None], ["u", "v"]))
    assert fitted.predict({"a": ["u", "v"]}).levels("a") == ("u", "v", ".MISSING")


def test_levels_never_seen_come_after_the_new_level():
    fitted = fit(Impute(), a=factor(["u", None], ["u", "v"]))
    found = fitted.predict({"a": ["w", None]})
    assert found.levels("a") == ("u", "v", ".MISSING", "w")
    assert found.column("a").to_pylist() == ["w", ".MISSING"]


def test_imputeoor_leaves_categories_alone_that_were_complete():
    fitted = fit(ImputeOor(), a=factor(["u", "v"], ["u", "v"]))
    found = fitted.predict({"a": ["u", None]})
    assert found.column("a").to_pylist() == ["u", None]
    assert found.levels("a") == ("u", "v")


def test_imputeoor_can_create_the_level_in_advance():
    fitted = fit(ImputeOor(create_empty_level=True), a=factor(["u", "v"], ["u", "v"]))
    assert fitted.outputs["imputeoor.output"].levels("a") == ("u", "v", ".MISSING")
    assert fitted.predict({"a": ["u", None]}).column("a").to_pylist() == ["u", ".MISSING"]


def test_impute_fills_a_complete_category_with_its_most_frequent_level():
    fitted = fit(Impute(), a=factor(["u", "v", "v"], ["u", "v"]))
    found = fitted.predict({"a": ["u", None]})
    assert found.column("a").to_pylist() == ["u", "v"]
    assert found.levels("a") == ("u", "v")


def test_impute_leaves_nothing_missing():
    task = Task(
        {
            "float": [1.5, None, 3.0],
            "bool": [True, None, True],
            "word": ["u", None, "v"],
            "level": factor(["u", None, "v"], ["v", "u"], ordered=True),
            "day": [datetime.date(2024, 2, 29), None, datetime.date(2024, 3, 2)],
            "time": [datetime.datetime(2024, 1, 1), None, datetime.datetime(2024, 1, 3)],
        }
    )
    found = Impute().as_graph().fit(task).predict(task)
    assert not found.missing
    assert dict(found.types) == dict(task.types)
    assert found.is_ordered("level")
    assert found.column("day").to_pylist()[1] == datetime.date(2024, 3, 1)
    assert found.column("time").to_pylist()[1] == datetime.datetime(2024, 1, 2)


def test_a_time_zone_survives():
    times = pa.array([0, None, 4], pa.timestamp("us", tz="Europe/Berlin"))
    task = Task({"a": times})
    found = ImputeMean().as_graph().fit(task).predict(task)
    assert found.column("a").type == times.type
    assert found.column("a").cast(pa.int64()).to_pylist() == [0, 2, 4]


def test_narrow_floats_stay_narrow():
    task = Task({"a": np.array([1, np.nan, 2], dtype=np.float32)})
    assert ImputeMean().as_graph().fit(task).predict(task).column("a").type == pa.float32()


def test_infinite_values_do_not_spoil_the_mean():
    assert filled(ImputeMean(), [1.0, 3.0, float("inf"), None])[3] == 2.0


def test_imputeoor_goes_below_or_above_the_range():
    assert filled(ImputeOor(), [1.0, 3.0, None])[2] == 1 - 1 - 2
    assert filled(ImputeOor(min=False, offset=0, multiplier=0.5), [1.0, 3.0, None])[2] == 4.0


def test_histogram_draws_stay_in_the_observed_range():
    values = [0.0, 1.0, 1.0, 10.0] + [None] * 200
    found = np.array(filled(ImputeHist(), values))
    assert found.min() >= 0 and found.max() <= 10
    assert np.mean(found[4:] < 3.4) == pytest.approx(0.75, abs=0.1)
    assert len(set(found[4:].tolist())) > 150


def test_histogram_draws_of_integers_are_integers():
    found = filled(ImputeHist(), [1, 2, 2, 9] + [None] * 50)
    assert all(isinstance(value, int) and 1 <= value <= 9 for value in found)


def test_samples_have_the_observed_frequencies():
    found = filled(ImputeSample(), [1.0, 2.0, 2.0, 2.0] + [None] * 400)[4:]
    assert np.mean(np.array(found) == 2.0) == pytest.approx(0.75, abs=0.07)


def test_several_modes_are_all_drawn():
    assert set(filled(ImputeMode(), ["u", "u", "v", "v", "w"] + [None] * 50)[5:]) == {"u", "v"}


def test_other_seeds_draw_other_values():
    task = Task({"a": [1.0, 2.0, 3.0] + [None] * 30})
    graph = ImputeSample().as_graph()
    one, two = (graph.fit(task, seed=seed).predict(task).column("a") for seed in (1, 2))
    assert one.to_pylist() != two.to_pylist()


def test_a_row_draws_the_same_value_in_any_batch():
    task = Task({"a": [1.0, 2.0, 3.0] + [None] * 30})
    fitted = (Nop() >> ImputeSample()).fit(task, seed=1)
    whole, part = fitted.predict(task), fitted.predict(task.take([20, 10]))
    assert part.column("a").to_pylist() == whole.take([20, 10]).column("a").to_pylist()


def test_columns_draw_independently():
    holes = [1.0, 2.0, 3.0] + [None] * 30
    task = Task({"a": holes, "b": holes})
    found = ImputeSample().as_graph().fit(task, seed=1).predict(task)
    assert found.column("a").to_pylist() != found.column("b").to_pylist()


def test_draws_are_uniform():
    draws = uniforms(3, "a", np.arange(20_000))
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    assert counts.min() > 1850 and counts.max() < 2150
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.02


def test_a_constant_fills_what_it_fits():
    node = ImputeConstant(constant=-1)
    fitted = fit(node, a=[1.5, None], b=[1, None], c=["u", "v"])
    found = fitted.predict({"a": [None], "b": [None], "c": ["u"]})
    assert found.table().to_pylist() == [{"a": -1.0, "b": -1, "c": "u"}]


@pytest.mark.parametrize(
    ("constant", "values"),
    [
        ("x", [1.0, None]),
        (1.5, [1, None]),
        (1, [True, None]),
        (1, ["u", None]),
        ("soon", [datetime.date(2024, 1, 1), None]),
    ],
)
def test_a_constant_of_another_type_is_refused_by_column(constant, values):
    with pytest.raises(DataError, match="'a'"):
        fit(ImputeConstant(constant=constant), a=values)


def test_a_constant_that_fits_no_column_missing_later_is_refused_then():
    fitted = fit(ImputeConstant(constant=0), a=["u", "v"])
    with pytest.raises(DataError, match="'a'"):
        fitted.predict({"a": [None]})


def test_a_constant_must_be_a_level_unless_levels_are_not_checked():
    values = factor(["u", None], ["u"])
    with pytest.raises(DataError, match="'a'") as caught:
        fit(ImputeConstant(constant="new"), a=values)
    assert "levels" in caught.value.why
    fitted = fit(ImputeConstant(constant="new", check_levels=False), a=values)
    assert fitted.predict({"a": ["u"]}).levels("a") == ("u", "new")


def test_dates_are_filled_from_text():
    node = ImputeConstant(constant="2024-02-29")
    assert filled(node, [None, datetime.date(2024, 1, 1)])[0] == datetime.date(2024, 2, 29)
