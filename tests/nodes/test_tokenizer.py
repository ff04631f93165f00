from __future__ import annotations

import pytest
import rtdl_revisiting_models as rtdl
import torch

from mlgraph import ConfigError, ShapeError, Task, nn, po
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked
from mlgraph.testing.layer import check_layer

NUMBERS = TensorSpec((5, 3))
CODES = TensorSpec((5, 2), torch.int64, cardinalities=(3, 5))
TOKENS = TensorSpec((5, 4, 6))


def layer(key: str, **params: object) -> Layer:
    node = nn(key, **params)
    assert isinstance(node, Layer)
    return node


@pytest.mark.parametrize(
    ("node", "spec"),
    [
        (layer("tokenizer_num", d_token=8), NUMBERS),
        (layer("tokenizer_num", d_token=1, bias=False, initialization="normal"), NUMBERS),
        (layer("tokenizer_num", d_token=8), TensorSpec((2, 1))),
        (layer("tokenizer_categ", d_token=8), CODES),
        (layer("tokenizer_categ", d_token=1, bias=False, initialization="normal"), CODES),
        (layer("tokenizer_categ", d_token=4, cardinalities=(9, 9)), CODES),
        (layer("cls_token"), TOKENS),
        (layer("cls_token", position="last", initialization="normal"), TOKENS),
    ],
    ids=repr,
)
def test_tokenizers_keep_the_promises_of_layers(node: Layer, spec: TensorSpec) -> None:
    check_layer(node, [spec])


def test_tokens_of_numbers_are_those_of_the_paper() -> None:
    ours = layer("tokenizer_num", d_token=8).build(NUMBERS)
    theirs = rtdl.LinearEmbeddings(3, 8)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)


def test_tokens_of_categories_are_those_of_the_paper() -> None:
    ours = layer("tokenizer_categ", d_token=8).build(CODES)
    theirs = rtdl.CategoricalEmbeddings([3, 5], 8, True)
    with torch.no_grad():
        for i, part in enumerate(ours.vectors.table.weight.split([3, 5])):
            theirs.embeddings[i].weight.copy_(part)
        theirs.bias.copy_(ours.bias)
    codes = torch.tensor([[0, 0], [2, 4], [1, 3]])
    torch.testing.assert_close(ours(codes), theirs(codes), rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", ["tokenizer_num", "tokenizer_categ"])
def test_without_a_bias_a_tokenizer_has_half_the_kinds_of_weights(key: str) -> None:
    spec = NUMBERS if key == "tokenizer_num" else CODES
    with_bias = len(list(layer(key, d_token=4).build(spec).parameters()))
    assert len(list(layer(key, d_token=4, bias=False).build(spec).parameters())) == with_bias - 1


@pytest.mark.parametrize(
    ("key", "spec", "params"),
    [
        ("tokenizer_num", TensorSpec(("batch", 50)), {"d_token": 64}),
        (
            "tokenizer_categ",
            TensorSpec(("batch", 50), torch.int64, cardinalities=(20,) * 50),
            {"d_token": 64},
        ),
        ("cls_token", TensorSpec(("batch", 4, 2048)), {}),
    ],
)
def test_weights_start_as_wide_as_the_paper_says(
    key: str, spec: TensorSpec, params: dict[str, int]
) -> None:
    scale = (params.get("d_token") or 2048) ** -0.5
    for start, wanted in (("uniform", scale / 3**0.5), ("normal", scale)):
        with forked(0):
            module = layer(key, initialization=start, **params).build(spec)
        for weight in module.parameters():
            assert weight.std().item() == pytest.approx(wanted, rel=0.1)
            assert (weight.abs().max() <= scale) == (start == "uniform")


def test_the_class_token_is_the_same_in_every_row_and_stands_where_it_should() -> None:
    x = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0))
    for position, place, rest in (("first", 0, slice(1, None)), ("last", 4, slice(0, 4))):
        module = layer("cls_token", position=position).build(TOKENS)
        out = module(x)
        assert torch.equal(out[:, place], module.weight.expand(5, 6))
        assert torch.equal(out[:, rest], x)


def test_the_number_of_tokens_need_not_be_known() -> None:
    shape = layer("cls_token").infer(TensorSpec(("batch", "tokens", 8)), name="cls")[0].shape
    assert shape == ("batch", "cls_1", 8)


@pytest.mark.parametrize(
    ("key", "spec", "message"),
    [
        ("tokenizer_num", TensorSpec(("batch", 3, 4)), "2 dimensions is needed"),
        ("tokenizer_num", TensorSpec(("batch", "columns")), "'columns', is needed now"),
        ("tokenizer_num", CODES, "floating-point numbers are needed"),
        ("tokenizer_num", TensorSpec(("batch", 3), torch.float64), "dtype float32 are needed"),
        ("tokenizer_categ", NUMBERS, "codes are needed"),
        ("tokenizer_categ", TensorSpec(("batch", 2), torch.int64), "levels of each column"),
        ("tokenizer_categ", TensorSpec(("batch",), torch.int64), "2 dimensions is needed"),
        ("cls_token", NUMBERS, "3 dimensions is needed"),
        ("cls_token", TensorSpec(("batch", 4, "width")), "'width', is needed now"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(key: str, spec: TensorSpec, message: str) -> None:
    params = {} if key == "cls_token" else {"d_token": 4}
    with pytest.raises(ShapeError) as caught:
        layer(key, **params).infer(spec)
    assert message in str(caught.value)


def test_cardinalities_have_to_fit_the_columns() -> None:
    with pytest.raises(ShapeError, match="3 cardinalities do not fit 2 columns"):
        layer("tokenizer_categ", d_token=4, cardinalities=(2, 2, 2)).infer(CODES)


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("tokenizer_num", {}),
        ("tokenizer_num", {"d_token": 0}),
        ("tokenizer_num", {"d_token": 4, "initialization": "zeros"}),
        ("tokenizer_categ", {"d_token": 4, "cardinalities": (3, 0)}),
        ("cls_token", {"position": "middle"}),
    ],
)
def test_impossible_parameters_are_refused(key: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=key):
        nn(key, **params)


def test_levels_not_seen_in_fit_have_a_token_where_the_ingress_has_a_slot() -> None:
    task = Task({"a": ["u", "v", "w"], "y": [1.0, 2.0, 3.0]}, target="y")
    graph = po("ingress_categ", unknown="slot") >> nn("tokenizer_categ", d_token=4)
    graph = graph >> nn("flatten") >> nn("head") >> po("torch_model", epochs=0)
    fitted = graph.fit(task, seed=1)
    assert fitted.module().tokenizer_categ.vectors.table.weight.shape == (4, 4)
    assert len(fitted.predict({"a": ["new"]})) == 1
