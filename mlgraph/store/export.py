"""What leaves mlgraph: the weights of a trained network by name, and the network as a program."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlgraph.core.files import replacing
from mlgraph.core.fitted import FittedGraph
from mlgraph.errors import StateError
from mlgraph.tensor.spec import TensorSpec

# Sizes of the example that is traced: torch takes 0 and 1 for fixed ones.
_ROWS = 5


def to_state_dict(fitted: FittedGraph) -> dict[str, Tensor]:
    """See ``FittedGraph.to_state_dict``.

    >>> from mlgraph import Task, nn, po
    >>> task = Task({"x": [0.0, 1.0], "y": [1.0, 3.0]}, target="y")
    >>> fitted = (nn("linear") >> po("torch_model", epochs=1, progress=False)).fit(task)
    >>> list(to_state_dict(fitted))
    ['linear.weight', 'linear.bias']
    """
    return {name: tensor.clone() for name, tensor in fitted.trained_network().tensors.items()}


def export_torch(fitted: FittedGraph, path: str | Path) -> None:
    """See ``FittedGraph.export_torch``."""
    from torch import export

    trained = fitted.trained_network()
    specs = [token.spec for token in trained.descriptor.tokens.values()]
    dims = {name: export.Dim(name) for spec in specs for name in spec.names}
    shapes = tuple(_dynamic(spec, dims) for spec in specs)
    try:
        with torch.no_grad():
            program = export.export(
                trained.module(), tuple(map(_example, specs)), dynamic_shapes=shapes
            )
            made = io.BytesIO()
            export.save(program, made)
    except Exception as error:
        raise StateError(
            "The network cannot be exported.",
            where=f"node {fitted.trainers()[0]!r}",
            why=f"torch.export: {str(error).strip().splitlines()[0]}",
        ) from error
    with replacing(path) as file:
        file.write(made.getbuffer())


def _dynamic(spec: TensorSpec, dims: dict[str, Any]) -> dict[int, Any]:
    return {i: dims[size] for i, size in enumerate(spec.shape) if isinstance(size, str)}


def _example(spec: TensorSpec) -> Tensor:
    sizes = {name: _ROWS + i for i, name in enumerate(spec.names)}
    return torch.zeros(spec.filled(sizes), dtype=spec.dtype)
