"""A graph as JSON values and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from mlgraph import branch, nn, po
from mlgraph.core.graph import Graph
from mlgraph.errors import StateError

GRAPH = po("scale") >> nn("linear", 3) >> nn("relu", id="mine") >> nn("relu")


def shrink(x: torch.Tensor) -> torch.Tensor:
    return x / 2


def back(content: Any, **more: Any) -> Graph:
    return Graph.from_dict(json.loads(json.dumps(content)), **more)


@pytest.mark.parametrize(
    "graph",
    [
        Graph.empty(),
        GRAPH,
        po("scale") & po("pca"),
        branch({"a": branch({"b": None, "c": po("scale")}), "d": po("pca")}) >> po("nop"),
        nn("block", nn("linear", 2) >> nn("relu"), n_blocks=2).as_graph(),
        nn("block", nn("linear", 2) >> nn("relu"), n_blocks=2).as_graph().resolved,
        po("imputeconstant", constant=float("inf")).as_graph(),
    ],
    ids=["empty", "chain", "union", "branches", "block", "unfolded block", "infinity"],
)
def test_a_graph_comes_back_from_json(graph: Graph) -> None:
    found = back(graph.to_dict())
    assert found == graph and found.ids == graph.ids
    assert (found.inputs, found.outputs) == (graph.inputs, graph.outputs)
    assert found.to_dict() == graph.to_dict()


def test_an_id_that_nobody_chose_stays_so() -> None:
    found = back(GRAPH.to_dict())
    assert (found >> nn("linear", 2)).ids[-1] == "linear_2"
    assert [node.id for node in found.nodes.values()] == [None, None, "mine", None]


def test_own_functions_are_named_by_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrink, "__module__", "numpy.linalg")
    monkeypatch.setattr(np.linalg, "shrink", shrink, raising=False)
    graph = nn("fn", shrink).as_graph()
    assert back(graph.to_dict(), allow=[shrink]) == graph
    with pytest.raises(StateError, match=r"names 'numpy\.linalg:shrink'") as refused:
        back(graph.to_dict())
    assert "Graph.from_dict(content, allow=[shrink])" in refused.value.mend
    assert "file" not in refused.value.what


def test_a_lambda_is_refused_by_node() -> None:
    with pytest.raises(StateError) as refused:
        (po("scale") >> po("colapply", fn=lambda x: x, id="mine")).to_dict()
    assert "node 'mine'" in refused.value.where and "lambda" in refused.value.why


def test_arrays_are_left_to_files() -> None:
    graph = po("imputeconstant", constant=1) >> nn("fn", torch.add, other=torch.ones(3))
    with pytest.raises(StateError, match="JSON") as refused:
        graph.to_dict()
    assert "graph.save(path)" in refused.value.mend and "fn" in refused.value.where


def changed(**changes: Any) -> dict[str, Any]:
    content = json.loads(json.dumps(GRAPH.to_dict()))
    for path, value in changes.items():
        name, _, rest = path.partition("__")
        if rest:
            content[name][0][rest] = value
        else:
            content[name] = value
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(nodes__key="nonsense"), "needs a node 'nonsense', which is not there"),
        (changed(nodes__params={"center": True, "odd": 1}), "no parameter 'odd'"),
        (changed(nodes__id="other"), "do not fit together|not called as it says"),
        (changed(nodes__id="a b", nodes__chosen=True), "do not fit together|cannot be called"),
        (changed(nodes=[]), "do not fit together"),
        (changed(nodes=3), "do not fit together"),
        (changed(inputs=["scale.nothing"]), "a port that is not there"),
        (changed(edges=[["scale", "output", "scale", "input"]]), "fed twice|cycle"),
        (changed(format=99), "written by mlgraph"),
        (changed(more=1), "A graph has"),
        ({}, "A graph has"),
        ([], "A graph has"),
        ({"nodes": object()}, "not made of JSON values"),
        (float("nan"), "not made of JSON values"),
    ],
)
def test_what_is_no_graph_is_refused(content: Any, said: str) -> None:
    with pytest.raises(StateError, match=said) as refused:
        Graph.from_dict(content)
    assert "file" not in refused.value.what
