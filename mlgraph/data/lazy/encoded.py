"""Encoded images in a binary column, as Parquet files hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.types as pat
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.core.value import digest
from mlgraph.data.lazy.decode import cause
from mlgraph.data.lazy.images import Images, unfit
from mlgraph.data.lazy.source import ReadFailure, Rows, tensor_of
from mlgraph.errors import DataError


def _binary(data: Any) -> pa.ChunkedArray:
    column = data if isinstance(data, pa.ChunkedArray) else pa.chunked_array([data])
    known = (pat.is_binary, pat.is_large_binary, pat.is_fixed_size_binary, pat.is_binary_view)
    if not any(test(column.type) for test in known):
        raise DataError(
            f"A column of {column.type} does not hold encoded images.",
            why="a binary column is expected",
        )
    if column.null_count:
        raise DataError(
            "A lazy column cannot have missing images.",
            why=f"{column.null_count} are missing",
            mend="leave these rows out",
        )
    return column.cast(pa.large_binary())


@attrs.frozen(eq=False, slots=False)
class Encoded(Images):
    """A binary Arrow column of images (PNG, JPEG and others), decoded when asked for.

    Args:
        data: The column; how it is read is said as in ``Images``.

    Raises:
        DataError: This is no binary column, or an image is missing.
        ConfigError: There is no such mode.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (5, 4)).save(file, "PNG")
    >>> Encoded(pa.array([file.getvalue()], pa.binary())).fetch(np.array([0]))[0].shape
    torch.Size([3, 4, 5])
    """

    data: pa.ChunkedArray = attrs.field(converter=_binary)

    @cached_property
    def fingerprint(self) -> str:
        lengths, content = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
        for values, ends in self._chunks:
            lengths.update(np.diff(ends).tobytes())
            content.update(values[int(ends[0]) : int(ends[-1])].numpy().data)
        return digest(lengths.hexdigest(), content.hexdigest(), *self._reading)

    def __len__(self) -> int:
        return len(self.data)

    def encoded(self, rows: Rows) -> Iterator[Tensor]:
        chunks = np.searchsorted(self._starts, rows, side="right") - 1
        inside = rows - self._starts[chunks]
        for chunk, row in zip(chunks.tolist(), inside.tolist(), strict=True):
            values, ends = self._chunks[chunk]
            yield values[ends[row] : ends[row + 1]]

    def failure(self, row: int, problem: Exception) -> ReadFailure:
        if isinstance(problem, DataError):
            return unfit(row, "its image", problem)
        return ReadFailure(
            row,
            "its bytes are not an image that can be decoded.",
            cause(problem),
            'repair it, or leave it out with on_error="skip"',
        )

    def __getstate__(self) -> dict[str, Any]:
        own = ("_chunks", "_starts")
        return {name: value for name, value in super().__getstate__().items() if name not in own}

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        sizes = [len(chunk) for chunk in self.data.chunks]
        return np.cumsum([0, *sizes])[:-1]

    @cached_property
    def _chunks(self) -> list[tuple[Tensor, NDArray[np.int64]]]:
        """For each chunk all bytes, and where each image starts; the last ends at the end."""
        return [_parts(chunk) for chunk in self.data.chunks]


def _parts(chunk: pa.Array) -> tuple[Tensor, NDArray[np.int64]]:
    _, offsets, content = chunk.buffers()
    ends = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    whole = np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8)
    return tensor_of(whole), ends
