"""Image classifiers of torchvision as layers, and the normalisation of their inputs."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from mlgraph.core.param import param
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ConfigError, MLGraphError, ShapeError, did_you_mean, listing
from mlgraph.net.layer import Layer, Start
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.demands import need_floats, need_rank, need_singles
from mlgraph_nodes.vision_models import (
    FILES,
    image_size,
    is_file,
    load,
    made,
    models,
    pretrained,
    published,
    smallest,
)

LAYOUT = "(batch, channels, height, width)"


def _unknown(value: str) -> str | None:
    """What is expected of the name of a model that does not exist."""
    if value in models():
        return None
    hint = did_you_mean(value.lower(), models())
    return f"a classifier of torchvision, such as 'resnet18' or 'vit_b_16'. {hint}".rstrip()


def _named(value: Any) -> Any:
    """A path, or torchvision's own entry for weights, as text."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _positive(value: Any) -> bool:
    """Whether a number is positive, or is a place left to tuning."""
    return not isinstance(value, float) or value > 0


class Vision(Layer):
    """An image classifier of torchvision, with as many outputs as the task needs.

    Shape:
        input: ``(batch, 3, height, width)``. Some models take images of one size only (ViT and
            MaxViT), others have a smallest size.
        output: ``(batch, out_features)``.

    Args:
        name: Name of the model, any of ``torchvision.models.list_models(torchvision.models)``.
        weights: None to start from random weights; ``"DEFAULT"``, ``"IMAGENET1K_V1"``, ... for
            those that torchvision offers, which it downloads when training begins; or the path
            to a state dict (``.pt``, ``.pth``, ``.bin``, ``.safetensors``). A file called like
            one of torchvision's is taken for it. Images have to be as `preprocessing` makes them.
        out_features: Number of outputs; None means the output size of the task.

    Differs from torch: the head is always new, also with pretrained weights. There are no
    auxiliary heads. SqueezeNet has no ReLU behind its last convolution, since a logit or a
    quantity may be negative.

    Raises:
        ConfigError: There is no such model, or it has no such weights.
        DataError: The file of the weights is not there, or cannot be downloaded.
        StateError: The file holds no weights, or those of another model.

    >>> images = TensorSpec(("batch", 3, "height", "width"))
    >>> Vision(name="resnet18", out_features=5).infer(images)
    ((batch, 5) float32,)
    """

    name: str = param(check=_unknown)
    weights: str | None = param(default=None, convert=_named)
    out_features: int | None = param(default=None, lower=1)

    @classmethod
    def examples(cls) -> Iterable[tuple[Layer, tuple[TensorSpec, ...]]]:
        return [(cls(name="squeezenet1_1"), (TensorSpec((2, 3, 17, 20)),))]

    def validate(self) -> None:
        weights = self.weights
        if weights is None or is_file(weights) or published(self.name, weights) is not None:
            return
        known = pretrained(self.name)
        hint = did_you_mean(weights, known)
        raise ConfigError(
            f"{self.call_name()} knows no weights {weights!r} of {self.name}.",
            where=f"node {self.default_id!r}",
            why=f"torchvision offers {listing(known)}",
            mend=hint or f"choose one of them, or a file of type {listing(FILES)}",
        )

    def build(self, x: TensorSpec, *, task: TaskSpec) -> nn.Module:
        _need_images(x)
        self._need_size(x)
        size = task.output_size if self.out_features is None else self.out_features
        return made(self.name, size, self.weights)

    def initialize(self, module: nn.Module, ctx: Start) -> None:
        if self.weights is None:
            return
        try:
            load(module, self.name, self.weights)
        except MLGraphError as error:
            raise error.at(f"node {self.default_id!r}") from error.__cause__

    def infer(
        self, *specs: TensorSpec, task: TaskSpec | None = None, name: str | None = None
    ) -> tuple[TensorSpec, ...]:
        try:
            return super().infer(*map(self._supposed, specs), task=task, name=name)
        except ShapeError as error:
            least = self._least(specs)
            if least is None:
                raise
            raise _too_small(error, self.name, least) from error

    def _supposed(self, x: TensorSpec) -> TensorSpec:
        """An unknown size becomes the only one there is, which would hardly be tried by chance."""
        only = image_size(self.name, self.weights)
        if only is None or x.rank != 4:
            return x
        known = [only if isinstance(size, str) else size for size in x.shape[2:]]
        return x.with_shape((*x.shape[:2], *known))

    def _need_size(self, x: TensorSpec) -> None:
        only = image_size(self.name, self.weights)
        if only is None or all(size == only or isinstance(size, str) for size in x.shape[2:]):
            return
        raise ShapeError(
            f"{self.name} takes images of {only} x {only} only.",
            why="it has a weight for each position",
            mend=f'resize them with nn("upsample", size={only}), or choose another model',
        )

    def _least(self, specs: tuple[TensorSpec, ...]) -> int | None:
        """The smallest size of images, if these are smaller."""
        known = [size for x in specs for size in x.shape[2:] if isinstance(size, int)]
        images = all(x.rank == 4 and x.dim(1) == 3 for x in specs)
        if not images or not known or image_size(self.name, self.weights):
            return None
        least = smallest(self.name)
        return least if min(known) < least else None


class Normalize(Layer):
    """Subtract a mean from each channel of images, and divide by a standard deviation.

    Shape:
        input, output: ``(batch, channels, height, width)``.

    Args:
        mean: One number per channel, or one for all.
        std: Likewise, positive.

    >>> grey = Normalize(mean=[0.5], std=[0.25])
    >>> grey.infer(TensorSpec(("batch", 1, 28, 28)))
    ((batch, 1, 28, 28) float32,)
    """

    mean: tuple[float, ...] = param()
    std: tuple[float, ...] = param(
        check=lambda value: None if value and all(map(_positive, value)) else "positive numbers"
    )

    @classmethod
    def examples(cls) -> Iterable[tuple[Layer, tuple[TensorSpec, ...]]]:
        images = TensorSpec((3, 2, 4, 5))
        return [
            (cls(mean=(0.5, 0.25), std=(0.25, 2.0)), (images,)),
            (cls(mean=(0.5,), std=(3.0,)), (images.with_dtype(torch.float64),)),
        ]

    def validate(self) -> None:
        if not self.mean or len({len(self.mean), len(self.std)} - {1}) > 1:
            raise ConfigError(
                f"{self.call_name()} got {len(self.mean)} means and {len(self.std)} deviations.",
                where=f"node {self.default_id!r}",
                mend="give one of each for every channel",
            )

    def build(self, x: TensorSpec) -> nn.Module:
        need_floats(x)
        need_rank(x, [4], LAYOUT)
        given = max(len(self.mean), len(self.std))
        if given > 1 and x.size(1) != given:
            raise ShapeError(
                f"Means and deviations of {given} channels do not fit {x.size(1)}.",
                mend="give one of each for every channel, or one for all",
            )
        return ChannelNormalize(self.mean, self.std, x.dtype)


class ChannelNormalize(nn.Module):
    """The normalisation of each channel by given numbers; nothing is learned.

    >>> ChannelNormalize((0.5,), (0.25,))(torch.ones(1, 1, 1, 2))
    tensor([[[[2., 2.]]]])
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            tensor = torch.tensor(values, dtype=dtype).reshape(-1, 1, 1)
            # Parameters of the layer, so no part of what a network has learned.
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(batch, channels, height, width)``, normalised."""
        return (images - self.mean) / self.std


def preprocessing(name: str, weights: str | None = "DEFAULT") -> Any:
    """The transform of torchvision that makes pictures what weights were trained on.

    It resizes, crops, scales to 0..1 and normalises; its attributes ``resize_size``,
    ``crop_size``, ``mean`` and ``std`` say by how much. None where that is not known: without
    weights, and for files that are not torchvision's.

    Raises:
        ConfigError: There is no such model, or it has no such weights.

    >>> preprocessing("resnet18").mean
    [0.485, 0.456, 0.406]
    """
    layer = Vision(name=name, weights=weights)
    entry = published(layer.name, layer.weights)
    return None if entry is None else entry.transforms()


def _need_images(x: TensorSpec) -> None:
    need_singles(x)
    need_rank(x, [4], "(batch, 3, height, width)", "keep the dimensions of the images apart")
    if x.dtype != torch.get_default_dtype():
        raise ShapeError(
            "Numbers of the precision of weights are needed.",
            why=f"weights are {torch.get_default_dtype()}, and the input is {x.dtype}",
            mend='put nn("fn", torch.Tensor.float) before it',
        )
    if x.size(1) != 3:
        raise ShapeError(
            "Images of 3 channels are needed.",
            why=f"{x} has {x.size(1)}",
            mend='make three of them with nn("conv2d", 3, kernel_size=1)',
        )


def _too_small(error: ShapeError, name: str, least: int) -> ShapeError:
    return ShapeError(
        error.what,
        where=error.where,
        why=f"{name} takes images of {least} x {least} or larger",
        mend=f'resize them with nn("upsample", size={least}), or choose another model',
    )
