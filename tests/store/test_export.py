"""Weights by name, and the network as a program of torch's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from mlgraph import Task, nn, po
from mlgraph.core.fitted import FittedGraph
from mlgraph.errors import GraphError, StateError


def test_the_weights_load_into_the_same_network(fitted: FittedGraph) -> None:
    weights = fitted.to_state_dict()
    module = fitted.module()
    module.load_state_dict(weights, strict=True)
    assert type(weights) is dict and "linear.weight" in weights


def test_changing_the_weights_changes_nothing_in_the_fitted_graph(fitted: FittedGraph) -> None:
    weights = fitted.to_state_dict()
    weights["linear.weight"].zero_()
    assert fitted.to_state_dict()["linear.weight"].abs().sum() > 0


def test_a_graph_without_a_trainer_has_no_weights(task: Task, tmp_path: Path) -> None:
    fitted = po("impute").as_graph().fit(task)
    with pytest.raises(GraphError, match="0 trainers"):
        fitted.to_state_dict()
    with pytest.raises(GraphError, match="0 trainers"):
        fitted.export_torch(tmp_path / "net.pt2")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rows", [1, 2, 33])
def test_an_exported_network_takes_any_number_of_rows(
    rows: int, fitted: FittedGraph, tmp_path: Path
) -> None:
    fitted.export_torch(tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2").module()
    width = fitted.trained().descriptor.tokens["ingress"].spec.size(-1)
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(program(x), fitted.module()(x))
    assert [file.name for file in tmp_path.iterdir()] == ["net.pt2"]


@pytest.mark.filterwarnings("ignore")
def test_a_network_of_two_inputs_is_exported(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    task = Task(
        {"a": rng.normal(size=20), "w": list("uvuvx" * 4), "y": rng.normal(size=20)}, target="y"
    )
    words = po("ingress_categ", columns="w") >> nn("embedding", 3) >> nn("flatten")
    graph = [po("ingress_num", columns="a"), words] >> nn("merge_cat") >> nn("head")
    fitted = (graph >> po("torch_model", epochs=1, progress=False)).fit(task, seed=1)
    fitted.export_torch(tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2").module()
    inputs = (torch.zeros(7, 1), torch.ones(7, 1, dtype=torch.int64))
    with torch.no_grad():
        assert torch.allclose(program(*inputs), fitted.module()(*inputs))


def looks_at_values(x: torch.Tensor) -> torch.Tensor:
    return x if float(x.sum()) > 0 else -x


@pytest.mark.filterwarnings("ignore")
def test_what_torch_cannot_export_is_refused(task: Task, tmp_path: Path) -> None:
    graph = po("impute") >> po("select", columns=["a", "b"]) >> nn("fn", looks_at_values)
    fitted = (graph >> nn("head") >> po("torch_model", epochs=1, progress=False)).fit(task, seed=1)
    with pytest.raises(StateError, match="cannot be exported") as caught:
        fitted.export_torch(tmp_path / "net.pt2")
    assert "node 'torch_model'" in caught.value.where
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_scikit_learn_is_no_network(tmp_path):
    data = Task({"x": [0.0, 1.0, 2.0, 3.0], "y": ["a", "b", "a", "b"]}, target="y")
    fitted = (po("scale") >> po("sklearn", LogisticRegression())).fit(data, seed=1)
    for use in (
        lambda: fitted.history,
        fitted.module,
        fitted.to_state_dict,
        lambda: fitted.export_torch(tmp_path / "a.pt2"),
    ):
        with pytest.raises(GraphError, match="has trained a model, but no network"):
            use()
    lean = fitted.without_training_state()
    assert list(lean.predict(data).response) == list(fitted.predict(data).response)
