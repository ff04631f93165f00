"""The networks of the recipes, equal to those of the papers' own packages."""

from __future__ import annotations

import itertools
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import rtdl_num_embeddings
import rtdl_revisiting_models as rtdl
import tabm as tabm_package
import torch

from mlgraph import ConfigError, DataError, Graph, Task, load, sel
from mlgraph.data.spread import QuantileRegression
from mlgraph.datasets import mtcars, penguins
from mlgraph_nodes import recipes
from mlgraph_nodes.recipes import featureless, ft_transformer, mlp, tab_resnet, tabm
from mlgraph_nodes.vision_recipe import vision

ROWS = 40
LEVELS = (3, 2)
KINDS = ("numeric", "categorical", "mixed")
TABLES = (mlp, tab_resnet, ft_transformer, tabm)


def table(kind: str) -> Task:
    draws = np.random.default_rng(0)
    data: dict[str, Any] = {"y": draws.normal(size=ROWS)}
    if kind != "categorical":
        data |= {"a": draws.normal(size=ROWS), "b": draws.normal(size=ROWS), "c": range(ROWS)}
    if kind != "numeric":
        data |= {"u": ["k", "l", "m", "l"] * (ROWS // 4), "v": [True, False] * (ROWS // 2)}
    return Task(data, target="y")


def small(recipe: Callable[..., Graph]) -> dict[str, Any]:
    if recipe is ft_transformer:
        return {"d_token": 16, "n_blocks": 2}
    return {"d_block": 8, **({"k": 3} if recipe is tabm else {})}


def network(graph: Graph, task: Task) -> torch.fx.GraphModule:
    module: torch.fx.GraphModule = graph.fit(task, seed=1).module()
    return module


def inputs(kind: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Numbers and codes, also of values that did not occur in the fit."""
    draws = torch.Generator().manual_seed(0)
    numbers = torch.randn(20, 3, generator=draws)
    codes = torch.stack([torch.randint(0, n, (20,), generator=draws) for n in LEVELS], dim=1)
    return (None if kind == "categorical" else numbers), (None if kind == "numeric" else codes)


def one_hot(kind: str) -> torch.Tensor:
    """What an MLP of the packages is given."""
    numbers, codes = inputs(kind)
    parts = [] if numbers is None else [numbers]
    if codes is not None:
        parts += [torch.nn.functional.one_hot(codes[:, i], n) for i, n in enumerate(LEVELS)]
    return torch.cat([part.float() for part in parts], dim=1)


def give(theirs: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Give theirs these weights; every parameter must be there, and none may be left over."""
    wanted = {name: weight.shape for name, weight in theirs.named_parameters()}
    assert wanted == {name: weight.shape for name, weight in state.items()}
    missing, unexpected = theirs.load_state_dict(dict(state), strict=False)
    assert unexpected == []
    assert not set(missing) & set(wanted)


def renamed(
    module: torch.nn.Module, *pairs: tuple[str, str], buffers: bool = False
) -> dict[str, torch.Tensor]:
    """Parameters (and buffers) by the names that patterns make of them."""
    kept = {name for name, _ in module.named_parameters()}
    found = {}
    for name, tensor in module.state_dict().items():
        if name in kept or buffers:
            for pattern, new in pairs:
                name = re.sub(pattern, new, name)
            found[name] = tensor
    return found


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def agree(ours: torch.nn.Module, kind: str, wanted: torch.Tensor) -> None:
    given = [tensor for tensor in inputs(kind) if tensor is not None]
    torch.testing.assert_close(ours(*given), wanted, rtol=0, atol=1e-6)


# Equal to the packages


@pytest.mark.parametrize("kind", KINDS)
def test_mlp_is_that_of_the_paper(kind: str) -> None:
    task = table(kind)
    ours = network(mlp(task, n_blocks=3, d_block=8, epochs=0), task)
    x = one_hot(kind)
    theirs = rtdl.MLP(d_in=x.shape[1], d_out=1, n_blocks=3, d_block=8, dropout=0.1).eval()
    give(theirs, renamed(ours, (r"block\.", "blocks."), ("head", "output")))
    assert count(ours) == count(theirs)
    agree(ours, kind, theirs(x))


@pytest.mark.parametrize("kind", KINDS)
def test_tab_resnet_is_that_of_the_paper(kind: str) -> None:
    task = table(kind)
    ours = network(tab_resnet(task, n_blocks=2, d_block=8, epochs=1), task)
    x = one_hot(kind)
    theirs = rtdl.ResNet(
        d_in=x.shape[1],
        d_out=1,
        n_blocks=2,
        d_block=8,
        d_hidden_multiplier=2.0,
        dropout1=0.15,
        dropout2=0.0,
    ).eval()
    pairs = (
        (r"block\.(\d)\.tab_resnet_block", r"blocks.\1"),
        ("batch_norm1d", "output.normalization"),
        ("head", "output.linear"),
    )
    give(theirs, renamed(ours, *pairs))
    theirs.load_state_dict(renamed(ours, *pairs, buffers=True))  # with statistics of batches
    assert count(ours) == count(theirs)
    agree(ours, kind, theirs(x))


def transformer_state(ours: torch.nn.Module, sizes: list[int]) -> dict[str, torch.Tensor]:
    state = renamed(
        ours,
        (r"block\.(\d)\.ft_transformer_block", r"backbone.blocks.\1"),
        ("attention_norm", "attention_normalization"),
        ("ffn_norm", "ffn_normalization"),
        (r"ffn\.0", "ffn.linear1"),
        (r"ffn\.3", "ffn.linear2"),
        (r"attention\.query", "attention.W_q"),
        (r"attention\.key", "attention.W_k"),
        (r"attention\.value", "attention.W_v"),
        (r"attention\.output", "attention.W_out"),
        ("layer_norm", "backbone.output.normalization"),
        ("head", "backbone.output.linear"),
        ("cls_token", "cls_embedding"),
        ("tokenizer_num", "cont_embeddings"),
        ("tokenizer_categ", "cat_embeddings"),
    )
    vectors = state.pop("cat_embeddings.vectors.table.weight", None)
    for i, part in enumerate(() if vectors is None else vectors.split(sizes)):
        state[f"cat_embeddings.embeddings.{i}.weight"] = part
    return state


@pytest.mark.parametrize("n_blocks", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_ft_transformer_is_that_of_the_paper(kind: str, n_blocks: int) -> None:
    task = table(kind)
    graph = ft_transformer(task, n_blocks=n_blocks, d_token=16, ffn_dropout=0.1, epochs=0)
    ours = network(graph, task)
    numbers, codes = inputs(kind)
    sizes = [] if codes is None else [n + 1 for n in LEVELS]  # one for levels not seen
    theirs = rtdl.FTTransformer(
        n_cont_features=0 if numbers is None else 3,
        cat_cardinalities=sizes,
        **{**rtdl.FTTransformer.get_default_kwargs(n_blocks), "d_block": 16},
        d_out=1,
    ).eval()
    give(theirs, transformer_state(ours, sizes))
    assert count(ours) == count(theirs)
    agree(ours, kind, theirs(numbers, codes))


@pytest.mark.parametrize("n_blocks", range(1, 7))
def test_defaults_of_ft_transformer_are_those_of_the_package(n_blocks: int) -> None:
    wanted = rtdl.FTTransformer.get_default_kwargs(n_blocks)
    params = ft_transformer(table("numeric"), n_blocks=n_blocks).params()
    block = "block__ft_transformer_block__"
    assert params["tokenizer_num__d_token"] == wanted["d_block"]
    assert params["block__n_blocks"] == wanted["n_blocks"]
    for name in ("attention_n_heads", "attention_dropout", "ffn_dropout", "residual_dropout"):
        assert params[block + name] == pytest.approx(wanted[name])
    assert (params["torch_optimizer__lr"], params["torch_optimizer__weight_decay"]) == (1e-4, 1e-5)


def embedded(kind: str | None, task: Task) -> torch.nn.Module | None:
    """The package's embedding for numbers scaled as the recipe does."""
    rows = torch.from_numpy(task.select(sel.type("float", "int")).to_numpy()[0])
    rows = ((rows - rows.mean(0)) / rows.std(0, correction=0)).float()
    if kind == "piecewise_linear":
        bins = rtdl_num_embeddings.compute_bins(rows, n_bins=8)
        return rtdl_num_embeddings.PiecewiseLinearEmbeddings(bins, 4, activation=False, version="B")
    if kind == "periodic":
        return rtdl_num_embeddings.PeriodicEmbeddings(3, 4, lite=False)
    return rtdl_num_embeddings.LinearReLUEmbeddings(3, 4) if kind else None


TABM = (
    (r"block\.(\d)\.(ensemble_linear|separate_linear|linear)", r"backbone.blocks.\1.0"),
    ("ensemble_scale", "backbone.affine"),
    ("ensemble_head", "output"),
    (r"piecewise_linear_embedding\.linear", "num_module.linear0"),
    (r"piecewise_linear_embedding\.map", "num_module.linear"),
    (r"periodic_embedding\.0", "num_module.periodic"),
    (r"periodic_embedding\.1", "num_module.linear"),
    (r"linear_relu_embedding\.0", "num_module.linear"),
)


@pytest.mark.parametrize("arch", ["tabm", "tabm-mini", "tabm-packed"])
@pytest.mark.parametrize(
    ("kind", "embedding"),
    [
        ("categorical", None),
        *itertools.product(
            ["numeric", "mixed"], [None, "piecewise_linear", "periodic", "linear_relu"]
        ),
    ],
)
def test_tabm_is_that_of_the_paper(kind: str, embedding: str | None, arch: str) -> None:
    task = table(kind)
    graph = tabm(
        task,
        arch_type=arch,
        k=3,
        d_block=8,
        num_embeddings=embedding,
        d_embedding=4 if embedding else None,
        embedding={"n_bins": 8} if embedding == "piecewise_linear" else None,
        epochs=2,
        lr=0.1,
    )
    ours = network(graph, task)
    numbers, codes = inputs(kind)
    theirs = tabm_package.TabM.make(
        n_num_features=0 if numbers is None else 3,
        cat_cardinalities=[] if codes is None else list(LEVELS),
        num_embeddings=embedded(embedding, task) if embedding else None,
        d_out=1,
        k=3,
        d_block=8,
        arch_type=arch,
    ).eval()
    give(theirs, renamed(ours, *TABM))
    assert count(ours) == count(theirs)
    if numbers is None:  # without numbers, the package's packed one cannot multiply its integers
        members = theirs.ensemble_view(one_hot(kind))
        agree(ours, kind, theirs.output(theirs.backbone(members)))
    else:
        agree(ours, kind, theirs(numbers, codes))


@pytest.mark.parametrize("embedding", [None, "periodic"])
@pytest.mark.parametrize("arch", ["tabm", "tabm-mini", "tabm-packed"])
def test_defaults_of_tabm_are_those_of_the_package(arch: str, embedding: str | None) -> None:
    made = tabm_package.TabM.make(
        n_num_features=3,
        num_embeddings=rtdl_num_embeddings.PeriodicEmbeddings(3, lite=False) if embedding else None,
        d_out=1,
        arch_type=arch,
    )
    task = table("numeric")
    ours = network(tabm(task, arch_type=arch, num_embeddings=embedding, epochs=0), task)
    assert count(ours) == count(made)
    assert len(list(ours.block.children())) == len(made.backbone.blocks)
    assert ours.ensemble.k == made.k


@pytest.mark.parametrize(("embedding", "start"), [(None, "random-signs"), ("periodic", "normal")])
def test_the_members_of_tabm_start_different_in_the_first_layer_only(
    embedding: str | None, start: str
) -> None:
    task = table("mixed")
    params: dict[str, Any] = {"k": 3, "d_block": 8, "num_embeddings": embedding, "epochs": 0}
    ours = network(tabm(task, **params), task)
    first, second = (ours.block.get_submodule(f"{i}.ensemble_linear") for i in range(2))
    assert (first.r.abs() == 1).all() == (start == "random-signs")
    assert first.r.std(0).max() > 0
    assert torch.equal(second.r, torch.ones_like(second.r))
    sizes = [1 if embedding is None else 24] * 3 + list(LEVELS)
    assert all((part == part[:, :1]).all() for part in first.r.split(sizes, dim=1))
    mini = network(tabm(task, arch_type="tabm-mini", **params), task).ensemble_scale.weight
    assert all((part == part[:, :1]).all() for part in mini.split(sizes, dim=1))
    assert (mini.abs() == 1).all() == (start == "random-signs")


# As graphs


@pytest.mark.parametrize("recipe", [*TABLES, featureless])
@pytest.mark.parametrize("data", [penguins, mtcars])
def test_recipes_train_and_predict(recipe: Callable[..., Graph], data: Callable[[], Task]) -> None:
    task = data()
    params = {} if recipe is featureless else small(recipe)
    graph = recipe(task, epochs=2, progress=False, **params)
    fitted = pickle.loads(pickle.dumps(graph.fit(task, valid=0.2, seed=1)))
    prediction = fitted.predict(task)
    assert len(prediction) == len(task)
    if task.kind == "classification":
        np.testing.assert_allclose(prediction.prob.sum(1), 1)


@pytest.mark.parametrize("recipe", TABLES)
def test_recipes_learn(recipe: Callable[..., Graph]) -> None:
    task = penguins()
    graph = recipe(task, lr=0.01, epochs=15, progress=False, **small(recipe))
    assert graph.fit(task, seed=1).predict(task).score("accuracy") > 0.95


@pytest.mark.parametrize("recipe", TABLES)
def test_missing_values_and_new_levels_are_predicted(recipe: Callable[..., Graph]) -> None:
    task = table("mixed")
    fitted = recipe(task, epochs=1, progress=False, **small(recipe)).fit(task, seed=1)
    new = {"a": [None, 1.0], "b": [0.0, None], "c": [None, 3], "u": ["new", None]}
    response = fitted.predict({**new, "v": [None, True]}).response
    assert np.isfinite(response).all()


@pytest.mark.parametrize("recipe", TABLES)
def test_dates_are_taken_apart(recipe: Callable[..., Graph]) -> None:
    days = np.datetime64("2024-01-01", "s") + np.arange(ROWS) * np.timedelta64(3601, "s")
    task = Task({"d": days, "u": ["k", "l"] * (ROWS // 2), "y": np.arange(float(ROWS))}, target="y")
    graph = recipe(task, epochs=1, progress=False, **small(recipe))
    fitted = graph.fit(task, seed=1)
    names = fitted.trained().descriptor.tokens["ingress_num"].columns
    assert {"d.month", "d.hour"} < set(names)
    only_dates = recipe(task.select("d"), epochs=1, progress=False, **small(recipe))
    assert len(only_dates.fit(task.select("d"), seed=1).predict(task)) == ROWS


def test_numbers_can_be_scaled_to_a_normal_distribution() -> None:
    task = table("numeric")
    graph = mlp(task, d_block=8, scaling="quantile", epochs=1, progress=False)
    task_in = graph.fit(task, seed=1, keep="scale").kept["scale"]["output"]
    column = task_in.column("c").to_numpy()
    assert abs(column.mean()) < 0.01
    assert column[:-1].argmax() == ROWS - 2


def test_parameters_of_all_blocks_are_changed_by_one_address() -> None:
    task = table("mixed")
    graph = ft_transformer(task, n_blocks=3, d_token=16, epochs=0)
    changed = graph.with_params(
        {"block__ft_transformer_block__ffn_d_hidden": 5, "torch_model__batch_size": 7}
    )
    ours = network(changed, task)
    widths = {
        ours.get_submodule(f"block.{i}.ft_transformer_block.ffn.3").in_features for i in range(3)
    }
    assert widths == {5}


@pytest.mark.parametrize("recipe", TABLES)
def test_no_blocks_work(recipe: Callable[..., Graph]) -> None:
    task = table("mixed")
    params = {**small(recipe), "n_blocks": 0}
    fitted = recipe(task, epochs=1, progress=False, **params).fit(task, seed=1)
    assert len(fitted.predict(task)) == ROWS


def test_hyper_parameters_arrive_where_they_belong() -> None:
    task = table("numeric")
    params = mlp(
        task,
        n_blocks=4,
        d_block=9,
        dropout=0.3,
        activation="gelu",
        lr=0.5,
        weight_decay=0.25,
        epochs=7,
        patience=2,
    ).params()
    assert params["block__n_blocks"] == 4
    assert params["block__linear__out_features"] == 9
    assert params["block__dropout__p"] == 0.3
    assert "block__gelu__approximate" in params
    assert (params["torch_optimizer__lr"], params["torch_optimizer__weight_decay"]) == (0.5, 0.25)
    assert (params["torch_model__epochs"], params["torch_model__patience"]) == (7, 2)


def test_a_constant_column_has_no_bins_and_is_left_out() -> None:
    task = Task({"a": np.arange(30.0), "b": [1.0] * 30, "y": np.arange(30.0)}, target="y")
    params = {**small(tabm), "num_embeddings": "piecewise_linear", "embedding": {"n_bins": 4}}
    fitted = tabm(task, epochs=1, progress=False, **params).fit(task, seed=1)
    assert fitted.trained().descriptor.tokens["ingress_num"].columns == ("a",)


def test_quantities_are_learned_standardised_and_predicted_in_their_units() -> None:
    task = Task({"x": [0.0] * 20, "y": np.linspace(9000.0, 11000.0, 20)}, target="y")
    for recipe in (featureless, mlp):
        response = recipe(task, epochs=1, progress=False).fit(task, seed=1).predict(task).response
        np.testing.assert_allclose(response, 10000, atol=700)


@pytest.mark.parametrize("recipe", [mlp, tabm, featureless])
@pytest.mark.parametrize("kind", ["multitarget", "normal", "quantile"])
def test_recipes_predict_other_kinds_of_quantities(recipe: Callable[..., Graph], kind: str) -> None:
    x = np.random.default_rng(0).normal(size=ROWS)
    data = {"x": x, "y": 100 * x + 5000, "z": -x}
    if kind == "multitarget":
        task = Task(data, target=["y", "z"])
    else:
        levels = QuantileRegression(levels=(0.1, 0.5, 0.9))
        task = Task(data, target="y", kind=levels if kind == "quantile" else kind)
    params = {} if recipe is featureless else small(recipe)
    fitted = recipe(task, epochs=1, progress=False, **params).fit(task, seed=1)
    response = fitted.predict(task).response.reshape(ROWS, -1)[:, 0]
    np.testing.assert_allclose(response, 5000, atol=400)


@pytest.mark.parametrize("recipe", TABLES)
def test_networks_of_recipes_are_compiled_and_exported(recipe: Callable[..., Graph]) -> None:
    task = table("mixed")
    module = network(recipe(task, epochs=0, **small(recipe)), task)
    numbers, codes = inputs("mixed")
    wanted = module(numbers, codes)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(numbers, codes), wanted)
    rows = {0: torch.export.Dim("rows")}
    exported = torch.export.export(
        module, (numbers[:9], codes[:9]), dynamic_shapes=(rows, rows)
    ).module()
    torch.testing.assert_close(exported(numbers, codes), wanted)


@pytest.mark.parametrize("recipe", [*TABLES, featureless])
def test_a_recipe_is_a_value(recipe: Callable[..., Graph]) -> None:
    one, two = recipe(table("mixed"), epochs=3), recipe(table("mixed"), epochs=3)
    assert one == two
    assert hash(one) == hash(two)
    assert recipe(table("mixed"), epochs=4) != one


def test_a_baseline_learns_the_shares_of_the_classes() -> None:
    task = penguins()
    fitted = featureless(task, progress=False).fit(task, seed=1)
    shares = np.bincount(task.target_codes()) / len(task)
    np.testing.assert_allclose(fitted.predict(task).prob[0], shares, atol=0.03)


# Refusals


@pytest.mark.parametrize("recipe", [*TABLES, featureless])
def test_a_recipe_needs_a_task(recipe: Callable[..., Graph]) -> None:
    with pytest.raises(DataError, match="got a dict") as caught:
        recipe({"x": [1.0]})
    assert "Task(" in caught.value.mend


@pytest.mark.parametrize("recipe", TABLES)
def test_a_task_without_features_is_refused(recipe: Callable[..., Graph]) -> None:
    with pytest.raises(DataError, match="no feature to learn from"):
        recipe(Task({"y": [1.0, 2.0]}, target="y"))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"arch_type": "tabm_mini"}, "cannot take arch_type='tabm_mini'"),
        ({"num_embeddings": "periodical"}, "cannot take num_embeddings='periodical'"),
        ({"scaling": "log"}, "cannot take scaling='log'"),
        ({"arch_type": "tabm-packed", "start_scaling_init": "normal"}, "no vectors to start"),
        ({"num_embeddings": "periodic", "embedding": {"n_bins": 3}}, "n_bins"),
    ],
)
def test_impossible_choices_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tabm(table("numeric"), **params)


def test_embeddings_of_numbers_need_numbers() -> None:
    with pytest.raises(ConfigError, match="no numbers to embed"):
        tabm(table("categorical"), num_embeddings="periodic")


def test_an_unknown_parameter_of_the_trainer_is_refused() -> None:
    with pytest.raises(ConfigError, match="epoch"):
        mlp(table("numeric"), epoch=3)


def test_all_recipes_are_listed() -> None:
    names = (recipe.__name__ for recipe in (*TABLES, featureless, recipes.vision))
    assert recipes.__all__ == sorted(names)


@pytest.mark.parametrize("recipe", [featureless, *TABLES])
def test_a_recipe_comes_back_from_a_document_and_from_a_file(recipe, tmp_path):
    task = table("mixed")
    graph = recipe(task, epochs=1, **({} if recipe is featureless else small(recipe)))
    graph = graph.with_params(torch_model__progress=False)
    assert Graph.from_dict(graph.to_dict()) == graph
    graph.save(tmp_path / "graph.mlgraph")
    assert load(tmp_path / "graph.mlgraph") == graph
    fitted = graph.fit(task, seed=1)
    fitted.save(tmp_path / "fitted.mlgraph")
    found = load(tmp_path / "fitted.mlgraph").predict(task).response
    np.testing.assert_array_equal(found, fitted.predict(task).response)


def test_a_network_for_images_comes_back_as_well():
    graph = vision("resnet18", epochs=1)
    assert Graph.from_dict(graph.to_dict()) == graph
