"""efficientnet-lite0: its architecture, its weights, and how its images are made."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn as tnn

from bench import data
from mlgraph import nn, po, sel

MEAN, STD = (127.0,) * 3, (128.0,) * 3  # of what its weights were trained on
HEAD = "_fc"


def architecture(classes: int | None) -> tnn.Module:
    """The network with a head for so many classes, or without any: 1,280 numbers come out."""
    if str(data.folder()) not in sys.path:
        sys.path.append(str(data.folder()))
    from efficientnet_lite_pytorch import EfficientNet

    # Statistics of batches move as fast as is usual in torch; with 0.99, which the package has,
    # a few epochs would be too short to find those of random weights.
    options = {"num_classes": classes or 1, "batch_norm_momentum": 0.9}
    made: tnn.Module = EfficientNet.from_name("efficientnet-lite0", **options)
    if classes is None:
        made.add_module(HEAD, tnn.Identity())
    return made


def layer(classes: int | None, pretrained: bool) -> Any:
    """The network as a layer called ``lite0``; pretrained, all but its head is."""
    weights = data.path("efficientnet_lite0")  # the architecture was fetched together with them
    started = {"weights": weights, "fresh": sel.match(f"^{HEAD}")} if pretrained else {}
    return nn("module", architecture, classes=classes, **started, id="lite0")


def resized(size: int) -> list[Any]:
    """The nodes that bring images to a size; that is done once per image."""
    return [po("trafo_resize", size=(size, size)), po("trafo_cache")]


def normalized() -> list[Any]:
    """The nodes that make numbers of pixels."""
    return [
        po("trafo_to_dtype", dtype=torch.float32),
        po("trafo_normalize", mean=MEAN, std=STD),
    ]
