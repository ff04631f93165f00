"""Samplers: which rows an epoch visits, and in which order.

A sampler is frozen parameters. What it draws depends on the seed and the number of the epoch
only, so that a run that is resumed, other ranks and a loop written by hand draw the same.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import attrs
import torch
from torch import Tensor
from torch.utils import data as torch_data

from mlgraph.core.keyed import Keyed
from mlgraph.core.lookup import class_of, is_ours, refuse_taken, subclasses
from mlgraph.core.param import shown
from mlgraph.data.batch import Batch
from mlgraph.errors import ConfigError

Places = Tensor | Sequence[int]


@attrs.frozen(eq=False)
class Rows:
    """The rows that may be drawn: those of the training data whose weight is not 0.

    Args:
        batches: Their tensors, on the CPU.
        codes: The place of each row's class among the classes, ``(rows,)``; None without classes.
        classes: The classes.
        epoch: The epoch that is drawn for, from 1.

    >>> from mlgraph.data.batch import TensorBatches
    >>> len(Rows(TensorBatches((torch.zeros(7, 1),), None, None, 2)))
    7
    """

    batches: Any
    codes: Tensor | None = None
    classes: tuple[Any, ...] = ()
    epoch: int = 1

    def __len__(self) -> int:
        return int(self.batches.rows)

    def __getitem__(self, place: int) -> Batch:
        """A batch of one row."""
        found: Batch = self.batches.take(torch.tensor([place]))
        return found

    @property
    def target(self) -> Tensor | None:
        """The target as the loss gets it, rows first."""
        found: Tensor | None = self.batches.target
        return found

    @property
    def weights(self) -> Tensor | None:
        """The weights of the rows, ``(rows,)``."""
        found: Tensor | None = self.batches.weights
        return found


class Sampler(Keyed):
    """Base of samplers: an order of the rows, which is then cut into batches.

    A subclass says ``order``, and ``length`` where an epoch does not visit as many rows as there
    are; annotated fields become parameters.

    >>> class Backwards(Sampler):
    ...     def order(self, rows, generator):
    ...         return torch.arange(len(rows) - 1, -1, -1)
    >>> sampler("backwards")
    sampler("backwards")
    """

    made_by: ClassVar[str] = "sampler"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _refuse_taken_key(cls, Sampler)

    @property
    def weighs(self) -> bool:
        """Whether rows come as often as their weights say, so that the loss must not weigh them."""
        return False

    def length(self, rows: Rows) -> int:
        """How many rows an epoch visits, the same in every epoch."""
        return len(rows)

    @abstractmethod
    def order(self, rows: Rows, generator: torch.Generator) -> Places:
        """The places of the rows of an epoch, from 0; everything random is the generator's.

        Shape:
            returns: ``(length,)``.
        """


class BatchSampler(Keyed):
    """Base of batch samplers: the rows of each batch of an epoch.

    >>> class Halves(BatchSampler):
    ...     def length(self, rows):
    ...         return 2
    ...     def batches(self, rows, generator):
    ...         return torch.randperm(len(rows), generator=generator).chunk(2)
    >>> Halves()
    batch_sampler("halves")
    """

    made_by: ClassVar[str] = "batch_sampler"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _refuse_taken_key(cls, BatchSampler)

    @abstractmethod
    def length(self, rows: Rows) -> int:
        """How many batches an epoch has, the same in every epoch."""

    @abstractmethod
    def batches(self, rows: Rows, generator: torch.Generator) -> Sequence[Places]:
        """The places of the rows of each batch."""


def sampler(key: str | type[Sampler], /, **params: Any) -> Sampler:
    """A sampler by its key or class: ``"random"``, ``"sequential"``, ``"weighted"``, ...

    Raises:
        UnknownKeyError: No sampler has this key.
        UnknownParameterError: It has no such parameter.

    >>> sampler("weighted", weights="balanced")
    sampler("weighted")
    """
    cls = _find(key, Sampler) if isinstance(key, str) else key
    made: Sampler = cls.create(params=params)
    return made


def sampler_of(given: Any) -> Any:
    """The sampler that a trainer was given: a key, a value, a class, or a function of the rows.

    Raises:
        ConfigError: It is an instance of a sampler of torch, or no sampler.

    >>> sampler_of("random"), sampler_of(torch_data.SequentialSampler)
    (sampler("random"), sampler("torch_sampler", make=SequentialSampler))
    """
    return _made(given, Sampler, lambda make: _torch("TorchSampler", make))


def batch_sampler_of(given: Any) -> Any:
    """The same for what gives whole batches.

    Raises:
        ConfigError: It is an instance of a sampler of torch, or no batch sampler.

    >>> batch_sampler_of(None) is None
    True
    """
    return _made(given, BatchSampler, lambda make: _torch("TorchBatchSampler", make))


def weighs(sampler: Sampler | None) -> bool:
    """Whether rows come as often as their weights say, so that the loss must not weigh them.

    >>> weighs(sampler("weighted", weights="task")), weighs(None)
    (True, False)
    """
    return sampler is not None and sampler.weighs


def known(base: Any) -> Mapping[str, type[Any]]:
    """The classes of samplers by key.

    >>> known(Sampler)["random"].__name__
    'Random'
    """
    import mlgraph.train.samplers  # noqa: F401  the predefined ones, which need this module

    # A class that was refused its key may still be in memory: ours come last, and stay.
    classes = sorted(subclasses(base), key=is_ours)
    found = {cls.key: cls for cls in classes if not cls.__name__.startswith("_")}
    return {key: found[key] for key in sorted(found)}


def _made(given: Any, base: Any, of_torch: Callable[[Any], Any]) -> Any:
    if given is None or isinstance(given, base):
        return given
    if isinstance(given, str):
        return _find(given, base).create()
    if isinstance(given, type) and issubclass(given, base):
        made: Any = given
        return made.create()
    if isinstance(given, torch_data.Sampler):
        raise _instance(given)
    if isinstance(given, (Sampler, BatchSampler)) or not callable(given):
        raise ConfigError(
            f"{shown(given)} is not a {_word(base)}.",
            why="one is a key, a class, or a function of the rows that gives a sampler of torch",
            mend=f"write {base.made_by}=lambda rows: ...",
        )
    return of_torch(given)


def _instance(given: Any) -> ConfigError:
    name = type(given).__name__
    return ConfigError(
        f"A {name} that is made already cannot be a sampler.",
        why="it belongs to other data, and what it draws cannot be drawn again after a break",
        mend=f"pass the class {name}, or a function of the rows: lambda rows: {name}(rows, ...)",
    )


def _torch(name: str, make: Any) -> Any:
    from mlgraph.train import samplers

    return getattr(samplers, name)(make=make)


def _find(key: str, base: Any) -> Any:
    otherwise = "pass a class, or a function of the rows"
    return class_of(key, lambda: known(base), _word(base), otherwise)


def _refuse_taken_key(cls: type[Any], base: Any) -> None:
    if not is_ours(cls):
        known(base)  # loads those that come with mlgraph
        refuse_taken(cls, base, _word(base))


def _word(base: Any) -> str:
    return str(base.made_by).replace("_", " ")
