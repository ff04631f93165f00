from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from mlgraph.core.param import tune
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, DataError, UnknownParameterError
from mlgraph_nodes.encode import Encode
from mlgraph_nodes.estimator import Learner, Sklearn
from mlgraph_nodes.estimatorspec import EstimatorSpec


def task(n: int = 40, **more) -> Task:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    data = {
        "x": x,
        "z": rng.normal(size=n),
        "word": [["u", "v", "w"][i % 3] for i in range(n)],
        "y": [["no", "yes"][int(v > 0)] for v in x],
    }
    return Task({**data, **more}, target="y")


NUMBERS = ["x", "z"]


def po(estimator, id=None, **params):
    return Sklearn.create((estimator,), params, id=id)


def run(node, data=None):
    data = data or task()
    return node.as_graph().fit(data, seed=1).predict(data)


# The node that transforms


def test_a_transformer_keeps_names_and_places_where_it_can():
    found = run(po(StandardScaler(), columns=NUMBERS))
    assert found.features == ("x", "z", "word")
    np.testing.assert_allclose(found.column("x").to_numpy().mean(), 0, atol=1e-12)


def test_results_are_named_by_the_estimator():
    assert run(po(PCA(n_components=2), columns=NUMBERS)).features == ("pca0", "pca1", "word")


class Nameless(BaseEstimator, TransformerMixin):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[:, :1]


def test_nameless_results_are_named_by_the_id():
    assert run(po(Nameless(), columns=NUMBERS, id="first")).features == ("first_0", "word")


def test_the_estimator_that_was_passed_is_never_trained():
    scaler = StandardScaler()
    run(po(scaler, columns=NUMBERS))
    assert not hasattr(scaler, "mean_")
    scaler.with_mean = False
    assert po(scaler) != po(StandardScaler())


def test_a_class_stands_for_its_defaults():
    assert po(StandardScaler) == po(StandardScaler())


def test_strings_travel_as_a_data_frame():
    found = run(po(OrdinalEncoder(), columns="word"))
    assert found.types["word"] == "float"
    assert found.column("word").to_pylist()[:4] == [0.0, 1.0, 2.0, 0.0]


def test_columns_can_be_asked_for_by_name():
    chooser = ColumnTransformer([("s", StandardScaler(), ["z"])])
    assert run(po(chooser, columns=NUMBERS)).features == ("s__z", "word")


def test_sparse_results_become_columns():
    found = run(po(OneHotEncoder(), columns="word"))
    assert found.features == ("x", "z", "word_u", "word_v", "word_w")


class Wide(BaseEstimator, TransformerMixin):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return sparse.csr_matrix((len(X), 10_000_000))


def test_sparse_results_that_are_too_large_are_refused_with_advice():
    with pytest.raises(DataError, match="too large") as caught:
        run(po(Wide(), columns=NUMBERS))
    assert "TruncatedSVD" in caught.value.mend


def test_a_data_frame_that_comes_back_is_taken_as_it_is():
    found = run(po(StandardScaler().set_output(transform="pandas"), columns=NUMBERS))
    assert found.features == ("x", "z", "word")


def test_a_supervised_transformer_sees_the_target():
    assert run(po(SelectKBest(k=1), columns=NUMBERS)).features == ("x", "word")


def test_a_target_encoder_does_not_show_rows_their_own_target():
    fitted = po(TargetEncoder(), columns="word").as_graph().fit(task(), seed=1)
    made = fitted.outputs["sklearn.output"].column("word").to_numpy()
    assert not np.allclose(made, fitted.predict(task()).column("word").to_numpy())


def test_missing_values_are_refused_by_column_or_dealt_with():
    holes = task(z=[None] + [1.0] * 39)
    with pytest.raises(DataError, match="missing values") as caught:
        run(po(PCA(), columns=NUMBERS), holes)
    assert "'z'" in str(caught.value)
    run(po(StandardScaler(), columns=NUMBERS), holes)
    run(po(make_pipeline(SimpleImputer(), PCA()), columns=NUMBERS), holes)


def test_no_rows_have_the_columns_of_the_fit():
    fitted = po(PCA(), columns=NUMBERS).as_graph().fit(task())
    assert fitted.predict(task().empty()).features == ("pca0", "pca1", "word")


def test_fitting_on_no_rows_is_refused():
    with pytest.raises(DataError, match="needs rows"):
        po(PCA(), columns=NUMBERS).as_graph().fit(task().empty())


def test_what_can_neither_transform_nor_predict_is_refused():
    for thing in (3, object(), BaseEstimator()):
        with pytest.raises(ConfigError, match="cannot be a node") as caught:
            po(thing)
        assert "transform" in caught.value.why


# Parameters


def test_parameters_of_the_estimator_are_those_of_the_node():
    node = po(PCA(), n_components=1)
    assert node.parameters()["n_components"] == 1
    assert node == po(PCA(n_components=1))
    assert node.with_parameters({"n_components": 2, "columns": "x"}).columns is not None


def test_graphs_reach_the_parameters_by_path():
    graph = po(make_pipeline(StandardScaler(), PCA())).as_graph()
    changed = graph.with_params(sklearn__pca__n_components=1, sklearn__columns=NUMBERS)
    assert changed.params()["sklearn__pca__n_components"] == 1
    assert changed.fit(task()).predict(task()).features == ("pca0", "word")
    assert graph.params()["sklearn__pca__n_components"] is None


def test_an_unknown_parameter_gets_a_suggestion():
    with pytest.raises(UnknownParameterError, match="n_component") as caught:
        po(PCA()).with_parameters({"n_component": 1})
    assert "'n_components'" in caught.value.mend
    with pytest.raises(UnknownParameterError):
        po(PCA(), n_componens=1)


def test_tokens_inside_the_estimator_are_found_and_can_be_set():
    pipe = Pipeline([("scale", StandardScaler()), ("pca", PCA(n_components=tune(1, 2)))])
    graph = po(pipe, columns=NUMBERS).as_graph()
    assert list(graph.search_space()) == ["sklearn__pca__n_components"]
    with pytest.raises(ConfigError, match="left to tuning"):
        graph.fit(task())
    chosen = graph.with_params(sklearn__pca__n_components=1)
    assert not chosen.search_space()
    assert chosen.fit(task()).predict(task()).features == ("pca0", "word")


def test_a_token_can_be_given_like_a_parameter():
    node = po(PCA(), n_components=tune(1, 2))
    assert list(node.tokens()) == ["n_components"]


def test_a_parameter_called_like_one_of_the_node_is_reached_through_the_estimator():
    node = Learner(estimator=BaggingClassifier(KNeighborsClassifier(), n_estimators=2))
    changed = node.with_parameters({"estimator__n_neighbors": 3})
    assert changed.parameters()["estimator__n_neighbors"] == 3


def test_workers_do_not_count_as_a_setting_that_changes_results():
    node = po(PCA(), n_components=1)
    assert node.tags("n_components") == frozenset()
    assert Learner(estimator=KNeighborsClassifier()).tags("n_jobs") == {"runtime"}


def test_lists_and_tuples_stay_what_they_were():
    spec = EstimatorSpec.of(
        make_pipeline(
            RobustScaler(quantile_range=(10, 90)),
            OrdinalEncoder(categories=[["a", "b"]]),
            FunctionTransformer(np.log, kw_args={"where": True}),
        )
    )
    steps = spec.build().steps
    assert isinstance(steps, list)
    assert steps[0][1].quantile_range == (10, 90)
    assert steps[1][1].categories == [["a", "b"]]
    assert steps[2][1].kw_args == {"where": True}
    assert spec == EstimatorSpec.of(spec.build())
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_an_estimator_is_printed_by_what_is_special_about_it():
    node = po(make_pipeline(PCA(n_components=1)), columns="x")
    assert repr(node) == (
        "po(\"sklearn\", estimator=Pipeline(steps=[('pca', PCA(n_components=1))]), "
        "columns=sel.names('x'))"
    )


# The node that predicts


def test_a_predictor_makes_a_learner_of_the_key_that_was_asked_for():
    node = po(LogisticRegression(), columns=NUMBERS, C=0.5)
    assert isinstance(node, Learner)
    assert node.default_id == "sklearn"
    assert node.parameters()["C"] == 0.5
    with pytest.raises(ConfigError, match="predicts"):
        Sklearn(estimator=LogisticRegression())
    with pytest.raises(ConfigError, match="neither"):
        Learner(estimator=PCA())


class Both(LinearRegression):
    def transform(self, X):
        return self.predict(X).reshape(-1, 1)


def test_an_estimator_that_does_both_can_be_told_to_transform():
    data = Task({"x": [1.0, 2.0, 4.0], "y": [1.0, 2.0, 4.0]}, target="y")
    assert isinstance(po(Both()), Learner)
    found = run(po(Both(), output="transform"), data)
    np.testing.assert_allclose(found.column("sklearn_0").to_numpy(), [1.0, 2.0, 4.0])


def test_predictions_are_those_of_the_estimator():
    data = task()
    found = run(po(LogisticRegression(), columns=NUMBERS), data)
    x, y = data.select(NUMBERS).to_numpy()
    direct = LogisticRegression().fit(x, np.array(data.classes)[y])
    np.testing.assert_allclose(found.prob, direct.predict_proba(x))
    assert found.truth.tolist() == np.array(data.classes)[y].tolist()


def test_without_probabilities_the_predicted_class_has_them_all():
    found = run(po(RidgeClassifier(), columns=NUMBERS))
    assert set(found.prob.ravel().tolist()) == {0.0, 1.0}


def test_classes_keep_their_declared_order_and_those_without_rows_get_zero():
    target = pd.Categorical(["yes", "no"] * 10, ["yes", "never", "no"])
    data = Task({"x": [1.0, -1.0] * 10, "y": target}, target="y")
    found = run(po(LogisticRegression()), data)
    assert found.classes == ("yes", "never", "no")
    assert found.prob[:, 1].tolist() == [0.0] * 20
    assert found.response.tolist() == ["yes", "no"] * 10


def test_classes_may_be_integers_or_booleans():
    for labels in ([3, 7], [True, False]):
        data = Task({"x": [0.0, 1.0] * 5, "y": labels * 5}, "y", kind="classification")
        assert run(po(LogisticRegression()), data).response.tolist() == labels * 5


def test_row_weights_reach_the_estimator():
    data = task(w=[float(i % 2) for i in range(40)]).with_roles(weight="w")
    found = run(po(LogisticRegression(), columns=NUMBERS), data)
    odd = data.take(range(1, 40, 2))
    alone = po(LogisticRegression(), columns=NUMBERS).as_graph().fit(odd, seed=1).predict(data)
    np.testing.assert_allclose(found.prob, alone.prob, atol=1e-4)


def test_row_weights_that_cannot_be_used_are_refused():
    data = task(w=[1.0] * 40).with_roles(weight="w")
    with pytest.raises(DataError, match="cannot use row weights"):
        run(po(KNeighborsClassifier(), columns=NUMBERS), data)


def test_an_estimator_of_another_kind_is_refused_before_it_is_trained():
    with pytest.raises(DataError, match="LinearRegression cannot learn this task"):
        run(po(LinearRegression(), columns=NUMBERS))
    with pytest.raises(DataError, match="cannot learn this task"):
        po(LinearRegression(), columns=NUMBERS).as_graph().check(task())


class Untrainable(DummyClassifier):
    def fit(self, X, y, sample_weight=None):
        raise RuntimeError("trained")


def test_a_check_does_not_train():
    graph = po(Untrainable(), columns=NUMBERS).as_graph()
    graph.check(task())
    with pytest.raises(RuntimeError, match="trained") as caught:
        graph.fit(task())
    assert "in node 'sklearn'" in caught.value.__notes__[0]


def test_no_rows_are_predicted_with_all_classes():
    fitted = po(LogisticRegression(), columns=NUMBERS).as_graph().fit(task())
    assert fitted.predict(task().empty()).prob.shape == (0, 2)


def test_the_seed_decides_what_is_random():
    graph = po(RandomForestClassifier(n_estimators=3, max_depth=1), columns=NUMBERS).as_graph()
    one, same, other = (graph.fit(task(), seed=seed).predict(task()).prob for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_random_state_that_is_set_is_kept():
    forest = RandomForestClassifier(n_estimators=3, max_depth=1, random_state=5)
    graph = po(forest, columns=NUMBERS).as_graph()
    one, other = (graph.fit(task(), seed=seed).predict(task()).prob for seed in (1, 2))
    assert np.array_equal(one, other)


def test_a_learner_stands_at_the_end_of_a_chain():
    graph = Encode() >> po(StandardScaler()) >> po(LogisticRegression(), id="model")
    fitted = graph.fit(task(), valid=0.25, seed=1)
    assert fitted.trainers() == ("model",)
    assert len(fitted.predict(task())) == 40


def test_equal_estimators_make_equal_nodes_whose_json_tells_all():
    one = po(RandomForestClassifier(n_estimators=3))
    assert one == po(RandomForestClassifier(n_estimators=3))
    assert one != po(RandomForestClassifier(n_estimators=4))
    spec = one.to_json()["params"]["estimator"]["is"]
    assert spec["kind"] == {"$name": "sklearn.ensemble._forest:RandomForestClassifier"}
    assert spec["params"]["n_estimators"] == 3


def test_how_an_estimator_runs_is_left_out_of_the_hash() -> None:
    def learner(**params: object) -> Learner:
        inside = BaggingClassifier(KNeighborsClassifier(**params))
        return Learner(estimator=make_pipeline(StandardScaler(), inside))

    one, other = learner().as_graph(), learner(n_jobs=2).as_graph()
    assert one != other
    assert one.hash == other.hash != learner(n_neighbors=2).as_graph().hash
