"""What graph an estimator takes, what it says of itself, and what it tells the trainers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from sklearn.utils import get_tags

from mlgraph import ConfigError, Graph, branch, nn, po
from mlgraph.learn.estimator import GraphClassifier, GraphTransformer

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def linear(epochs: int = 20, **params: Any) -> Graph:
    return po("scale") >> nn("linear") >> po("torch_model", epochs=epochs, **params)


def tables() -> Graph:
    return po("impute") >> po("encode") >> linear(30)


# What graph it takes ----------------------------------------------------------------------------


def test_several_outputs_are_refused_by_name(blobs: Arrays) -> None:
    graph = po("scale") >> [po("pca"), linear()]
    with pytest.raises(ConfigError, match="2 free outputs") as caught:
        graph.as_classifier().fit(*blobs)
    assert "'pca.output', 'torch_model.output'" in caught.value.where


def test_a_classifier_refuses_a_graph_that_ends_in_a_task(blobs: Arrays) -> None:
    with pytest.raises(ConfigError, match="puts out a Prediction") as caught:
        GraphClassifier(po("scale").as_graph()).fit(*blobs)
    assert "as_transformer" in caught.value.mend


def test_a_transformer_refuses_a_graph_that_ends_in_a_prediction(blobs: Arrays) -> None:
    with pytest.raises(ConfigError, match="puts out a Task"):
        GraphTransformer(linear()).fit(*blobs)


def test_a_node_after_the_model_that_passes_things_on_is_seen_through(blobs: Arrays) -> None:
    graph = linear(2) >> po("nop")
    assert graph.as_classifier().fit(*blobs).predict(blobs[0]).shape == (120,)
    with pytest.raises(ConfigError, match="puts out a Task"):
        GraphTransformer(graph).fit(*blobs)


def test_paths_that_are_not_taken_do_not_count(blobs: Arrays) -> None:
    options = {"plain": po("nop", id="plain_nop"), "scaled": po("scale")}
    graph = branch(options) >> nn("linear") >> po("torch_model", epochs=2)
    assert graph.as_classifier().fit(*blobs).predict_proba(blobs[0]).shape == (120, 3)


@pytest.mark.parametrize("rows", [{"frac": 0.5}, {"frac": 1.0, "replace": True}])
def test_a_transformer_refuses_a_graph_that_changes_rows(blobs: Arrays, rows: Any) -> None:
    graph = po("scale") >> po("subsample", **rows)
    with pytest.raises(ConfigError, match="changes the rows"):
        graph.as_transformer(random_state=0).fit(*blobs)


def test_a_classifier_may_hold_a_graph_that_changes_rows(blobs: Arrays) -> None:
    graph = po("subsample", frac=0.5) >> linear(2)
    assert graph.as_classifier(random_state=0).fit(*blobs).predict(blobs[0]).shape == (120,)


# Validation, device, progress -------------------------------------------------------------------


def test_validate_is_the_validation_data_of_the_trainer(blobs: Arrays) -> None:
    graph = linear(4, patience=1)
    estimator = graph.as_classifier(validate=0.25, random_state=0).fit(*blobs)
    assert "valid_loss" in estimator.graph_.history.column_names


def test_validate_takes_positions_of_rows(blobs: Arrays) -> None:
    estimator = linear(2).as_classifier(validate=[0, 5, 9]).fit(*blobs)
    assert "valid_loss" in estimator.graph_.history.column_names


def test_the_device_is_that_of_the_trainers_of_the_fitted_graph(blobs: Arrays) -> None:
    graph = linear(1)
    estimator = graph.as_classifier(device="cpu").fit(*blobs)
    assert estimator.graph_.graph["torch_model"].device == "cpu"
    assert estimator.graph["torch_model"].device == "auto"


def test_a_device_that_nothing_uses_is_refused(blobs: Arrays) -> None:
    graph = po("sklearn", LogisticRegression()).as_graph()
    with pytest.raises(ConfigError, match="no node of its graph uses a device"):
        graph.as_classifier(device="cpu").fit(*blobs)


@pytest.mark.parametrize(
    ("verbose", "progress", "expected"),
    [(0, "auto", False), (0, True, True), (1, "auto", True), (2, False, True)],
)
def test_verbose_decides_about_progress(
    blobs: Arrays, verbose: int, progress: Any, expected: bool
) -> None:
    graph = linear(1, progress=progress)
    estimator = graph.as_classifier(verbose=verbose).fit(*blobs)
    assert estimator.graph_.graph["torch_model"].progress is expected
    assert estimator.graph is graph


# Methods that are only there when they work -----------------------------------------------------


def test_probabilities_are_there_only_if_the_classifier_has_them(blobs: Arrays) -> None:
    X, y = blobs
    without = po("sklearn", LinearSVC()).as_graph().as_classifier(random_state=0)
    assert not hasattr(without, "predict_proba")
    assert without.fit(X, y).predict(X).shape == (120,)
    assert hasattr(po("sklearn", LogisticRegression()).as_graph().as_classifier(), "predict_proba")


def test_a_regressor_has_no_probabilities() -> None:
    assert not hasattr(linear().as_regressor(), "predict_proba")


def test_a_regressor_of_scikit_learn_is_the_same_inside_a_graph(line: Arrays) -> None:
    X, y = line
    inside = po("sklearn", Ridge()).as_graph().as_regressor().fit(X, y)
    np.testing.assert_allclose(inside.predict(X), Ridge().fit(X, y).predict(X))


# Tags -------------------------------------------------------------------------------------------


def test_tags_say_what_the_graph_can_take() -> None:
    plain, rich = get_tags(linear().as_classifier()), get_tags(tables().as_classifier())
    assert not plain.input_tags.allow_nan
    assert not plain.input_tags.categorical
    assert rich.input_tags.allow_nan
    assert rich.input_tags.categorical
    assert plain.estimator_type == "classifier"
    assert plain.classifier_tags.poor_score is False
    assert plain.non_deterministic is False


def test_tags_follow_a_change_of_the_graph() -> None:
    estimator = linear().as_regressor()
    estimator.set_params(graph=tables())
    assert get_tags(estimator).input_tags.allow_nan
