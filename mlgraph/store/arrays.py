"""Codecs of NumPy's arrays and scalars, of tensors, and of Arrow data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.store import arrow
from mlgraph.store.archive import damaged
from mlgraph.store.codec import Codec, Reader, Writer, parts_of, text_of
from mlgraph.store.tensors import Block, Read

# Names in the safetensors format; what it does not know is kept as bytes.
_TENSORS = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "U16": torch.uint16,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "F32": torch.float32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
}
_COMPLEX = {"complex64": torch.complex64, "complex128": torch.complex128}
_KINDS = {dtype: kind for kind, dtype in _TENSORS.items()}
_ARRAYS = {
    "?": "BOOL",
    "u1": "U8",
    "i1": "I8",
    "<u2": "U16",
    "<i2": "I16",
    "<f2": "F16",
    "<u4": "U32",
    "<i4": "I32",
    "<f4": "F32",
    "<u8": "U64",
    "<i8": "I64",
    "<f8": "F64",
}
# Booleans, integers, floats, complex numbers, bytes, texts, times.
_NUMPY = "biufcSUmM"
_MAX_TEXT = 0x10FFFF


# Tensors


def _write_tensor(writer: Writer, value: Tensor) -> Any:
    if type(value) not in (Tensor, torch.nn.Parameter):
        raise writer.refusal(value, why="it is a tensor of a special class")
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        raise writer.refusal(value, why="it is sparse, quantized or without values")
    plain = value.detach().resolve_conj().resolve_neg()
    kind = _KINDS.get(plain.dtype)
    if kind is not None:
        return writer.tensor(Block(kind, tuple(plain.shape), lambda: _tensor_bytes(plain)))
    name = str(plain.dtype).removeprefix("torch.")
    if name not in _COMPLEX:
        raise writer.refusal(value, why=f"its dtype is {name}")
    size = plain.numel() * plain.itemsize
    kept = writer.tensor(Block("U8", (size,), lambda: _tensor_bytes(plain)))
    return [kept, name, list(plain.shape)]


def _tensor_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    flat = tensor.cpu().contiguous().reshape(-1)
    made: NDArray[np.uint8] = flat.view(torch.uint8).numpy()
    return made


def _read_tensor(reader: Reader, content: Any) -> Tensor:
    if isinstance(content, str):
        found = reader.tensor(content)
        dtype, shape = _TENSORS[found.kind], found.shape
    else:
        name, called, sizes = parts_of(content, 3)
        found, dtype = reader.tensor(name), _COMPLEX[text_of(called)]
        shape = _fitting(found, sizes, dtype.itemsize)
    _check_bool(found.kind, found.data)
    if not found.data:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(found.data, dtype=dtype).reshape(shape)


def _fitting(found: Read, sizes: Any, itemsize: int) -> tuple[int, ...]:
    """The sizes of values that are kept as bytes."""
    shape = tuple(sizes) if isinstance(sizes, list) else None
    if shape is None or not all(type(size) is int and size >= 0 for size in shape):
        raise damaged("An array has no shape.")
    if found.kind != "U8" or math.prod(shape) * itemsize != len(found.data):
        raise damaged("An array does not fit its shape and type.")
    return shape


def _check_bool(kind: str, data: bytearray) -> None:
    if kind == "BOOL" and len(data) and int(np.frombuffer(data, np.uint8).max()) > 1:
        raise damaged("A truth value is neither true nor false.")


# NumPy


def _write_array(writer: Writer, value: NDArray[Any]) -> Any:
    if value.dtype.kind == "O":
        return _write_objects(writer, value)
    if value.dtype.kind not in _NUMPY:
        raise writer.refusal(value, why=f"its dtype is {value.dtype}")
    columns = value.ndim > 1 and value.flags.f_contiguous and not value.flags.c_contiguous
    rows = value.T if columns else value
    little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
    code = _code(little.dtype)
    kind = _ARRAYS.get(code)
    content = {"shape": list(value.shape), "dtype": code, **({"order": "F"} if columns else {})}
    block = Block(
        kind or "U8",
        tuple(little.shape) if kind else (little.nbytes,),
        lambda: _array_bytes(little),
    )
    return {"data": writer.tensor(block), **content}


def _array_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _write_objects(writer: Writer, value: NDArray[Any]) -> Any:
    """An array of texts and numbers, as scikit-learn keeps names."""
    items = value.reshape(-1).tolist()
    if not all(item is None or type(item) in (bool, int, float, str) for item in items):
        raise writer.refusal(value, why="it is an array of objects that are no texts or numbers")
    return {"items": writer.items(items), "shape": list(value.shape)}


def _read_array(reader: Reader, content: Any) -> NDArray[Any]:
    if not isinstance(content, dict):
        raise damaged("An array is described by names.")
    if "items" in content:
        return _read_objects(reader, content)
    found, dtype = reader.tensor(content.get("data")), _dtype(content.get("dtype"))
    sizes = content.get("shape")
    raw = Read("U8", (len(found.data),), found.data)
    shape = _fitting(raw, sizes, dtype.itemsize)
    if found.kind != _ARRAYS.get(_code(dtype), "U8"):
        raise damaged("An array is kept as another type than its own.")
    _check_bool(found.kind, found.data)
    values = np.frombuffer(found.data, dtype) if found.data else np.empty(0, dtype)
    _check_text(values)
    if content.get("order") == "F":
        return values.reshape(shape[::-1]).T
    return values.reshape(shape)


def _read_objects(reader: Reader, content: Any) -> NDArray[Any]:
    items, sizes = reader.items(content["items"]), content.get("shape")
    if not all(item is None or type(item) in (bool, int, float, str) for item in items):
        raise damaged("An array of objects holds something else than texts and numbers.")
    made = np.empty(len(items), dtype=object)
    made[:] = items
    return made.reshape(sizes)


def _check_text(values: NDArray[Any]) -> None:
    if values.dtype.kind == "U" and values.size and values.dtype.itemsize:
        if int(values.view(np.uint32).max()) > _MAX_TEXT:
            raise damaged("An array of texts holds something else.")


def _write_scalar(writer: Writer, value: np.generic) -> list[Any]:
    if value.dtype.kind not in _NUMPY:
        raise writer.refusal(value, why=f"its dtype is {value.dtype}")
    little = np.asarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
    return [_code(little.dtype), little.tobytes().hex()]


def _read_scalar(reader: Reader, content: Any) -> Any:
    code, data = parts_of(content, 2)
    dtype, raw = _dtype(code), bytearray.fromhex(text_of(data))
    if len(raw) != dtype.itemsize:
        raise damaged("A number does not fit its type.")
    _check_bool("BOOL" if dtype.kind == "b" else "", raw)
    values = np.frombuffer(raw, dtype) if raw else np.zeros(1, dtype)
    _check_text(values)
    return values[0]


def _code(dtype: np.dtype[Any]) -> str:
    """The type as text; ``|`` says that the order of bytes means nothing."""
    code = dtype.str.lstrip("|")
    return "?" if code == "b1" else code


def _dtype(code: Any) -> np.dtype[Any]:
    found = np.dtype(text_of(code))
    if found.kind not in _NUMPY or found.hasobject or _code(found) != code:
        raise damaged(f"There is no dtype {code!r}.")
    return found


def _is_dtype(value: Any) -> bool:
    return isinstance(value, np.dtype) and value.kind in _NUMPY


# Arrow


def _one(data: Any) -> pa.Table:
    return pa.table({"": data})


def _write_arrow(writer: Writer, value: Any) -> list[Any]:
    """Which it is, and the number of the table in which it is kept."""
    if isinstance(value, pa.Table):
        kind, table = "table", value
    elif isinstance(value, pa.RecordBatch):
        kind, table = "batch", pa.Table.from_batches([value])
    elif isinstance(value, pa.ChunkedArray):
        kind, table = "chunks", _one(value)
    elif isinstance(value, pa.Array):
        kind, table = "array", _one(value)
    elif isinstance(value, pa.Scalar):
        kind, table = "scalar", _one(pa.repeat(value, 1))
    else:
        kind, table = "type", _one(pa.array([], value))
    odd = [field.type for field in table.schema if not arrow.supported(field.type)]
    if odd:
        raise writer.refusal(value, why=f"its type is {odd[0]}")
    return [kind, writer.table(table)]


def _read_arrow(reader: Reader, content: Any) -> Any:
    kind, number = parts_of(content, 2)
    table = reader.table(number)
    if kind == "table":
        return table
    if kind == "batch":
        return table.combine_chunks().to_batches()[0] if table.num_rows else _no_rows(table)
    if table.num_columns != 1:
        raise damaged("An array is no table.")
    column = table.column(0)
    if kind == "chunks":
        return column
    if kind == "type":
        return column.type
    if kind == "scalar" and len(column) == 1:
        return column[0]
    if kind == "array":
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    raise damaged(f"Nothing is known of {kind!r} in Arrow.")


def _no_rows(table: pa.Table) -> pa.RecordBatch:
    columns = [column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


_ARROW = (pa.Table, pa.RecordBatch, pa.ChunkedArray, pa.Array, pa.Scalar, pa.DataType)

CODECS = (
    Codec("tensor", lambda v: isinstance(v, Tensor), _write_tensor, _read_tensor),
    Codec("array", lambda v: type(v) is np.ndarray, _write_array, _read_array),
    Codec("scalar", lambda v: isinstance(v, np.generic), _write_scalar, _read_scalar),
    Codec("numpy_type", _is_dtype, lambda w, v: _code(v), lambda r, c: _dtype(c)),
    Codec("arrow", lambda v: isinstance(v, _ARROW), _write_arrow, _read_arrow),
)
