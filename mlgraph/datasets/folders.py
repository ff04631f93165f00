"""Images in folders of your own, or of Tiny ImageNet, and tables with paths of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.files import ImageFiles
from mlgraph.data.lazy.source import OnError
from mlgraph.data.task import Task
from mlgraph.datasets.images import categories, image_task
from mlgraph.errors import DataError, listing

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")


def image_folder(
    root: str | Path,
    *,
    mode: str = "RGB",
    size: tuple[int, int] | None = None,
    background: str | None = None,
    on_error: OnError = "raise",
) -> Task:
    """A folder with a folder of images for each class; no image is read before it is needed.

    Classes and files are sorted by name, folders within those of the classes are searched too,
    and what begins with a dot is left out. The column ``file`` has the names of the rows.

    Shape:
        image: ``(3, height, width)`` uint8; the first size depends on ``mode``.

    Args:
        root: The folder.
        mode: ``"RGB"``, ``"L"`` (grey), ``"RGBA"``, ``"LA"``, or ``"unchanged"``.
        size: Height and width, if all images have the same.
        background: Colour on which what is transparent is put; only for ``"RGB"``.
        on_error: ``"raise"``, or ``"skip"`` to leave out and report images that cannot be read.

    Raises:
        DataError: There is no such folder, or there are no classes, or one without images.

    >>> image_folder("no/such/folder")
    Traceback (most recent call last):
    ...
    mlgraph.errors.DataError: There is no folder no/such/folder.
      mend:  give the folder that has a folder for each class
    """
    folder = _existing(Path(root).expanduser(), "give the folder that has a folder for each class")
    classes = sorted(child.name for child in _shown(folder) if child.is_dir())
    found = {name: _images(folder / name) for name in classes}
    empty = [name for name, files in found.items() if not files]
    if not found or empty:
        raise DataError(
            f"Classes without images: {listing(empty)}." if found else "There are no classes.",
            where=str(folder),
            why=f"images end in {', '.join(ENDINGS)}" if found else "it has no folders in it",
            mend="remove these folders" if found else "put the images of each class in a folder",
        )
    files = [file for part in found.values() for file in part]
    codes = np.repeat(np.arange(len(found)), [len(part) for part in found.values()])
    source = ImageFiles(files, mode=mode, size=size, background=background, on_error=on_error)
    columns = {
        "image": LazyTensor.over(source),
        "class": categories(codes, classes),
        "file": [file.relative_to(folder).as_posix() for file in files],
    }
    return Task(columns, target="class", name="file")


def csv_of_paths(
    csv: str | Path,
    path_column: str,
    target: str | Sequence[str] | None = None,
    root: str | Path | None = None,
    *,
    mode: str = "RGB",
    size: tuple[int, int] | None = None,
    background: str | None = None,
    on_error: OnError = "raise",
    **roles: Any,
) -> Task:
    """A table one column of which has paths of images; the images take the place of the paths.

    No image is read before it is needed. The other columns are features as in any task.

    Shape:
        the column: ``(3, height, width)`` uint8; the first size depends on ``mode``.

    Args:
        csv: The table: a CSV, Parquet or Arrow file.
        path_column: The column of paths.
        target: The column to learn, or several.
        root: The folder that relative paths start from; by default that of the table.
        mode: ``"RGB"``, ``"L"`` (grey), ``"RGBA"``, ``"LA"``, or ``"unchanged"``.
        size: Height and width, if all images have the same.
        background: Colour on which what is transparent is put; only for ``"RGB"``.
        on_error: ``"raise"``, or ``"skip"`` to leave out and report images that cannot be read.
        **roles: What else a task may be told: ``kind``, ``group``, ``weight``, ...

    Raises:
        DataError: There is no such file or column, or a path is missing.

    >>> csv_of_paths("no_such.csv", "photo")
    Traceback (most recent call last):
    ...
    mlgraph.errors.DataError: There is no file no_such.csv.
      mend:  give another path
    """
    table = Path(csv).expanduser()
    task = Task(table, target=target, **roles)
    folder = table.parent if root is None else Path(root).expanduser()
    paths = _paths(task, path_column)
    files = [folder / path for path in paths]
    source = ImageFiles(files, mode=mode, size=size, background=background, on_error=on_error)
    return task.with_columns({path_column: LazyTensor.over(source)})


def tiny_imagenet(root: str | Path | None = None) -> Task:
    """Tiny ImageNet: 110,000 photos of 200 kinds of things, the training set of 100,000 first.

    No image is read before it is needed. The classes are the names of WordNet, such as
    ``n01443537``; the column ``split`` says ``train`` or ``val``, see ``by_split``, and is no
    feature. The 10,000 images of the test set have no labels and are left out.

    Shape:
        image: ``(3, 64, 64)`` uint8, 0 to 255.

    Args:
        root: The folder ``tiny-imagenet-200`` as it was packed, or the one that has it. The
            folder ``val`` may also have a folder for each class.

    Raises:
        DataError: It is not there, or an image of ``val`` has no known class.

    >>> tiny_imagenet()
    Traceback (most recent call last):
    ...
    mlgraph.errors.DataError: Tiny ImageNet is not part of this package.
      mend:  unpack tiny-imagenet-200.zip and give its folder: tiny_imagenet(root="...")
    """
    mend = 'unpack tiny-imagenet-200.zip and give its folder: tiny_imagenet(root="...")'
    if root is None:
        raise DataError("Tiny ImageNet is not part of this package.", mend=mend)
    given = _existing(Path(root).expanduser(), mend)
    inside = given / "tiny-imagenet-200"
    folder = inside if inside.is_dir() else given
    train, val = (_existing(folder / part, mend) for part in ("train", "val"))
    classes = sorted(child.name for child in _shown(train) if child.is_dir())
    if not classes:
        raise DataError("There are no classes.", where=str(train), mend=mend)
    parts = [_by_folder(train, classes), _validation(val, classes)]
    return image_task(
        [LazyTensor.over(ImageFiles(files, size=(64, 64))) for files, _ in parts],
        [np.array(codes, dtype=np.int64) for _, codes in parts],
        target="class",
        classes=classes,
        splits=["train", "val"],
    )


def _validation(val: Path, classes: Sequence[str]) -> tuple[list[Path], list[int]]:
    """The files of the validation set and their classes, from its list or its folders."""
    listed = val / "val_annotations.txt"
    if not listed.is_file() or not (val / "images").is_dir():
        return _by_folder(val, classes)
    place = {name: i for i, name in enumerate(classes)}
    rows = [line.split("\t")[:2] for line in listed.read_text(encoding="utf-8").splitlines()]
    odd = [row for row in rows if len(row) < 2 or row[1] not in place]
    if odd:
        raise DataError(
            f"{len(odd)} lines of {listed.name} name no class of the training set.",
            where=str(val),
            why=f"the first is {' '.join(odd[0])!r}",
        )
    return [val / "images" / file for file, _ in rows], [place[name] for _, name in rows]


def _by_folder(root: Path, classes: Sequence[str]) -> tuple[list[Path], list[int]]:
    found = [(file, i) for i, name in enumerate(classes) for file in _images(root / name)]
    if not found:
        raise DataError("There are no images.", where=str(root))
    return [file for file, _ in found], [i for _, i in found]


def _images(folder: Path) -> list[Path]:
    return sorted(_files(folder))


def _files(folder: Path) -> Iterator[Path]:
    for child in _shown(folder):
        if child.is_dir():
            yield from _files(child)
        elif child.suffix.lower() in ENDINGS:
            yield child


def _shown(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [child for child in folder.iterdir() if not child.name.startswith(".")]


def _existing(folder: Path, mend: str) -> Path:
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", mend=mend)
    return folder


def _paths(task: Task, name: str) -> list[str]:
    values = task.select(name).column(name)
    if task.types[name] not in ("string", "category"):
        raise DataError(
            f"Column {name!r} has no paths.", why=f"its type is {task.types[name]}, not string"
        )
    if values.null_count:
        first = values.is_null().index(pa.scalar(True)).as_py()
        raise DataError(
            f"{values.null_count} paths in column {name!r} are missing.",
            why=f"the first is that of row {first}",
            mend="leave these rows out",
        )
    paths: list[str] = values.to_pylist()
    return paths
