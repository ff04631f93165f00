"""What a trainer learned is a value: it is read by many and changed by none."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mlgraph import Task, nn, po
from mlgraph.train import trained as module_of_trained

CPU = torch.device("cpu")


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    codes = np.arange(40) % 3
    x = rng.normal(size=(40, 2)) + codes[:, None]
    return Task({"a": x[:, 0], "b": x[:, 1], "y": np.array(["u", "v", "w"])[codes]}, target="y")


@pytest.fixture
def fitted(task):
    graph = (
        nn("linear", 8)
        >> nn("batch_norm1d")
        >> nn("dropout", 0.5)
        >> nn("head")
        >> po("torch_model", epochs=2, progress=False)
    )
    return graph.fit(task, seed=1)


def copied(trained):
    return {name: tensor.clone() for name, tensor in trained.tensors.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_tensors_are_on_the_cpu_and_need_no_gradients(fitted):
    trained = fitted.trained()
    assert "batch_norm1d.running_mean" in trained.tensors
    for tensor in trained.tensors.values():
        assert tensor.device == CPU
        assert not tensor.requires_grad


def test_no_data_are_kept(fitted):
    assert len(fitted.trained().descriptor.inputs) == 0


def test_module_is_fresh_each_time_and_in_eval_mode(fitted):
    one, two = fitted.trained().module(), fitted.trained().module()
    assert one is not two
    assert not any(part.training for part in one.modules())
    assert all(p.requires_grad for p in one.parameters())
    with torch.no_grad():
        one.head.weight.zero_()
    assert not torch.equal(one.head.weight, two.head.weight)


def test_training_a_module_that_came_out_changes_nothing_inside(fitted, task):
    trained = fitted.trained()
    before, prob = copied(trained), fitted.predict(task).prob
    module = trained.module().train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    module(torch.randn(8, 2)).sum().backward()
    optimizer.step()
    assert same(trained.tensors, before)
    assert np.array_equal(fitted.predict(task).prob, prob)


def test_predicting_changes_no_tensor(fitted, task):
    trained = fitted.trained()
    before = copied(trained)
    fitted.predict(task)
    fitted.predict(task.take([0]))
    assert same(trained.tensors, before)
    assert same(dict(trained.live(CPU).state_dict()), before)


def test_fitting_again_changes_no_earlier_result(fitted, task):
    before = copied(fitted.trained())
    fitted.graph.fit(task, seed=2)
    assert same(fitted.trained().tensors, before)


def test_module_gives_what_predict_gives(fitted, task):
    x = torch.from_numpy(task.to_numpy()[0]).float()
    with torch.no_grad():
        expected = torch.softmax(fitted.module()(x).double(), 1)
    np.testing.assert_array_equal(fitted.predict(task).prob, expected.numpy())


def test_the_size_of_batches_does_not_matter_for_predictions(fitted, task):
    small = fitted.with_params(torch_model__batch_size_predict=3)
    np.testing.assert_allclose(small.predict(task).prob, fitted.predict(task).prob, rtol=1e-5)


# The cache of live modules


def test_a_live_module_is_kept_per_device(fitted):
    trained = fitted.trained()
    assert trained.live(CPU) is trained.live(torch.device("cpu"))
    assert trained.live(torch.device("meta")) is not trained.live(CPU)
    assert trained.live(torch.device("meta")) is trained.live(torch.device("meta"))


def test_live_modules_are_neither_pickled_nor_copied(fitted, task):
    cold = len(pickle.dumps(fitted.trained()))
    live = fitted.trained().live(CPU)
    assert len(pickle.dumps(fitted.trained())) == cold
    for again in (pickle.loads(pickle.dumps(fitted.trained())), copy.deepcopy(fitted.trained())):
        assert same(again.tensors, fitted.trained().tensors)
        assert again.live(CPU) is not live


def test_live_modules_go_with_the_value(task):
    graph = nn("linear") >> po("torch_model", epochs=1, progress=False)
    before = len(module_of_trained._LIVE)
    fitted = graph.fit(task)
    fitted.predict(task)
    assert len(module_of_trained._LIVE) == before + 1
    del fitted
    assert len(module_of_trained._LIVE) == before


def test_four_threads_may_predict_at_once(fitted, task):
    alone = fitted.predict(task).prob
    again = pickle.loads(pickle.dumps(fitted))  # without a live module
    start = threading.Barrier(4)

    def predict(number):
        start.wait()
        return [again.predict(task).prob for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        found = [prob for probs in pool.map(predict, range(4)) for prob in probs]
    assert all(np.array_equal(prob, alone) for prob in found)


def test_threads_share_one_live_module(fitted):
    trained = pickle.loads(pickle.dumps(fitted.trained()))
    start = threading.Barrier(4)

    def live(number):
        start.wait()
        return trained.live(CPU)

    with ThreadPoolExecutor(4) as pool:
        assert len({id(module) for module in pool.map(live, range(4))}) == 1


def test_modules_made_by_several_threads_leave_the_random_stream_alone(fitted):
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fitted.trained().module(), range(40)))
    assert torch.equal(torch.get_rng_state(), before)


# Randomness


def test_the_record_says_how_it_was_trained(fitted):
    trained = fitted.trained()
    assert (trained.epochs, trained.best_epoch, trained.interrupted) == (2, 2, False)
    assert trained.stopped == ""
    assert trained.describe() == "trained for 2 epochs"
    assert "2 epochs" in repr(trained)


def test_the_best_epoch_is_that_of_the_best_evaluation(task):
    graph = nn("linear") >> po("torch_model", epochs=30, patience=100, progress=False)
    trained = graph.fit(task, valid=0.3, seed=1).trained()
    losses = trained.history["valid_loss"].to_pylist()
    assert trained.best_epoch == 1 + losses.index(min(losses))
    assert trained.epochs == 30
