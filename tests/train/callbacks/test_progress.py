"""Progress: shown where somebody watches, and right where a run is resumed."""

import sys

import pytest

from mlgraph import ConfigError
from mlgraph.train.callbacks import progress
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback
from mlgraph.train.callbacks.progress import Progress
from mlgraph.train.loop import train
from mlgraph.train.memory import load_state_dict, state_dict


class Out:
    """What was printed so far."""

    def __init__(self, capsys):
        self.capsys, self.text = capsys, ""

    def getvalue(self):
        self.text += self.capsys.readouterr().out
        return self.text


@pytest.fixture
def out(capsys):
    return Out(capsys)


def test_it_is_quiet_where_nobody_watches(make_run, out):
    train(make_run(), [Progress()])
    assert out.getvalue() == ""


def test_it_is_shown_where_nobody_watches_if_asked(make_run, out):
    run = train(make_run(epochs=3), [Progress(show=True)])
    assert "3/3" in out.getvalue()
    assert f"train_loss {run.history[-1]['train_loss']:.4g}" in out.getvalue()


def test_it_can_be_switched_off(make_run, out, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    train(make_run(), [Progress(show=False)])
    assert out.getvalue() == ""


def test_it_ends_cleanly_when_the_training_ends_early(make_run, out):
    stop = Functions(on_epoch_end=lambda run: run.stop("enough") if run.epoch == 2 else None)
    train(make_run(epochs=5), [stop, Progress(show=True)])
    assert "2/5" in out.getvalue()


def test_a_bar_that_never_began_can_end(make_run):
    run = make_run()
    Progress().on_exit(run, Progress().start(run))


def test_two_bars_may_be_shown_one_after_the_other_and_at_once(make_run, out):
    for _ in range(2):
        train(make_run(epochs=1), [Progress(show=True)])
    train(make_run(epochs=1), [Progress(show=True), Progress(show=True)])
    assert "1/1" in out.getvalue()


def test_in_a_notebook_a_line_is_written_over(make_run, out, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    train(make_run(epochs=2), [Progress()])
    first, *epochs = out.getvalue().rstrip("\n").split("\r")[1:]
    assert first.startswith("epoch 0/2")
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert len(epochs[1]) >= len(epochs[0].rstrip())
    assert out.getvalue().endswith("\n")


def test_digits_are_as_asked(make_run, out):
    spoil = Functions(on_valid_end=lambda run: run.scores.update(valid_loss=0.123456))
    train(make_run(epochs=1), [spoil, Progress(show=True, digits=2)])
    assert "valid_loss 0.12" in out.getvalue()
    assert "0.123" not in out.getvalue()
    with pytest.raises(ConfigError, match="digits=0"):
        callback("progress", digits=0)


def test_a_resumed_run_begins_at_its_epoch_and_adds_to_the_time(make_run, out, monkeypatch):
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    monkeypatch.setitem(sys.modules, "ipykernel", None)

    def resume(run):
        run.epoch = 3
        load_state_dict(run.states["progress"], {"seconds": 65.0})

    run = train(make_run(epochs=4), [Progress()], resume)
    assert out.getvalue().startswith("\repoch 3/4  0:01:05")
    assert state_dict(run.states["progress"]) == {"seconds": 65.0}
