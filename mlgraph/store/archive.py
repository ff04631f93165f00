"""The container: one zip file, written at once or not at all, and read with suspicion.

Nothing in it is compressed, so what is read is never larger than the file. Every entry is checked
(name, kind, sizes, place) before the first one is read, and nothing is ever unpacked to disk.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import attrs

from mlgraph.errors import StateError

NAMES = re.compile(
    r"(manifest|graph|states)\.json|tensors\.safetensors"
    r"|tables/(0|[1-9][0-9]{0,5})\.arrow|objects/(0|[1-9][0-9]{0,5})\.skops"
)
MAX_BYTES = 16 * 2**30
CHUNK = 2**20
_DATE = (1980, 1, 1, 0, 0, 0)
_UTF8 = 0x800
# Bytes before the name and content of each entry.
_HEADER = 30
# Of the list of entries; it is read whole.
_MAX_INDEX = 2**24
_LISTED = 46


@attrs.frozen
class Entry:
    """The content of an entry to write: its size, and its bytes piece by piece.

    >>> Entry.of(b"ab").size
    2
    """

    size: int
    pieces: Iterable[Any]

    @classmethod
    def of(cls, data: bytes) -> Entry:
        """An entry of bytes at hand."""
        return cls(len(data), (data,))


def damaged(what: str, why: str = "", where: str = "", mend: str = "") -> StateError:
    """The error for a file that is not what it should be.

    >>> damaged("There is no graph in it.").what
    'The file cannot be loaded. There is no graph in it.'
    """
    return StateError(f"The file cannot be loaded. {what}", where=where, why=why, mend=mend)


# Writing


def pack(file: IO[bytes], entries: Mapping[str, Entry]) -> None:
    """Write entries as a zip; equal entries give equal bytes.

    Raises:
        StateError: There are more entries than can be read again.

    >>> file = io.BytesIO()
    >>> pack(file, {"graph.json": Entry.of(b"{}")})
    >>> zipfile.ZipFile(file).namelist()
    ['graph.json']
    """
    if sum(_LISTED + len(name) for name in entries) > _MAX_INDEX:
        raise StateError(
            f"There are too many parts to be saved: {len(entries):,}.",
            mend="keep what is learned of many columns in one array or table",
        )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            info.file_size = entries[name].size
            with archive.open(info, "w") as target:
                for piece in entries[name].pieces:
                    target.write(piece)


# Reading


class Archive:
    """The entries of a file, checked.

    Args:
        file: The open file.
        max_bytes: The largest size that is read.
        names: What entries may be called.

    Attributes:
        total: The size of the file in bytes.

    Raises:
        StateError: It is no zip, or an entry is not one that ``pack`` writes.

    >>> file = io.BytesIO()
    >>> pack(file, {"graph.json": Entry.of(b"{}")})
    >>> Archive(file).read("graph.json", 10)
    b'{}'
    """

    def __init__(
        self, file: IO[bytes], max_bytes: int = MAX_BYTES, names: re.Pattern[str] = NAMES
    ) -> None:
        self.total = file.seek(0, io.SEEK_END)
        if self.total > max_bytes:
            raise damaged(
                "It is too large.",
                why=f"it has {self.total:,} bytes; max_bytes is {max_bytes:,}",
                mend="load(path, max_bytes=...)",
            )
        try:
            self._zip = zipfile.ZipFile(_Careful(file))
            infos = self._zip.infolist()
            end = self._zip.start_dir
        except StateError:
            raise
        except Exception as error:
            raise damaged(
                "It is damaged, or no file of mlgraph.", why=f"{type(error).__name__}: {error}"
            ) from error
        for info in infos:
            _check_entry(info, names)
        _check_places(infos, end)
        self._infos = {info.filename: info for info in infos}

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all entries."""
        return tuple(self._infos)

    def size(self, name: str) -> int:
        """The size of an entry in bytes."""
        return self._info(name).file_size

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of an entry.

        Raises:
            StateError: There is none, it is longer than ``limit``, or its checksum is wrong.
        """
        if self.size(name) > limit:
            why = f"it has {self.size(name):,} bytes; {limit:,} are allowed"
            raise damaged("An entry is too large.", where=f"entry {name!r}", why=why)
        with self.open(name) as stream:
            return bytes(filled(stream, self.size(name)))

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """An entry as a stream; leaving it before its end leaves its checksum unchecked."""
        info = self._info(name)
        try:
            with self._zip.open(info) as stream:
                yield stream
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise damaged("An entry is damaged.", where=f"entry {name!r}", why=str(error)) from None

    def _info(self, name: str) -> zipfile.ZipInfo:
        if name not in self._infos:
            raise damaged("A part of it is missing.", where=f"entry {name!r}")
        return self._infos[name]


def filled(stream: IO[bytes], size: int) -> bytearray:
    """So many bytes of a stream, in memory of their own.

    Raises:
        StateError: The stream ends before.

    >>> filled(io.BytesIO(b"abc"), 2)
    bytearray(b'ab')
    """
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        piece = stream.read(min(CHUNK, size - done))
        if not piece:
            raise damaged("It ends too early.")
        view[done : done + len(piece)] = piece
        done += len(piece)
    if not size:
        stream.read(0)
    return data


class _Careful:
    """A file that is only read in pieces of bounded size: a zip says how long its list is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """The bytes from here, so many at most."""
        wanted = _MAX_INDEX + 1 if size < 0 else size
        data = self._file.read(min(wanted, _MAX_INDEX + 1))
        if len(data) > _MAX_INDEX:
            raise damaged("Its list of entries is too long.", why=f"over {_MAX_INDEX:,} bytes")
        return data


def _check_entry(info: zipfile.ZipInfo, names: re.Pattern[str]) -> None:
    where = f"entry {info.orig_filename!r}"
    # The name as it stands in the file: zipfile cuts it at a zero byte.
    if info.orig_filename != info.filename or not names.fullmatch(info.filename):
        raise damaged(
            "An entry has no place in it.",
            where=where,
            why="a file of mlgraph holds JSON, safetensors, Arrow and skops under fixed names",
        )
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise damaged("An entry is a link, or no plain file.", where=where)
    if info.flag_bits & ~_UTF8:
        raise damaged("An entry is encrypted, or written in a way that is not used.", where=where)
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise damaged(
            "An entry is compressed.",
            where=where,
            why=f"{info.compress_size:,} bytes would become {info.file_size:,}",
        )


def _check_places(infos: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Entries follow one another: none is there twice, none lies inside another."""
    seen: set[str] = set()
    place = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        where = f"entry {info.filename!r}"
        if info.filename in seen:
            raise damaged("An entry is there twice.", where=where)
        seen.add(info.filename)
        if info.header_offset < place or (place == 0 and info.header_offset != 0):
            raise damaged("Entries overlap, or something stands before them.", where=where)
        place = info.header_offset + _HEADER + len(info.filename) + info.file_size
    if place > end:
        raise damaged("Entries overlap with the list of entries.")
