"""A callback made of functions."""

import pickle

import pytest

from mlgraph.errors import ConfigError, UnknownParameterError
from mlgraph.train.callback import EVENTS, PREDICT_EVENTS, bound
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback


def test_functions_are_called_with_the_run_at_their_events():
    seen = []
    made = Functions(on_epoch_end=seen.append, on_train_end=lambda run: seen.append("end"))
    events = bound([made], [None], "run")
    assert [name for name, ready in events.items() if ready] == ["on_epoch_end", "on_train_end"]
    for name in ("on_epoch_end", "on_train_end"):
        events[name][0]()
    assert seen == ["run", "end"]


def test_there_is_a_parameter_for_every_event():
    assert set(Functions.field_names()) == {*EVENTS, *PREDICT_EVENTS, "enabled", "weight"}


@pytest.mark.parametrize("make", [Functions, lambda **params: callback("functions", **params)])
def test_a_misspelled_event_is_refused(make):
    with pytest.raises(UnknownParameterError, match="no parameter 'on_epoch_edn'") as caught:
        make(on_epoch_edn=print)
    assert "Did you mean 'on_epoch_end'" in caught.value.mend


def test_what_is_no_function_is_refused():
    with pytest.raises(ConfigError, match="on_epoch_end=3"):
        Functions(on_epoch_end=3)


def test_equal_functions_are_equal_and_it_can_be_pickled():
    assert Functions(on_epoch_end=print) == Functions(on_epoch_end=print) != Functions()
    assert Functions(on_epoch_end=lambda run: 1) != Functions(on_epoch_end=lambda run: 2)
    made = Functions(on_epoch_end=print, weight=3)
    assert pickle.loads(pickle.dumps(made)) == made
