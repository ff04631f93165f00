"""The whole graph around an image classifier of torchvision."""

from __future__ import annotations

import os
from typing import Any

from mlgraph.catalogue import nn, po
from mlgraph.core.compose import chain
from mlgraph.core.graph import Graph
from mlgraph_nodes.vision_models import expected


def vision(
    name: str = "resnet18",
    *,
    weights: str | os.PathLike[str] | None = None,
    lr: float = 1e-3,
    **trainer: Any,
) -> Graph:
    """Train an image classifier of torchvision, or tune a pretrained one, with AdamW.

    With weights of torchvision, images between 0 and 1 are normalised by their means and
    deviations; `expected` tells what size they were trained on, and how they were resized.
    Without weights, or with those of another file, images are taken as they are.

    Shape:
        input: ``(batch, 3, height, width)``.

    Args:
        name: Name of the model.
        weights: None, the name of weights of torchvision, or the path to a state dict.
        lr: Learning rate.
        trainer: Parameters of ``torch_model``: ``epochs``, ``batch_size``, ``patience``, ...

    Raises:
        ConfigError: There is no such model, or it has no such weights.

    >>> vision("resnet18", weights="DEFAULT", epochs=10).ids
    ('normalize', 'vision', 'torch_optimizer', 'torch_model')
    """
    layer = nn("vision", name, weights=weights)
    images = expected(name, layer.parameters()["weights"])
    return chain(
        nn("normalize", images.mean, images.std) if images else None,
        layer,
        po("torch_optimizer", "adamw", lr=lr),
        po("torch_model", **trainer),
    )
