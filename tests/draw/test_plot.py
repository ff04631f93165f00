from __future__ import annotations

import sys

import pytest

from mlgraph.core.route import branch
from mlgraph.draw.plot import plot
from mlgraph.errors import ConfigError


@pytest.fixture(autouse=True)
def quiet():
    """No windows, and no figure that outlives its test."""
    import matplotlib

    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_every_graph_can_be_plotted(every):
    axes = plot(every)
    axes.figure.canvas.draw()
    assert [id for id in every.ids if id not in texts(axes)] == []


def test_ports_and_flows_are_written(crossed):
    shown = texts(plot(crossed, flows={"split.left": "Task 3 x 4"}))
    assert {"left", "right", "Task 3 x 4", "INPUT", "OUTPUT"} <= set(shown)


def test_names_of_ports_stay_inside_the_picture(add):
    axes = plot(branch({"an_alternative_with_a_long_name": add(), "plain": None}))
    axes.figure.canvas.draw()
    room = axes.get_window_extent()
    for text in axes.texts:
        word = text.get_window_extent()
        assert room.x0 <= word.x0 and word.x1 <= room.x1


def test_given_axes_are_drawn_into_and_returned(diamond):
    from matplotlib import pyplot

    _, axes = pyplot.subplots()
    assert plot(diamond, ax=axes) is axes
    assert "total" in texts(axes)


def test_words_shrink_with_the_picture(diamond):
    from matplotlib import pyplot

    _, axes = pyplot.subplots(figsize=(1, 1))
    small, own = plot(diamond, ax=axes).texts[0], plot(diamond).texts[0]
    assert small.get_fontsize() < own.get_fontsize() / 2


def test_a_missing_matplotlib_is_named_with_its_extra(diamond, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="matplotlib") as caught:
        plot(diamond)
    assert "pip install mlgraph[plot]" in caught.value.mend
