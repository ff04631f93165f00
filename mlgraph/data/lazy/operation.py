"""Operations that a column of lazy tensors has pending: values that act on a tensor when asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from mlgraph.core.value import address, canonical, digest
from mlgraph.errors import ConfigError, ShapeError
from mlgraph.tensor.infer import infer_outputs
from mlgraph.tensor.spec import TensorSpec


class Operation(ABC):
    """What is done to the tensor of a row, or to those of several rows at once.

    A subclass is a frozen attrs class (``eq=False, slots=False``); two operations are equal when
    their fingerprints are. The id counts only where something is drawn, so that equal steps of two
    branches are computed once.

    ``id`` is the node's id. ``random`` says whether the operation draws, from torch's stream.
    ``batched`` says that it acts on ``(batch, ...)`` as on each row, and then is always called
    with a batch, be it of one row; otherwise it is called with one row ``(...)``. With ``draws``
    it needs so many uniform numbers per row, and is called through ``draw_batch``. It must not
    change its input in place.

    >>> issubclass(Function, Operation)
    True
    """

    id: str
    random: bool = False
    batched: bool = False
    draws: int = 0

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The result for one row ``(...)``, or if ``batched`` for rows ``(batch, ...)``."""

    def draw_batch(self, x: Tensor, uniform: Tensor) -> Tensor:
        """The result for several rows, drawn with given numbers; only asked if ``draws`` > 0.

        Args:
            x: Shape ``(batch, ...)``.
            uniform: Numbers in [0, 1), shape ``(batch, draws)``, float64.
        """
        raise NotImplementedError(f"{type(self).__name__} has draws, and no draw_batch")

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the class and the fields, of the id only if something is drawn."""
        kind: Any = type(self)
        fields = {
            field.name: getattr(self, field.name)
            for field in attrs.fields(kind)
            if field.name != "id" or self.random
        }
        return digest(address(kind), canonical(fields))

    def infer(self, spec: TensorSpec) -> TensorSpec:
        """The spec of the results, found by running the operation.

        Args:
            spec: That of the input, ``"batch"`` first.

        Raises:
            ShapeError: It cannot be run on such rows, or does not return one result per row.

        >>> half = Function("half", torch.nn.MaxPool2d(2), batched=True)
        >>> half.infer(TensorSpec(("batch", 3, 8, "width")))
        (batch, 3, 4, half_3) float32
        """
        given = spec if self.batched else spec.with_shape(spec.shape[1:])
        key = (address(type(self)), self.fingerprint)
        (found,) = infer_outputs(
            lambda: _Applied(self),
            (given,),
            name=self.id,
            outputs=("output",),
            key=key,
            otherwise="",  # there is no layer that could say it
        )
        if not self.batched:
            return found.with_shape(("batch", *found.shape))
        if found.shape[:1] != ("batch",):
            raise ShapeError(
                f"Operation {self.id!r} does not return one result per row.",
                where=f"node {self.id!r}",
                why=f"it makes {found} of {spec}",
                mend="keep the first dimension, or leave out batched=True",
            )
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operation):
            return NotImplemented
        return type(self) is type(other) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)


@attrs.frozen(eq=False, slots=False)
class Function(Operation):
    """Any function of a tensor.

    Args:
        id: Id of the node.
        fn: The function; must be picklable to be used in other processes.
        random: Whether it draws from torch's stream.
        batched: Whether it takes rows ``(batch, ...)`` and returns one result for each.

    Raises:
        ConfigError: This is no function.

    >>> Function("root", torch.sqrt)(torch.tensor([4.0]))
    tensor([2.])
    """

    id: str
    fn: Callable[[Tensor], Tensor] = attrs.field()
    random: bool = attrs.field(default=False, kw_only=True)
    batched: bool = attrs.field(default=False, kw_only=True)

    @fn.validator
    def _check(self, _: object, value: object) -> None:
        if not callable(value):
            raise ConfigError(f"{value!r} is not a function.", where=f"node {self.id!r}")

    def __call__(self, x: Tensor) -> Tensor:
        return self.fn(x)


@attrs.frozen(eq=False, slots=False)
class Cast(Operation):
    """Another dtype; what does not fit is refused.

    Args:
        id: Id of the node.
        dtype: The dtype.

    Raises:
        DataError: A value is beyond what the dtype can hold.

    >>> Cast("to", torch.float32)(torch.tensor([1, 2]))
    tensor([1., 2.])
    """

    id: str
    dtype: torch.dtype
    batched = True

    @cached_property
    def fingerprint(self) -> str:
        return digest(address(type(self)), str(self.dtype))

    def infer(self, spec: TensorSpec) -> TensorSpec:
        return TensorSpec(spec.shape, self.dtype)

    def __call__(self, x: Tensor) -> Tensor:
        from mlgraph.data.lazy.cast import cast

        return cast(x, self.dtype)


class _Applied(nn.Module):
    """An operation as a module, so that its output can be found like that of a layer."""

    def __init__(self, operation: Operation) -> None:
        super().__init__()
        self._operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self._operation(x)
