"""The samplers that come with mlgraph, and those of torch."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlgraph.core.param import param, shown
from mlgraph.errors import ConfigError, DataError, did_you_mean, listing
from mlgraph.tensor.stream import forked
from mlgraph.train.sampler import BatchSampler, Places, Rows, Sampler
from mlgraph.train.snapshot import kept_streams


class Random(Sampler):
    """Every row once, in an order that is drawn anew in each epoch, as without a sampler.

    >>> from mlgraph.train.sampler import sampler
    >>> sampler("random")
    sampler("random")
    """

    def order(self, rows: Rows, generator: torch.Generator) -> Tensor:
        return torch.randperm(len(rows), generator=generator)


class Sequential(Sampler):
    """Every row once, in the order they have.

    >>> Sequential()
    sampler("sequential")
    """

    def order(self, rows: Rows, generator: torch.Generator) -> Tensor:
        return torch.arange(len(rows))


class Weighted(Sampler):
    """Rows in proportion to weights.

    Args:
        weights: ``"balanced"``: all classes come equally often; ``"task"``: the weights of the
            task's rows, which the loss then does not use a second time; a dict by class; or a
            number for each row.
        replacement: Whether a row may come several times in an epoch.
        frac: How many rows an epoch visits, as a share of those there are. Without replacement
            it must be below 1: otherwise every row would come once, whatever its weight.

    >>> Weighted(weights={"no": 1.0, "yes": 3.0}).replacement
    True
    """

    weights: Any = param(default="balanced", check=lambda value: _no_weights(value))
    replacement: bool = True
    frac: float = param(default=1.0, lower=0)

    def validate(self) -> None:
        if not self.replacement and self.frac >= 1:
            raise ConfigError(
                f"{self.call_name()} without replacement needs a frac below 1.",
                why="otherwise every row comes once, whatever its weight",
                mend="pass frac=0.5, or leave out replacement=False",
            )

    @property
    def weighs(self) -> bool:
        return bool(self.weights == "task")

    def length(self, rows: Rows) -> int:
        return max(1, round(self.frac * len(rows)))

    def order(self, rows: Rows, generator: torch.Generator) -> Tensor:
        weights, count = self._of_rows(rows), self.length(rows)
        if not bool(weights.isfinite().all() and (weights >= 0).all() and weights.sum() > 0):
            raise DataError(
                "Rows cannot be drawn by these weights.",
                where=repr(self),
                why="weights are finite, not negative, and some are positive",
            )
        draw = _drawn if self.replacement else self._once
        return draw(weights, count, generator)

    def _once(self, weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
        positive = int((weights > 0).sum())
        if count > positive:
            raise DataError(
                f"{count} rows cannot be drawn without replacement.",
                where=repr(self),
                why=f"{positive} rows have a weight above 0",
                mend="lower frac",
            )
        # Efraimidis and Spirakis (2006): the greatest of u ** (1 / weight).
        draws = torch.rand(len(weights), generator=generator, dtype=torch.float64)
        return (draws.log() / weights).argsort(descending=True)[:count]

    def _of_rows(self, rows: Rows) -> Tensor:
        if self.weights == "task":
            if rows.weights is None:
                raise DataError(
                    "Rows cannot be drawn by their weights: they have none.",
                    where=repr(self),
                    mend='Task(..., weight="column"), or weights="balanced"',
                )
            return rows.weights.double()
        if isinstance(self.weights, tuple):
            if len(self.weights) != len(rows):
                raise DataError(
                    f"There are {len(self.weights)} weights for {len(rows)} rows.",
                    where=repr(self),
                    why="those of a validation split and those of weight 0 are not trained on",
                    mend="give the task a column of weights",
                )
            return torch.tensor(self.weights, dtype=torch.float64)
        return self._of_classes(rows)

    def _of_classes(self, rows: Rows) -> Tensor:
        codes = _codes(self, rows)
        if self.weights == "balanced":
            return 1 / torch.bincount(codes, minlength=len(rows.classes)).double()[codes]
        unknown = [label for label in self.weights if label not in rows.classes]
        missing = [label for label in rows.classes if label not in self.weights]
        if unknown or missing:
            raise ConfigError(
                f"The weights are not those of the classes {listing(rows.classes)}.",
                where=repr(self),
                why=f"{shown(unknown[0])} is no class" if unknown else f"{missing[0]!r} has none",
                mend=did_you_mean(str(unknown[0]), [str(label) for label in rows.classes])
                if unknown
                else "name every class",
            )
        by_class = [float(self.weights[label]) for label in rows.classes]
        return torch.tensor(by_class, dtype=torch.float64)[codes]


class Stratified(Sampler):
    """Every row once, so that each batch has the classes in the proportions of all rows.

    The rows of a class are spread evenly over the epoch, so its share of a batch is a few rows
    off at most.

    >>> Stratified()
    sampler("stratified")
    """

    def order(self, rows: Rows, generator: torch.Generator) -> Tensor:
        codes = _codes(self, rows)
        mixed = torch.randperm(len(rows), generator=generator)
        counts = torch.bincount(codes, minlength=len(rows.classes))
        begun = torch.rand(len(counts), generator=generator, dtype=torch.float64)
        # The rows of a class are spread evenly over the epoch.
        by_class = mixed[codes[mixed].argsort(stable=True)]
        first = counts.cumsum(0) - counts
        own = codes[by_class]
        rank = torch.arange(len(rows)) - first[own]
        return by_class[((rank + begun[own]) / counts[own]).argsort(stable=True)]


class TorchSampler(Sampler):
    """What a class or function makes of the rows: a sampler of torch, or any sequence of places.

    It is made anew in each epoch, gets a ``generator`` where it takes one, and draws from streams
    that are seeded for the epoch where it does not; ``set_epoch`` is called if it has that.

    Args:
        make: Called with the rows, which have a length, ``target``, ``weights`` and ``codes``.

    >>> TorchSampler(make=torch.utils.data.RandomSampler)
    sampler("torch_sampler", make=RandomSampler)
    """

    make: Callable[..., Any] = param()

    def length(self, rows: Rows) -> int:
        return _length(self.make, rows)

    def order(self, rows: Rows, generator: torch.Generator) -> Places:
        return _listed(self.make, rows, generator)


class TorchBatchSampler(BatchSampler):
    """The same for what gives lists of places, one for each batch.

    Args:
        make: Called with the rows.

    >>> TorchBatchSampler(make=lambda rows: [[0, 1], [2]])
    batch_sampler("torch_batch_sampler", make=<lambda>)
    """

    make: Callable[..., Any] = param()

    def length(self, rows: Rows) -> int:
        return _length(self.make, rows)

    def batches(self, rows: Rows, generator: torch.Generator) -> Sequence[Places]:
        return _listed(self.make, rows, generator)


def _drawn(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    ends = weights.cumsum(0)
    draws = torch.rand(count, generator=generator, dtype=torch.float64) * ends[-1]
    last = int(weights.nonzero()[-1])  # where rounding would lead past it
    return torch.searchsorted(ends, draws, right=True).clamp(max=last)


def _codes(sampler: Sampler, rows: Rows) -> Tensor:
    if rows.codes is None:
        raise DataError(
            f"{sampler.call_name()} needs classes, and the task has none.",
            mend='use sampler("random"), or weights for each row',
        )
    return rows.codes


def _no_weights(value: Any) -> str | None:
    numbers = isinstance(value, tuple) and all(isinstance(w, (int, float)) for w in value)
    if value in ("balanced", "task") or isinstance(value, Mapping) or numbers:
        return None
    return '"balanced", "task", a dict by class, or a number for each row'


def _length(make: Callable[..., Any], rows: Rows) -> int:
    made = _of(make, rows, torch.Generator())
    try:
        return len(made)
    except TypeError as error:
        raise ConfigError(
            f"The sampler that {shown(make)} makes has no length.",
            why=f"{error}; schedules and progress need to know how long an epoch is",
            mend="give it __len__",
        ) from error


def _listed(make: Callable[..., Any], rows: Rows, generator: torch.Generator) -> list[Any]:
    """What it gives, and one more if it gives more than it says."""
    seed = generator.initial_seed()
    with kept_streams(), forked(seed):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        made = _of(make, rows, generator)
        return list(islice(made, len(made) + 1))


def _of(make: Callable[..., Any], rows: Rows, generator: torch.Generator) -> Any:
    made = make(rows, generator=generator) if _takes_generator(make) else make(rows)
    if hasattr(made, "set_epoch"):
        made.set_epoch(rows.epoch)
    return made


def _takes_generator(make: Callable[..., Any]) -> bool:
    try:
        return "generator" in inspect.signature(make).parameters
    except (TypeError, ValueError):
        return False
