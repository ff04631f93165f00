"""From the columns of a task to tensors: ingress tokens, targets, and batches of both.

A token is what an ingress node learned: the columns it reads, and how. Tensors are made once per
fit or prediction, as whole columns; a batch is a slice or an index of them, never a loop over
rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from mlgraph.core.value import FrozenDict
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import DataError, listing
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen
class IngressToken(ABC):
    """How the columns of a task become a tensor of a network.

    Args:
        id: Id of the ingress node, which is the name of the network's input.
        columns: The columns, in the order of the tensor's last dimension.
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
            shown = ", ".join(f"{name!r} ({count})" for name, count in bad.items())
            raise DataError(
                f"Missing values would reach the network: {shown}.",
                where=f"node {self.id!r}",
                why="a network cannot calculate with missing values",
                mend='put po("impute") before it',
            )


@attrs.frozen
class NumericToken(IngressToken):
    """Numbers as float32, shape ``(batch, columns)``."""

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

    def _refuse_infinite(self, matrix: np.ndarray[Any, Any]) -> None:
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
                mend=f'po("{self.id}", unknown="slot") gives unseen levels a code of their own',
            )
        return pc.fill_null(codes, len(levels)).to_numpy()


def as_words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A categorical, string or boolean column as strings."""
    kind = pa.large_string()
    if pa.types.is_dictionary(column.type):
        return pc.cast(pc.cast(column, column.type.value_type), kind)
    return pc.cast(column, kind)


class Feed(FrozenDict):
    """What enters a network when it is applied: a task for each ingress.

    >>> len(Feed({}))
    0
    """

    @classmethod
    def merged(cls, feeds: tuple[Feed, ...]) -> Feed:
        """One feed with the ingresses of all; their rows are aligned by row id."""
        first = next(iter(feeds[0].values()))
        found = {id: task for feed in feeds for id, task in feed.items()}
        return cls({id: aligned(id, first, task) for id, task in found.items()})

    def tensors(self, tokens: Mapping[str, IngressToken]) -> tuple[Tensor, ...]:
        """The tensor of each token, in order."""
        return tuple(token.tensor(self[id]) for id, token in tokens.items())

    @property
    def task(self) -> Task:
        """A task with the rows, the target and the weights."""
        task: Task = next(iter(self.values()))
        return task

    def describe(self) -> str:
        """The feed in one phrase."""
        return f"feed of {listing(self)}, {len(self.task)} rows"


def aligned(id: str, first: Task, task: Task) -> Task:
    """A task with its rows in the order of another.

    Raises:
        DataError: They have different rows or targets.
    """
    if task is first:
        return task
    try:
        return first_rows(first, task)
    except DataError as error:
        raise error.at(f"node {id!r}") from None


def first_rows(first: Task, task: Task) -> Task:
    """``task`` in the row order of ``first``, with equal target."""
    task = task if first.same_rows(task) else first.align(task)
    if first.target != task.target or first.kind != task.kind:
        raise DataError(
            "Paths with different targets cannot meet in one network.",
            why=f"one has target {first.target!r}, the other {task.target!r}",
        )
    if first.target is not None and not _same_values(first, task):
        raise DataError(
            f"The target {first.target!r} has different values on two paths of one network.",
            mend="transform the target before the paths part",
        )
    return task


def _same_values(first: Task, other: Task) -> bool:
    return np.array_equal(first.target_codes(), other.target_codes(), equal_nan=True)


def target_tensor(task: Task, spec: TaskSpec) -> Tensor:
    """The target of all rows.

    Shape:
        binary: ``(batch, 1)`` float32, 1 for the positive class.
        multiclass: ``(batch,)`` int64, places in the classes.
        regression: ``(batch, 1)`` float32.

    Raises:
        DataError: A row has no target.

    >>> target_tensor(Task({"y": [1.0, 2.0]}, target="y"), TaskSpec("regression")).shape
    torch.Size([2, 1])
    """
    codes = task.target_codes()
    missing = np.isnan(codes) if spec.kind == "regression" else codes < 0
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} rows have no target {task.target!r}.",
            where=f"rows {listing(task.row_ids[missing])}",
            mend="leave these rows out",
        )
    if spec.kind == "regression":
        return torch.from_numpy(codes.astype(np.float32)).unsqueeze(1)
    if spec.is_binary:
        positive = codes == spec.positive_code
        return torch.from_numpy(positive.astype(np.float32)).unsqueeze(1)
    return torch.from_numpy(codes)


def weight_tensor(task: Task) -> Tensor | None:
    """Row weights as float32, shape ``(batch,)``, or None."""
    weights = task.weights()
    return None if weights is None else torch.from_numpy(weights.astype(np.float32))


@attrs.frozen
class Batch:
    """Some rows: inputs in the order of the network's arguments, target and weights."""

    inputs: tuple[Tensor, ...]
    target: Tensor | None
    weights: Tensor | None


@attrs.frozen(eq=False)
class TensorBatches:
    """Tensors in memory, cut into batches.

    Args:
        inputs: One tensor per input of the network, rows first.
        target: The target, rows first.
        weights: Row weights.
        size: Rows per batch.
        drop_last: Leave out a last batch that is not full.
        merge_last: Add a last batch of one row to the batch before it.
    """

    inputs: tuple[Tensor, ...]
    target: Tensor | None
    weights: Tensor | None
    size: int
    drop_last: bool = False
    merge_last: bool = False

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.inputs[0])

    def spans(self) -> list[tuple[int, int]]:
        """First row and end of each batch.

        >>> TensorBatches((torch.zeros(7, 1),), None, None, 3, merge_last=True).spans()
        [(0, 3), (3, 7)]
        """
        starts = range(0, self.rows, self.size)
        spans = [(start, min(start + self.size, self.rows)) for start in starts]
        last = spans[-1][1] - spans[-1][0] if spans else 0
        if self.drop_last and len(spans) > 1 and last < self.size:
            spans.pop()
        elif self.merge_last and len(spans) > 1 and last == 1:
            spans[-2:] = [(spans[-2][0], self.rows)]
        return spans

    def epoch(self, order: Tensor | None = None) -> Iterator[Batch]:
        """The batches of one epoch, rows in the given order."""
        for start, end in self.spans():
            yield self.batch(start, end, order)

    def batch(self, start: int, end: int, order: Tensor | None) -> Batch:
        """The rows from ``start`` to ``end`` of the order."""
        if order is None:
            return Batch(
                tuple(x[start:end] for x in self.inputs),
                None if self.target is None else self.target[start:end],
                None if self.weights is None else self.weights[start:end],
            )
        rows = order[start:end]
        return Batch(
            tuple(x.index_select(0, rows) for x in self.inputs),
            None if self.target is None else self.target.index_select(0, rows),
            None if self.weights is None else self.weights.index_select(0, rows),
        )

    def to(self, device: torch.device) -> TensorBatches:
        """The same on a device."""
        return attrs.evolve(
            self,
            inputs=tuple(x.to(device) for x in self.inputs),
            target=None if self.target is None else self.target.to(device),
            weights=None if self.weights is None else self.weights.to(device),
        )
