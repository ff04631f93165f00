"""CIFAR-10 and CIFAR-100: labels are read, images stay in their files until they are needed.

The files are pickles of a dict with labels, and an array of images in one piece. They are read by
a reader that knows dicts, lists and arrays only and so runs nothing; it steps over the array and
notes where it is, so that it can be mapped into memory.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mlgraph.data.lazy.column import LazyTensor, append_lazy
from mlgraph.data.lazy.memmap import MemmapSource
from mlgraph.data.lazy.source import ArraySource, Source
from mlgraph.data.task import Task
from mlgraph.datasets.images import downloaded, image_task, not_here, root_of
from mlgraph.errors import DataError


def cifar10(root: str | Path | None = None, *, download: bool = False) -> Task:
    """CIFAR-10: 60,000 small photos of ten kinds of things, the training set of 50,000 first.

    Nothing is downloaded unless asked for, and no image is read before it is needed. The column
    ``split`` says ``train`` or ``test``, see ``by_split``; it is no feature.

    Shape:
        image: ``(3, 32, 32)`` uint8, 0 to 255.

    Args:
        root: The folder that torchvision's class of this name was given, or the one its files
            are in.
        download: Let torchvision fetch the files.

    Raises:
        DataError: A file is missing or damaged, or cannot be fetched.

    >>> cifar10("no/such/folder")
    Traceback (most recent call last):
    ...
    mlgraph.errors.DataError: CIFAR10 is not in that folder.
      where: no/such/folder/cifar-10-batches-py
      why:   these files are missing: 'data_batch_1', ...
      mend:  datasets.cifar10(root="...", download=True) fetches 170 MB; or give the root that ...
    """
    return _task("CIFAR10", "cifar10", "170 MB", "labels", root, download)


def cifar100(root: str | Path | None = None, *, download: bool = False) -> Task:
    """CIFAR-100: 60,000 small photos of a hundred kinds of things, the training set first.

    Nothing is downloaded unless asked for, and no image is read before it is needed. The column
    ``split`` says ``train`` or ``test``, see ``by_split``; it is no feature.

    Shape:
        image: ``(3, 32, 32)`` uint8, 0 to 255.

    Args:
        root: The folder that torchvision's class of this name was given, or the one its files
            are in.
        download: Let torchvision fetch the files.

    Raises:
        DataError: A file is missing or damaged, or cannot be fetched.

    >>> cifar100()
    Traceback (most recent call last):
    ...
    mlgraph.errors.DataError: CIFAR100 is not part of this package.
      why:   datasets.cifar100() was not told in which folder it is
      mend:  give root="...", the first time with download=True to fetch 169 MB
    """
    return _task("CIFAR100", "cifar100", "169 MB", "fine_labels", root, download)


def _task(
    name: str, call: str, size: str, labels: str, root: str | Path | None, download: bool
) -> Task:
    from torchvision import datasets

    kind = getattr(datasets, name)
    given = root_of(root, name, call, size)
    folder, lost = _placed(given, kind)
    if download and lost:
        downloaded(kind, given)
        folder, lost = _placed(given, kind)
    if lost:
        raise not_here(name, call, lost, size)
    parts = [
        _part([folder / file for file, _ in listed], labels)
        for listed in (kind.train_list, kind.test_list)
    ]
    return image_task(
        [images for images, _ in parts],
        [codes for _, codes in parts],
        target="class",
        classes=_words(folder / kind.meta["filename"], kind.meta["key"]),
        splits=["train", "test"],
    )


def _placed(root: Path, kind: Any) -> tuple[Path, list[Path]]:
    """The folder of the files, and those that are missing."""
    listed = (*kind.train_list, *kind.test_list, (kind.meta["filename"], ""))
    inside = root / kind.base_folder
    folder = inside if inside.is_dir() or not (root / listed[0][0]).is_file() else root
    return folder, [folder / file for file, _ in listed if not (folder / file).is_file()]


def _part(files: Sequence[Path], labels: str) -> tuple[LazyTensor, NDArray[np.int64]]:
    """The images of some files, unread, and their labels."""
    batches = [_batch(file, labels) for file in files]
    columns = [LazyTensor.over(source) for source, _ in batches]
    return reduce(append_lazy, columns), np.concatenate([codes for _, codes in batches])


def _batch(path: Path, labels: str) -> tuple[Source, NDArray[np.int64]]:
    content, places = _read(path)
    codes, array = content.get(labels), content.get("data")
    if not isinstance(array, _Array) or not isinstance(codes, list):
        raise _damaged(path, f"it has no images and {labels}")
    if array.shape != (len(codes), _PIXELS) or array.dtype not in ("u1", "|u1"):
        raise _damaged(path, f"it has {len(codes)} labels, and images of shape {array.shape}")
    shape = (len(codes), *_SHAPE)
    if len(places) == 1 and not array.columns_first:
        return MemmapSource(path, shape, "uint8", places[0]), np.array(codes)
    pixels = np.frombuffer(array.content, np.uint8)
    if len(places) == 1:
        pixels = np.fromfile(path, np.uint8, len(pixels), offset=places[0])
    if len(pixels) != len(codes) * _PIXELS or len(places) > 1:
        raise _damaged(path, "its images are not in one piece")
    values = pixels.reshape(array.shape, order="F" if array.columns_first else "C")
    return ArraySource(values.reshape(shape), copy=False), np.array(codes)


def _words(path: Path, key: str) -> list[str]:
    found = _read(path)[0].get(key)
    if not isinstance(found, list):
        raise _damaged(path, f"it has no {key}")
    return [_text(word) for word in found]


def _read(path: Path) -> tuple[dict[str, Any], list[int]]:
    """The dict in a file, and where the long pieces are that were stepped over."""
    with open(path, "rb") as file:
        pieces = _Pieces(file)
        try:
            content = _Plain(pieces, encoding="bytes").load()
        except Exception as problem:  # a broken pickle may raise anything
            raise _damaged(path, str(problem) or type(problem).__name__) from problem
    if not isinstance(content, dict):
        raise _damaged(path, "it is no dict")
    return {_text(name): value for name, value in content.items()}, pieces.places


class _Pieces:
    """A file in which long reads are only pretended: zeros come, and the place is noted."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.places: list[int] = []

    def read(self, size: int = -1) -> bytes:
        if size < _LONG:
            return self._file.read(size)
        start = self._file.tell()
        if self._file.seek(0, os.SEEK_END) < start + size:
            raise EOFError("it ends too early")
        self._file.seek(start + size)
        self.places.append(start)
        return bytes(size)

    def readline(self) -> bytes:
        return self._file.readline()


class _Plain(pickle.Unpickler):
    """Knows an array, and nothing else that has a name."""

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": _empty, "ndarray": _Array, "dtype": _Dtype}
        if module.split(".")[0] != "numpy" or name not in known:
            raise pickle.UnpicklingError(f"it holds a {module}.{name}, and may not")
        return known[name]


class _Array:
    """What a pickle says about an array."""

    shape: tuple[int, ...] = ()
    dtype: str = ""
    columns_first: bool = False
    content: bytes = b""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, dtype, self.columns_first, self.content = state
        self.dtype = dtype.name


class _Dtype:
    def __init__(self, name: str | bytes, *_: Any) -> None:
        self.name = _text(name)

    def __setstate__(self, state: Any) -> None:
        """How it is aligned and the like does not matter."""


def _empty(*_: Any) -> _Array:
    return _Array()


def _text(word: str | bytes) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"The file {path.name} is not one of CIFAR.",
        where=str(path.parent),
        why=why.splitlines()[0],
        mend="delete it and fetch it again",
    )


_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_LONG = 2**18  # bytes; frames of a pickle and lists of labels are shorter
