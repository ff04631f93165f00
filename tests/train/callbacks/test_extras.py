"""What is written for TensorBoard and MLflow, as their writers are told."""

import sys

import pytest

from mlgraph import ConfigError
from mlgraph.train.callback import ordered
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback
from mlgraph.train.loop import train
from mlgraph.train.memory import load_state_dict, state_dict


@pytest.mark.parametrize(
    ("key", "params", "module"),
    [
        ("tensorboard", {"path": "runs"}, "torch.utils.tensorboard"),
        ("mlflow", {}, "mlflow.tracking"),
    ],
)
def test_a_missing_package_is_an_error_that_names_the_extra(
    make_run, monkeypatch, key, params, module
):
    monkeypatch.setitem(sys.modules, module, None)
    run = make_run()
    with pytest.raises(ConfigError, match="needs a package that is not installed") as caught:
        train(run, [callback(key, **params)])
    assert caught.value.mend == f'pip install "mlgraph[{key}]"'
    assert run.global_step == 0


# TensorBoard


def test_scores_are_written_per_epoch(make_run, extras, tmp_path):
    run = train(make_run(eval_freq=2), [callback("tensorboard", path=tmp_path / "runs")])
    (writer,) = extras.writers
    expected = [
        (name, value, row["epoch"])
        for row in run.history
        for name, value in row.items()
        if name != "epoch"
    ]
    assert writer.scalars == expected
    assert writer.closed and writer.purge_step is None


def test_losses_are_written_per_step_if_asked(make_run, extras, tmp_path):
    chosen = callback("tensorboard", path=tmp_path, log_train_loss=True)
    losses = []
    watch = Functions(on_batch_end=lambda run: losses.append(float(run.loss)))
    train(make_run(epochs=2), ordered([chosen, watch]))
    _, steps = extras.writers
    assert steps.path == str(tmp_path / "steps")
    assert steps.scalars == [("train_loss", loss, i + 1) for i, loss in enumerate(losses)]
    assert steps.closed


def test_a_resumed_run_drops_what_was_written_past_its_point(make_run, extras, tmp_path):
    chosen = callback("tensorboard", path=tmp_path, log_train_loss=True)
    run = train(make_run(epochs=2), [chosen])
    saved = state_dict(run.states["tensorboard"])
    rest = make_run(epochs=3)
    rest.history, rest.epoch, rest.global_step = run.history, 2, 6
    train(rest, [chosen], lambda run: load_state_dict(run.states["tensorboard"], saved))
    *_, epochs, steps = extras.writers
    assert (epochs.purge_step, steps.purge_step) == (3, 7)
    assert [step for *_, step in steps.scalars] == [7, 8, 9]


def test_the_folder_is_new_or_empty_or_has_event_files(make_run, extras, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    chosen = callback("tensorboard", path=tmp_path)
    with pytest.raises(ConfigError, match="is no folder of event files"):
        train(make_run(), [chosen])
    (tmp_path / "events.out.tfevents.1").write_text("")
    train(make_run(), [chosen])


def test_the_files_are_closed_after_an_exception(make_run, extras, tmp_path):
    def fail(run):
        raise KeyError("stop")

    with pytest.raises(KeyError):
        train(make_run(), [callback("tensorboard", path=tmp_path), Functions(on_batch_end=fail)])
    assert extras.writers[0].closed


# MLflow


def test_scores_are_written_to_a_run_of_the_experiment(make_run, extras):
    train(make_run(epochs=2), [callback("mlflow", experiment="penguins")])
    (client,) = extras.clients
    run = "run 1"
    assert client.calls == [
        ("create_run", "experiment penguins"),
        (run, "train_loss", 1),
        (run, "valid_loss", 1),
        (run, "train_loss", 2),
        (run, "valid_loss", 2),
        ("ended", run),
    ]


def test_a_resumed_run_goes_on_in_the_same_run(make_run, extras):
    chosen = callback("mlflow")
    run = train(make_run(epochs=2), [chosen])
    saved = state_dict(run.states["mlflow"])
    rest = make_run(epochs=3)
    rest.epoch = 2
    train(rest, [chosen], lambda run: load_state_dict(run.states["mlflow"], saved))
    assert extras.clients[-1].calls == [
        ("run 1", "train_loss", 3),
        ("run 1", "valid_loss", 3),
        ("ended", "run 1"),
    ]


def test_a_run_that_failed_is_ended_as_failed(make_run, extras):
    def fail(run):
        raise KeyError("stop")

    with pytest.raises(KeyError):
        train(make_run(), [callback("mlflow"), Functions(on_epoch_begin=fail)])
    assert ("ended", "run 1", "FAILED") in extras.clients[0].calls
    assert ("ended", "run 1") not in extras.clients[0].calls
