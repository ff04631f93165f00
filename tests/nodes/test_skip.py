from __future__ import annotations

import pytest
import torch

from mlgraph import ConfigError, ShapeError, nn, tune
from mlgraph.errors import UnknownParameterError


def test_the_input_is_added_to_the_output():
    module = nn("skip", nn("linear", 4) >> nn("relu")).as_graph().network(("batch", 4), seed=1)
    x = torch.randn(3, 4)
    assert torch.allclose(module(x), x + torch.relu(module.skip.linear(x)))


def test_a_shortcut_makes_shapes_equal():
    graph = nn("skip", nn("linear", 6), shortcut=nn("linear", 6, bias=False)).as_graph()
    module = graph.network(("batch", 4), seed=1)
    x = torch.randn(3, 4)
    parts = module.skip
    assert torch.allclose(module(x), parts.shortcut_linear(x) + parts.linear(x))


def test_paths_may_be_merged_in_another_way():
    graph = nn("skip", nn("linear", 6), merge=nn("merge_cat")).as_graph()
    module = graph.network(("batch", 4), seed=1)
    x = torch.randn(3, 4)
    assert torch.equal(module(x)[:, :4], x) and module(x).shape == (3, 10)


def test_skips_nest_and_repeat():
    inner = nn("skip", nn("linear", 4))
    graph = nn("block", nn("skip", inner >> nn("relu")), n_blocks=2).as_graph()
    names = list(graph.network(("batch", 4)).state_dict())
    assert names[0] == "block.0.skip.skip.linear.weight" and len(names) == 4


def test_parameters_of_the_body_are_parameters_of_the_node():
    graph = nn("skip", nn("linear", tune(2, 8))).as_graph()
    assert list(graph.search_space()) == ["skip__linear__out_features"]
    closed = graph.with_params(skip__linear__out_features=4)
    assert closed["skip"].parameters()["linear__out_features"] == 4
    with pytest.raises(UnknownParameterError, match="width"):
        nn("skip", nn("linear", 4), linear__width=2)


def test_shapes_that_do_not_fit_are_refused_at_the_merge():
    with pytest.raises(ShapeError, match=r"skip\.merge_sum"):
        nn("skip", nn("linear", 6)).as_graph().network(("batch", 4))


@pytest.mark.parametrize(
    "params",
    [
        {"body": nn("relu") & nn("relu")},
        {"body": nn("relu"), "shortcut": nn("relu") & nn("relu")},
        {"body": 3},
    ],
)
def test_a_path_has_one_input_and_one_output(params):
    with pytest.raises(ConfigError):
        nn("skip", **params)
