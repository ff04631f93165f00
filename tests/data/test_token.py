"""Ingress tokens: columns become tensors, or are refused by name."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch

from mlgraph import DataError, Task
from mlgraph.data.token import CategoricalToken, NumericToken, as_words


def words(*levels, **kwargs):
    return CategoricalToken("words", ("c",), levels=(levels,), **kwargs)


# Numbers


def test_numbers_of_all_types_become_one_float32_matrix():
    task = Task(
        {
            "f": np.array([0.5, 1.5]),
            "h": np.array([0.25, 0.75], dtype=np.float32),
            "i": np.array([3, 4], dtype=np.int8),
            "u": np.array([5, 6], dtype=np.uint32),
        }
    )
    tensor = NumericToken("p", ("f", "h", "i", "u")).tensor(task)
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == [[0.5, 0.25, 3, 5], [1.5, 0.75, 4, 6]]


def test_float64_is_rounded_to_float32():
    tensor = NumericToken("p", ("x",)).tensor(Task({"x": [0.1, 1 / 3]}))
    assert tensor.squeeze(1).tolist() == [np.float32(0.1), np.float32(1 / 3)]


def test_the_token_fixes_the_order_of_columns_and_not_the_task():
    token = NumericToken("p", ("b", "a"))
    for order in (["a", "b"], ["b", "a"]):
        data = {name: {"a": [1.0], "b": [2.0]}[name] for name in order}
        assert token.tensor(Task({**data, "more": [9.0]})).tolist() == [[2.0, 1.0]]


def test_rows_come_in_the_order_of_the_view():
    task = Task({"x": [1.0, 2.0, 3.0]}).take([2, 0, 2])
    assert NumericToken("p", ("x",)).tensor(task).squeeze(1).tolist() == [3, 1, 3]


def test_one_row_and_one_column_are_still_a_matrix():
    assert NumericToken("p", ("x",)).tensor(Task({"x": [1.0]})).shape == (1, 1)


def test_no_rows_are_an_empty_matrix():
    empty = Task({"x": [1.0], "z": [2]}).empty()
    assert NumericToken("p", ("x", "z")).tensor(empty).shape == (0, 2)


def test_missing_numbers_are_refused_with_ingress_columns_and_mending():
    task = Task({"x": [1.0, None, None], "z": [1, 2, None], "ok": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match="'x', 'z'") as caught:
        NumericToken("numbers", ("x", "z", "ok")).tensor(task)
    assert caught.value.where == "node 'numbers'"
    assert "3" in caught.value.why
    assert 'po("impute")' in caught.value.mend
    assert "'ok'" not in str(caught.value)


def test_a_column_the_token_does_not_read_may_be_missing():
    task = Task({"x": [1.0, 2.0], "z": [None, 2]})
    assert NumericToken("p", ("x",)).tensor(task).shape == (2, 1)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_infinite_numbers_are_refused_with_ingress_and_columns(value):
    task = Task({"x": [1.0, 2.0], "z": [1.0, value]})
    with pytest.raises(DataError, match=r"Infinite values .*'z'") as caught:
        NumericToken("numbers", ("x", "z")).tensor(task)
    assert caught.value.where == "node 'numbers'"
    assert "'x'" not in str(caught.value)


# Categories


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["u", "v", "u"]),
        pa.array(["u", "v", "u"]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, 1]), pa.array(["v", "u"])),
    ],
)
def test_codes_are_places_among_the_levels_of_the_token(column):
    tensor = words("u", "v").tensor(Task({"c": column}))
    assert (tensor.dtype, tensor.squeeze(1).tolist()) == (torch.int64, [0, 1, 0])
    assert words("v", "x", "u").tensor(Task({"c": column})).squeeze(1).tolist() == [2, 0, 2]


def test_codes_do_not_depend_on_the_order_of_levels_in_new_data():
    task = Task({"c": pa.array(["u", "v"]).dictionary_encode()})
    turned = pa.DictionaryArray.from_arrays(pa.array([1, 0]), pa.array(["v", "u"]))
    again = task.like({"c": turned})
    token = words("u", "v")
    assert torch.equal(token.tensor(task), token.tensor(again))


def test_booleans_are_two_levels():
    token = CategoricalToken("words", ("c",), levels=(("false", "true"),))
    assert token.tensor(Task({"c": [True, False]})).squeeze(1).tolist() == [1, 0]
    assert token.cardinalities == (2,)


def test_a_level_that_fit_did_not_see_is_refused_with_its_column_and_value():
    with pytest.raises(DataError, match="'c' has a level that fit did not see: 'zz'") as caught:
        words("u", "v").tensor(Task({"c": ["u", "zz", "zz"]}))
    assert caught.value.where == "node 'words'"
    assert "'u', 'v'" in caught.value.why
    assert 'po("ingress_categ", unknown="slot")' in caught.value.mend


def test_unseen_levels_share_one_more_code_where_there_is_a_slot():
    token = words("u", "v", slot=True)
    assert token.cardinalities == (3,)
    assert token.spec.cardinalities == (3,)
    assert token.tensor(Task({"c": ["zz", "v", "yy"]})).squeeze(1).tolist() == [2, 1, 2]


def test_missing_categories_are_refused_even_with_a_slot():
    with pytest.raises(DataError, match=r"Missing values .*'c'"):
        words("u", slot=True).tensor(Task({"c": ["u", None]}))


def test_no_rows_have_no_codes():
    task = Task({"c": ["u"], "d": pa.array(["u"]).dictionary_encode()}).empty()
    token = CategoricalToken("words", ("c", "d"), levels=(("u",), ("u",)))
    assert token.tensor(task).shape == (0, 2)


def test_numbers_have_no_cardinalities():
    assert NumericToken("p", ("a",)).cardinalities == ()
    assert NumericToken("p", ("a",)).spec.cardinalities == ()


# Values


def test_tokens_are_equal_by_content_and_survive_pickling():
    token = words("u", "v")
    assert token == words("u", "v") != words("v", "u")
    assert token != words("u", "v", slot=True)
    assert pickle.loads(pickle.dumps(token)) == token
    assert hash(token) == hash(words("u", "v"))


def test_words_keep_missing_values_missing():
    column = pa.chunked_array([["u", None], ["v"]])
    assert as_words(column).to_pylist() == ["u", None, "v"]
    assert as_words(column.dictionary_encode()).to_pylist() == ["u", None, "v"]
