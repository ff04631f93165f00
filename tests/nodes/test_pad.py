from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_inference, check_layer

INPUTS = {1: (2, 3, 6), 2: (2, 3, 5, 6), 3: (2, 2, 4, 5, 6)}
NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
ENDS = (1, 2, 0, 3, 2, 1)

# What torch's function calls it.
MODES = {
    "zero": "constant",
    "constant": "constant",
    "reflection": "reflect",
    "replication": "replicate",
    "circular": "circular",
}
KEYS = [(kind, n) for kind in MODES for n in INPUTS]


def made(kind: str, n: int, padding: object) -> Layer:
    value = {"value": 2.5} if kind == "constant" else {}
    node = nn(f"{kind}_pad{n}d", padding, **value)
    assert isinstance(node, Layer)
    return node


def noise(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kind", "n"), KEYS)
def test_padding_keeps_the_promises_of_a_layer(kind: str, n: int) -> None:
    for padding in (1, ENDS[: 2 * n]):
        check_layer(made(kind, n, padding), [TensorSpec(INPUTS[n])])


@pytest.mark.parametrize(("kind", "n"), KEYS)
def test_numbers_are_those_of_torch(kind: str, n: int) -> None:
    x, padding = noise(INPUTS[n]), ENDS[: 2 * n]
    module = made(kind, n, padding).build(TensorSpec(INPUTS[n]))
    value = 2.5 if kind == "constant" else None
    assert torch.equal(module(x), functional.pad(x, padding, MODES[kind], value))


@pytest.mark.parametrize(("kind", "n"), KEYS)
def test_sizes_need_not_be_known(kind: str, n: int) -> None:
    x = TensorSpec(("batch", "c", *NAMES[n]))
    found = made(kind, n, (0, 0, *ENDS[2 : 2 * n])).infer(x, name="pad")[0]
    assert found.shape[:2] == ("batch", "c") and found.shape[-1] == NAMES[n][-1]
    # Wide padding too, although most sizes it is tried on are too small for it.
    assert made(kind, n, 40).infer(x, name="pad")[0].shape[2] == "pad_2"


def test_a_list_names_the_ends_of_the_last_dimension_first() -> None:
    found = made("zero", 2, (1, 2, 3, 4)).infer(TensorSpec(("batch", 3, 10, 20)))[0]
    assert found.shape == ("batch", 3, 17, 23)


@pytest.mark.parametrize("kind", ["zero", "constant"])
def test_negative_padding_cuts_off(kind: str) -> None:
    layer = made(kind, 2, (-1, 2, -2, -1))
    check_layer(layer, [TensorSpec(INPUTS[2])])
    x = noise(INPUTS[2])
    padded = layer.build(TensorSpec(INPUTS[2]))(x)
    assert torch.equal(padded[..., :-2], x[..., 2:-1, 1:])


@pytest.mark.parametrize(("kind", "least"), [("reflection", 3), ("circular", 2)])
def test_padding_is_refused_as_soon_as_there_is_nothing_left_to_repeat(
    kind: str, least: int
) -> None:
    layer = made(kind, 1, (2, 1))
    check_inference(layer, (TensorSpec((2, 3, least)),))
    with pytest.raises(ShapeError, match="too small for"):
        layer.build(TensorSpec((2, 3, least - 1)))


@pytest.mark.parametrize(
    ("kind", "n", "padding", "shape", "why"),
    [
        ("zero", 2, 1, (3, 8, 8), "4 dimensions is needed"),
        ("circular", 1, 1, (3, 8), "3 dimensions is needed"),
        ("replication", 3, 1, (3, 8, 8, 8), "5 dimensions is needed"),
        ("zero", 1, (-3, 5), (2, 3, 3), "leaves nothing of dimension 2; its size is 3"),
        ("constant", 2, (-2, -2, 0, 0), (2, 3, 9, 4), "leaves nothing of dimension 3"),
        ("reflection", 2, 4, (2, 3, 8, 4), "Dimension 3 is too small for reflect padding of 4"),
        ("circular", 2, (0, 0, 5, 0), (2, 3, 4, 9), "its size is 4, which gives 4 numbers at most"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_our_words(
    kind: str, n: int, padding: object, shape: tuple[int, ...], why: str
) -> None:
    with pytest.raises(ShapeError, match=f"{kind}_pad{n}d cannot accept") as caught:
        made(kind, n, padding).infer(TensorSpec(shape))
    assert why.lower() in caught.value.why.lower()
    assert caught.value.mend


def test_integers_are_refused() -> None:
    with pytest.raises(ShapeError, match="floating-point"):
        made("zero", 1, 1).infer(TensorSpec(("batch", 3, 8), torch.int64))


@pytest.mark.parametrize(
    ("key", "params", "text"),
    [
        ("zero_pad1d", {}, "needs 'padding'"),
        ("constant_pad1d", {"padding": 1}, "needs 'value'"),
        ("zero_pad1d", {"padding": (1, 1, 1)}, "or a list of 2: left, right"),
        ("zero_pad2d", {"padding": (1, 1)}, "or a list of 4: left, right, top, bottom"),
        ("circular_pad3d", {"padding": (1, 1, 1)}, "or a list of 6: left, right, top, bottom, fr"),
        ("zero_pad2d", {"padding": 1.5}, "an integer or a list"),
        ("reflection_pad2d", {"padding": -1}, "at least 0"),
        ("replication_pad1d", {"padding": (0, -1)}, "at least 0"),
        ("zero_pad2d", {"padding": 1, "value": 2}, "has no parameter 'value'"),
    ],
)
def test_impossible_parameters_are_refused(key: str, params: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        nn(key, **params)
    assert f'nn("{key}")' in caught.value.what
    assert text in str(caught.value)


@pytest.mark.parametrize("kind", MODES)
def test_padding_compiles_and_exports(kind: str) -> None:
    module, x = made(kind, 2, ENDS[:4]).build(TensorSpec(INPUTS[2])).eval(), noise(INPUTS[2])
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    rows = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(module, (x,), dynamic_shapes=rows).module()
    more = torch.cat([x, -x])
    assert torch.equal(compiled(x), module(x))
    assert torch.equal(exported(more), module(more))
