"""What the sets of images share: the form of their tasks, and what is said when they are absent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlgraph.data import normalise
from mlgraph.data.column import Column
from mlgraph.data.lazy.column import LazyTensor, append_lazy
from mlgraph.data.task import Task
from mlgraph.errors import DataError, listing


def image_task(
    images: Sequence[LazyTensor],
    codes: Sequence[NDArray[np.integer[Any]]],
    *,
    target: str,
    classes: Sequence[str],
    splits: Sequence[str],
) -> Task:
    """A task of all parts of a set, one below the other; the column ``split`` says which is which.

    Args:
        images: The images of each part.
        codes: The classes of each part, as places in ``classes``.
        target: Name of the column of classes.
        classes: All classes, whether they occur or not.
        splits: What the parts are called.

    >>> from mlgraph.data.lazy.source import ArraySource
    >>> part = LazyTensor.over(ArraySource(np.zeros((2, 1, 8, 8), dtype=np.uint8)))
    >>> codes = np.array([0, 1])
    >>> task = image_task([part], [codes], target="y", classes=["u", "v"], splits=["all"])
    >>> task.features, task.column("split").to_pylist()
    (('image',), ['all', 'all'])
    """
    joined = images[0]
    for part in images[1:]:
        joined = append_lazy(joined, part)
    parts = np.repeat(np.arange(len(splits)), [len(part) for part in images])
    columns = {
        "image": joined,
        target: categories(np.concatenate(codes), classes),
        "split": categories(parts, splits),
    }
    return Task(columns, target=target).with_roles(feature="image")


def by_split(task: Task, column: str = "split") -> dict[str, Task]:
    """The parts of a set: a task for every value of its column ``split``, in order.

    Raises:
        DataError: There is no such column, or a value is missing.

    >>> task = Task({"x": [1, 2, 3], "split": ["train", "train", "test"]})
    >>> {name: len(part) for name, part in by_split(task).items()}
    {'train': 2, 'test': 1}
    """
    encoded = task.column(column).combine_chunks()
    if encoded.null_count:
        raise DataError(f"{encoded.null_count} rows belong to no part.", where=f"column {column!r}")
    if not isinstance(encoded, pa.DictionaryArray):
        encoded = encoded.dictionary_encode()
    codes = encoded.indices.to_numpy()
    found = {str(name): np.flatnonzero(codes == i) for i, name in enumerate(encoded.dictionary)}
    return {name: task.take(rows) for name, rows in found.items() if len(rows)}


def categories(codes: NDArray[np.integer[Any]], levels: Sequence[str]) -> Column:
    """A category column of codes and levels, which keep their order.

    >>> categories(np.array([1, 0]), ["b", "a"]).levels
    ('b', 'a')
    """
    return Column.of(normalise.categories(pa.array(codes.astype(np.int32)), levels, False))


def not_here(name: str, call: str, lost: Sequence[Path], size: str) -> DataError:
    """What is said when files of a set are missing.

    >>> print(not_here("MNIST", "mnist", [Path("data/a.gz")], "11 MB"))
    MNIST is not in that folder.
      where: data
      why:   these files are missing: 'a.gz'
      mend:  datasets.mnist(root="...", download=True) fetches 11 MB; or give the root that has it
    """
    return DataError(
        f"{name} is not in that folder.",
        where=str(lost[0].parent),
        why=f"these files are missing: {listing(path.name for path in lost)}",
        mend=f'datasets.{call}(root="...", download=True) fetches {size}; '
        "or give the root that has it",
    )


def root_of(root: str | Path | None, name: str, call: str, size: str) -> Path:
    """The folder of a set.

    Raises:
        DataError: None is given.

    >>> root_of("data", "MNIST", "mnist", "11 MB")
    PosixPath('data')
    """
    if root is None:
        raise DataError(
            f"{name} is not part of this package.",
            why=f"datasets.{call}() was not told in which folder it is",
            mend=f'give root="...", the first time with download=True to fetch {size}',
        )
    return Path(root).expanduser()


def downloaded(kind: Any, root: Path) -> None:
    """Let a class of torchvision's data sets fetch its files, without reading them.

    Raises:
        DataError: They cannot be fetched.
    """
    from torchvision.datasets import VisionDataset

    fetching = kind.__new__(kind)
    VisionDataset.__init__(fetching, root)  # that of the class would read all images
    try:
        fetching.download()
    except (RuntimeError, OSError) as problem:
        raise DataError(
            f"{kind.__name__} cannot be downloaded.",
            where=str(root),
            why=str(problem).strip().splitlines()[0] if str(problem) else type(problem).__name__,
            mend="fetch its files by other means, and give the root that has them",
        ) from problem
