"""The learning-rate finder."""

import matplotlib
import numpy as np
import pytest
import torch

from mlgraph import ConfigError, Task, callback, nn, po
from mlgraph.train.callbacks.find_lr import RateSearch, find_lr


def task(n=40):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    return Task({"a": x[:, 0], "b": x[:, 1], "y": x @ [1.0, -2.0]}, target="y")


def graph(**kwargs):
    return (
        nn("linear", out_features=8)
        >> nn("relu")
        >> nn("linear")
        >> po("torch_optimizer", "sgd", lr=0.5)
        >> po("torch_model", **{"epochs": 1, "batch_size": 8, **kwargs})
    )


def test_rates_rise_by_one_factor_and_each_has_a_loss():
    found = find_lr(graph(), task(), low=1e-4, high=1e-2, steps=21, seed=1)
    assert found.table.column_names == ["lr", "loss", "smoothed"]
    rates = found.table["lr"].to_numpy()
    assert rates[0] == pytest.approx(1e-4) and rates[-1] == pytest.approx(1e-2)
    assert np.diff(np.log(rates)) == pytest.approx([np.log(100) / 20] * 20)
    assert np.isfinite(found.table["loss"].to_numpy()).all()


def test_it_ends_when_the_loss_has_grown():
    found = find_lr(graph(), task(), high=1e4, steps=200, seed=1)
    assert len(found.rates) < 200
    assert found.smoothed[-1] > 4 * min(found.smoothed) or len(found.rates) < 150


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_suggestion_trains_better_than_rates_far_from_it(seed):
    rate = find_lr(graph(), task(), steps=200, high=100.0, seed=seed).suggestion
    losses = {}
    for lr in (rate / 1000, rate):
        fitted = graph(epochs=5, progress=False).with_params(torch_optimizer__lr=lr)
        losses[lr] = fitted.fit(task(), seed=2).history["train_loss"][-1].as_py()
    assert losses[rate] < 0.2 * losses[rate / 1000]


def test_nothing_is_changed_by_it():
    before, data = graph(patience=3), task()
    content, fingerprint = before.hash, data.fingerprint
    stream = torch.get_rng_state()
    find_lr(before, data, steps=5, seed=1)
    assert before.hash == content and data.fingerprint == fingerprint
    assert torch.equal(torch.get_rng_state(), stream)


def test_with_one_seed_it_finds_the_same():
    one, two = (find_lr(graph(), task(), steps=10, seed=3) for _ in range(2))
    assert one.table.equals(two.table)


def test_callbacks_of_the_graph_take_no_part(tmp_path):
    path = tmp_path / "log.csv"
    logged = (
        nn("linear")
        >> po("torch_callbacks", ["csv_log"], csv_log__path=str(path))
        >> po("torch_model", epochs=1)
    )
    find_lr(logged, task(), steps=5, seed=1)
    assert not path.exists()


def test_it_is_drawn():
    matplotlib.use("agg")
    axes = find_lr(graph(), task(), steps=50, seed=1).plot()
    assert axes.get_xscale() == "log"
    assert len(axes.lines) == 3
    matplotlib.pyplot.close(axes.figure)


@pytest.mark.parametrize(
    ("losses", "why"), [((1.0, 2.0, 3.0), "falls at none"), ((1.0,), "too few steps")]
)
def test_without_a_fall_there_is_no_suggestion(losses, why):
    rates = tuple(10.0**i for i in range(len(losses)))
    with pytest.raises(ConfigError, match="No learning rate can be suggested") as caught:
        RateSearch(rates, losses, losses).suggestion
    assert why in caught.value.why


@pytest.mark.parametrize("params", [{"low": 1.0, "high": 0.1}, {"steps": 1}, {"low": 0.0}])
def test_rates_that_do_not_rise_are_refused(params):
    with pytest.raises(ConfigError, match="cannot be tried"):
        find_lr(graph(), task(), **params)


def test_a_graph_without_a_trainer_is_refused():
    with pytest.raises(ConfigError, match="one trainer"):
        find_lr(po("scale"), task())


def test_a_graph_that_would_go_on_from_a_checkpoint_begins_anew(tmp_path):
    saving = po("torch_callbacks", [callback("checkpoint", path=tmp_path / "run")])
    data = Task({"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0, 7.0]}, target="y")
    plain = nn("linear") >> saving >> po("torch_model", epochs=30, progress=False, resume=True)
    plain.fit(data, seed=1)
    fresh = plain.with_params(torch_model__resume=None)
    options = {"steps": 12, "high": 0.1, "seed": 1}
    assert find_lr(plain, data, **options).losses == find_lr(fresh, data, **options).losses


def test_a_first_loss_that_is_not_finite_is_refused():
    wild = Task({"x": [1e38, -1e38, 3e38, 1.0], "y": [1e30, 1.0, 2.0, -1e30]}, target="y")
    with pytest.raises(ConfigError, match="first step is not finite"):
        find_lr(nn("linear") >> po("torch_model"), wild, seed=1)
