import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mlgraph.data.lazy.cached import Cached, size_in_bytes
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.dataset import DatasetSource
from mlgraph.data.lazy.draws import Draw
from mlgraph.data.lazy.files import ImageFiles
from mlgraph.data.lazy.make import lazy, materialize
from mlgraph.data.lazy.operation import Function
from mlgraph.data.lazy.reader import Reader
from mlgraph.data.lazy.source import ArraySource, ReadFailure
from mlgraph.errors import ConfigError, DataError, ShapeError
from mlgraph.tensor.spec import TensorSpec

ROOT = Function("root", torch.sqrt, batched=True)
SINGLE = Function("exp", torch.exp)
EXPECTED = torch.arange(12.0).reshape(6, 2).sqrt().exp()


@pytest.fixture(params=["memory", "folder"])
def folder(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "kept"


def test_every_row_is_read_once(counted, folder):
    kept = Cached(counted, (ROOT, SINGLE), folder=folder)
    for rows in ([3, 0], [0, 3, 3], [1, 3, 2], [0, 1, 2, 3]):
        assert torch.equal(kept.fetch(np.array(rows)), EXPECTED[rows])
    assert (
        sorted(row for rows in counted.asked for row in rows) == [0, 1, 2, 3] and kept.n_kept == 4
    )


def test_rows_beyond_the_limit_are_computed_anew(counted, folder):
    kept = Cached(counted, (ROOT, SINGLE), folder=folder, limit=3 * 8 + 7)
    for _ in range(2):
        assert torch.equal(kept.fetch(np.array([5, 1, 3, 5, 0])), EXPECTED[[5, 1, 3, 5, 0]])
    assert kept.n_kept == 2 and counted.asked == [[0, 1, 3, 5], [3, 5]]


def test_no_room_is_no_cache(counted):
    kept = Cached(counted, (ROOT, SINGLE), limit=0)
    assert torch.equal(kept.fetch(np.array([4])), EXPECTED[[4]])
    assert kept.n_kept == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.bfloat16, torch.int64])
def test_every_dtype_is_kept(folder, dtype):
    tensor = (torch.arange(12).reshape(4, 3) % 2).to(dtype)
    kept = Cached(ArraySource(tensor), (), folder=folder)
    for _ in range(2):
        assert torch.equal(kept.fetch(np.array([2, 0])), tensor[[2, 0]])


def test_what_was_fetched_is_not_the_memory_of_the_cache(counted):
    kept = Cached(counted, ())
    for _ in range(2):
        kept.fetch(np.array([1])).zero_()
    assert kept.fetch(np.array([1])).tolist() == [[2, 3]]


def test_a_folder_is_found_by_another_cache(counted, tmp_path):
    Cached(counted, (ROOT,), folder=tmp_path).fetch(np.arange(6))
    counted.asked.clear()
    found = Cached(counted, (ROOT,), folder=tmp_path).fetch(np.array([2]))
    assert torch.equal(found, torch.tensor([[4.0, 5.0]]).sqrt())
    assert counted.asked == []


def test_other_operations_have_another_place(counted, tmp_path):
    Cached(counted, (ROOT,), folder=tmp_path).fetch(np.arange(6))
    assert torch.equal(
        Cached(counted, (ROOT, SINGLE), folder=tmp_path).fetch(np.arange(6)), EXPECTED
    )


def test_a_folder_that_is_something_else_is_refused(counted, tmp_path):
    kept = Cached(counted, (ROOT,), folder=tmp_path)
    about = os.path.join(os.path.dirname(kept.path), "about.json")
    with open(about, "w") as file:
        file.write("{}")
    with pytest.raises(DataError, match="does not hold the rows that are wanted"):
        Cached(counted, (ROOT,), folder=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot hold rows"):
        Cached(counted, (ROOT,), folder=tmp_path / "file")


def test_a_failure_leaves_nothing_behind(counted, tmp_path, monkeypatch):
    from mlgraph.data.lazy import shared

    monkeypatch.setattr(shared.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 3}))
    with pytest.raises(DataError, match="no room for"):
        Cached(counted, (ROOT,), folder=tmp_path)
    assert os.listdir(tmp_path) == []


def test_making_one_reads_nothing(counted, folder):
    Cached(counted, (ROOT, SINGLE), folder=folder)
    assert counted.asked == []


def test_what_draws_is_not_kept(counted):
    noise = Function("noise", torch.rand_like, random=True)
    with pytest.raises(ConfigError, match="'noise' draws would be the same in every epoch"):
        Cached(counted, (ROOT, noise))


def test_rows_of_different_shapes_are_not_kept():
    with pytest.raises(ShapeError, match="different shapes cannot be cached"):
        Cached(ImageFiles(["a.png"]), ())


def test_a_row_that_cannot_be_read_is_named_and_not_kept(images):
    paths, array = images
    paths[3].unlink()
    kept = Cached(ImageFiles(paths, size=(4, 6)), ())
    with pytest.raises(ReadFailure, match="there is no file") as caught:
        kept.fetch(np.array([1, 3]))
    assert caught.value.row == 3
    assert np.array_equal(kept.fetch(np.array([1])).numpy(), array[[1]].transpose(0, 3, 1, 2))


def test_skipping_goes_through_the_cache(images):
    paths, _ = images
    paths[3].unlink()
    column = LazyTensor.over(ImageFiles(paths, size=(4, 6), on_error="skip")).cached()
    for _ in range(2):
        read = Reader({"x": column}, np.arange(5)).read(np.array([1, 3, 0]), Draw(0))
        assert read.kept.tolist() == [1, 0] and read.skipped[0].row_id == 3


def test_a_shape_that_was_not_promised_is_named(images):
    paths, _ = images
    column = LazyTensor.over(ImageFiles(paths, size=(4, 7))).cached()
    with pytest.raises(DataError, match="Row 1 of column 'x' cannot be read: it has another") as e:
        Reader({"x": column}, np.arange(5)).read(np.array([1]), Draw(0))
    assert e.value.why == "expected (3, 4, 7) uint8, arrived (3, 4, 6) uint8"


def test_random_steps_after_the_cache_draw_anew(counted):
    noise = Function("noise", lambda x: x + torch.rand(x.shape), random=True)
    column = LazyTensor.over(counted).append(ROOT).cached().append(noise)
    one, other = (materialize(column, stacked=True, epoch=epoch) for epoch in (0, 1))
    assert not torch.equal(one, other) and counted.asked == [list(range(6))]


def test_a_cached_column_has_the_same_rows(counted, folder):
    column = LazyTensor.over(counted).append(ROOT).append(SINGLE).take([4, 1, 4])
    kept = column.cached(folder)
    assert kept.spec == column.spec and kept.lazy.operations == ()
    for _ in range(2):
        assert torch.equal(materialize(kept, stacked=True), EXPECTED[[4, 1, 4]])
    assert kept.cached().lazy is kept.lazy


def test_equal_caches_are_equal_columns(counted):
    one, other = (LazyTensor.over(counted).append(ROOT).cached() for _ in range(2))
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != LazyTensor.over(counted).cached().fingerprint


def test_nothing_is_kept_of_a_column_without_rows(counted):
    empty = LazyTensor(LazyTensor.over(counted).append(ROOT).column.emptied()).cached()
    assert materialize(empty, stacked=True).shape == (0, 2)


class _Batches:
    def __init__(self, source):
        self.source = source

    def __len__(self):
        return 3

    def __getitem__(self, batch):
        return self.source.fetch(np.arange(2 * batch, 2 * batch + 2))


def test_worker_processes_fill_one_cache(counted, folder):
    kept = Cached(counted, (ROOT, SINGLE), folder=folder)
    loader = DataLoader(_Batches(kept), batch_size=None, num_workers=2)
    assert torch.equal(torch.cat(list(loader)), EXPECTED)
    assert counted.asked == [] and kept.n_kept == 6
    assert torch.equal(kept.fetch(np.arange(6)), EXPECTED) and counted.asked == []


def test_another_process_finds_the_cache_by_its_path(folder, tmp_path):
    kept = Cached(ArraySource(torch.arange(12.0).reshape(6, 2)), (ROOT,), folder=folder)
    kept.fetch(np.arange(3))
    (tmp_path / "kept.pickle").write_bytes(pickle.dumps(kept))
    code = (
        "import pickle, sys, numpy; from mlgraph.data.lazy.cached import Cached;"
        "kept = pickle.load(open(sys.argv[1], 'rb')); before = kept.n_kept;"
        "kept.fetch(numpy.array([5])); print(before, kept.n_kept)"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "kept.pickle")]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "4"] and kept.n_kept == 4


def test_a_pickle_has_not_the_content():
    tensor = torch.zeros(100, 1000)
    source = DatasetSource(_Zeros(), spec=TensorSpec(("batch", 1000)))
    kept = Cached(source, ())
    kept.fetch(np.arange(100))
    assert len(pickle.dumps(kept)) < 2000 < tensor.nbytes


class _Zeros:
    def __len__(self):
        return 100

    def __getitem__(self, row):
        return torch.zeros(1000)


def test_where_the_memory_is_gone_rows_are_computed_anew(counted):
    kept = Cached(counted.inner, (ROOT, SINGLE))
    kept.fetch(np.arange(6))
    data = pickle.dumps(kept)
    del kept
    other = pickle.loads(data)
    assert torch.equal(other.fetch(np.arange(6)), EXPECTED) and other.n_kept == 0


def test_files_of_memory_are_given_back(counted):
    kept = Cached(counted, ())
    handles = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    del kept
    if handles is not None:
        assert len(os.listdir("/proc/self/fd")) == handles - 1


@pytest.mark.parametrize(
    ("text", "size"), [("1GB", 10**9), ("2 MB", 2 * 10**6), ("1.5k", 1500), ("7", 7), (12, 12)]
)
def test_limits_are_read(text, size):
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("limit", ["much", "-1", -1, True, 1.5, "1XB"])
def test_what_is_no_limit_is_refused(limit):
    with pytest.raises(ConfigError, match="is not a size"):
        size_in_bytes(limit)


def test_images_are_decoded_once(images):
    paths, array = images
    column = lazy(paths, shape=(3, 4, 6)).cached()
    before = materialize(column, stacked=True)
    for path in paths:
        path.unlink()
    assert torch.equal(materialize(column, stacked=True), before)
    assert np.array_equal(before.numpy(), array.transpose(0, 3, 1, 2))
