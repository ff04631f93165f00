"""Checkpoints: files from which a run goes on as if it had never ended.

A file appears whole or not at all: it is written under another name, flushed to the disk, and
renamed. It holds plain data and tensors and is read as such; nothing in it is executed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from mlgraph.core.files import DRAFT, replacing
from mlgraph.core.param import param
from mlgraph.core.value import canonical, digest
from mlgraph.data.batch import TensorBatches
from mlgraph.errors import ConfigError, StateError, listing
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.train.callback import Callback
from mlgraph.train.run import Run
from mlgraph.train.snapshot import put_back, taken

FORMAT = 2
_NAME = re.compile(r"epoch-(\d{6})(?:-batch-(\d{8}))?\.ckpt")


class Checkpoint(Callback):
    """Save the run after every so many epochs, and after the last.

    Args:
        path: The folder; made if it is not there. One that holds the checkpoints of another run
            is refused, unless this run goes on from them (``resume=True`` of ``torch_model``).
        every: Save after every so many epochs.
        batches: Save within an epoch too, after every so many batches.
        keep: Keep so many files, the latest; None keeps all.

    Raises:
        StateError: The folder holds checkpoints of another run, or something else.

    >>> Checkpoint(path="runs/one", keep=2)
    callback("checkpoint", path='runs/one', keep=2)
    """

    path: str = param(convert=str)
    every: int = param(default=1, lower=1)
    batches: int | None = param(default=None, lower=1)
    keep: int | None = param(default=None, lower=1)
    weight: float = float("inf")  # what the others remember of this epoch is saved, too

    def on_train_begin(self, run: Any, state: None) -> None:
        """Make the folder, and refuse that of another run."""
        folder = Path(self.path)
        _refuse_alien(folder)
        if checkpoints(folder) and (not run.is_resumed or self._would_overwrite(run)):
            raise StateError(
                f"{self.path!r} holds the checkpoints of another run.",
                why=f"the latest is {checkpoints(folder)[-1].name!r}",
                mend="go on from it with resume=True, or choose another folder",
            )
        folder.mkdir(parents=True, exist_ok=True)

    def _would_overwrite(self, run: Any) -> bool:
        """Whether the fit that goes on has gone on before."""
        return bool(run.is_continued and _epoch(checkpoints(Path(self.path))[-1]) > run.epoch)

    def on_batch_end(self, run: Any, state: None) -> None:
        """Save within an epoch, where the optimizer has made its step."""
        last = run.step == run.steps_per_epoch
        if self.batches and run.step % self.batches == 0 and run.has_updated and not last:
            self._save(run, f"epoch-{run.epoch - 1:06d}-batch-{run.step:08d}.ckpt")

    def on_epoch_end(self, run: Any, state: None) -> None:
        """Save after an epoch."""
        if run.epoch % self.every == 0 or run.epoch == run.epochs or run.stopped:
            self._save(run, f"epoch-{run.epoch:06d}.ckpt")

    def _save(self, run: Any, name: str) -> None:
        folder = Path(self.path)
        write(folder / name, {"format": FORMAT, "identity": dict(run.identity), "run": taken(run)})
        if self.keep is not None:
            for old in checkpoints(folder)[: -self.keep]:
                old.unlink()


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint; the file is there in full or not at all."""
    with replacing(path) as file:
        torch.save(dict(content), file)


def read(path: Path) -> dict[str, Any]:
    """What a checkpoint holds: plain data and tensors.

    Raises:
        StateError: It is damaged, or of a later format.
    """
    try:
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
    return found


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a folder, the oldest first.

    >>> checkpoints(Path("nowhere"))
    []
    """
    if not folder.is_dir():
        return []
    found = [(m, path) for path in folder.iterdir() if (m := _NAME.fullmatch(path.name))]
    order = sorted(found, key=lambda pair: (int(pair[0][1]), int(pair[0][2] or 0)))
    return [path for _, path in order]


def _epoch(path: Path) -> int:
    return int(path.name.removeprefix("epoch-")[:6])


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
        StateError: None of its checkpoints can be read.
    """
    for part in sorted(folder.glob(f".*{DRAFT}")):
        warnings.warn(f"{part.name!r} is incomplete, and is not used.", stacklevel=2)
    files = checkpoints(existing(folder))
    for path in reversed(files):
        try:
            return read(path)
        except StateError as error:
            warnings.warn(f"{error.what} It is not used.", stacklevel=2)
    if files:
        raise StateError(f"No checkpoint in {str(folder)!r} can be read.", mend="start afresh")
    return None


def identity(run: Run, descriptor: ModelDescriptor, loss: Any, optimizer: Any) -> dict[str, str]:
    """What must be equal for one run to go on where another was saved, as short texts."""
    tokens = [descriptor.tokens[id] for id in sorted(descriptor.tokens)]
    plan = run.plan
    valid = None if run.validation is None else _content(run.validation.batches)
    return {
        "network": digest(canonical(tokens), *(call.digest for call in descriptor.reachable())),
        "loss": repr(loss),
        "class weights": _digest(run.objective.state_dict().values()),
        "optimizer": repr(optimizer),
        "seed": str(run.seed),
        "batches": f"{run.batches.size} rows, shuffle={plan.shuffle}, accumulate={plan.accumulate}"
        f", drop_last={run.batches.drop_last}",
        "sampler": "none" if run.sampling is None else _named(run.sampling.sampler),
        "eval_freq": str(plan.eval_freq),
        "data": _content(run.batches),
        "validation data": str(valid),
    }


def _named(sampler: Any) -> str:
    """A sampler in words, and all of it as a digest: two functions may have one name."""
    return f"{sampler!r} {digest(canonical(sampler))[:8]}"


def _content(batches: TensorBatches) -> str:
    """Digest of tensors; of their numbers, not of where they come from."""
    tensors = (*batches.inputs, batches.target, batches.weights)
    return _digest(tensor for tensor in tensors if tensor is not None)


def _digest(tensors: Iterable[torch.Tensor]) -> str:
    parts: list[bytes | str] = []
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        parts += [f"{tensor.dtype} {tuple(tensor.shape)}", flat.view(torch.uint8).numpy().tobytes()]
    return digest(*parts)


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
            mend="use what that run used, or start afresh in another folder",
        )
    if saved["run"]["epoch"] > run.epochs:
        raise StateError(
            f"The checkpoint is of epoch {saved['run']['epoch']}, and epochs={run.epochs}.",
            why="epochs is the total, those before the checkpoint included",
            mend="train for more epochs",
        )
    put_back(run, saved["run"])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_alien(folder: Path) -> None:
    if not folder.exists():
        return
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else [folder.name]
    alien = [n for n in names if not _NAME.fullmatch(n) and not n.endswith(DRAFT)]
    if alien:
        raise StateError(
            f"{str(folder)!r} is no folder for checkpoints.",
            why=f"it holds {listing(alien)}",
            mend="choose an empty folder, or one that is not there yet",
        )
