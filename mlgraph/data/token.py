"""Ingress tokens: how the columns of a task become a tensor of a network.

A token is what an ingress node learned: the columns it reads, and how. It makes whole columns at
once, never a value at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.task import Task
from mlgraph.errors import DataError, listing
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen
class IngressToken(ABC):
    """How the columns of a task become a tensor of a network.

    Args:
        id: Id of the ingress node, which is the name of the network's input.
        columns: The columns, in the order of the tensor's last dimension.

    >>> issubclass(NumericToken, IngressToken)
    True
    """

    id: str
    columns: tuple[str, ...]

    @property
    @abstractmethod
    def spec(self) -> TensorSpec:
        """Shape ``(batch, columns)`` and dtype of the tensor."""

    @abstractmethod
    def tensor(self, task: Task) -> Tensor:
        """The tensor of all rows.

        Raises:
            DataError: A value cannot enter a network; names ingress and column.
        """

    def lazy(self, task: Task) -> LazyTensor | None:
        """The column to be read batch by batch; None where the tensor is made at once."""
        return None

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each column; empty for numbers."""
        return ()

    def refuse_missing(self, task: Task) -> None:
        """Refuse missing values.

        Raises:
            DataError: Names the columns, and how to impute.
        """
        counts = {name: task.column(name).null_count for name in self.columns}
        bad = {name: count for name, count in counts.items() if count}
        if bad:
            raise DataError(
                f"Missing values would reach the network: {listing(bad)}.",
                where=f"node {self.id!r}",
                why=f"a network cannot calculate with them; there are {sum(bad.values())}",
                mend='put po("impute") before it',
            )


@attrs.frozen
class NumericToken(IngressToken):
    """Numbers as float32, shape ``(batch, columns)``.

    >>> NumericToken("numbers", ("b", "a")).tensor(Task({"a": [1, 2], "b": [0.5, 1.5]}))
    tensor([[0.5000, 1.0000],
            [1.5000, 2.0000]])
    """

    @property
    def spec(self) -> TensorSpec:
        return TensorSpec(("batch", len(self.columns)), torch.float32)

    def tensor(self, task: Task) -> Tensor:
        self.refuse_missing(task)
        matrix = np.empty((len(task), len(self.columns)), dtype=np.float32)
        with np.errstate(over="ignore"):
            for i, name in enumerate(self.columns):
                matrix[:, i] = task.column(name).to_numpy()
        self._refuse_infinite(matrix)
        return torch.from_numpy(matrix)

    def _refuse_infinite(self, matrix: NDArray[np.float32]) -> None:
        bad = np.flatnonzero(~np.isfinite(matrix).all(axis=0))
        if len(bad):
            names = listing(self.columns[i] for i in bad)
            raise DataError(
                f"Infinite values would reach the network: {names}.",
                where=f"node {self.id!r}",
                why="they are infinite, or too large for float32",
                mend="drop these rows, or clip the columns before",
            )


@attrs.frozen
class CategoricalToken(IngressToken):
    """Levels as codes ``0 .. k-1`` in int64, shape ``(batch, columns)``.

    Args:
        levels: The levels of each column, in order of their codes.
        slot: Whether levels not seen in fit share one more code, ``k``.

    >>> token = CategoricalToken("words", ("a",), levels=(("u", "v"),), slot=True)
    >>> token.tensor(Task({"a": ["v", "new"]})).tolist()
    [[1], [2]]
    """

    levels: tuple[tuple[str, ...], ...] = ()
    slot: bool = False

    @property
    def cardinalities(self) -> tuple[int, ...]:
        return tuple(len(levels) + self.slot for levels in self.levels)

    @property
    def spec(self) -> TensorSpec:
        shape = ("batch", len(self.columns))
        return TensorSpec(shape, torch.int64, cardinalities=self.cardinalities)

    def tensor(self, task: Task) -> Tensor:
        self.refuse_missing(task)
        matrix = np.empty((len(task), len(self.columns)), dtype=np.int64)
        for i, (name, levels) in enumerate(zip(self.columns, self.levels, strict=True)):
            matrix[:, i] = self._codes(name, task.column(name), levels)
        return torch.from_numpy(matrix)

    def _codes(self, name: str, column: pa.ChunkedArray, levels: tuple[str, ...]) -> Any:
        words = as_words(column)
        codes = pc.index_in(words, value_set=pa.array(levels, type=words.type))
        if codes.null_count and not self.slot:
            unknown = pc.unique(words.filter(pc.is_null(codes))).to_pylist()
            raise DataError(
                f"Column {name!r} has a level that fit did not see: {listing(unknown)}.",
                where=f"node {self.id!r}",
                why=f"its levels are {listing(levels)}",
                mend='po("ingress_categ", unknown="slot") gives unseen levels a code of their own',
            )
        return pc.fill_null(codes, len(levels)).to_numpy()


def as_words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A categorical, string or boolean column as strings.

    >>> as_words(pa.chunked_array([[True, False]])).to_pylist()
    ['true', 'false']
    """
    kind = pa.large_string()
    if pa.types.is_dictionary(column.type):
        return pc.cast(pc.cast(column, column.type.value_type), kind)
    return pc.cast(column, kind)
