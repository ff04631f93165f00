"""What a kind of task is, as a value: its targets, its loss, and what outputs mean.

A subclass of ``TaskType`` is a new kind, found under its key by ``Task(..., kind="key")``. The
ones that come with mlgraph are in ``kinds``, ``several`` and ``spread``.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import attrs
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.core.declare import required
from mlgraph.core.keyed import Keyed
from mlgraph.core.lookup import class_of, is_ours, refuse_taken, subclasses
from mlgraph.core.param import shown
from mlgraph.data.answers import Label
from mlgraph.data.column import Column
from mlgraph.data.prediction import Prediction
from mlgraph.data.targets import check_column, class_codes, numbers
from mlgraph.errors import ConfigError, listing


class Rows(Protocol):
    """What a kind of task may ask of a task."""

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """Ids of the rows."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""

    def __len__(self) -> int: ...

    def column(self, name: str) -> Any:
        """The values of a column, an Arrow array."""

    def target_codes(self) -> NDArray[Any]:
        """The targets as numbers."""

    def truth(self) -> NDArray[Any] | None:
        """The same, or None if there is no target."""

    def weights(self) -> NDArray[np.float64] | None:
        """Row weights, or None."""


class TaskType(Keyed):
    """A kind of task; annotated fields are its options.

    A subclass says what a network puts out per row (``output_size``), the targets as the loss
    wants them (``encode``), the loss (``loss``) and what outputs mean (``predict``). Types,
    missing and infinite values of the targets are checked for it.

    Class attributes:
        key: The name, by default the class name in snake case.
        arity: How many target columns there are: ``"none"``, ``"one"`` or ``"several"``.
        accepts: Feature types that the targets may have.
        losses: Losses of torch that may be chosen instead; None: any.
        scores: What metrics see in predictions: ``"binary"``, ``"multiclass"``,
            ``"regression"``, ``"multilabel"``, ``"multitarget"``, ``"quantile"``, ``"normal"``.
        metrics: What predictions are scored by when nobody says, names or functions.
        transforms: Functions that targets may be transformed by and predictions brought back
            from: ``"none"``, ``"linear"`` or ``"any"``.
        weighs_classes: Whether ``class_weight`` makes sense: encoded targets are codes of classes.

    >>> import torch
    >>> class Count(TaskType):
    ...     accepts = ("int",)
    ...     scores = ("regression",)
    ...
    ...     def output_size(self, goal):
    ...         return 1
    ...
    ...     def encode(self, task, goal):
    ...         return torch.tensor(task.target_codes()).float().unsqueeze(1)
    ...
    ...     def loss(self):
    ...         return "poisson_nll"
    ...
    ...     def predict(self, output, goal, task):
    ...         rate = output.exp().squeeze(1).numpy()
    ...         return Prediction.regression(task.row_ids, rate, task.truth())
    >>> task_type("count")
    Count()
    """

    arity: ClassVar[str] = "one"
    accepts: ClassVar[tuple[str, ...]] = ("float", "int")
    losses: ClassVar[tuple[str, ...] | None] = None
    scores: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[tuple[Any, ...]] = ()
    transforms: ClassVar[str] = "none"
    weighs_classes: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_taken(cls, TaskType, "kind of task")

    @classmethod
    def call_name(cls, arguments: str = "") -> str:
        """How one is made: ``QuantileRegression(levels=(0.1, 0.9))``."""
        return f"{cls.__name__}({arguments})"

    def __repr__(self) -> str:
        options = (f"{name}={shown(value)}" for name, value in self.fields().items())
        return self.call_name(", ".join(options))

    # What a subclass says

    @abstractmethod
    def output_size(self, goal: Goal) -> int:
        """Numbers a network has to put out per row."""

    @abstractmethod
    def encode(self, task: Rows, goal: Goal) -> Tensor:
        """The targets as the loss wants them, rows first; none is missing."""

    @abstractmethod
    def loss(self) -> str | Callable[..., Any]:
        """The loss: a name of torch's, or a function or module of output and target.

        A function returns one value per row, so that rows can be weighed.
        """

    def loss_options(self) -> Mapping[str, Any]:
        """Options of the loss."""
        return {}

    @abstractmethod
    def predict(self, output: Tensor, goal: Goal, task: Rows) -> Prediction:
        """What outputs mean; ``output`` is ``(rows, output_size)``, float64, on the CPU."""

    def check(self, columns: Mapping[str, Column], row_ids: NDArray[np.int64]) -> None:
        """Raise unless these columns can be the targets.

        Raises:
            DataError: One has the wrong type, or missing or infinite values.
        """
        for name, column in columns.items():
            check_column(name, column, row_ids, self.accepts, self.key)

    def classes_of(self, columns: Mapping[str, Column]) -> tuple[Label, ...]:
        """The classes in order, where every row has one of them."""
        return ()

    def codes(self, columns: Sequence[Column], goal: Goal) -> NDArray[Any]:
        """The targets as numbers: codes of classes, -1 for missing; or float64, NaN for missing.

        Shape:
            returns: ``(rows,)``, of several targets ``(rows, targets)``.
        """
        if goal.classes:
            return class_codes(columns[0], goal.classes)
        if self.arity == "several":
            return np.column_stack([numbers(column) for column in columns])
        return numbers(columns[0])

    def combine(self, output: Tensor) -> Tensor:
        """One output per row that stands for the members of an ensemble.

        Shape:
            output: ``(rows, members, size)``.
            returns: ``(rows, size)``.
        """
        return output.mean(1)

    def needs(self, goal: Goal) -> str:
        """Why the output has the size it has, for messages."""
        return f"a task of kind {self.key!r} needs {self.output_size(goal)} numbers per row"


def task_types() -> dict[str, type[TaskType]]:
    """Every kind of task by its key; of two definitions of a class the later one.

    >>> import mlgraph.data.kinds
    >>> task_types()["regression"].__name__
    'Regression'
    """
    made = [cls for cls in _all() if not cls.__name__.startswith("_")]
    found = [cls for cls in made if not inspect.isabstract(cls)]
    # A class that was refused its key may still be in memory: ours come last, and stay.
    return {cls.key: cls for cls in sorted(found, key=is_ours)}


def task_type(given: str | TaskType | type[TaskType]) -> TaskType:
    """The kind of task that a key, a class or a value means.

    Raises:
        ConfigError: There is no such kind, or it has options without defaults.

    >>> from mlgraph.data.kinds import Regression
    >>> task_type("regression") == task_type(Regression) == Regression()
    True
    """
    if isinstance(given, TaskType):
        return given
    if isinstance(given, type) and issubclass(given, TaskType):
        return _made(given)
    return _made(class_of(given, task_types, "kind of task", error=ConfigError))


@attrs.frozen
class Goal:
    """What a task asks for: kind, classes in order, the positive one of two, names of targets.

    >>> from mlgraph.data.kinds import Regression
    >>> Goal(Regression()).kind
    'regression'
    """

    type: TaskType = attrs.field(
        default="unsupervised",  # type: ignore[assignment]
        converter=task_type,
        alias="kind",
    )
    classes: tuple[Label, ...] = ()
    positive: Label | None = None
    targets: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The key of the kind of task."""
        return self.type.key

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes, and so one logit."""
        return len(self.classes) == 2

    @property
    def positive_code(self) -> int:
        """The place in ``classes`` of the positive class."""
        return self.classes.index(self.positive) if self.positive in self.classes else 1

    @property
    def output_size(self) -> int:
        """Numbers a network has to put out per row: one logit for two classes, one quantity, ...

        Raises:
            ConfigError: The task has no target.
        """
        return self.type.output_size(self)


def _made(cls: type[TaskType]) -> TaskType:
    missing = required(cls)
    if missing or inspect.isabstract(cls):
        raise ConfigError(
            f"The kind of task {cls.key!r} needs {listing(missing)}."
            if missing
            else f"{cls.__name__} is no kind of task yet.",
            why="" if missing else f"it lacks {listing(sorted(cls.__abstractmethods__))}",
            mend=f"write kind={cls.__name__}({', '.join(f'{name}=...' for name in missing)})"
            if missing
            else "",
        )
    return cls()


def _all() -> Iterator[type[TaskType]]:
    return subclasses(TaskType)
