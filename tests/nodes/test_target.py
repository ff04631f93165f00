from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from mlgraph import nn, po
from mlgraph.data.prediction import Prediction
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, DataError, GraphError
from mlgraph_nodes.estimator import Learner
from mlgraph_nodes.scale import Scale
from mlgraph_nodes.target import (
    TargetInverse,
    TargetMutate,
    TargetScale,
    TargetTrafoScaleRange,
    with_target,
)
from mlgraph_nodes.threshold import Threshold

TRAFOS = [
    TargetScale(),
    TargetTrafoScaleRange(lower=-1),
    TargetMutate(trafo=np.log, inverter=np.exp),
]


def task(n: int = 30) -> Task:
    x = np.random.default_rng(0).normal(size=n)
    return Task({"x": x, "y": np.exp(0.5 * x + 3)}, target="y")


def learner() -> Learner:
    return Learner(estimator=LinearRegression())


@pytest.mark.parametrize("trafo", TRAFOS[:2], ids=repr)
def test_a_linear_way_there_and_back_changes_no_linear_model(trafo):
    plain = learner().as_graph().fit(task()).predict(task())
    found = with_target(learner(), trafo).fit(task()).predict(task())
    np.testing.assert_allclose(found.response, plain.response)
    np.testing.assert_allclose(found.truth, task().target_codes())


def test_a_logarithm_makes_an_exponential_model():
    found = with_target(learner(), TRAFOS[2]).fit(task()).predict(task())
    np.testing.assert_allclose(found.response, task().target_codes())


def test_the_truth_is_the_target_itself_not_what_comes_back():
    one_way = TargetMutate(trafo=np.log)
    found = with_target(learner(), one_way).fit(task()).predict(task())
    np.testing.assert_array_equal(found.truth, task().target_codes())
    np.testing.assert_allclose(found.response, np.log(task().target_codes()))


def test_data_without_a_target_are_predicted():
    found = with_target(learner(), TRAFOS[2]).fit(task()).predict({"x": [0.0]})
    assert found.truth is None
    np.testing.assert_allclose(found.response, [np.exp(3)])


def test_a_whole_graph_can_be_wrapped_with_other_nodes_inside():
    graph = with_target(Scale() >> learner(), TargetScale())
    assert graph.inputs == ("targetscale.input",)
    assert graph.outputs == ("targetinvert.output",)
    again = pickle.loads(pickle.dumps(graph.fit(task())))
    np.testing.assert_allclose(again.predict({"x": [0.0]}).row_ids, [0])


def test_what_is_wrapped_needs_one_output():
    with pytest.raises(GraphError, match="one output"):
        with_target(learner() & Scale(), TargetScale())


def test_validation_targets_are_transformed_by_what_was_learned_in_training():
    data = Task({"x": [1, 2, 3, 4], "y": [0.0, 2.0, 10.0, 12.0]}, target="y")
    graph = TargetScale().as_graph()
    fitted = graph.fit(data.take([0, 1]))
    found = fitted.predict(data.take([2, 3]))["targetscale.output"]
    assert found.target_codes().tolist() == [9.0, 11.0]


def test_classes_have_no_quantities_to_transform():
    data = Task({"x": [1, 2], "y": ["a", "b"]}, target="y")
    with pytest.raises(DataError, match="quantities"):
        TargetScale().as_graph().fit(data)


def test_a_function_that_is_not_defined_for_a_target_is_refused_with_the_row():
    data = Task({"x": [1, 2], "y": [1.0, -1.0]}, target="y", row_ids=[7, 8])
    with pytest.raises(DataError, match="infinite or undefined") as caught:
        TRAFOS[2].as_graph().fit(data)
    assert "row 8: -1.0" in caught.value.why


def test_new_data_may_have_targets_the_function_is_not_defined_for():
    fitted = with_target(learner(), TRAFOS[2]).fit(task())
    found = fitted.predict(Task({"x": [0.0, 1.0], "y": [-1.0, 2.0]}, target="y"))
    assert found.truth.tolist() == [-1.0, 2.0]


@pytest.mark.parametrize("trafo", TRAFOS[:2], ids=repr)
def test_a_constant_target_comes_back(trafo):
    data = Task({"x": [1.0, 2.0], "y": [5.0, 5.0]}, target="y")
    found = with_target(learner(), trafo).fit(data).predict(data)
    np.testing.assert_allclose(found.response, [5.0, 5.0])


def inverse(function) -> TargetInverse:
    return TargetInverse(function, np.arange(2), np.array([10.0, 20.0]))


def test_standard_errors_and_quantiles_come_back_too():
    given = Prediction.regression(
        [0, 1], [1.0, 2.0], se=[0.5, 1.0], quantiles={0.1: [0.0, 1.0], 0.9: [2.0, 3.0]}
    )
    found = inverse(lambda v: 3 * v + 1).invert(given)
    assert found.response.tolist() == [4.0, 7.0]
    assert found.se.tolist() == [1.5, 3.0]
    assert {q: v.tolist() for q, v in found.quantiles.items()} == {0.1: [1, 4], 0.9: [7, 10]}


def test_quantiles_change_places_where_the_function_falls():
    given = Prediction.regression([0, 1], [1.0, 2.0], quantiles={0.1: [0.0, 1.0], 0.9: [2.0, 3.0]})
    found = inverse(lambda v: -v).invert(given)
    assert {q: v.tolist() for q, v in found.quantiles.items()} == {0.1: [-2, -3], 0.9: [0, -1]}


def test_truth_is_found_by_row_id():
    found = inverse(lambda v: v).invert(Prediction.regression([1, 0], [1.0, 2.0]))
    assert found.truth.tolist() == [20.0, 10.0]
    with pytest.raises(DataError):
        inverse(lambda v: v).invert(Prediction.regression([5, 0], [1.0, 2.0]))


def classes(prob, labels, **options) -> Prediction:
    return Prediction.classification(np.arange(len(prob)), prob, labels, **options)


def chosen(node, prediction):
    return node.apply(None, {"input": prediction}, None)[0].response.tolist()


def test_a_number_is_the_threshold_of_the_positive_class():
    prob = [[0.8, 0.2], [0.6, 0.4]]
    assert chosen(Threshold(thresholds=0.3), classes(prob, ("a", "b"))) == ["a", "b"]
    turned = classes(prob, ("a", "b"), positive="a")
    assert chosen(Threshold(thresholds=0.7), turned) == ["a", "b"]


def test_thresholds_per_class_go_by_name():
    given = classes([[0.5, 0.3, 0.2], [0.0, 0.9, 0.1]], ("0", "-", "é"))
    assert chosen(Threshold(thresholds={"é": 0.1, "-": 0.5, "0": 0.9}), given) == ["é", "-"]
    assert chosen(Threshold(thresholds={"é": 1, "-": 1, "0": 0}), given) == ["0", "-"]


def test_thresholds_must_fit_the_classes():
    given = classes([[0.5, 0.3, 0.2]], ("a", "b", "c"))
    with pytest.raises(DataError, match="two classes"):
        chosen(Threshold(), given)
    with pytest.raises(DataError, match="do not fit"):
        chosen(Threshold(thresholds={"a": 1, "b": 1}), given)
    with pytest.raises(DataError, match="probabilities"):
        chosen(Threshold(), Prediction.regression([0], [1.0]))


@pytest.mark.parametrize("value", [1.5, {"a": -1, "b": 1}, {"a": 0, "b": 0}, "x"])
def test_impossible_thresholds_are_refused(value):
    with pytest.raises(ConfigError):
        Threshold(thresholds=value)


def test_a_threshold_can_change_after_fitting():
    data = Task({"x": [0.0, 1.0, 2.0, 3.0], "y": ["a", "a", "b", "b"]}, target="y")
    fitted = (Learner(estimator=LogisticRegression()) >> Threshold()).fit(data)
    assert fitted.predict({"x": [1.4]}).response.tolist() == ["a"]
    eager = fitted.with_params(threshold__thresholds=0.1)
    assert eager.predict({"x": [1.4]}).response.tolist() == ["b"]


def test_a_tree_can_be_used_with_thresholds_on_validation_data():
    data = Task({"x": [0.0, 1.0, 2.0, 3.0], "y": ["a", "a", "b", "b"]}, target="y")
    graph = Learner(estimator=DecisionTreeClassifier()) >> Threshold()
    assert len(graph.fit(data, valid=[1]).predict(data)) == 4


# Other kinds of task


def several() -> Task:
    x = np.random.default_rng(0).normal(size=40)
    columns = {"x": x, "u": np.exp(x) + 1, "v": 1000 + 100 * x}
    return Task(columns, target=["u", "v"])


@pytest.mark.parametrize("trafo", TRAFOS, ids=repr)
def test_each_of_several_targets_is_transformed_on_its_own(trafo) -> None:
    fitted = trafo.as_graph().fit(several())
    back, turned = fitted.predict(several()).values()
    back, turned = (turned, back) if isinstance(back, Task) else (back, turned)
    for i, name in enumerate(several().targets):
        alone = trafo.as_graph().fit(several().with_target(name)).predict(several())
        task_of_one = next(value for value in alone.values() if isinstance(value, Task))
        np.testing.assert_allclose(turned.target_codes()[:, i], task_of_one.target_codes())
    given = Prediction.multitarget(turned.row_ids, turned.target_codes(), turned.targets)
    found = pickle.loads(pickle.dumps(back)).invert(given)
    np.testing.assert_allclose(found.response, several().target_codes())
    np.testing.assert_allclose(found.truth, several().target_codes())
    assert found.targets == ("u", "v")


def test_a_target_that_cannot_be_transformed_is_named_among_several() -> None:
    data = several().with_target_values(several().target_codes() - [0, 2000])
    with pytest.raises(DataError, match="infinite or undefined") as refused:
        TargetMutate(trafo=np.log).as_graph().fit(data)
    assert refused.value.where.endswith("column 'v'")


@pytest.mark.parametrize("kind", ["multitarget", "quantile", "normal"])
def test_a_scaled_target_is_predicted_in_its_own_units(kind: str) -> None:
    target = ["u", "v"] if kind == "multitarget" else "v"
    data = several().with_target(target, kind)
    fast = po("torch_optimizer", "adamw", lr=0.05)
    model = nn("head") >> fast >> po("torch_model", epochs=100, progress=False)
    fitted = with_target(ingress(data) >> model, TargetScale()).fit(data, seed=1)
    found = fitted.predict(data)
    truth = data.target_codes()
    assert np.abs(found.response - truth).mean() < 0.2 * truth.std()
    assert np.array_equal(found.truth, truth)
    if kind == "normal":
        assert 0 < found.se.mean() < truth.std()
    if kind == "quantile":
        assert (found.quantiles[0.1] <= found.quantiles[0.9]).all()
    assert found.score() > 0


def ingress(data: Task):
    """The features only: the other quantity would say too much."""
    return po("select", columns=["x"])


def test_a_distribution_stays_what_it_is_only_under_linear_functions() -> None:
    normal = task().with_target("y", "normal")
    with pytest.raises(DataError, match="cannot transform the target of a task of kind 'normal'"):
        TargetMutate(trafo=np.log, inverter=np.exp).as_graph().fit(normal)
    for trafo in TRAFOS[:2]:
        trafo.as_graph().fit(normal)


def test_deviations_scale_with_the_target() -> None:
    normal = task().with_target("y", "normal")
    fitted = TargetScale().as_graph().fit(normal)
    inverse = fitted.outputs["targetscale.fun"]
    given = Prediction.regression(normal.row_ids, np.zeros(30), se=np.full(30, 0.5))
    scale = normal.target_codes().std()
    np.testing.assert_allclose(inverse.invert(given).se, 0.5 * scale)


def test_labels_have_nothing_to_transform() -> None:
    data = Task({"x": [1, 2], "p": [True, False], "q": [True, True]}, target=["p", "q"])
    with pytest.raises(DataError, match="transforms quantities"):
        TargetScale().as_graph().fit(data)


def test_a_threshold_is_refused_for_labels() -> None:
    given = Prediction.multilabel([0], [[0.2, 0.9]], ["p", "q"])
    with pytest.raises(DataError, match="chooses between classes"):
        Threshold().apply(None, {"input": given}, None)


def test_a_target_transformation_in_a_chain_says_how_it_is_used() -> None:
    with pytest.raises(GraphError, match="2 outputs cannot feed 1 input") as caught:
        po("scale") >> po("targetscale") >> nn("head")
    assert "with_target(graph, node)" in caught.value.mend
