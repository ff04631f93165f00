import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import mlgraph
from mlgraph import Task, lazy, materialize
from mlgraph.data.lazy.encoded import Encoded
from mlgraph.data.lazy.files import ImageFiles
from mlgraph.data.lazy.memmap import MemmapSource
from mlgraph.data.lazy.operation import Function
from mlgraph.errors import ConfigError, DataError, ShapeError


class Pictures:
    """A data set that counts how often it was asked."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 4

    def __getitem__(self, row):
        self.asked.append(row)
        return torch.full((3, 2, 2), row), row % 2


def _source(column):
    (source,) = column.lazy.sources
    return source


@pytest.mark.parametrize("kind", ["tensor", "array", "npy", "memmap", "safetensors", "list"])
def test_one_tensor_in_any_form_gives_the_same_rows(kind, tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    np.save(tmp_path / "x.npy", array)
    save_file({"x": torch.from_numpy(array)}, tmp_path / "x.safetensors")
    data = {
        "tensor": torch.from_numpy(array),
        "array": array,
        "npy": tmp_path / "x.npy",
        "memmap": np.load(tmp_path / "x.npy", mmap_mode="r"),
        "safetensors": str(tmp_path / "x.safetensors"),
        "list": list(torch.from_numpy(array)),
    }[kind]
    column = lazy(data, shape=(3, None))
    assert column.shape == ("batch", 3, 2) and len(column) == 4
    assert np.array_equal(materialize(column.take([3, 1]), stacked=True), array[[3, 1]])
    in_file = kind in ("npy", "memmap", "safetensors")
    assert isinstance(_source(column), MemmapSource) == in_file


def test_paths_of_images_in_any_form_are_files(images):
    paths, array = images
    words = [str(path) for path in paths]
    for data in (
        paths,
        words,
        tuple(paths),
        np.array(words),
        pa.array(words),
        pd.Series(words),
        pl.Series(words),
    ):
        column = lazy(data, shape=(3, 4, 6))
        assert isinstance(_source(column), ImageFiles)
        found = materialize(column.take([2]), stacked=True)
        assert np.array_equal(found, array[[2]].transpose(0, 3, 1, 2))


def test_encoded_images_in_any_form_are_decoded(images):
    paths, array = images
    data = [path.read_bytes() for path in paths]
    for given in (data, pa.array(data), pa.chunked_array([data[:2], data[2:]]), pl.Series(data)):
        column = lazy(given, shape=(3, 4, 6))
        assert isinstance(_source(column), Encoded)
        found = materialize(column.take([2]), stacked=True)
        assert np.array_equal(found, array[[2]].transpose(0, 3, 1, 2))


def test_a_data_set_is_asked_once_or_not_at_all():
    data = Pictures()
    assert lazy(data, item=0).shape == ("batch", 3, 2, 2) and data.asked == [0]
    data = Pictures()
    column = lazy(data, item=0, shape=(3, None, None), dtype=torch.int64)
    assert column.shape == ("batch", 3, "dim_2", "dim_3") and data.asked == []


def test_tensors_of_different_shapes_are_a_column():
    column = lazy([torch.ones(n, 2) for n in (1, 3)])
    assert column.shape == ("batch", "dim_1", 2)
    assert [row.shape for row in materialize(column)] == [(1, 2), (3, 2)]
    with pytest.raises(ShapeError, match="different shapes cannot be stacked") as caught:
        materialize(column, stacked=True)
    assert caught.value.why == "they have (1, 2) and (3, 2)"


@pytest.mark.parametrize(("shape", "mode"), [((3, 4, 6), "L"), ((4, 6), "RGB"), ((1, 4, 6), "RGB")])
def test_wrong_channels_are_refused_before_anything_is_read(shape, mode):
    with pytest.raises(DataError, match="cannot have the shape"):
        lazy(["missing.png"], shape=shape, mode=mode)


def test_part_of_a_size_may_be_promised(images):
    paths, _ = images
    assert lazy(paths, shape=(3, 4, None)).shape == ("batch", 3, 4, "width")
    with pytest.raises(DataError, match="another shape"):
        materialize(lazy(paths, shape=(3, 5, None)))


@pytest.fixture
def deep(tmp_path, png):
    """Paths of a grey image ``2 x 2`` each, of 8, 16 and 32 bits, and what is in them."""
    values = np.array([[0, 1], [2, 255]])
    paths = [tmp_path / name for name in ("a.png", "b.tif", "c.tif")]
    paths[0].write_bytes(png(values))
    Image.fromarray(values.astype(np.uint16) * 257).save(paths[1])
    Image.fromarray(values.astype(np.float32) / 2).save(paths[2])
    return paths, [values, values * 257, values / 2]


def test_images_of_more_bits_are_read_in_a_dtype(deep):
    paths, values = deep
    column = lazy(paths, mode="unchanged", dtype=torch.float32, shape=(1, 2, 2))
    assert column.shape == ("batch", 1, 2, 2) and column.dtype == torch.float32
    assert np.array_equal(materialize(column, stacked=True)[:, 0], np.stack(values))
    sixteen = lazy(paths[1:2], mode="unchanged", dtype=torch.uint16)
    assert np.array_equal(materialize(sixteen)[0][0].numpy(), values[1])


def test_images_of_more_bits_are_refused_with_what_reads_them(deep):
    paths, _ = deep
    with pytest.raises(DataError, match="not as promised") as told:
        materialize(lazy(paths[:2], mode="unchanged"))
    assert 'mode="unchanged", dtype=torch.uint16' in told.value.mend
    with pytest.raises(DataError, match="tif is not as promised") as told:
        materialize(lazy(paths))
    assert 'mode="unchanged", dtype=torch.float32' in told.value.mend
    with pytest.raises(DataError, match="65535 does not fit uint8"):
        materialize(lazy(paths[1:2], mode="unchanged", dtype=torch.uint8))


def test_promised_channels_are_kept_and_checked_where_no_mode_brings_them_about(images, deep):
    colours, grey = images[0][0], deep[0][0]
    column = lazy([colours], mode="unchanged", shape=(3, None, None))
    assert column.shape == ("batch", 3, "height", "width")
    assert materialize(column)[0].shape == (3, 4, 6)
    with pytest.raises(DataError, match="channels is not one of 3"):
        materialize(lazy([grey], mode="unchanged", shape=(3, None, None)))
    encoded = lazy([grey.read_bytes()], mode="unchanged", shape=(3, None, None))
    with pytest.raises(DataError, match="its image is not as promised"):
        materialize(encoded)


def test_a_dtype_is_a_conversion():
    column = lazy(np.arange(4), dtype=torch.float32)
    assert column.dtype == torch.float32
    assert materialize(column, stacked=True).tolist() == [0, 1, 2, 3]


def test_a_conversion_that_overflows_is_refused():
    with pytest.raises(DataError, match="300 does not fit uint8"):
        materialize(lazy(np.array([1, 300]), dtype=torch.uint8))


def test_a_shape_that_is_not_that_of_the_array_is_refused():
    for shape in ((3,), (2, 3), (2, 2, 2)):
        with pytest.raises(DataError, match="do not have the shape"):
            lazy(np.zeros((5, 2, 2)), shape=shape)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "int is not a map-style data set"),
        ("image.png", "is not a file with an array"),
        ([], "An empty list has no tensors"),
        ({"a": [1]}, "dict is a table"),
        (pd.DataFrame({"a": [1]}), "DataFrame is a table"),
        (pa.array([1, 2]), "int64 does not hold encoded images"),
        (["a.png", None], "Row 1 of a column of image files has no path"),
        (pa.array([b"", None]), "missing images"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "cannot become tensors"),
    ],
)
def test_what_holds_no_tensors_is_refused(data, message):
    with pytest.raises(DataError, match=message):
        lazy(data)


def test_on_error_is_one_of_two_words():
    with pytest.raises(ConfigError, match="on_error='ignore'"):
        lazy(["a.png"], on_error="ignore")


def test_rows_of_a_column_come_as_a_list_or_stacked():
    column = lazy(torch.arange(4.0).reshape(2, 2))
    assert [row.tolist() for row in materialize(column)] == [[0, 1], [2, 3]]
    assert materialize(column, stacked=True).shape == (2, 2)


def test_tensors_end_on_the_device():
    column = lazy(torch.ones(2, 2)).append(Function("double", lambda x: 2 * x.numpy().sum() + x))
    assert materialize(column, stacked=True, device="meta").is_meta
    assert all(row.is_meta for row in materialize(column, device="meta"))


@pytest.mark.parametrize("shape", [(0, 3), (0,), (0, 2, 2)])
def test_no_rows_are_no_tensors(shape):
    assert materialize(lazy(torch.zeros(shape))) == []
    assert materialize(lazy(torch.zeros(shape)), stacked=True).shape == shape


def test_no_rows_of_unknown_size_have_size_zero(images):
    column = lazy(images[0]).take([])
    assert materialize(column) == []
    assert materialize(column, stacked=True).shape == (0, 3, 0, 0)
    assert materialize(column, stacked=True).dtype == torch.uint8


def test_what_is_not_lazy_comes_back_as_it_is(counted):
    from mlgraph import LazyTensor

    column = LazyTensor.over(counted)
    root = column.append(Function("root", torch.sqrt))
    words = object()
    found = materialize({"a": column, "w": words, "b": root}, stacked=True)
    assert list(found) == ["a", "w", "b"] and found["w"] is words
    assert torch.equal(found["b"], found["a"].sqrt())
    assert len(counted.asked) == 1
    assert materialize({"w": words}) == {"w": words}


def test_a_task_is_read_by_its_rows(counted):
    from mlgraph import LazyTensor

    task = Task({"n": [1.0] * 6, "x": LazyTensor.over(counted)}).take([4, 1])
    found = materialize(task, stacked=True)
    assert found["n"].to_pylist() == [1, 1] and found["x"][:, 0].tolist() == [8, 2]


def test_draws_of_a_task_are_those_of_its_row_ids():
    noise = Function("noise", torch.rand_like, random=True)
    task = Task({"x": lazy(torch.zeros(5, 2)).append(noise)})
    whole, part = (materialize(t, stacked=True, seed=3)["x"] for t in (task, task.take([3])))
    assert torch.equal(part[0], whole[3])


def test_every_row_must_be_read(images):
    paths, _ = images
    paths[1].unlink()
    with pytest.raises(DataError, match="1 rows cannot be read") as caught:
        materialize({"x": lazy(paths, on_error="skip")})
    assert "row 1" in caught.value.where and str(paths[1]) in caught.value.why


def test_what_has_no_columns_is_refused():
    with pytest.raises(DataError, match="int has no lazy tensors"):
        materialize(3)


def test_the_names_are_public():
    assert mlgraph.lazy is lazy and mlgraph.materialize is materialize
    assert repr(lazy(torch.zeros(2, 3))).startswith("<lazy")
