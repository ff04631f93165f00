from __future__ import annotations

import numpy as np
import pyarrow as pa

from mlgraph.data.arrays import category, codes_among, levels_of, numbers, plain, tensors


def test_codes_are_found_by_level_whatever_the_order():
    values = pa.array(["v", None, "u", "w"]).dictionary_encode()
    assert codes_among(values, ["u", "v"]).tolist() == [1, -1, 0, -1]


def test_codes_of_a_slice_are_those_of_its_rows():
    values = pa.array(["v", None, "u", "w"]).dictionary_encode().slice(1, 2)
    assert codes_among(values, ["u", "v"]).tolist() == [-1, 0]


def test_a_category_of_no_levels_is_all_missing():
    assert category(np.array([-1, -1]), []).to_pylist() == [None, None]


def test_several_chunks_become_one_array():
    chunks = pa.chunked_array([["u"], ["v", None]])
    assert plain(chunks).to_pylist() == ["u", "v", None]


def test_unused_levels_are_levels():
    values = pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int32()), ["u", "v"])
    assert levels_of(values) == ("u", "v")


def test_numbers_of_chunks_integers_and_booleans():
    assert numbers(pa.chunked_array([[1], [None, 3]])).tolist()[::2] == [1.0, 3.0]
    assert np.isnan(numbers(pa.array([None], pa.int64()))).all()
    assert numbers(pa.array([True, False])).tolist() == [1.0, 0.0]


def test_a_matrix_becomes_a_tensor_per_row():
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert np.array_equal(tensors(rows).to_numpy_ndarray(), rows)
    assert len(tensors(rows[:0])) == 0 and tensors(rows[:0]).type.shape == [2]
