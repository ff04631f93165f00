"""Graphs as classifiers and regressors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.utils import get_tags

from mlgraph import Callback, DataError, Graph, nn, po

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def linear(epochs: int = 20, **params: Any) -> Graph:
    return po("scale") >> nn("linear") >> po("torch_model", epochs=epochs, **params)


# Fit and predict --------------------------------------------------------------------------------


def test_fit_changes_no_argument_and_a_second_fit_equals_a_fresh_one(blobs: Arrays) -> None:
    X, y = blobs
    graph = linear(3)
    estimator = graph.as_classifier(random_state=0, verbose=0)
    estimator.fit(X[:50, :2], y[:50]).fit(X, y)
    assert estimator.graph is graph
    assert estimator.n_features_in_ == 4
    fresh = graph.as_classifier(random_state=0).fit(X, y)
    np.testing.assert_array_equal(estimator.predict_proba(X), fresh.predict_proba(X))


def test_a_fit_that_fails_keeps_the_state_of_the_last_one(blobs: Arrays) -> None:
    X, y = blobs
    estimator = linear(2).as_classifier(random_state=0).fit(X, y)
    before = estimator.graph_
    with pytest.raises(ValueError, match="needs validation data"):
        estimator.set_params(torch_model__patience=2).fit(X, np.where(y == 0, "a", "b"))
    assert estimator.graph_ is before
    assert estimator.classes_.tolist() == [0, 1, 2]


def test_the_data_that_came_out_while_fitting_are_not_kept(blobs: Arrays) -> None:
    fitted = po("scale").as_graph().as_transformer().fit(blobs[0])
    assert dict(fitted.graph_.outputs) == {}


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_a_classifier_that_is_not_fitted_says_so(method: str, blobs: Arrays) -> None:
    with pytest.raises(NotFittedError):
        getattr(linear().as_classifier(), method)(blobs[0])


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "maybe", "yes"]),
        np.array(["no", "maybe", "yes"], dtype=object),
        np.array([7, -1, 3]),
        np.array([2.0, 0.0, 1.0]),
        np.array([2, 0, 1], dtype=np.uint8),
    ],
)
def test_labels_come_back_as_they_went_in(blobs: Arrays, labels: np.ndarray[Any, Any]) -> None:
    X, codes = blobs
    y = labels[codes]
    estimator = linear(30).as_classifier(random_state=0).fit(X, y)
    np.testing.assert_array_equal(estimator.classes_, np.unique(labels))
    assert estimator.classes_.dtype == labels.dtype
    predicted = estimator.predict(X)
    assert predicted.dtype == labels.dtype
    assert estimator.score(X, y) > 0.5
    best = estimator.classes_[estimator.predict_proba(X).argmax(axis=1)]
    np.testing.assert_array_equal(predicted, best)


def test_boolean_labels_come_back_as_booleans(blobs: Arrays) -> None:
    X, codes = blobs
    estimator = linear(30).as_classifier(random_state=0).fit(X, codes == 1)
    assert estimator.classes_.tolist() == [False, True]
    assert estimator.predict(X).dtype == bool


@pytest.mark.parametrize("ordered", [["yes", "no"], ["no", "yes"]])
def test_classes_are_sorted_whatever_a_category_declares(blobs: Arrays, ordered: list[str]) -> None:
    X, codes = blobs
    y = pd.Series(pd.Categorical(np.where(codes == 1, "yes", "no"), categories=ordered))
    estimator = linear(40).as_classifier(random_state=0).fit(X, y)
    assert estimator.classes_.tolist() == ["no", "yes"]
    positive = estimator.predict_proba(X)[:, 1]
    assert positive[codes == 1].mean() > positive[codes != 1].mean()


def test_probabilities_are_float64_and_sum_to_one(blobs: Arrays) -> None:
    X, y = blobs
    prob = linear(3).as_classifier().fit(X, y).predict_proba(X)
    assert prob.dtype == np.float64
    assert prob.flags.writeable
    np.testing.assert_allclose(prob.sum(axis=1), 1.0, atol=1e-12)


def test_a_threshold_decides_what_is_predicted(blobs: Arrays) -> None:
    X, codes = blobs
    y = np.where(codes == 1, "yes", "no")
    graph = linear(3) >> po("threshold", 0.999)
    estimator = graph.as_classifier(random_state=0).fit(X, y)
    assert set(estimator.predict(X)) == {"no"}
    assert estimator.predict_proba(X)[:, 1].max() > 0.5


def test_one_class_is_refused(blobs: Arrays) -> None:
    with pytest.raises(DataError, match="one class only, 'a'"):
        linear().as_classifier().fit(blobs[0], ["a"] * 120)


def test_quantities_are_no_classes(line: Arrays) -> None:
    with pytest.raises(ValueError, match="Unknown label type"):
        linear().as_classifier().fit(*line)


def test_integers_are_quantities_for_a_regressor(line: Arrays) -> None:
    X, y = line
    estimator = linear(3).as_regressor().fit(X, np.round(y * 10).astype(int))
    assert estimator.predict(X).dtype == np.float64


def test_a_classifier_has_one_target(blobs: Arrays) -> None:
    X, y = blobs
    with pytest.raises(ValueError, match="y should be a 1d array"):
        linear().as_classifier().fit(X, np.column_stack([y, y]))


def test_a_column_of_targets_is_taken_with_a_warning(line: Arrays) -> None:
    X, y = line
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        estimator = linear(2).as_regressor(random_state=0).fit(X, y[:, None])
    same = linear(2).as_regressor(random_state=0).fit(X, y)
    np.testing.assert_array_equal(estimator.predict(X), same.predict(X))


def test_a_missing_target_is_refused(blobs: Arrays) -> None:
    with pytest.raises(ValueError, match="requires y to be passed"):
        linear().as_classifier().fit(blobs[0], None)


def test_the_same_random_state_gives_the_same_predictions(blobs: Arrays) -> None:
    X, y = blobs
    probs = [
        linear(2).as_classifier(random_state=seed).fit(X, y).predict_proba(X)
        for seed in (1, 1, np.random.RandomState(5), np.random.RandomState(5), 2)
    ]
    np.testing.assert_array_equal(probs[0], probs[1])
    np.testing.assert_array_equal(probs[2], probs[3])
    assert not np.array_equal(probs[0], probs[4])


def test_a_generator_goes_on_from_fit_to_fit(blobs: Arrays) -> None:
    estimator = linear(1).as_classifier(random_state=np.random.RandomState(0))
    first = estimator.fit(*blobs).graph_.seed
    assert estimator.fit(*blobs).graph_.seed != first


def test_no_random_state_means_the_global_state_of_numpy(blobs: Arrays) -> None:
    estimator = linear(1).as_classifier()
    state = np.random.get_state()
    try:
        seeds = []
        for _ in range(2):
            np.random.seed(3)
            seeds += [estimator.fit(*blobs).graph_.seed, estimator.fit(*blobs).graph_.seed]
    finally:
        np.random.set_state(state)
    assert seeds[:2] == seeds[2:]
    assert seeds[0] != seeds[1]


def test_fitting_leaves_the_global_generators_alone(blobs: Arrays) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    linear(1).as_classifier(random_state=0).fit(*blobs).predict(blobs[0])
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


def test_the_score_is_accuracy_and_r_squared_with_weights(blobs: Arrays, line: Arrays) -> None:
    X, y = blobs
    classifier = linear(5).as_classifier(random_state=0).fit(X, y)
    right = classifier.predict(X) == y
    assert classifier.score(X, y) == right.mean()
    assert classifier.score(X, y, sample_weight=right.astype(float)) == 1.0
    regressor = linear(150).as_regressor(random_state=0).fit(*line)
    assert regressor.score(*line) > 0.9


def test_predict_does_not_change_the_estimator(blobs: Arrays) -> None:
    estimator = linear(1).as_classifier().fit(*blobs)
    before = dict(vars(estimator))
    estimator.predict(blobs[0])
    assert vars(estimator).keys() == before.keys()
    assert all(vars(estimator)[name] is value for name, value in before.items())


# Weights ----------------------------------------------------------------------------------------


def test_weights_count(blobs: Arrays) -> None:
    X, codes = blobs
    y = np.where(codes == 1, "yes", "no")
    weights = np.where(y == "yes", 50.0, 1.0)
    plain = linear(20).as_classifier(random_state=0).fit(X, y)
    weighted = linear(20).as_classifier(random_state=0).fit(X, y, sample_weight=weights)
    assert (weighted.predict(X) == "yes").sum() > (plain.predict(X) == "yes").sum()


@pytest.mark.parametrize("column", ["sample_weight", "y", "target"])
def test_weights_and_target_do_not_collide_with_features(blobs: Arrays, column: str) -> None:
    X, y = blobs
    frame = pd.DataFrame(X, columns=["a", "b", "c", column])
    estimator = linear(2).as_classifier(random_state=0)
    estimator.fit(frame, y, sample_weight=np.ones(len(y)))
    assert estimator.graph_.prototypes["scale.input"].features == ("a", "b", "c", column)
    assert estimator.predict(frame).shape == (120,)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(120), "zero"),
        (np.full(120, -1.0), "Negative values"),
        (np.ones(7), "expected \\(120,\\)"),
        (np.full(120, np.nan), "NaN"),
    ],
)
def test_weights_that_are_none_are_refused(blobs: Arrays, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        linear().as_classifier().fit(*blobs, sample_weight=weights)


def test_weights_are_not_changed(blobs: Arrays) -> None:
    weights = np.arange(120.0)
    linear(1).as_classifier().fit(*blobs, sample_weight=weights)
    np.testing.assert_array_equal(weights, np.arange(120.0))


# Several targets


def test_a_regressor_learns_several_targets(line: Any) -> None:
    X, y = line
    both = np.column_stack([y, -2 * y])
    estimator = (nn("linear") >> po("torch_model", epochs=100)).as_regressor(random_state=1)
    found = estimator.fit(X, both, sample_weight=np.ones(len(y))).predict(X)
    assert found.shape == both.shape and found.dtype == np.float64
    assert estimator.score(X, both) > 0.9
    assert get_tags(estimator).target_tags.multi_output


def test_estimators_of_scikit_learn_have_one_target(line: Any) -> None:
    X, y = line
    estimator = po(LinearRegression()).as_graph().as_regressor()
    assert not get_tags(estimator).target_tags.multi_output
    with pytest.raises(DataError, match="cannot learn this task"):
        estimator.fit(X, np.column_stack([y, y]))


def test_groups_are_validated_whole() -> None:
    seen = []

    class Watching(Callback):
        def on_train_begin(self, run, state):
            seen.append((run.batches.rows, run.validation.batches.rows))

    rng = np.random.default_rng(0)
    X, y, groups = rng.normal(size=(40, 2)), np.arange(40) % 2, np.arange(40) // 20
    graph = nn("head") >> po("torch_callbacks", [Watching()]) >> po("torch_model", epochs=1)
    graph.as_classifier(validate=0.3, random_state=1).fit(X, y, groups=groups)
    assert seen == [(20, 20)]
