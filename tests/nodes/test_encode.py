from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, DataError
from mlgraph_nodes.encode import Encode


def factor(values, levels):
    return pd.Categorical(values, levels)


def fit(node=None, **columns):
    return (node or Encode()).as_graph().fit(Task(columns))


def table(fitted, **columns):
    return fitted.predict(columns).table().to_pydict()


def test_declared_levels_that_are_not_used_have_a_column():
    fitted = fit(a=factor(["u"], ["v", "u"]))
    assert table(fitted, a=["u"]) == {"a.v": [0.0], "a.u": [1.0]}


def test_levels_of_strings_are_sorted():
    assert fit(a=["z", "b"]).predict({"a": ["b"]}).features == ("a.b", "a.z")


@pytest.mark.parametrize(("unknown", "value"), [("zeros", 0.0), ("missing", None)])
def test_unknown_and_missing_levels(unknown, value):
    fitted = fit(Encode(unknown=unknown), a=["u", "v"])
    assert table(fitted, a=["w", None]) == {"a.u": [value] * 2, "a.v": [value] * 2}


def test_an_unknown_level_can_be_refused_with_column_value_and_suggestion():
    fitted = fit(Encode(unknown="error"), a=["red", "blue"])
    with pytest.raises(DataError, match="'a' has the unknown level 'rde'") as caught:
        fitted.predict({"a": ["rde"]})
    assert "'red'" in caught.value.mend
    with pytest.raises(DataError, match="'a' has missing values"):
        fitted.predict({"a": [None, "red"]})


def test_treatment_leaves_out_the_first_level():
    fitted = fit(Encode(method="treatment"), a=["u", "v", "w"])
    assert table(fitted, a=["u", "w"]) == {"a.v": [0.0, 0.0], "a.w": [0.0, 1.0]}


def test_ordinal_codes_are_places_of_the_levels():
    fitted = fit(Encode(method="ordinal"), a=factor(["u"], ["v", "u"]))
    found = fitted.predict({"a": ["u", "v", "new", None]})
    assert found.types["a"] == "int"
    assert found.column("a").to_pylist() == [1, 0, None, None]


def test_booleans_become_one_column():
    assert table(fit(a=[True, False]), a=[True, None]) == {"a": [1.0, None]}


def test_numbers_pass():
    assert table(fit(n=[1, 2], a=["u", "v"]), n=[5], a=["u"]) == {
        "n": [5],
        "a.u": [1.0],
        "a.v": [0.0],
    }


def test_names_of_levels_are_kept_verbatim():
    fitted = fit(a=["", "- _", "é.1"])
    assert fitted.predict({"a": [""]}).features == ("a.", "a.- _", "a.é.1")


def test_names_that_are_taken_are_refused():
    with pytest.raises(DataError, match=r"'a\.u'"):
        fit(**{"a": ["u"], "a.u": [1.0]})


def test_two_columns_whose_levels_collide_are_refused():
    with pytest.raises(DataError, match=r"'a\.b\.c'"):
        fit(**{"a": ["b.c"], "a.b": ["c"]})


def test_a_category_without_levels_becomes_no_column():
    none = pa.DictionaryArray.from_arrays(pa.array([None], pa.int32()), pa.array([], pa.string()))
    task = Task({"a": none, "b": [1.0]})
    found = Encode().as_graph().fit(task).predict(task)
    assert found.features == ("b",)
    assert len(found) == 1


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="method") as caught:
        Encode(method="onehot")
    assert "'one-hot'" in str(caught.value)
