from __future__ import annotations

import gzip
import pickle
import tracemalloc
from hashlib import md5
from urllib.request import urlretrieve

import numpy as np
import pytest
import torchvision.datasets as reference

from mlgraph import datasets
from mlgraph.data.lazy.column import as_lazy
from mlgraph.data.lazy.memmap import MemmapSource
from mlgraph.data.lazy.reader import Draw, Reader
from mlgraph.datasets.idx import PackedIdx
from mlgraph.errors import DataError

RNG = np.random.default_rng(0)
SIZES = {"train": 50, "t10k": 20}
ARRAYS = {
    f"{part}-{kind}-ubyte": array
    for part, n in SIZES.items()
    for kind, array in (
        ("images-idx3", RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8)),
        ("labels-idx1", RNG.integers(0, 10, n, dtype=np.uint8)),
    )
}
ALL = np.concatenate([ARRAYS["train-images-idx3-ubyte"], ARRAYS["t10k-images-idx3-ubyte"]])


def idx(array):
    sizes = np.array(array.shape, dtype=">i4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


def written(folder, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ARRAYS.items():
        content = gzip.compress(idx(array)) if packed else idx(array)
        (folder / f"{name}{'.gz' if packed else ''}").write_bytes(content)
    return folder


def read(task, positions=None):
    reader = Reader({"image": as_lazy(task.columns["image"])}, task.row_ids)
    rows = np.arange(len(task)) if positions is None else np.array(positions)
    return reader.read(rows, Draw(0)).tensors["image"].numpy()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("inside", ["FashionMNIST/raw", "raw", ""])
def test_images_and_labels_are_those_of_the_files_wherever_they_lie(tmp_path, packed, inside):
    written(tmp_path / inside, packed)
    task = datasets.fashion_mnist(tmp_path)
    assert np.array_equal(read(task)[:, 0], ALL)
    assert np.array_equal(read(task, [60, 3])[:, 0], ALL[[60, 3]])
    labels = [ARRAYS["train-labels-idx1-ubyte"], ARRAYS["t10k-labels-idx1-ubyte"]]
    assert np.array_equal(task.target_codes(), np.concatenate(labels))


def test_they_are_those_that_torchvision_reads(tmp_path):
    written(tmp_path / "MNIST" / "raw")
    parts = datasets.by_split(datasets.mnist(tmp_path))
    for name, train in (("train", True), ("test", False)):
        wanted = reference.MNIST(tmp_path, train=train)
        assert np.array_equal(read(parts[name])[:, 0], wanted.data.numpy())
        assert np.array_equal(parts[name].target_codes(), wanted.targets.numpy())


def test_the_task_has_all_rows_all_classes_and_a_split_that_is_no_feature(tmp_path):
    task = datasets.mnist(written(tmp_path))
    assert task.features == ("image",) and task.target == "label"
    assert task.column("split").to_pylist() == ["train"] * 50 + ["test"] * 20
    assert task.classes == tuple("0123456789")
    assert datasets.fashion_mnist(tmp_path).classes == tuple(reference.FashionMNIST.classes)
    assert str(as_lazy(task.columns["image"]).spec) == "(batch, 1, 28, 28) uint8"


@pytest.mark.parametrize("packed", [False, True])
def test_no_image_is_read_before_it_is_needed(tmp_path, packed, monkeypatch):
    def refuse(self, rows):
        raise AssertionError("read")

    monkeypatch.setattr(MemmapSource, "fetch", refuse)
    monkeypatch.setattr(PackedIdx, "fetch", refuse)
    task = datasets.mnist(written(tmp_path, packed))
    train, valid = datasets.by_split(task)["train"].split(0.2, seed=1)
    assert len(train) + len(valid) == len(train.target_codes()) + len(valid) == 50
    assert train.fingerprint != valid.fingerprint and "image" in repr(train)
    with pytest.raises(AssertionError, match="read"):
        read(task, [0])


def test_packed_images_are_in_memory_once(tmp_path):
    rows = 8000
    images = np.repeat(np.arange(rows) // 100, 784).astype(np.uint8).reshape(rows, 28, 28)
    with gzip.open(tmp_path / "images.gz", "wb", compresslevel=1) as file:
        file.write(idx(images))
    source = PackedIdx(tmp_path / "images.gz", (rows, 1, 28, 28))
    tracemalloc.start()
    try:
        found = source.fetch(np.arange(0, rows, 500))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows * 784 <= peak < 1.3 * rows * 784
    assert np.array_equal(found.numpy()[:, 0], images[::500])


@pytest.mark.parametrize("packed", [False, True])
def test_a_task_travels_as_paths_and_reads_the_same_there(tmp_path, packed):
    task = datasets.mnist(written(tmp_path, packed))
    read(task, [0])
    travelled = pickle.dumps(task)
    assert len(travelled) < ALL.nbytes / 4
    again = pickle.loads(travelled)
    assert np.array_equal(read(again)[:, 0], ALL) and again.fingerprint == task.fingerprint


def test_unpacked_files_are_preferred(tmp_path):
    written(tmp_path, packed=True)
    task = datasets.mnist(written(tmp_path))
    sources = as_lazy(task.columns["image"]).lazy.sources
    assert [type(source) for source in sources] == [MemmapSource, MemmapSource]


def test_missing_files_are_named_with_the_way_to_get_them(tmp_path):
    (written(tmp_path / "MNIST" / "raw") / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="'t10k-labels-idx1-ubyte'") as caught:
        datasets.mnist(tmp_path)
    assert "download=True" in caught.value.mend and "train-images" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("train-images-idx3-ubyte", b"\0\0\x08\x01" + bytes(20), "idx file of 3 dimensions"),
        ("train-images-idx3-ubyte", b"", "idx file of 3 dimensions"),
        ("train-images-idx3-ubyte", idx(ALL[:50])[:-1], "too short"),
        ("train-images-idx3-ubyte", idx(ALL[:49]), "50 labels, and .* 49 images"),
        ("t10k-labels-idx1-ubyte", b"<html>not found", "idx file of 1 dimensions"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros(20, np.uint8))[:-3], "17 labels and says 20"),
    ],
)
def test_a_damaged_file_is_refused_when_the_task_is_made(tmp_path, name, content, why):
    (written(tmp_path) / name).write_bytes(content)
    with pytest.raises(DataError, match=why):
        datasets.mnist(tmp_path)


def test_a_packed_file_that_ends_early_is_refused_when_it_is_read(tmp_path):
    name = "train-images-idx3-ubyte"
    (written(tmp_path, packed=True) / f"{name}.gz").write_bytes(gzip.compress(idx(ALL[:50])[:-9]))
    task = datasets.mnist(tmp_path)
    with pytest.raises(DataError, match="it ends after 39191 of 39200 bytes"):
        read(task, [0])


def test_a_packed_file_that_is_cut_is_refused(tmp_path):
    path = written(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:20000])
    task = datasets.mnist(tmp_path)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        read(task, [0])


def test_a_download_is_that_of_torchvision_and_reads_no_images(tmp_path, monkeypatch):
    there = written(tmp_path / "mirror", packed=True)
    files = [(f"{n}.gz", md5((there / f"{n}.gz").read_bytes()).hexdigest()) for n in ARRAYS]
    monkeypatch.setattr(reference.MNIST, "mirrors", [f"{there.as_uri()}/"])
    monkeypatch.setattr(reference.MNIST, "resources", files)
    monkeypatch.setattr(reference.utils, "_urlretrieve", lambda url, to: urlretrieve(url, to))
    monkeypatch.setattr(reference.MNIST, "_load_data", lambda self: pytest.fail("read"))
    task = datasets.mnist(tmp_path / "new", download=True)
    assert np.array_equal(read(task)[:, 0], ALL)
    monkeypatch.setattr(reference.MNIST, "download", lambda self: pytest.fail("again"))
    assert datasets.mnist(tmp_path / "new", download=True).fingerprint == task.fingerprint


def test_a_download_that_fails_is_an_error_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(reference.MNIST, "mirrors", [f"{tmp_path.as_uri()}/nothing/"])
    with pytest.raises(DataError, match="MNIST cannot be downloaded"):
        datasets.mnist(tmp_path / "new", download=True)
