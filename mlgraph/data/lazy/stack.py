"""Rows of tensors, as one tensor while their shapes agree."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.tensor.spec import TensorSpec


class Stack:
    """Rows as one tensor or as a list; each form is made from the other once, when asked for.

    >>> Stack([torch.zeros(2), torch.ones(2)]).stacked().shape
    torch.Size([2, 2])
    >>> Stack([torch.zeros(2), torch.ones(3)]).stacked() is None
    True
    """

    __slots__ = ("_given", "_rows", "_together")

    def __init__(self, value: Tensor | list[Tensor]) -> None:
        self._given = value
        self._together = value if isinstance(value, Tensor) else None
        self._rows = None if isinstance(value, Tensor) else value

    def __len__(self) -> int:
        return len(self._given)

    def rows(self) -> list[Tensor]:
        """The rows, each a tensor of its own."""
        if self._rows is None:
            self._rows = list(self._given)
        return self._rows

    def stacked(self) -> Tensor | None:
        """All rows in one tensor, or None if their shapes or dtypes differ."""
        if self._together is None and self._rows and self._agree(self._rows):
            self._together = torch.stack(self._rows)
        return self._together

    def value(self) -> Tensor | list[Tensor]:
        """One tensor if the rows agree, otherwise a list."""
        together = self.stacked()
        return self.rows() if together is None else together

    def take(self, places: NDArray[np.int64]) -> Stack:
        """The rows at these places."""
        if isinstance(self._given, Tensor):
            return Stack(self._given.index_select(0, torch.from_numpy(places)))
        return Stack([self._given[place] for place in places.tolist()])

    def version(self) -> int:
        """A number that is another one after a change in place."""
        if isinstance(self._given, Tensor):
            return self._given._version
        return sum([row._version for row in self._given])

    def odd(self, spec: TensorSpec) -> tuple[int, tuple[int, ...], torch.dtype] | None:
        """Place, shape and dtype of the first row that is not as the spec says."""
        if self._together is not None:
            shape, dtype = self._together.shape, self._together.dtype
            promised = not shape[0] or _is_promised(shape[1:], dtype, spec)
            return None if promised else (0, tuple(shape[1:]), dtype)
        last = None
        for place, row in enumerate(self.rows()):
            form = (row.shape, row.dtype)
            if form != last and not _is_promised(*form, spec):
                return place, tuple(row.shape), row.dtype
            last = form
        return None

    @staticmethod
    def _agree(rows: list[Tensor]) -> bool:
        shape, dtype = rows[0].shape, rows[0].dtype
        return all(row.shape == shape and row.dtype == dtype for row in rows)


def _is_promised(shape: torch.Size, dtype: torch.dtype, spec: TensorSpec) -> bool:
    sizes = spec.shape[1:]
    if shape == sizes:
        return dtype == spec.dtype
    if dtype != spec.dtype or len(shape) != len(sizes):
        return False
    known: dict[str, int] = {}
    for got, want in zip(shape, sizes, strict=True):
        if got != (known.setdefault(want, got) if isinstance(want, str) else want):
            return False
    return True
