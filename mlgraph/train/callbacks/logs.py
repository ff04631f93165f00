"""Logs of the scores as files: CSV and JSON lines."""

from __future__ import annotations

import csv
import io
import json
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from mlgraph.core.files import as_path, replacing
from mlgraph.core.param import param
from mlgraph.errors import ConfigError
from mlgraph.train.callback import Callback
from mlgraph.train.running import Running

Row = Mapping[str, float]


@attrs.define
class Written:
    """Whether the log is this run's, and its columns.

    >>> Written().begun
    False
    """

    begun: bool = False
    columns: list[str] = attrs.field(factory=list)


class _Log(Callback):
    """Appends a line per epoch; a run that is resumed goes on without a gap or a repetition.

    With ``resume=`` of ``torch_model`` and no checkpoint yet, a file that is there begins anew.
    """

    writes = True

    path: str = param(convert=as_path)
    overwrite: bool = False

    @abstractmethod
    def text(self, rows: Sequence[Row], columns: Sequence[str], header: bool) -> str:
        """Rows as they are written."""

    def start(self, run: Running) -> Written:
        return Written()

    def on_train_begin(self, run: Running, state: Written) -> None:
        """Begin an empty file, or cut an earlier run's to the epochs that are resumed."""
        if not state.begun:
            if not run.may_resume:  # or it is what was written before the first checkpoint
                self._refuse_other_run()
            state.begun = True
        self._write(run.history, state)

    def on_epoch_end(self, run: Running, state: Written) -> None:
        """Write a line, or everything anew if there is a new column."""
        row = {"epoch": run.epoch, **run.scores}
        if not state.columns or set(row) - set(state.columns):
            before = [old for old in run.history if old["epoch"] < run.epoch]
            self._write([*before, row], state)
            return
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            file.write(self.text([row], state.columns, header=False))

    def _write(self, rows: Sequence[Row], state: Written) -> None:
        state.columns = list(dict.fromkeys(name for row in rows for name in row))
        text = self.text(rows, state.columns, header=bool(rows))
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as file:
            file.write(text.encode())

    def _refuse_other_run(self) -> None:
        path = Path(self.path)
        if path.is_dir() or not path.name:
            raise ConfigError(
                f"{self.path!r} is a folder, not a file.",
                where=repr(self),
                mend=f"write path={str(path / 'log')!r}",
            )
        if path.exists() and path.stat().st_size and not self.overwrite:
            raise ConfigError(
                f"{self.path!r} is the log of another run.",
                where=repr(self),
                mend="give another path, or overwrite=True",
            )


class CsvLog(_Log):
    r"""A line per epoch in a CSV file; a score an epoch does not have is empty.

    Args:
        path: The file; its folders are made.
        overwrite: Whether a file that is there may be lost.

    >>> CsvLog(path="log.csv").text([{"epoch": 1, "a": 0.5}], ["epoch", "a"], header=True)
    'epoch,a\n1,0.5\n'
    """

    def text(self, rows: Sequence[Row], columns: Sequence[str], header: bool) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()


class JsonlLog(_Log):
    r"""A line of JSON per epoch; a score that is not finite is null.

    Args:
        path: The file; its folders are made.
        overwrite: Whether a file that is there may be lost.

    >>> JsonlLog(path="log.jsonl").text([{"epoch": 1, "a": 0.5}], ["epoch", "a"], header=True)
    '{"epoch": 1, "a": 0.5}\n'
    """

    def text(self, rows: Sequence[Row], columns: Sequence[str], header: bool) -> str:
        return "".join(f"{json.dumps(_finite(row), allow_nan=False)}\n" for row in rows)


def _finite(row: Row) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in row.items()}
