"""The parameters of an estimator: its own, and those of the nodes of its graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mlgraph import ConfigError, Graph, GraphError, nn, po, tune
from mlgraph.errors import UnknownParameterError
from mlgraph.learn.estimator import GraphClassifier, GraphRegressor, GraphTransformer

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def linear(epochs: int = 20, **params: Any) -> Graph:
    return po("scale") >> nn("linear") >> po("torch_model", epochs=epochs, **params)


def test_the_constructor_stores_what_it_gets_and_nothing_else() -> None:
    values = {"graph": "no graph", "validate": [1], "random_state": -1, "device": 3, "verbose": {}}
    estimator = GraphClassifier(**values)
    assert vars(estimator) == values
    assert all(getattr(estimator, name) is value for name, value in values.items())


def test_an_estimator_without_a_graph_can_be_made_shown_and_cloned() -> None:
    for kind in (GraphClassifier, GraphRegressor, GraphTransformer):
        assert repr(clone(kind())) == f"{kind.__name__}()"
        assert kind().get_params()["graph"] is None


def test_fit_without_a_graph_says_what_is_missing(blobs: Arrays) -> None:
    with pytest.raises(ConfigError, match="GraphClassifier needs a graph, and has none"):
        GraphClassifier().fit(*blobs)


def test_a_clone_holds_the_very_same_graph() -> None:
    estimator = linear().as_classifier(random_state=3)
    copy = clone(estimator)
    assert copy is not estimator
    assert copy.graph is estimator.graph
    assert copy.random_state == 3


def test_a_clone_is_not_fitted(blobs: Arrays) -> None:
    with pytest.raises(NotFittedError):
        clone(linear(1).as_classifier().fit(*blobs)).predict(blobs[0])


def test_deep_parameters_are_nodes_and_their_parameters() -> None:
    graph = linear(7)
    params = graph.as_regressor().get_params()
    assert params["torch_model"] is graph["torch_model"]
    assert params["torch_model__epochs"] == 7
    assert params["random_state"] is None
    assert not any(name.startswith("graph__") for name in params)


def test_shallow_parameters_are_the_arguments_of_the_constructor() -> None:
    own = set(linear().as_classifier().get_params(deep=False))
    assert own == {"graph", "validate", "random_state", "device", "verbose"}


def test_every_deep_parameter_can_be_set_to_what_it_is() -> None:
    graph = po("impute") >> po("sklearn", StandardScaler()) >> linear()
    estimator = graph.as_classifier()
    for name, value in estimator.get_params().items():
        assert estimator.set_params(**{name: value}).graph == graph
    assert estimator.set_params(**estimator.get_params()).graph == graph


def test_setting_a_parameter_leaves_other_estimators_of_the_graph_alone() -> None:
    graph = linear(5)
    first, second = graph.as_classifier(), graph.as_classifier()
    first.set_params(torch_model__epochs=9)
    assert first.get_params()["torch_model__epochs"] == 9
    assert second.get_params()["torch_model__epochs"] == 5
    assert graph["torch_model"].epochs == 5
    assert second.graph is graph


def test_setting_a_parameter_leaves_the_fitted_state_alone(blobs: Arrays) -> None:
    X, y = blobs
    estimator = linear(2).as_classifier(random_state=0).fit(X, y)
    before = estimator.predict_proba(X)
    estimator.set_params(torch_model__epochs=1)
    np.testing.assert_array_equal(estimator.predict_proba(X), before)


def test_a_parameter_of_a_wrapped_estimator_can_be_set() -> None:
    graph = po("sklearn", LogisticRegression(), id="model").as_graph()
    estimator = graph.as_classifier().set_params(model__C=0.5)
    assert estimator.get_params()["model__C"] == 0.5


def test_a_node_can_be_replaced_and_keeps_its_id(blobs: Arrays) -> None:
    estimator = linear(2).as_classifier()
    estimator.set_params(scale=po("scalerange", upper=2.0))
    assert estimator.graph.ids == ("scale", "linear", "torch_model")
    assert estimator.graph["scale"].key == "scalerange"
    assert estimator.fit(*blobs).graph_.graph["scale"].upper == 2.0


def test_a_node_and_its_parameters_can_be_set_together() -> None:
    estimator = linear().as_classifier()
    estimator.set_params(scale__upper=3.0, scale=po("scalerange"), random_state=4)
    assert estimator.graph["scale"].upper == 3.0
    assert estimator.random_state == 4


def test_a_new_graph_and_its_parameters_can_be_set_together() -> None:
    estimator = GraphClassifier().set_params(torch_model__epochs=3, graph=linear())
    assert estimator.graph["torch_model"].epochs == 3


def test_a_node_is_not_replaced_by_something_else() -> None:
    with pytest.raises(GraphError, match="can only be replaced by a node"):
        linear().as_classifier().set_params(scale="standard")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("scale__centr", "Did you mean 'center'?"),
        ("scael__center", "Did you mean 'scale__center'"),
        ("random_stat", "Did you mean 'random_state'?"),
        ("nothing_like_it", "<id>__<param>"),
    ],
)
def test_an_unknown_parameter_is_refused_with_a_suggestion(name: str, suggestion: str) -> None:
    estimator = linear().as_classifier()
    with pytest.raises(UnknownParameterError) as caught:
        estimator.set_params(**{name: 1})
    assert isinstance(caught.value, ValueError)
    assert suggestion in str(caught.value)


def test_a_parameter_of_no_graph_is_refused() -> None:
    with pytest.raises(UnknownParameterError, match="GraphClassifier has no parameter"):
        GraphClassifier().set_params(scale__center=False)


def test_a_change_that_is_refused_changes_nothing() -> None:
    estimator = linear().as_classifier()
    before = estimator.get_params()
    for bad in ({"torch_model__epochs": -1}, {"nothing__here": 1}):
        with pytest.raises(ValueError, match=r"cannot take|no parameter"):
            estimator.set_params(random_state=1, scale__center=False, **bad)
    assert estimator.get_params() == before


def test_an_id_that_is_an_argument_of_the_estimator_is_refused_in_fit(blobs: Arrays) -> None:
    graph = po("scale", id="verbose") >> nn("linear") >> po("torch_model")
    with pytest.raises(ConfigError, match="'verbose'") as caught:
        graph.as_classifier().fit(*blobs)
    assert 'graph.rename({"verbose"' in caught.value.mend


def test_a_transformer_has_no_such_argument() -> None:
    graph = po("scale", id="verbose").as_graph()
    assert graph.as_transformer().fit_transform([[1.0], [3.0]]).shape == (2, 1)


def test_a_graph_with_tuning_tokens_is_refused_in_fit(blobs: Arrays) -> None:
    graph = linear().with_params(torch_model__epochs=tune(1, 5))
    with pytest.raises(ConfigError, match="left to tuning"):
        graph.as_classifier().fit(*blobs)


def test_the_repr_is_short_for_a_large_graph() -> None:
    graph = po("scale").as_graph()
    for _ in range(200):
        graph = graph >> nn("linear", out_features=3)
    assert len(repr((graph >> po("torch_model")).as_classifier())) < 400


def test_an_estimator_shows_itself_in_a_notebook(blobs: Arrays) -> None:
    estimator = linear(1).as_classifier()
    assert "GraphClassifier" in estimator._repr_html_()
    assert "GraphClassifier" in estimator.fit(*blobs)._repr_html_()
