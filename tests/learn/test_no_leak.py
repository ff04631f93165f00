"""No row that is held out reaches the ``fit`` of any node, and noise is predicted like noise.

Each row carries its number as a feature, which no node of these graphs changes, so that wherever
rows are seen it can be told which ones they are.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    OneToOneFeatureMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score

from mlgraph import Callback, Node, Port, Task, nn, po, sel
from mlgraph.core import run as walk
from mlgraph.data.feed import Feed
from mlgraph.learn.supervised import GraphClassifier, GraphRegressor
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.train.trained import Trained
from mlgraph_nodes.target import TargetScale, with_target

ROWS, TEST, VALID = 96, range(0, 96, 4), range(1, 96, 4)
TRAIN = sorted({*range(ROWS)} - {*TEST} - {*VALID})
SEEN: dict[str, list[set[int]]] = {}  # what callbacks and estimators of scikit-learn have seen


# Witnesses


class Witness(Node):
    """Passes a table on; what it has learned are the numbers of the rows it was fitted on."""

    inputs = outputs = (Port("table", Task),)

    def fit(self, inputs, ctx):
        return (inputs["table"],), tuple(sorted(rows_of(inputs["table"])))

    def apply(self, state, inputs, ctx):
        return (inputs["table"],)


class NetworkWitness(Node):
    """The same on the way of a network."""

    inputs = (Port("network", fit=ModelDescriptor, apply=Feed),)
    outputs = (Port("output", fit=ModelDescriptor, apply=Feed),)

    def fit(self, inputs, ctx):
        return (inputs["network"],), tuple(sorted(rows_of(inputs["network"])))

    def apply(self, state, inputs, ctx):
        return (inputs["network"],)


class BatchWitness(Callback):
    """Looks at every batch that is trained on, and at every one that is validated on."""

    def on_batch_begin(self, run, state):
        SEEN["batch"].append(numbers(run.batch.inputs[0][:, 0]))

    def on_valid_batch_begin(self, run, state):
        SEEN["valid"].append(numbers(run.batch.inputs[0][:, 0]))

    def on_train_begin(self, run, state):
        SEEN["batches"].append(numbers(run.batches.inputs[0][:, 0]))


class Seeing(BaseEstimator):
    def fit(self, X, y=None, sample_weight=None):
        SEEN["sklearn"].append(numbers(np.asarray(X)[:, 0]))
        self.n_features_in_ = X.shape[1]
        self.classes_ = np.unique(y) if y is not None else None
        return self


class Guess(ClassifierMixin, Seeing):
    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class Mean(RegressorMixin, Seeing):
    def predict(self, X):
        return np.zeros(len(X))


class Same(OneToOneFeatureMixin, TransformerMixin, Seeing):
    def transform(self, X):
        return X


def numbers(values: Any) -> set[int]:
    return {round(float(value) * 1024) for value in values}


def rows_of(value: Any) -> set[int]:
    """The numbers of all rows inside of a value."""
    if isinstance(value, Task):
        return (
            numbers(value.columns["row"].array().to_pylist()) if "row" in value.columns else set()
        )
    if isinstance(value, ModelDescriptor):
        return rows_of(value.inputs)
    if isinstance(value, Mapping):
        value = value.values()
    return set().union(*map(rows_of, value)) if isinstance(value, Iterable) else set()


@attrs.define
class Records:
    """What went into each call of a node's ``fit``, and beside it as validation data."""

    fits: list[tuple[str, set[int]]] = attrs.field(factory=list)
    valids: list[set[int]] = attrs.field(factory=list)

    def nodes(self) -> set[str]:
        return {key for key, _ in self.fits}


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Records:
    """Stands where all nodes are called."""
    made, real = Records(), walk.call

    def call(node, method, id, inputs, ctx, state=None):
        if method == "fit":
            made.fits.append((node.key, rows_of(inputs)))
            if node.trains:
                made.valids.append(rows_of(ctx.valid or {}))
        return real(node, method, id, inputs, ctx, state)

    monkeypatch.setattr(walk, "call", call)
    for name in ("batch", "valid", "batches", "sklearn"):
        monkeypatch.setitem(SEEN, name, [])
    return made


# Data and graphs


def columns(rows: Iterable[int] = range(ROWS)) -> dict[str, Any]:
    rows, draws = np.array([*rows]), np.random.default_rng(0)
    a, b = draws.normal(size=(2, ROWS))
    letters = np.array(["x", "y", "z"])[draws.integers(0, 3, ROWS)]
    missing = np.where(draws.random(ROWS) < 0.1, np.nan, a)
    label = np.where(np.arange(ROWS) % 3 == 0, "one", "two")
    every = {"row": np.arange(ROWS) / 1024, "a": missing, "b": b, "c": letters}
    return {name: column[rows] for name, column in {**every, "y": label, "q": a + b}.items()}


def task(rows: Iterable[int] = range(ROWS), target: str = "y") -> Task:
    rows = [*rows]
    given = columns(rows)
    given.pop("q" if target == "y" else "y")
    return Task(given, target=target, row_ids=rows)


OTHERS = ~sel.names("row")


def prepared():
    """Preprocessing that learns something in every node."""
    return (
        po("witness", id="first")
        >> po("impute", columns=OTHERS)
        >> po("scale", columns=sel.type("float") & OTHERS)
        >> po("encode")
        >> po("sklearn", Same(), columns=["row"], id="transformer")
    )


def trained(**options: Any):
    parts = nn("linear", 4) >> nn("batch_norm1d") >> nn("relu") >> nn("dropout") >> nn("head")
    fixed = {"epochs": 2, "batch_size": 8, "progress": False, "patience": 1, **options}
    return (
        po("ingress_num", columns=["row", "a", "b"])
        >> parts
        >> po("network_witness")
        >> po("torch_callbacks", ["batch_witness", "ema"])
        >> po("torch_model", **fixed)
    )


def classifier(**options: Any):
    balanced = prepared() >> po("classbalancing") >> po("classweights") >> po("witness", id="last")
    return balanced >> trained(metrics=["accuracy"], class_weight="balanced", **options)


def regressor(**options: Any):
    return with_target(prepared() >> trained(metrics=["rmse"], **options), TargetScale())


def of_sklearn(estimator: Any):
    return prepared() >> po("learner", estimator, columns=["row", "a", "b"])


GRAPHS = {
    "classifier": (lambda: classifier(), "y"),
    "regressor": (regressor, "q"),
    "sklearn classifier": (lambda: of_sklearn(Guess()), "y"),
    "sklearn regressor": (lambda: with_target(of_sklearn(Mean()), TargetScale()), "q"),
}
LEARNED = {"witness", "impute", "scale", "encode", "sklearn"}


def assert_none_of(records: Records, allowed: set[int], valid: set[int]) -> None:
    """Every ``fit`` saw rows of the training set, together all of them, and nothing else."""
    assert records.nodes() >= LEARNED and len(records.fits) >= 6
    for key, rows in records.fits:
        assert rows <= allowed - valid, key
    assert set().union(*(rows for _, rows in records.fits)) == allowed - valid
    for name in ("batch", "batches", "sklearn"):
        for rows in SEEN[name]:
            assert rows <= allowed - valid, name
    assert any(SEEN.values())


# A graph of one's own


@pytest.mark.parametrize("name", GRAPHS)
def test_validation_rows_by_number_reach_no_fit(name, records):
    make, target = GRAPHS[name]
    inner = sorted({*range(ROWS)} - {*TEST})
    fitted = make().fit(task(inner, target), valid=[*VALID], seed=1)
    fitted.predict(task(TEST, target))
    assert_none_of(records, set(inner), set(VALID))
    assert all(rows <= set(VALID) for rows in SEEN["valid"])
    assert fitted.states["first"] == tuple(TRAIN)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_part_of_the_rows_for_validation_reaches_no_fit(name, records):
    make, target = GRAPHS[name]
    inner = sorted({*range(ROWS)} - {*TEST})
    fitted = make().fit(task(inner, target), valid=0.25, seed=1)
    valid = set(inner) - set(fitted.states["first"])
    assert len(valid) == len(inner) / 4
    assert_none_of(records, set(inner), valid)
    assert all(rows == valid for rows in (*records.valids, *SEEN["valid"]))


@pytest.mark.parametrize("name", GRAPHS)
def test_a_validation_task_of_its_own_reaches_no_fit(name, records):
    make, target = GRAPHS[name]
    make().fit(task(TRAIN, target), valid=task(VALID, target), seed=1)
    assert_none_of(records, set(TRAIN), set())
    assert all(rows == set(VALID) for rows in (*records.valids, *SEEN["valid"]))


def test_validation_data_that_are_not_used_are_not_looked_at(records):
    classifier(use_valid=False, patience=0).fit(task(), valid=[*VALID], seed=1)
    assert_none_of(records, set(range(ROWS)), set(VALID))
    assert SEEN["valid"] == []


def test_witnesses_on_the_way_of_table_and_network_saw_the_rows_to_train_on(records):
    fitted = classifier().fit(task(), valid=[*VALID], seed=1)
    inner = sorted({*range(ROWS)} - {*VALID})
    assert fitted.states["first"] == tuple(inner)
    assert set(fitted.states["last"]) <= set(inner)  # classes were balanced before it
    assert fitted.states["network_witness"] == fitted.states["last"]


# What is learned does not depend on it


def spoilt(rows: Iterable[int], target: str) -> Task:
    """The same table with nonsense in these rows."""
    given, rows = columns(), [*rows]
    for name in ("a", "b", "q"):
        given[name][rows] = 1e3 * (1 + given[name][rows])
    given["c"][rows] = "z"
    given["y"][rows] = np.where(given["y"][rows] == "one", "two", "one")
    given.pop("q" if target == "y" else "y")
    return Task(given, target=target)


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_nothing_that_is_learned_depends_on_rows_held_out(name, records):
    make, target = GRAPHS[name]
    graph = make().with_params(torch_model__patience=0)
    tables = task(target=target), spoilt(VALID, target), spoilt(TRAIN[:1], target)
    fits = [graph.fit(table, valid=[*VALID], seed=1) for table in tables]
    plain, other_valid, other_train = ({k: told(v) for k, v in f.states.items()} for f in fits)
    assert plain == other_valid
    for id in ("scale", "torch_model"):
        assert plain[id] != other_train[id], "a row to train on does matter"
    losses = [fit.trained().history["valid_loss"].to_pylist() for fit in fits]
    assert losses[0] != losses[1], "a row to validate on is validated on"


def told(state: Any) -> Any:
    """What was learned, as something to compare: all but the history, which is of both."""
    if isinstance(state, Trained):
        return {name: np.asarray(tensor).tobytes() for name, tensor in state.tensors.items()}
    return pickle.dumps(state)


# scikit-learn


def estimators() -> dict[str, Any]:
    return {
        "validate=0.25": GraphClassifier(classifier(), validate=0.25, random_state=0),
        "validate=positions": GraphClassifier(classifier(), validate=[1, 5, 9], random_state=0),
        "no validation": GraphClassifier(classifier(patience=0), random_state=0),
        "regressor": GraphRegressor(regressor(), validate=0.25, random_state=0),
        "learner": GraphClassifier(of_sklearn(Guess()), validate=0.25, random_state=0),
    }


def frame(name: str) -> tuple[pd.DataFrame, Any]:
    given = columns()
    y, q = given.pop("y"), given.pop("q")
    return pd.DataFrame(given), q if name == "regressor" else y


@pytest.mark.parametrize("name", estimators())
def test_an_estimators_validation_rows_reach_no_fit(name, records):
    X, y = frame(name)
    estimator = estimators()[name].fit(X, y)
    _, first = records.fits[0]
    assert len(estimator.graph_.states["first"]) == len(first)
    valid = set(range(ROWS)) - first
    assert len(valid) == {"validate=positions": 3, "no validation": 0}.get(name, ROWS // 4)
    assert_none_of(records, set(range(ROWS)), valid)


@pytest.mark.parametrize("name", estimators())
def test_test_rows_of_a_cross_validation_reach_no_fit(name, records):
    X, y = frame(name)
    labels = np.arange(ROWS) % 3 == 0
    for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(X, labels):
        for seen in (records.fits, records.valids, *SEEN.values()):
            seen.clear()
        cross_val_score(estimators()[name], X, y, cv=[(train, test)], error_score="raise")
        _, first = records.fits[0]
        assert first and not first & set(test)
        assert_none_of(records, set(train), set(train) - first)
        for rows in (*records.valids, *SEEN["valid"]):
            assert not rows & set(test)


def test_test_rows_of_a_search_reach_no_fit(records):
    X, y = frame("classifier")
    train, test = np.arange(0, 64), np.arange(64, ROWS)
    choices = {"dropout__p": [0.1, 0.5]}
    search = GridSearchCV(
        estimators()["validate=0.25"], choices, cv=[(train, test)], refit=False, error_score="raise"
    )
    search.fit(X, y)
    assert len(records.valids) == 2
    for key, rows in records.fits:
        assert rows <= set(train), key
    for rows in (*records.valids, *SEEN["batch"], *SEEN["valid"]):
        assert rows <= set(train)


# A witness that saw nothing would prove nothing


def test_a_row_that_slips_in_is_noticed(records):
    classifier().fit(task([*TRAIN, TEST[0]]), valid=[TRAIN[0]], seed=1)
    assert_none_of(records, {*TRAIN, TEST[0]}, {TRAIN[0]})
    with pytest.raises(AssertionError):
        assert_none_of(records, set(TRAIN), {TRAIN[0]})
    with pytest.raises(AssertionError):
        assert_none_of(records, {*TRAIN, TEST[0]}, {TRAIN[0], TRAIN[1]})


# Noise


def coin(seed: int, rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Features that say nothing of labels, one half of which is 1."""
    draws = np.random.default_rng([7, seed])
    return draws.normal(size=(rows, 10)), draws.permutation(np.arange(rows) % 2)


def guesser(valid: Any) -> GraphClassifier:
    """A network that stops early and ends with its best weights."""
    parts = po("scale") >> nn("linear", 32) >> nn("relu") >> nn("head")
    options = {"epochs": 15, "batch_size": 16, "patience": 4, "progress": False}
    graph = parts >> po("torch_model", metrics=["accuracy"], restore_best_weights=True, **options)
    return GraphClassifier(graph, validate=valid, random_state=0)


def folds(seed: int) -> StratifiedKFold:
    return StratifiedKFold(5, shuffle=True, random_state=seed)


def honest(seed: int) -> float:
    """Cross-validated accuracy."""
    X, y = coin(seed)
    scores = cross_val_score(guesser(0.25), X, y, cv=folds(seed), error_score="raise")
    return float(scores.mean())


def peeking(seed: int) -> float:
    """The same where the rows that choose the epoch are those that the accuracy is measured on."""
    X, y = coin(seed)
    found = []
    for train, test in folds(seed).split(X, y):
        order = np.concatenate([train, test])
        model = guesser([*range(len(train), len(X))]).fit(X[order], y[order])
        found.append(model.score(X[test], y[test]))
    return float(np.mean(found))


def errors_from_half(scores: list[float]) -> float:
    """How many standard errors the mean is from 0.5."""
    return float((np.mean(scores) - 0.5) / (np.std(scores, ddof=1) / np.sqrt(len(scores))))


@pytest.mark.slow
def test_labels_of_a_coin_are_predicted_like_a_coin():
    assert abs(errors_from_half([honest(seed) for seed in range(20)])) <= 2


@pytest.mark.slow
def test_who_peeks_at_the_test_rows_seems_to_know_the_coin():
    assert errors_from_half([peeking(seed) for seed in range(20)]) > 2


def test_labels_of_a_coin_are_predicted_like_a_coin_a_few_times():
    assert abs(errors_from_half([honest(seed) for seed in range(4)])) <= 2
