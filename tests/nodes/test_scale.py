from __future__ import annotations

import numpy as np
import pytest

from mlgraph.data.task import Task
from mlgraph.errors import ConfigError
from mlgraph_nodes.scale import Scale, ScaleMaxAbs, ScaleRange

VALUES = [1.0, 2.0, 4.0, None, 9.0]


def scaled(node, values=VALUES, new=None):
    fitted = node.as_graph().fit(Task({"a": values}))
    return fitted.predict({"a": values if new is None else new}).column("a").to_pylist()


def test_scaling_agrees_with_scikit_learn():
    from sklearn.preprocessing import StandardScaler

    x = np.random.default_rng(0).normal(3, 2, (50, 2))
    task = Task({"a": x[:, 0], "b": x[:, 1]})
    found = Scale().as_graph().fit(task).predict(task).to_numpy()[0]
    np.testing.assert_allclose(found, StandardScaler().fit_transform(x))


def test_ddof_one_agrees_with_r():
    assert scaled(Scale(ddof=1), [1.0, 2.0, 3.0]) == [-1.0, 0.0, 1.0]


def test_without_centring_the_divisor_is_the_root_mean_square():
    assert scaled(Scale(center=False), [3.0, 4.0])[0] == pytest.approx(3 / np.sqrt(12.5))


def test_robust_scaling_uses_median_and_deviation_from_it():
    found = scaled(Scale(robust=True), [1.0, 2.0, 3.0, 100.0])
    assert found[3] == pytest.approx((100 - 2.5) / 1.4826)


def test_missing_values_stay_missing():
    assert scaled(Scale())[3] is None


@pytest.mark.parametrize(
    "node", [Scale(), Scale(robust=True), ScaleRange(), ScaleMaxAbs()], ids=repr
)
def test_a_column_in_which_all_is_missing_stays_so(node):
    assert scaled(node, np.full(3, np.nan)) == [None] * 3


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e300, -3.0])
def test_a_constant_becomes_zero(constant):
    assert scaled(Scale(), [constant] * 7) == pytest.approx([0.0] * 7, abs=1e-10 * abs(constant))


def test_integers_become_floats_and_other_columns_pass():
    task = Task({"a": [1, 2], "b": [True, False], "c": ["u", "v"]})
    found = Scale().as_graph().fit(task).predict(task)
    assert dict(found.types) == {"a": "float", "b": "bool", "c": "string"}


def test_the_numbers_of_the_fit_are_used_for_new_data():
    assert scaled(Scale(), [0.0, 2.0], [4.0]) == [3.0]


def test_a_range_is_mapped_to_the_interval():
    assert scaled(ScaleRange(lower=-1, upper=3), [0.0, 10.0, 5.0], [20.0, 5.0]) == [7.0, 1.0]


def test_a_constant_goes_to_the_lower_end():
    assert scaled(ScaleRange(lower=2, upper=3), [5.0, 5.0]) == [2.0, 2.0]


def test_an_empty_interval_is_refused():
    with pytest.raises(ConfigError, match="interval"):
        ScaleRange(lower=1, upper=1)


def test_zeros_stay_zeros_with_maxabs():
    assert scaled(ScaleMaxAbs(maxabs=2), [0.0, 0.0]) == [0.0, 0.0]
    assert scaled(ScaleMaxAbs(maxabs=2), [1.0, -4.0]) == [0.5, -2.0]
