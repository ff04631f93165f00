"""Whatever trains can be broken off and goes on bit for bit: optimizers, samplers, callbacks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils import data as torch_data

from mlgraph import StateError, Task, callback, nn, po, sampler
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.known import optimizers
from mlgraph.train.sampler import Sampler, known

SAMPLERS = {
    "random": "random",
    "sequential": "sequential",
    "stratified": "stratified",
    "torch_sampler": torch_data.RandomSampler,
    "weighted": sampler("weighted", frac=0.7),
    "weighted once": sampler("weighted", replacement=False, frac=0.7),
}
REFUSED = ("sparse_adam",)  # it trains sparse gradients only


class Crash(Exception):
    pass


def crashing(run):
    if run.global_step == 7:
        raise Crash


def task(n=30):
    x = np.random.default_rng(0).normal(size=(n, 3))
    y = np.where(x.sum(1) > 0.5, "yes", "no")
    return Task({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}, target="y")


def graph(path, *, crashes=False, optimizer=("adamw", {"lr": 0.01}), more=(), **options):
    callbacks = {"checkpoint": callback("checkpoint", path=str(path), batches=1), **dict(more)}
    if crashes:
        callbacks["crash"] = Functions(on_batch_begin=crashing)
    trainer = {"epochs": 3, "progress": False, "metrics_train": ["accuracy", "log_loss"]}
    if "batch_sampler" not in options:
        trainer["batch_size"] = 7
    # Muon takes matrices only, so the layers have no bias.
    return (
        nn("linear", 4, bias=False)
        >> nn("dropout")
        >> nn("linear", bias=False)
        >> po("torch_optimizer", optimizer[0], **optimizer[1])
        >> po("torch_callbacks", callbacks)
        >> po("torch_model", **{**trainer, **options})
    )


def broken_off_and_resumed(tmp_path, **given):
    """The same fit as a whole, and as one that crashed in its second epoch and was resumed."""
    whole = graph(tmp_path / "whole", **given).fit(task(), valid=0.2, seed=5)
    with pytest.raises(Crash):
        graph(tmp_path / "run", crashes=True, **given).fit(task(), valid=0.2, seed=5)
    return whole, graph(tmp_path / "run", resume=True, **given).fit(task(), valid=0.2, seed=5)


def same(one, other):
    assert one.history.equals(other.history)
    assert one.trained().tensors.keys() == other.trained().tensors.keys()
    for name, tensor in one.trained().tensors.items():
        assert torch.equal(tensor, other.trained().tensors[name]), name


@pytest.mark.parametrize("name", [name for name in optimizers() if name not in REFUSED])
def test_every_optimizer_goes_on_bit_for_bit(name, tmp_path):
    same(*broken_off_and_resumed(tmp_path, optimizer=(name, {"lr": 0.01})))


def test_every_sampler_has_an_example():
    ours = {key for key, cls in known(Sampler).items() if cls.__module__.startswith("mlgraph.")}
    assert ours == {name.partition(" ")[0] for name in SAMPLERS}


@pytest.mark.parametrize("chosen", sorted(SAMPLERS))
@pytest.mark.parametrize("score", ["running", "clean"])
def test_every_sampler_goes_on_bit_for_bit(chosen, score, tmp_path):
    options = {"sampler": SAMPLERS[chosen], "metrics_train_from": score, "accumulate": 2}
    if chosen.startswith("weighted"):  # fewer batches
        options |= {"accumulate": 1, "epochs": 4}
    same(*broken_off_and_resumed(tmp_path, **options))


def batches_of_five(rows):
    return torch_data.BatchSampler(torch_data.RandomSampler(rows), 5, drop_last=False)


def test_batch_samplers_go_on_bit_for_bit(tmp_path):
    same(*broken_off_and_resumed(tmp_path, batch_sampler=batches_of_five))


def test_another_sampler_is_refused(tmp_path):
    graph(tmp_path, sampler="random", epochs=1).fit(task(), seed=1)
    with pytest.raises(StateError, match=r"another run: .*sampler"):
        graph(tmp_path, sampler="stratified", resume=True).fit(task(), seed=1)


# Callbacks


def test_two_callbacks_of_a_class_keep_their_own_memory(tmp_path):
    more = {
        "first": callback("ema", decay=0.5, weight=2.0),
        "second": callback("ema", decay=0.9, weight=1.0),
    }
    same(*broken_off_and_resumed(tmp_path, more=more))


def test_a_callback_is_found_by_its_id_wherever_it_stands(tmp_path):
    ema, clip = ("ema", callback("ema", decay=0.9)), ("clip", callback("grad_clip", norm=1.0))
    whole = graph(tmp_path / "whole", more=[ema, clip]).fit(task(), seed=5)
    with pytest.raises(Crash):
        graph(tmp_path / "run", crashes=True, more=[clip, ema]).fit(task(), seed=5)
    same(whole, graph(tmp_path / "run", resume=True, more=[ema, clip]).fit(task(), seed=5))


def test_a_callback_of_another_class_is_refused_with_both_named(tmp_path):
    graph(tmp_path, epochs=1, more={"mine": callback("ema", decay=0.9)}).fit(task(), seed=1)
    changed = graph(tmp_path, resume=True, more={"mine": callback("swa", begin=1)})
    with pytest.raises(StateError, match="'mine' was a 'ema' and is a 'swa'"):
        changed.fit(task(), seed=1)


@pytest.mark.parametrize(
    ("key", "was", "now", "shown"),
    [
        ("lr_step", {"step_size": 2}, {"step_size": 3}, "step_size was 2 and is 3"),
        ("lr_lambda", {"lr_lambda": lambda e: 1}, {"lr_lambda": lambda e: 0.5}, "lr_lambda"),
        ("grad_clip", {"norm": 1.0}, {"norm": 2.0}, "norm was 1.0 and is 2.0"),
        ("ema", {"decay": 0.9}, {"decay": 0.99}, "decay was 0.9 and is 0.99"),
    ],
)
def test_a_callback_that_steers_the_training_keeps_its_parameters(key, was, now, shown, tmp_path):
    graph(tmp_path, epochs=1, more={key: callback(key, **was)}).fit(task(), seed=1)
    with pytest.raises(StateError, match=f"{key}' had another") as caught:
        graph(tmp_path, resume=True, more={key: callback(key, **now)}).fit(task(), seed=1)
    assert shown in caught.value.why


def test_patience_may_change_and_logs_may_join(tmp_path):
    more = {"stop": callback("early_stopping", patience=1)}
    graph(tmp_path / "run", epochs=2, more=more).fit(task(), valid=0.2, seed=1)
    more = {
        "stop": callback("early_stopping", patience=9),
        "log": callback("csv_log", path=str(tmp_path / "log.csv")),
    }
    fitted = graph(tmp_path / "run", epochs=4, more=more, resume=True)
    assert fitted.fit(task(), valid=0.2, seed=1).history.num_rows == 4


def test_another_monitor_is_refused(tmp_path):
    more = {"stop": callback("early_stopping", patience=1)}
    graph(tmp_path, epochs=1, more=more).fit(task(), valid=0.2, seed=1)
    more = {"stop": callback("early_stopping", patience=1, monitor="train_loss")}
    with pytest.raises(StateError, match="another 'monitor'"):
        graph(tmp_path, more=more, resume=True).fit(task(), valid=0.2, seed=1)


def test_a_callback_that_is_missing_is_named(tmp_path):
    graph(tmp_path, epochs=1, more={"clip": callback("grad_clip", norm=1.0)}).fit(task(), seed=1)
    with pytest.warns(UserWarning, match="'clip' of the saved run is missing"):
        graph(tmp_path, resume=True).fit(task(), seed=1)
