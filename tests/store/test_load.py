"""What comes back: fitted graphs, graphs with all they hold, estimators, and allowed names."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree._tree import Tree

import mlgraph
from mlgraph import Graph, Task, nn, po, sel, tune
from mlgraph.core.fitted import FittedGraph
from mlgraph.core.node import Node
from mlgraph.core.port import Port
from mlgraph.errors import StateError
from mlgraph.store import fitted as fitted_module


def back(saved: Any, tmp_path: Path, **options: Any) -> Any:
    saved.save(tmp_path / "file.mlgraph")
    return mlgraph.load(tmp_path / "file.mlgraph", **options)


# Fitted graphs


def test_a_fitted_graph_comes_back(fitted: FittedGraph, task: Task, tmp_path: Path) -> None:
    found = back(fitted, tmp_path)
    assert found.graph == fitted.graph and found.graph.hash == fitted.graph.hash
    assert found.resolved == fitted.resolved
    assert found.seed == fitted.seed
    assert found.history.equals(fitted.history)
    assert found.trained().descriptor == fitted.trained().descriptor
    assert found.trained().best_epoch == fitted.trained().best_epoch
    assert found.prototypes.keys() == fitted.prototypes.keys()
    one, two = fitted.predict(task), found.predict(task)
    assert np.array_equal(one.prob, two.prob) and one.classes == two.classes


def test_new_data_are_modelled_on_the_old_ones(fitted: FittedGraph, tmp_path: Path) -> None:
    found = back(fitted, tmp_path)
    frame = pd.DataFrame({"word": ["w", "u"], "b": [0, 1], "a": [None, 0.5]})
    assert np.array_equal(found.predict(frame).prob, fitted.predict(frame).prob)
    with pytest.raises(mlgraph.DataError, match="'b'"):
        found.predict(frame.drop(columns="b"))


def test_a_loaded_graph_can_be_fitted_and_saved_again(
    fitted: FittedGraph, task: Task, tmp_path: Path
) -> None:
    found = back(fitted, tmp_path)
    again = found.graph.fit(task, valid=0.2, seed=1)
    assert np.array_equal(again.predict(task).prob, fitted.predict(task).prob)
    found.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "file.mlgraph").read_bytes()


def test_outputs_of_the_fit_are_not_saved(task: Task, tmp_path: Path) -> None:
    fitted = po("impute").as_graph().fit(task, keep="all")
    found = back(fitted, tmp_path)
    assert fitted.outputs and not found.outputs and not found.kept


def test_parameters_that_only_matter_when_predicting_can_change(
    fitted: FittedGraph, tmp_path: Path
) -> None:
    found = back(fitted, tmp_path).with_params(torch_model__batch_size_predict=7)
    assert found.graph["torch_model"].batch_size_predict == 7


def test_the_file_can_be_read_by_others(fitted: FittedGraph, tmp_path: Path) -> None:
    from safetensors.torch import load

    fitted.save(tmp_path / "file")
    with zipfile.ZipFile(tmp_path / "file") as archive:
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        tensors = load(archive.read("tensors.safetensors"))
        manifest = json.loads(archive.read("manifest.json"))
    weight = tensors["torch_model/tensors/linear.weight"]
    assert torch.equal(weight, fitted.to_state_dict()["linear.weight"])
    assert manifest["format"] == 1 and manifest["kind"] == "fitted"
    assert "scale" in manifest["providers"]["mlgraph"]["nodes"]


def test_weights_of_a_shared_module_come_back(task: Task, tmp_path: Path) -> None:
    tower = nn("shared", nn("linear", 3) >> nn("relu"), name="tower")
    graph = po("impute") >> po("select", columns=["a", "b"])
    graph = graph >> nn("linear", 3) >> tower.renamed("one") >> tower.renamed("two") >> nn("head")
    fitted = (graph >> po("torch_model", epochs=1, progress=False)).fit(task, seed=1)
    found = back(fitted, tmp_path)
    assert np.array_equal(found.predict(task).prob, fitted.predict(task).prob)


@pytest.mark.parametrize("kind", ["classification", "regression", "quantile", "normal"])
def test_every_kind_of_task_comes_back(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = ["abc"[i % 3] for i in range(20)] if kind == "classification" else rng.normal(size=20)
    task = Task({"a": rng.normal(size=20), "y": y}, target="y", kind=kind)
    graph = nn("linear", 3) >> nn("head") >> po("torch_model", epochs=1, progress=False)
    fitted = graph.fit(task, seed=1)
    found = back(fitted, tmp_path)
    assert found.trained().descriptor.task == fitted.trained().descriptor.task
    assert np.array_equal(found.predict(task).response, fitted.predict(task).response)


# Graphs


GRAPHS = {
    "empty": Graph.empty(),
    "chosen ids": po("scale", id="first") >> po("scale_7") >> po("scale"),
    "branches": mlgraph.branch({"a": po("scale"), "b": None}, selection="b") >> po("pca"),
    "several ports": po("copy", n=2) >> [po("scale"), po("pca")] >> po("featureunion"),
    "tokens": nn("linear", tune(8, 64, log=True)) >> po("torch_optimizer", lr=tune(1e-4, 0.1)),
    "selectors": po("scale", columns=sel.type("float") | sel.match("^x")).as_graph(),
    "blocks": nn("block", nn("linear", 4), n_blocks=3, vary={"linear__out_features": [3, 2, 1]})
    >> nn("skip", nn("block", nn("relu").as_graph(), n_blocks=2)),
    "functions": nn("fn", torch.clamp, min=0.0) >> nn("module", torch.nn.Hardtanh, max_val=2.0),
    "optimizers": po("torch_optimizer", torch.optim.SGD, lr=0.1).as_graph(),
    "estimators": po("sklearn", make_pipeline(StandardScaler(), SelectKBest(f_classif, k=2)))
    >> po("learner", RandomForestClassifier(n_estimators=3, class_weight={"a": 2.0})),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_comes_back(name: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]
    found = back(graph, tmp_path)
    assert found == graph and found.hash == graph.hash
    assert found.ids == graph.ids and found.edges == graph.edges
    assert (found.inputs, found.outputs) == (graph.inputs, graph.outputs)
    assert found.search_space() == graph.search_space()


# What the caller allows


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of the user's, with a network, a function and a frozen class."""
    module = ModuleType("somebodys_module")
    code = (
        "import attrs, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, width=2):\n"
        "        super().__init__()\n"
        "        self.inner = torch.nn.Linear(2, width)\n"
        "    def forward(self, x):\n"
        "        return self.inner(x)\n"
        "def halved(x):\n"
        "    return x / 2\n"
        "@attrs.frozen\n"
        "class Seen:\n"
        "    rows: int\n"
    )
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, "somebodys_module", module)
    yield module


def test_a_function_of_ones_own_has_to_be_allowed(
    own_module: Any, task: Task, tmp_path: Path
) -> None:
    graph = (
        po("impute") >> po("select", columns=["a", "b"]) >> nn("module", own_module.Net, width=3)
    )
    graph = graph >> nn("fn", own_module.halved) >> nn("head")
    fitted = (graph >> po("torch_model", epochs=1, progress=False)).fit(task, seed=1)
    with pytest.raises(StateError, match="not allowed") as caught:
        back(fitted, tmp_path)
    assert "from somebodys_module import Net; load(path, allow=[Net])" in caught.value.mend
    with pytest.raises(StateError, match="halved"):
        back(fitted, tmp_path, allow=[own_module.Net])
    found = back(fitted, tmp_path, allow=[own_module.Net, own_module.halved])
    assert np.array_equal(found.predict(task).prob, fitted.predict(task).prob)


def test_a_module_that_is_not_imported_is_not_imported_by_loading(
    own_module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nn("fn", own_module.halved).as_graph().save(tmp_path / "file")
    monkeypatch.delitem(sys.modules, "somebodys_module")
    (tmp_path / "somebodys_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StateError, match="not allowed"):
        mlgraph.load(tmp_path / "file")


class Counts(Node):
    """A node of one's own, with a frozen class as its state."""

    inputs = (Port("input", Task),)
    outputs = (Port("output", Task),)
    key = "counts_of_somebody"

    def fit(self, inputs: Any, ctx: Any) -> Any:
        return (inputs["input"],), sys.modules["somebodys_module"].Seen(len(inputs["input"]))

    def apply(self, state: Any, inputs: Any, ctx: Any) -> Any:
        return (inputs["input"],)


def test_a_frozen_state_of_ones_own_has_to_be_allowed(
    own_module: Any, task: Task, tmp_path: Path
) -> None:
    fitted = Counts().as_graph().fit(task)
    with pytest.raises(StateError, match="Seen"):
        back(fitted, tmp_path)
    found = back(fitted, tmp_path, allow=[own_module.Seen])
    assert found.states == {"counts_of_somebody": own_module.Seen(40)}


# scikit-learn


def doubled(x: Any) -> Any:
    return 2 * x


ESTIMATORS = {
    "pipeline": (make_pipeline(StandardScaler(), SelectKBest(f_classif, k=1)), ["b"]),
    "columns": (
        ColumnTransformer([("w", OneHotEncoder(), ["word"]), ("n", "passthrough", ["b"])]),
        ["b", "word"],
    ),
    "function": (FunctionTransformer(np.cbrt), ["b"]),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_fitted_transformer_comes_back(name: str, task: Task, tmp_path: Path) -> None:
    estimator, columns = ESTIMATORS[name]
    fitted = po("sklearn", estimator, columns=columns).as_graph().fit(task, seed=1)
    found = back(fitted, tmp_path)
    assert found.predict(task).fingerprint == fitted.predict(task).fingerprint
    found.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "file.mlgraph").read_bytes()


def test_a_fitted_classifier_comes_back(task: Task, tmp_path: Path) -> None:
    learner = po("learner", RandomForestClassifier(n_estimators=3), columns=["b"])
    fitted = learner.as_graph().fit(task, seed=1)
    found = back(fitted, tmp_path, allow=[Tree])
    assert np.array_equal(found.predict(task).prob, fitted.predict(task).prob)


def test_types_that_skops_does_not_trust_have_to_be_allowed(task: Task, tmp_path: Path) -> None:
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    learner = po("learner", HistGradientBoostingClassifier(max_iter=2), columns=["b"])
    fitted = learner.as_graph().fit(task, seed=1)
    with pytest.raises(StateError, match="skops does not trust") as caught:
        back(fitted, tmp_path)
    assert "TreePredictor" in caught.value.what and "allow=[TreePredictor]" in caught.value.mend
    found = back(fitted, tmp_path, allow=[TreePredictor])
    assert np.array_equal(found.predict(task).prob, fitted.predict(task).prob)


def test_a_function_of_ones_own_in_an_estimator_has_to_be_allowed(
    own_module: Any, task: Task, tmp_path: Path
) -> None:
    node = po("sklearn", FunctionTransformer(own_module.halved), columns=["b"])
    fitted = node.as_graph().fit(task)
    with pytest.raises(StateError, match="halved"):
        back(fitted, tmp_path)
    found = back(fitted, tmp_path, allow=[own_module.halved])
    assert found.predict(task).fingerprint == fitted.predict(task).fingerprint


def test_without_skops_saving_names_the_extra(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = po("sklearn", StandardScaler(), columns=["b"]).as_graph().fit(task)
    fitted.save(tmp_path / "kept")
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(StateError, match="without skops") as caught:
        fitted.save(tmp_path / "file")
    assert "mlgraph[skops]" in caught.value.mend and "node 'sklearn'" in caught.value.where
    with pytest.raises(StateError, match="loaded without skops"):
        mlgraph.load(tmp_path / "kept")


def test_an_array_of_an_estimator_that_claims_to_be_huge_is_refused() -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}
    )
    with pytest.raises(StateError, match="does not fit its shape"):
        fitted_module._check_array(header.getvalue() + b"\0" * 8)


def test_an_array_of_objects_in_an_estimator_is_refused() -> None:
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    with pytest.raises(StateError, match="does not fit its shape"):
        fitted_module._check_array(file.getvalue())


# Estimators made of graphs


FRAME = pd.DataFrame({"a": np.linspace(0, 1, 20), "b": ["uv"[i % 2] for i in range(20)]})
LABELS = np.array(["no", "yes"])[np.arange(20) % 2]


def network() -> Graph:
    return (
        po("encode") >> po("scale") >> nn("linear") >> po("torch_model", epochs=2, progress=False)
    )


def test_a_classifier_comes_back(tmp_path: Path) -> None:
    one = network().as_classifier(random_state=1, validate=0.2).fit(FRAME, pd.Series(LABELS))
    two = back(one, tmp_path)
    assert type(two) is type(one) and two.get_params(deep=False) == one.get_params(deep=False)
    assert np.array_equal(two.predict_proba(FRAME), one.predict_proba(FRAME))
    assert two.predict(FRAME).dtype == one.predict(FRAME).dtype
    assert two.feature_names_in_.tolist() == ["a", "b"] and two.n_features_in_ == 2
    assert clone(two).fit(FRAME, LABELS).score(FRAME, LABELS) == one.score(FRAME, LABELS)


def test_a_regressor_comes_back(tmp_path: Path) -> None:
    graph = nn("linear") >> po("torch_model", epochs=2, progress=False)
    X = np.arange(10.0).reshape(5, 2)
    one = graph.as_regressor(random_state=1).fit(X, X.sum(1))
    assert np.array_equal(back(one, tmp_path).predict(X), one.predict(X))


def test_a_transformer_comes_back_with_its_kind_of_output(tmp_path: Path) -> None:
    one = po("scale").as_graph().as_transformer().set_output(transform="pandas").fit(FRAME[["a"]])
    assert back(one, tmp_path).transform(FRAME[["a"]]).equals(one.transform(FRAME[["a"]]))


def test_an_estimator_that_is_not_fitted_comes_back(tmp_path: Path) -> None:
    one = network().as_classifier(random_state=3)
    two = back(one, tmp_path)
    assert two.get_params(deep=False) == one.get_params(deep=False)
    assert not hasattr(two, "graph_")


def test_an_estimator_cannot_have_learned_its_methods(tmp_path: Path) -> None:
    one = network().as_classifier(random_state=1).fit(FRAME, LABELS)
    one.save(tmp_path / "file")
    with zipfile.ZipFile(tmp_path / "file") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(entries["graph.json"])
    content["estimator"]["learned"]["predict"] = {"$name": "torch:relu"}
    entries["graph.json"] = json.dumps(content).encode()
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    with pytest.raises(StateError, match="predict"):
        mlgraph.load(tmp_path / "file")


# Other


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        mlgraph.load(tmp_path / "file")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_was_trained_on_a_gpu_opens_without_one(task: Task, tmp_path: Path) -> None:
    graph = po("impute") >> po("encode") >> nn("linear", 4) >> nn("head")
    fitted = (graph >> po("torch_model", epochs=2, progress=False, device="cuda")).fit(task, seed=1)
    found = back(fitted, tmp_path)
    tensors = found.to_state_dict()
    assert {tensor.device.type for tensor in tensors.values()} == {"cpu"}
    assert all(torch.equal(tensors[n], t) for n, t in fitted.to_state_dict().items())


def test_a_checkpoint_is_not_taken_for_a_fitted_graph(tmp_path):
    with pytest.raises(StateError, match="checkpoint of a training") as caught:
        mlgraph.load(tmp_path / "epoch-000004.ckpt")
    assert "resume=folder" in caught.value.mend
