"""What a file may name, and what it may not."""

from __future__ import annotations

import re
from types import FunctionType

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import f_classif

from mlgraph.core.value import address
from mlgraph.errors import StateError
from mlgraph.store.names import _LISTS, Names, _of_packages, _of_torch

NAMES = Names.of([])


@pytest.mark.parametrize(
    "named",
    [
        *[torch.relu, torch.einsum, torch.nn.functional.relu, torch.nn.functional.gelu],
        *[torch.nn.functional.max_pool2d, torch.Tensor.mean, torch.fft.rfft, torch.linalg.norm],
        *[torch.nn.LSTM, torch.optim.AdamW, torch.optim.lr_scheduler.StepLR, torch.special.expit],
        *[np.log1p, np.exp, np.float32, float, RandomForestClassifier, f_classif],
    ],
)
def test_what_calculates_may_be_named(named: object) -> None:
    assert NAMES.find(address(named)) is named


@pytest.mark.parametrize(
    "name",
    [
        *[
            "os:system",
            "builtins:eval",
            "torch:load",
            "torch:save",
            "torch:compile",
            "torch:from_file",
        ],
        *[
            "torch.serialization:load",
            "torch.hub:load",
            "torch.jit._serialization:load",
            "torch:ops",
        ],
        *["torch.nn.functional:importlib", "torch.nn.parallel.distributed:DistributedDataParallel"],
        *["numpy:load", "numpy:save", "mlgraph.store.load:load", "mlgraph_nodes.recipes:mlp"],
        *["torch.nn.modules.module:Module.load_state_dict", "sklearn.datasets._base:load_files"],
        *["", ":", "torch", "torch:", "sklearn.:x", "sklearn.base:clone", "torch._C:TensorBase"],
    ],
)
def test_nothing_else_may_be_named(name: str) -> None:
    with pytest.raises(StateError, match="not allowed"):
        NAMES.find(name)


def test_the_lists_hold_no_way_out() -> None:
    """No module, no import, no file: only functions of tensors and classes of layers."""
    suspicious = {"load", "save", "file", "import", "exec", "compile", "system", "open", "path"}
    words = {name: set(re.split(r"\W|_", name.rpartition(":")[2].lower())) for name in _of_torch()}
    assert [name for name in words if words[name] & suspicious] == []
    assert all(callable(value) for value in _of_torch().values())
    kinds = (type, FunctionType)
    assert all(isinstance(value, kinds) for value in _of_packages().values())
    assert len(_LISTS) == 4
