import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mlgraph.data.lazy.encoded import Encoded
from mlgraph.data.lazy.make import lazy, materialize
from mlgraph.data.lazy.source import ReadFailure
from mlgraph.errors import DataError

ROWS = np.array([4, 0, 2])


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)


@pytest.fixture
def encoded(array, png):
    return [png(image) for image in array]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_every_binary_type_is_decoded(encoded, array, kind):
    found = Encoded(pa.array(encoded, kind)).fetch(ROWS)
    assert np.array_equal(torch.stack(found).numpy(), array[ROWS].transpose(0, 3, 1, 2))


def test_chunks_leave_no_trace(encoded, array):
    whole = pa.chunked_array([encoded])
    parts = pa.chunked_array([encoded[:1], [], encoded[1:4], encoded[4:]], pa.binary())
    one, other = Encoded(whole, size=(4, 6)), Encoded(parts, size=(4, 6))
    assert one.fingerprint == other.fingerprint
    assert torch.equal(one.fetch(ROWS), other.fetch(ROWS))


def test_a_slice_starts_where_it_starts(encoded, array):
    source = Encoded(pa.array(encoded).slice(2, 3))
    assert np.array_equal(source.fetch(np.array([0]))[0].numpy(), array[2].transpose(2, 0, 1))
    assert source.fingerprint != Encoded(pa.array(encoded).slice(1, 3)).fingerprint
    assert source.fingerprint == Encoded(pa.array(encoded[2:])).fingerprint


def test_a_column_of_parquet_is_decoded(encoded, array, tmp_path):
    pq.write_table(pa.table({"image": pa.array(encoded)}), tmp_path / "x.parquet")
    source = Encoded(pq.read_table(tmp_path / "x.parquet")["image"], size=(4, 6))
    assert np.array_equal(source.fetch(ROWS).numpy(), array[ROWS].transpose(0, 3, 1, 2))


def test_a_pickled_column_is_the_same(encoded):
    source = Encoded(pa.array(encoded), size=(4, 6))
    before = source.fetch(ROWS)
    other = pickle.loads(pickle.dumps(source))
    assert torch.equal(other.fetch(ROWS), before) and other.fingerprint == source.fingerprint


def test_bytes_that_are_no_image_are_refused_with_their_row(encoded):
    encoded[2] = b"no image"
    with pytest.raises(ReadFailure, match="not an image") as caught:
        Encoded(pa.array(encoded)).fetch(ROWS)
    assert caught.value.row == 2
    assert len(Encoded(pa.array(encoded), on_error="skip").attempt(ROWS)[1]) == 1


def test_a_missing_image_is_refused():
    with pytest.raises(DataError, match="missing images"):
        Encoded(pa.array([b"", None]))


def test_a_column_of_numbers_is_refused():
    with pytest.raises(DataError, match="int64 does not hold encoded images"):
        Encoded(pa.array([1, 2]))


def test_no_rows_are_read_from_an_empty_column():
    assert Encoded(pa.array([], pa.binary()), size=(4, 6)).fetch(ROWS[:0]).shape == (0, 3, 4, 6)


def test_bytes_with_their_path_as_hugging_face_writes_them(encoded, array, tmp_path):
    files = [{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(encoded)]
    pq.write_table(pa.table({"image": files}), tmp_path / "x.parquet")
    column = lazy(pq.read_table(tmp_path / "x.parquet")["image"], shape=(3, 4, 6), mode="RGB")
    found = materialize(column, stacked=True)
    assert np.array_equal(found.numpy(), array.transpose(0, 3, 1, 2))
