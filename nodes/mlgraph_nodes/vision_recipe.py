"""The whole graph around an image classifier of torchvision."""

from __future__ import annotations

import os
from typing import Any

import torch

from mlgraph.catalogue import nn, po
from mlgraph.core.compose import chain
from mlgraph.core.graph import Graph
from mlgraph.core.node import Node
from mlgraph_nodes.recipe_values import knows, settled
from mlgraph_nodes.vision_models import Preprocessing, expected


@knows()
def vision(
    name: str = "resnet18",
    *,
    weights: str | os.PathLike[str] | None = None,
    lr: float = 1e-3,
    **trainer: Any,
) -> Graph:
    """Train an image classifier of torchvision, or tune a pretrained one, with AdamW.

    With weights of torchvision, images become what these were trained on: resized, cut to the
    middle, scaled to 0..1 and normalised; each is a node that can be changed. Without weights, or
    with those of another file, images are taken as they are, and have to be floats.

    Shape:
        input: a task with one column of images, ``(3, height, width)``.

    Args:
        name: Name of the model.
        weights: None, the name of weights of torchvision, or the path to a state dict.
        lr: Learning rate.
        trainer: Parameters of ``torch_model``: ``epochs``, ``batch_size``, ``patience``, ...

    Raises:
        ConfigError: There is no such model, or it has no such weights.

    >>> vision("resnet18", weights="DEFAULT", epochs=10).ids[:3]
    ('trafo_resize', 'trafo_center_crop', 'trafo_to_dtype')
    >>> vision("resnet18").ids
    ('vision', 'torch_optimizer', 'torch_model')
    """
    if weights is not None:  # what images become depends on both
        name, weights = settled("vision", "name", name, str), settled("vision", "weights", weights)
    layer = nn("vision", name, weights=weights)
    images = expected(name, layer.parameters()["weights"])
    return chain(
        *(_prepared(images) if images else ()),
        layer,
        po("torch_optimizer", "adamw", lr=lr),
        po("torch_model", **trainer),
    )


def _prepared(images: Preprocessing) -> tuple[Node, ...]:
    """What was done to the images that weights were trained on."""
    return (
        po(
            "trafo_resize",
            size=images.resize,
            interpolation=images.interpolation,
            antialias=images.antialias,
        ),
        po("trafo_center_crop", size=images.crop),
        po("trafo_to_dtype", dtype=torch.float32, scale=True),
        po("trafo_normalize", mean=images.mean, std=images.std),
    )
