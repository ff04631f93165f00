"""A loss at work: its mean, its value per row, its weighted mean, and the weights of the classes.

One rule holds for weights of rows and of classes alike: the loss is ``sum(w * l) / sum(w)``, and
several weights of a row multiply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlgraph.core.param import shown
from mlgraph.data.kind import Goal
from mlgraph.errors import ConfigError, did_you_mean, listing

_LEAST = torch.finfo(torch.float32).tiny

ClassWeight: TypeAlias = str | float | Mapping[Any, float] | None


class ObjectiveFn(nn.Module):
    """A loss made for one task.

    Args:
        mean: Gives the mean over the batch, class weights included; None: computed from ``rows``.
        rows: Gives one loss per row, class weights not included.
        class_weight: Weight of each target code; a buffer, so it moves with the module.

    Shape:
        output: ``(batch, 1)``, or ``(batch, classes)`` for more than two classes.
        target: ``(batch, 1)`` float, or ``(batch,)`` integer for more than two classes.
        returns: ``()``.

    >>> loss = ObjectiveFn(nn.MSELoss(), nn.MSELoss(reduction="none"))
    >>> output, target = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
    >>> loss(output, target), loss.per_row(output, target)
    (tensor(5.), tensor([1., 9.]))
    >>> loss.weighted(output, target, torch.tensor([3.0, 1.0]))
    tensor(3.)
    """

    class_weight: Tensor | None

    def __init__(
        self, mean: nn.Module | None, rows: nn.Module, class_weight: Tensor | None = None
    ) -> None:
        super().__init__()
        self.mean = mean
        self.rows = rows
        self.register_buffer("class_weight", class_weight)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean loss of the batch, ``()``."""
        # Not ``self.mean(...)``: on small batches a call of a module costs half the loss itself.
        mean = self._modules.get("mean")
        if mean is None:
            return self._average(output, target, self.row_weights(target))
        loss = mean.forward(output, target)
        if isinstance(loss, Tensor) and loss.ndim == 0:
            return loss
        return _tensor(loss).mean()

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of each row, ``(batch,)``, whatever the weight of its class.

        Raises:
            ConfigError: The loss is a function that gives one number for the whole batch.
        """
        loss = _tensor(self.rows(output, target))
        if loss.ndim == 0:
            raise ConfigError(
                "This loss has no value per row.",
                why="it returns one number for the whole batch; weights need one per row",
                mend="return one value per row, or accept reduction='none'",
            )
        return loss if loss.ndim == 1 else loss.flatten(1).mean(1)

    def weighted(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """The mean with these weights of rows, ``(batch,)``, times those of their classes."""
        weights = weights.reshape(-1)
        of_class = self.row_weights(target)
        return self._average(output, target, weights if of_class is None else weights * of_class)

    def row_weights(self, target: Tensor) -> Tensor | None:
        """The weight of each row's class, ``(batch,)``; None if all classes weigh the same."""
        weight = self.class_weight
        if weight is None:
            return None
        if target.is_floating_point():  # binary: 0, 1, or between them for a soft target
            return torch.lerp(weight[0], weight[1], target.to(weight.dtype)).reshape(-1)
        return weight[target]

    def _average(self, output: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        loss = self.per_row(output, target)
        if weights is None:
            return loss.mean()
        # A batch in which no row counts has the loss 0.
        return (loss * weights).sum() / weights.sum().clamp_min(_LEAST)


def _tensor(loss: object) -> Tensor:
    if isinstance(loss, Tensor):
        return loss
    raise ConfigError(
        "The loss gives no tensor.",
        why=f"it returned {shown(loss)}",
        mend="return what torch computed, without .item() or float()",
    )


def masses(objective: Any, batches: Any) -> Tensor | None:
    """The weight of each row times that of its class, ``(rows,)``; None: all weigh the same.

    >>> from mlgraph.data.batch import TensorBatches
    >>> loss = ObjectiveFn(None, nn.CrossEntropyLoss(reduction="none"), torch.tensor([1.0, 3.0]))
    >>> target, weights = torch.tensor([0, 1]), torch.tensor([0.5, 1.0])
    >>> masses(loss, TensorBatches((torch.zeros(2, 1),), target, weights, size=2))
    tensor([0.5000, 3.0000])
    """
    while hasattr(objective, "objective"):  # that of an ensemble, or of several processes
        objective = objective.objective
    of_class = objective.row_weights(batches.target)
    if batches.weights is None:
        mass: Tensor | None = of_class
    else:
        own = batches.weights.reshape(-1)
        mass = own if of_class is None else own * of_class
    return mass


class SmoothBinary(nn.Module):
    """Binary cross-entropy of logits towards smoothed targets, ``y * (1 - s) + s / 2``.

    >>> SmoothBinary(0.2)(torch.tensor([[0.0]]), torch.tensor([[1.0]]))
    tensor(0.6931)
    """

    def __init__(self, label_smoothing: float, reduction: str = "mean") -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.reduction = reduction

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss, ``()`` or as ``output``, by ``reduction``."""
        soft = target * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(output, soft, reduction=self.reduction)


class Call(nn.Module):
    """A function with its options, as a module.

    >>> Call(F.huber_loss, {"delta": 2.0})(torch.zeros(1), torch.ones(1))
    tensor(0.5000)
    """

    def __init__(self, function: Callable[..., Tensor], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.function = function
        self.options = dict(options)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """What the function returns."""
        return self.function(output, target, **self.options)


def kind_of(spec: Goal) -> str:
    """The kind of a task as losses and metrics see it: two classes are a case of their own.

    >>> from mlgraph.data.goal import Goal
    >>> kind_of(Goal("classification", ("a", "b"), "b"))
    'binary'
    """
    if spec.kind != "classification":
        return spec.kind
    return "binary" if len(spec.classes) == 2 else "multiclass"


def class_weights(
    spec: Goal, given: ClassWeight, counts: Sequence[int] | None = None
) -> Tensor | None:
    """The weight of each target code, ``(classes,)``; code 1 of two is the positive class.

    Args:
        spec: The task.
        given: ``"balanced"`` (in inverse proportion to ``counts``), a weight for each class, or one
            number, the weight of the positive of two classes, the other one weighing 1.
        counts: Rows of each class, in the order of ``spec.classes``.

    Raises:
        ConfigError: The weights do not fit the classes.

    >>> from mlgraph.data.goal import Goal
    >>> class_weights(Goal("classification", ("a", "b"), "a"), 3.0)
    tensor([1., 3.])
    """
    if given is None:
        return None
    if not spec.type.weighs_classes or not spec.classes:
        what = "whose loss has no weights of classes" if spec.classes else "without classes"
        raise _wrong(
            f"this is a {spec.kind} task {what}",
            "leave it out, or weigh rows" if spec.classes or spec.targets else "leave it out",
        )
    if isinstance(given, str):
        weights = _balanced(spec, given, counts)
    elif isinstance(given, Mapping):
        weights = _named(spec, given)
    else:
        weights = _positive(spec, given)
    if not all(math.isfinite(w) and w >= 0 for w in weights) or not any(weights):
        raise _wrong(f"{weights} are no weights", "give finite numbers of at least 0, not all 0")
    return torch.tensor(weights, dtype=torch.float32)


def _positive(spec: Goal, given: object) -> list[float]:
    if isinstance(given, bool) or not isinstance(given, Real):
        raise _wrong(f"{given!r} is no weight", "write 'balanced', a dict or a number")
    if len(spec.classes) != 2:
        raise _wrong(
            f"one number is the weight of the positive class, this task has {len(spec.classes)} "
            "classes",
            "give a dict with a weight for each class, or 'balanced'",
        )
    return [1.0, float(given)]


def _named(spec: Goal, given: Mapping[Any, float]) -> list[float]:
    missing = [label for label in spec.classes if label not in given]
    unknown = [label for label in given if label not in spec.classes]
    if missing or unknown:
        parts = [f"no weight for {listing(missing)}"] if missing else []
        parts += [f"no such class as {listing(unknown)}"] if unknown else []
        raise _wrong("; ".join(parts), f"name each of {listing(spec.classes, 20)} once")
    for label, weight in given.items():
        if isinstance(weight, bool) or not isinstance(weight, Real):
            raise _wrong(f"the weight of {label!r} is {weight!r}", "give a number")
    return _by_code(spec, [float(given[label]) for label in spec.classes])


def _balanced(spec: Goal, given: str, counts: Sequence[int] | None) -> list[float]:
    if given != "balanced":
        hint = did_you_mean(given, ["balanced"]) or "write 'balanced', a dict or a number"
        raise _wrong(f"the only word is 'balanced', not {given!r}", hint)
    if counts is None or len(counts) != len(spec.classes):
        raise _wrong("'balanced' needs the number of rows of each class", "pass class_counts")
    # A class without rows takes no part, so its weight changes nothing.
    total, present = sum(counts), sum(count > 0 for count in counts)
    return _by_code(spec, [total / (present * count) if count else 0.0 for count in counts])


def _by_code(spec: Goal, weights: list[float]) -> list[float]:
    flipped = len(spec.classes) == 2 and spec.positive == spec.classes[0]
    return weights[::-1] if flipped else weights


def _wrong(why: str, mend: str) -> ConfigError:
    return ConfigError("class_weight does not fit the task.", why=why, mend=mend)
