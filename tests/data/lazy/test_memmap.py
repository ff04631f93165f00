import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mlgraph.data.lazy.memmap import MemmapSource
from mlgraph.errors import DataError

ROWS = np.array([3, 0])


@pytest.fixture
def array():
    return np.random.default_rng(0).random((5, 2, 3)).astype("float32")


@pytest.fixture
def path(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    return tmp_path / "x.npy"


def test_a_file_of_numpy_gives_its_rows(path, array):
    source = MemmapSource.of_npy(path)
    assert source.spec.shape == ("batch", 2, 3)
    assert np.array_equal(source.fetch(ROWS).numpy(), array[ROWS])


def test_a_memory_map_is_read_by_its_path(path, array):
    source = MemmapSource.of_memmap(np.load(path, mmap_mode="r"))
    assert np.array_equal(source.fetch(ROWS).numpy(), array[ROWS])


def test_a_slice_of_a_memory_map_starts_where_it_starts(path, array):
    whole = np.load(path, mmap_mode="r")
    source = MemmapSource.of_memmap(whole[1:][1:])
    assert len(source) == 3
    assert np.array_equal(source.fetch(np.array([0, 2])).numpy(), array[[2, 4]])


def test_numbers_of_the_other_byte_order_are_read(tmp_path):
    np.arange(6, dtype=">i4").reshape(3, 2).tofile(tmp_path / "x")
    source = MemmapSource(tmp_path / "x", (2, 2), ">i4", offset=8)
    assert source.fetch(np.array([1, 0])).tolist() == [[4, 5], [2, 3]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.uint8, torch.bool])
def test_a_tensor_of_a_safetensors_file_gives_its_rows(tmp_path, dtype):
    tensor = (torch.arange(12).reshape(4, 3) % 2).to(dtype)
    save_file({"x": tensor, "y": torch.zeros(7)}, tmp_path / "w.safetensors")
    source = MemmapSource.of_safetensors(tmp_path / "w.safetensors", "x")
    found = source.fetch(ROWS)
    assert found.dtype == dtype and torch.equal(found, tensor[ROWS])


def test_a_tensor_that_is_not_there_is_refused_by_name(tmp_path):
    save_file({"image": torch.zeros(2), "y": torch.zeros(7)}, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="no tensor 'imag'") as caught:
        MemmapSource.of_safetensors(tmp_path / "w.safetensors", "imag")
    assert "'image'" in caught.value.mend
    with pytest.raises(DataError, match="several tensors"):
        MemmapSource.of_safetensors(tmp_path / "w.safetensors")


def test_a_pickle_has_the_path_and_not_the_content(tmp_path):
    np.save(tmp_path / "big.npy", np.zeros((1000, 1000)))
    source = MemmapSource.of_npy(tmp_path / "big.npy")
    source.fetch(ROWS)
    data = pickle.dumps(source)
    assert len(data) < 2000
    assert torch.equal(pickle.loads(data).fetch(ROWS), source.fetch(ROWS))


def test_the_fingerprint_is_that_of_the_file_and_its_time(path, array):
    one, other = MemmapSource.of_npy(path), MemmapSource.of_npy(path)
    assert one.fingerprint == other.fingerprint
    os.utime(path, ns=(1, 1))
    assert MemmapSource.of_npy(path).fingerprint != one.fingerprint


def test_a_file_that_changed_is_refused(path, array):
    source = MemmapSource.of_npy(path)
    np.save(path, array[:2])
    with pytest.raises(DataError, match="has changed since"):
        source.fetch(ROWS)


def test_a_file_that_is_too_short_is_refused(path):
    with pytest.raises(DataError, match="too short"):
        MemmapSource(path, (1000, 1000), "float32")


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.npy cannot be read"):
        MemmapSource.of_npy(tmp_path / "nothing.npy")


@pytest.mark.parametrize("content", [b"", b"junk that is no array at all", b"\xff" * 100])
@pytest.mark.parametrize("make", [MemmapSource.of_npy, MemmapSource.of_safetensors])
def test_a_damaged_file_is_refused(tmp_path, content, make):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as its ending says|has several tensors"):
        make(tmp_path / "x")


def test_what_is_copied_on_write_or_in_another_order_is_refused(path, tmp_path, array):
    with pytest.raises(DataError, match="cannot be read by its path"):
        MemmapSource.of_memmap(np.load(path, mmap_mode="c"))
    np.save(tmp_path / "f.npy", np.asfortranarray(array))
    with pytest.raises(DataError, match="cannot be read by its path"):
        MemmapSource.of_npy(tmp_path / "f.npy")


def test_no_rows_are_read_from_an_empty_array(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 3)))
    assert MemmapSource.of_npy(tmp_path / "x.npy").fetch(ROWS[:0]).shape == (0, 3)
