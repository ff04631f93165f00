"""Asking for recipes: calls that do not fit, and recipes of other packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mlgraph import ConfigError, Task, nn, po, recipe, recipes
from mlgraph.catalogue import catalogue
from mlgraph.errors import UnknownKeyError, UnknownParameterError

TASK = Task({"x": [1.0, 2.0], "y": [0.5, 1.0]}, target="y")

WAVES = """
from mlgraph import nn, po

def wave_net(task, width=4, *, depth):
    return nn("linear", width) >> nn("head") >> po("torch_model")
"""


@pytest.mark.parametrize(
    ("ask", "why", "call"),
    [
        (
            lambda: recipe("mlp"),
            "missing a required argument: 'task'",
            'write recipe("mlp", task, n_blocks=2, d_block=384,',
        ),
        (
            lambda: recipe("vision", TASK, "resnet18"),
            "too many positional arguments",
            "write recipe(\"vision\", name='resnet18', weights=None, lr=0.001, ...)",
        ),
        (
            lambda: recipe("mlp", TASK, task=TASK),
            "multiple values for argument 'task'",
            'write recipe("mlp", task,',
        ),
    ],
)
def test_a_call_that_does_not_fit_is_answered_with_one_that_does(
    ask: Callable[[], Any], why: str, call: str
) -> None:
    with pytest.raises(ConfigError, match="cannot be called like this") as refused:
        ask()
    assert refused.value.why == why
    assert refused.value.mend.startswith(call)


def test_calls_of_other_packages_are_answered_as_well(install: Callable[..., None]) -> None:
    install("waves", "", {"recipes": WAVES})
    with pytest.raises(UnknownParameterError, match="has no parameter 'widht'") as found:
        recipe("wave_net", TASK, widht=3)
    assert found.value.why == "its parameters are 'task', 'width', 'depth'"
    assert found.value.mend == "Did you mean 'width'?"
    with pytest.raises(ConfigError) as refused:
        recipe("wave_net", TASK)
    assert refused.value.mend == 'write recipe("wave_net", task, width=4, depth=...)'


@pytest.mark.parametrize("key", [3, None, ["qqqqqq"], "qqqqqq"])
def test_what_is_no_recipe_is_refused(key: Any) -> None:
    with pytest.raises(UnknownKeyError, match="No recipe is called") as refused:
        recipe(key, TASK)
    assert refused.value.mend == "mlgraph.recipes() lists them all"


def test_an_unknown_recipe_names_packages_that_could_not_be_loaded(
    install: Callable[..., None],
) -> None:
    install("broken", "", {"recipes": "import a_package_that_is_not_there"})
    with pytest.raises(UnknownKeyError) as refused:
        recipe("wave_net", TASK)
    assert "there are 'featureless', 'ft_transformer', 'mlp'" in refused.value.why
    assert "broken could not be loaded (ModuleNotFoundError" in refused.value.why


def test_a_recipe_with_the_name_of_another_is_refused_and_takes_nothing_else_down(
    install: Callable[..., None],
) -> None:
    ours = catalogue().recipes["mlp"]
    install("double", "", {"recipes": "def mlp(task): ...\ndef other(task): ..."})
    install("waves", "", {"recipes": WAVES})
    assert list(catalogue().failures) == ["double"]
    assert "double and mlgraph both offer the recipe 'mlp'" in catalogue().failures["double"]
    assert catalogue().recipes["mlp"] is ours
    found = set(recipes()["key"].to_pylist())
    assert "wave_net" in found and "other" not in found
    with pytest.raises(UnknownKeyError, match="both offer the recipe 'mlp'"):
        recipe("other", TASK)


def test_a_recipe_that_is_only_passed_on_is_no_double(install: Callable[..., None]) -> None:
    passed = "from mlgraph_nodes.recipes import mlp\n__all__ = ['mlp', 'mine']\ndef mine(task): ..."
    install("waves", "", {"recipes": passed})
    assert catalogue().failures == {}
    assert "mine" in catalogue().recipes


def test_two_other_packages_cannot_share_a_name_either(install: Callable[..., None]) -> None:
    install("aaa", "", {"recipes": WAVES})
    install("bbb", "", {"recipes": WAVES})
    assert "bbb and aaa both offer the recipe 'wave_net'" in catalogue().failures["bbb"]


def test_a_recipe_is_not_found_among_nodes_but_named_and_a_node_among_recipes() -> None:
    for ask in (lambda: po("mlp"), lambda: nn("mlp")):
        with pytest.raises(UnknownKeyError) as caught:
            ask()
        assert caught.value.mend == 'write recipe("mlp", task): it is a recipe'
    with pytest.raises(UnknownKeyError) as caught:
        recipe("scale")
    assert "po('scale')" in caught.value.mend
