"""scikit-learn's own checks. What may fail, and why, is in ``mlgraph.learn.expected``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from mlgraph import Graph, nn, po
from mlgraph.learn.expected import expected_failures


def trainer(epochs: int = 10) -> Any:
    return po("torch_model", epochs=epochs, batch_size=64)


def linear() -> Graph:
    return po("scale") >> nn("linear") >> trainer(20)


def mlp() -> Graph:
    return po("scale") >> nn("linear", out_features=16) >> nn("relu") >> nn("head") >> trainer()


def batch_norm() -> Graph:
    hidden = nn("linear", out_features=16) >> nn("batch_norm1d") >> nn("relu")
    return po("scale") >> hidden >> nn("head") >> trainer()


def two_paths() -> Graph:
    wide = nn("linear", out_features=16) >> nn("relu")
    deep = nn("linear", id="direct", out_features=16)
    return po("scale") >> [wide, deep] >> nn("merge_cat") >> nn("head") >> trainer()


SLOW = pytest.mark.slow
CASES = [
    pytest.param(linear().as_classifier(), id="linear-classifier"),
    pytest.param(linear().as_regressor(), id="linear-regressor"),
    pytest.param(mlp().as_classifier(), id="mlp-classifier"),
    pytest.param(mlp().as_regressor(), id="mlp-regressor", marks=SLOW),
    pytest.param(batch_norm().as_classifier(), id="batch_norm-classifier", marks=SLOW),
    pytest.param(batch_norm().as_regressor(), id="batch_norm-regressor", marks=SLOW),
    pytest.param(two_paths().as_classifier(), id="two_paths-classifier", marks=SLOW),
    pytest.param(two_paths().as_regressor(), id="two_paths-regressor", marks=SLOW),
    pytest.param((po("scale") >> po("pca")).as_transformer(), id="pca"),
    pytest.param((po("impute") >> po("encode") >> po("scale")).as_transformer(), id="impute"),
]


@pytest.mark.parametrize("estimator", CASES)
def test_an_estimator_passes_the_checks_of_scikit_learn(estimator: Any) -> None:
    found = check_estimator(
        estimator,
        expected_failed_checks=expected_failures(estimator),
        on_skip=None,
        on_fail=None,
    )
    failed = {r["check_name"]: r["exception"] for r in found if r["status"] == "failed"}
    assert failed == {}
    # One needs SCIPY_ARRAY_API=1; anything else that is left out would be a promise withdrawn.
    skipped = {result["check_name"] for result in found if result["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}


def test_weights_count_as_repetitions_when_training_uses_all_rows_at_once() -> None:
    """The check that mini-batches cannot pass, in a setting where it can: up to float32."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(20, 3)), generator.normal(size=20)
    weights = generator.integers(0, 3, size=20)
    model = po("torch_model", epochs=30, batch_size=1000, shuffle=False)
    graph = nn("linear") >> po("torch_optimizer", "sgd", lr=0.1) >> model
    weighted = graph.as_regressor(random_state=1).fit(X, y, sample_weight=weights)
    rows = np.repeat(np.arange(20), weights)
    repeated = graph.as_regressor(random_state=1).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-5)
