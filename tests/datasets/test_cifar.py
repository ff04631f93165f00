from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest
import torchvision.datasets as reference

from mlgraph import datasets
from mlgraph.data.lazy.column import as_lazy
from mlgraph.data.lazy.memmap import MemmapSource
from mlgraph.data.lazy.reader import Draw, Reader
from mlgraph.data.lazy.source import ArraySource
from mlgraph.errors import DataError

FILES = {
    "cifar10": ("cifar-10-batches-py", [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]),
    "cifar100": ("cifar-100-python", ["train", "test"]),
}
LABELS = {"cifar10": b"labels", "cifar100": b"fine_labels"}
META = {"cifar10": ("batches.meta", b"label_names"), "cifar100": ("meta", b"fine_label_names")}
WORDS = [f"word {i}" for i in range(10)]
LONG, SHORT = 100, 20  # with 100 rows the images of a file are long enough to be stepped over


# The form of the real files: protocol 2 as Python 2 wrote it, which Python 3 cannot.


def text(content):
    if len(content) < 256:
        return b"U" + bytes([len(content)]) + content
    return b"T" + struct.pack("<i", len(content)) + content


def number(value):
    return b"J" + struct.pack("<i", value)


def numbers(values):
    return b"](" + b"".join(map(number, values)) + b"e"


def array(values, columns_first=False):
    kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
    kind += b"(K\x03" + text(b"|") + b"NNN" + number(-1) + number(-1) + b"K\x00tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b")
    shape = b"".join(map(number, values.shape)) + b"\x86"
    content = values.tobytes("F" if columns_first else "C")
    order = b"\x88" if columns_first else b"\x89"
    return empty + b"\x87R(K\x01" + shape + kind + order + text(content) + b"tb"


def mapping(items):
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in items.items()) + b"u."


def batch(name, codes, pixels, columns_first=False):
    return mapping(
        {
            b"batch_label": text(b"a batch"),
            LABELS[name]: numbers(codes),
            b"data": array(pixels, columns_first),
            b"filenames": b"](" + b"".join(text(b"%d.png" % i) for i in range(len(codes))) + b"e",
        }
    )


def drawn(name, rows):
    rng = np.random.default_rng(0)
    return {
        file: (rng.integers(0, 10, rows), rng.integers(0, 256, (rows, 3072), dtype=np.uint8))
        for file in FILES[name][1]
    }


def written(root, name, rows=LONG, **options):
    folder = root / FILES[name][0]
    folder.mkdir(parents=True)
    content = drawn(name, rows)
    for file, (codes, pixels) in content.items():
        (folder / file).write_bytes(batch(name, codes.tolist(), pixels, **options))
    file, key = META[name]
    words = b"](" + b"".join(text(word.encode()) for word in WORDS) + b"e"
    (folder / file).write_bytes(mapping({key: words}))
    return content


def read(task):
    reader = Reader({"image": as_lazy(task.columns["image"])}, task.row_ids)
    return reader.read(np.arange(len(task)), Draw(0)).tensors["image"].numpy()


def check(task, content):
    pixels = np.concatenate([pixels for _, pixels in content.values()])
    assert np.array_equal(read(task), pixels.reshape(-1, 3, 32, 32))
    assert np.array_equal(task.target_codes(), np.concatenate([c for c, _ in content.values()]))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("rows", [LONG, SHORT])
@pytest.mark.parametrize("columns_first", [False, True])
def test_images_and_labels_are_those_of_the_files(tmp_path, name, rows, columns_first):
    content = written(tmp_path, name, rows, columns_first=columns_first)
    check(datasets.load(name, root=tmp_path), content)
    check(datasets.load(name, root=tmp_path / FILES[name][0]), content)


@pytest.mark.parametrize("name", FILES)
def test_they_are_those_that_torchvision_reads(tmp_path, name, monkeypatch):
    monkeypatch.setattr(reference.cifar, "check_integrity", lambda *_: True)
    written(tmp_path, name)
    task = datasets.load(name, root=tmp_path)
    for part, train in (("train", True), ("test", False)):
        wanted = getattr(reference, name.upper())(tmp_path, train=train)
        found = datasets.by_split(task)[part]
        assert np.array_equal(read(found).transpose(0, 2, 3, 1), wanted.data)
        assert found.target_codes().tolist() == wanted.targets
        assert list(found.classes) == wanted.classes == WORDS


def test_training_rows_come_first_and_the_split_is_no_feature(tmp_path):
    written(tmp_path, "cifar10", SHORT)
    task = datasets.cifar10(tmp_path)
    assert task.features == ("image",) and task.target == "class"
    assert task.column("split").to_pylist() == ["train"] * 5 * SHORT + ["test"] * SHORT
    assert str(as_lazy(task.columns["image"]).spec) == "(batch, 3, 32, 32) uint8"


def test_long_images_stay_in_their_files(tmp_path, monkeypatch):
    written(tmp_path, "cifar10")
    sources = as_lazy(datasets.cifar10(tmp_path).columns["image"]).lazy.sources
    assert {type(source) for source in sources} == {MemmapSource} and len(sources) == 6
    assert len(pickle.dumps(sources)) < 5000


def test_files_that_python_3_wrote_are_read_as_well(tmp_path):
    content = written(tmp_path, "cifar100")
    for file, (codes, pixels) in content.items():
        again = {"fine_labels": codes.tolist(), "data": pixels}
        (tmp_path / FILES["cifar100"][0] / file).write_bytes(pickle.dumps(again, protocol=4))
    task = datasets.cifar100(tmp_path)
    check(task, content)
    assert ArraySource not in map(type, as_lazy(task.columns["image"]).lazy.sources)


class Harmful:
    def __reduce__(self):
        return open, ("harm.txt", "w")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pickle.dumps({"labels": Harmful()}), "may not"),
        (b"<html>not found", "data_batch_3"),
        (b"", "data_batch_3"),
        (pickle.dumps([1]), "it is no dict"),
        (pickle.dumps({"labels": [1]}), "no images and labels"),
        (batch("cifar10", [1, 2], np.zeros((3, 3072), np.uint8)), "2 labels, and images of shape"),
        (batch("cifar10", [1] * 9, np.zeros((9, 3071), np.uint8)), "9 labels, and images of shape"),
        (batch("cifar10", [1] * 100, np.zeros((100, 3072), np.uint8))[:9000], "ends too early"),
    ],
)
def test_a_file_of_something_else_is_refused_and_runs_nothing(tmp_path, content, why, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "cifar10", SHORT)
    (tmp_path / FILES["cifar10"][0] / "data_batch_3").write_bytes(content)
    with pytest.raises(DataError, match=why):
        datasets.cifar10(tmp_path)
    assert not (tmp_path / "harm.txt").exists()


def test_missing_files_are_named_with_the_way_to_get_them(tmp_path):
    written(tmp_path, "cifar10", SHORT)
    (tmp_path / FILES["cifar10"][0] / "data_batch_3").unlink()
    with pytest.raises(DataError, match="'data_batch_3'") as caught:
        datasets.cifar10(tmp_path)
    assert "download=True" in caught.value.mend and "data_batch_2" not in str(caught.value)


def test_a_download_is_that_of_torchvision(tmp_path, monkeypatch):
    def fetch(self):
        written(tmp_path, "cifar10", SHORT)

    monkeypatch.setattr(reference.CIFAR10, "download", fetch)
    assert len(datasets.cifar10(tmp_path, download=True)) == 6 * SHORT
    assert len(datasets.cifar10(tmp_path, download=True)) == 6 * SHORT  # written() would fail
