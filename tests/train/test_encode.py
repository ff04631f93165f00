"""What outputs mean: classes in their order, quantities, and outputs that cannot be either."""

import attrs
import numpy as np
import pytest
import torch

from mlgraph import DataError, ShapeError, Task
from mlgraph.data.kinds import probabilities
from mlgraph.data.taskspec import TaskSpec
from mlgraph.data.token import NumericToken
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.tensor.spec import TensorSpec
from mlgraph.train.encode import check_output, prediction


def binary(positive="yes"):
    labels = ["no", "yes", "no"]
    return Task({"x": [0.0, 1.0, 2.0], "y": labels}, target="y", positive=positive)


def several():
    return Task({"x": [0.0, 1.0, 2.0], "y": ["u", "v", "w"]}, target="y")


def quantity():
    return Task({"x": [0.0, 1.0, 2.0], "y": [0.5, 1.5, 2.5]}, target="y")


def told(task, output):
    return prediction(output, task, TaskSpec.of(task))


@pytest.mark.parametrize(("positive", "column"), [("no", 0), ("yes", 1)])
def test_one_logit_is_that_of_the_positive_class_and_columns_keep_the_order_of_classes(
    positive, column
):
    logits = torch.tensor([[-3.0], [0.0], [3.0]])
    found = told(binary(positive), logits)
    assert found.classes == ("no", "yes")
    assert found.positive == positive
    np.testing.assert_allclose(found.prob[:, column], torch.sigmoid(logits.double()).squeeze(1))
    np.testing.assert_allclose(found.prob.sum(1), 1.0)


def test_a_logit_of_zero_is_a_tie_which_the_first_class_wins():
    assert told(binary(), torch.zeros(3, 1)).response.tolist() == ["no"] * 3


def test_large_logits_give_probabilities_that_still_differ_from_zero():
    found = told(binary(), torch.tensor([[-80.0], [80.0], [0.0]]))
    assert 0 < found.prob[0, 1] < 1e-30
    assert 0 < found.prob[1, 0] < 1e-30


def test_probabilities_of_several_classes_are_a_softmax_in_float64():
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [100.0, 0.0, 0.0]])
    found = told(several(), logits)
    assert found.prob.dtype == np.float64
    np.testing.assert_allclose(found.prob, torch.softmax(logits.double(), 1), rtol=1e-14)
    assert found.response.tolist() == ["w", "u", "u"]


def test_quantities_are_float64():
    found = told(quantity(), torch.tensor([[1.0], [2.0], [3.0]]))
    assert found.response.dtype == np.float64
    assert found.response.tolist() == [1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_outputs_of_any_precision_are_taken(dtype):
    found = told(several(), torch.eye(3, dtype=dtype))
    assert found.response.tolist() == ["u", "v", "w"]


def test_outputs_may_still_have_gradients():
    assert len(told(quantity(), torch.ones(3, 1, requires_grad=True)).response) == 3


@pytest.mark.parametrize("task", [binary(), several(), quantity()])
def test_no_rows_give_an_empty_prediction(task):
    spec = TaskSpec.of(task)
    found = prediction(torch.empty(0, spec.output_size), task.empty(), spec)
    assert len(found.response) == 0
    assert found.prob is None or found.prob.shape == (0, len(spec.classes))


def test_row_ids_truth_and_weights_come_along():
    task = several().with_weight([1.0, 2.0, 3.0]).take([2, 0])
    found = told(task, torch.zeros(2, 3))
    assert found.row_ids.tolist() == [2, 0]
    assert found.truth.tolist() == ["w", "u"]
    assert found.weights.tolist() == [3, 1]


def test_where_the_target_is_not_known_there_is_no_truth():
    for task, width in ((several(), 3), (quantity(), 1)):
        new = task.like({"x": [1.0, 2.0]})
        truth = told(new, torch.zeros(2, width)).truth
        assert truth is None or all(value is None for value in truth)


def test_a_task_without_target_can_be_predicted_for():
    spec = TaskSpec.of(several())
    found = prediction(torch.eye(3), Task({"x": [1.0, 2.0, 3.0]}), spec)
    assert found.truth is None
    assert found.response.tolist() == ["u", "v", "w"]


def test_outputs_that_are_no_numbers_are_no_probabilities():
    with pytest.raises(DataError, match="probabilities"):
        told(several(), torch.full((3, 3), torch.nan))


def test_probabilities_of_classes_that_are_booleans_have_their_order():
    task = Task({"x": [0.0, 1.0], "y": [True, False]}, target="y")
    spec = TaskSpec.of(task)
    assert spec.classes == (False, True)
    assert probabilities(torch.tensor([[50.0]], dtype=torch.float64), spec)[0, 1] > 0.99


# What comes out of a network


def standing(task, *shape):
    start = ModelDescriptor.entering(NumericToken("numbers", ("x",)), task)
    return attrs.evolve(start, spec=TensorSpec(shape))


@pytest.mark.parametrize(
    ("task", "size"), [(binary(), 1), (several(), 3), (quantity(), 1)], ids=["2", "3", "y"]
)
def test_an_output_has_one_number_per_quantity_logit_or_class(task, size):
    check_output(standing(task, "batch", size))
    for shape in (("batch", size + 1), ("batch",), ("batch", size, 1), ("batch", "n")):
        with pytest.raises(ShapeError, match=rf"needs \(batch, {size}\)") as caught:
            check_output(standing(task, *shape))
        assert 'nn("head")' in caught.value.mend
        assert "'numbers'" in caught.value.where


def test_an_output_that_does_not_begin_with_the_batch_is_refused():
    with pytest.raises(ShapeError, match="puts out"):
        check_output(standing(several(), 7, 3))
