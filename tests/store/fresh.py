"""What a saved graph answers, as digests: run in the process that saved it, and in a fresh one."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file

import mlgraph
from mlgraph.core.fitted import FittedGraph
from mlgraph.core.graph import Graph
from mlgraph.core.value import canonical
from mlgraph.data.task import Task
from mlgraph.tensor.probe import flat
from mlgraph.tensor.stream import forked


def answer(loaded: Any, inputs: Path) -> str:
    """The digest of what is predicted from a table, or from tensors, in a file."""
    if inputs.suffix == ".arrow":
        data = pa.ipc.open_file(str(inputs)).read_all()
        found = loaded.predict(data)
        return digest(found, getattr(loaded, "states", {}), loaded.graph.hash)
    tensors = [tensor for _, tensor in sorted(load_file(inputs).items())]
    with torch.no_grad(), forked(0):
        found = flat(loaded.trained().module()(*tensors))
    return digest(found, loaded.states, loaded.graph.hash)


def digest(*parts: Any) -> str:
    hasher = hashlib.sha256()
    for part in parts:
        for piece in _pieces(part):
            hasher.update(piece)
    return hasher.hexdigest()


def _pieces(value: Any) -> Any:
    """Bytes that say everything about a value that can be seen of it."""
    yield type(value).__name__.encode()
    if isinstance(value, Task):
        yield value.fingerprint.encode()
    elif isinstance(value, np.ndarray) and value.dtype.kind != "O":
        yield value.dtype.str.encode() + str(value.shape).encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, torch.Tensor):
        yield str(value.dtype).encode() + str(tuple(value.shape)).encode()
        yield value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, (pa.Table, pa.Array, pa.ChunkedArray)):
        yield repr(value.type if hasattr(value, "type") else value.schema).encode()
        yield repr(value.to_pylist()).encode()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _pieces(key)
            yield from _pieces(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, (FittedGraph, Graph)) or hasattr(value, "__mlgraph_json__"):
        yield canonical(value) if not isinstance(value, FittedGraph) else b""
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from _pieces(getattr(value, field.name))
    elif hasattr(value, "get_params") and hasattr(value, "fit"):
        yield repr(sorted(value.get_params())).encode()
    elif callable(value) and hasattr(value, "__qualname__"):  # its repr may hold where it lies
        yield canonical(value)
    else:
        yield repr(value).encode()


if __name__ == "__main__":
    found = {}
    for file in sorted(Path(sys.argv[1]).glob("*.mlgraph")):
        inputs = next(f for f in file.parent.glob(f"{file.stem}.*") if f.suffix != ".mlgraph")
        found[file.stem] = answer(mlgraph.load(file), inputs)
    print(json.dumps(found))
