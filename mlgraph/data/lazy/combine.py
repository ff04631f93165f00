"""Operations made of others: in random order, one of them, or all or none; and reshaping."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import attrs
from torch import Tensor

from mlgraph.core.value import FrozenDict
from mlgraph.data.lazy.operation import Operation
from mlgraph.data.lazy.transform import joined
from mlgraph.errors import ShapeError
from mlgraph.tensor.spec import TensorSpec

# So many operations have 120 orders; more would have to be tried one by one.
MAX_ORDERED = 5


@attrs.frozen(eq=False, slots=False)
class Combined(Operation):
    """Several operations under torchvision's ``RandomOrder``, ``RandomChoice``, ``RandomApply``.

    Args:
        id: Id of the node.
        name: Name of the class.
        parts: The operations.
        params: Its other arguments.

    >>> from mlgraph.data.lazy.transform import Transform
    >>> parts = [Transform("pad", "Pad", {"padding": size}) for size in (1, 2)]
    >>> Combined("choice", "RandomChoice", parts).infer(TensorSpec(("batch", 3, 8, 8)))
    (batch, 3, choice_2, choice_3) float32
    """

    id: str
    name: str
    parts: tuple[Operation, ...] = attrs.field(converter=tuple)
    params: FrozenDict = attrs.field(factory=FrozenDict, converter=FrozenDict)
    random = True

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(x)

    @cached_property
    def run(self) -> Callable[[Tensor], Tensor]:
        """The transform of torchvision, which is made on first use.

        Raises:
            TypeError, ValueError: It cannot have these arguments.
        """
        from torchvision.transforms import v2

        steps = [_OfRow(part) for part in self.parts]
        made: Callable[[Tensor], Tensor] = getattr(v2, self.name)(steps, **_plain(self.params))
        return made

    def infer(self, spec: TensorSpec) -> TensorSpec:
        if self.name == "RandomApply":
            return joined([spec, _after(self.parts, spec)], self.id)
        alone = [part.infer(spec) for part in self.parts]
        if self.name == "RandomChoice" or all(found == spec for found in alone):
            return joined(alone, self.id)
        if len(self.parts) > MAX_ORDERED:
            raise ShapeError(
                f"The results of {self.id} cannot be foreseen.",
                why=f"{len(self.parts)} transforms, some of which change shapes, have many orders",
                mend=f"take {MAX_ORDERED} at most, or put those that change shapes behind",
            )
        orders = itertools.permutations(self.parts)
        return joined([_after(order, spec) for order in orders], self.id)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.id, self.name, self.parts, self.params)


@attrs.frozen(eq=False, slots=False)
class Reshape(Operation):
    """Another shape of every row; one size may be -1, which is then found.

    Args:
        id: Id of the node.
        shape: The sizes of a row.

    >>> import torch
    >>> Reshape("flat", (-1,))(torch.zeros(5, 3, 4)).shape
    torch.Size([5, 12])
    """

    id: str
    shape: tuple[int, ...] = attrs.field(converter=tuple)
    batched = True

    def __call__(self, x: Tensor) -> Tensor:
        # -1 is found here, since torch does not find it where there are no rows.
        known = math.prod(size for size in self.shape if size >= 0)
        missing = math.prod(x.shape[1:]) // max(known, 1)
        return x.reshape(x.shape[0], *(missing if size < 0 else size for size in self.shape))


@attrs.frozen
class _OfRow:
    """An operation as a function of a single row."""

    operation: Operation

    def __call__(self, x: Tensor) -> Tensor:
        if self.operation.batched:
            return self.operation(x.unsqueeze(0)).squeeze(0)
        return self.operation(x)


def _after(parts: Sequence[Operation], spec: TensorSpec) -> TensorSpec:
    for part in parts:
        spec = part.infer(spec)
    return spec


def _plain(params: FrozenDict) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in params.items()}
