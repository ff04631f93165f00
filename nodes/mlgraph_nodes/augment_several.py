"""Augmentation by other nodes: in random order, one of them, or all or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from mlgraph.core.node import Node
from mlgraph.core.param import Token, param
from mlgraph.data.lazy.combine import Combined
from mlgraph.errors import ConfigError
from mlgraph_nodes.trafo_base import STAGES, LazyTransform, buildable
from mlgraph_nodes.trafo_tensor import TrafoCache, TrafoFn, TrafoNop, TrafoTo


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, (Node, Token)) else value


class _Several(LazyTransform):
    """A node that applies other nodes, whose ``columns`` and ``stages`` are its own."""

    made_of: ClassVar[str]
    example = {"transforms": (TrafoFn(fn=torch.tanh), TrafoTo(dtype=torch.float32))}

    stages: str = param(default="fit", choices=STAGES)

    def validate(self) -> None:
        parts = self.arguments()["transforms"]
        if not parts:
            raise self._wrong("it has none", "give it at least one")
        for part in parts:
            self._check(part)
        buildable(self, self.operation(self.arguments(), self.default_id))

    def operation(self, params: Mapping[str, Any], id: str) -> Combined:
        nodes = params["transforms"]
        parts = [
            part.operation(part.arguments(), f"{id}.{place}.{part.default_id}")
            for place, part in enumerate(nodes)
        ]
        rest = {name: value for name, value in params.items() if name != "transforms"}
        return Combined(id, self.made_of, tuple(parts), rest)

    def _check(self, part: Any) -> None:
        if not isinstance(part, LazyTransform) or isinstance(part, (TrafoCache, TrafoNop)):
            raise self._wrong(f"{part!r} is none", "give it nodes trafo_... and augment_...")
        if part.tokens():
            raise self._wrong(f"{part!r} is left to tuning", "give it values")
        if part.columns is not None or "stages" in part.changed():
            raise self._wrong(
                f"{part!r} has columns or stages of its own",
                f"say columns and stages in {self.call_name()}",
            )

    def _wrong(self, why: str, mend: str) -> ConfigError:
        return ConfigError(
            f"{self.call_name()} applies other transforms.",
            where=f"node {self.default_id!r}",
            why=why,
            mend=mend,
        )


class AugmentRandomOrder(_Several):
    """Apply transforms in random order.

    Shape:
        input: what all transforms take.
        output: what comes out of all orders; sizes that depend on the order are unknown.

    Args:
        transforms: Nodes ``trafo_...`` and ``augment_...``.

    >>> import torch
    >>> from mlgraph import po
    >>> nodes = [po("augment_hflip"), po("augment_gaussian_noise")]
    >>> AugmentRandomOrder(transforms=nodes)(torch.zeros(3, 8, 6), seed=1).shape
    torch.Size([3, 8, 6])
    """

    made_of = "RandomOrder"

    transforms: tuple[Any, ...] = param(convert=_listed)


class AugmentRandomChoice(_Several):
    """Apply one of several transforms.

    Shape:
        input: what all transforms take.
        output: what any of them makes; sizes that differ are unknown.

    Args:
        transforms: Nodes ``trafo_...`` and ``augment_...``.
        p: How likely each is, up to a factor; by default all are equally likely.

    >>> import torch
    >>> from mlgraph import po
    >>> nodes = [po("augment_hflip"), po("augment_vflip")]
    >>> AugmentRandomChoice(transforms=nodes, p=[2, 1])(torch.zeros(3, 8, 6), seed=1).shape
    torch.Size([3, 8, 6])
    """

    made_of = "RandomChoice"

    transforms: tuple[Any, ...] = param(convert=_listed)
    p: tuple[float, ...] | None = param(default=None, lower=0)


class AugmentRandomApply(_Several):
    """Apply all of several transforms to some rows, one after the other.

    Shape:
        input: what the first transform takes.
        output: what the last one makes; sizes that it changes are unknown.

    Args:
        transforms: Nodes ``trafo_...`` and ``augment_...``.
        p: How likely a row is changed.

    >>> import torch
    >>> from mlgraph import po
    >>> blur = po("augment_gaussian_blur", kernel_size=3)
    >>> AugmentRandomApply(transforms=blur, p=0.3)(torch.zeros(3, 8, 6), seed=1).shape
    torch.Size([3, 8, 6])
    """

    made_of = "RandomApply"

    transforms: tuple[Any, ...] = param(convert=_listed)
    p: float = param(default=0.5, lower=0, upper=1)
