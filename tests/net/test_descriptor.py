"""Descriptions of networks: values that are equal by content, and merge where paths meet."""

import os
import pickle
import subprocess
import sys

import attrs
import numpy as np
import pytest
import torch

from mlgraph import DataError, GraphError, Task, nn, po
from mlgraph.data.feed import Feed
from mlgraph.data.token import CategoricalToken, NumericToken
from mlgraph.net.descriptor import Call, ModelDescriptor, Source, merged
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec
from mlgraph.train.objective import Loss
from mlgraph.train.optimizer import Optimizer


def entering(task, *columns, id="numbers"):
    return ModelDescriptor.entering(NumericToken(id, columns), task)


def extended(descriptor, layer, id):
    """The description with one more layer, by hand."""
    spec = descriptor.spec
    outputs = layer.infer(spec, task=descriptor.task)
    call = Call(id, layer, (descriptor.source,), (spec,), outputs, descriptor.task)
    return descriptor.extended(call)[0]


# Equality


def test_descriptions_made_apart_are_equal_by_content(numbers, described):
    graph = po("scale") >> nn("linear", out_features=4) >> nn("relu")
    one, two = described(graph, numbers), described(graph, numbers)
    assert one is not two
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize(
    "other",
    [
        nn("linear", out_features=5) >> nn("relu"),
        nn("linear", out_features=4) >> nn("gelu"),
        nn("linear", out_features=4, bias=False) >> nn("relu"),
        nn("linear", out_features=4, id="first") >> nn("relu"),
        nn("linear", out_features=4) >> nn("relu") >> po("torch_loss", "cross_entropy"),
        nn("linear", out_features=4) >> nn("relu") >> po("torch_optimizer", "sgd", lr=0.1),
        nn("linear", out_features=4),
    ],
)
def test_another_layer_parameter_id_loss_or_optimizer_makes_another_network(
    numbers, described, other
):
    assert described(nn("linear", out_features=4) >> nn("relu"), numbers) != described(
        other, numbers
    )


def test_data_are_no_part_of_a_network(numbers, described):
    graph = nn("linear", out_features=4) >> nn("relu")
    full, half = described(graph, numbers), described(graph, numbers.take(range(15)))
    assert full == half == full.without_data()
    assert len(full.without_data().inputs) == 0


def test_a_size_and_a_name_that_read_the_same_are_not_the_same(numbers):
    start = entering(numbers, "a", "b")
    layer = nn("relu")
    calls = [
        Call("relu", layer, (start.source,), (TensorSpec(("batch", size)),), (), start.task)
        for size in (4, "4")
    ]
    assert calls[0] != calls[1]


def test_cardinalities_are_part_of_a_call(mixed):
    start = entering(mixed, "a")
    specs = [TensorSpec(("batch", 1), torch.int64, cardinalities=(levels,)) for levels in (3, 4)]
    calls = [Call("e", nn("relu"), (start.source,), (spec,), (), start.task) for spec in specs]
    assert calls[0] != calls[1]


@pytest.mark.slow
def test_hashes_are_the_same_in_every_process():
    code = """
from mlgraph import Task, nn, po
task = Task({"a": [1.0, 2.0, 3.0], "c": ["u", "v", "u"], "y": ["p", "q", "p"]}, target="y")
left = po("select", columns="a") >> po("ingress_num") >> nn("linear", out_features=2)
right = po("select", columns="c") >> po("ingress_categ") >> nn("embedding", embedding_dim=2)
graph = [left, right >> nn("flatten")] >> nn("merge_cat") >> po("torch_loss", "cross_entropy")
(found,) = graph.fit(task).outputs.values()
print(found.hash)
"""
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    here = {}
    exec(code.replace("print(found.hash)", ""), here)
    assert there.stdout.strip() == here["found"].hash


def test_a_description_survives_pickling(numbers, described):
    one = described(nn("linear", out_features=4) >> nn("relu"), numbers)
    assert pickle.loads(pickle.dumps(one)) == one


def test_the_text_says_where_we_stand(numbers, described):
    found = described(nn("linear", out_features=4), numbers)
    assert found.describe() == "(batch, 4) float32"
    assert "ingress (batch, 2) float32 -> 1 layers -> linear (batch, 4) float32" in repr(found)


# Extending


def test_a_layer_does_not_change_the_description_it_extends(numbers):
    start = entering(numbers, "a", "b")
    longer = extended(start, nn("relu"), "relu")
    assert not start.calls
    assert list(longer.calls) == ["relu"]
    assert longer.source == Source("relu")


def test_two_layers_of_one_id_are_refused(numbers):
    start = extended(entering(numbers, "a", "b"), nn("relu"), "twice")
    with pytest.raises(GraphError, match="called 'twice'"):
        extended(start, nn("gelu"), "twice")


def test_a_layer_with_the_id_of_an_ingress_is_refused(numbers):
    with pytest.raises(GraphError, match="called 'numbers'"):
        extended(entering(numbers, "a", "b"), nn("relu"), "numbers")


# Merging


def test_a_description_merged_with_itself_is_itself(numbers):
    start = entering(numbers, "a", "b")
    assert merged((start, start)) is start


def test_paths_that_part_and_meet_have_each_layer_once(numbers, described):
    start = nn("linear", out_features=4)
    graph = start >> [nn("relu"), nn("gelu"), nn("identity")] >> nn("merge_sum")
    found = described(graph, numbers)
    assert sorted(found.calls) == ["gelu", "identity", "linear", "merge_sum", "relu"]
    assert list(found.tokens) == ["ingress"]


def test_layers_come_after_those_they_depend_on(numbers, described):
    start = nn("linear", out_features=4)
    graph = start >> [nn("relu") >> nn("gelu"), nn("identity")] >> nn("merge_sum") >> nn("head")
    seen = {"ingress"}
    for call in described(graph, numbers).calls.values():
        assert {source.id for source in call.sources} <= seen
        seen.add(call.id)


def test_equal_calls_made_apart_merge(numbers):
    one, two = (extended(entering(numbers, "a", "b"), nn("relu"), "relu") for _ in range(2))
    assert list(merged((one, two)).calls) == ["relu"]


def test_equal_ids_of_different_layers_are_a_conflict(numbers):
    start = entering(numbers, "a", "b")
    with pytest.raises(GraphError, match="Two different layers are called 'act'"):
        merged((extended(start, nn("relu"), "act"), extended(start, nn("gelu"), "act")))


def test_equal_layers_fed_differently_are_a_conflict(numbers):
    start = entering(numbers, "a", "b")
    before = extended(start, nn("relu"), "relu")
    with pytest.raises(GraphError, match="layers are called 'last'"):
        merged((extended(start, nn("gelu"), "last"), extended(before, nn("gelu"), "last")))


def test_equal_ids_of_different_ingresses_are_a_conflict(numbers):
    with pytest.raises(GraphError, match="ingresses are called 'numbers'"):
        merged((entering(numbers, "a"), entering(numbers, "b")))


def test_numbers_and_categories_are_different_ingresses(mixed):
    token = CategoricalToken("numbers", ("c",), levels=(("red", "green", "blue"),))
    with pytest.raises(GraphError, match="ingresses"):
        merged((entering(mixed, "a"), ModelDescriptor.entering(token, mixed)))


def test_the_task_of_a_merged_network_knows_the_columns_of_all_ingresses(mixed):
    token = CategoricalToken("words", ("c",), levels=(("red", "green", "blue"),))
    both = merged((entering(mixed, "a"), ModelDescriptor.entering(token, mixed)))
    assert dict(both.task.columns) == {"numbers": ("a",), "words": ("c",)}
    assert dict(both.task.cardinalities) == {"words": (3,)}
    assert both.source == Source("numbers")


@pytest.mark.parametrize(
    ("field", "one", "two"),
    [
        ("loss", Loss.of("mse"), Loss.of("l1")),
        ("optimizer", Optimizer.of("sgd", {"lr": 0.1}), Optimizer.of("sgd", {"lr": 0.2})),
    ],
)
def test_two_losses_or_optimizers_are_a_conflict_and_equal_or_single_ones_are_not(
    numbers, field, one, two
):
    left, right = entering(numbers, "a"), entering(numbers, "b", id="more")
    with pytest.raises(GraphError, match=field) as caught:
        merged((attrs.evolve(left, **{field: one}), attrs.evolve(right, **{field: two})))
    assert "once" in caught.value.mend
    for other in (one, None):
        found = merged((attrs.evolve(left, **{field: one}), attrs.evolve(right, **{field: other})))
        assert getattr(found, field) == one
    assert getattr(merged((left, attrs.evolve(right, **{field: two}))), field) == two


def test_callbacks_merge_by_id(numbers):
    left = attrs.evolve(entering(numbers, "a"), callbacks={"one": 1, "both": 2})
    right = attrs.evolve(entering(numbers, "b", id="more"), callbacks={"both": 2, "two": 3})
    assert merged((left, right)).callbacks == {"one": 1, "both": 2, "two": 3}
    other = attrs.evolve(right, callbacks={"both": 4})
    with pytest.raises(GraphError, match="callbacks are called 'both'"):
        merged((left, other))


def test_tasks_with_other_rows_do_not_merge(numbers):
    with pytest.raises(DataError, match="aligned") as caught:
        merged((entering(numbers, "a"), entering(numbers.take(range(5)), "b", id="more")))
    assert "'more'" in caught.value.where


def test_one_ingress_with_other_rows_does_not_merge(numbers):
    with pytest.raises(DataError, match="aligned"):
        merged((entering(numbers, "a"), entering(numbers.take(range(5)), "a")))


def test_tasks_with_other_targets_do_not_merge(mixed):
    other = mixed.with_target("d")
    with pytest.raises(DataError, match="different targets"):
        merged((entering(mixed, "a"), entering(other, "b", id="more")))


def test_tasks_with_other_values_of_the_target_do_not_merge():
    task = Task({"a": [1.0, 2.0], "y": [1.0, 2.0]}, target="y")
    other = task.with_target_values([2.0, 1.0])
    with pytest.raises(DataError, match="different values on two paths"):
        merged((entering(task, "a"), entering(other, "a", id="more")))


def test_tasks_whose_classes_have_another_meaning_do_not_merge():
    x = {"a": [1.0, 2.0, 3.0]}
    one = Task({**x, "y": ["p", "q", "p"]}, target="y")
    two = Task({**x, "y": ["r", "s", "r"]}, target="y")
    with pytest.raises(DataError, match="different targets"):
        merged((entering(one, "a"), entering(two, "a", id="more")))
    with pytest.raises(DataError, match="different targets"):
        merged((entering(one, "a"), entering(Task(one, positive="p"), "a", id="more")))


def test_tasks_with_other_weights_do_not_merge(numbers):
    weighed = numbers.with_weight(np.ones(30))
    with pytest.raises(DataError, match="different weights"):
        merged((entering(numbers, "a"), entering(weighed, "b", id="more")))


def test_descriptions_without_data_merge(numbers):
    left, right = entering(numbers, "a"), entering(numbers, "b", id="more")
    found = merged((left.without_data(), right.without_data()))
    assert found == merged((left, right))
    assert found.inputs == Feed({})


def test_a_column_may_be_scaled_in_one_branch_and_raw_in_the_other(numbers, described):
    raw = po("ingress_num", id="raw")
    scaled = po("scale") >> po("ingress_num", id="scaled")
    found = described([raw, scaled] >> nn("merge_cat"), numbers)
    first, second = found.inputs.tensors(found.tokens)
    assert network(found)(first, second).shape == (30, 4)
    np.testing.assert_allclose(first.numpy(), numbers.to_numpy()[0], rtol=1e-6)
    np.testing.assert_allclose(second.mean(0).numpy(), 0, atol=1e-6)


def test_paths_with_permuted_rows_are_aligned(numbers, described):
    shuffled = numbers.take(np.random.default_rng(1).permutation(30))
    both = merged((entering(numbers, "a"), entering(shuffled, "a", id="more")))
    first, second = both.inputs.tensors(both.tokens)
    assert torch.equal(first, second)


# What is left of a description


def test_calls_that_nothing_depends_on_are_not_reachable(numbers):
    start = entering(numbers, "a", "b")
    used = extended(start, nn("relu"), "used")
    dead = extended(used, nn("gelu"), "dead")
    assert [call.id for call in dead.reachable()] == ["used", "dead"]
    back = attrs.evolve(dead, source=used.source, spec=used.spec)
    assert [call.id for call in back.reachable()] == ["used"]


def test_layers_of_a_merged_network_keep_their_order_whatever_meets_first(numbers, described):
    start = nn("linear", out_features=4)
    graph = start >> [nn("relu"), nn("gelu")] >> nn("merge_sum")
    assert list(described(graph, numbers).calls) == ["linear", "relu", "gelu", "merge_sum"]
