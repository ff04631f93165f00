"""Images in files, decoded when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mlgraph.core.value import digest
from mlgraph.data.lazy.decode import cause
from mlgraph.data.lazy.images import Images, unfit
from mlgraph.data.lazy.source import ReadFailure, Rows
from mlgraph.errors import DataError


def _absolute(paths: Any) -> pa.Array:
    if isinstance(paths, pa.ChunkedArray):
        paths = paths.combine_chunks()
    given = paths.to_pylist() if isinstance(paths, pa.Array) else list(paths)
    bad = next((i for i, path in enumerate(given) if not isinstance(path, str | Path)), None)
    if bad is not None:
        raise DataError(
            f"Row {bad} of a column of image files has no path.",
            why=f"it is {given[bad]!r}",
            mend="leave this row out",
        )
    return pa.array([os.path.abspath(path) for path in given], pa.large_string())


@attrs.frozen(eq=False, slots=False)
class ImageFiles(Images):
    """A list of image files, one per row; it travels to other processes as paths.

    Args:
        paths: The files, none of which is opened before it is asked for; how they are read is
            said as in ``Images``.

    Raises:
        DataError: A path is missing.
        ConfigError: There is no such mode.

    >>> ImageFiles(["a.png", "b.png"]).spec
    (batch, 3, height, width) uint8
    """

    paths: pa.Array = attrs.field(converter=_absolute)

    @cached_property
    def fingerprint(self) -> str:
        files = "\0".join(map(_stamped, self.paths.to_pylist()))
        return digest(files, *self._reading)

    def __len__(self) -> int:
        return len(self.paths)

    def encoded(self, rows: Rows) -> Iterator[Tensor]:
        for path in self.paths.take(pa.array(rows)).to_pylist():
            yield torch.from_numpy(np.fromfile(path, np.uint8))

    def failure(self, row: int, problem: Exception) -> ReadFailure:
        return _failure(row, self.paths[row].as_py(), problem)


def _stamped(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:  # what is not there is refused when it is asked for
        return f"{path}?"
    return f"{path}?{found.st_size}?{found.st_mtime_ns}"


def _failure(row: int, path: str, problem: Exception) -> ReadFailure:
    if isinstance(problem, DataError):
        return unfit(row, f"the image {path}", problem)
    if isinstance(problem, FileNotFoundError):
        return ReadFailure(
            row,
            f"there is no file {path}.",
            mend='check the paths of the column, or leave it out with on_error="skip"',
        )
    if isinstance(problem, OSError) and problem.strerror:
        return ReadFailure(row, f"the file {path} cannot be opened.", problem.strerror)
    return ReadFailure(
        row,
        f"the file {path} is not an image that can be decoded.",
        cause(problem),
        'repair it, or leave it out with on_error="skip"',
    )
