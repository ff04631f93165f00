"""Files that are there in full or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

DRAFT = ".tmp"  # how the name of a file ends that is being written


def as_path(value: Any) -> Any:
    """A path as a string, the home folder written out; anything else as it is.

    >>> as_path(Path("runs", "one"))
    'runs/one'
    """
    return os.path.expanduser(value) if isinstance(value, (str, os.PathLike)) else value


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` when it is complete, and never before.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "a")) as file:
    ...         _ = file.write(b"all of it")
    ...     Path(folder, "a").read_bytes()
    b'all of it'
    """
    with _drafted(Path(path), os.replace) as file:
        yield file


@contextmanager
def creating(path: str | Path) -> Iterator[IO[bytes]]:
    """A file that is there when it is complete, and takes the place of no other.

    Raises:
        FileExistsError: There is one by now.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with creating(Path(folder, "a")) as file:
    ...         _ = file.write(b"all of it")
    ...     Path(folder, "a").read_bytes()
    b'all of it'
    """
    with _drafted(Path(path), _named_anew) as file:
        yield file


@contextmanager
def _drafted(path: Path, finish: Callable[[Path, Path], None]) -> Iterator[IO[bytes]]:
    # In the same folder: only within one file system is renaming a single step.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}{DRAFT}")
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", str(path.parent))
    try:
        with open(draft, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        finish(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _named_anew(draft: Path, path: Path) -> None:
    """Give a file its name, unless another has it; looking first would leave time for one."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.replace(draft, path)
    draft.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Make a renaming last through a loss of power, where the system can."""
    if os.name != "posix":
        return
    # The file is complete and has its name; some file systems have nothing more to offer.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
