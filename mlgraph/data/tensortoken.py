"""The ingress of a column of tensors, which may be lazy."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.make import materialize
from mlgraph.data.lazy.operation import Operation
from mlgraph.data.task import Task
from mlgraph.data.token import IngressToken
from mlgraph.errors import DataError, ShapeError
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen
class TensorToken(IngressToken):
    """A column of tensors, shape ``(batch, *sizes)``, read batch by batch.

    Args:
        given: The spec of a batch.

    >>> token = TensorToken("image", ("x",), TensorSpec(("batch", 2)))
    >>> token.tensor(Task({"x": torch.ones(3, 2)})).shape
    torch.Size([3, 2])
    """

    given: TensorSpec

    @property
    def spec(self) -> TensorSpec:
        return self.given

    def lazy(self, task: Task) -> LazyTensor:
        """The column, in the dtype of the ingress.

        Raises:
            ShapeError: Its tensors cannot have the promised shape.
        """
        column = task.lazy(self.columns[0])
        _refuse_other_shape(self, column.spec)
        sizes = self.given.shape[1:]
        known = zip(sizes, column.shape[1:], strict=True)
        if any(isinstance(mine, int) and isinstance(its, str) for mine, its in known):
            column = column.append(Promised(self.id, sizes))
        return column.to(self.given.dtype)

    def tensor(self, task: Task) -> Tensor:
        stacked: Tensor = materialize(self.lazy(task), stacked=True)
        return stacked


@attrs.frozen(eq=False, slots=False)
class Promised(Operation):
    """Nothing is done to rows, but those of other sizes are refused.

    Args:
        id: Id of the ingress.
        sizes: Sizes of a row; a name for one that may be any.

    Raises:
        DataError: A row has other sizes.

    >>> Promised("image", (2,))(torch.ones(3, 2)).shape
    torch.Size([3, 2])
    """

    id: str
    sizes: tuple[int | str, ...]
    batched = True

    def infer(self, spec: TensorSpec) -> TensorSpec:
        return TensorSpec(("batch", *self.sizes), spec.dtype)

    def __call__(self, x: Tensor) -> Tensor:
        if any(
            isinstance(size, int) and size != found
            for size, found in zip(self.sizes, x.shape[1:], strict=True)
        ):
            raise DataError(
                f"A row has the shape {tuple(x.shape[1:])}, and the network takes {self.sizes}.",
                where=f"node {self.id!r}",
                mend='po("trafo_resize", size=...) makes images equal',
            )
        return x


def entering_spec(
    spec: TensorSpec, shape: tuple[int | None, ...] | None, dtype: torch.dtype | None
) -> TensorSpec:
    """The spec of a batch as it enters a network.

    Args:
        spec: The spec of the column.
        shape: Sizes of a row as far as the user gives them.
        dtype: The dtype the user gives; by default floats become float32, and others stay.

    Raises:
        ShapeError: The column cannot have that shape.

    >>> entering_spec(TensorSpec(("batch", 3, "h", "w"), torch.float64), (3, 32, None), None)
    (batch, 3, 32, w) float32
    """
    sizes = spec.shape[1:]
    given = sizes if shape is None else shape
    fits = len(given) == len(sizes) and all(
        new is None or isinstance(old, str) or new == old
        for new, old in zip(given, sizes, strict=False)
    )
    if not fits:
        raise ShapeError(
            f"The rows cannot have the shape {tuple(given)}.",
            why=f"they are {spec}",
            mend="leave shape out, or resize before",
        )
    found = ["batch", *(o if n is None else n for n, o in zip(given, sizes, strict=True))]
    kept = torch.float32 if spec.dtype.is_floating_point else spec.dtype
    return TensorSpec(found, dtype or kept, cardinalities=spec.cardinalities)


def _refuse_other_shape(token: TensorToken, spec: TensorSpec) -> None:
    sizes, known = spec.shape[1:], token.given.shape[1:]
    same = len(sizes) == len(known) and all(
        isinstance(a, str) or isinstance(b, str) or a == b
        for a, b in zip(sizes, known, strict=True)
    )
    if not same:
        raise ShapeError(
            f"Column {token.columns[0]!r} has another shape than in training.",
            where=f"node {token.id!r}",
            why=f"it was {token.given} and is {spec}",
            mend='give operations that change the shape stages="both"',
        )
