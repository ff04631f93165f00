"""Images in files, decoded when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mlgraph.core.value import digest
from mlgraph.data.lazy.decode import CHANNELS, cause, check_mode, decoder
from mlgraph.data.lazy.source import Fetched, OnError, ReadFailure, Rows, Source, stacked_if
from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen(eq=False, slots=False, init=False)
class ImageFiles(Source):
    """A list of image files, one per row; it travels to other processes as paths.

    Args:
        paths: The files; none is opened before it is asked for.
        mode: ``"RGB"``, ``"L"`` (grey), ``"RGBA"``, ``"LA"``, or ``"unchanged"``.
        size: Height and width, where all images have the same; otherwise a name.
        background: Colour on which what is transparent is put; only for ``"RGB"``.
        on_error: Whether an image that cannot be read stops the run, or is left out and reported.

    Raises:
        DataError: A path is missing.
        ConfigError: There is no such mode.

    >>> ImageFiles(["a.png", "b.png"]).spec
    (batch, 3, height, width) uint8
    """

    paths: pa.Array
    mode: str
    size: tuple[int | str, int | str] | None
    background: str | None
    on_error: OnError

    def __init__(
        self,
        paths: Iterable[str | Path] | pa.Array,
        mode: str = "RGB",
        *,
        size: tuple[int | str, int | str] | None = None,
        background: str | None = None,
        on_error: OnError = "raise",
    ) -> None:
        check_mode(mode, background)
        self.__attrs_init__(_absolute(paths), mode, size, background, on_error)

    @cached_property
    def spec(self) -> TensorSpec:
        return TensorSpec(
            ("batch", CHANNELS[self.mode], *(self.size or ("height", "width"))), torch.uint8
        )

    @cached_property
    def fingerprint(self) -> str:
        files = "\0".join(map(_stamped, self.paths.to_pylist()))
        return digest(files, self.mode, str(self.size), str(self.background))

    def __len__(self) -> int:
        return len(self.paths)

    def fetch(self, rows: Rows) -> Fetched:
        decode, found, path = self._decode, [], ""
        try:
            for path in self.paths.take(pa.array(rows)).to_pylist():
                found.append(decode(torch.from_numpy(np.fromfile(path, np.uint8))))
        except Exception as problem:
            raise _failure(int(rows[len(found)]), path, problem) from problem
        return stacked_if(found, self.spec)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_decode"}

    @cached_property
    def _decode(self) -> Callable[[Tensor], Tensor]:
        return decoder(self.mode, self.background)


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


def _stamped(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:  # what is not there is refused when it is asked for
        return f"{path}?"
    return f"{path}?{found.st_size}?{found.st_mtime_ns}"


def _failure(row: int, path: str, problem: Exception) -> ReadFailure:
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
