"""Ctrl-C: once keeps the last complete epoch, twice is raised."""

import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from mlgraph import StateError, Task, callback, nn, po
from mlgraph.train import loop
from mlgraph.train.callback import EVENTS, Callback
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.interrupt import CtrlC

LATE = 2000.0


def task(n=60):
    draws = np.random.default_rng(0)
    x = draws.normal(size=(n, 3))
    columns = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]}
    return Task({**columns, "y": x.sum(1) + draws.normal(size=n)}, target="y")


def graph(*callbacks, **options):
    """Everything that has a memory, or buffers."""
    present = [
        callback("lr_step", step_size=2),
        callback("ema", decay=0.8),
        callback("swa", begin=2),
        callback("grad_clip", norm=1.0),
        *callbacks,
    ]
    network = nn("linear", 8) >> nn("batch_norm1d") >> nn("relu") >> nn("dropout") >> nn("head")
    trainer = {"epochs": 9, "batch_size": 16, "patience": 20, "progress": False, **options}
    return (
        network
        >> po("torch_optimizer", "adamw", lr=0.02)
        >> po("torch_callbacks", present)
        >> po("torch_model", **trainer)
    )


def pressing(event, times=1, epoch=4, step=2, weight=LATE, once=False):
    """A callback at whose event Ctrl-C is pressed, in one batch of one epoch."""

    pressed = []

    def press(run):
        if once and pressed:
            return
        if run.epoch == epoch and (run.step == step or "batch" not in event or "valid" in event):
            pressed.append(run.epoch)
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return Functions(**{event: press}, weight=weight)


def same(one, other):
    one, other = one.trained(), other.trained()
    assert one.history.equals(other.history)
    assert (one.epochs, one.best_epoch) == (other.epochs, other.best_epoch)
    for name, tensor in other.tensors.items():
        assert torch.equal(one.tensors[name], tensor), name


@pytest.fixture(autouse=True)
def long_epochs(monkeypatch):
    """Every epoch counts as a long one, after which the run is copied."""
    monkeypatch.setattr(loop, "SHORT", 0.0)


@pytest.fixture(autouse=True)
def python_hears():
    """Ctrl-C is heard, also where the tests run in the background, and the shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


INSIDE = [
    "on_epoch_begin",
    "on_batch_begin",
    "on_after_backward",
    "on_batch_end",
    "on_valid_begin",
    "on_valid_batch_begin",
    "on_valid_batch_end",
    "on_valid_end",
]


@pytest.mark.parametrize("event", INSIDE)
def test_within_an_epoch_all_is_as_at_the_end_of_the_one_before(event):
    stopped = graph(pressing(event)).fit(task(), valid=0.25, seed=3)
    assert stopped.trained().interrupted
    same(stopped, graph(epochs=3).fit(task(), valid=0.25, seed=3))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("weight", [-LATE, LATE])
def test_at_the_end_of_an_epoch_it_waits_until_every_callback_has_seen_it(weight):
    pressed = pressing("on_epoch_end", weight=weight)
    stopped = graph(pressed, patience=0).fit(task(), valid=0.25, seed=3)
    assert stopped.trained().interrupted
    same(stopped, graph(epochs=4, patience=0).fit(task(), valid=0.25, seed=3))


@pytest.mark.parametrize("event", ["on_train_end", "on_exit"])
def test_at_the_end_of_the_training_nothing_is_lost(event):
    ended = []
    watch = Functions(**{event: lambda run: ended.append(run.epoch)}, weight=LATE + 1)
    stopped = graph(pressing(event, epoch=9), watch).fit(task(), valid=0.25, seed=3)
    assert stopped.trained().interrupted and ended == [9]
    same(stopped, graph().fit(task(), valid=0.25, seed=3))


def test_before_the_first_epoch_is_over_the_network_is_as_it_began():
    stopped = graph(pressing("on_batch_end", epoch=1)).fit(task(), valid=0.25, seed=3).trained()
    assert stopped.interrupted and stopped.epochs == 0 and stopped.history.num_rows == 0
    began = graph(epochs=0).fit(task(), valid=0.25, seed=3).trained()
    assert all(torch.equal(stopped.tensors[name], began.tensors[name]) for name in began.tensors)


def test_the_training_ends_in_order():
    seen = []
    ends = {event: lambda run, event=event: seen.append(event) for event in EVENTS[-2:]}
    graph(pressing("on_batch_begin"), Functions(**ends)).fit(task(), valid=0.25, seed=3)
    assert seen == ["on_train_end", "on_exit"]


@pytest.mark.parametrize("event", ["on_epoch_end", "on_train_end"])
def test_twice_is_raised_after_on_exit(event):
    seen = []
    watch = Functions(on_exit=lambda run: seen.append("exit"), weight=LATE + 1)
    epoch = 9 if event == "on_train_end" else 4
    with pytest.raises(KeyboardInterrupt):
        graph(pressing(event, times=2, epoch=epoch), watch).fit(task(), valid=0.25, seed=3)
    assert seen == ["exit"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_while_the_training_ends_is_raised():
    # The first ends the training in epoch 4, the second comes when that is being done.
    again = Functions(on_train_end=lambda run: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        graph(pressing("on_batch_begin"), again).fit(task(), valid=0.25, seed=3)


def test_one_that_a_callback_raises_counts_too():
    def interrupt(run):
        if run.epoch == 4:
            raise KeyboardInterrupt

    stopped = graph(Functions(on_valid_end=interrupt, weight=LATE)).fit(task(), valid=0.25, seed=3)
    assert stopped.trained().interrupted
    same(stopped, graph(epochs=3).fit(task(), valid=0.25, seed=3))


class Odd(Callback):
    """Remembers what cannot be saved."""

    def start(self, run):
        return [object()]


def test_a_memory_that_cannot_be_saved_does_no_harm():
    stopped = graph(Odd(), pressing("on_batch_begin")).fit(task(), valid=0.25, seed=3)
    assert stopped.trained().epochs == 3


def test_the_best_weights_are_those_of_complete_epochs():
    # In epoch 4, which is not completed, the score is the best of all.
    def lower(run):
        run.scores["valid_loss"] = 10.0 - (9.0 if run.epoch == 4 else 0.1 * run.epoch)

    changed = Functions(on_valid_end=lower, weight=1.0)
    stopped = graph(changed, pressing("on_valid_end")).fit(task(), valid=0.25, seed=3)
    three = graph(changed, epochs=3).fit(task(), valid=0.25, seed=3)
    assert stopped.trained().best_epoch == 3
    same(stopped, three)


@pytest.mark.parametrize("key", ["ema", "swa"])
def test_an_average_is_that_of_complete_epochs(key):
    # Alone, as of several callbacks that set the weights at the end the last one decides.
    others = {f"torch_callbacks__{name}__enabled": False for name in ("ema", "swa") if name != key}
    one = graph(pressing("on_valid_end"), patience=0).with_params(**others)
    three = graph(patience=0, epochs=3).with_params(**others)
    same(*(made.fit(task(), valid=0.25, seed=3) for made in (one, three)))


def test_in_float16_the_scale_is_put_back():
    scales = []
    watch = Functions(on_train_end=lambda run: scales.append(run.steps.state_dict()))
    options = {"precision": "fp16"}
    graph(watch, pressing("on_batch_end"), **options).fit(task(), valid=0.25, seed=3)
    graph(watch, epochs=3, **options).fit(task(), valid=0.25, seed=3)
    assert scales[0] == scales[1]


def test_the_optimizer_is_put_back():
    states = []

    def look(run):
        saved = run.optimizer.state_dict()
        states.append((saved["param_groups"], [dict(s) for s in saved["state"].values()]))

    watch = Functions(on_train_end=look)
    graph(watch, pressing("on_batch_end")).fit(task(), valid=0.25, seed=3)
    graph(watch, epochs=3).fit(task(), valid=0.25, seed=3)
    (groups, one), (others, two) = states
    assert groups == others and len(one) == len(two) > 0
    for mine, theirs in zip(one, two, strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_run_that_was_interrupted_goes_on_as_if_it_was_not(tmp_path):
    saving = callback("checkpoint", path=str(tmp_path / "run"))
    graph(saving, pressing("on_batch_begin")).fit(task(), valid=0.25, seed=3)
    rest = graph(saving, resume=True).fit(task(), valid=0.25, seed=3)
    assert not rest.trained().interrupted
    same(rest, graph().fit(task(), valid=0.25, seed=3))


@pytest.mark.parametrize("event", INSIDE)
def test_what_was_interrupted_can_be_trained_further(event):
    stopped = graph(pressing(event, once=True)).fit(task(), valid=0.25, seed=3)
    whole = graph(epochs=6).fit(task(), valid=0.25, seed=3)
    same(stopped.continue_(task(), epochs=3, valid=0.25), whole)


def test_in_the_rest_of_an_epoch_that_was_resumed_there_is_nothing_to_go_on_from(tmp_path):
    saving = callback("checkpoint", path=str(tmp_path / "run"), batches=1)

    def fail(run):
        if (run.epoch, run.step) == (4, 2):
            raise OSError("the power is gone")

    with pytest.raises(OSError, match="power"):
        graph(saving, Functions(on_batch_end=fail)).fit(task(), valid=0.25, seed=3)
    stopped = graph(saving, pressing("on_batch_begin"), resume=True)
    fitted = stopped.fit(task(), valid=0.25, seed=3)
    with pytest.raises(StateError, match="cannot go on") as caught:
        fitted.continue_(task(), epochs=1, valid=0.25)
    assert "an epoch that it had resumed" in str(caught.value)


@pytest.mark.parametrize("event", INSIDE)
def test_a_short_epoch_is_completed(event, monkeypatch):
    monkeypatch.setattr(loop, "SHORT", 1e9)
    stopped = graph(pressing(event, once=True)).fit(task(), valid=0.25, seed=3)
    assert stopped.trained().interrupted
    same(stopped, graph(epochs=4).fit(task(), valid=0.25, seed=3))


def test_twice_ends_a_short_epoch_too(monkeypatch):
    monkeypatch.setattr(loop, "SHORT", 1e9)
    with pytest.raises(KeyboardInterrupt):
        graph(pressing("on_batch_end", times=2)).fit(task(), valid=0.25, seed=3)


# Who hears it


def test_a_handler_of_somebody_else_is_left_alone():
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        fitted = graph(pressing("on_batch_begin")).fit(task(), valid=0.25, seed=3)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT] and fitted.trained().epochs == 9


@pytest.mark.parametrize(("short", "epochs"), [(0.0, 3), (1e9, 0)])
def test_where_somebody_else_hears_it_the_last_copy_is_what_is_left(short, epochs, monkeypatch):
    monkeypatch.setattr(loop, "SHORT", short)
    before = signal.signal(signal.SIGINT, interrupting)
    try:
        stopped = graph(pressing("on_batch_begin")).fit(task(), valid=0.25, seed=3)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.trained().interrupted and stopped.trained().epochs == epochs


def interrupting(number, frame):
    raise KeyboardInterrupt


def test_in_another_thread_nothing_is_heard_and_the_training_works():
    found = []
    run = threading.Thread(target=lambda: found.append(graph().fit(task(), valid=0.25, seed=3)))
    run.start()
    run.join()
    assert found[0].trained().epochs == 9


def test_one_that_waits_is_raised_when_it_is_asked_for():
    with CtrlC().heard() as ctrl_c:
        with ctrl_c.deferred():
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            ctrl_c.raise_if_due()
        ctrl_c.raise_if_due()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            ctrl_c.accept()


# A process


PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {folder!r})
import test_interrupt as t
from mlgraph.train import loop
from mlgraph.train.callbacks.functions import Functions

def wait(run):
    if run.epoch == 4:
        print("ready", flush=True)
        time.sleep(60)

def end(run):
    print("ending", flush=True)
    time.sleep({ending})

def exit(run):
    print("exit", flush=True)

loop.SHORT = {short}
watch = Functions(on_batch_end=wait, on_train_end=end, on_exit=exit)
fitted = t.graph(watch).fit(t.task(), valid=0.25, seed=3)
print(fitted.trained().interrupted, fitted.trained().epochs, flush=True)
print(fitted.predict(t.task()).response.sum(), flush=True)
"""


def program(ending=0, short=0.0):
    code = PROGRAM.format(folder=str(Path(__file__).parent), ending=ending, short=short)
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_process_that_gets_one_signal_ends_its_fit_and_goes_on():
    process = program()
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    three = graph(epochs=3).fit(task(), valid=0.25, seed=3)
    expected = three.predict(task()).response.sum()
    assert out.splitlines() == ["ending", "exit", "True 3", str(expected)], err
    assert process.returncode == 0


def test_a_short_epoch_that_grows_long_is_waited_for_no_longer():
    process = program(short=0.5)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    ending, left, (word, epochs), _ = map(
        str.split, process.communicate(timeout=50)[0].splitlines()
    )
    assert (ending, left, word) == (["ending"], ["exit"], "True") and int(epochs) < 4


def test_a_process_that_gets_two_signals_ends():
    process = program(ending=60)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "ending\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert out.splitlines() == ["exit"]
    assert "KeyboardInterrupt" in err and process.returncode != 0
