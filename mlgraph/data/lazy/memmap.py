"""Arrays in files that are mapped into memory: nothing is read but the rows asked for."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from mlgraph.core.value import digest
from mlgraph.data.lazy.source import Fetched, Rows, Source, tensor_of
from mlgraph.errors import DataError, did_you_mean, listing
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen(eq=False, slots=False, init=False)
class MemmapSource(Source):
    """An array in a file, rows first; it travels to other processes as a path.

    Args:
        path: The file.
        shape: Rows, then the sizes of a row.
        dtype: NumPy's name of the numbers in the file, such as ``"uint8"`` or ``">f4"``, or a
            ``torch.dtype``.
        offset: Bytes before the first row.

    Raises:
        DataError: There is no such file, it is shorter than that, or the dtype cannot be used.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "x.npy")
    >>> np.save(path, np.arange(6.0).reshape(3, 2))
    >>> source = MemmapSource.of_npy(path)
    >>> source.fetch(np.array([2, 0]))
    tensor([[4., 5.],
            [0., 1.]], dtype=torch.float64)
    >>> folder.cleanup()
    """

    path: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    stored: str
    offset: int
    stamp: tuple[int, int]

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, ...],
        dtype: str | torch.dtype | np.dtype[Any],
        offset: int = 0,
    ) -> None:
        stored, kind = _dtypes(dtype)
        whole = os.path.abspath(path)
        stamp = _stamp(whole)
        need = offset + int(np.prod(shape, dtype=np.int64)) * stored.itemsize
        if not shape or stamp[0] < need:
            raise DataError(
                f"The file {whole} is too short for an array of shape {tuple(shape)}.",
                why=f"it has {stamp[0]} bytes, and {need} are needed",
            )
        sizes = tuple(int(size) for size in shape)
        self.__attrs_init__(whole, sizes, kind, stored.str, int(offset), stamp)

    @classmethod
    def of_memmap(cls, array: np.memmap[Any, Any]) -> MemmapSource:
        """The rows of a ``numpy.memmap``, or of a slice of one.

        Raises:
            DataError: It has no file, its changes are not written to it, or its rows are not
                next to each other.
        """
        root = array
        while isinstance(root.base, np.memmap):  # a slice keeps the offset of the whole
            root = root.base
        if array.filename is None or root.mode == "c" or not array.flags.c_contiguous:
            raise DataError(
                "This memory map cannot be read by its path.",
                why="it has no file, is copied on write, or its rows do not lie next to each other",
                mend="copy it with numpy.ascontiguousarray(array)",
            )
        shift = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
        return cls(str(array.filename), array.shape, array.dtype, root.offset + shift)

    @classmethod
    def of_npy(cls, path: str | Path) -> MemmapSource:
        """The array in a file of NumPy's own format.

        Raises:
            DataError: This is no such file, or its array is in Fortran order.
        """
        _stamp(os.path.abspath(path))
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as problem:
            raise _unreadable(path, problem) from problem
        if not isinstance(array, np.memmap):
            raise _unreadable(path, ValueError("it holds several arrays"))
        return cls.of_memmap(array)

    @classmethod
    def of_safetensors(cls, path: str | Path, name: str | None = None) -> MemmapSource:
        """One tensor of a safetensors file.

        Args:
            path: The file.
            name: Name of the tensor; may be left out if there is only one.

        Raises:
            DataError: This is no such file, or has no such tensor.
        """
        start, entries = _header(path)
        if name is None and len(entries) == 1:
            name = next(iter(entries))
        if name not in entries:
            raise DataError(
                f"The file {path} has no tensor {name!r}."
                if name is not None
                else f"The file {path} has several tensors.",
                why=f"it has {listing(entries)}",
                mend=did_you_mean(name, entries) or 'name one: lazy(path, item="...")',
            )
        entry = entries[name]
        dtype = _SAFETENSORS.get(entry["dtype"])
        if dtype is None:
            raise DataError(f"Tensor {name!r} has dtype {entry['dtype']}, which is not supported.")
        return cls(path, tuple(entry["shape"]), dtype, start + entry["data_offsets"][0])

    @cached_property
    def spec(self) -> TensorSpec:
        return TensorSpec(("batch", *self.shape[1:]), self.dtype)

    @cached_property
    def fingerprint(self) -> str:
        parts = (self.path, self.stamp, self.shape, self.stored, str(self.dtype), self.offset)
        return digest(*map(str, parts))

    def __len__(self) -> int:
        return self.shape[0]

    def fetch(self, rows: Rows) -> Fetched:
        found = tensor_of(self._array[rows])
        return found if found.dtype == self.dtype else found.view(self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_array"}

    @cached_property
    def _array(self) -> NDArray[Any]:
        """The mapped file, opened once in every process."""
        if _stamp(self.path) != self.stamp:
            raise DataError(
                f"The file {self.path} has changed since the column was made.",
                why="its size or its time of change is another one",
                mend="make the column anew",
            )
        dtype = np.dtype(self.stored)
        if not len(self) or not np.prod(self.shape):  # an empty range cannot be mapped
            return np.empty(self.shape, dtype)
        mapped = np.memmap(self.path, dtype, "r", offset=self.offset, shape=self.shape)
        return mapped.view(np.ndarray)


def _dtypes(dtype: Any) -> tuple[np.dtype[Any], torch.dtype]:
    """How numbers lie in the file, and as what they are read."""
    if isinstance(dtype, torch.dtype):
        width = dtype.itemsize
        plain = {1: "u1", 2: "<i2", 4: "<i4", 8: "<i8"}[width]
        try:
            return torch.empty(0, dtype=dtype).numpy().dtype, dtype
        except TypeError:  # bfloat16 and the like, which NumPy does not know
            return np.dtype(plain), dtype
    stored = np.dtype(dtype)
    return stored, tensor_of(np.empty(0, stored)).dtype


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as problem:
        raise DataError(
            f"The file {path} cannot be read.", why=problem.strerror or str(problem)
        ) from problem
    return found.st_size, found.st_mtime_ns


def _header(path: str | Path) -> tuple[int, dict[str, Any]]:
    """Where the tensors of a safetensors file start, and what it says about them."""
    size, _ = _stamp(os.path.abspath(path))
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                raise ValueError("its header is longer than the file")
            entries = json.loads(file.read(length))
    except (ValueError, OSError) as problem:
        raise _unreadable(path, problem) from problem
    entries.pop("__metadata__", None)
    return 8 + length, entries


def _unreadable(path: str | Path, problem: Exception) -> DataError:
    return DataError(
        f"The file {path} cannot be read as its ending says.",
        why=str(problem).splitlines()[0] if str(problem) else type(problem).__name__,
    )


_SAFETENSORS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "U16": torch.uint16,
    "BOOL": torch.bool,
}
