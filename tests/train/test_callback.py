"""Callbacks are parameters; what they remember of a run is not in them."""

import io
import math
import pickle
import sys
from types import SimpleNamespace

import attrs
import pytest
import torch
from torch import nn as tnn

from mlgraph.train.callback import EVENTS, Best, Callback, EarlyStopping, Progress, hooks


class FakeRun:
    """A run that is driven by hand, one evaluation at a time."""

    def __init__(self, epochs=100):
        self.network = tnn.Linear(1, 1, bias=False)
        self.optimizer = None
        self.epochs = epochs
        self.epoch = self.step = self.global_step = self.best_epoch = 0
        self.scores = {}
        self.stopped = ""

    def stop(self, reason):
        self.stopped = reason


def drive(stopping, scores, run=None, monitor="valid_loss"):
    """Evaluations with these scores until the training is stopped; the weight is the epoch."""
    run = run or FakeRun()
    events = hooks([stopping], run)
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
    return EarlyStopping("valid_loss", greater, patience, **kwargs)


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
    assert (run.epoch, run.best_epoch) == (2, 0)
    assert run.network.weight.item() == 2


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
    (hook,) = hooks([stopping()], run)["on_valid_end"]
    run.scores = {"valid_loss": 1.0}
    hook()
    with torch.no_grad():
        run.network.weight.fill_(99.0)
    state = Best()
    stopping().on_valid_end(run, state)
    with torch.no_grad():
        run.network.weight.fill_(0.0)
    assert state.tensors["weight"].item() == 99.0


def test_an_edited_score_is_the_one_that_counts():
    class Spoil(Callback):
        def on_valid_end(self, run, state):
            run.scores["valid_loss"] = 9.0

    run = FakeRun()
    events = hooks([Spoil(), stopping(1)], run)
    for score in (3.0, 1.0):
        run.epoch += 1
        run.scores = {"valid_loss": score}
        for hook in events["on_valid_end"]:
            hook()
    assert run.stopped


# Memory


def test_one_callback_serves_several_runs_at_once():
    shared = stopping(2)
    one, two = FakeRun(), FakeRun()
    first, second = hooks([shared], one)["on_valid_end"], hooks([shared], two)["on_valid_end"]
    for run, events, score in (
        (one, first, 1.0),
        (two, second, 5.0),
        (one, first, 2.0),
        (two, second, 4.0),
        (one, first, 2.0),
        (two, second, 3.0),
    ):
        run.epoch += 1
        run.scores = {"valid_loss": score}
        events[0]()
    assert one.stopped and not two.stopped
    assert (one.best_epoch, two.best_epoch) == (1, 3)


def test_a_second_run_starts_without_memory_of_the_first():
    shared = stopping(2)
    assert drive(shared, [1.0, 2.0, 2.0]).epoch == drive(shared, [5.0, 6.0, 6.0]).epoch == 3


def test_callbacks_are_values():
    assert stopping(2) == stopping(2) != stopping(3)
    assert hash(stopping(2)) == hash(stopping(2))
    assert pickle.loads(pickle.dumps(stopping(2))) == stopping(2)
    assert Progress() == Progress()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        stopping(2).patience = 3


def test_a_hook_gets_the_run_and_what_start_returned():
    class Counting(Callback):
        def start(self, run):
            return [run.epochs]

        def on_epoch_end(self, run, state):
            state.append(run.epoch)
            seen.append(state)

    seen = []
    events = hooks([Counting()], SimpleNamespace(epochs=3, epoch=1))
    events["on_epoch_end"][0]()
    events["on_epoch_end"][0]()
    assert seen[0] is seen[1]
    assert seen[0] == [3, 1, 1]


def test_events_nobody_waits_for_have_no_hooks():
    class One(Callback):
        def on_batch_end(self, run, state):
            pass

    found = hooks([One(), Callback()], FakeRun())
    assert list(found) == list(EVENTS)
    assert [event for event, ready in found.items() if ready] == ["on_batch_end"]


# Progress


def show(run, epochs):
    events = hooks([Progress()], run)
    for hook in events["on_train_begin"]:
        hook()
    for _ in range(epochs):
        run.epoch += 1
        run.scores = {"train_loss": 0.123456, "valid_accuracy": 0.5}
        for hook in events["on_epoch_end"]:
            hook()
    for hook in events["on_exit"]:
        hook()


def test_progress_is_shown_where_nobody_watches_without_an_error(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    show(FakeRun(epochs=3), epochs=3)
    assert "3/3" in out.getvalue()
    assert "train_loss 0.1235" in out.getvalue()


def test_progress_ends_cleanly_when_the_training_ends_early(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    show(FakeRun(epochs=5), epochs=2)
    assert "2/5" in out.getvalue()


def test_progress_that_never_began_can_end():
    run = FakeRun()
    for hook in hooks([Progress()], run)["on_exit"]:
        hook()


def test_two_bars_may_be_shown_one_after_the_other(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    for _ in range(2):
        show(FakeRun(epochs=1), epochs=1)
