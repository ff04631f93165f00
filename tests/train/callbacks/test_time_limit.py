"""A training that takes too long ends."""

from types import SimpleNamespace

import pytest

from mlgraph import ConfigError
from mlgraph.train.callbacks import time_limit
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback
from mlgraph.train.loop import train
from mlgraph.train.memory import load_state_dict, state_dict


@pytest.fixture
def clock(monkeypatch):
    """A clock that is put forward by hand."""
    found = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time_limit.time, "monotonic", lambda: found.now)
    return found


def passing(clock, event):
    """A callback that lets a second pass at each event."""

    def pass_(run):
        clock.now += 1.0

    return Functions(**{event: pass_})


def test_it_ends_after_the_epoch_in_which_the_time_is_over(make_run, clock):
    run = train(
        make_run(epochs=9), [passing(clock, "on_epoch_end"), callback("time_limit", seconds=3.0)]
    )
    assert run.stopped == "the training has taken 3 seconds"
    assert run.epoch == len(run.history) == 3


def test_it_ends_after_the_step_in_which_the_time_is_over(make_run, clock):
    run = train(
        make_run(epochs=9),
        [passing(clock, "on_batch_end"), callback("time_limit", seconds=2.0, after="step")],
    )
    assert run.global_step == 2
    assert run.stopped


def test_in_time_nothing_happens(make_run, clock):
    run = train(make_run(), [callback("time_limit", seconds=1e6)])
    assert (run.epoch, run.stopped) == (4, "")


def test_a_resumed_run_has_used_some_of_its_time(make_run, clock):
    chosen = callback("time_limit", seconds=3.0)
    passes = passing(clock, "on_epoch_end")
    run = train(make_run(epochs=2), [passes, chosen])
    saved = state_dict(run.states["time_limit"])
    assert saved["seconds"] == 2.0
    rest = make_run(epochs=9)
    train(rest, [passes, chosen], lambda run: load_state_dict(run.states["time_limit"], saved))
    assert rest.epoch == 1


def test_a_run_that_had_used_its_time_ends_at_once(make_run, clock):
    chosen = callback("time_limit", seconds=3.0)
    run = make_run()
    train(run, [chosen], lambda run: load_state_dict(run.states["time_limit"], {"seconds": 3.5}))
    assert run.epoch == 0


def test_time_is_not_negative():
    with pytest.raises(ConfigError, match="seconds=-1"):
        callback("time_limit", seconds=-1.0)


def test_the_epoch_it_stops_in_is_evaluated(make_run):
    run = make_run(epochs=50, eval_freq=7)
    train(run, [callback("time_limit", seconds=0.0)])
    assert run.epoch == 1 and "valid_loss" in run.history[-1]
