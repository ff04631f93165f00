"""A fit that goes on for more epochs ends as one that was never interrupted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from mlgraph import ConfigError, DataError, GraphError, StateError, Task, callback, load, nn, po
from mlgraph.train.callback import Callback


def task(n=60, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    y = np.where(x.sum(1) > 0, "yes", "no")
    return Task({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}, target="y")


def graph(epochs, *callbacks, before=po("scale"), **options):
    given = {"batch_size": 16, "progress": False, **options}
    return (
        before
        >> nn("linear", 6)
        >> nn("batch_norm1d")
        >> nn("dropout")
        >> nn("head")
        >> po("torch_callbacks", [callback("grad_clip", norm=1.0), *callbacks])
        >> po("torch_model", epochs=epochs, **given)
    )


def same(one, other):
    assert one.history.equals(other.history)
    for name, tensor in one.trained().tensors.items():
        assert torch.equal(tensor, other.trained().tensors[name]), name
    assert np.array_equal(one.predict(task()).prob, other.predict(task()).prob)


@pytest.mark.parametrize(
    ("callbacks", "options"),
    [
        ([], {}),
        ([callback("ema", decay=0.9)], {}),
        ([callback("swa", begin=2)], {}),
        ([callback("lr_step", step_size=2)], {"accumulate": 2}),
        ([callback("lr_one_cycle", max_lr=0.1, total_steps=24)], {}),
        ([], {"patience": 4, "metrics": "accuracy"}),
        ([], {"sampler": "weighted", "metrics_train": "accuracy"}),
        ([], {"before": po("subsample", frac=0.7) >> po("scale")}),
        ([], {"before": po("classweights") >> po("imputehist")}),
    ],
)
def test_k_epochs_and_m_more_are_k_plus_m(callbacks, options):
    whole = graph(6, *callbacks, **options).fit(task(), valid=0.25, seed=3)
    part = graph(4, *callbacks, **options).fit(task(), valid=0.25, seed=3)
    before = part.predict(task()).prob
    same(part.continue_(task(), epochs=2, valid=0.25), whole)
    assert np.array_equal(part.predict(task()).prob, before)  # a value does not change
    same(part.continue_(task(), epochs=2, valid=0.25), whole)


def test_it_may_go_on_again():
    whole = graph(6).fit(task(), seed=3)
    fitted = graph(1).fit(task(), seed=3)
    for _ in range(5):
        fitted = fitted.continue_(task(), epochs=1)
    same(fitted, whole)
    assert fitted.trained().epochs == 6


def test_no_more_epochs_change_nothing():
    fitted = graph(2).fit(task(), seed=3)
    same(fitted.continue_(task(), epochs=0), fitted)


def test_a_fit_that_was_saved_goes_on(tmp_path):
    whole = graph(5, callback("ema", decay=0.9)).fit(task(), valid=0.25, seed=3)
    graph(3, callback("ema", decay=0.9)).fit(task(), valid=0.25, seed=3).save(tmp_path / "fitted")
    same(load(tmp_path / "fitted").continue_(task(), epochs=2, valid=0.25), whole)


def test_other_data_are_prepared_as_before_and_learned():
    fitted = graph(3).fit(task(), seed=3)
    other = task(40, seed=1)
    more = fitted.continue_(other, epochs=2)
    assert more.states["scale"] is fitted.states["scale"]
    assert more.history["epoch"].to_pylist() == [1, 2, 3, 4, 5]
    assert more.history.slice(0, 3).equals(fitted.history)
    weights = [f.trained().tensors["head.weight"] for f in (fitted, more)]
    assert not torch.equal(*weights)


def test_early_stopping_waits_anew_where_it_had_ended_the_fit():
    given = {"patience": 1, "min_delta": 100.0}
    fitted = graph(9, **given).fit(task(), valid=0.25, seed=3)
    assert (fitted.trained().epochs, fitted.trained().best_epoch) == (2, 1)
    more = fitted.continue_(task(), epochs=5, valid=0.25)
    assert (more.trained().epochs, more.trained().best_epoch) == (3, 1)
    assert more.trained().stopped


def test_a_schedule_that_spans_the_fit_is_over():
    fitted = graph(2, callback("lr_one_cycle", max_lr=0.1)).fit(task(), seed=3)
    with pytest.raises(StateError, match="was made for 8 steps, and the run has 12 now") as caught:
        fitted.continue_(task(), epochs=1)
    assert "give the schedule its length" in caught.value.mend


def test_what_is_only_for_going_on_can_be_dropped(tmp_path):
    fitted = graph(2).fit(task(), seed=3)
    lean = fitted.without_training_state()
    assert np.array_equal(lean.predict(task()).prob, fitted.predict(task()).prob)
    with pytest.raises(StateError, match="cannot go on") as caught:
        lean.continue_(task(), epochs=1)
    assert "dropped" in caught.value.why
    fitted.continue_(task(), epochs=1)
    sizes = []
    for name, part in (("whole", fitted), ("lean", lean)):
        part.save(tmp_path / name)
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[1] < sizes[0]


class Remembers(Callback):
    """Remembers what nobody can save."""

    def start(self, run):
        return object()


def test_a_memory_that_cannot_be_kept_spoils_only_going_on():
    fitted = graph(2, Remembers()).fit(task(), seed=3)
    with pytest.raises(StateError, match="cannot go on") as caught:
        fitted.continue_(task(), epochs=1)
    assert "object cannot be saved" in caught.value.why


@pytest.mark.parametrize("epochs", [-1, 1.5, True, None])
def test_epochs_are_a_number(epochs):
    with pytest.raises(ConfigError, match="no number of epochs"):
        graph(1).fit(task(), seed=3).continue_(task(), epochs=epochs)


def test_data_without_a_target_cannot_be_trained_on():
    fitted = graph(1).fit(task(), seed=3)
    with pytest.raises(DataError, match="no target"):
        fitted.continue_({"a": [1.0, 0.0], "b": [1.0, 2.0], "c": [0.0, 0.0]}, epochs=1)


def test_what_is_no_network_cannot_go_on():
    with pytest.raises(GraphError, match="no trainer"):
        po("scale").as_graph().fit(task()).continue_(task(), epochs=1)
    fitted = (po("scale") >> po("learner", LogisticRegression())).fit(task())
    with pytest.raises(ConfigError, match="cannot be trained further"):
        fitted.continue_(task(), epochs=1)


def test_a_graph_that_is_not_fitted_says_so():
    with pytest.raises(GraphError, match="a fitted graph does"):
        graph(1).continue_(task(), epochs=1)


def test_checkpoints_are_written_further_and_never_over_others(tmp_path):
    saving = callback("checkpoint", path=str(tmp_path / "run"))
    fitted = graph(2, saving).fit(task(), seed=3)
    fitted.continue_(task(), epochs=2)
    assert len(list((tmp_path / "run").glob("*.ckpt"))) == 4
    with pytest.raises(StateError, match="another run"):
        fitted.continue_(task(), epochs=2)


@pytest.mark.parametrize("role", ["weight", "group"])
@pytest.mark.parametrize("form", [dict, Task])
def test_what_weighs_and_groups_the_rows_must_be_there_again(role, form):
    columns = {**task().to_arrow().to_pydict(), "r": [float(i // 10 + 1) for i in range(60)]}
    fitted = graph(1).fit(Task(columns, target="y", **{role: "r"}), seed=1, valid=0.2)
    assert len(fitted.continue_(columns, epochs=1, valid=0.2).history) == 2
    without = {name: values for name, values in columns.items() if name != "r"}
    other = without if form is dict else Task(without, target="y")
    with pytest.raises(DataError, match="'r' is missing") as caught:
        fitted.continue_(other, epochs=1, valid=0.2)
    assert repr(role) in caught.value.why
