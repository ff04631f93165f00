"""Checkpoints: files from which a run goes on as if it had never ended.

A file appears whole or not at all: it is written under another name, flushed to the disk, and
renamed. It holds plain data and tensors and is read as such; nothing in it is executed.
"""

from __future__ import annotations

import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import attrs
import torch

from mlgraph.core.files import DRAFT, as_path, creating, replacing
from mlgraph.core.param import param
from mlgraph.core.value import canonical, digest
from mlgraph.data.batch import tensor_digest
from mlgraph.errors import ConfigError, MLGraphError, StateError, listing
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.train.callback import Callback
from mlgraph.train.run import Run
from mlgraph.train.running import Running
from mlgraph.train.snapshot import content_of, is_steered_otherwise, put_back, taken

FORMAT = 2
_NAME = re.compile(r"epoch-(\d{6,})(?:-batch-(\d{8,}))?\.ckpt")
_DRAFT = re.compile(rf"\.{_NAME.pattern}\.\w+{re.escape(DRAFT)}")


@attrs.define(eq=False)
class Found:
    """What was in the folder when the run began, by name: only this may be written over.

    It is no part of what is saved: each process has its own.

    >>> Found().state_dict()
    {}
    """

    names: set[str] = attrs.field(factory=set)
    drafts: tuple[Path, ...] = ()

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, saved: Any) -> None:
        """Nothing is put back."""


class Checkpoint(Callback):
    """Save the run after every so many epochs, and after the last.

    Args:
        path: The folder; made if it is not there. One that holds the checkpoints of another run
            is refused, unless this run goes on from them (``resume=True`` of ``torch_model``).
        every: Save after every so many epochs.
        batches: Save within an epoch too, after every so many batches, once the step of the
            optimizer that they belong to is made.
        keep: Keep so many files, the latest; None keeps all.

    Raises:
        StateError: The folder holds checkpoints of another run, or something else, or nothing can
            be written there.

    >>> Checkpoint(path="runs/one", keep=2)
    callback("checkpoint", path='runs/one', keep=2)
    """

    writes = True
    is_last = True  # what the others remember of this epoch is saved, too

    path: str = param(convert=as_path)
    every: int = param(default=1, lower=1)
    batches: int | None = param(default=None, lower=1)
    keep: int | None = param(default=None, lower=1)

    def start(self, run: Running) -> Found:
        return Found()

    def on_train_begin(self, run: Any, state: Found) -> None:
        """Make the folder, and refuse that of another run, before any time is spent."""
        folder = Path(self.path)
        _refuse_alien(folder)
        found = checkpoints(folder)
        if found and not _is_of(folder, run, found[-1]):
            raise _of_another_run(folder, f"the latest is {found[-1].name!r}")
        _make(folder)
        state.names, state.drafts = {path.name for path in found}, tuple(_drafts(folder))

    def on_batch_end(self, run: Any, state: Found) -> None:
        """Save within an epoch, where the optimizer has made its step."""
        if self.batches is None or not run.has_updated:
            return
        before = (run.step - 1) // run.plan.accumulate * run.plan.accumulate
        is_due = run.step // self.batches > before // self.batches
        # What ends here is saved with its last evaluation.
        if is_due and run.step != run.steps_per_epoch and not run.is_halted:
            self._save(run, state, f"epoch-{run.epoch - 1:06d}-batch-{run.step:08d}.ckpt")

    def on_epoch_end(self, run: Any, state: Found) -> None:
        """Save after an epoch."""
        if run.epoch % self.every == 0 or run.epoch == run.epochs or run.stopped:
            self._save(run, state, f"epoch-{run.epoch:06d}.ckpt")

    def _save(self, run: Any, state: Found, name: str) -> None:
        folder = Path(self.path)
        content = {"format": FORMAT, "identity": dict(run.identity), "run": taken(run)}
        try:
            write(folder / name, content, replacing if name in state.names else creating)
        except FileExistsError:
            why = f"{name!r} was written by another process, meanwhile"
            raise _of_another_run(folder, why) from None
        except OSError as error:
            error.add_note(f"while {name!r} was written; those before it are complete")
            raise
        state.names.add(name)
        self._tidy(folder / name, state)

    def _tidy(self, newest: Path, state: Found) -> None:
        """Remove drafts of a process that was killed, and what is not kept."""
        files = checkpoints(newest.parent)
        # Later files are those that could not be read: they are no reason to remove good ones.
        good = files[: files.index(newest) + 1] if newest in files else []
        old = () if self.keep is None else good[: -self.keep]
        for path in (*state.drafts, *old):
            path.unlink(missing_ok=True)
        state.drafts = ()


def _is_of(folder: Path, run: Any, newest: Path) -> bool:
    """Whether a folder that holds checkpoints is that of this run."""
    if _is_same(folder, run.resumed_from):
        return True
    if _place(newest) > (run.epoch - bool(run.step), run.step):
        return False  # it has gone further
    # A fit goes on after its end; or, of several folders, a run goes on from one.
    is_ours = run.is_resumed and read(newest)["identity"] == dict(run.identity)
    return bool(run.is_continued or is_ours)


def write(
    path: Path,
    content: Mapping[str, Any],
    opening: Callable[[Path], AbstractContextManager[IO[bytes]]] = replacing,
) -> None:
    """Write a checkpoint; the file is there in full or not at all.

    Args:
        path: Where.
        content: Plain data and tensors.
        opening: ``replacing`` or ``creating``.

    Raises:
        OSError: The disk is full, for instance.
    """
    with opening(path) as file:
        try:
            torch.save(dict(content), file)
        except RuntimeError as error:
            # torch says of a full disk that it is at a wrong position in the file.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read(path: Path) -> dict[str, Any]:
    """What a checkpoint holds: plain data and tensors.

    Raises:
        StateError: It is damaged, or of a later format.
    """
    try:
        _check_sums(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise StateError(
            f"The checkpoint {path.name!r} cannot be read.",
            why=f"{type(error).__name__}: {str(error).splitlines()[0]}",
        ) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise StateError(
            f"The checkpoint {path.name!r} is of another format.",
            why=f"this version of mlgraph reads format {FORMAT}",
        )
    if not found.keys() >= {"identity", "run"}:
        raise StateError(f"The checkpoint {path.name!r} is not complete.")
    return found


def _check_sums(path: Path) -> None:
    """Refuse a file of which a byte has changed, which torch would read as it is."""
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise zipfile.BadZipFile(f"the content of {broken!r} has changed")


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a folder, the oldest first.

    >>> checkpoints(Path("nowhere"))
    []
    """
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file())
    return sorted((path for path in files if _NAME.fullmatch(path.name)), key=_place)


def newest_of(folders: Iterable[Path]) -> Path | None:
    """Of the folders that are there the one with the latest checkpoint; None if none is there.

    >>> newest_of([Path("nowhere")])
    """
    there = [folder for folder in folders if folder.exists()]
    return max(there, key=lambda folder: [*map(_place, checkpoints(folder))][-1:], default=None)


def _place(path: Path) -> tuple[int, int]:
    """The complete epochs of a checkpoint, and the batches after them."""
    found = _NAME.fullmatch(path.name)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def existing(folder: Path) -> Path:
    """The folder, if it is there.

    Raises:
        ConfigError: There is no such folder.

    >>> existing(Path("."))
    PosixPath('.')
    """
    if not folder.is_dir():
        raise ConfigError(
            f"There is no folder {str(folder)!r} to resume from.",
            mend='give the path of the callback "checkpoint"',
        )
    return folder


def latest(folder: Path) -> dict[str, Any] | None:
    """The latest checkpoint that can be read; None in an empty folder.

    One that is incomplete is passed over with a warning.

    Raises:
        ConfigError: There is no such folder.
        StateError: None of its checkpoints can be read, or it is no folder for checkpoints.
    """
    _refuse_alien(existing(folder))
    for part in _drafts(folder):
        warnings.warn(f"{part.name!r} is incomplete, and is not used.", stacklevel=2)
    files = checkpoints(folder)
    for path in reversed(files):
        try:
            return {**read(path), "folder": str(folder)}
        except StateError as error:
            warnings.warn(f"{error.what} It is not used ({error.why}).", stacklevel=2)
    if files:
        raise StateError(f"No checkpoint in {str(folder)!r} can be read.", mend="start afresh")
    return None


def identity(run: Run, descriptor: ModelDescriptor, loss: Any, optimizer: Any) -> dict[str, str]:
    """What must be equal for one run to go on where another was saved, as short texts."""
    tokens = [descriptor.tokens[id] for id in sorted(descriptor.tokens)]
    plan = run.plan
    valid = None if run.validation is None else run.validation.batches.fingerprint
    return {
        "network": digest(canonical(tokens), *(call.digest for call in descriptor.reachable())),
        "loss": _named(loss),
        "class weights": tensor_digest(run.objective.state_dict().values()),
        "optimizer": _named(optimizer),
        "seed": run.origin,
        "batches": f"{run.batches.size} rows, shuffle={plan.shuffle}, accumulate={plan.accumulate}"
        f", drop_last={run.batches.drop_last}",
        "sampler": "none" if run.sampling is None else _named(run.sampling.sampler),
        "eval_freq": str(plan.eval_freq),
        "precision": plan.precision,
        "data": run.batches.fingerprint,
        "validation data": str(valid),
    }


def _named(part: Any) -> str:
    """A part in words, and all of it as a digest: two functions may have one name."""
    return f"{part!r} {content_of(part)[:8]}".rstrip()


def resumed(run: Run, saved: Mapping[str, Any]) -> None:
    """Let a run go on where a checkpoint was written.

    Raises:
        StateError: It is of another run; names what differs.
    """
    now, then = run.identity, saved["identity"]
    different = [name for name in now if now[name] != then.get(name)]
    if different:
        changes = (
            f"{name} was {_short(then.get(name))} and is {_short(now[name])}" for name in different
        )
        raise StateError(
            f"The checkpoint is of another run: {listing(different)} differ.",
            why="; ".join(changes),
            mend=_same_seed(then["seed"])
            if "seed" in different
            else "use what that run used, or start afresh in another folder",
        )
    if saved["run"]["epoch"] > run.epochs:
        raise StateError(
            f"The checkpoint is of epoch {saved['run']['epoch']}, and epochs={run.epochs}.",
            why="epochs is the total, those before the checkpoint included",
            mend="train for more epochs",
        )
    try:
        put_back(run, saved["run"])
    except MLGraphError:
        raise
    except Exception as error:
        raise StateError(
            "The checkpoint does not fit the run.",
            why=f"{type(error).__name__}: {error}",
            mend="start afresh in another folder",
        ) from error
    if is_steered_otherwise(run, saved["run"]):
        run.stopped, run.is_halted = "", False  # what had stopped it decides again
    run.resumed_from = str(saved.get("folder", ""))


def _same_seed(origin: str) -> str:
    """What to do where the seed is not that of the saved run, or was drawn anew."""
    return f"write graph.fit(task, seed={origin.partition(' ')[0]}), or choose another folder"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_alien(folder: Path) -> None:
    if not folder.exists():
        return
    paths = folder.iterdir() if folder.is_dir() else [folder]
    known = (*checkpoints(folder), *_drafts(folder))
    alien = sorted(path.name for path in paths if path not in known)
    if alien:
        raise StateError(
            f"{str(folder)!r} is no folder for checkpoints.",
            why=f"it holds {listing(alien)}",
            mend="choose an empty folder, or one that is not there yet",
        )


def _drafts(folder: Path) -> list[Path]:
    """What was being written when a process was killed, or is just now."""
    return sorted(path for path in folder.glob(f".*{DRAFT}") if _DRAFT.fullmatch(path.name))


def _is_same(folder: Path, other: str) -> bool:
    return bool(other) and folder.resolve() == Path(other).resolve()


def _make(folder: Path) -> None:
    """Make the folder, and see whether files can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StateError(
            f"No checkpoints can be written to {str(folder)!r}.",
            why=f"{type(error).__name__}: {error.strerror}",
            mend="choose another folder",
        ) from error


def _of_another_run(folder: Path, why: str) -> StateError:
    return StateError(
        f"{str(folder)!r} holds the checkpoints of another run.",
        why=why,
        mend="go on from it with torch_model(resume=True, epochs=...), or choose another folder",
    )
