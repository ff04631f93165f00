"""Transforms of torchvision as operations on lazy tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import attrs
import torch
from torch import Tensor

from mlgraph.core.value import FrozenDict
from mlgraph.data.lazy.operation import Operation
from mlgraph.data.lazy.rules import Rule, rule
from mlgraph.errors import ShapeError
from mlgraph.tensor.spec import TensorSpec


@attrs.frozen(eq=False, slots=False)
class Transform(Operation):
    """A transform of ``torchvision.transforms.v2``, by name.

    Args:
        id: Id of the node.
        name: A class, such as ``"RandomCrop"``, or a function, such as ``"adjust_hue"``.
        params: Its arguments, in any order. Enumerations are given by their values.

    >>> flip = Transform("flip", "horizontal_flip")
    >>> flip(torch.tensor([[[1, 2]]]))
    tensor([[[2, 1]]])
    >>> Transform("crop", "RandomCrop", {"size": (4, 5)}).infer(TensorSpec(("batch", 3, 8, "w")))
    (batch, 3, 4, 5) float32
    """

    id: str
    name: str
    params: FrozenDict = attrs.field(factory=FrozenDict, converter=FrozenDict)

    @property
    def rule(self) -> Rule:
        """What is known of the transform."""
        return rule(self.name)

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether it draws."""
        return self.rule.random

    @property
    def batched(self) -> bool:  # type: ignore[override]
        """Whether it is called with batches."""
        return self.rule.batched

    @property
    def draws(self) -> int:  # type: ignore[override]
        """How many uniform numbers a row takes, for those that can act on a whole batch."""
        return 2 if self.name == "RandomCrop" else int(bool(self.rule.gate))

    def __call__(self, x: Tensor) -> Tensor:
        if self._lacks_channels(x.dim() - self.batched):
            return self.run(x.unsqueeze(-3)).squeeze(-3)
        return self.run(x)

    def draw_batch(self, x: Tensor, uniform: Tensor) -> Tensor:
        if self.name == "RandomCrop":
            if self._lacks_channels(x.dim() - 1):
                return crops(x.unsqueeze(-3), uniform, **self.params).squeeze(-3)
            return crops(x, uniform, **self.params)
        return self._gated(x, uniform[:, 0] < self.params["p"])

    def infer(self, spec: TensorSpec) -> TensorSpec:
        self.rule.check(self.id, spec)
        if self.name == "Normalize":
            self._check_channels(spec)
        if self.rule.colours and isinstance(spec.shape[-3], str):
            found = [self._inferred(_with_channels(spec, size)) for size in (1, 3)]
            return _with_channels(found[0], _one_size(spec, found))
        return self._inferred(spec)

    @cached_property
    def run(self) -> Callable[[Tensor], Tensor]:
        """The transform itself, which is made on first use.

        Raises:
            TypeError, ValueError: It cannot have these arguments.
        """
        from torchvision.transforms import v2

        with torch.device("cpu"):  # also while shapes are found on tensors without data
            arguments = {name: _argument(name, value) for name, value in self.params.items()}
            if not self.name[0].isupper():
                return partial(getattr(v2.functional, self.name), **arguments)
            made: Callable[[Tensor], Tensor] = getattr(v2, self.name)(**arguments)
            return made

    def __reduce__(self) -> tuple[object, ...]:
        # What was made of the parameters stays in this process.
        return type(self), (self.id, self.name, self.params)

    def _inferred(self, spec: TensorSpec) -> TensorSpec:
        if self.rule.gate and self.rule.gate != "rgb_to_grayscale":
            self._ungated().infer(spec)  # a trial may happen to draw that nothing is done
        found = super().infer(self._with_room(spec))
        if self.rule.varies or (self.name == "RandomRotation" and self.params.get("expand")):
            sizes = (f"{self.id}_height", f"{self.id}_width")
            return found.with_shape((*found.shape[:-2], *sizes))
        return found

    def _check_channels(self, spec: TensorSpec) -> None:
        """Refuse to normalise images by numbers of other channels, which would multiply theirs."""
        channels = spec.shape[-3]
        given = {name: len(self.params[name]) for name in ("mean", "std")}
        if isinstance(channels, str) or not set(given.values()) - {1, channels}:
            return
        raise ShapeError(
            f"{self.id} cannot accept {spec}.",
            why=f"mean has {given['mean']} numbers, std has {given['std']}, "
            f"and there are {channels} channels",
            mend="give one number of each for every channel, or one for all",
        )

    def _with_room(self, spec: TensorSpec) -> TensorSpec:
        """Unknown sizes as large as what is cut out; reading refuses what is smaller."""
        if self.name != "RandomCrop":
            return spec
        padding = torch.tensor(self.params.get("padding") or 0).abs().max().item()
        least = [size + int(padding) for size in _pair(self.params["size"])]
        pairs = zip(spec.shape[-2:], least, strict=True)
        known = [room if isinstance(size, str) else size for size, room in pairs]
        return spec.with_shape((*spec.shape[:-2], *known))

    def _gated(self, x: Tensor, chosen: Tensor) -> Tensor:
        places = chosen.nonzero().squeeze(1)
        if not len(places):
            return x
        more = {"num_output_channels": x.shape[-3]} if self.rule.gate == "rgb_to_grayscale" else {}
        done = self._ungated(**more)(x.index_select(0, places))
        return done if len(places) == len(x) else x.index_copy(0, places, done)

    def _ungated(self, **more: Any) -> Transform:
        """What is done to the rows that are chosen."""
        params = {name: value for name, value in self.params.items() if name != "p"}
        return Transform(self.id, self.rule.gate, FrozenDict({**params, **more}))

    def _lacks_channels(self, rank: int) -> bool:
        return self.rule.layout == "image" and rank == 2


def crops(
    x: Tensor,
    uniform: Tensor,
    *,
    size: int | Sequence[int],
    padding: int | Sequence[int] | None = None,
    pad_if_needed: bool = False,
    fill: Any = 0,
    padding_mode: str = "constant",
) -> Tensor:
    """A part of each image, where its two numbers say.

    Args:
        x: Shape ``(batch, ..., height, width)``.
        uniform: Numbers in [0, 1) for top and left, shape ``(batch, 2)``.
        size: Height and width of the parts.
        padding: As in ``RandomCrop``, like the rest.
        pad_if_needed: Whether images that are too small are padded on both sides.
        fill: What they are padded with.
        padding_mode: How they are padded.

    Raises:
        ShapeError: The images are smaller than their parts.

    >>> image = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> crops(image, torch.tensor([[0.6, 0.1]]), size=1).item()
    2.0
    """
    from torchvision.transforms.v2 import functional

    height, width = _pair(size)
    around = _padding(x, (height, width), padding, pad_if_needed)
    if any(around):
        given = _argument("fill", fill)
        x = functional.pad(x, around, fill=given, padding_mode=padding_mode)
    room = torch.tensor([x.shape[-2] - height + 1, x.shape[-1] - width + 1])
    if int(room.min()) < 1:
        raise ShapeError(
            f"A part of {height} x {width} cannot be cut out of {x.shape[-2]} x {x.shape[-1]}.",
            mend="choose a smaller size, or pad_if_needed=True",
        )
    corners = (uniform * room).to(torch.int64).tolist()
    rows = zip(x.unbind(0), corners, strict=True)
    return torch.stack([x[..., t : t + height, left : left + width] for x, (t, left) in rows])


def joined(specs: Sequence[TensorSpec], name: str) -> TensorSpec:
    """What is common to results of which any may come about.

    Args:
        specs: Their specs.
        name: What it is that makes them.

    Raises:
        ShapeError: They differ in rank or dtype.

    >>> joined([TensorSpec(("batch", 3, 8)), TensorSpec(("batch", 3, 9))], "choice")
    (batch, 3, choice_2) float32
    """
    first = specs[0]
    if any(spec.rank != first.rank or spec.dtype != first.dtype for spec in specs):
        raise ShapeError(
            f"The results of {name} would differ in rank or dtype from row to row.",
            why=" or ".join(dict.fromkeys(map(str, specs))),
            mend="choose transforms that agree in this",
        )
    sizes = zip(*(spec.shape for spec in specs), strict=True)
    return first.with_shape(
        [one[0] if len(set(one)) == 1 else f"{name}_{dim}" for dim, one in enumerate(sizes)]
    )


def _with_channels(spec: TensorSpec, size: int | str) -> TensorSpec:
    return spec.with_shape((*spec.shape[:-3], size, *spec.shape[-2:]))


def _one_size(spec: TensorSpec, found: Sequence[TensorSpec]) -> int | str:
    """The number of channels of results for 1 and 3 channels: fixed, or that of the input."""
    sizes = {one.shape[-3] for one in found}
    return sizes.pop() if len(sizes) == 1 else spec.shape[-3]


def _argument(name: str, value: Any) -> Any:
    """A parameter as torchvision takes it."""
    from torchvision.transforms import v2

    if name == "interpolation":
        return v2.InterpolationMode(value)
    if name == "policy":
        return v2.AutoAugmentPolicy(value)
    if name in ("transformation_matrix", "mean_vector"):
        return torch.tensor(value)
    return _listed(value)


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    sizes = [size] if isinstance(size, int) else list(size)
    return sizes[0], sizes[-1]


def _padding(
    x: Tensor, size: tuple[int, int], padding: int | Sequence[int] | None, if_needed: bool
) -> list[int]:
    """Left, top, right and bottom."""
    given = [padding or 0] if isinstance(padding, int | None) else list(padding)
    around = given if len(given) == 4 else [given[0], given[-1]] * 2
    if not if_needed:
        return around
    down = max(0, size[0] - x.shape[-2] - around[1] - around[3])
    across = max(0, size[1] - x.shape[-1] - around[0] - around[2])
    return [around[0] + across, around[1] + down, around[2] + across, around[3] + down]
