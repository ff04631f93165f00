"""Tensors and arrays in the safetensors format: a JSON header, and then bytes.

The header is read and checked here, before anything is allocated: known types, sizes that agree
with the places, places that follow one another and fill the entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import attrs

from mlgraph.store.archive import CHUNK, Entry, damaged, filled
from mlgraph.store.text import from_bytes, to_bytes

NAME = "tensors.safetensors"
MAX_HEADER = 2**27
MAX_RANK = 64
# Bytes of an element, by name of the type.
SIZES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}


@attrs.frozen
class Block:
    """What is to be written of a tensor.

    Args:
        kind: Name of the type.
        shape: The sizes.
        data: Makes its bytes, C-contiguous, when they are written.
    """

    kind: str
    shape: tuple[int, ...]
    data: Callable[[], Any]

    @property
    def size(self) -> int:
        """Number of bytes."""
        return math.prod(self.shape) * SIZES[self.kind]


@attrs.frozen
class Read:
    """A tensor that was read: its type, its sizes, and its bytes in memory of their own."""

    kind: str
    shape: tuple[int, ...]
    data: bytearray


def entry(blocks: Mapping[str, Block]) -> Entry:
    """Tensors as an entry.

    >>> made = entry({"a": Block("F32", (2,), lambda: bytes(8))})
    >>> sum(map(len, made.pieces)) == made.size
    True
    """
    # Large elements first, so that each is aligned to its size.
    order = sorted(blocks, key=lambda name: (-SIZES[blocks[name].kind], name))
    header, place = {}, 0
    for name in order:
        block = blocks[name]
        offsets = [place, place + block.size]
        header[name] = {"dtype": block.kind, "shape": list(block.shape), "data_offsets": offsets}
        place += block.size
    text = to_bytes(header)
    text += b" " * (-len(text) % 8)
    return Entry(8 + len(text) + place, _pieces(text, [blocks[name] for name in order]))


def _pieces(text: bytes, blocks: list[Block]) -> Iterator[Any]:
    yield len(text).to_bytes(8, "little")
    yield text
    for block in blocks:
        data = memoryview(block.data()).cast("B") if block.size else b""
        for start in range(0, block.size, CHUNK):
            yield data[start : start + CHUNK]


def read(stream: IO[bytes], size: int) -> dict[str, Read]:
    """The tensors of an entry of this size.

    Raises:
        StateError: The header is not that of such an entry, or the entry is damaged.

    >>> import io
    >>> made = entry({"a": Block("U8", (2,), lambda: b"ab")})
    >>> read(io.BytesIO(b"".join(made.pieces)), made.size)["a"].data
    bytearray(b'ab')
    """
    if size < 8:
        raise _wrong("it is too short")
    length = int.from_bytes(filled(stream, 8), "little")
    if length > min(MAX_HEADER, size - 8):
        raise _wrong(f"its header would have {length:,} bytes")
    header = from_bytes(bytes(filled(stream, length)), NAME)
    places = _places(header, size - 8 - length)
    found = {}
    for name, (kind, shape, start, end) in places.items():
        found[name] = Read(kind, shape, filled(stream, end - start))
    stream.read(1)  # the end, where the checksum is compared
    return found


Place = tuple[str, tuple[int, ...], int, int]


def _places(header: Any, total: int) -> dict[str, Place]:
    """Type, shape, start and end of each tensor, in the order of their places."""
    if not isinstance(header, dict):
        raise _wrong("its header is no JSON object")
    found = {name: _place(name, said) for name, said in header.items()}
    ordered = dict(sorted(found.items(), key=lambda item: (item[1][2], item[1][3])))
    at = 0
    for name, (_, _, start, end) in ordered.items():
        if start != at:
            raise _wrong(f"{name!r} does not begin where the one before ends")
        at = end
    if at != total:
        raise _wrong(f"its tensors have {at:,} bytes, and it holds {total:,}")
    return ordered


def _place(name: str, said: Any) -> Place:
    if not isinstance(said, dict) or said.keys() != {"dtype", "shape", "data_offsets"}:
        raise _wrong(f"{name!r} is not described by dtype, shape and data_offsets")
    kind, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(kind, str) or kind not in SIZES:
        raise _wrong(f"{name!r} has the unknown dtype {kind!r}")
    if not _counts(shape) or len(shape) > MAX_RANK:
        raise _wrong(f"{name!r} has no shape")
    if not _counts(offsets) or len(offsets) != 2:
        raise _wrong(f"{name!r} has no place")
    if offsets[1] - offsets[0] != math.prod(shape) * SIZES[kind]:
        raise _wrong(f"the place of {name!r} does not fit its shape {shape} and dtype {kind}")
    return kind, tuple(shape), offsets[0], offsets[1]


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _wrong(why: str) -> Exception:
    return damaged("Its tensors cannot be read.", where=f"entry {NAME!r}", why=why)
