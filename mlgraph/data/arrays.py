"""The values of columns as arrays, and columns from arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def plain(values: Any) -> pa.Array:
    """A column of a table as one array.

    >>> plain(pa.chunked_array([[1], [2]])).to_pylist()
    [1, 2]
    """
    if not isinstance(values, pa.ChunkedArray):
        return values
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()


def numbers(values: Any) -> NDArray[np.float64]:
    """The values of a numeric or boolean column as float64, missing ones as NaN.

    >>> numbers(pa.array([1, None]))
    array([ 1., nan])
    """
    floats = values.cast(pa.float64(), safe=False)
    options = {} if isinstance(values, pa.ChunkedArray) else {"zero_copy_only": False}
    return np.asarray(floats.to_numpy(**options), dtype=np.float64)


def levels_of(values: pa.Array) -> tuple[str, ...]:
    """The levels of a category column, unused ones included.

    >>> levels_of(pa.array(["u", "v"]).dictionary_encode())
    ('u', 'v')
    """
    return tuple(values.dictionary.to_pylist())


def codes_among(values: pa.Array, levels: Sequence[str]) -> NDArray[np.int64]:
    """Places of the values of a category or string column among levels, -1 where not found.

    >>> codes_among(pa.array(["v", None, "x"]), ["u", "v"])
    array([ 1, -1, -1])
    """
    place = {level: i for i, level in enumerate(levels)}
    encoded = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
    table = [place.get(word, -1) for word in levels_of(encoded)]
    places = np.array([*table, -1], dtype=np.int64)
    found: NDArray[np.int64] = places[encoded.indices.fill_null(len(table)).to_numpy()]
    return found


def category(codes: NDArray[np.int64], levels: Sequence[str], ordered: bool = False) -> pa.Array:
    """A category column from codes (-1 where missing) and levels.

    >>> category(np.array([1, -1]), ["a", "b"]).to_pylist()
    ['b', None]
    """
    indices = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(levels, pa.string()), ordered=ordered)


def tensors(matrix: NDArray[np.float32]) -> pa.Array:
    """A column of one tensor ``(n,)`` per row of a matrix, also of one without rows.

    >>> tensors(np.zeros((2, 3), np.float32)).type.shape
    [3]
    """
    n = matrix.shape[1]
    rows = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), n)
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [n]), rows)
