"""Content hashes of Arrow data: the same for equal values, whatever the chunks and the process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mlgraph.core.value import digest


def hash_array(data: pa.ChunkedArray) -> str:
    """Hash of the type and the values of a column.

    >>> one, two = pa.chunked_array([[1, 2, 3]]), pa.chunked_array([[1], [2, 3]])
    >>> hash_array(one) == hash_array(two)
    True
    """
    streams = _Streams()
    for chunk in data.chunks:
        _feed(streams, "", chunk)
    return digest(str(data.type), str(len(data)), *streams.results())


class _Streams:
    """One running hash per buffer of a nested type, so that chunk borders leave no trace."""

    def __init__(self) -> None:
        self.hashers: dict[str, Any] = {}

    def update(self, key: str, content: bytes | memoryview) -> None:
        self.hashers.setdefault(key, hashlib.blake2b(digest_size=16)).update(content)

    def results(self) -> list[str]:
        return [f"{key}={self.hashers[key].hexdigest()}" for key in sorted(self.hashers)]


def _feed(streams: _Streams, path: str, array: pa.Array) -> None:
    arrow = array.type
    if isinstance(arrow, pa.BaseExtensionType):
        return _feed(streams, path, array.storage)
    streams.update(f"{path}.valid", _bytes(pc.is_valid(array)))
    feed = next((feed for test, feed in _FEEDS if test(arrow)), _feed_values)
    feed(streams, path, array)


def _feed_values(streams: _Streams, path: str, array: pa.Array) -> None:
    width = array.type.bit_width
    if pat.is_temporal(array.type):
        array = array.view(pa.int32() if width == 32 else pa.int64())
    streams.update(f"{path}.values", _bytes(array.fill_null(0) if array.null_count else array))


def _feed_bool(streams: _Streams, path: str, array: pa.Array) -> None:
    streams.update(f"{path}.values", _bytes(array.fill_null(False)))


def _feed_text(streams: _Streams, path: str, array: pa.Array) -> None:
    filled = pa.array([], array.type) if len(array) == 0 else array.fill_null("")
    streams.update(f"{path}.lengths", _bytes(pc.binary_length(filled).cast(pa.int64())))
    _, offsets, content = filled.buffers()
    if len(filled) == 0 or content is None:
        return
    ends = np.frombuffer(offsets, np.int64)[filled.offset : filled.offset + len(filled) + 1]
    streams.update(f"{path}.values", memoryview(content)[int(ends[0]) : int(ends[-1])])


def _feed_category(streams: _Streams, path: str, array: pa.Array) -> None:
    levels = "\0".join(map(repr, array.dictionary.to_pylist()))
    if f"{path}.levels" not in streams.hashers:
        streams.update(f"{path}.levels", levels.encode())
    streams.update(f"{path}.codes", _bytes(array.indices.fill_null(-1)))


def _feed_struct(streams: _Streams, path: str, array: pa.Array) -> None:
    for i, field in enumerate(array.flatten()):
        _feed(streams, f"{path}.{i}", field)


def _feed_list(streams: _Streams, path: str, array: pa.Array) -> None:
    _feed(streams, f"{path}.item", array.flatten())


def _bytes(array: pa.Array) -> bytes:
    return bytes(np.ascontiguousarray(array.to_numpy(zero_copy_only=False)).tobytes())


_Feed = Callable[[_Streams, str, pa.Array], None]

_FEEDS: tuple[tuple[Callable[[Any], bool], _Feed], ...] = (
    (pat.is_boolean, _feed_bool),
    (pat.is_large_string, _feed_text),
    (pat.is_dictionary, _feed_category),
    (pat.is_struct, _feed_struct),
    (pat.is_fixed_size_list, _feed_list),
)
