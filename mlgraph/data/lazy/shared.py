"""Rows of one shape in a file mapped into memory, which several processes fill together."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec

FORMAT = "mlgraph-cache-1"


@attrs.frozen(eq=False)
class SharedRows:
    """Rows, and which of them are there; what one process writes all see.

    Args:
        filled: 1 for each row that is there, shape ``(rows,)``.
        rows: The rows, shape ``(rows, ...)``.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = in_folder(Path(folder), "0", TensorSpec(("batch", 2)), 3)
    ...     opened(place, TensorSpec(("batch", 2)), 3).rows.shape
    torch.Size([3, 2])
    """

    filled: NDArray[np.uint8]
    rows: Tensor

    def put(self, places: NDArray[np.int64], values: Tensor) -> None:
        """Keep some rows; the marks are set when the rows are there."""
        self.rows[torch.from_numpy(places)] = values
        self.filled[places] = 1


def row_bytes(spec: TensorSpec) -> int:
    """Bytes of one row.

    >>> row_bytes(TensorSpec(("batch", 3, 2)))
    24
    """
    return int(np.prod(spec.sizes()[1:] if not spec.names else spec.filled({"batch": 1})[1:])) * (
        spec.dtype.itemsize
    )


def in_memory(spec: TensorSpec, count: int) -> tuple[str, int]:
    """Room for rows that ends with the process: the path of a file, and what keeps it open.

    >>> place, handle = in_memory(TensorSpec(("batch", 2)), 3)
    >>> opened(place, TensorSpec(("batch", 2)), 3).filled
    array([0, 0, 0], dtype=uint8)
    >>> os.close(handle)
    """
    name = f"mlgraph-{uuid.uuid4().hex}"
    if sys.platform == "linux":
        handle = os.memfd_create(name)
        path = f"/proc/{os.getpid()}/fd/{handle}#{name}"
    else:
        handle, path = tempfile.mkstemp(prefix=name)
    os.ftruncate(handle, _size(spec, count))
    return path, handle


def in_folder(folder: Path, name: str, spec: TensorSpec, count: int) -> str:
    """Room for rows that stays, in a folder of its own inside ``folder``.

    Raises:
        DataError: There is something else, or not enough room.
    """
    own, size = folder / f"{FORMAT}-{name}", _size(spec, count)
    says = {"format": FORMAT, "spec": spec.to_json(), "rows": count}
    if own.exists():
        if _said(own) != says or (own / "rows").stat().st_size != size:
            raise DataError(
                f"The folder {own} does not hold the rows that are wanted.",
                why="it was made by something else, with another limit, or is damaged",
                mend="delete it, or pass another folder",
            )
        return str(own / "rows")
    return _made(folder, own, says, size)


def opened(path: str, spec: TensorSpec, count: int) -> SharedRows | None:
    """The rows, mapped into this process; None if the process that held them has ended."""
    place, _, name = path.partition("#")
    try:
        if name and name not in os.readlink(place):
            return None
        with open(place, "r+b") as file:
            mapped = mmap.mmap(file.fileno(), _size(spec, count))
    except (OSError, ValueError):
        return None
    whole = np.frombuffer(mapped, np.uint8)
    start = _aligned(count)
    content = torch.from_numpy(whole[start : start + count * row_bytes(spec)])
    return SharedRows(whole[:count], content.view(spec.dtype).view(spec.filled({"batch": count})))


def _made(folder: Path, own: Path, says: dict[str, Any], size: int) -> str:
    """A new folder, complete when it gets its name, so that none is ever half made."""
    draft = folder / f".{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        if shutil.disk_usage(folder).free < size:
            raise DataError(f"There is no room for {size} bytes in {folder}.", mend="lower limit=")
        (draft / "about.json").write_text(json.dumps(says))
        with open(draft / "rows", "wb") as file:
            file.truncate(size)
        draft.rename(own)
    except OSError as problem:
        if not own.exists():  # otherwise another process was faster
            raise DataError(f"{folder} cannot hold rows.", why=str(problem)) from problem
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return str(own / "rows")


def _said(own: Path) -> object:
    try:
        return json.loads((own / "about.json").read_text())
    except (OSError, ValueError):
        return None


def _size(spec: TensorSpec, count: int) -> int:
    return max(_aligned(count) + count * row_bytes(spec), 1)


def _aligned(count: int) -> int:
    """Where rows start: behind the marks, at a whole page."""
    return -(-count // mmap.PAGESIZE) * mmap.PAGESIZE
