"""Rows that are computed once and kept, in memory or in a folder, for all processes together."""

from __future__ import annotations

import os
import re
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.core.value import digest
from mlgraph.data.lazy.operation import Operation
from mlgraph.data.lazy.run import each
from mlgraph.data.lazy.shared import SharedRows, in_folder, in_memory, opened, row_bytes
from mlgraph.data.lazy.source import Fetched, OnError, ReadFailure, Rows, Source
from mlgraph.data.lazy.stack import Stack
from mlgraph.errors import ConfigError, ShapeError
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen(eq=False, slots=False, init=False)
class Cached(Source):
    """A source and operations on it, computed once per row.

    Worker processes fill it together. It travels to other processes without its content; where
    nobody holds that any more, rows are computed anew.

    Args:
        source: The source.
        operations: What is done to its rows; nothing random.
        folder: Where to keep the rows, for other runs to find; by default in memory.
        limit: Bytes that may be kept; the rows beyond are computed anew each time. A number, or a
            text such as ``"1GB"``.

    Raises:
        ConfigError: An operation is random, or the limit is no size.
        ShapeError: The rows have no fixed shape.
        DataError: The folder cannot be used.

    >>> from mlgraph.data.lazy.operation import Function
    >>> from mlgraph.data.lazy.source import ArraySource
    >>> kept = Cached(ArraySource(torch.ones(3, 2)), (Function("exp", torch.exp),))
    >>> kept.fetch(np.array([1])), kept.n_kept
    (tensor([[2.7183, 2.7183]]), 1)
    """

    source: Source
    operations: tuple[Operation, ...]
    form: TensorSpec
    capacity: int
    path: str

    def __init__(
        self,
        source: Source,
        operations: tuple[Operation, ...],
        *,
        folder: str | Path | None = None,
        limit: int | str = "1GB",
    ) -> None:
        form = _fixed(source.spec, operations)
        room = size_in_bytes(limit) // max(row_bytes(form), 1)
        self.__attrs_init__(source, operations, form, min(len(source), room), "")
        object.__setattr__(self, "path", self._place(folder) if self.capacity else "")

    @property
    def spec(self) -> TensorSpec:
        return self.form

    @cached_property
    def fingerprint(self) -> str:
        steps = [operation.fingerprint for operation in self.operations]
        return digest("cached", self.source.fingerprint, *steps)

    @property
    def on_error(self) -> OnError:  # type: ignore[override]
        """As the source has it."""
        return self.source.on_error

    @property
    def n_kept(self) -> int:
        """Number of rows that are kept by now."""
        return 0 if self._kept is None else int(self._kept.filled.sum())

    def __len__(self) -> int:
        return len(self.source)

    def fetch(self, rows: Rows) -> Fetched:
        kept = self._kept
        if kept is None:
            return self._computed(rows)
        inside = rows < self.capacity
        there = inside & (kept.filled[np.where(inside, rows, 0)] > 0)
        if there.all():
            return kept.rows.index_select(0, torch.from_numpy(rows))
        return self._completed(kept, rows, there)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def _completed(self, kept: SharedRows, rows: Rows, there: NDArray[np.bool_]) -> Tensor:
        """The rows that are there, and the others computed, each once."""
        lacking, places = np.unique(rows[~there], return_inverse=True)
        made = self._computed(lacking)
        new = np.searchsorted(lacking, self.capacity)  # those beyond come last
        kept.put(lacking[:new], made[:new])
        found = made.new_empty((len(rows), *made.shape[1:]))
        found[torch.from_numpy(~there)] = made.index_select(0, torch.from_numpy(places))
        if there.any():
            found[torch.from_numpy(there)] = kept.rows.index_select(
                0, torch.from_numpy(rows[there])
            )
        return found

    def _computed(self, rows: Rows) -> Tensor:
        if not len(rows):
            return torch.empty(self.form.filled({"batch": 0}), dtype=self.form.dtype)
        stack = Stack(self.source.fetch(rows))
        for operation in self.operations:
            stack = each(operation, stack)
        odd = stack.odd(self.form)
        if odd is not None:
            got = TensorSpec(odd[1], odd[2])
            want = TensorSpec(self.form.shape[1:], self.form.dtype)
            raise ReadFailure(
                int(rows[odd[0]]),
                "it has another shape or dtype than promised.",
                f"expected {want}, arrived {got}",
            )
        together = stack.stacked()
        assert together is not None  # all rows have the one shape
        return together

    @cached_property
    def _kept(self) -> SharedRows | None:
        return opened(self.path, self.form, self.capacity) if self.path else None

    def _place(self, folder: str | Path | None) -> str:
        if folder is not None:
            return in_folder(Path(folder), self.fingerprint, self.form, self.capacity)
        path, handle = in_memory(self.form, self.capacity)
        weakref.finalize(self, _close, path, handle, os.getpid())
        return path


def size_in_bytes(limit: int | str) -> int:
    """A number of bytes from a number, or a text such as ``"1GB"``.

    Raises:
        ConfigError: This is no size.

    >>> size_in_bytes("1.5kB"), size_in_bytes("1GB")
    (1500, 1000000000)
    """
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
        return limit
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kKMGT]?)i?B?\s*", str(limit))
    if not isinstance(limit, str) or found is None:
        raise ConfigError(
            f"limit={limit!r} is not a size.", mend='pass bytes, or a text such as "500MB"'
        )
    return int(float(found[1]) * 1000 ** " KMGT".index(found[2].upper() or " "))


def _fixed(spec: TensorSpec, operations: tuple[Operation, ...]) -> TensorSpec:
    """The spec after the operations, all of which give the same each time."""
    for operation in operations:
        if operation.random:
            raise ConfigError(
                f"What {operation.id!r} draws would be the same in every epoch if it were kept.",
                where=f"node {operation.id!r}",
                why="a random operation cannot come before the cache",
                mend="put the cache before it",
            )
        spec = operation.infer(spec)
    unknown = [name for name in spec.names if name != "batch"]
    if unknown:
        raise ShapeError(
            "Rows of different shapes cannot be cached.",
            why=f"the rows are {spec}",
            mend='put po("trafo_resize", size=...) or another fixed size before the cache',
        )
    return spec


def _close(path: str, handle: int, owner: int) -> None:
    if os.getpid() != owner:  # in a process that inherited it
        return
    os.close(handle)
    if not path.startswith("/proc/"):
        os.unlink(path)
