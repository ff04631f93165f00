"""What nodes have in common that append an operation to columns of tensors.

Nothing is read when such a node is fitted or applied: a column gets one more pending operation,
and its shape is known at once. ``trafo_*`` act in both phases unless told otherwise, ``augment_*``
while fitting only; outside its stages a node appends nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mlgraph.core.base import Context
from mlgraph.core.entry import run_seed
from mlgraph.core.param import param
from mlgraph.core.value import FrozenDict
from mlgraph.data.chosen import ColumnsNode
from mlgraph.data.lazy.column import LazyTensor, as_lazy
from mlgraph.data.lazy.draws import Draw
from mlgraph.data.lazy.operation import Operation
from mlgraph.data.lazy.reader import Reader
from mlgraph.data.lazy.source import ArraySource
from mlgraph.data.lazy.transform import Transform
from mlgraph.data.task import Task
from mlgraph.data.transform import layout_of, restored
from mlgraph.errors import ConfigError, MLGraphError

STAGES = ("fit", "apply", "both")
# Parameters that torchvision calls like a method of every node.
THEIR_NAMES = {"enlarge": "expand"}


class LazyTransform(ColumnsNode):
    """A node that appends an operation to columns of tensors.

    Columns of tensors in memory become lazy ones over the same memory. A node can also be called
    like a function, with a tensor.

    Class attributes:
        example: Parameters with which the node works on images of three channels.

    Args:
        columns: The columns to work on, by default all columns of tensors.
        stages: ``"fit"``, ``"apply"`` or ``"both"``: when the operation is appended.

    >>> import torch
    >>> class Half(LazyTransform):
    ...     def operation(self, params, id):
    ...         from mlgraph.data.lazy.operation import Function
    ...         return Function(id, lambda x: x / 2)
    >>> Half()(torch.tensor([4.0]))
    tensor([2.])
    """

    accepts = frozenset({"tensor"})
    example: ClassVar[Mapping[str, Any]] = {}

    stages: str = param(default="both", choices=STAGES)

    @abstractmethod
    def operation(self, params: Mapping[str, Any], id: str) -> Operation:
        """The operation, from the parameters that were in force in the fit."""

    def appended(self, tensor: LazyTensor, params: Mapping[str, Any], id: str) -> LazyTensor:
        """The column with the operation pending.

        Raises:
            ShapeError: The operation cannot be run on such tensors.
        """
        return tensor.append(self.operation(params, id))

    def arguments(self) -> dict[str, Any]:
        """The parameters, but for the choice of columns and stages."""
        return {k: v for k, v in self.parameters().items() if k not in ("columns", "stages")}

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        task = inputs["input"]
        state = {
            "layout": layout_of(task),
            "columns": self.affected(task),
            "params": self.arguments(),
        }
        return (self._passed(state, task, ctx.id, "fit"),), state

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        task = restored(inputs["input"], state["layout"])
        return (self._passed(state, task, ctx.id, "apply"),)

    def apply_training(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        task = restored(inputs["input"], state["layout"])
        return (self._passed(state, task, ctx.id, "fit"),)

    def __call__(self, x: Any, *, seed: int | None = None, batched: bool | None = None) -> Any:
        """The operation on a tensor, or appended to a lazy one.

        Args:
            x: One row, several rows, or a ``LazyTensor``.
            seed: What random operations draw from; every row draws for itself.
            batched: Whether there are several rows; by default if there are more than 3
                dimensions.

        Returns:
            A tensor; a list where rows have come out with different shapes.

        Raises:
            ShapeError: The operation cannot be run on such tensors.
        """
        params, id = self.arguments(), self.default_id
        if isinstance(x, LazyTensor):
            return self.appended(x, params, id)
        many = x.dim() > 3 if batched is None else batched
        rows = x if many else x[None]
        column = self.appended(LazyTensor.over(ArraySource(rows, copy=False, token="")), params, id)
        places = np.arange(len(rows))
        found = Reader({"x": column}, places).read(places, Draw(run_seed(seed))).tensors["x"]
        return found if many else found[0]

    def _passed(self, state: Mapping[str, Any], task: Task, id: str, phase: str) -> Task:
        acts = self.stages in (phase, "both")
        made = {}
        for name in state["columns"]:
            try:
                tensor = as_lazy(task.columns[name])
                made[name] = self.appended(tensor, state["params"], id) if acts else tensor
            except MLGraphError as error:
                raise error.at(f"column {name!r}") from error.__cause__
        return task.replace(made, task.features) if made else task


class VisionTransform(LazyTransform):
    """A node for a transform of torchvision.

    Class attributes:
        made_of: Name of the class in ``torchvision.transforms.v2``, or of the function in its
            ``functional``.

    >>> import torch
    >>> class TrafoMirror(VisionTransform):
    ...     made_of = "horizontal_flip"
    >>> TrafoMirror()(torch.tensor([[[1, 2]]]))
    tensor([[[2, 1]]])
    """

    @property
    @abstractmethod
    def made_of(self) -> str:
        """A name, which a subclass states."""

    def operation(self, params: Mapping[str, Any], id: str) -> Transform:
        named = {THEIR_NAMES.get(name, name): value for name, value in params.items()}
        return Transform(id, self.made_of, FrozenDict(named))

    def validate(self) -> None:
        if self.made_of[:1].isupper():
            buildable(self, self.operation(self.arguments(), self.default_id))


class VisionAugment(VisionTransform):
    """A node for a transform of torchvision that acts while fitting, unless told otherwise.

    >>> class AugmentMirror(VisionAugment):
    ...     made_of = "horizontal_flip"
    >>> AugmentMirror().stages
    'fit'
    """

    stages: str = param(default="fit", choices=STAGES)


def buildable(node: LazyTransform, operation: Any) -> None:
    """Refuse parameters that torchvision refuses.

    Args:
        node: Whose parameters they are.
        operation: What it would append.

    Raises:
        ConfigError: They do not go together.

    >>> from mlgraph_nodes.trafo import TrafoResize
    >>> TrafoResize(size=(4, 5, 6))
    Traceback (most recent call last):
    ...
    mlgraph.errors.ConfigError: po("trafo_resize") cannot take these parameters. ...
    """
    try:
        _ = operation.run
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{node.call_name()} cannot take these parameters.",
            where=f"node {node.default_id!r}",
            why=str(error),
            mend="see torchvision.transforms.v2 for what goes together",
        ) from error
