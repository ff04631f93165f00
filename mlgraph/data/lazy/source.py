"""Sources: where the tensors of a lazy column are when nobody has read them."""

from __future__ import annotations

import hashlib
import warnings
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Literal, TypeAlias

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec

Rows: TypeAlias = NDArray[np.int64]
Fetched: TypeAlias = "Tensor | list[Tensor]"
OnError: TypeAlias = Literal["raise", "skip"]


class ReadFailure(DataError):
    """A row of a source that cannot be read.

    Args:
        row: Which one, counted from 0 in its source.
        what: One sentence: what went wrong.
        why: The cause.
        mend: What to do.
    """

    def __init__(self, row: int, what: str, why: str = "", mend: str = "") -> None:
        super().__init__(what, why=why, mend=mend)
        self.row = row

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.row, self.what, self.why, self.mend)


class Source(ABC):
    """Rows of tensors that are read when they are asked for.

    ``spec`` has ``"batch"`` first, then the sizes of a row; a name where a size is not known, or
    differs from row to row. ``fingerprint`` is equal only for equal content. A source can be
    pickled, and one that reads files travels without their content.

    >>> issubclass(ArraySource, Source)
    True
    """

    on_error: OnError = "raise"

    @property
    @abstractmethod
    def spec(self) -> TensorSpec:
        """Shape ``(batch, ...)`` and dtype of the rows."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of what is in it."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def fetch(self, rows: Rows) -> Fetched:
        """These rows: one tensor ``(rows, ...)``, or a list where sizes are not known.

        Raises:
            ReadFailure: A row cannot be read.
        """

    def attempt(self, rows: Rows) -> tuple[Fetched, list[tuple[int, ReadFailure]]]:
        """The rows that can be read, and what is wrong with the others, by place.

        Raises:
            ReadFailure: A row cannot be read, and ``on_error`` is ``"raise"``.
        """
        try:
            return self.fetch(rows), []
        except ReadFailure:
            if self.on_error == "raise":
                raise
        return self._one_by_one(rows)

    def _one_by_one(self, rows: Rows) -> tuple[Fetched, list[tuple[int, ReadFailure]]]:
        read: list[Tensor] = []
        failed = []
        for place in range(len(rows)):
            try:
                read.append(self.fetch(rows[place : place + 1])[0])
            except ReadFailure as failure:
                failed.append((place, failure))
        return read, failed


@attrs.frozen(eq=False, slots=False)
class Absent(Source):
    """A source that was left behind: its form without its rows.

    Args:
        form: The spec it had.
        token: The fingerprint it had.

    >>> len(Absent(TensorSpec(("batch", 3)), "0"))
    0
    """

    form: TensorSpec
    token: str

    @property
    def spec(self) -> TensorSpec:
        return self.form

    @property
    def fingerprint(self) -> str:
        return self.token

    def __len__(self) -> int:
        return 0

    def fetch(self, rows: Rows) -> Fetched:
        if len(rows):
            raise ReadFailure(int(rows[0]), "The rows of this column were left behind.")
        sizes = dict.fromkeys(self.form.names, 0)
        return torch.empty(self.form.filled(sizes), dtype=self.form.dtype)


@attrs.frozen(eq=False, slots=False, init=False)
class ArraySource(Source):
    """A tensor or an array in memory, rows first.

    Args:
        data: A tensor or an array of shape ``(rows, ...)``; ``(rows,)`` is one number per row.
        copy: Whether it is copied. Without, it must not be changed any more.
        token: A hash of the content, where it is known already.

    Raises:
        DataError: It has no rows, or a dtype that tensors cannot have.

    >>> ArraySource(np.zeros((5, 2), dtype=np.float32)).fetch(np.array([4, 0])).shape
    torch.Size([2, 2])
    """

    data: Tensor
    token: str | None

    def __init__(self, data: Any, *, copy: bool = True, token: str | None = None) -> None:
        self.__attrs_init__(_as_tensor(data, copy), token)

    @cached_property
    def spec(self) -> TensorSpec:
        return TensorSpec(("batch", *self.data.shape[1:]), self.data.dtype)

    @cached_property
    def fingerprint(self) -> str:
        if self.token is not None:
            return self.token
        whole = self.data.contiguous().reshape(-1).view(torch.uint8).numpy()
        hasher = hashlib.blake2b(f"{self.data.shape} {self.data.dtype}".encode(), digest_size=16)
        hasher.update(whole.data)
        return hasher.hexdigest()

    def __len__(self) -> int:
        return len(self.data)

    def fetch(self, rows: Rows) -> Fetched:
        return self.data.index_select(0, torch.from_numpy(rows))


def _as_tensor(data: Any, copy: bool) -> Tensor:
    if not isinstance(data, Tensor):
        data = tensor_of(np.array(data, copy=True) if copy else np.asarray(data))
    elif copy:
        data = data.detach().clone()
    if data.dim() == 0:
        raise DataError("One number is not a column.", mend="pass an array with rows first")
    found: Tensor = data.detach().cpu()
    return found


def tensor_of(array: NDArray[Any]) -> Tensor:
    """An array as a tensor that shares its memory, also where that is read-only.

    Raises:
        DataError: Tensors cannot have such values.

    >>> tensor_of(np.array([1, 2]))
    tensor([1, 2])
    """
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    try:
        with warnings.catch_warnings():  # nobody writes to it
            warnings.simplefilter("ignore")
            return torch.from_numpy(array)
    except TypeError as problem:
        raise DataError(
            f"An array of {array.dtype} cannot become tensors.",
            why=str(problem).splitlines()[0],
            mend="turn it into numbers, for example with .astype('float32')",
        ) from problem


def stacked_if(rows: list[Tensor], spec: TensorSpec) -> Fetched:
    """Rows in one tensor where the spec promises one size and they keep it, otherwise as they are.

    >>> stacked_if([torch.zeros(2)], TensorSpec(("batch", 2))).shape
    torch.Size([1, 2])
    """
    if set(spec.names) - {"batch"}:
        return rows
    if not rows:
        return torch.empty(spec.filled({"batch": 0}), dtype=spec.dtype)
    known = all(row.shape == spec.shape[1:] and row.dtype == spec.dtype for row in rows)
    return torch.stack(rows) if known else rows
