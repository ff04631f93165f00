"""Reading some rows of lazy columns: fetched once, computed once, drawn per row."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import NamedTuple

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.draws import Draw, copies_of
from mlgraph.data.lazy.plan import Group, groups_of
from mlgraph.data.lazy.run import Drawn, run
from mlgraph.data.lazy.source import ReadFailure
from mlgraph.data.lazy.stack import Stack
from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked

Positions = NDArray[np.int64]


@attrs.frozen
class Skipped:
    """A row that could not be read and was left out.

    Args:
        position: Its position among the rows of the reader.
        row_id: Its id.
        column: The column.
        what: What went wrong.

    >>> Skipped(0, 7, "image", "There is no file a.png.").row_id
    7
    """

    position: int
    row_id: int
    column: str
    what: str


class Read(NamedTuple):
    """What was read: a tensor per column, or a list where the shapes of rows differ.

    Args:
        tensors: By column; only the rows that could be read.
        kept: The positions that could be read, or None if all could.
        skipped: The rows that could not.

    >>> Read({}, None, ()).kept is None
    True
    """

    tensors: dict[str, Tensor | list[Tensor]]
    kept: Positions | None
    skipped: tuple[Skipped, ...]


class Reader:
    """Reads rows of lazy columns; made once, used for every batch, in any process.

    Columns over the same rows of the same sources are fetched once per call, and the operations
    that they have in common run once.

    Args:
        columns: The columns by name, of equal length.
        row_ids: Ids of their rows.
        titles: What a column is called in messages, if that is not its name.

    Raises:
        DataError: The columns differ in length.

    >>> from mlgraph.data.lazy.source import ArraySource
    >>> column = LazyTensor.over(ArraySource(torch.arange(6.0).reshape(3, 2)))
    >>> reader = Reader({"x": column}, np.arange(3))
    >>> reader.read(np.array([2, 0]), Draw(0)).tensors["x"]
    tensor([[4., 5.],
            [0., 1.]])
    """

    def __init__(
        self,
        columns: Mapping[str, LazyTensor],
        row_ids: NDArray[np.int64],
        titles: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        for name, column in columns.items():
            if len(column) != len(row_ids):
                raise DataError(
                    f"Column {name!r} has {len(column)} rows, and there are {len(row_ids)} row ids."
                )
        self.specs = {name: column.spec for name, column in columns.items()}
        self._titles = {name: titles.get(name, name) for name in columns}
        self._groups = groups_of(columns)
        self._row_ids = np.asarray(row_ids, dtype=np.int64)
        self._copies = copies_of(self._row_ids)
        self._draws = any(step.operation.random for g in self._groups for step in g.steps)

    def __len__(self) -> int:
        return len(self._row_ids)

    def read(self, positions: Positions, draw: Draw) -> Read:
        """The tensors of the rows at these positions.

        Args:
            positions: Places among the rows, not row ids; they may repeat.
            draw: What random operations depend on, besides the row.

        Raises:
            DataError: A row cannot be read, or does not have the shape that was promised.
        """
        positions = np.asarray(positions, dtype=np.int64)
        fetched, kept, skipped = self._fetched(positions)
        rows = Drawn(self._row_ids[kept], self._copies[kept], draw)
        found: dict[str, Tensor | list[Tensor]] = {}
        with forked() if self._draws else nullcontext():
            for group, stack in zip(self._groups, fetched, strict=True):
                found.update(self._computed(group, stack, rows))
        ordered = {name: found[name] for name in self.specs}
        return Read(ordered, kept if skipped else None, skipped)

    def _fetched(self, positions: Positions) -> tuple[list[Stack], Positions, tuple[Skipped, ...]]:
        """The rows of every group, without those that one of them cannot read."""
        parts = [self._fetch(group, positions) for group in self._groups]
        skipped: dict[int, Skipped] = {}
        for group, (_, failed) in zip(self._groups, parts, strict=True):
            for place, failure in failed:
                skipped.setdefault(place, self._skip(group, int(positions[place]), failure))
        if not skipped:
            return [stack for stack, _ in parts], positions, ()
        every = np.arange(len(positions))
        left = np.delete(every, list(skipped))
        stacks = [
            stack.take(np.searchsorted(np.delete(every, [at for at, _ in failed]), left))
            for stack, failed in parts
        ]
        return stacks, positions[left], tuple(skipped[place] for place in sorted(skipped))

    def _fetch(
        self, group: Group, positions: Positions
    ) -> tuple[Stack, list[tuple[int, ReadFailure]]]:
        try:
            value, failed = group.fetch(positions)
        except ReadFailure as failure:
            place = int(np.argmax(group.rows[positions] == failure.row))
            raise self._refusal(group, int(positions[place]), failure) from failure
        except DataError as error:
            raise error.at(f"column {self._titles[group.names[0]]!r}") from error.__cause__
        stack = Stack(value)
        if stack.odd(group.spec) is not None:
            ids = np.delete(self._row_ids[positions], [at for at, _ in failed])
            _check(stack, group.spec, self._titles[group.names[0]], ids)
        return stack, failed

    def _computed(
        self, group: Group, stack: Stack, rows: Drawn
    ) -> dict[str, Tensor | list[Tensor]]:
        if not len(rows.ids):
            return {name: _nothing(self.specs[name]) for name in group.names}
        slots = [stack]
        for step in group.steps:
            slots.append(run(step.operation, step.key, slots[step.input], rows))
        found = {}
        for name, slot in zip(group.names, group.outputs, strict=True):
            if slot:  # what was fetched has been checked
                _check(slots[slot], self.specs[name], self._titles[name], rows.ids)
            found[name] = slots[slot].value()
        return found

    def _skip(self, group: Group, position: int, failure: ReadFailure) -> Skipped:
        title = self._titles[group.names[0]]
        return Skipped(position, int(self._row_ids[position]), title, failure.what)

    def _refusal(self, group: Group, position: int, failure: ReadFailure) -> DataError:
        row_id, title = self._row_ids[position], self._titles[group.names[0]]
        return DataError(
            f"Row {row_id} of column {title!r} cannot be read: {failure.what}",
            where=f"column {title!r}, row {row_id}",
            why=failure.why,
            mend=failure.mend,
        )


def _check(stack: Stack, spec: TensorSpec, name: str, row_ids: NDArray[np.int64]) -> None:
    """Refuse rows that do not have the shape and dtype that the column promises."""
    odd = stack.odd(spec)
    if odd is None:
        return
    place, shape, dtype = odd
    found = TensorSpec(("batch", *shape), dtype)
    raise DataError(
        f"Row {row_ids[place]} of column {name!r} has another shape or dtype than promised.",
        where=f"column {name!r}, row {row_ids[place]}",
        why=f"expected {_form(spec)}, arrived {_form(found)}",
        mend="resize or pad the rows, or do not promise a size",
    )


def _form(spec: TensorSpec) -> str:
    return repr(TensorSpec(spec.shape[1:], spec.dtype))


def _nothing(spec: TensorSpec) -> Tensor | list[Tensor]:
    if set(spec.names) - {"batch"}:
        return []
    return torch.empty(spec.filled({"batch": 0}), dtype=spec.dtype)
