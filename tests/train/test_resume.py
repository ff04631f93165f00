"""A graph that saves itself is fitted again, and goes on where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mlgraph import ConfigError, DataError, StateError, Task, callback, nn, po
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.checkpoint import checkpoints, newest_of


def task(n: int = 90) -> Task:
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 3))
    columns = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]}
    return Task({**columns, "y": x.sum(1) + random.normal(size=n)}, target="y")


def graph(path: object, *, resume: bool = True, epochs: int = 6, width: int = 8, **options):
    callbacks = [
        callback("checkpoint", path=str(path), batches=1),
        callback("lr_one_cycle", max_lr=0.02),
        callback("ema", decay=0.9),
        callback("grad_clip", norm=1.0),
    ]
    network = nn("linear", width) >> nn("batch_norm1d") >> nn("relu") >> nn("dropout") >> nn("head")
    trainer = {"epochs": epochs, "batch_size": 16, "patience": 5, "progress": False, **options}
    optimizer = po("torch_optimizer", "adamw", lr=0.01)
    return (
        network
        >> optimizer
        >> po("torch_callbacks", callbacks)
        >> po("torch_model", **trainer, resume=resume)
    )


def same(one, other) -> None:
    assert one.history.equals(other.history)
    tensors = one.trained().tensors
    for name, tensor in other.trained().tensors.items():
        assert np.array_equal(tensors[name].numpy(), tensor.numpy()), name
    assert np.array_equal(one.predict(task()).response, other.predict(task()).response)


def whole(tmp_path: Path):
    return graph(tmp_path / "whole").fit(task(), valid=0.25, seed=3)


def test_a_finished_fit_is_not_repeated(tmp_path):
    first = graph(tmp_path / "run").fit(task(), valid=0.25, seed=3)
    same(graph(tmp_path / "run").fit(task(), valid=0.25, seed=3), first)


def test_checkpoints_do_not_change_what_is_learned(tmp_path):
    without = graph(tmp_path / "none")
    plain = without.with_params(
        torch_callbacks__checkpoint__enabled=False, torch_model__resume=False
    ).fit(task(), valid=0.25, seed=3)
    same(whole(tmp_path), plain)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [({"width": 9}, "network"), ({"batch_size": 8}, "batches"), ({"eval_freq": 2}, "eval_freq")],
)
def test_another_graph_is_refused_with_what_differs(change, word, tmp_path):
    graph(tmp_path / "run", epochs=1).fit(task(), valid=0.25, seed=3)
    with pytest.raises(StateError, match=f"another run: .*{word}"):
        graph(tmp_path / "run", **change).fit(task(), valid=0.25, seed=3)


@pytest.mark.parametrize(
    ("fit", "word"),
    [
        ({"valid": 0.25, "seed": 4}, "seed"),
        ({"valid": 0.5, "seed": 3}, "validation data"),
        ({"valid": 0.25, "seed": 3, "task": task(120)}, "data"),
    ],
)
def test_other_data_another_split_and_another_seed_are_refused(fit, word, tmp_path):
    graph(tmp_path / "run", epochs=1).fit(task(), valid=0.25, seed=3)
    with pytest.raises(StateError, match=f"another run: .*{word}"):
        graph(tmp_path / "run").fit(**{"task": task(), **fit})


def test_resuming_without_a_checkpoint_is_refused_before_training(tmp_path):
    plain = nn("head") >> po("torch_model", epochs=1, resume=True)
    with pytest.raises(ConfigError, match="checkpoint"):
        plain.check(task())
    with pytest.raises(ConfigError, match="no folder"):
        plain.with_params(torch_model__resume=str(tmp_path / "none")).check(task())


def test_a_script_that_names_its_own_folder_can_be_run_again_and_again(tmp_path):
    path = tmp_path / "run"
    again = graph(path, resume=str(path))
    first = again.fit(task(), valid=0.25, seed=3)
    same(again.fit(task(), valid=0.25, seed=3), first)


def test_a_folder_of_something_else_is_no_folder_to_resume_from(tmp_path):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    graph_ = graph(tmp_path / "run", resume=str(tmp_path))
    with pytest.raises(StateError, match="thesis"):
        graph_.fit(task(), valid=0.25, seed=3)


def test_a_fit_that_stopped_early_is_over_when_it_is_resumed(tmp_path):
    stopping = {"epochs": 30, "patience": 1, "monitor": "loss"}
    first = graph(tmp_path / "run", **stopping).fit(task(), valid=0.25, seed=3)
    assert first.trained().stopped and first.trained().epochs < 30
    files = sorted(path.name for path in (tmp_path / "run").iterdir())
    again = graph(tmp_path / "run", **stopping).fit(task(), valid=0.25, seed=3)
    same(again, first)
    assert again.trained().best_epoch == first.trained().best_epoch
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == files


def test_of_two_folders_the_run_goes_on_from_the_one_that_is_further(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    both = [
        callback("checkpoint", path=str(one), keep=1),
        callback("checkpoint", path=str(other), every=2),
    ]

    def fail(run):
        if run.epoch == 4:
            raise OSError("the power is gone")

    def saved(*more, **options):
        trainer = {"epochs": 5, "batch_size": 16, "progress": False, **options}
        network = nn("linear", 3) >> nn("dropout") >> nn("head")
        callbacks = po("torch_callbacks", [*both, *more])
        return network >> callbacks >> po("torch_model", **trainer)

    with pytest.raises(OSError, match="power"):
        saved(Functions(on_batch_end=fail)).fit(task(), seed=1)
    assert [path.name for path in checkpoints(one)] == ["epoch-000003.ckpt"]
    assert [path.name for path in checkpoints(other)] == ["epoch-000002.ckpt"]
    assert newest_of([other, one, tmp_path / "none"]) == one
    found = saved(resume=True).fit(task(), seed=1)
    assert [path.name for path in checkpoints(other)][-1] == "epoch-000005.ckpt"
    both = []
    whole = saved().fit(task(), seed=1)
    same(found, whole)


def test_what_every_other_callback_remembers_is_in_the_checkpoint(tmp_path):
    class Count(Callback):
        weight: float = float("inf")

        def start(self, run):
            return []

        def on_epoch_end(self, run, state):
            state.append(run.epoch)
            seen[:] = state

    def fail(run):
        if run.epoch == 3:
            raise OSError("the power is gone")

    def saved(*more):
        saving = callback("checkpoint", path=str(tmp_path / "run"))
        callbacks = po("torch_callbacks", [saving, Count(), *more])
        return nn("head") >> callbacks >> po("torch_model", epochs=5, resume=True, progress=False)

    seen = []
    with pytest.raises(OSError, match="power"):
        saved(Functions(on_batch_end=fail)).fit(task(), seed=1)
    saved().fit(task(), seed=1)
    assert seen == [1, 2, 3, 4, 5]


def small(path: object, *more, loss=None, optimizer=None, resume: bool | str = True, **options):
    """A graph that saves each epoch, in parts."""
    parts = [po("torch_loss", loss) if loss else None, optimizer]
    callbacks = [callback("checkpoint", path=path), *more]
    network = nn("linear", 4) >> nn("head")
    trainer = {"epochs": 2, "batch_size": 16, "progress": False, "resume": resume, **options}
    for part in filter(None, parts):
        network = network >> part
    return network >> po("torch_callbacks", callbacks) >> po("torch_model", **trainer)


def test_rates_and_memories_may_be_numbers_of_numpy(tmp_path):
    class Watching(Callback):
        def start(self, run):
            return {"best": np.float32(0)}

        def on_epoch_end(self, run, state):
            state["best"] = np.mean([state["best"], 1.0])
            run.scores["mine"] = np.float64(0.5)

    schedule = callback("lr_lambda", lr_lambda=lambda epoch: np.exp(-epoch))
    saving = [schedule, Watching()]
    first = small(tmp_path / "run", *saving, epochs=2).fit(task(), seed=1)
    more = small(tmp_path / "run", *saving, epochs=3).fit(task(), seed=1)
    assert more.history.slice(0, 2).equals(first.history)
    same(more, small(tmp_path / "whole", *saving, epochs=3).fit(task(), seed=1))


def test_a_memory_may_be_a_number_a_string_or_a_tuple(tmp_path):
    class Noting(Callback):
        what: object = None

        def start(self, run):
            return self.what

    for place, what in enumerate([0.5, "a", (1, [2.0])]):
        graph_ = small(tmp_path / str(place), Noting(what=what), epochs=1)
        fitted = graph_.fit(task(), seed=1)
        fitted.continue_(task(), epochs=np.int64(1))
        longer = graph_.with_params(torch_model__epochs=2).fit(task(), seed=1)
        kept = longer.trained().callbacks["noting"]
        assert kept == (list(what) if isinstance(what, tuple) else what)


def squared(factor: float):
    return lambda output, target: factor * (output - target).square().mean(1)


def test_another_function_of_the_same_name_is_another_loss(tmp_path):
    small(tmp_path / "run", loss=squared(1.0), epochs=1).fit(task(), seed=1)
    small(tmp_path / "run", loss=squared(1.0)).fit(task(), seed=1)
    with pytest.raises(StateError, match="'loss' differ"):
        small(tmp_path / "run", loss=squared(2.0), epochs=3).fit(task(), seed=1)


def test_another_function_of_the_same_name_is_another_optimizer(tmp_path):
    def sgd(momentum: float):
        return po("torch_optimizer", lambda p: torch.optim.SGD(p, lr=0.1, momentum=momentum))

    small(tmp_path / "run", optimizer=sgd(0.0), epochs=1).fit(task(), seed=1)
    with pytest.raises(StateError, match="'optimizer' differ"):
        small(tmp_path / "run", optimizer=sgd(0.9)).fit(task(), seed=1)


def test_a_run_that_was_stopped_goes_on_with_more_patience(tmp_path):
    class Never(Callback):
        def on_valid_end(self, run, state):
            run.scores["valid_loss"] = 1.0

    def patient(patience: int, epochs: int = 6):
        options = {"patience": patience, "epochs": epochs, "monitor": "loss"}
        return small(tmp_path / "run", Never(), **options).fit(task(), valid=0.25, seed=1)

    assert patient(1).history.num_rows == 2
    assert patient(1).history.num_rows == 2
    assert patient(3).history.num_rows == 4
    assert patient(9).history.num_rows == 6


def test_a_run_that_was_stopped_goes_on_with_more_time(tmp_path):
    def limited(seconds: float):
        return small(tmp_path / "run", callback("time_limit", seconds=seconds)).fit(task(), seed=1)

    assert limited(0.0).history.num_rows == 1
    assert limited(3600.0).history.num_rows == 2


def test_the_seed_that_was_drawn_is_told_where_it_is_needed(tmp_path):
    first = small(tmp_path / "run", epochs=1).fit(task(), valid=0.25)
    with pytest.raises(StateError, match="'seed'") as caught:
        small(tmp_path / "run").fit(task(), valid=0.25)
    assert f"graph.fit(task, seed={first.seed})" in caught.value.mend
    assert small(tmp_path / "run").fit(task(), valid=0.25, seed=first.seed).history.num_rows == 2


@pytest.mark.parametrize("end", ["/", "/.", "//"])
def test_a_folder_may_be_written_in_several_ways(end, tmp_path):
    path = tmp_path / "run"
    small(path, epochs=1).fit(task(), seed=1)
    assert small(path, resume=f"{path}{end}").fit(task(), seed=1).history.num_rows == 2
    assert small(f"{path}{end}", resume=path, epochs=3).fit(task(), seed=1).history.num_rows == 3


@pytest.mark.parametrize("path", [None, 3, lambda: "runs"])
def test_the_path_of_checkpoints_is_a_path(path):
    with pytest.raises(ConfigError, match="path"):
        callback("checkpoint", path=path)


def test_a_fit_of_no_epochs_has_an_empty_history_by_epoch(tmp_path):
    history = small(tmp_path / "run", epochs=0, resume=None).fit(task(), seed=1).history
    assert history["epoch"].to_pylist() == []


def test_metrics_without_validation_data_are_noted_by_the_check(tmp_path):
    scored = small(tmp_path / "run", metrics="mae", resume=None)
    assert "'mae' will not be scored" in str(scored.check(task()))
    assert "will not be scored" not in str(scored.check(task(), valid=0.25))
    assert scored.fit(task(), seed=1).history.column_names == ["epoch", "train_loss"]


@pytest.mark.parametrize("monitor", ["valid_maee", "mae", "train_mae"])
def test_a_score_that_no_epoch_will_have_is_refused_by_check(monitor, tmp_path):
    watching = callback("early_stopping", monitor=monitor, greater_is_better=False)
    graph_ = small(tmp_path / "run", watching, metrics="mae", resume=None)
    with pytest.raises(ConfigError, match=f"no score '{monitor}' to monitor"):
        graph_.check(task(), valid=0.25)

    class Adding(Callback):
        def on_valid_end(self, run, state):
            run.scores[monitor] = 1.0

    small(tmp_path / "run", watching, Adding(), metrics="mae").fit(task(), valid=0.25, seed=1)


@pytest.mark.parametrize("role", ["weight", "group"])
def test_going_on_with_a_role_that_would_be_lost_is_refused(role, tmp_path):
    fitted = small(tmp_path / "run", resume=None, epochs=1).fit(task(), seed=1)
    columns = {**task().to_pandas().to_dict("list"), "r": np.arange(90)}
    with pytest.raises(DataError, match="'r' would be lost"):
        fitted.continue_(Task(columns, target="y", **{role: "r"}), epochs=1)


def test_options_of_a_loss_that_do_not_fit_are_found_by_check():
    data = Task({"x": [1.0, 2.0, 3.0], "y": ["a", "b", "c"]}, target="y")
    loss = po("torch_loss", "cross_entropy", weight=[1.0, 2.0])
    with pytest.raises(ConfigError, match="do not fit the task") as caught:
        (nn("head") >> loss >> po("torch_model")).check(data)
    assert caught.value.why == "'weight' has 2 numbers, and the task 3 classes"


def test_equal_fits_are_equal_wherever_they_are_saved(tmp_path):
    def ended(place: str):
        log = callback("csv_log", path=tmp_path / f"{place}.csv")
        graph_ = small(tmp_path / place, log, callback("ema", decay=0.9), resume=None)
        return graph_.fit(task(), seed=1).trained().ended["callbacks"]

    one, other = ended("one"), ended("other")
    assert {id: found["is"] for id, found in one.items()} == {
        id: found["is"] for id, found in other.items()
    }
    assert one["ema"]["is"] and not one["checkpoint"]["is"]
