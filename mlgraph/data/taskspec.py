"""TaskSpec: what a network needs to know of a task, and no rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mlgraph.core.value import FrozenDict
from mlgraph.data.goal import Label
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError


@attrs.frozen
class TaskSpec:
    """Kind, classes and columns of a task.

    Args:
        kind: ``"classification"``, ``"regression"`` or ``"unsupervised"``.
        classes: The classes in order; empty unless classifying.
        positive: The positive one of two classes.
        columns: The columns that enter the network, by ingress id.
        cardinalities: The number of levels of each column, by id of a categorical ingress.

    >>> TaskSpec("classification", ("a", "b", "c")).output_size
    3
    """

    kind: str
    classes: tuple[Label, ...] = ()
    positive: Label | None = None
    columns: Mapping[str, Any] = attrs.field(factory=FrozenDict, converter=FrozenDict)
    cardinalities: Mapping[str, Any] = attrs.field(factory=FrozenDict, converter=FrozenDict)

    @classmethod
    def of(cls, task: Task) -> TaskSpec:
        """What is to be learned from a task; columns are known to the ingresses only."""
        return cls(task.kind, task.classes, task.positive)

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes, and so one logit."""
        return len(self.classes) == 2

    @property
    def output_size(self) -> int:
        """Numbers a network has to put out per row: one logit for two classes, one quantity.

        Raises:
            ConfigError: The task has no target.
        """
        if self.kind == "unsupervised":
            raise ConfigError(
                "A task without a target has no output size.",
                mend='make the task with Task(data, target="...")',
            )
        return len(self.classes) if len(self.classes) > 2 else 1

    @property
    def positive_code(self) -> int:
        """The place in ``classes`` of the positive class."""
        return self.classes.index(self.positive) if self.positive in self.classes else 1
