"""Callbacks are parameters; what they remember of a run is not in them."""

import copy
import json
import pickle
from types import SimpleNamespace
from typing import ClassVar

import attrs
import pytest
from torch import nn as tnn

from mlgraph import ConfigError, param, tune
from mlgraph.errors import UnknownParameterError
from mlgraph.train.callback import (
    EVENTS,
    PREDICT_EVENTS,
    Callback,
    Predicting,
    bound,
    ordered,
    predicting,
)


class Counting(Callback):
    """Stops after some epochs."""

    epochs: int = param(default=3, lower=1)
    words: tuple[str, ...] = ()

    def start(self, run):
        return [run.epochs]

    def on_epoch_end(self, run, state):
        state.append(run.epoch)


class Holding(Callback):
    """Holds another callback."""

    inner: tuple[Callback, ...] = ()


# Values


def test_a_subclass_is_a_frozen_class_with_a_key():
    assert Counting.key == "counting"
    assert Counting().parameters() == {
        "epochs": 3,
        "words": (),
        "enabled": True,
        "weight": 0.0,
    }
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Counting().epochs = 5


def test_equal_content_is_equal_and_another_parameter_is_not():
    assert Counting(epochs=5) == Counting(epochs=5) != Counting(epochs=4)
    assert hash(Counting(epochs=5)) == hash(Counting(epochs=5))
    assert Counting(words=["a"]) == Counting(words=("a",))
    assert Counting() != Holding()
    assert Counting() != 3


def test_copies_and_pickles_are_equal():
    one = Counting(epochs=5)
    hash(one)
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert other == one and hash(other) == hash(one)


def test_the_json_says_everything_and_survives():
    content = Holding(inner=[Counting(epochs=5)]).to_json()
    assert json.loads(json.dumps(content)) == content
    assert content["key"] == "holding"
    (inner,) = content["params"]["inner"]
    assert inner["is"]["params"]["epochs"] == 5
    assert inner["is"]["class"].endswith(":Counting")


def test_the_repr_is_how_it_is_made():
    assert repr(Counting()) == 'callback("counting")'
    assert repr(Counting(epochs=5, weight=2)) == 'callback("counting", epochs=5, weight=2.0)'


def test_values_are_checked_against_type_and_bounds():
    with pytest.raises(ConfigError, match=r'callback\("counting"\) cannot take epochs=0') as caught:
        Counting(epochs=0)
    assert caught.value.why == "expected a number of at least 1"
    with pytest.raises(ConfigError, match="enabled='no'"):
        Counting(enabled="no")


def test_unknown_and_missing_parameters_are_named():
    class Asking(Callback):
        answer: int

    with pytest.raises(UnknownParameterError, match="no parameter 'epoch'") as caught:
        Counting.create(params={"epoch": 3})
    assert caught.value.mend == "Did you mean 'epochs'?"
    with pytest.raises(ConfigError, match=r'callback\("asking"\) needs \'answer\''):
        Asking.create()


def test_parameters_are_changed_by_path():
    holding = Holding(inner=[Counting(), Counting(epochs=5)])
    changed = holding.with_parameters({"inner__1__epochs": 7, "enabled": False})
    assert changed.inner == (Counting(), Counting(epochs=7))
    assert not changed.enabled
    assert holding.inner[1].epochs == 5
    for path in ("inner__2__epochs", "inner__0__wrong", "outer"):
        with pytest.raises(UnknownParameterError):
            holding.with_parameters({path: 1})


def test_tokens_are_found_wherever_they_are():
    holding = Holding(inner=[Counting(epochs=tune(1, 9))], enabled=tune([True, False]))
    assert holding.tokens() == {
        "inner__0__epochs": tune(1, 9),
        "enabled": tune([True, False]),
    }


def test_what_depends_on_several_parameters_is_checked_once_no_token_is_left():
    class Ordered(Callback):
        low: int = 0
        high: int = 1

        def validate(self):
            if self.low > self.high:
                raise ConfigError("low is above high")

    with pytest.raises(ConfigError, match="low is above high"):
        Ordered(low=2)
    open_ = Ordered(low=2, high=tune(0, 5))
    with pytest.raises(ConfigError, match="low is above high"):
        open_.with_parameters({"high": 1})


# Hooks


@pytest.mark.parametrize(
    ("name", "meant"), [("on_epoch_ended", "on_epoch_end"), ("on_batch_start", "on_batch_")]
)
def test_a_hook_of_another_name_is_refused_when_the_class_is_made(name, meant):
    with pytest.raises(ConfigError, match=f"a hook '{name}', and there is no such event") as caught:
        type("Misspelt", (Callback,), {name: lambda self, run, state: None})
    assert meant in str(caught.value)


@pytest.mark.parametrize("event", [*EVENTS, *PREDICT_EVENTS])
def test_every_event_may_have_a_hook(event):
    called = []
    made = type(
        "Hooked", (Callback,), {event: lambda self, run, state: called.append((run, state))}
    )
    (hook,) = bound([made()], ["memory"], "run", [event])[event]
    hook()
    assert called == [("run", "memory")]


def test_a_hook_gets_the_run_and_what_start_returned():
    run = SimpleNamespace(epochs=3, epoch=1)
    state = Counting().start(run)
    events = bound([Counting()], [state], run)
    events["on_epoch_end"][0]()
    events["on_epoch_end"][0]()
    assert state == [3, 1, 1]


def test_events_nobody_waits_for_have_no_hooks():
    found = bound([Counting(), Callback()], [[], None], None)
    assert list(found) == list(EVENTS)
    assert [event for event, ready in found.items() if ready] == ["on_epoch_end"]


def test_hooks_of_predictions_get_no_memory():
    seen = []

    class Watching(Callback):
        def on_predict_batch_end(self, run, state):
            seen.append((run.step, state))

    run = Predicting(tnn.Identity(), None, step=2)
    events = predicting([Watching(), Watching(enabled=False)], run)
    assert list(events) == list(PREDICT_EVENTS)
    for hook in events["on_predict_batch_end"]:
        hook()
    assert seen == [(2, None)]


# Order


def test_callbacks_come_by_weight_and_equal_ones_in_the_order_given():
    class Light(Callback):
        weight: float = -1.0

    a, b = Counting(epochs=1), Counting(epochs=2)
    last = Counting(weight=float("inf"))
    assert ordered([last, a, Light(), b]) == (Light(), a, b, last)
    assert ordered([b, a, Light(weight=1)]) == (b, a, Light(weight=1))


def test_what_is_not_enabled_takes_no_part():
    assert ordered([Counting(enabled=False), Counting()]) == (Counting(),)


def test_a_plain_class_attribute_is_the_default_of_the_weight():
    class Plain(Callback):
        weight = 7

    class Stated(Callback):
        weight: ClassVar[float] = 8.0
        enabled = False

    assert (Plain().weight, Plain(weight=1).weight, Stated().weight) == (7.0, 1.0, 8.0)
    assert not Stated().enabled


@pytest.mark.parametrize("weight", [float("nan"), "late", None])
def test_a_weight_that_orders_nothing_is_refused(weight):
    with pytest.raises(ConfigError, match="weight"):
        Counting(weight=weight)


def test_a_callback_may_come_last_of_all_or_before_all_at_some_events():
    class Late(Callback):
        is_last = True
        weight: float = -5.0

        def on_epoch_end(self, run, state):
            run.append("late")

    class Heavy(Callback):
        weight: float = float("inf")
        early = ("on_epoch_end",)

        def on_epoch_end(self, run, state):
            run.append("heavy")

        def on_train_end(self, run, state):
            run.append("heavy")

    class Usual(Callback):
        def on_epoch_end(self, run, state):
            run.append("usual")

        def on_train_end(self, run, state):
            run.append("usual")

    present = ordered([Late(), Heavy(), Usual()])
    seen = []
    hooks = bound(present, [None] * 3, seen)
    for hook in (*hooks["on_epoch_end"], *hooks["on_train_end"]):
        hook()
    assert seen == ["heavy", "usual", "late", "usual", "heavy"]
