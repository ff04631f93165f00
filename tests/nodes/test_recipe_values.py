"""Parameters of recipes: what may be left to tuning, and what is refused."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from mlgraph import ConfigError, DataError, Task, nn, recipe, tune
from mlgraph.catalogue import catalogue
from mlgraph.errors import UnknownParameterError
from mlgraph_nodes.recipe_values import knows
from mlgraph_nodes.recipes import mlp, tabm

TABLES = ("mlp", "tab_resnet", "ft_transformer", "tabm")
NO_VALUES = ("task", "trainer")


def task() -> Task:
    data = {"x": [1.0, 2.0, 3.0], "u": ["k", "l", "k"], "y": [0.5, 1.0, 1.5]}
    return Task(data, target="y")


def parameters() -> list[tuple[str, str]]:
    """Every parameter of every recipe that is a value."""
    made = catalogue().recipes
    names = {key: inspect.signature(made[key]).parameters for key in (*TABLES, "vision")}
    return [(key, name) for key in names for name in names[key] if name not in NO_VALUES]


# Tuning


@pytest.mark.parametrize(("key", "name"), parameters())
def test_a_token_stands_at_one_place_or_is_refused_by_name(key: str, name: str) -> None:
    token = tune([1, 2])
    args = () if key == "vision" else (task(),)
    try:
        space = recipe(key, *args, **{name: token}).search_space()
    except ConfigError as refused:
        assert refused.what == f'recipe("{key}") cannot leave {name} to tuning.'
        assert "make one graph for each value" in refused.mend
        assert f'recipe("{key}", ...).with_params(' in refused.mend
    else:
        assert list(space.values()) == [token]


@pytest.mark.parametrize(
    ("key", "params", "space"),
    [
        (
            "mlp",
            {"n_blocks": tune(1, 3), "d_block": tune(64, 512, log=True), "epochs": tune(1, 9)},
            {"block__n_blocks", "block__linear__out_features", "torch_model__epochs"},
        ),
        ("tabm", {"k": tune(8, 64)}, {"ensemble__k"}),
        ("ft_transformer", {"ffn_dropout": tune(0.0, 0.5)}, {"ffn_dropout"}),
        (
            "tabm",
            {"num_embeddings": "periodic", "embedding": {"n_frequencies": tune(4, 8)}},
            {"periodic_embedding__n_frequencies"},
        ),
    ],
)
def test_what_a_recipe_passes_on_may_be_left_to_tuning(
    key: str, params: dict[str, Any], space: set[str]
) -> None:
    found = recipe(key, task(), **params).search_space()
    assert len(found) == len(space)
    assert all(any(path.endswith(end) for path in found) for end in space)


def test_what_the_error_advises_works() -> None:
    graph = recipe("ft_transformer", task().select("x"), n_blocks=1)
    tuned = graph.with_params(tokenizer_num__d_token=tune(8, 64))
    assert tuned.search_space() == {"tokenizer_num__d_token": tune(8, 64)}


def test_a_model_of_torchvision_is_left_to_tuning_without_weights_only() -> None:
    names = tune(["resnet18", "resnet34"])
    assert recipe("vision", names).search_space() == {"vision__name": names}
    with pytest.raises(ConfigError, match="cannot leave name to tuning"):
        recipe("vision", names, weights="DEFAULT")


# Values


@pytest.mark.parametrize(
    ("key", "params", "expected"),
    [
        ("ft_transformer", {"n_blocks": 1.5}, "an integer"),
        ("ft_transformer", {"n_blocks": "3"}, "an integer"),
        ("ft_transformer", {"n_blocks": True}, "an integer"),
        ("ft_transformer", {"d_token": "8"}, "an integer or None"),
        ("tabm", {"n_blocks": "3"}, "an integer or None"),
        ("tabm", {"embedding": 3}, "a dict or None"),
        ("tabm", {"num_embeddings": 3}, "None or one of 'piecewise_linear', 'periodic'"),
        ("mlp", {"activation": 3}, "a string"),
        ("mlp", {"scaling": "standart"}, "'quantile'. Did you mean 'standard'?"),
    ],
)
def test_a_wrong_value_is_refused_as_it_was_given(
    key: str, params: dict[str, Any], expected: str
) -> None:
    ((name, value),) = params.items()
    with pytest.raises(ConfigError) as refused:
        recipe(key, task(), **params)
    assert refused.value.what == f'recipe("{key}") cannot take {name}={value!r}.'
    assert refused.value.where == f"parameter {name!r}"
    assert expected in refused.value.why


@pytest.mark.parametrize("given", [{"d_embedding": 3}, {"embedding": {"n_bins": 3}}])
def test_parameters_of_an_embedding_need_one(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"no embedding to take '{next(iter(given))}'") as refused:
        recipe("tabm", task(), **given)
    assert refused.value.mend == 'choose one: num_embeddings="periodic"'


@pytest.mark.parametrize("width", [4, tune(4, 8)])
@pytest.mark.parametrize("outer", [None, 3])
def test_the_width_of_an_embedding_is_given_at_one_place(width: Any, outer: int | None) -> None:
    inner = {"d_embedding": width}
    with pytest.raises(ConfigError, match="a parameter of its own") as refused:
        tabm(task(), num_embeddings="periodic", d_embedding=outer, embedding=inner)
    assert refused.value.mend == f"write d_embedding={width!r}"


def test_what_is_no_task_is_refused_before_its_types_are_asked_for() -> None:
    with pytest.raises(DataError, match="got a dict"):
        tabm({"x": [1.0]}, num_embeddings="periodic")


# Names


@pytest.mark.parametrize("key", [*TABLES, "featureless"])
def test_a_parameter_nobody_has_is_refused_with_those_of_both(key: str) -> None:
    with pytest.raises(UnknownParameterError) as refused:
        recipe(key, task(), epoch=3)
    assert refused.value.what == f"recipe(\"{key}\") has no parameter 'epoch'."
    assert "its parameters are 'task'" in refused.value.why
    assert "those of torch_model: 'epochs', 'batch_size'" in refused.value.why
    assert refused.value.mend == "Did you mean 'epochs'?"


def test_the_nearest_names_are_those_of_the_recipe_as_well() -> None:
    with pytest.raises(UnknownParameterError) as refused:
        mlp(task(), dblock=3)
    assert refused.value.mend.startswith("Did you mean 'd_block'")
    assert "'d_block'" in refused.value.why
    assert mlp(task(), id="trainer").ids[-2] == "trainer"


def test_a_recipe_that_passes_nothing_on_leaves_other_names_to_python() -> None:
    @knows("depth")
    def plain(task: Task, *, depth: int = 2) -> Any:
        return nn("block", nn("linear", 8), depth) >> nn("head")

    assert plain(task(), depth=3)["block"].parameters()["n_blocks"] == 3
    with pytest.raises(TypeError, match="unexpected keyword"):
        plain(task(), deep=3)
