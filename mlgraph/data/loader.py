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
from typing import Any, Literal, NamedTuple

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mlgraph.core.value import digest
from mlgraph.data.batch import Batch, Batches, TensorBatches, tensor_digest
from mlgraph.data.feed import Feed
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.draws import Draw
from mlgraph.data.lazy.memmap import MemmapSource
from mlgraph.data.lazy.pending import Lazy
from mlgraph.data.lazy.reader import Read, Reader, Skipped
from mlgraph.data.lazy.source import ArraySource
from mlgraph.data.token import IngressToken
from mlgraph.errors import DataError, MLGraphError, listing


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


class Request(NamedTuple):
    """The rows of one batch: their places in the reader, and what random operations draw from.

    >>> Request(np.array([0, 1]), Draw(seed=1)).draw.epoch
    0
    """

    places: NDArray[np.int64]
    draw: Draw


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
    _lost: dict[int, NDArray[np.int64]] = attrs.field(factory=dict, init=False)
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
        self._lost = {}
        for i, (part, read) in enumerate(zip(parts, self._read(requests), strict=True), first):
            yield self._batch(i, part, read)
        self._tell()

    def take(self, rows: Tensor) -> Batch:
        local = rows.cpu().numpy()
        read = _raised(self._source[Request(self.places[local], Draw(seed=self.seed, epoch=0))])
        return self._batch(0, local, read)

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
        return [size - len(self._lost.get(i, ())) for i, size in enumerate(sizes)]

    @property
    def kept(self) -> NDArray[np.int64] | None:
        if not self._lost:
            return None
        return np.setdiff1d(np.arange(self._ends[-1]), np.concatenate(list(self._lost.values())))

    def in_memory(self) -> TensorBatches:
        """All rows, read once.

        Raises:
            DataError: Rows differ in shape.
        """
        whole = self.but(size=max(self.rows, 1), drop_last=False, merge_last=False)
        (batch,) = whole.epoch()
        if whole.kept is not None:
            raise DataError("Rows that cannot be read cannot be kept in memory.")
        return TensorBatches(
            batch.inputs, batch.target, batch.weights, self.size, self.drop_last, self.merge_last
        )

    def _read(self, requests: list[Request]) -> Iterable[Read]:
        if self._workers == 0:
            return map(_raised, map(self._source.__getitem__, requests))
        self._requests.now = requests
        return map(_raised, self._loader)

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
    def _source(self) -> _Rows:
        return _Rows(Reader(self.columns, self.row_ids))

    @cached_property
    def _requests(self) -> _Requests:
        return _Requests()

    @cached_property
    def _workers(self) -> int:
        if self.loading.workers is not None:
            return self.loading.workers
        return 0 if self._is_quick or self.n_batches < _FEW else os.cpu_count() or 1

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
            collate_fn=_same,
            num_workers=self._workers,
            pin_memory=self.device.type == "cuda" if pin is None else pin,
            persistent_workers=True,
            generator=torch.Generator(),  # or it draws from the stream of the training
        )

    def _batch(self, i: int, rows: NDArray[np.int64], read: Read) -> Batch:
        if read.kept is not None:
            rows = self._without_lost(i, rows, read.skipped)
        index = torch.from_numpy(rows).to(self.device)
        return Batch(
            tuple([self._input(x, read, index) for x in self.inputs]),
            None if self.target is None else self.target.index_select(0, index),
            None if self.weights is None else self.weights.index_select(0, index),
        )

    def _input(self, x: Tensor | str, read: Read, index: Tensor) -> Tensor:
        if isinstance(x, Tensor):
            return x.index_select(0, index)
        found = read.tensors[x]
        if not isinstance(found, Tensor):
            raise _unequal(x, found)
        return found.to(self.device, non_blocking=True)

    def _tell(self) -> None:
        """Warn of rows that could not be read, once of each."""
        new = list(self._skipped.values())[self._told :]
        self._told = len(self._skipped)
        if new:
            some = "; ".join(f"row {one.row_id} of {one.column!r}, {one.what}" for one in new[:5])
            warnings.warn(
                f"{len(new)} rows are left out, as they cannot be read: {some}", stacklevel=4
            )

    def _without_lost(
        self, i: int, rows: NDArray[np.int64], skipped: tuple[Skipped, ...]
    ) -> NDArray[np.int64]:
        """The rows of a batch that could be read; the others are noted."""
        mask = ~np.isin(self.places[rows], [one.position for one in skipped])
        self._lost[i] = self._ends[i] + np.flatnonzero(~mask)
        self._skipped.update({one.position: one for one in skipped})
        if not mask.any():
            raise DataError("No row of a batch can be read.", where=f"batch {i + 1}")
        return rows[mask]


def batched(
    feed: Feed,
    tokens: Mapping[str, IngressToken],
    target: Tensor | None,
    weights: Tensor | None,
    size: int,
    *,
    seed: int = 0,
    loading: Loading | None = None,
) -> Batches:
    """What is fed to a network in batches: tensors, or rows that are read batch by batch.

    Args:
        feed: The task of each ingress.
        tokens: The ingresses, in the order of the network's arguments.
        target: The target, rows first.
        weights: Row weights.
        size: Rows per batch.
        seed: What random operations depend on.
        loading: How rows are read.

    Raises:
        DataError: A value cannot enter the network.
        ShapeError: A column has another shape than in training.

    >>> from mlgraph import Task
    >>> from mlgraph.data.token import NumericToken
    >>> feed = Feed({"x": Task({"a": [1.0, 2.0, 3.0]})})
    >>> batched(feed, {"x": NumericToken("x", ("a",))}, None, None, 2).n_batches
    2
    """
    lazy = {id: token.lazy(feed[id]) for id, token in tokens.items()}
    columns = {id: column for id, column in lazy.items() if column is not None}
    if not columns:
        return TensorBatches(feed.tensors(tokens), target, weights, size)
    return ReadBatches(
        inputs=tuple(id if id in columns else t.tensor(feed[id]) for id, t in tokens.items()),
        columns=columns,
        row_ids=feed.task.row_ids,
        places=np.arange(len(feed.task)),
        target=target,
        weights=weights,
        size=size,
        seed=seed,
        loading=loading or Loading(),
    )


def settled(batches: Batches, keep: bool | Literal["auto"]) -> Batches:
    """The same batches, with what is read kept in memory where that changes nothing.

    Random operations draw anew in each epoch; what comes before them is kept.

    Args:
        batches: The batches.
        keep: Whether to; ``"auto"`` keeps up to 64 MB of tensors that nothing random is done to.

    >>> batches = TensorBatches((torch.zeros(4, 1),), None, None, 2)
    >>> settled(batches, True) is batches
    True
    """
    if not isinstance(batches, ReadBatches) or not keep:
        return batches
    size = batches.n_bytes
    if keep == "auto" and (batches.is_random or size is None or size > _AUTO):
        return batches
    if not batches.is_random:
        return batches.in_memory()
    kept = {name: _remembering(column) for name, column in batches.columns.items()}
    return batches.but(columns=kept)


def _remembering(column: LazyTensor) -> LazyTensor:
    """The column with what comes before its first random operation kept in memory."""
    steps = column.lazy.operations
    n = next((i for i, step in enumerate(steps) if step.random), len(steps))
    before = column.over_lazy(Lazy(column.lazy.sources, steps[:n])).cached()
    return before.over_lazy(Lazy(before.lazy.sources, steps[n:]))


_AUTO = 64 * 2**20
_FEW = 8  # batches that are read before a process has started


class _Rows(Dataset[Any]):
    """The reader as the data set of a DataLoader; what it refuses comes back as a value."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __getitems__(self, request: Request) -> Any:
        return self[request]

    def __getitem__(self, request: Request) -> Any:
        try:
            # Tensors of the inference mode do not tell whether they were changed in place.
            with torch.inference_mode(False), torch.no_grad():
                return self.reader.read(request.places, request.draw)
        except MLGraphError as error:
            return error

    def __len__(self) -> int:
        return len(self.reader)


class _Requests:
    """The batches of the present epoch; workers that stay alive are asked for new ones."""

    def __init__(self) -> None:
        self.now: list[Request] = []

    def __iter__(self) -> Iterator[Request]:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)


def _raised(found: Read | MLGraphError) -> Read:
    if isinstance(found, MLGraphError):
        raise found
    return found


def _same(read: Any) -> Any:
    return read


def _unequal(name: str, rows: list[Tensor]) -> DataError:
    shapes = list(dict.fromkeys(str(tuple(row.shape)) for row in rows))
    return DataError(
        f"The rows of {name!r} differ in shape and do not make one batch.",
        where=f"node {name!r}",
        why=f"there are {listing(shapes)}",
        mend='po("trafo_resize", size=...) makes images equal; batch_size=1 takes them as they are',
    )
