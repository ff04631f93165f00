"""Losses as values: described now, built when the task is there."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import attrs
import torch
from torch import Tensor, nn

from mlgraph.data.kind import Goal
from mlgraph.errors import ConfigError
from mlgraph.tensor.stream import forked
from mlgraph.train import known
from mlgraph.train.described import Description
from mlgraph.train.lossfn import (
    Call,
    ClassWeight,
    ObjectiveFn,
    SmoothBinary,
    class_weights,
    kind_of,
)


@attrs.frozen(eq=False, repr=False)
class Loss(Description):
    """A loss and its options.

    Made with ``Loss.of``. The name ``cross_entropy`` means what the task needs: of logits of all
    classes, or of the one logit of the positive class.

    Differs from torch: ``reduction`` is not an option, the training averages; ``weight`` and
    ``ignore_index`` of ``cross_entropy`` are weights of classes, so that they mean the same
    with weights of rows and with label smoothing.

    >>> Loss.of("huber", {"delta": 2.0})
    huber(delta=2.0)
    """

    what: ClassVar[str] = "loss"
    hidden: ClassVar[frozenset[str]] = frozenset({"reduction", "size_average", "reduce"})
    positional: ClassVar[int] = 2

    @classmethod
    def of(
        cls,
        loss: str | type[nn.Module] | Callable[..., Any] | Loss,
        options: Mapping[str, Any] | None = None,
    ) -> Loss:
        """Describe a loss.

        Args:
            loss: A name (``"mse"``, ``"CrossEntropyLoss"``), a class of modules, or a function of
                output, target and options, which returns one value per row or their mean.
            options: Arguments of the class, or of the function.

        Raises:
            UnknownKeyError: No loss has this name.
            UnknownParameterError: The loss has no such option.
            ConfigError: The options have impossible values.

        >>> Loss.of("mse_loss") == Loss.of(nn.MSELoss)
        True
        """
        if isinstance(loss, Loss):
            return loss if not options else cls.of(loss.cls, {**loss.options, **options})
        described = cls.calling(known.loss(loss), options)
        if not described.is_open:
            described._try()
        return described

    @classmethod
    def known(cls) -> Mapping[str, type[nn.Module]]:
        """The loss classes of ``torch.nn`` by their names."""
        return known.losses()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all losses.

        >>> "bce_with_logits" in Loss.names()
        True
        """
        return tuple(known.losses())

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of task it is for: some of ``binary``, ``multiclass`` and ``regression``."""
        if self.native and self.name in known.UNFIT:
            return frozenset()
        return known.KINDS.get(self.name, known.ALL_KINDS) if self.native else known.ALL_KINDS

    def check(self, spec: Goal) -> None:
        """Raise unless this loss is for tasks of this kind.

        Raises:
            ConfigError: It is for another kind, or for none.

        >>> from mlgraph.data.goal import Goal
        >>> Loss.of("mse").check(Goal("regression"))
        """
        kind = kind_of(spec)
        if not self._fits(kind, spec):
            target = spec.type.arity != "none"
            raise ConfigError(
                f"{self.name!r} is the wrong loss for the task.",
                why=self._unfit(kind),
                mend=f"use {default_loss(spec).name!r}" if target else "give the task a target",
            )
        if self.native and self.name in known.BY_CLASS and kind in known.ALL_KINDS:
            self._own_weights(spec, None)

    def _fits(self, kind: str, spec: Goal) -> bool:
        if kind in known.ALL_KINDS or kind == "unsupervised":
            return kind in self.kinds
        allowed = spec.type.losses
        if not self.native or allowed is None:
            return True
        return self.name in (*allowed, default_loss(spec).name)

    def _unfit(self, kind: str) -> str:
        fits = " and ".join(sorted(self.kinds))
        if fits or kind not in known.ALL_KINDS:
            return f"the task is {kind}, the loss is for {fits or 'other targets'}"
        return known.UNFIT[self.name]

    def build(
        self,
        spec: Goal,
        class_weight: ClassWeight = None,
        class_counts: Sequence[int] | None = None,
    ) -> ObjectiveFn:
        """The loss at work on this task.

        Args:
            spec: The task.
            class_weight: ``"balanced"``, a weight for each class, or the positive one's.
            class_counts: Rows of each class, in the order of the task's classes.

        Raises:
            ConfigError: The loss or the weights do not fit the task.

        >>> from mlgraph.data.goal import Goal
        >>> loss = Loss.of("cross_entropy").build(Goal("classification", ("a", "b"), "b"))
        >>> loss(torch.tensor([[0.0]]), torch.tensor([[1.0]]))
        tensor(0.6931)
        """
        self.closed().check(spec)
        weight = class_weights(spec, class_weight, class_counts)
        if self.native and self.name in known.BY_CLASS and kind_of(spec) in known.ALL_KINDS:
            return self._classifying(spec, weight)
        rows = self._module("none")
        if weight is not None:
            return ObjectiveFn(None, rows, weight)
        # Without ``reduction`` one module does both; two could start from different weights.
        return ObjectiveFn(self._module("mean") if self.takes("reduction") else rows, rows)

    def _classifying(self, spec: Goal, weight: Tensor | None) -> ObjectiveFn:
        weight = self._own_weights(spec, weight)
        plain = {k: v for k, v in self.options.items() if k not in ("weight", "ignore_index")}
        smooth = plain.get("label_smoothing", 0.0)
        if kind_of(spec) == "binary":
            make: Callable[..., nn.Module] = functools.partial(SmoothBinary, smooth)
            make = make if smooth else nn.BCEWithLogitsLoss
        else:
            make = functools.partial(self.cls, **plain)
        rows = make(reduction="none")
        if weight is None:
            return ObjectiveFn(make(), rows)
        # With smoothing, torch weighs each class's share of the target instead of the row.
        # And of a batch in which all classes weigh 0 it says NaN.
        fused = kind_of(spec) == "multiclass" and not smooth and bool(weight.all())
        return ObjectiveFn(make(weight=weight) if fused else None, rows, weight)

    def _own_weights(self, spec: Goal, weight: Tensor | None) -> Tensor | None:
        """The weights of the classes, with the options ``weight`` and ``ignore_index``."""
        own, ignored = self.options.get("weight"), self.options.get("ignore_index", -100)
        if own is None and ignored < 0:
            return weight
        n_classes = len(spec.classes)
        if n_classes == 2 or (own is not None and (weight is not None or len(own) != n_classes)):
            n_weights = n_classes if own is None else len(own)
            raise ConfigError(
                f"The options of loss {self.name!r} do not fit the task.",
                where=repr(self),
                why=f"'weight' has {n_weights} numbers, and the task {n_classes} classes"
                if n_classes > 2 and n_weights != n_classes
                else f"'weight' and 'ignore_index' go by code of more than two classes, "
                f"the task has {n_classes}" + (", and class_weight" if weight is not None else ""),
                mend="use class_weight instead",
            )
        if own is not None:
            weight = torch.tensor(own, dtype=torch.float32)
        weight = torch.ones(n_classes) if weight is None else weight.clone()
        if 0 <= ignored < n_classes:
            weight[ignored] = 0.0
        return weight

    def _module(self, reduction: str) -> nn.Module:
        options = {
            name: torch.tensor(value, dtype=torch.float32)
            if self.native and name in ("weight", "pos_weight") and value is not None
            else value
            for name, value in self.options.items()
        }
        if self.takes("reduction"):
            options["reduction"] = reduction
        if not isinstance(self.cls, type):
            return Call(self.cls, options)
        module: nn.Module = self.cls(**options)
        return module

    def _try(self) -> None:
        """Make the loss and, if it is torch's, call it: torch checks most options only then."""
        if (
            self.options.get("weight") is not None
            and self.native
            and self.name in known.PER_ELEMENT
        ):
            raise ConfigError(
                f"Option 'weight' of loss {self.name!r} cannot be set.",
                why="it weighs the places of a batch, which hold other rows each time",
                mend="use class_weight, or give the task a weight column",
            )
        try:
            with forked():
                module = self._module("none")
                if self.native and self.kinds:
                    module(*self._sample())
        except Exception as error:
            raise self.refusal(error) from error

    def _sample(self) -> tuple[Tensor, Tensor]:
        if "multiclass" not in self.kinds:
            return torch.zeros(2, 1), torch.ones(2, 1)
        weight = self.options.get("weight")
        n_classes = 3 if weight is None else len(weight)
        return torch.zeros(2, n_classes), torch.zeros(2, dtype=torch.int64)


def default_loss(spec: Goal) -> Loss:
    """The loss of a task when none is chosen, as its kind says.

    >>> from mlgraph.data.goal import Goal
    >>> default_loss(Goal("regression"))
    mse()
    """
    return Loss.of(spec.type.loss(), spec.type.loss_options())
