"""A run that was ended and goes on is the run that never ended, bit for bit."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from mlgraph import ConfigError, StateError
from mlgraph.data.batch import TensorBatches
from mlgraph.tensor.stream import forked
from mlgraph.train.callback import Callback
from mlgraph.train.checkpoint import Checkpoint, checkpoints, latest, read, resumed, write
from mlgraph.train.loop import train
from mlgraph.train.lossfn import ObjectiveFn
from mlgraph.train.run import Plan, Run, Validation
from mlgraph.train.snapshot import kept_streams, taken


class Crash(Exception):
    pass


class CrashAt(Callback):
    """Ends the process, so to speak, in a batch."""

    batch: int

    def on_after_backward(self, run, state):
        if run.global_step == self.batch:
            raise Crash


@attrs.define
class Drawn:
    numbers: list = attrs.field(factory=list)


class Draws(Callback):
    """Remembers numbers from all random streams."""

    def start(self, run):
        return Drawn()

    def on_batch_end(self, run, state):
        state.numbers.append([float(np.random.rand()), random.random(), float(torch.rand(()))])


def data(rows: int, seed: int) -> TensorBatches:
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, generator=draws)
    return TensorBatches((x,), x.sum(1, keepdim=True), None, size=4)


def fitted(path: Path, *, resume: bool = False, crash: int = 0, epochs: int = 4, **changes) -> Run:
    """A run with dropout, momentum, validation and a checkpoint after every batch."""
    given = {"every": 1, "batches": 1, "identity": {"seed": "5"}, "accumulate": 1, **changes}
    callbacks = [Draws(), Checkpoint(path=path, every=given["every"], batches=given["batches"])]
    callbacks += [CrashAt(batch=crash)] if crash else []
    with kept_streams(), forked(5):
        np.random.seed(1)
        random.seed(1)
        network = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1)
        )
        run = Run(
            network=network,
            objective=ObjectiveFn(nn.MSELoss(), nn.MSELoss(reduction="none")),
            optimizer=torch.optim.AdamW(network.parameters(), lr=0.01, fused=True),
            batches=data(18, 0),
            plan=Plan(epochs=epochs, accumulate=given["accumulate"]),
            seed=5,
            validation=Validation(batches=data(6, 1), scorer=lambda output: {}),
            identity=given["identity"],
        )
        saved = latest(path) if resume else None
        return train(run, callbacks, None if saved is None else partial(resumed, saved=saved))


def same(one: Run, other: Run) -> None:
    assert one.history == other.history
    assert one.states["draws"] == other.states["draws"]
    assert one.global_step == other.global_step and one.epoch == other.epoch
    for a, b in zip(
        one.network.state_dict().values(), other.network.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    for a, b in zip(
        *(r.optimizer.state_dict()["state"].values() for r in (one, other)), strict=True
    ):
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 6, 9, 13, 20])
def test_a_run_that_crashed_goes_on_as_if_it_had_not(batch, tmp_path):
    whole = fitted(tmp_path / "whole")
    with pytest.raises(Crash):
        fitted(tmp_path / "crashed", crash=batch)
    again = fitted(tmp_path / "crashed", resume=True)
    same(again, whole)
    assert again.is_resumed == (batch > 1)


def test_it_may_crash_many_times(tmp_path):
    for batch in (3, 7, 8, 14):
        with pytest.raises(Crash):
            fitted(tmp_path / "crashed", crash=batch, resume=(tmp_path / "crashed").exists())
    same(fitted(tmp_path / "crashed", resume=True), fitted(tmp_path / "whole"))


def test_between_epochs_fewer_files_will_do(tmp_path):
    with pytest.raises(Crash):
        fitted(tmp_path / "crashed", crash=17, batches=None, every=2)
    assert [p.name for p in checkpoints(tmp_path / "crashed")] == ["epoch-000002.ckpt"]
    same(fitted(tmp_path / "crashed", resume=True, batches=None), fitted(tmp_path / "whole"))


def test_steps_of_several_batches_are_saved_whole(tmp_path):
    with pytest.raises(Crash):
        fitted(tmp_path / "crashed", crash=9, accumulate=2)
    names = [p.name for p in checkpoints(tmp_path / "crashed")]
    assert names[:2] == ["epoch-000000-batch-00000002.ckpt", "epoch-000000-batch-00000004.ckpt"]
    again = fitted(tmp_path / "crashed", resume=True, accumulate=2)
    same(again, fitted(tmp_path / "whole", accumulate=2))


def test_more_epochs_continue_a_finished_run(tmp_path):
    fitted(tmp_path / "short", epochs=2)
    same(fitted(tmp_path / "short", epochs=4, resume=True), fitted(tmp_path / "whole"))


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = fitted(tmp_path / "run")
    files = {p: p.read_bytes() for p in checkpoints(tmp_path / "run")}
    again = fitted(tmp_path / "run", resume=True)
    same(again, first)
    assert {p: p.read_bytes() for p in checkpoints(tmp_path / "run")} == files


def test_the_streams_of_others_are_as_before(tmp_path):
    fitted(tmp_path / "run", epochs=1)
    before = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()
    fitted(tmp_path / "run", epochs=2, resume=True)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1] and torch.equal(torch.get_rng_state(), before[2])


def test_only_the_latest_are_kept_if_so_wished(tmp_path):
    run = fitted(tmp_path / "run", epochs=1)
    folder = tmp_path / "few"
    train(attrs.evolve(run, plan=Plan(epochs=5)), [Checkpoint(path=folder, keep=2)])
    assert [p.name for p in checkpoints(folder)] == ["epoch-000004.ckpt", "epoch-000005.ckpt"]


def test_incomplete_and_damaged_files_are_passed_over_with_a_warning(tmp_path):
    fitted(tmp_path, epochs=2, batches=None)
    newest = checkpoints(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    (tmp_path / ".epoch-000009.ckpt.0.tmp").write_bytes(b"half")
    with pytest.warns(UserWarning) as warned:
        found = latest(tmp_path)
    assert found["run"]["epoch"] == 1
    texts = [str(warning.message) for warning in warned]
    assert any(".epoch-000009.ckpt.0.tmp" in text for text in texts)
    assert any("epoch-000002.ckpt" in text for text in texts)


def test_a_folder_of_damaged_files_only_is_refused(tmp_path):
    (tmp_path / "epoch-000001.ckpt").write_bytes(b"nothing")
    with pytest.warns(UserWarning), pytest.raises(StateError, match="No checkpoint"):
        latest(tmp_path)


def test_an_empty_folder_begins_a_run_and_a_missing_one_is_refused(tmp_path):
    assert latest(tmp_path) is None
    with pytest.raises(ConfigError, match="no folder"):
        latest(tmp_path / "missing")


def test_another_runs_checkpoints_are_never_overwritten(tmp_path):
    fitted(tmp_path, epochs=1)
    files = {p: p.read_bytes() for p in checkpoints(tmp_path)}
    with pytest.raises(StateError, match="another run"):
        fitted(tmp_path, epochs=3)
    assert {p: p.read_bytes() for p in checkpoints(tmp_path)} == files


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    with pytest.raises(StateError, match="thesis"):
        fitted(tmp_path)


@pytest.mark.parametrize("identity", [{"seed": "6"}, {"seed": "5", "data": "x"}])
def test_what_differs_from_the_other_run_is_named(identity, tmp_path):
    fitted(tmp_path, epochs=1)
    with pytest.raises(StateError) as caught:
        fitted(tmp_path, epochs=2, resume=True, identity=identity)
    assert ("'seed'" if identity["seed"] == "6" else "'data'") in str(caught.value)


def test_fewer_epochs_than_were_trained_are_refused(tmp_path):
    fitted(tmp_path, epochs=3)
    with pytest.raises(StateError, match="epoch 3, and epochs=2"):
        fitted(tmp_path, epochs=2, resume=True)


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "epoch-000001.ckpt"
    write(path, {"format": 1, "number": 1})
    before = path.read_bytes()

    def broken(content, file):
        file.write(b"half a")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        write(path, {"format": 1, "number": 2})
    assert path.read_bytes() == before


def test_nothing_but_data_is_read(tmp_path):
    path = tmp_path / "epoch-000001.ckpt"
    torch.save({"format": 1, "run": nn.Linear(1, 1)}, path)
    with pytest.raises(StateError, match="cannot be read"):
        read(path)
    write(path, {"format": 99})
    with pytest.raises(StateError, match="another format"):
        read(path)


def test_a_snapshot_can_be_taken_at_any_time(tmp_path):
    assert taken(fitted(tmp_path, epochs=0))["epoch"] == 0
