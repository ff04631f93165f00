"""The image classifiers of torchvision, by name: how they are made, and how they get weights.

torchvision is imported by the functions that need it, so that nobody else waits for it.
"""

from __future__ import annotations

import bisect
import functools
import inspect
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from mlgraph.errors import DataError, MLGraphError, StateError, listing
from mlgraph.net.weights import tensors_of
from mlgraph.tensor.stream import forked

FILES = (".pt", ".pth", ".bin", ".safetensors")

# What models of one image size take where no weights say otherwise.
IMAGE_SIZE = 224

# Sizes that are tried; the largest minimum is the 75 pixels of Inception.
POWERS = tuple(1 << i for i in range(12))

# What is norm1 and conv2 now was norm.1 and conv.2 when the weights of DenseNet were published.
_DOTTED = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")


@functools.cache
def models() -> tuple[str, ...]:
    """Names of the image classifiers of the torchvision that is installed.

    >>> "resnet18" in models()
    True
    """
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


def pretrained(name: str) -> dict[str, Any]:
    """The weights that torchvision offers for a model, by name; ``DEFAULT`` are the best.

    >>> list(pretrained("resnet18"))
    ['IMAGENET1K_V1', 'DEFAULT']
    """
    from torchvision.models import get_model_weights

    return dict(get_model_weights(name).__members__)


def is_file(weights: str) -> bool:
    """Whether weights are those of a file, rather than of torchvision.

    >>> is_file("mine.safetensors"), is_file("DEFAULT")
    (True, False)
    """
    return weights.endswith(FILES)


def published(name: str, weights: str | None) -> Any:
    """The entry of torchvision for weights, found by their name or that of their file; else None.

    >>> published("resnet18", "DEFAULT")
    ResNet18_Weights.IMAGENET1K_V1
    >>> published("resnet18", "downloads/resnet18-f37072fd.pth")
    ResNet18_Weights.IMAGENET1K_V1
    """
    if weights is None:
        return None
    known = pretrained(name)
    if is_file(weights):
        return {_file(entry): entry for entry in known.values()}.get(Path(weights).name)
    kind = type(known["DEFAULT"]).__name__
    return known.get(weights.removeprefix(f"{kind}."))


@attrs.frozen
class Preprocessing:
    """What was done to the pictures that weights were trained on, as plain values.

    In this order: resized so that the shorter side has a length, or to height and width; cut to
    the middle; scaled to 0..1; normalised.

    Args:
        resize: One length, or height and width.
        crop: Likewise.
        mean: One number per channel.
        std: Likewise.
        interpolation: How pixels are interpolated: ``"bilinear"``, ``"bicubic"``, ...
        antialias: Whether they are smoothed where the picture gets smaller.

    >>> expected("resnet18", "DEFAULT").crop
    (224,)
    """

    resize: tuple[int, ...]
    crop: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    antialias: bool = True


def expected(name: str, weights: str | None) -> Preprocessing | None:
    """What weights were trained on; None without weights, and for those of other files.

    >>> expected("resnet18", "DEFAULT").resize, expected("resnet18", None)
    ((256,), None)
    """
    entry = published(name, weights)
    if entry is None:
        return None
    made = entry.transforms()
    return Preprocessing(
        resize=tuple(made.resize_size),
        crop=tuple(made.crop_size),
        mean=tuple(made.mean),
        std=tuple(made.std),
        interpolation=made.interpolation.value,
        antialias=bool(made.antialias),
    )


def image_size(name: str, weights: str | None = None) -> int | None:
    """Height and width of the only images that a model takes; None if there are others.

    >>> image_size("vit_b_16"), image_size("resnet18")
    (224, None)
    """
    if not {"image_size", "input_size"} & _arguments(name):
        return None
    entry = published(name, weights)
    return IMAGE_SIZE if entry is None else int(entry.meta["min_size"][0])


@functools.cache
def smallest(name: str) -> int:
    """Height and width of the smallest images that a model takes, found by trying.

    >>> smallest("alexnet")
    63
    """
    with torch.device("meta"), forked(0), torch.no_grad():
        module = made(name, 1).eval()
        runs = functools.partial(_runs, module)
        enough = next(size for size in POWERS if runs(size))
        return enough // 2 + 1 + bisect.bisect_left(range(enough // 2 + 1, enough), True, key=runs)


def made(name: str, size: int, weights: str | None = None) -> nn.Module:
    """A model of this many outputs, ready for these weights but without them.

    It has no auxiliary heads. SqueezeNet loses the ReLU behind its last convolution, since a
    logit or a quantity may be negative.

    >>> with torch.device("meta"):
    ...     made("resnet18", 3).fc
    Linear(in_features=512, out_features=3, bias=True)
    """
    options = {"num_classes": size, **_options(name, weights)}
    try:
        module = _model(name, options)
    except NotImplementedError:  # on the meta device, where tensors have no values
        with _Counting():
            module = _model(name, options)
    path, _, last = head(module).rpartition(".")
    parent = module.get_submodule(path)
    after = list(parent._modules).index(last) + 1
    for child in list(parent._modules)[after:]:
        if isinstance(parent.get_submodule(child), nn.ReLU):
            parent._modules[child] = nn.Identity()
    return module


def head(module: nn.Module) -> str:
    """Path of the layer that makes the outputs: the last one that is affine.

    >>> head(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.Dropout()))
    '2'
    """
    kinds = (nn.Linear, nn.Conv2d)
    paths: list[str] = [path for path, part in module.named_modules() if isinstance(part, kinds)]
    return paths[-1]


def load(module: nn.Module, name: str, weights: str) -> None:
    """Give a model its weights; its head keeps what it has, as the classes are others.

    Args:
        module: The model, as `made` by this name for these weights.
        name: Name of the model.
        weights: Name of weights of torchvision, or a file with a state dict.

    Raises:
        DataError: There is no such file, or it cannot be downloaded.
        StateError: The file holds no state dict, or that of another model.

    >>> load(made("resnet18", 3), "resnet18", "none.pth")
    Traceback (most recent call last):
    ...
    mlgraph.errors.DataError: There is no file 'none.pth'.
      mend:  weights= takes a path to a file of type '.pt', '.pth', '.bin', '.safetensors'
    """
    state = _read(Path(weights).expanduser()) if is_file(weights) else _fetched(name, weights)
    before = _shapes(module)
    try:
        found = module.load_state_dict(_kept(state, module, name), strict=False)
    except RuntimeError as error:
        raise _unfit(name, weights, _findings(error)) from error
    own = f"{head(module)}."
    missing = [key for key in found.missing_keys if not key.startswith(own)]
    lists = {"missing": missing, "unexpected": found.unexpected_keys}
    wrong = [f"{what} are {listing(keys)}" for what, keys in lists.items() if keys]
    if _shapes(module) != before:  # MNASNet turns itself into what it was in its first version
        wrong.append("they are those of an older version of the model")
    if wrong:
        raise _unfit(name, weights, wrong)


class _Counting(TorchFunctionMode):
    """RegNet calculates its widths with tensors: they get values also on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Of lists only: that of a single number is a buffer of batch norm, as weightless as others.
        counts = func is torch.arange or (func is torch.tensor and isinstance(args[0], list))
        return func(*args, **{**(kwargs or {}), **({"device": "cpu"} if counts else {})})


def _model(name: str, options: dict[str, Any]) -> nn.Module:
    from torchvision.models import get_model

    module: nn.Module = get_model(name, **options)
    return module


def _options(name: str, weights: str | None) -> dict[str, Any]:
    """The arguments of the model's class that we do not leave to torchvision."""
    size = image_size(name, weights)
    options = {
        "aux_logits": False,
        "init_weights": True,  # what it does in any case, but with a warning
        "transform_input": published(name, weights) is not None,
        "image_size": size,
        "input_size": (size, size),
    }
    return {key: value for key, value in options.items() if key in _arguments(name)}


@functools.cache
def _arguments(name: str) -> frozenset[str]:
    """The arguments of the model's class, to which its function passes on what it gets."""
    from torchvision.models import get_model_builder

    kind = inspect.signature(get_model_builder(name)).return_annotation
    return frozenset(inspect.signature(kind).parameters)


def _runs(module: nn.Module, size: int) -> bool:
    try:
        module(torch.empty(1, 3, size, size))
    except RuntimeError:
        return False
    return True


def _file(entry: Any) -> str:
    return PurePosixPath(entry.url).name


def _fetched(name: str, weights: str) -> Mapping[str, Any]:
    """The weights from torchvision, which keeps what it has downloaded."""
    entry = published(name, weights)
    shown = sys.stderr.isatty()
    try:
        found: Mapping[str, Any] = entry.get_state_dict(
            progress=shown, check_hash=True, map_location="cpu"
        )
    except Exception as error:  # the network, the disk and archives have errors of their own
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise DataError(
            f"The weights {entry.name!r} of {name} could not be fetched.",
            why=f"{entry.url}: {error}",
            mend=f"download them elsewhere, and put {_file(entry)!r} into {str(folder)!r}, or "
            f"write weights='.../{_file(entry)}'",
        ) from error
    return found


def _read(path: Path) -> Mapping[str, Any]:
    """The state dict in a file."""
    if not path.is_file():
        raise DataError(
            f"There is no file {str(path)!r}.",
            mend=f"weights= takes a path to a file of type {listing(FILES)}",
        )
    return tensors_of(path)


def _kept(state: Mapping[str, Any], module: nn.Module, name: str) -> Mapping[str, Any]:
    """The tensors for this module: without head and auxiliary heads, under today's names."""
    dropped = tuple(f"{path}." for path in (head(module), *_auxiliary(name, module)))
    around = _wrapper(state, module)
    bare = ((key.removeprefix(around), tensor) for key, tensor in state.items())
    renamed = ((_DOTTED.sub(r"\1", key), tensor) for key, tensor in bare)
    kept = OrderedDict((key, value) for key, value in renamed if not key.startswith(dropped))
    # Versions of modules, by which they read older files. MNASNet cannot do without.
    own = {"": getattr(module.state_dict(), "_metadata", {}).get("", {})}
    given = getattr(state, "_metadata", None) or own
    kept.__dict__["_metadata"] = {
        f"{key}.".removeprefix(around).rstrip("."): entry for key, entry in given.items()
    }
    return kept


def _wrapper(state: Mapping[str, Any], module: nn.Module) -> str:
    """What all names begin with where a model was trained in another module: ``"module."``."""
    first = {key.partition(".")[0] for key in state}
    return f"{first.pop()}." if len(first) == 1 and not first & set(module._modules) else ""


def _auxiliary(name: str, module: nn.Module) -> list[str]:
    """The heads that the model of torchvision has in training only, and ours has not."""
    if "aux_logits" not in _arguments(name):
        return []
    with torch.device("meta"):
        full = _model(name, {"aux_logits": True, "init_weights": False})
    return [child for child, _ in full.named_children() if child not in module._modules]


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in module.state_dict().items()}


def _findings(error: RuntimeError) -> list[str]:
    """What torch complains of, line by line below its headline, and cut."""
    lines = [line.strip().rstrip(".") for line in str(error).splitlines()]
    more = [f"and {len(lines) - 4} more"] if len(lines) > 4 else []
    return lines[1:4] + more if len(lines) > 1 else lines


def _unfit(name: str, weights: str, wrong: list[str]) -> MLGraphError:
    return StateError(
        f"The weights {weights!r} do not fit {name}.",
        why="; ".join(wrong),
        mend="choose the model that they were made with",
    )
