"""The number of threads is that of a call, and as before after it."""

import pytest
import torch

from mlgraph import ConfigError, Task, nn, po
from mlgraph.tensor.threads import threads
from mlgraph.train.callback import Callback


class Counting(Callback):
    """Notes the threads while it trains and predicts."""

    def on_batch_begin(self, run, state):
        SEEN.append(torch.get_num_threads())

    def on_predict_batch_end(self, run, state):
        SEEN.append(torch.get_num_threads())


SEEN: list[int] = []


def task():
    return Task({"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0, 7.0]}, target="y")


def graph(number):
    trainer = po("torch_model", epochs=1, num_threads=number, progress=False)
    return nn("linear") >> po("torch_callbacks", [Counting()]) >> trainer


@pytest.mark.parametrize("number", [2, 3])
def test_a_fit_and_a_prediction_have_their_threads_and_leave_them_as_they_were(number):
    SEEN.clear()
    before = torch.get_num_threads()
    fitted = graph(number).fit(task(), seed=1)
    assert set(SEEN) == {number} and torch.get_num_threads() == before
    SEEN.clear()
    fitted.predict(task())
    assert SEEN == [number] and torch.get_num_threads() == before


def test_by_default_threads_are_left_alone():
    SEEN.clear()
    before = torch.get_num_threads()
    graph(None).fit(task(), seed=1)
    assert set(SEEN) == {before}


def test_threads_may_change_after_fitting():
    SEEN.clear()
    fitted = graph(None).fit(task(), seed=1).with_params(torch_model__num_threads=2)
    SEEN.clear()
    fitted.predict(task())
    assert SEEN == [2]


def test_threads_are_as_before_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_no_threads_are_refused():
    with pytest.raises(ConfigError, match="num_threads"):
        graph(0)
