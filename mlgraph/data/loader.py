"""Batches that are read while a network trains: rows of lazy columns.

What is a tensor already is indexed; the rest is read by a ``Reader``, in this process or in the
workers of a ``DataLoader``, a whole batch at a time. What a batch holds depends on seed, epoch and
rows, never on the number of workers.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from mlgraph.core.value import digest
from mlgraph.data.batch import Batch, Batches, TensorBatches, tensor_digest
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.draws import Draw
from mlgraph.data.lazy.memmap import MemmapSource
from mlgraph.data.lazy.reader import Read, Reader, Skipped
from mlgraph.data.lazy.source import ArraySource
from mlgraph.data.requests import Request, Requests, Rows, raised, same
from mlgraph.errors import DataError, listing


@attrs.frozen(kw_only=True)
class Loading:
    """How rows are read.

    Args:
        workers: Processes that read; None: one per core, and none where that would be slower.
        pin: Whether batches pass through pinned memory; None: if they go to a CUDA device.

    >>> Loading(workers=0).workers
    0
    """

    workers: int | None = None
    pin: bool | None = None


@attrs.define(eq=False, slots=False)
class ReadBatches(Batches):
    """Rows of lazy columns, read a batch at a time.

    Args:
        inputs: For each input of the network a tensor, rows first, or the name of a column.
        columns: The columns by name.
        row_ids: Ids of their rows.
        places: The place of each row in the columns, ``(rows,)`` int64.
        seed: What random operations depend on, besides epoch and row.
        loading: How rows are read.
        place: The device where batches are.
        titles: For each column its name in the task, for messages.
    """

    inputs: tuple[Tensor | str, ...]
    columns: Mapping[str, LazyTensor]
    row_ids: NDArray[np.int64]
    places: NDArray[np.int64]
    target: Tensor | None
    weights: Tensor | None
    size: int
    drop_last: bool = False
    merge_last: bool = False
    seed: int = 0
    loading: Loading = attrs.field(factory=Loading)
    place: torch.device = attrs.field(factory=lambda: torch.device("cpu"))
    titles: Mapping[str, str] = attrs.field(factory=dict)
    _lost: NDArray[np.int64] = attrs.field(factory=lambda: np.empty(0, dtype=np.int64), init=False)
    _ends: list[int] = attrs.field(factory=lambda: [0], init=False)
    _skipped: dict[int, Skipped] = attrs.field(factory=dict, init=False)
    _told: int = attrs.field(default=0, init=False)

    @property
    def rows(self) -> int:
        return len(self.places)

    @property
    def device(self) -> torch.device:
        return self.place

    @property
    def ready(self) -> tuple[Tensor | None, ...]:
        return tuple(x if isinstance(x, Tensor) else None for x in self.inputs)

    @property
    def fingerprint(self) -> str:
        tensors = [*self.ready, self.target, self.weights]
        known = tensor_digest(tensor for tensor in tensors if tensor is not None)
        read = [column.fingerprint for column in self.columns.values()]
        return digest(*read, known, self.row_ids[self.places].tobytes())

    def epoch(
        self,
        order: Tensor | None = None,
        sizes: Sequence[int] | None = None,
        *,
        number: int = 0,
        first: int = 0,
    ) -> Iterator[Batch]:
        rows = np.arange(self.rows) if order is None else order.cpu().numpy()
        self._ends = [0, *accumulate(self.cut(self.rows) if sizes is None else sizes)]
        parts = [rows[start:end] for start, end in pairwise(self._ends)][first:]
        draw = Draw(seed=self.seed, epoch=number)
        requests = [Request(self.places[part], draw) for part in parts]
        self._lost = self._lost[self._lost < self._ends[first]]
        for i, (part, read) in enumerate(zip(parts, self._read(requests), strict=True), first):
            left = self._left(self._ends[i], part, read)
            yield self._batch(part, read, left)
        self._tell()

    def take(self, rows: Tensor) -> Batch:
        local = rows.cpu().numpy()
        read = raised(self._source[Request(self.places[local], Draw(seed=self.seed, epoch=0))])
        return self._batch(local, read, _readable(self.places[local], read))

    def to(self, device: torch.device) -> ReadBatches:
        move = [x.to(device) if isinstance(x, Tensor) else x for x in self.inputs]
        return self.but(
            inputs=tuple(move),
            target=None if self.target is None else self.target.to(device),
            weights=None if self.weights is None else self.weights.to(device),
            place=device,
        )

    def that_count(self) -> ReadBatches:
        if self.weights is None or bool(self.weights.all()):
            return self
        rows = self.weights.nonzero().squeeze(1)
        return self.but(
            inputs=tuple(x[rows] if isinstance(x, Tensor) else x for x in self.inputs),
            places=self.places[rows.numpy()],
            target=None if self.target is None else self.target[rows],
            weights=self.weights[rows],
        )

    def counts(self, sizes: Sequence[int]) -> list[int]:
        batch = np.searchsorted(np.cumsum(sizes), self._lost, side="right")
        found: list[int] = (np.asarray(sizes) - np.bincount(batch, minlength=len(sizes))).tolist()
        return found

    @property
    def lost(self) -> tuple[int, ...]:
        return tuple(self._lost.tolist())

    def lose(self, places: Iterable[int]) -> None:
        self._lost = np.array([*places], dtype=np.int64)

    @property
    def kept(self) -> NDArray[np.int64] | None:
        if not len(self._lost):
            return None
        return np.setdiff1d(np.arange(self._ends[-1]), self._lost)

    def close(self) -> None:
        loader = self.__dict__.pop("_loader", None)
        workers = getattr(loader, "_iterator", None)
        if workers is not None:  # they would stay until nobody refers to them
            workers._shutdown_workers()

    def in_memory(self) -> TensorBatches | None:
        """All rows, read once; None if one of them cannot be read.

        Raises:
            DataError: Rows differ in shape.
        """
        read = raised(self._source[Request(self.places, Draw(seed=self.seed, epoch=0))])
        if read.kept is not None:
            return None
        batch = self._batch(np.arange(self.rows), read, None)
        return TensorBatches(
            batch.inputs, batch.target, batch.weights, self.size, self.drop_last, self.merge_last
        )

    def _read(self, requests: list[Request]) -> Iterable[Read]:
        if self._workers == 0:
            return map(raised, map(self._source.__getitem__, requests))
        self._requests.now = requests
        return map(raised, self._loader)

    @property
    def is_random(self) -> bool:
        """Whether rows are drawn anew in each epoch."""
        return any(step.random for c in self.columns.values() for step in c.lazy.operations)

    @property
    def n_bytes(self) -> int | None:
        """Bytes of all that is read; None where shapes are not known before."""
        specs = [column.spec for column in self.columns.values()]
        if any(set(spec.names) - {"batch"} for spec in specs):
            return None
        sizes = (s.dtype.itemsize * prod(s.last(s.rank - 1)) for s in specs)
        return self.rows * sum(sizes)

    @cached_property
    def _source(self) -> Rows:
        return Rows(Reader(self.columns, self.row_ids, self.titles))

    @cached_property
    def _requests(self) -> Requests:
        return Requests()

    @cached_property
    def _workers(self) -> int:
        if self.loading.workers is not None:
            return self.loading.workers
        return 0 if self._is_quick or self.n_batches < _FEW else _cores()

    @property
    def _is_quick(self) -> bool:
        """Whether nothing is decoded, and no operation runs row by row."""
        lazy = [column.lazy for column in self.columns.values()]
        steps = [step for one in lazy for step in one.operations]
        sources = [source for one in lazy for source in one.sources]
        ready = all(isinstance(source, ArraySource | MemmapSource) for source in sources)
        return ready and all(step.batched or step.draws for step in steps)

    @cached_property
    def _loader(self) -> DataLoader[Any]:
        pin = self.loading.pin
        return DataLoader(
            self._source,
            batch_sampler=self._requests,  # type: ignore[arg-type]
            collate_fn=same,
            num_workers=self._workers,
            pin_memory=self.device.type == "cuda" if pin is None else pin,
            persistent_workers=True,
            generator=torch.Generator(),  # or it draws from the stream of the training
        )

    def _batch(self, rows: NDArray[np.int64], read: Read, left: NDArray[np.bool_] | None) -> Batch:
        """Some rows, of which so many are left; those that were read may be too few to be used."""
        index = torch.from_numpy(rows if left is None else rows[left]).to(self.device)
        inputs = [
            self._input(x, read, index) if len(index) else torch.empty(0, device=self.device)
            for x in self.inputs
        ]
        return Batch(
            tuple(inputs),
            None if self.target is None else self.target.index_select(0, index),
            None if self.weights is None else self.weights.index_select(0, index),
        )

    def _input(self, x: Tensor | str, read: Read, index: Tensor) -> Tensor:
        if isinstance(x, Tensor):
            return x.index_select(0, index)
        found = read.tensors[x]
        if not isinstance(found, Tensor):
            raise _unequal(self.titles.get(x, x), found)
        return found.to(self.device, non_blocking=True)

    def _tell(self) -> None:
        """Warn of rows that could not be read, once of each."""
        new = list(self._skipped.values())[self._told :]
        self._told = len(self._skipped)
        if new:
            some = "; ".join(f"row {one.row_id} of {one.column!r}, {one.what}" for one in new[:5])
            warnings.warn(f"{len(new)} rows are left out: {some}", stacklevel=4)

    def _note(self, *skipped: Skipped) -> None:
        self._skipped.update({one.position: one for one in skipped})

    def _alone(self, place: int) -> Skipped:
        name = next(iter(self.columns))
        what = "in this epoch the only one of its batch, and batch statistics need two."
        return Skipped(place, int(self.row_ids[place]), self.titles.get(name, name), what)

    def _left(self, start: int, rows: NDArray[np.int64], read: Read) -> NDArray[np.bool_] | None:
        """Which rows of a batch could be read, None for all; the others are noted."""
        left = _readable(self.places[rows], read)
        if left is None:
            return None
        if self.merge_last and left.sum() == 1:  # batch statistics need two
            if not self._told:  # other rows are alone in each epoch; the first shall do
                self._note(self._alone(int(self.places[rows][left][0])))
            left[:] = False
        self._lost = np.append(self._lost, start + np.flatnonzero(~left))
        self._note(*read.skipped)
        if len(self._lost) == self._ends[-1]:
            raise _nothing_left(read.skipped)
        return left


def _cores() -> int:
    """How many cores this process may use, which may be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _readable(places: NDArray[np.int64], read: Read) -> NDArray[np.bool_] | None:
    """Which of the places could be read, ``(rows,)``; None for all."""
    if read.kept is None:
        return None
    found: NDArray[np.bool_] = ~np.isin(places, [one.position for one in read.skipped])
    return found


_FEW = 8  # batches that are read before a process has started


def _nothing_left(skipped: Sequence[Skipped]) -> DataError:
    some = skipped[:1]
    return DataError(
        "No row can be read.",
        where="".join(f"column {one.column!r}, row {one.row_id}" for one in some),
        why="; ".join(one.what for one in some),
        mend="look whether the files are where the task says",
    )


def _unequal(name: str, rows: list[Tensor]) -> DataError:
    shapes = list(dict.fromkeys(str(tuple(row.shape)) for row in rows))
    return DataError(
        f"The rows of {name!r} differ in shape and do not make one batch.",
        where=f"column {name!r}",
        why=f"there are {listing(shapes)}",
        mend='po("trafo_resize", size=...) makes images equal, and sequences may be padded; with '
        "batch_size=1, batch_size_predict=1 and no tensor_dataset they enter one by one",
    )
