"""Arrow tables as IPC streams: bytes to keep, and bytes that a stranger may have written."""

from __future__ import annotations

import io
import struct

import pyarrow as pa
import pyarrow.types as pat

from mlgraph.errors import StateError
from mlgraph.store.archive import damaged

# Columns of nulls have no bytes, so that their length says nothing about memory.
_MAX_NULLS = 2**24

_PLAIN = (
    pat.is_null,
    pat.is_boolean,
    pat.is_integer,
    pat.is_floating,
    pat.is_decimal,
    pat.is_string,
    pat.is_large_string,
    pat.is_binary,
    pat.is_large_binary,
    pat.is_fixed_size_binary,
    pat.is_date,
    pat.is_time,
    pat.is_timestamp,
    pat.is_duration,
)
_NESTED = (pat.is_list, pat.is_large_list, pat.is_fixed_size_list, pat.is_struct, pat.is_map)


def to_bytes(table: pa.Table) -> bytes:
    """A table as an IPC stream, also one without rows, whose columns may have levels.

    Raises:
        StateError: A column has a type that is not kept.

    >>> from_bytes(to_bytes(pa.table({"a": [1, 2]})), "tables/0.arrow")["a"].to_pylist()
    [1, 2]
    """
    for field in table.schema:
        if not supported(field.type):
            raise StateError(f"Arrow data of type {field.type} cannot be saved.")
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in _batches(table):
            writer.write_batch(batch)
    return sink.getvalue()


def from_bytes(data: bytes, name: str) -> pa.Table:
    """The table of an IPC stream.

    Args:
        data: The bytes.
        name: Name of the entry, for messages.

    Raises:
        StateError: It is damaged, compressed, or has a type that is not kept.

    >>> from_bytes(b"", "tables/0.arrow")
    Traceback (most recent call last):
    mlgraph.errors.StateError: The file cannot be loaded. A table in it is damaged.
    ...
    """
    try:
        if _is_compressed(data):
            raise ValueError("it is compressed")
        with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
            _check_types(reader.schema)
            table = reader.read_all()
        table.validate(full=True)
    except Exception as error:
        raise damaged(
            "A table in it is damaged.", where=f"entry {name!r}", why=str(error)
        ) from None
    if table.num_rows > max(_MAX_NULLS, 8 * len(data)):
        raise damaged("A table in it is too long.", where=f"entry {name!r}")
    return table


def supported(kind: pa.DataType) -> bool:
    """Whether data of this type are kept: no types of other packages, and no views into others.

    >>> supported(pa.dictionary(pa.int32(), pa.string())), supported(pa.run_end_encoded(pa.int32(),
    ...     pa.int32()))
    (True, False)
    """
    if isinstance(kind, pa.FixedShapeTensorType):
        return supported(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return False
    if pat.is_dictionary(kind):
        return supported(kind.index_type) and supported(kind.value_type)
    if any(test(kind) for test in _NESTED):
        return all(supported(kind.field(i).type) for i in range(kind.num_fields))
    return any(test(kind) for test in _PLAIN)


def _check_types(schema: pa.Schema) -> None:
    odd = [str(field.type) for field in schema if not supported(field.type)]
    if odd:
        raise ValueError(f"it has a column of type {odd[0]}")


def _batches(table: pa.Table) -> list[pa.RecordBatch]:
    batches = [batch for batch in table.to_batches() if batch.num_rows]
    if batches or not table.num_columns:
        return batches
    # Without a batch the levels of categories would be lost.
    columns = [_flat(column) for column in table.columns]
    return [pa.RecordBatch.from_arrays(columns, schema=table.schema)]


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


# Arrow decompresses to whatever size the data claim to have, and offers no limit. So the messages
# are looked at first, in their own encoding (FlatBuffers): the fourth field of a record batch says
# whether it is compressed. Arrow has verified the encoding when it gives out a message.

_DICTIONARY_BATCH = 2


def _is_compressed(data: bytes) -> bool:
    messages = pa.ipc.MessageReader.open_stream(pa.BufferReader(data))
    kept = (message for message in messages if message.type != "schema")
    return any(_compressed_message(message.metadata.to_pybytes()) for message in kept)


def _compressed_message(raw: bytes) -> bool:
    (root,) = struct.unpack_from("<I", raw)
    kind = _field(raw, root, 1)
    header = _inner(raw, _field(raw, root, 2))
    if kind and raw[kind] == _DICTIONARY_BATCH:
        header = _inner(raw, _field(raw, header, 1))
    return _field(raw, header, 3) != 0


def _field(raw: bytes, table: int, number: int) -> int:
    """The place of a field of a table, 0 if it is not there."""
    (back,) = struct.unpack_from("<i", raw, table)
    vtable = table - back
    (length,) = struct.unpack_from("<H", raw, vtable)
    slot = 4 + 2 * number
    if slot + 2 > length:
        return 0
    (offset,) = struct.unpack_from("<H", raw, vtable + slot)
    return table + offset if offset else 0


def _inner(raw: bytes, place: int) -> int:
    (offset,) = struct.unpack_from("<I", raw, place)
    return place + int(offset)


__all__ = ["from_bytes", "supported", "to_bytes"]
