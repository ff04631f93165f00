"""Logs: a line per epoch, also when a run is killed and resumed."""

import csv
import json
import math

import pytest

from mlgraph import ConfigError
from mlgraph.train.callback import ordered
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback
from mlgraph.train.loop import train
from mlgraph.train.memory import load_state_dict, state_dict

KEYS = ["csv_log", "jsonl_log"]


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            return [
                {name: float(value) for name, value in row.items() if value != ""}
                for row in csv.DictReader(file)
            ]
        return [json.loads(line) for line in file]


@pytest.fixture(params=KEYS)
def log(request, tmp_path):
    """A callback that logs, and its file."""
    path = tmp_path / "folder" / f"log.{request.param.removesuffix('_log')}"
    return callback(request.param, path=path), path


def test_each_epoch_has_a_line_with_its_scores(make_run, log):
    chosen, path = log
    run = train(make_run(), [chosen])
    assert rows(path) == run.history
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4]


def test_the_line_is_there_at_the_end_of_its_epoch(make_run, log):
    chosen, path = log
    seen = []
    look = Functions(on_epoch_end=lambda run: seen.append(len(rows(path))))
    train(make_run(), ordered([chosen, look]))
    assert seen == [1, 2, 3, 4]


def test_scores_that_some_epochs_do_not_have_are_missing_there(make_run, log):
    chosen, path = log
    run = train(make_run(epochs=5, eval_freq=2), [chosen])
    assert rows(path) == run.history
    assert ["valid_loss" in row for row in rows(path)] == [False, True, False, True, True]


def test_the_file_of_another_run_is_not_lost(make_run, log):
    chosen, path = log
    train(make_run(), [chosen])
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="is the log of another run") as caught:
        train(make_run(), [chosen])
    assert "overwrite=True" in caught.value.mend
    assert path.read_bytes() == before
    train(make_run(epochs=2), [callback(chosen, overwrite=True)])
    assert len(rows(path)) == 2


def test_a_run_that_was_killed_and_resumed_leaves_no_gap_and_no_repetition(make_run, log):
    chosen, path = log
    saved = {}

    def save(run):
        if run.epoch == 2:
            name = next(iter(run.states))
            saved.update(state=state_dict(run.states[name]), history=list(run.history))
        if run.epoch == 3:
            raise KeyError("killed")

    with pytest.raises(KeyError):
        train(make_run(), ordered([chosen, Functions(on_epoch_end=save, weight=9)]))
    assert [row["epoch"] for row in rows(path)] == [1, 2, 3]

    def resume(run):
        run.epoch, run.history = 2, list(saved["history"])
        load_state_dict(next(iter(run.states.values())), saved["state"])

    run = train(make_run(), [chosen], resume)
    assert [row["epoch"] for row in rows(path)] == [1, 2, 3, 4]
    assert rows(path) == run.history
    assert not list(path.parent.glob(".*.tmp"))


def test_scores_that_are_not_finite_are_null_in_json(make_run, tmp_path):
    path = tmp_path / "log.jsonl"
    spoil = Functions(on_valid_end=lambda run: run.scores.update(valid_loss=math.nan))
    train(make_run(epochs=1), [spoil, callback("jsonl_log", path=str(path))])
    assert rows(path)[0]["valid_loss"] is None


def test_a_path_is_needed():
    with pytest.raises(ConfigError, match=r'callback\("csv_log"\) needs \'path\''):
        callback("csv_log")
    with pytest.raises(ConfigError, match="path=3"):
        callback("csv_log", path=3)


@pytest.mark.parametrize("key", ["csv_log", "jsonl_log"])
def test_a_log_from_before_the_first_checkpoint_begins_anew(make_run, key, tmp_path):
    log = callback(key, path=tmp_path / "log")
    train(make_run(epochs=1), [log])
    with pytest.raises(ConfigError, match="log of another run"):
        train(make_run(epochs=2), [log])
    run = make_run(epochs=2)
    run.may_resume = True
    train(run, [log])
    text = (tmp_path / "log").read_text()
    assert len(text.splitlines()) == 2 + (key == "csv_log")


@pytest.mark.parametrize("key", ["csv_log", "jsonl_log"])
def test_a_folder_is_no_log(make_run, key, tmp_path):
    with pytest.raises(ConfigError, match="is a folder, not a file") as caught:
        train(make_run(), [callback(key, path=tmp_path)])
    assert str(tmp_path / "log") in caught.value.mend
