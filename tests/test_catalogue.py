"""Finding nodes by key, in packages that work and in packages that do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

import mlgraph
from mlgraph import Layer, nn, nodes, po
from mlgraph.catalogue import KEY, catalogue, find
from mlgraph.core.node import Node
from mlgraph.core.port import Port
from mlgraph.errors import (
    ConfigError,
    GraphError,
    MLGraphError,
    UnknownKeyError,
    UnknownParameterError,
)

Install = Callable[..., None]


NODE = """
from mlgraph import Node, Port
class {name}(Node):
    "{name} does little."
    {body}
    inputs = (Port("input"),)
    outputs = (Port("output"),)
    size: int = 1
    def fit(self, inputs, ctx): return (0,), None
    def apply(self, state, inputs, ctx): return (0,)
"""


def node(name: str, body: str = "") -> str:
    return NODE.format(name=name, body=body)


# Keys and ids


def test_a_node_is_found_by_its_key_and_takes_its_parameters() -> None:
    assert po("copy", n=3) == po("copy", 3)
    assert po("nop").id is None
    assert po("nop").default_id == "nop"


def test_a_number_behind_the_key_chooses_the_id() -> None:
    assert po("nop_12").id == "nop_12"
    assert find("nop_12")[0] is find("nop")[0]
    assert po("nop_12", id="mine").id == "mine", "an explicit id wins"


def test_a_network_node_leaves_its_prefix_out_of_its_id() -> None:
    assert nn("linear", out_features=2).default_id == "linear"
    assert (nn("linear_1").id, nn("linear_1", id="x").id) == ("linear_1", "x")
    assert po("nn_linear").default_id == "nn_linear"
    assert (nn("linear") >> nn("linear")).ids == ("linear", "linear_2")


@pytest.mark.parametrize("id", ["", "a__b", "a_", "a.b", "1"])
def test_an_id_that_cannot_be_one_is_refused(id: str) -> None:
    for make in (po, lambda key, id: nn("linear", id=id)):
        with pytest.raises(GraphError, match="cannot be called"):
            make("nop", id=id)


@pytest.mark.parametrize(
    ("ask", "suggestion"),
    [
        (lambda: po("nopp"), "'nop'"),
        (lambda: po("brnach_2"), "'branch'"),
        (lambda: po("linear"), "'nn_linear'"),
        (lambda: nn("linaer"), "'nn_linear'"),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(
    ask: Callable[[], Any], suggestion: str
) -> None:
    with pytest.raises(UnknownKeyError, match="No node is called") as refused:
        ask()
    assert suggestion in refused.value.mend
    assert "nodes are installed" in refused.value.why


def test_a_key_like_no_other_points_to_the_listing() -> None:
    with pytest.raises(UnknownKeyError) as refused:
        po("qqqqqq")
    assert refused.value.mend == "mlgraph.nodes() lists them all"


def test_wrong_parameters_name_the_node_as_it_was_asked_for() -> None:
    with pytest.raises(UnknownParameterError, match=r'po\("copy"\) has no parameter \'m\''):
        po("copy", m=3)
    with pytest.raises(ConfigError, match=r'po\("branch"\) needs \'options\''):
        po("branch")
    with pytest.raises(ConfigError, match=r'po\("copy"\) takes 1 parameters, and got 2'):
        po("copy", 1, 2)


@pytest.mark.parametrize("key", [3, None, object()])
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(GraphError, match="cannot make a node of a"):
        po(key)
    with pytest.raises(GraphError, match="takes a key"):
        nn(key)


# The listing


def test_every_node_is_listed_once_with_its_ports_and_parameters() -> None:
    table = nodes()
    keys = table["key"].to_pylist()
    assert keys == sorted(set(keys))
    row = table.to_pylist()[keys.index("nop")]
    assert row["inputs"] == ["input"] and row["outputs"] == ["output"]
    assert row["label"].startswith("Pass the input on")
    assert row["provider"] == "mlgraph"


def test_every_key_can_be_asked_for() -> None:
    for key, offer in catalogue().offers.items():
        assert find(key) == (offer.node, None)
        assert KEY.fullmatch(key)
        assert find(f"{key}_7") == (offer.node, f"{key}_7")


def test_our_own_nodes_all_load() -> None:
    assert "mlgraph" not in catalogue().failures


# Other packages


def test_a_package_offers_the_nodes_of_all_its_modules(install: Install) -> None:
    install("waves", "", {"one": node("WaveOne"), "two": node("WaveTwo")})
    offer = catalogue().offers["wave_one"]
    assert (offer.provider, offer.version) == ("waves", "1.5")
    assert po("wave_two", size=3).parameters() == {"size": 3}
    assert "wave_one" in nodes()["key"].to_pylist()


def test_imported_abstract_and_private_classes_are_not_offered(install: Install) -> None:
    base = node("_WaveBase") + "class WaveChild(_WaveBase):\n    pass\n"
    half = "from mlgraph.core.route import Nop\nclass WaveHalf(Node):\n    pass\n"
    install("waves", base + half)
    offered = {key for key, offer in catalogue().offers.items() if offer.provider == "waves"}
    assert offered == {"wave_child"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import a_package_that_is_not_there", "ModuleNotFoundError: No module named"),
        ("1 / 0", "ZeroDivisionError"),
        ("def :", "SyntaxError"),
        (node("Bad", 'key = "bad_2"'), "Bad cannot have the key 'bad_2'"),
        (node("Bad", 'key = "Bad"'), "Bad cannot have the key 'Bad'"),
        (node("Bad", 'key = "nop"'), "broken and mlgraph both offer 'nop'"),
        (node("Bad") + node("Worse", 'key = "bad"'), "broken offers 'bad' twice"),
    ],
)
def test_a_broken_package_is_left_out_and_named(install: Install, code: str, reason: str) -> None:
    install("broken", code)
    install("waves", node("WaveFine"))
    assert list(catalogue().failures) == ["broken"]
    assert reason in catalogue().failures["broken"]
    assert po("wave_fine").key == "wave_fine"
    assert catalogue().offers["nop"].provider == "mlgraph"
    with pytest.raises(UnknownKeyError) as refused:
        po("wave_that_is_nowhere_at_all")
    assert "broken could not be loaded" in refused.value.why
    assert reason in refused.value.why
    assert nodes().num_rows == len(catalogue().offers)


def test_a_package_is_loaded_once(install: Install) -> None:
    install(
        "waves",
        node("WaveOnce") + "\nimport sys\nsys.wave_loads = getattr(sys, 'wave_loads', 0) + 1",
    )
    for _ in range(3):
        po("wave_once")
    assert sys.wave_loads == 1
    del sys.wave_loads


# Classes of a user


class MyOwnToy(Node):
    inputs = (Port("input"),)
    outputs = (Port("output"),)
    size: int = 1

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return (0,), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Any) -> Any:
        return (0,)


def test_a_class_of_a_user_is_found_without_registration() -> None:
    assert po("my_own_toy", size=2) == MyOwnToy(size=2)
    assert po("my_own_toy_3").id == "my_own_toy_3"
    with pytest.raises(UnknownKeyError) as refused:
        po("my_own_toyy")
    assert "'my_own_toy'" in refused.value.mend


class HalfAToy(Node):
    inputs = (Port("input"),)
    outputs = (Port("output"),)

    def fit(self, inputs: Mapping[str, Any], ctx: Any) -> tuple[Any, Any]:
        return (0,), None


class Forwarding(Layer):
    def forward(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize("key", ["half_a_toy", "half_a_toy_2"])
def test_a_class_that_is_not_finished_is_named_with_what_it_lacks(key: str) -> None:
    with pytest.raises(UnknownKeyError, match=f"{key!r}: the class HalfAToy is not") as refused:
        po(key)
    assert refused.value.why == "it does not define 'apply'"
    assert refused.value.mend == "define 'apply'; help(NodeBase.apply) says what for"
    with pytest.raises(UnknownKeyError, match="Forwarding is not finished") as refused:
        nn("forwarding")
    assert refused.value.mend == "define 'build'; help(Layer.build) says what for"


def test_a_base_of_other_nodes_is_not_called_unfinished() -> None:
    with pytest.raises(UnknownKeyError, match=r"No node is called 'nn_layer'\.\n"):
        nn("layer")


def test_a_class_that_was_refused_is_not_found() -> None:
    kept = []
    for base, body in ((Layer, "build"), (MyOwnToy, "__init__")):
        with pytest.raises(MLGraphError) as refused:
            type("TurnedDown", (base,), {body: lambda self: None})
        kept.append(refused)  # and with it the class
    for ask in (lambda: nn("turned_down"), lambda: po("turned_down"), lambda: nn("layer")):
        with pytest.raises(UnknownKeyError, match=r"No node is called '[a-z_]+'\.\n"):
            ask()
    assert type(po("my_own_toy")) is MyOwnToy


def test_the_latest_definition_of_a_class_is_the_one_that_is_found() -> None:
    def cell(default: int) -> type[Node]:
        class NotebookToy(MyOwnToy):
            size: int = default

        return NotebookToy

    first, second = cell(1), cell(2)
    assert isinstance(po("notebook_toy"), second)
    assert not isinstance(po("notebook_toy"), first)


SCRIPT = """
from mlgraph import Node, Port, po
class ScriptToy(Node):
    inputs = (Port("input", int),)
    outputs = (Port("output", int),)
    def fit(self, inputs, ctx): return (inputs["input"] + 1,), None
    def apply(self, state, inputs, ctx): return (inputs["input"] + 1,)
print((po("script_toy") >> po("script_toy_7")).fit(1).predict(2))
"""


def test_a_class_of_a_script_is_found_too() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout == "4\n", done.stderr


def test_the_function_is_not_the_package_of_nodes() -> None:
    assert mlgraph.nodes is nodes


# Recipes


RECIPES = """
from mlgraph import nn, po

def wave_net(task, width=4):
    "A net of waves."
    return nn("linear", width) >> nn("head") >> po("torch_model", epochs=1, progress=False)

def _helper():
    pass
"""


def test_a_package_offers_the_public_functions_of_its_recipes(install: Install) -> None:
    install("waves", "", {"recipes": RECIPES})
    graph = mlgraph.recipe("wave_net", None, width=8)
    assert graph.ids == ("linear", "head", "torch_model")
    assert graph["linear"].parameters()["out_features"] == 8
    rows = {row["key"]: row for row in mlgraph.recipes().to_pylist()}
    assert rows["wave_net"]["label"] == "A net of waves."
    assert rows["wave_net"]["parameters"] == ["task", "width"]
    assert "_helper" not in rows and "nn" not in rows


def test_an_unknown_recipe_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownKeyError, match="Did you mean 'mlp'"):
        mlgraph.recipe("mpl")


def test_a_package_without_recipes_is_fine(install: Install) -> None:
    install("waves", node("WaveOne"))
    assert "mlp" in catalogue().recipes and catalogue().failures == {}


def test_a_class_of_a_script_with_the_key_of_another_node_is_refused(monkeypatch) -> None:
    body = {"build": lambda self, x: torch.nn.Identity(), "__module__": "__main__"}
    own = type("Silu", (Layer,), body)
    monkeypatch.setattr("__main__.Silu", own, raising=False)
    with pytest.raises(GraphError, match="Two nodes have the key 'nn_silu'") as caught:
        nn("silu")
    assert "SiLU of mlgraph" in caught.value.why and "another name" in caught.value.mend
    monkeypatch.delattr("__main__.Silu")
    assert type(nn("silu")) is not own


def test_a_node_with_the_key_of_another_one_is_not_written(tmp_path) -> None:
    own = type("Silu", (Layer,), {"build": lambda self, x: torch.nn.Identity()})
    graph = own() >> nn("head")
    for write in (graph.to_dict, lambda: graph.save(tmp_path / "graph.mlgraph")):
        with pytest.raises(GraphError, match="Two nodes have the key 'nn_silu'"):
            write()
    assert not list(tmp_path.iterdir())
