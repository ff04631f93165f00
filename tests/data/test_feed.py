"""What is fed to a network: feeds, targets and weights."""

import numpy as np
import pytest
import torch

from mlgraph import DataError, Task
from mlgraph.data.feed import Feed, aligned, target_tensor, weight_tensor
from mlgraph.data.taskspec import TaskSpec
from mlgraph.data.token import CategoricalToken, NumericToken


def task(**kwargs):
    data = {"a": [1.0, 2.0, 3.0, 4.0], "b": [10, 20, 30, 40], "y": [0.1, 0.2, 0.3, 0.4]}
    return Task(data, target="y", **kwargs)


def classes(values, **kwargs):
    return Task({"a": np.arange(float(len(values))), "y": values}, target="y", **kwargs)


# Feeds


def test_a_feed_makes_the_tensors_of_its_tokens_in_their_order():
    tokens = {"p": NumericToken("p", ("a",)), "q": NumericToken("q", ("b",))}
    feed = Feed({"q": task(), "p": task()})
    first, second = feed.tensors(tokens)
    assert first.squeeze(1).tolist() == [1, 2, 3, 4]
    assert second.squeeze(1).tolist() == [10, 20, 30, 40]


def test_merged_feeds_have_the_rows_of_the_first_one():
    one, other = task().take([2, 0, 3, 1]), task().take([3, 2, 1, 0])
    feed = Feed.merged((Feed({"p": one}), Feed({"q": other})))
    assert feed.task.row_ids.tolist() == [2, 0, 3, 1]
    token = NumericToken("any", ("a",))
    assert torch.equal(token.tensor(feed["p"]), token.tensor(feed["q"]))


def test_three_feeds_with_rows_in_any_order_are_aligned():
    orders = ([2, 0, 3, 1], [3, 2, 1, 0], [0, 1, 2, 3])
    feeds = tuple(Feed({f"p{i}": task().take(order)}) for i, order in enumerate(orders))
    merged = Feed.merged(feeds)
    assert {tuple(part.row_ids) for part in merged.values()} == {(2, 0, 3, 1)}


def test_a_feed_that_was_aligned_stays_aligned_when_merged_again():
    one, other = task().take([2, 0, 3, 1]), task()
    first = Feed.merged((Feed({"p": one}), Feed({"q": other})))
    again = Feed.merged((first, Feed({"q": other})))
    assert again["q"].row_ids.tolist() == [2, 0, 3, 1]


def test_rows_that_are_not_the_same_are_refused_with_the_ingress():
    with pytest.raises(DataError, match="aligned") as caught:
        Feed.merged((Feed({"p": task()}), Feed({"q": task().take([0, 1])})))
    assert caught.value.where == "node 'q'"


def test_a_task_without_target_does_not_meet_one_with():
    with pytest.raises(DataError, match="different targets"):
        aligned("p", task(), task().with_target(None))


def test_targets_missing_on_both_paths_are_equal():
    new = task().like({"a": [1.0, 2.0], "b": [1, 2]})
    assert aligned("p", new, new.take([1, 0])).row_ids.tolist() == new.row_ids.tolist()


def test_weights_have_to_be_the_same_on_both_paths():
    weighed = task().with_weight([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(DataError, match="different weights"):
        aligned("p", weighed, task())
    with pytest.raises(DataError, match="different weights"):
        aligned("p", weighed, task().with_weight([1.0, 1.0, 1.0, 1.0]))
    assert len(aligned("p", weighed, weighed.take([3, 2, 1, 0]))) == 4


def test_a_feed_describes_itself():
    assert Feed({"p": task()}).describe() == "feed of 'p', 4 rows"


# Targets and weights


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_the_positive_class_is_1_whichever_it_is(positive):
    binary = classes(["no", "yes", "yes", "no"], positive=positive)
    target = target_tensor(binary, TaskSpec.of(binary))
    assert target.dtype == torch.float32
    assert target.shape == (4, 1)
    expected = [float(label == positive) for label in ("no", "yes", "yes", "no")]
    assert target.squeeze(1).tolist() == expected


def test_by_default_the_second_class_is_positive():
    for values in (["b", "a", "b"], [True, False, True]):
        binary = classes(values)
        target = target_tensor(binary, TaskSpec.of(binary))
        assert target.squeeze(1).tolist() == [1, 0, 1]


def test_several_classes_are_places_in_the_classes():
    several = classes(["w", "u", "v", "u"])
    target = target_tensor(several, TaskSpec.of(several))
    assert (target.dtype, target.tolist()) == (torch.int64, [2, 0, 1, 0])


def test_quantities_are_a_column_of_float32():
    target = target_tensor(task(), TaskSpec.of(task()))
    assert (target.dtype, target.shape) == (torch.float32, (4, 1))
    assert target.squeeze(1).tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_an_integer_target_can_be_a_quantity():
    counts = Task({"a": [1.0, 2.0], "y": [3, 5]}, target="y", kind="regression")
    assert target_tensor(counts, TaskSpec.of(counts)).tolist() == [[3.0], [5.0]]


@pytest.mark.parametrize(
    "known", [classes(["no", "yes", "no"]), classes(["u", "v", "w"]), classes([1.0, 2.0, 3.0])]
)
def test_a_missing_target_is_refused_with_its_rows(known):
    new = known.like({"a": [1.0, 2.0]})
    with pytest.raises(DataError, match="2 rows have no target 'y'") as caught:
        target_tensor(new, TaskSpec.of(known))
    for row in new.row_ids:
        assert f"'{row}'" in caught.value.where


def test_a_target_too_large_for_float32_is_refused():
    large = Task({"a": [1.0, 2.0], "y": [1.0, 1e300]}, target="y", row_ids=[7, 8])
    with pytest.raises(DataError, match="too large for float32") as caught:
        target_tensor(large, TaskSpec.of(large))
    assert "'8'" in caught.value.where
    assert "targetscale" in caught.value.mend


def test_no_rows_have_an_empty_target():
    for known, shape in ((task(), (0, 1)), (classes(["u", "v", "w"]), (0,))):
        assert target_tensor(known.empty(), TaskSpec.of(known)).shape == shape


def test_weights_are_float32_or_nothing():
    weights = weight_tensor(task().with_weight([1.0, 0.5, 0.0, 2.0]))
    assert (weights.dtype, weights.tolist()) == (torch.float32, [1, 0.5, 0, 2])
    assert weight_tensor(task()) is None


def test_tensors_share_no_memory_with_the_task():
    regression = task()
    spec = TaskSpec.of(regression)
    target_tensor(regression, spec).zero_()
    NumericToken("p", ("a",)).tensor(regression).zero_()
    assert target_tensor(regression, spec).sum() == pytest.approx(1.0)
    assert NumericToken("p", ("a",)).tensor(regression).sum() == 10


@pytest.mark.parametrize(
    "token",
    [NumericToken("p", ("a", "b")), CategoricalToken("p", ("c",), levels=(("u", "v"),))],
)
def test_a_tensor_fits_the_spec_of_its_token(token):
    data = Task({"a": [1.0, 2.0], "b": [1, 2], "c": ["v", "u"]})
    assert token.spec.fits(token.tensor(data))
    assert token.spec.fits(token.tensor(data.empty()))
    assert token.spec.fits(token.tensor(data.take([1])))
