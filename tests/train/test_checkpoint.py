"""A run that was ended and goes on is the run that never ended, bit for bit."""

from __future__ import annotations

import errno
import itertools
import os
import random
import stat
import tempfile
import time
from contextlib import contextmanager
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

    def on_batch_begin(self, run, state):
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
    saving = {name: given.get(name) for name in ("every", "batches", "keep")}
    callbacks = [Draws(), Checkpoint(path=path, **saving), *given.get("more", ())]
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
            validation=Validation(batches=data(6, 1), scorer=lambda output, kept: {}),
            identity=given["identity"],
        )
        source = given.get("resume_from", path if resume else None)
        saved = None if source is None else latest(source)
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


# Hostile folders


def truncations() -> list[float]:
    return [0.0, 0.001, 0.5, 0.9, 0.9999]


@pytest.mark.parametrize("part", truncations())
def test_a_file_cut_anywhere_is_passed_over_and_the_run_ends_the_same(part, tmp_path):
    whole = fitted(tmp_path / "whole")
    with pytest.raises(Crash):
        fitted(tmp_path / "cut", crash=14)
    newest = checkpoints(tmp_path / "cut")[-1]
    content = newest.read_bytes()
    newest.write_bytes(content[: min(int(len(content) * part), len(content) - 1)])
    with pytest.warns(UserWarning, match=newest.name):
        same(fitted(tmp_path / "cut", resume=True), whole)


def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path):
    fitted(tmp_path, epochs=1, batches=None)
    (path,) = checkpoints(tmp_path)
    good, run = path.read_bytes(), read(path)["run"]
    weight = run["network"]["0.weight"].numpy().tobytes()
    place = good.index(weight) + 5
    path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    with pytest.raises(StateError, match="cannot be read"):
        read(path)


def test_a_file_that_says_too_little_is_passed_over(tmp_path):
    fitted(tmp_path, epochs=1, batches=None)
    write(tmp_path / "epoch-000002.ckpt", {"format": 1})
    with pytest.warns(UserWarning, match="epoch-000002"):
        assert latest(tmp_path)["run"]["epoch"] == 1


def test_a_damaged_file_is_no_reason_to_remove_good_ones(tmp_path):
    whole = fitted(tmp_path / "whole")
    with pytest.raises(Crash):
        fitted(tmp_path / "run", crash=17, batches=None)
    newest = checkpoints(tmp_path / "run")[-1]
    assert newest.name == "epoch-000003.ckpt"
    newest.write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(Crash):
        fitted(tmp_path / "run", crash=13, resume=True, keep=1)
    with pytest.warns(UserWarning, match="epoch-000003"):
        assert latest(tmp_path / "run")["run"]["global_step"] == 12
    with pytest.warns(UserWarning):
        same(fitted(tmp_path / "run", resume=True, keep=1), whole)
    assert [p.name for p in checkpoints(tmp_path / "run")] == ["epoch-000004.ckpt"]


def test_what_a_killed_process_left_is_removed_once_something_better_is_there(tmp_path):
    draft = tmp_path / ".epoch-000001.ckpt.0123456789ab.tmp"
    draft.write_bytes(b"half")
    with pytest.warns(UserWarning, match="incomplete"):
        assert latest(tmp_path) is None
    assert draft.exists()
    fitted(tmp_path, epochs=1, batches=None)
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-000001.ckpt"]


@pytest.mark.parametrize("name", ["thesis.tmp", ".thesis.tmp", "epoch-1.ckpt", "epoch-000001.pt"])
def test_what_is_not_ours_is_neither_removed_nor_passed_over(name, tmp_path):
    (tmp_path / name).write_text("chapter 1")
    with pytest.raises(StateError, match=name):
        fitted(tmp_path)
    with pytest.raises(StateError, match=name):
        latest(tmp_path)
    assert (tmp_path / name).read_text() == "chapter 1"


def test_a_folder_called_like_a_checkpoint_is_not_ours(tmp_path):
    (tmp_path / "epoch-000001.ckpt").mkdir()
    with pytest.raises(StateError, match="no folder for checkpoints"):
        fitted(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="no folder"):
        fitted(tmp_path / "file")
    with pytest.raises(StateError, match="No checkpoints can be written"):
        fitted(tmp_path / "file" / "below")


class Meanwhile(Callback):
    """Another process that writes into the same folder, at the end of an epoch."""

    weight: float = 10.0
    path: str
    epoch: int = 2

    def on_epoch_end(self, run, state):
        if run.epoch == self.epoch:
            write(Path(self.path), {"format": 1, "of": "another"})


@pytest.mark.parametrize("resume", [False, True])
def test_two_runs_in_one_folder_do_not_overwrite_each_other(resume, tmp_path):
    if resume:
        fitted(tmp_path, epochs=1, batches=None)
    other = tmp_path / "epoch-000002.ckpt"
    with pytest.raises(StateError, match="meanwhile"):
        fitted(tmp_path, resume=resume, batches=None, more=[Meanwhile(path=str(other))])
    assert torch.load(other, weights_only=True)["of"] == "another"
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")] == []


def test_going_on_from_one_folder_is_no_leave_to_write_over_another(tmp_path):
    fitted(tmp_path / "one", epochs=2, batches=None)
    fitted(tmp_path / "other", epochs=3, batches=None)
    before = {p: p.read_bytes() for p in checkpoints(tmp_path / "other")}
    with pytest.raises(StateError, match="another run"):
        fitted(tmp_path / "other", resume_from=tmp_path / "one")
    assert {p: p.read_bytes() for p in checkpoints(tmp_path / "other")} == before
    same(
        fitted(tmp_path / "third", resume_from=tmp_path / "one"),
        fitted(tmp_path / "whole", batches=None),
    )


def test_a_folder_may_be_named_in_two_ways(tmp_path, monkeypatch):
    fitted(tmp_path / "one", epochs=2, batches=None)
    monkeypatch.chdir(tmp_path)
    fitted(tmp_path / "one", resume_from=Path("one/../one"), batches=None)
    assert len(checkpoints(tmp_path / "one")) == 4


@pytest.fixture
def read_only(monkeypatch):
    """A folder that others may read; a superuser, who may write anywhere, is not one meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        superuser = hasattr(os, "seteuid") and os.geteuid() == 0
        if superuser:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if superuser:
                os.seteuid(0)
            os.chmod(name, 0o755)


def test_a_folder_that_can_only_be_read_is_refused_before_training(read_only):
    with pytest.raises(StateError, match="No checkpoints can be written") as caught:
        fitted(read_only, more=[CrashAt(batch=1)])
    assert "PermissionError" in str(caught.value)


# A full disk


@contextmanager
def disk_of(size: int):
    """Files may be so long and no longer: writing on fails as on a full disk, midway."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_disk_that_is_full_within_a_file_leaves_the_files_before(part, tmp_path):
    whole = fitted(tmp_path / "whole")
    folder = tmp_path / "run"
    with pytest.raises(Crash):
        fitted(folder, crash=8)
    before = {p: p.read_bytes() for p in folder.iterdir()}
    size = len(before[checkpoints(folder)[-1]])
    with disk_of(int(size * part)), pytest.raises(OSError) as caught:
        fitted(folder, resume=True)
    assert caught.value.errno == errno.EFBIG
    assert "epoch-000001-batch-00000003.ckpt" in caught.value.__notes__[0]
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    same(fitted(folder, resume=True), whole)


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
@pytest.mark.parametrize("file", [1, 4])
def test_whatever_fails_at_any_file_leaves_the_files_before(call, file, tmp_path):
    whole = fitted(tmp_path / "whole", batches=None)
    folder, count = tmp_path / "run", itertools.count(1)
    real = getattr(os, call)

    def failing(*arguments):
        # Of each file, fsync is called for itself and for its folder.
        at = next(count)
        if (at + 1) / 2 == file if call == "fsync" else at == file:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, failing)
        if call == "replace":  # it is asked only where files cannot be linked
            patch.setattr(os, "link", no_links)
        if call == "link":  # and a file that cannot be linked can be renamed
            same(fitted(folder, batches=None), whole)
            return
        with pytest.raises(OSError, match="No space left"):
            fitted(folder, batches=None)
    assert len(list(folder.iterdir())) == file - 1
    same(fitted(folder, batches=None, resume=True), whole)


def no_links(*arguments):
    raise OSError(errno.EPERM, "Operation not permitted")


def test_without_links_another_runs_file_is_not_overwritten_either(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(StateError, match="meanwhile"):
        fitted(tmp_path, batches=None, more=[Meanwhile(path=str(tmp_path / "epoch-000002.ckpt"))])


def test_a_folder_that_cannot_be_synchronised_is_good_enough(tmp_path, monkeypatch):
    real = os.fsync

    def files_only(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", files_only)
    fitted(tmp_path, batches=None)
    assert len(checkpoints(tmp_path)) == 4


# Clocks, and counting


def test_the_latest_is_told_by_its_name_and_not_by_the_clock(tmp_path):
    fitted(tmp_path, epochs=3)
    for age, path in enumerate(checkpoints(tmp_path)):
        os.utime(path, (2e9 - 1e6 * age,) * 2)
    assert latest(tmp_path)["run"]["epoch"] == 3


def test_files_are_ordered_as_numbers(tmp_path):
    names = ["epoch-1000000.ckpt", "epoch-999999.ckpt", "epoch-000010.ckpt", "epoch-000002.ckpt"]
    names += ["epoch-000002-batch-00000010.ckpt", "epoch-000002-batch-00000009.ckpt"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    found = [p.name for p in checkpoints(tmp_path)]
    assert found == [names[i] for i in (3, 5, 4, 2, 1, 0)]


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    whole = fitted(tmp_path / "whole")
    jumps = itertools.cycle([2e9, 0.0, 1e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    with pytest.raises(Crash):
        fitted(tmp_path / "run", crash=9)
    same(fitted(tmp_path / "run", resume=True), whole)


@pytest.mark.parametrize(
    ("batches", "accumulate", "saved"),
    [(1, 1, [1, 2, 3, 4]), (2, 1, [2, 4]), (1, 2, [2, 4]), (3, 2, [4]), (2, 3, [3]), (4, 3, [])],
)
def test_batches_are_counted_up_to_the_step_they_belong_to(batches, accumulate, saved, tmp_path):
    fitted(tmp_path, epochs=1, batches=batches, accumulate=accumulate)
    names = [p.name for p in checkpoints(tmp_path)]
    within = [f"epoch-000000-batch-{step:08d}.ckpt" for step in saved]
    assert names == [*within, "epoch-000001.ckpt"]


@pytest.mark.parametrize("accumulate", [2, 3, 4])
@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_run_of_several_batches_a_step_is_resumed(batches, accumulate, tmp_path):
    given = {"batches": batches, "accumulate": accumulate}
    whole = fitted(tmp_path / "whole", **given)
    with pytest.raises(Crash):
        fitted(tmp_path / "run", crash=9, **given)
    same(fitted(tmp_path / "run", resume=True, **given), whole)


class StopsNow(Callback):
    """Ends the run within an epoch."""

    batch: int

    def on_batch_end(self, run, state):
        if run.global_step == self.batch:
            run.stop_now("enough")


class CrashesInTheEnd(Callback):
    weight: float = 10.0

    def on_valid_begin(self, run, state):
        if run.is_halted:
            raise Crash


def test_a_run_that_is_ended_within_an_epoch_ends_at_the_same_batch_when_resumed(tmp_path):
    whole = fitted(tmp_path / "whole", more=[StopsNow(batch=8)])
    assert (whole.global_step, whole.epoch) == (8, 2)
    with pytest.raises(Crash):
        fitted(tmp_path / "run", more=[StopsNow(batch=8), CrashesInTheEnd()])
    same(fitted(tmp_path / "run", resume=True, more=[StopsNow(batch=8)]), whole)
    same(fitted(tmp_path / "whole", resume=True, more=[StopsNow(batch=8)]), whole)


def test_a_finished_run_is_resumed_from_any_of_its_files(tmp_path):
    whole = fitted(tmp_path / "run")
    files = {path: path.read_bytes() for path in checkpoints(tmp_path / "run")}
    for last in range(1, len(files) + 1):
        folder = tmp_path / f"first_{last}"
        folder.mkdir()
        for path in list(files)[:last]:
            (folder / path.name).write_bytes(files[path])
        same(fitted(folder, resume=True), whole)
        assert {p.name for p in checkpoints(folder)} == {p.name for p in files}
