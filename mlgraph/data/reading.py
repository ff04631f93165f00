"""Tables from files: CSV, Parquet and Arrow IPC, the last two mapped into memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.types as pat

from mlgraph.errors import DataError, did_you_mean


def read_path(path: Path) -> pa.Table:
    """The table in a file, whose ending says what it is.

    Raises:
        DataError: There is no such file, it has another ending, it is damaged, or not UTF-8.

    >>> read_path(Path("missing.csv"))
    Traceback (most recent call last):
    ...
    mlgraph.errors.DataError: There is no file missing.csv.
      mend:  give another path
    """
    read = _reader(path)
    if not path.is_file():
        near = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        raise DataError(
            f"There is no file {path}.", mend=did_you_mean(path.name, near) or "give another path"
        )
    try:
        return read(path)
    except pa.ArrowException as problem:
        raise DataError(
            f"The file {path} cannot be read as its ending says.",
            why=str(problem).splitlines()[0],
        ) from problem


def _reader(path: Path) -> Callable[[Path], pa.Table]:
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    packed = endings[-1:] in ([".gz"], [".bz2"])
    ending = endings[-2] if packed and len(endings) > 1 else (endings[-1] if endings else "")
    if ending not in _READERS or (packed and ending not in (".csv", ".tsv")):
        raise DataError(
            f"A Task cannot be made from a file called {path.name!r}.",
            why=f"the ending must be one of {', '.join(_READERS)}, or .csv.gz",
            mend="Read it with another library and pass the table.",
        )
    return _READERS[ending]


def _csv(path: Path, delimiter: str = ",") -> pa.Table:
    from pyarrow import csv

    # As pandas does: "NA" and the empty string are missing in columns of words, too.
    table = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(delimiter=delimiter),
        convert_options=csv.ConvertOptions(strings_can_be_null=True),
    )
    _check_encoding(path, table)
    return table


def _check_encoding(path: Path, table: pa.Table) -> None:
    """Raise if names or values are no UTF-8: Arrow takes such values for bytes."""
    try:
        names = table.column_names
    except UnicodeDecodeError as problem:
        raise _not_utf8(path, "the names of its columns are not") from problem
    for name, arrow in zip(names, table.schema.types, strict=True):
        if pat.is_binary(arrow):
            raise _not_utf8(path, f"the values of column {name!r} are not")


def _not_utf8(path: Path, why: str) -> DataError:
    return DataError(
        f"The file {path} is not UTF-8.",
        why=why,
        mend='Task(pd.read_csv(path, encoding="latin-1"), ...), or the encoding it has',
    )


def _tsv(path: Path) -> pa.Table:
    return _csv(path, "\t")


def _parquet(path: Path) -> pa.Table:
    from pyarrow import parquet

    return parquet.read_table(path, memory_map=True)


def _ipc(path: Path) -> pa.Table:
    source = pa.memory_map(str(path))
    try:
        return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source).read_all()


_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
    ".arrow": _ipc,
    ".feather": _ipc,
    ".ipc": _ipc,
}
