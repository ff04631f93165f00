"""Metrics: scikit-learn's numbers by name, and refusals before numbers that mean nothing."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from mlgraph.data.prediction import Prediction
from mlgraph.errors import ConfigError, DataError, UnknownKeyError
from mlgraph.train.formula import accuracy
from mlgraph.train.metric import Metric, metric, metrics_for, resolve, score

N = 40


def classified(
    classes: tuple[Any, ...], *, positive: Any = None, weights: Any = None, seed: int = 0
) -> Prediction:
    rng = np.random.default_rng(seed)
    codes = np.arange(N) % len(classes)
    prob = rng.dirichlet(np.ones(len(classes)), N) + 0.7 * np.eye(len(classes))[codes]
    prob /= prob.sum(axis=1, keepdims=True)
    return Prediction.classification(
        np.arange(N), prob, classes, codes, positive=positive, weights=weights
    )


def regressed(weights: Any = None) -> Prediction:
    rng = np.random.default_rng(0)
    truth = rng.random(N) + 0.5
    response = truth + 0.3 * rng.random(N)
    return Prediction.regression(np.arange(N), response, truth, weights=weights)


WEIGHTS = np.linspace(0.1, 2.0, N)
BINARY = classified(("no", "yes"))
MULTI = classified(("a", "b", "c"))
REGRESSION = regressed()
CASES = {"binary": BINARY, "multiclass": MULTI, "regression": REGRESSION}


# --- the same numbers as scikit-learn ---------------------------------------------------------


def by_scikit_learn(name: str, prediction: Prediction) -> float:
    """The value of scikit-learn's scorer for an estimator that made this prediction."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.metrics import get_scorer

    class Classifier(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(len(prediction.classes or ()))

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def predict(self, X: Any) -> Any:
            return np.argmax(self.predict_proba(X), axis=1)

        def predict_proba(self, X: Any) -> Any:
            return prediction.prob

    class Regressor(RegressorMixin, BaseEstimator):
        def predict(self, X: Any) -> Any:
            return prediction.response

    X = np.zeros((N, 1))
    if prediction.kind == "regression":
        return float(get_scorer(name)(Regressor(), X, prediction.truth))
    assert prediction.truth is not None and prediction.classes is not None
    codes = [prediction.classes.index(label) for label in prediction.truth.tolist()]
    return float(get_scorer(name)(Classifier(), X, codes))


def _shared_names() -> list[tuple[str, str]]:
    from sklearn.metrics import get_scorer_names

    scorers = set(get_scorer_names())
    shared = [(kind, name) for kind in CASES for name in metrics_for(kind) if name in scorers]
    shared.remove(("multiclass", "roc_auc"))  # scikit-learn's wants to be told how to average
    return shared


@pytest.mark.parametrize(("kind", "name"), _shared_names())
def test_a_name_of_scikit_learn_gives_its_number(kind: str, name: str) -> None:
    assert score(CASES[kind], name) == pytest.approx(by_scikit_learn(name, CASES[kind]))


def test_the_usual_scorers_are_there() -> None:
    classes = {"accuracy", "balanced_accuracy", "f1", "f1_macro", "roc_auc", "roc_auc_ovr"}
    assert classes | {"average_precision", "neg_log_loss", "brier"} <= set(metrics_for("binary"))
    usual = {"r2", "rmse", "neg_root_mean_squared_error", "mae", "mape", "explained_variance"}
    assert usual | {"mse", "max_error"} <= set(metrics_for("regression"))


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in CASES for name in metrics_for(kind)]
)
def test_every_name_gives_a_number_in_its_direction(kind: str, name: str) -> None:
    made = metric(name)
    assert np.isfinite(made(CASES[kind])) and made.greater_is_better is not None


@pytest.mark.parametrize("name", ["rmse", "mae", "mse", "log_loss", "brier", "max_error"])
def test_a_loss_is_positive_and_its_negative_a_score(name: str) -> None:
    prediction = BINARY if name in ("log_loss", "brier") else REGRESSION
    value = score(prediction, name)
    assert isinstance(value, float) and value > 0
    assert score(prediction, f"neg_{name}") == -value
    assert metric(name).greater_is_better is False
    assert metric(f"neg_{name}").greater_is_better is True


# --- classes ---------------------------------------------------------------------------------


def test_the_positive_class_is_the_one_that_is_found() -> None:
    from sklearn.metrics import f1_score, roc_auc_score

    flipped = classified(("no", "yes"), positive="no")
    assert score(flipped, "f1") == pytest.approx(
        f1_score(flipped.truth, flipped.response, pos_label="no")
    )
    assert score(BINARY, "f1") == pytest.approx(
        f1_score(BINARY.truth, BINARY.response, pos_label="yes")
    )
    assert flipped.prob is not None
    area = roc_auc_score(flipped.truth == "no", flipped.prob[:, 0])
    assert score(flipped, "roc_auc") == pytest.approx(area)
    for name in ("log_loss", "brier", "accuracy"):
        assert score(flipped, name) == pytest.approx(score(BINARY, name))


@pytest.mark.parametrize("classes", [(False, True), (3, 7), ("z", "a")])
def test_classes_may_be_of_any_type_and_order(classes: tuple[Any, ...]) -> None:
    prediction = classified(classes)
    for name in ("accuracy", "f1", "roc_auc", "log_loss"):
        assert score(prediction, name) == pytest.approx(score(BINARY, name))


def test_the_area_of_several_classes_is_the_mean_of_one_against_the_rest() -> None:
    from sklearn.metrics import roc_auc_score

    assert MULTI.prob is not None
    areas = [roc_auc_score(MULTI.truth == c, MULTI.prob[:, i]) for i, c in enumerate("abc")]
    assert score(MULTI, "roc_auc") == pytest.approx(np.mean(areas))


@pytest.mark.parametrize("name", ["roc_auc", "roc_auc_ovo", "average_precision"])
def test_an_area_without_rows_of_a_class_is_refused(name: str) -> None:
    prob = np.full((4, 3), 1 / 3)
    prediction = Prediction.classification(range(4), prob, ("a", "b", "c"), [0, 1, 0, 1])
    with pytest.raises(DataError, match=f"'{name}' is not defined: no row has class 'c'"):
        score(prediction, name)
    one = Prediction.classification(range(2), [[0.5, 0.5]] * 2, ("no", "yes"), [1, 1])
    with pytest.raises(DataError, match="no row has class 'no'"):
        score(one, name)


def test_log_loss_and_accuracy_do_without_rows_of_a_class() -> None:
    prob = np.full((2, 3), 1 / 3)
    prediction = Prediction.classification(range(2), prob, ("a", "b", "c"), [0, 1])
    assert score(prediction, "log_loss") == pytest.approx(np.log(3))
    assert score(prediction, "accuracy") == 0.5


def test_a_perfect_and_a_useless_precision_are_numbers() -> None:
    prediction = Prediction.classification(range(2), [[0.9, 0.1]] * 2, ("no", "yes"), [0, 1])
    assert score(prediction, "precision") == 0.0


def test_average_chooses_the_variant() -> None:
    assert metric("f1", average="macro") == metric("f1_macro")
    assert metric("f1", average="binary") == metric("f1")
    assert metric("roc_auc_ovr", average="weighted").name == "roc_auc_ovr_weighted"
    with pytest.raises(ConfigError, match="no average 'makro'") as raised:
        metric("f1", average="makro")
    assert "'macro'" in raised.value.mend
    with pytest.raises(ConfigError, match="not an average over classes"):
        metric("accuracy", average="macro")


# --- weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rmse", "mae", "r2", "mape"])
def test_row_weights_count_in_regression(name: str) -> None:
    import sklearn.metrics

    weighted = regressed(WEIGHTS)
    functions = {
        "rmse": sklearn.metrics.root_mean_squared_error,
        "mae": sklearn.metrics.mean_absolute_error,
        "r2": sklearn.metrics.r2_score,
        "mape": sklearn.metrics.mean_absolute_percentage_error,
    }
    expected = functions[name](weighted.truth, weighted.response, sample_weight=WEIGHTS)
    assert score(weighted, name) == pytest.approx(expected) != score(REGRESSION, name)


@pytest.mark.parametrize(
    "name", ["accuracy", "f1", "log_loss", "brier", "roc_auc", "average_precision"]
)
def test_a_row_of_weight_two_counts_as_two_rows(name: str) -> None:
    weights = np.where(np.arange(N) < 10, 2.0, 1.0)
    weighted = classified(("no", "yes"), weights=weights)
    places = np.r_[:10, :N]
    assert BINARY.prob is not None
    twice = Prediction.classification(places, BINARY.prob[places], ("no", "yes"), places % 2)
    assert score(weighted, name) == pytest.approx(score(twice, name))


def test_a_metric_without_weights_ignores_them() -> None:
    assert score(regressed(WEIGHTS), "max_error") == score(REGRESSION, "max_error")


# --- functions -------------------------------------------------------------------------------


def bias(truth: Any, response: Any) -> float:
    return float(np.mean(response - truth))


def test_a_function_of_truth_and_response_is_a_metric() -> None:
    assert REGRESSION.truth is not None
    expected = float(np.mean(REGRESSION.response - REGRESSION.truth))
    assert score(REGRESSION, bias) == expected
    made = metric(bias, greater_is_better=False)
    assert (made.name, made.greater_is_better, made.needs) == ("bias", False, "response")
    assert metric(bias).greater_is_better is None
    assert score(MULTI, lambda truth, response: np.mean(truth == response)) == score(MULTI)


def test_a_function_that_knows_weights_gets_them() -> None:
    def total(truth: Any, response: Any, sample_weight: Any = None) -> float:
        return 0.0 if sample_weight is None else float(sample_weight.sum())

    assert score(regressed(WEIGHTS), total) == pytest.approx(WEIGHTS.sum())
    assert score(REGRESSION, total) == 0.0


def test_a_function_that_gives_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not give a number"):
        score(REGRESSION, lambda truth, response: truth)


def test_the_direction_of_a_named_metric_cannot_be_changed() -> None:
    assert metric("rmse", greater_is_better=False) == metric("rmse")
    with pytest.raises(ConfigError, match="direction of metric 'rmse' cannot be changed"):
        metric("rmse", greater_is_better=True)


def test_what_is_no_metric_is_refused() -> None:
    from sklearn.metrics import get_scorer

    wrong: Any
    for wrong in (3, int, get_scorer("accuracy")):
        with pytest.raises(ConfigError, match="is not a metric"):
            metric(wrong)
    with pytest.raises(ConfigError, match="takes average"):
        metric(bias, average="macro")
    wrong = 3
    with pytest.raises(ConfigError, match="are no metrics"):
        resolve(wrong, "regression")


# --- several, and refusals -------------------------------------------------------------------


def test_one_metric_gives_a_number_and_several_a_dict() -> None:
    assert isinstance(score(REGRESSION), float)
    assert isinstance(score(REGRESSION, metric("r2")), float)
    assert list(score(REGRESSION, ["r2", bias])) == ["r2", "bias"]
    named = score(MULTI, {"error": lambda t, r: np.mean(t != r), "acc": "accuracy"})
    assert isinstance(named, dict)
    assert named["error"] == pytest.approx(1 - named["acc"])
    assert score(REGRESSION, []) == {}


def test_the_default_is_accuracy_or_the_root_mean_squared_error() -> None:
    assert score(BINARY) == score(BINARY, "accuracy")
    assert score(REGRESSION) == score(REGRESSION, "rmse")
    assert list(resolve(None, "classification")) == ["accuracy"]


def test_the_method_of_a_prediction_is_the_same() -> None:
    assert REGRESSION.score("mae") == score(REGRESSION, "mae")


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="Two metrics are called 'lambda'"):
        resolve([lambda t, r: 0.0, lambda t, r: 1.0], "regression")


def test_an_unknown_metric_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownKeyError, match="No metric is called 'acuracy'") as raised:
        score(BINARY, "acuracy")
    assert "'accuracy'" in raised.value.mend


@pytest.mark.parametrize(
    ("name", "kind", "mend"),
    [
        ("rmse", "classification", "use 'accuracy'"),
        ("accuracy", "regression", "use 'rmse'"),
        ("f1", "multiclass", "use 'f1_macro'"),
        ("top_k_accuracy", "binary", "use 'accuracy'"),
    ],
)
def test_a_metric_for_another_kind_of_task_is_refused(name: str, kind: str, mend: str) -> None:
    with pytest.raises(ConfigError, match="wrong metric for the task") as raised:
        resolve(name, kind)
    assert raised.value.mend == mend


def test_f1_is_known_before_it_is_known_how_many_classes_there_are() -> None:
    assert list(resolve(["f1", "roc_auc"], "classification")) == ["f1", "roc_auc"]
    with pytest.raises(ConfigError, match="f1_macro"):
        score(MULTI, "f1")


@pytest.mark.parametrize("kind", ["unsupervised", "clustering"])
def test_a_task_without_target_has_no_metrics(kind: str) -> None:
    with pytest.raises(ConfigError, match="has no metrics"):
        resolve("accuracy", kind)


def test_a_prediction_without_truth_is_refused() -> None:
    with pytest.raises(DataError, match="no truth"):
        score(Prediction.regression([0], [1.0]))
    with pytest.raises(DataError, match="no rows"):
        score(Prediction.regression([], [], []))


def test_rows_without_truth_are_counted_and_refused() -> None:
    partly = Prediction.regression([5, 6, 7], [1.0, 1.0, 1.0], [1.0, np.nan, np.nan])
    with pytest.raises(DataError, match="truth of 2 rows is missing") as raised:
        score(partly)
    assert "6, 7" in raised.value.why
    prob = [[0.5, 0.5]] * 3
    labels = Prediction.classification([5, 6, 7], prob, ("no", "yes"), [0, -1, 1])
    with pytest.raises(DataError, match="truth of 1 rows is missing"):
        score(labels, "roc_auc")


NORMAL = Prediction.regression([0, 1], [np.nan, 1.0], [1.0, 1.0], se=[1.0, 1.0])
QUANTILES = {0.1: [0.0, 0.0], 0.9: [np.inf, 2.0]}
LEVELS = Prediction.regression([0, 1], [1.0, 1.0], [1.0, 1.0], quantiles=QUANTILES)


@pytest.mark.parametrize(
    ("prediction", "name", "count"),
    [
        (Prediction.regression([0, 1], [np.nan, 1.0], [1.0, 1.0]), "rmse", "1 of 2"),
        (Prediction.regression([0, 1], [1.0, 1.0], [-np.inf, 1.0]), "r2", "1 of 2"),
        (NORMAL, "nll", "1 of 4"),
        (LEVELS, "pinball", "1 of 4"),
        (
            Prediction.regression([0, 1], [1.0, 1.0], [1.0, 1.0], weights=[1, np.nan]),
            "mae",
            "1 of 2",
        ),
        (
            Prediction.classification([0], [[0.5, 0.5]], (0, 1), [1], weights=[np.inf]),
            "accuracy",
            "1 of 1",
        ),
    ],
)
def test_numbers_that_are_not_finite_have_no_score(prediction, name, count) -> None:
    with pytest.raises(DataError, match="not finite") as raised:
        score(prediction, name)
    assert f"{count} are NaN or infinite" in raised.value.why


def test_a_metric_of_probabilities_needs_them() -> None:
    labels = np.array(["no", "yes"])
    hard = Prediction(
        np.arange(2), "classification", labels, truth=labels, classes=("no", "yes"), positive="yes"
    )
    assert score(hard) == 1.0
    with pytest.raises(DataError, match="needs probabilities"):
        score(hard, "log_loss")


@pytest.mark.parametrize("strange", [["no", "maybe"], [1, 2]])
def test_a_label_that_is_no_class_is_refused(strange: list[Any]) -> None:
    odd = Prediction(
        np.arange(2),
        "classification",
        np.array(["no", "yes"]),
        truth=np.array(strange),
        classes=("no", "yes"),
        positive="yes",
    )
    with pytest.raises(DataError, match=r"is not a class|not those of the classes"):
        score(odd)


def test_metrics_are_values() -> None:
    for name in ("rmse", "f1_macro", "neg_log_loss", "roc_auc"):
        made = metric(name)
        assert pickle.loads(pickle.dumps(made)) == made == metric(name)
        assert hash(made) == hash(metric(name)) and repr(made) == f"metric({name!r})"
    assert isinstance(metric(metric("rmse")), Metric) and metric("rmse") != metric("mae")


def test_names_are_known_without_loading_scikit_learn() -> None:
    code = (
        "import sys; from mlgraph.train.metric import *; resolve(['f1', 'brier'], 'classification')"
        "; assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_accuracy_is_that_of_scikit_learn_to_the_last_bit(classes, weighted):
    from sklearn.metrics import accuracy_score

    draws = np.random.default_rng(classes)
    for rows in (1, 7, 500):
        truth, guess = draws.integers(0, classes, (2, rows))
        weights = draws.random(rows) if weighted else None
        expected = float(accuracy_score(truth, guess, sample_weight=weights))
        assert accuracy(truth, guess, sample_weight=weights) == expected


def test_an_accuracy_of_no_rows_is_refused():
    with pytest.raises(ValueError):
        accuracy(np.array([], dtype=int), np.array([], dtype=int))
