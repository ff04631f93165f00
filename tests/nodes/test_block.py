from __future__ import annotations

import pickle

import pytest
import torch

from mlgraph import ConfigError, GraphError, ShapeError, Task, branch, nn, po, tune
from mlgraph.core.base import Context
from mlgraph.errors import MLGraphError, UnknownKeyError, UnknownParameterError
from mlgraph.net.network import network
from mlgraph_nodes.block import Block

TASK = Task({"x": [1.0, 2.0], "z": [3.0, 4.0], "y": [0.5, 1.5]}, target="y")


def block(n_blocks: object = 2, **params: object) -> Block:
    node = nn("block", nn("linear", out_features=4) >> nn("relu"), n_blocks=n_blocks, **params)
    assert isinstance(node, Block)
    return node


def names(graph: object) -> list[str]:
    return [id for id in graph.check(TASK).graph.ids if id != "ingress"]


def test_the_graph_is_repeated_in_series() -> None:
    checked = (block() >> nn("head")).check(TASK)
    assert {str(edge) for edge in checked.graph.edges} == {
        "ingress.output -> block.0.linear.input",
        "block.0.linear.output -> block.0.relu.input",
        "block.0.relu.output -> block.1.linear.input",
        "block.1.linear.output -> block.1.relu.input",
        "block.1.relu.output -> head.input",
    }


def test_the_copies_have_their_own_weights_under_the_names_of_a_module_list() -> None:
    net = network(block().as_graph().fit(TASK, seed=0).outputs["block.1.relu.output"])
    assert [name for name, _ in net.named_parameters()] == [
        "block.0.linear.weight",
        "block.0.linear.bias",
        "block.1.linear.weight",
        "block.1.linear.bias",
    ]
    assert net(torch.zeros(3, 2)).shape == (3, 4)


def test_no_copies_change_nothing() -> None:
    graph = block(0) >> nn("head")
    assert names(graph) == ["block.identity", "head"]
    net = network(graph.fit(TASK, seed=0).outputs["head.output"])
    assert net.get_submodule("head").in_features == 2


def test_parameters_of_the_graph_are_parameters_of_the_block() -> None:
    graph = block().as_graph()
    assert graph.params()["block__linear__out_features"] == 4
    changed = graph.with_params(block__linear__out_features=7, block__n_blocks=1)
    net = network(changed.fit(TASK, seed=0).outputs["block.0.relu.output"])
    assert net.get_submodule("block.0.linear").out_features == 7
    assert graph.params()["block__linear__out_features"] == 4
    assert block(linear__out_features=9).parameters()["linear__out_features"] == 9


def test_a_parameter_may_differ_between_the_copies() -> None:
    graph = block(3, vary={"linear__out_features": [5, 6, 7]}).as_graph()
    net = network(graph.fit(TASK, seed=0).outputs["block.2.relu.output"])
    widths = [net.get_submodule(f"block.{i}.linear").out_features for i in range(3)]
    assert widths == [5, 6, 7]


def test_tokens_inside_are_found_and_replaced() -> None:
    open_block = block(tune(1, 3), linear__out_features=tune(2, 8))
    graph = open_block.as_graph()
    assert graph.search_space() == {
        "block__n_blocks": tune(1, 3),
        "block__linear__out_features": tune(2, 8),
    }
    with pytest.raises(ConfigError, match="left to tuning"):
        graph.fit(TASK)
    with pytest.raises(ConfigError, match="left to tuning"):
        open_block.expand()
    chosen = graph.with_params(block__n_blocks=1, block__linear__out_features=3)
    assert chosen == block(1, linear__out_features=3).as_graph()


def test_a_token_among_what_varies_is_replaced_at_its_address() -> None:
    choices = tune([[1, 2], [2, 1]])
    graph = block(vary={"linear__out_features": choices}).as_graph()
    assert graph.search_space() == {"block__vary__linear__out_features": choices}
    chosen = graph.with_params(block__vary__linear__out_features=[2, 1])
    assert chosen == block(vary={"linear__out_features": [2, 1]}).as_graph()


def test_a_token_inside_the_values_of_vary_is_set_by_its_address() -> None:
    token = tune(2, 3)
    graph = block(2, vary={"linear__out_features": [token, 4], "linear__bias": [True, False]})
    graph = graph.as_graph()
    assert graph.search_space() == {"block__vary__linear__out_features__0": token}
    chosen = graph.with_params(block__vary__linear__out_features__0=3)
    vary = {"linear__out_features": [3, 4], "linear__bias": [True, False]}
    assert chosen == block(2, vary=vary).as_graph()
    both = graph.with_params(
        block__vary__linear__out_features__0=3, block__vary__linear__out_features__1=5
    )
    assert both["block"].vary["linear__out_features"] == (3, 5)
    with pytest.raises(UnknownParameterError, match="vary__linear__out_features__7"):
        graph.with_params(block__vary__linear__out_features__7=3)


def test_the_graph_itself_may_be_a_token() -> None:
    open_block = nn("block", tune([nn("relu").as_graph(), nn("tanh").as_graph()]), n_blocks=2)
    graph = nn("linear", out_features=2) >> open_block
    chosen = graph.with_params(block__block=nn("tanh"))
    assert names(chosen) == ["linear", "block.0.tanh", "block.1.tanh"]


def test_blocks_nest() -> None:
    outer = nn("block", nn("block", nn("linear", out_features=3), n_blocks=2), n_blocks=2)
    assert names(outer.as_graph()) == [
        f"block.{i}.block.{j}.linear" for i in (0, 1) for j in (0, 1)
    ]
    changed = outer.as_graph().with_params(block__block__linear__bias=False)
    net = network(changed.fit(TASK, seed=0).outputs["block.1.block.1.linear.output"])
    assert net.get_submodule("block.0.block.1.linear").bias is None


def test_a_block_may_hold_several_paths_and_a_branch() -> None:
    start = nn("identity", id="start")
    residual = start >> [nn("linear", out_features=2), nn("identity")] >> nn("merge_sum")
    graph = nn("block", residual, n_blocks=2) >> nn("head")
    assert len(names(graph)) == 9
    either = nn("identity") >> branch({"relu": nn("relu"), "tanh": nn("tanh")}, selection="tanh")
    chosen = nn("block", either, n_blocks=2).as_graph()
    assert [id for id in names(chosen) if "relu" in id] == []


def test_several_inputs_and_outputs_are_ports_of_the_block() -> None:
    pair = nn("linear", out_features=2) & nn("relu")
    node = nn("block", pair, n_blocks=2)
    assert [port.name for port in node.ports()[0]] == ["linear_input", "relu_input"]
    assert [port.name for port in node.ports()[1]] == ["linear_output", "relu_output"]
    graph = nn("identity") >> node >> nn("merge_cat")
    assert graph.fit(TASK, seed=0).outputs["merge_cat.output"].spec.shape == ("batch", 4)


def test_a_variadic_input_stays_variadic() -> None:
    graph = [nn("relu"), nn("tanh")] >> nn("block", nn("merge_sum"), n_blocks=2)
    assert names(graph) == ["relu", "tanh", "block.0.merge_sum", "block.1.merge_sum"]


def test_a_graph_of_two_inputs_and_one_output_stands_at_least_once() -> None:
    two = nn("fn", torch.atan2, inputs=("a", "b"))
    for n_blocks in (1, 2):
        assert len(nn("block", two, n_blocks=n_blocks).ports()[0]) == 2
    with pytest.raises(ConfigError, match="as many outputs as inputs"):
        nn("block", two, n_blocks=0)


def test_blocks_are_values() -> None:
    node = block(2, vary={"linear__out_features": [5, 6]})
    assert node == pickle.loads(pickle.dumps(node)) == node.renamed(None)
    assert hash(node) == hash(pickle.loads(pickle.dumps(node)))
    assert node != block(2, vary={"linear__out_features": [5, 7]})
    assert block() != block(linear__bias=False)
    assert repr(block()) == 'nn("block", block=linear >> relu, n_blocks=2)'


def test_a_block_does_not_run_itself() -> None:
    ctx = Context(id="block", phase="fit", seed=0)
    with pytest.raises(GraphError, match="does not run"):
        block().fit({"input": None}, ctx)
    with pytest.raises(GraphError, match="does not run"):
        block().apply(None, {"input": None}, ctx)


def test_a_shape_error_names_the_copy() -> None:
    graph = nn("block", nn("unsqueeze", 1) >> nn("batch_norm1d"), n_blocks=3).as_graph()
    with pytest.raises(ShapeError, match=r"node 'block\.1\.batch_norm1d'"):
        graph.fit(TASK, seed=0)


@pytest.mark.parametrize(
    ("params", "kind", "text"),
    [
        ({"block": 3, "n_blocks": 1}, ConfigError, "a graph or a node"),
        ({"block": [nn("relu")], "n_blocks": 1}, ConfigError, "a graph or a node"),
        ({"block": nn("relu")}, ConfigError, "'n_blocks'"),
        ({"block": nn("relu"), "n_blocks": -1}, ConfigError, "at least 0"),
        ({"block": nn("relu"), "n_blocks": 1.5}, ConfigError, "an integer"),
        ({"block": po("scale"), "n_blocks": 1}, ConfigError, "no port of a layer"),
        ({"block": nn("relu"), "n_blocks": 1, "n_block": 2}, UnknownParameterError, "'n_blocks'"),
        ({"block": nn("relu"), "n_blocks": 1, "id": "train"}, GraphError, "'train'"),
    ],
)
def test_wrong_blocks(params: dict[str, object], kind: type[MLGraphError], text: str) -> None:
    with pytest.raises(kind) as caught:
        nn("block", **params)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("vary", "kind", "text"),
    [
        ({"linear__out_features": [1]}, ConfigError, "a list of 2 values"),
        ({"linear__out_features": 3}, ConfigError, "a list of 2 values"),
        ({"linear__out_features": [1, 0]}, ConfigError, "at least 1"),
        ({"linear__out": [1, 2]}, UnknownParameterError, "'out'"),
        ({"linea__out_features": [1, 2]}, UnknownKeyError, "Did you mean 'linear'"),
    ],
)
def test_wrong_variations(vary: object, kind: type[MLGraphError], text: str) -> None:
    with pytest.raises(kind) as caught:
        block(2, vary=vary)
    assert text in str(caught.value)
    assert "node 'block'" in str(caught.value)


def test_unknown_inner_addresses_are_refused_with_the_node() -> None:
    with pytest.raises(UnknownKeyError, match="Did you mean 'linear'") as caught:
        block(linaer__bias=True)
    assert caught.value.where == "node 'block'"
    with pytest.raises(UnknownParameterError, match="node 'linear'"):
        block().as_graph().with_params(block__linear__width=3)


@pytest.mark.parametrize("n_blocks", [1, 3])
def test_one_output_feeds_all_inputs_of_the_next_copy(n_blocks: int) -> None:
    tower = [po("nop"), nn("linear", 3) >> nn("relu")] >> nn("merge_sum")
    graph = nn("linear", 3) >> nn("block", tower, n_blocks=n_blocks)
    network = graph.network(("batch", 5), seed=1)
    x = torch.randn(4, 5)
    expected = network.linear(x)
    for number in range(n_blocks):
        linear = network.get_submodule(f"block.{number}.linear")
        expected = expected + linear(expected).relu()
    torch.testing.assert_close(network(x), expected)
