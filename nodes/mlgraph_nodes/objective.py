"""What a network is trained with: its loss and its optimizer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import attrs

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.data.feed import Feed
from mlgraph.data.selector import All
from mlgraph.errors import GraphError
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.train.described import Description
from mlgraph.train.groups import UNDECAYED, rows_of
from mlgraph.train.objective import Loss
from mlgraph.train.optimizer import Optimizer


class _Configuration(Node):
    """Sets one field of the description that passes through."""

    inputs = (Port("input", fit=ModelDescriptor, apply=Feed),)
    outputs = (Port("output", fit=ModelDescriptor, apply=Feed),)
    open_field: ClassVar[str | None] = "options"
    sets: ClassVar[str]

    @abstractmethod
    def description(self) -> Description:
        """What is set."""

    def validate(self) -> None:
        self.description()

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        descriptor = inputs["input"]
        if getattr(descriptor, self.sets) is not None:
            raise GraphError(
                f"The network has {getattr(descriptor, self.sets)!r} as its {self.sets} already.",
                why=f"{self.key} sets the {self.sets}, and it can be set once",
                mend="leave one of the two nodes out",
            )
        return (attrs.evolve(descriptor, **{self.sets: self.description()}),), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (inputs["input"],)


class TorchLoss(_Configuration):
    """Set the loss; its options are parameters of this node.

    Args:
        loss: A loss of ``torch.nn`` by name or class, or a function of output and target.

    Raises:
        UnknownKeyError: No loss has this name.
        UnknownParameterError: The loss has no such option.

    >>> from mlgraph import po
    >>> po("torch_loss", "cross_entropy", label_smoothing=0.1)
    po("torch_loss", loss='cross_entropy', label_smoothing=0.1)
    """

    sets = "loss"

    loss: Any = param()
    options: Mapping[str, Any] = param(default={})

    def description(self) -> Description:
        return Loss.of(self.loss, self.options)


class TorchOptimizer(_Configuration):
    """Set the optimizer; its options are parameters of this node.

    Groups of weights have options of their own: ``groups=[{"weights": sel.match("^vision"),
    "lr_factor": 0.1}]``, or ``{sel.match("^vision"): {"lr_factor": 0.1}}``. Beside options, a
    group takes ``lr_factor``, which multiplies the learning rate, and ``layer_decay``. What
    several groups say of a weight holds together; where they contradict each other is an error.
    Schedules keep the ratios of the rates.

    Args:
        optimizer: An optimizer of ``torch.optim`` by name or class, or a function of parameters.
        groups: Options for some of the weights; all others have those of the node.
        selective_decay: Spare biases, normalisations, embeddings and other vectors the decay.
        layer_decay: Multiply the learning rate by this once for each layer between a weight and
            the output: the first layers learn least.

    Raises:
        UnknownKeyError: No optimizer has this name.
        UnknownParameterError: The optimizer has no such option, also in a group.
        ConfigError: A group is none, or has impossible values.

    >>> from mlgraph import po, sel
    >>> po("torch_optimizer", "sgd", lr=0.1)
    po("torch_optimizer", optimizer='sgd', lr=0.1)
    >>> slow = po("torch_optimizer", groups={sel.match("^vision"): {"lr_factor": 0.1}})
    >>> slow.parameters()["groups"]
    ({'weights': sel.match('^vision'), 'lr_factor': 0.1},)
    """

    sets = "optimizer"

    optimizer: Any = param(default="adamw")
    options: Mapping[str, Any] = param(default={})
    groups: tuple[Any, ...] = param(default=(), convert=rows_of)
    selective_decay: bool = False
    layer_decay: float | None = param(default=None, lower=0, upper=1)

    def description(self) -> Description:
        return Optimizer.of(self.optimizer, self.options, [*self._ready(), *self.groups])

    def _ready(self) -> Iterator[dict[str, Any]]:
        """The groups that a single parameter stands for."""
        if self.selective_decay:
            yield {"weights": UNDECAYED, "weight_decay": 0.0}
        if self.layer_decay is not None:
            yield {"weights": All(), "layer_decay": self.layer_decay}
