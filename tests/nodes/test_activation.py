from __future__ import annotations

import pytest
import torch
from torch import nn as tnn
from torch.nn.modules import activation as torch_activation

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.core.value import snake
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec

SEVERAL_TENSORS = {"MultiheadAttention"}
OURS = [name for name in torch_activation.__all__ if name not in SEVERAL_TENSORS]
PARAMS = {"Threshold": {"threshold": 0.5, "value": -1.0}}


def made(key: str, **params: object) -> Layer:
    node = nn(key, **params)
    assert isinstance(node, Layer)
    return node


@pytest.mark.parametrize("name", OURS)
def test_every_activation_of_torch_is_a_layer_with_torchs_numbers(name: str) -> None:
    params = PARAMS.get(name, {})
    spec = TensorSpec((2, 4, 6, 6))
    ours = made(snake(name), **params).build(spec).eval()
    options = {"dim": -1} if name in ("Softmax", "LogSoftmax", "Softmin") else {}
    theirs = getattr(tnn, name)(**params, **options).eval()
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    assert type(ours) is type(theirs)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("name", OURS)
def test_parameters_are_those_of_torch_save_inplace(name: str) -> None:
    import inspect

    theirs = inspect.signature(getattr(tnn, name)).parameters
    surplus = {"inplace", "device", "dtype", "args", "kwargs", "min_value", "max_value"}
    ours = made(snake(name), **PARAMS.get(name, {}))
    assert list(ours.field_names()) == [name for name in theirs if name not in surplus]
    for field in ours.field_names():
        if field != "dim":
            assert getattr(type(ours)(**PARAMS.get(name, {})), field) == (
                PARAMS.get(name, {}).get(field, theirs[field].default)
            )


@pytest.mark.parametrize("key", ["relu", "sigmoid", "softmax", "geglu", "glu"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_codes_are_refused_and_an_embedding_is_offered(key: str, dtype: torch.dtype) -> None:
    with pytest.raises(ShapeError, match="embedding") as caught:
        made(key).infer(TensorSpec(("batch", 4), dtype))
    assert "floating-point numbers are needed" in caught.value.why


def test_prelu_has_one_slope_per_channel_or_one() -> None:
    assert made("prelu", num_parameters=3).build(TensorSpec(("batch", 3))).weight.shape == (3,)
    with pytest.raises(ShapeError, match="3 slopes for 4 channels"):
        made("prelu", num_parameters=3).infer(TensorSpec(("batch", 4)))


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("hardtanh", {"min_val": 1.0, "max_val": 1.0}),
        ("rrelu", {"lower": 0.5, "upper": 0.1}),
        ("softshrink", {"lambd": -0.1}),
        ("celu", {"alpha": 0}),
        ("softplus", {"beta": 0}),
        ("gelu", {"approximate": "tanhh"}),
        ("prelu", {"num_parameters": 0}),
        ("relu", {"inplace": True}),
        ("threshold", {"threshold": 1.0}),
    ],
)
def test_impossible_parameters_are_refused(key: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f'nn\\("{key}'):
        nn(key, **params)
