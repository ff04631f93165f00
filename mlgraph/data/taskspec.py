"""TaskSpec: what a network needs to know of a task, and no rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mlgraph.core.value import FrozenDict
from mlgraph.data.goal import Goal
from mlgraph.data.task import Task


@attrs.frozen
class TaskSpec(Goal):
    """Kind, classes, targets and columns of a task.

    Args:
        kind: The kind of task, or its key.
        classes: The classes in order; empty unless classifying.
        positive: The positive one of two classes.
        targets: Names of the targets.
        columns: The columns that enter the network, by ingress id.
        cardinalities: The number of levels of each column, by id of a categorical ingress.

    >>> TaskSpec("classification", ("a", "b", "c")).output_size
    3
    """

    columns: Mapping[str, Any] = attrs.field(factory=FrozenDict, converter=FrozenDict)
    cardinalities: Mapping[str, Any] = attrs.field(factory=FrozenDict, converter=FrozenDict)

    @classmethod
    def of(cls, task: Task) -> TaskSpec:
        """What is to be learned from a task; columns are known to the ingresses only."""
        goal = task.goal
        return cls(goal.type, goal.classes, goal.positive, goal.targets)
