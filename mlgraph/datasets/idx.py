"""MNIST and its relatives: images in idx files, mapped into memory where they are not packed."""

from __future__ import annotations

import gzip
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from mlgraph.core.value import digest
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.memmap import MemmapSource
from mlgraph.data.lazy.source import Fetched, Rows, Source
from mlgraph.data.task import Task
from mlgraph.datasets.images import downloaded, image_task, not_here, root_of
from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec


def mnist(root: str | Path | None = None, *, download: bool = False) -> Task:
    """MNIST: 70,000 handwritten digits, the 60,000 of the training set first.

    Nothing is downloaded unless asked for, and no image is read before it is needed. The column
    ``split`` says ``train`` or ``test``, see ``by_split``; it is no feature.

    Shape:
        image: ``(1, 28, 28)`` uint8, 0 to 255.

    Args:
        root: The folder that torchvision's class of this name was given, or the one the idx files
            are in, as they are or packed (``.gz``). Unpacked ones are read faster.
        download: Let torchvision fetch what is missing.

    Raises:
        DataError: A file is missing or damaged, or cannot be fetched.

    >>> mnist()
    Traceback (most recent call last):
    ...
    mlgraph.errors.DataError: MNIST is not part of this package.
      why:   datasets.mnist() was not told in which folder it is
      mend:  give root="...", the first time with download=True to fetch 11 MB
    """
    return _task("MNIST", "mnist", "11 MB", root, download, [str(i) for i in range(10)])


def fashion_mnist(root: str | Path | None = None, *, download: bool = False) -> Task:
    """Fashion-MNIST: 70,000 articles of clothing of ten kinds, the training set of 60,000 first.

    Nothing is downloaded unless asked for, and no image is read before it is needed. The column
    ``split`` says ``train`` or ``test``, see ``by_split``; it is no feature.

    Shape:
        image: ``(1, 28, 28)`` uint8, 0 to 255.

    Args:
        root: The folder that torchvision's class of this name was given, or the one the idx files
            are in, as they are or packed (``.gz``). Unpacked ones are read faster.
        download: Let torchvision fetch what is missing.

    Raises:
        DataError: A file is missing or damaged, or cannot be fetched.

    >>> fashion_mnist("no/such/folder")
    Traceback (most recent call last):
    ...
    mlgraph.errors.DataError: FashionMNIST is not in that folder.
      where: no/such/folder/FashionMNIST/raw
      why:   these files are missing: 'train-images-idx3-ubyte', ...
      mend:  datasets.fashion_mnist(root="...", download=True) fetches 31 MB; or give the root ...
    """
    return _task("FashionMNIST", "fashion_mnist", "31 MB", root, download)


@attrs.frozen(eq=False, slots=False)
class PackedIdx(Source):
    """A packed idx file, unpacked in memory once, when a row is first asked for.

    Args:
        path: The file.
        shape: Number of rows, then the sizes of a row.

    Raises:
        DataError: It is damaged, or holds less than its head says.

    >>> PackedIdx(Path("train-images-idx3-ubyte.gz"), (60000, 1, 28, 28)).spec
    (batch, 1, 28, 28) uint8
    """

    path: Path
    shape: tuple[int, ...]

    @property
    def spec(self) -> TensorSpec:
        return TensorSpec(("batch", *self.shape[1:]), torch.uint8)

    @cached_property
    def fingerprint(self) -> str:
        about = self.path.stat()
        return digest(str(self.path.resolve()), f"{about.st_size} {about.st_mtime_ns}")

    def __len__(self) -> int:
        return self.shape[0]

    def fetch(self, rows: Rows) -> Fetched:
        return self._content.index_select(0, torch.from_numpy(rows))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.shape)  # by path, without the content

    @cached_property
    def _content(self) -> torch.Tensor:
        content = np.empty(self.shape, dtype=np.uint8)
        flat, read = content.reshape(-1), 0
        try:
            with gzip.open(self.path) as file:
                file.read(_HEAD)
                # In pieces, so that at no time all of it is in memory twice.
                while step := file.readinto(flat[read : read + _CHUNK].data):
                    read += step
        except (OSError, EOFError, zlib.error) as problem:
            raise _damaged(self.path, str(problem)) from problem
        if read < len(flat):
            raise _damaged(self.path, f"it ends after {read} of {len(flat)} bytes")
        return torch.from_numpy(content)


def _task(
    name: str, call: str, size: str, root: str | Path | None, download: bool, classes: Any = None
) -> Task:
    from torchvision import datasets

    kind = getattr(datasets, name)
    folder = root_of(root, name, call, size)
    files = _files(folder, name)
    if download and None in files.values():
        downloaded(kind, folder)
        files = _files(folder, name)
    found = {stem: file for stem, file in files.items() if file is not None}
    lost = [folder / name / "raw" / stem for stem in files if stem not in found]
    if lost:
        raise not_here(name, call, lost, size)
    parts = [_part(found[images], found[labels]) for images, labels in _FILES.values()]
    return image_task(
        [images for images, _ in parts],
        [labels for _, labels in parts],
        target="label",
        classes=classes or kind.classes,
        splits=list(_FILES),
    )


def _files(root: Path, name: str) -> dict[str, Path | None]:
    """Each file of the set, unpacked if it is there unpacked, else packed, else None."""
    folders = (root / name / "raw", root / "raw", root)
    return {
        stem: next(
            (
                folder / f"{stem}{ending}"
                for ending in ("", ".gz")
                for folder in folders
                if (folder / f"{stem}{ending}").is_file()
            ),
            None,
        )
        for stems in _FILES.values()
        for stem in stems
    }


def _part(images: Path, labels: Path) -> tuple[LazyTensor, NDArray[np.uint8]]:
    """The images of a part, unread, and its labels."""
    with _opened(labels) as file:
        (n_labels,) = _head(labels, file, 1)
        codes = np.frombuffer(file.read(), dtype=np.uint8)
    with _opened(images) as file:
        n_rows, height, width = _head(images, file, 3)
    if len(codes) != n_labels:
        raise _damaged(labels, f"it has {len(codes)} labels and says {n_labels}")
    if n_rows != n_labels:
        raise _damaged(labels, f"it has {n_labels} labels, and {images.name} {n_rows} images")
    shape = (n_rows, 1, height, width)
    if images.suffix == ".gz":
        return LazyTensor.over(PackedIdx(images, shape)), codes
    return LazyTensor.over(MemmapSource(images, shape, "uint8", _HEAD)), codes


def _opened(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else open(path, "rb")


def _head(path: Path, file: Any, dimensions: int) -> tuple[int, ...]:
    """The sizes that an idx file of bytes begins with."""
    try:
        head = file.read(4 + 4 * dimensions)
    except (OSError, EOFError, zlib.error) as problem:
        raise _damaged(path, str(problem)) from problem
    if head[:4] != bytes((0, 0, 8, dimensions)) or len(head) < 4 + 4 * dimensions:
        raise _damaged(path, f"it does not begin like an idx file of {dimensions} dimensions")
    return tuple(int(size) for size in np.frombuffer(head, dtype=">i4", offset=4))


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"The file {path.name} is damaged.",
        where=str(path.parent),
        why=why,
        mend="delete it and fetch it again",
    )


_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_HEAD = 16  # bytes before the first image
_CHUNK = 2**18
