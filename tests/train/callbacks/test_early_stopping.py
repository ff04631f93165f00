"""Early stopping: when it ends a training, and with which weights."""

import math

import pytest
import torch
from torch import nn as tnn

from mlgraph import ConfigError
from mlgraph.train.callback import bound
from mlgraph.train.callbacks.early_stopping import Best, EarlyStopping
from mlgraph.train.callbacks.functions import Functions


class FakeRun:
    """A run that is driven by hand, one evaluation at a time."""

    def __init__(self, epochs=100):
        self.network = tnn.Linear(1, 1, bias=False)
        self.optimizer = None
        self.validation = "some data"
        self.epochs = epochs
        self.epoch = self.step = self.global_step = self.best_epoch = 0
        self.scores = {}
        self.stopped = ""
        self.is_continued = False

    def stop(self, reason):
        self.stopped = reason


def drive(stopping, scores, run=None, monitor="valid_loss"):
    """Evaluations with these scores until the training is stopped; the weight is the epoch."""
    run = run or FakeRun()
    events = bound([stopping], [stopping.start(run)], run)
    for score in scores:
        run.epoch += 1
        with torch.no_grad():
            run.network.weight.fill_(run.epoch)
        run.scores = {"train_loss": 0.0, monitor: score}
        for hook in events["on_valid_end"]:
            hook()
        if run.stopped:
            break
    for hook in events["on_train_end"]:
        hook()
    return run


def stopping(patience=2, greater=False, **kwargs):
    return EarlyStopping(greater_is_better=greater, patience=patience, **kwargs)


# Early stopping


def test_training_stops_after_that_many_evaluations_without_improvement():
    run = drive(stopping(2), [3.0, 2.0, 2.5, 2.1, 1.0])
    assert run.epoch == 4
    assert run.best_epoch == 2
    assert run.stopped == "valid_loss did not improve for 2 evaluations"


def test_an_improvement_starts_the_count_again():
    run = drive(stopping(2), [3.0, 3.1, 2.0, 2.1, 1.0, 1.1, 1.2])
    assert (run.epoch, run.best_epoch) == (7, 5)


def test_with_a_score_to_maximise_lower_is_worse():
    run = drive(stopping(1, greater=True), [0.5, 0.6, 0.4])
    assert (run.epoch, run.best_epoch) == (3, 2)
    assert drive(stopping(1), [0.5, 0.6, 0.4]).epoch == 2


def test_an_improvement_has_to_be_greater_than_min_delta():
    assert not stopping(min_delta=0.5).improves(1.5, 2.0)
    assert stopping(min_delta=0.5).improves(1.25, 2.0)
    assert not stopping(greater=True, min_delta=0.5).improves(2.0, 1.5)
    assert stopping(greater=True, min_delta=0.5).improves(2.25, 1.5)


def test_an_equal_score_is_no_improvement():
    assert not stopping().improves(1.0, 1.0)
    assert drive(stopping(2), [1.0, 1.0, 1.0]).epoch == 3


def test_small_steps_are_compared_with_the_best_score_and_add_up():
    run = drive(stopping(3, min_delta=1.0), [5.0, 4.6, 4.2, 3.8, 3.4])
    assert run.best_epoch == 4
    assert not run.stopped


@pytest.mark.parametrize("greater", [False, True])
def test_nan_never_improves_and_counts_as_an_evaluation(greater):
    run = drive(stopping(2, greater), [1.0, math.nan, math.nan, 0.5])
    assert (run.epoch, run.best_epoch) == (3, 1)
    assert run.stopped


def test_any_number_is_better_than_nan():
    for greater in (False, True):
        assert stopping(greater=greater).improves(5.0, math.nan)
        assert drive(stopping(3, greater), [math.nan, math.nan, 7.0]).best_epoch == 3


def test_if_all_scores_are_nan_no_epoch_is_best_and_weights_stay():
    run = drive(stopping(2), [math.nan] * 5)
    assert (run.epoch, run.best_epoch) == (3, 0)
    assert run.network.weight.item() == 3


def test_the_first_score_is_what_others_are_compared_with_also_if_it_is_nan():
    run = drive(stopping(1), [math.nan, 0.5, 0.4, 0.4])
    assert (run.epoch, run.best_epoch) == (4, 3)


def test_infinity_can_be_improved_upon():
    assert stopping().improves(1.0, math.inf)
    assert not stopping().improves(math.inf, math.inf)


def test_the_best_weights_come_back_at_the_end():
    run = drive(stopping(2), [3.0, 1.0, 2.0, 2.0])
    assert run.network.weight.item() == 2


def test_the_best_weights_come_back_also_when_nothing_was_stopped():
    run = drive(stopping(10), [3.0, 1.0, 2.0, 2.0])
    assert not run.stopped
    assert run.network.weight.item() == 2


def test_without_restoring_the_last_weights_stay_and_the_best_epoch_is_known():
    run = drive(stopping(2, restore=False), [3.0, 1.0, 2.0, 2.0])
    assert run.network.weight.item() == 4
    assert run.best_epoch == 2


def test_kept_weights_are_copies():
    run = FakeRun()
    run.scores = {"valid_loss": 1.0}
    with torch.no_grad():
        run.network.weight.fill_(99.0)
    state = Best()
    stopping().on_valid_end(run, state)
    with torch.no_grad():
        run.network.weight.fill_(0.0)
    assert state.tensors["weight"].item() == 99.0


def test_an_edited_score_is_the_one_that_counts():
    spoil = Functions(on_valid_end=lambda run: run.scores.update(valid_loss=9.0))
    run = FakeRun()
    events = bound([spoil, stopping(1)], [None, Best()], run)
    for score in (3.0, 1.0):
        run.epoch += 1
        run.scores = {"valid_loss": score}
        for hook in events["on_valid_end"]:
            hook()
    assert run.stopped


def test_a_score_that_is_not_there_is_refused_by_name():
    with pytest.raises(ConfigError, match="no score 'valid_los' to monitor") as caught:
        drive(EarlyStopping(monitor="valid_los", greater_is_better=True), [1.0])
    assert "Did you mean 'valid_loss'" in caught.value.mend


def test_the_direction_is_that_of_the_metric_and_must_be_known():
    assert EarlyStopping(monitor="valid_accuracy").improves(0.6, 0.5)
    assert EarlyStopping(monitor="valid_loss").improves(0.5, 0.6)
    with pytest.raises(ConfigError, match="'valid_fun' should be high or low is not known"):
        EarlyStopping(monitor="valid_fun")
    assert EarlyStopping(monitor="valid_fun", greater_is_better=True).improves(0.6, 0.5)


def test_without_validation_data_it_says_that_it_can_do_nothing():
    run = FakeRun()
    run.validation = None
    with pytest.raises(ConfigError, match="needs validation data") as caught:
        stopping().on_train_begin(run, Best())
    assert "valid=0.2" in caught.value.mend


def test_a_run_that_had_come_to_its_end_ends_again_at_once():
    run = FakeRun()
    stopping(2).on_train_begin(run, Best(score=1.0, epoch=3, waited=2))
    assert run.stopped == "valid_loss did not improve for 2 evaluations"
    assert run.best_epoch == 3
    run = FakeRun()
    stopping(2).on_train_begin(run, Best(score=1.0, epoch=3, waited=1))
    assert not run.stopped
