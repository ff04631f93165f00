from __future__ import annotations

import pytest
import tabm
import torch

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.data.taskspec import TaskSpec
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked
from mlgraph.testing.layer import check_layer
from mlgraph_nodes.tabm import feature_chunks

MEMBERS = TensorSpec((5, 3, 4))
MIXED = TaskSpec(
    "regression",
    columns={"numbers": ("a", "b"), "words": ("c", "d")},
    cardinalities={"words": (3, 2)},
)


def layer(key: str, **params: object) -> Layer:
    node = nn(key, **params)
    assert isinstance(node, Layer)
    return node


def made(node: Layer, spec: TensorSpec = MEMBERS, task: TaskSpec = MIXED) -> torch.nn.Module:
    with forked(0):
        return node.make((spec,), task)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("node", "spec"),
    [
        (layer("ensemble", k=3), TensorSpec((5, 4))),
        (layer("ensemble", k=1), TensorSpec((2, 1), torch.float64)),
        (layer("ensemble_linear", out_features=6), MEMBERS),
        (layer("ensemble_linear", out_features=1, bias=False, r_init="normal"), MEMBERS),
        (layer("ensemble_linear", out_features=6, s_init="random-signs"), MEMBERS),
        (layer("ensemble_scale"), MEMBERS),
        (layer("ensemble_scale", init="ones", bias=True), TensorSpec((2, 1, 1))),
        (layer("separate_linear", out_features=6), MEMBERS),
        (layer("separate_linear", out_features=6, bias=False), MEMBERS),
        (layer("ensemble_head"), MEMBERS),
        (layer("ensemble_head", bias=False), TensorSpec((2, 1, 1))),
    ],
    ids=repr,
)
def test_ensembles_keep_the_promises_of_layers(node: Layer, spec: TensorSpec) -> None:
    check_layer(node, [spec])


def test_every_member_sees_the_same() -> None:
    x = noise(5, 4)
    out = made(layer("ensemble", k=3), TensorSpec((5, 4)))(x)
    assert all(torch.equal(out[:, i], x) for i in range(3))


def test_an_ensemble_linear_layer_is_that_of_the_paper() -> None:
    params = {"r_init": "normal", "s_init": "normal"}
    ours = made(layer("ensemble_linear", out_features=6, **params))
    theirs = tabm.LinearBatchEnsemble(4, 6, k=3, scaling_init="normal")
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(noise(5, 3, 4)), theirs(noise(5, 3, 4)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_a_scale_is_that_of_the_paper(bias: bool) -> None:
    ours = made(layer("ensemble_scale", bias=bias))
    theirs = tabm.ElementwiseAffine((3, 4), bias=bias, scaling_init="normal")
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(noise(5, 3, 4)), theirs(noise(5, 3, 4)), rtol=0, atol=1e-6)


def test_separate_layers_are_those_of_the_paper() -> None:
    ours = made(layer("separate_linear", out_features=6))
    theirs = tabm.LinearEnsemble(4, 6, k=3)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(noise(5, 3, 4)), theirs(noise(5, 3, 4)), rtol=0, atol=1e-6)


def test_the_head_has_a_map_for_each_member() -> None:
    task = TaskSpec("classification", ("a", "b", "c"))
    module = made(layer("ensemble_head"), task=task)
    x = noise(5, 3, 4)
    wanted = [x[:, i] @ module.weight[i] + module.bias[i] for i in range(3)]
    torch.testing.assert_close(module(x), torch.stack(wanted, dim=1))


def test_only_the_head_makes_an_ensemble_of_a_network() -> None:
    keys = ("ensemble", "ensemble_linear", "ensemble_scale", "separate_linear", "ensemble_head")
    nodes = [layer(key, **({"out_features": 2} if "linear" in key else {})) for key in keys]
    assert [node.ensemble for node in nodes] == [False] * 4 + [True]


def test_members_start_with_equal_biases_and_maps() -> None:
    module = made(layer("ensemble_linear", out_features=6))
    assert module.bias.std(0).max() == 0
    assert module.bias.abs().max() <= 0.5
    assert torch.equal(module.r, torch.ones(3, 4))
    assert torch.equal(module.s, torch.ones(3, 6))


@pytest.mark.parametrize(("start", "ones"), [("ones", 1.0), ("random-signs", 0.5), ("normal", 0)])
def test_scales_start_as_they_should(start: str, ones: float) -> None:
    spec = TensorSpec(("batch", 50, 40))
    for weight in (
        made(layer("ensemble_scale", init=start), spec).weight,
        made(layer("ensemble_linear", out_features=2, r_init=start), spec).r,
        made(layer("ensemble_linear", out_features=40, s_init=start), spec).s,
    ):
        assert (weight == 1).float().mean().item() == pytest.approx(ones, abs=0.05)
        if start == "random-signs":
            assert (weight.abs() == 1).all()
        if start == "normal":
            assert weight.std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("features", "width", "chunks"),
    [
        (7, 1, [1, 1, 3, 2]),
        (5, 1, [1, 1, 2, 1]),
        (13, 4, [4, 4, 3, 2]),
        (11, 4, [4, 4, 2, 1]),
        (99, None, None),
    ],
)
def test_features_are_counted_by_column(
    features: int, width: int | None, chunks: list[int] | None
) -> None:
    assert feature_chunks(features, width, MIXED) == chunks


@pytest.mark.parametrize("key", ["ensemble_linear", "ensemble_scale"])
def test_the_features_of_a_column_start_alike(key: str) -> None:
    params = {"out_features": 2, "r_init": "normal"} if "linear" in key else {"init": "normal"}
    module = made(layer(key, feature_width=4, **params), TensorSpec(("batch", 3, 13)))
    weight = module.r if "linear" in key else module.weight
    for part in weight.split([4, 4, 3, 2], dim=1):
        assert torch.equal(part, part[:, :1].expand_as(part))
    assert weight.unique().numel() == 3 * 4


@pytest.mark.parametrize("features", [6, 8, 12])
def test_features_that_are_not_those_of_the_columns_are_refused(features: int) -> None:
    spec = TensorSpec(("batch", 3, features))
    with pytest.raises(ShapeError, match="not those of the columns") as caught:
        layer("ensemble_scale", feature_width=1).make((spec,), MIXED)
    assert "2 numbers, each 1 wide, and 2 categories of 5 levels" in caught.value.why
    assert "feature_width=" in caught.value.mend


def test_a_head_needs_to_know_what_is_learned() -> None:
    with pytest.raises(ConfigError, match="no output size"):
        layer("ensemble_head").infer(MEMBERS)


@pytest.mark.parametrize(
    ("key", "spec", "message"),
    [
        ("ensemble", MEMBERS, "2 dimensions is needed"),
        ("ensemble", TensorSpec(("batch", 4), torch.int64), "floating-point numbers are needed"),
        ("ensemble_linear", TensorSpec(("batch", 4)), "3 dimensions is needed"),
        ("ensemble_scale", TensorSpec(("batch", "k", 4)), "'k', is needed now"),
        ("separate_linear", TensorSpec(("batch", 3, "width")), "'width', is needed now"),
        ("ensemble_head", TensorSpec(("batch", 4)), "3 dimensions is needed"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(key: str, spec: TensorSpec, message: str) -> None:
    params = {"out_features": 2} if "linear" in key else {}
    with pytest.raises(ShapeError) as caught:
        layer(key, **params).infer(spec, task=MIXED)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("ensemble", {"k": 0}),
        ("ensemble_linear", {}),
        ("ensemble_linear", {"out_features": 2, "r_init": "zeros"}),
        ("ensemble_scale", {"feature_width": 0}),
        ("separate_linear", {"out_features": 0}),
    ],
)
def test_impossible_parameters_are_refused(key: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=key):
        nn(key, **params)
