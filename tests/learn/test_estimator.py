"""Graphs among the estimators of scikit-learn: searches, pipelines, copies, threads."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import is_classifier, is_regressor
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from mlgraph import ConfigError, Graph, nn, po
from mlgraph.learn.estimator import GraphClassifier, GraphRegressor, GraphTransformer

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def linear(epochs: int = 20, **params: Any) -> Graph:
    return po("scale") >> nn("linear") >> po("torch_model", epochs=epochs, **params)


def tables() -> Graph:
    return po("impute") >> po("encode") >> linear(30)


# as_estimator -----------------------------------------------------------------------------------


def test_a_graph_that_trains_nothing_is_a_transformer() -> None:
    assert isinstance((po("scale") >> po("pca")).as_estimator(), GraphTransformer)


@pytest.mark.parametrize(
    ("loss", "kind"),
    [("cross_entropy", GraphClassifier), ("mse", GraphRegressor), ("huber", GraphRegressor)],
)
def test_a_loss_for_one_kind_of_task_decides(loss: str, kind: type) -> None:
    graph = nn("linear") >> po("torch_loss", loss) >> po("torch_model")
    assert type(graph.as_estimator(random_state=1)) is kind


def test_a_learner_decides_by_its_estimator() -> None:
    assert is_classifier(po("sklearn", LogisticRegression()).as_graph().as_estimator())
    assert is_regressor((po("scale") >> po("sklearn", Ridge())).as_estimator())


def test_a_threshold_decides() -> None:
    graph = linear() >> po("threshold", 0.3)
    assert is_classifier(graph.as_estimator())


def test_a_graph_that_could_be_either_is_refused() -> None:
    with pytest.raises(ConfigError, match="classifier as well as a regressor") as caught:
        linear().as_estimator()
    assert "as_classifier()" in caught.value.mend
    assert "as_regressor()" in caught.value.mend


def test_nodes_that_disagree_about_the_kind_are_refused() -> None:
    graph = nn("linear") >> po("torch_loss", "mse") >> po("torch_model") >> po("threshold", 0.3)
    with pytest.raises(ConfigError, match="others do regression"):
        graph.as_estimator()


# Pipelines, searches, copies --------------------------------------------------------------------


def test_a_grid_search_sets_parameters_of_nodes(blobs: Arrays) -> None:
    X, y = blobs
    grid = {"scale__center": [True, False], "torch_model__epochs": [1, 25], "random_state": [0]}
    search = GridSearchCV(linear().as_classifier(), grid, cv=StratifiedKFold(2)).fit(X, y)
    assert search.best_params_["torch_model__epochs"] == 25
    assert search.best_estimator_.graph_.trained().epochs == 25


def test_a_grid_search_may_choose_nodes_and_graphs(blobs: Arrays) -> None:
    X, y = blobs
    grid = [{"scale": [po("scalerange"), po("scale")]}, {"graph": [linear(2), tables()]}]
    search = GridSearchCV(linear(2).as_classifier(random_state=0), grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


def test_cross_validation_scores_by_probabilities(blobs: Arrays) -> None:
    X, y = blobs
    estimator = linear(30).as_classifier(random_state=0)
    scores = cross_val_score(estimator, X, y, cv=3, scoring="roc_auc_ovr")
    assert scores.min() > 0.6


@pytest.mark.slow
def test_cross_validation_in_processes_gives_the_same(blobs: Arrays) -> None:
    X, y = blobs
    estimator = linear(3).as_classifier(random_state=0)
    alone = cross_val_score(estimator, X, y, cv=2)
    np.testing.assert_array_equal(cross_val_score(estimator, X, y, cv=2, n_jobs=2), alone)


def test_a_graph_stands_at_either_end_of_a_pipeline(blobs: Arrays) -> None:
    X, y = blobs
    pipeline = make_pipeline(
        po("scale").as_graph().as_transformer(), linear(20).as_classifier(random_state=0)
    )
    pipeline.set_params(
        graphclassifier__torch_model__epochs=30, graphtransformer__scale__center=False
    )
    assert pipeline.fit(X, y).score(X, y) > 0.5
    assert pipeline[-1].graph_.trained().epochs == 30


def test_names_travel_through_a_pipeline(penguins: Any) -> None:
    frame, y = penguins
    first = (po("impute") >> po("encode")).as_transformer()
    pipeline = make_pipeline(first, linear(30).as_classifier(random_state=0))
    pipeline.set_output(transform="pandas").fit(frame, y)
    assert "island.Biscoe" in pipeline[-1].feature_names_in_
    assert pipeline.score(frame, y) > 0.95


def test_a_fitted_estimator_survives_pickling(blobs: Arrays) -> None:
    X, y = blobs
    estimator = linear(3).as_classifier(random_state=0).fit(X, y)
    copy = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copy.predict_proba(X), estimator.predict_proba(X))
    assert copy.graph == estimator.graph


def test_weights_can_be_routed(blobs: Arrays) -> None:
    X, y = blobs
    with config_context(enable_metadata_routing=True):
        estimator = linear(2).as_classifier(random_state=0).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(po("scale").as_graph().as_transformer(), estimator)
        pipeline.fit(X, y, sample_weight=np.ones(len(y)))
    assert "sample_weight" in pipeline[-1].graph_.prototypes["scale.input"].roles["weight"]


def test_threads_predict_with_one_fitted_estimator(blobs: Arrays) -> None:
    X, y = blobs
    estimator = linear(3).as_classifier(random_state=0).fit(X, y)
    expected = estimator.predict_proba(X)
    fresh = pickle.loads(pickle.dumps(estimator))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: fresh.predict_proba(X), range(12)):
            np.testing.assert_array_equal(found, expected)


def test_threads_fit_what_a_single_thread_fits(blobs: Arrays) -> None:
    X, y = blobs
    hidden = po("scale") >> nn("linear", out_features=8) >> nn("dropout") >> nn("head")
    graph = hidden >> po("torch_model", epochs=5)

    def prob(seed: int) -> Any:
        return graph.as_classifier(random_state=seed).fit(X, y).predict_proba(X)

    alone = [prob(seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(prob, range(6)), alone, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_iris_is_learned_by_the_shortest_graph() -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    graph = po("scale") >> po("nn_linear") >> po("torch_model", epochs=60)
    assert cross_val_score(graph.as_classifier(random_state=0), X, y, cv=3).mean() > 0.9
