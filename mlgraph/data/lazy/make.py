"""Lazy tensors of anything that holds tensors, and the tensors of lazy columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat
import torch
from torch import Tensor

from mlgraph.data.column import Column
from mlgraph.data.lazy.column import LazyTensor, as_lazy
from mlgraph.data.lazy.dataset import DatasetSource, tensor_in
from mlgraph.data.lazy.decode import CHANNELS
from mlgraph.data.lazy.draws import Draw
from mlgraph.data.lazy.encoded import Encoded
from mlgraph.data.lazy.files import ImageFiles
from mlgraph.data.lazy.memmap import MemmapSource
from mlgraph.data.lazy.pending import united
from mlgraph.data.lazy.reader import Reader
from mlgraph.data.lazy.source import ArraySource, OnError, Source
from mlgraph.errors import ConfigError, DataError, ShapeError
from mlgraph.tensor.spec import TensorSpec

Shape = Sequence[int | str | None]


def lazy(
    data: Any,
    *,
    shape: Shape | None = None,
    dtype: torch.dtype | None = None,
    item: int | str | None = None,
    mode: str = "RGB",
    background: str | None = None,
    on_error: OnError = "raise",
    copy: bool = True,
) -> LazyTensor:
    """A column of tensors that are read when they are asked for.

    Args:
        data: A tensor or an array, rows first, taken as it is: images have their channels first;
            a ``numpy.memmap``; the path of a ``.npy`` or ``.safetensors`` file; a list or a column
            of paths of images; a list or a binary column of encoded images; a list of tensors,
            whose shapes may differ; or any map-style ``torch.utils.data.Dataset``. In a list or
            a data set, images of Pillow and uint8 arrays ``(height, width[, channels])`` are
            turned to ``(channels, height, width)``.
        shape: Sizes of a row that are promised, without the batch; None or a name for a size that
            differs from row to row. A row with another shape is refused when it is read.
        dtype: Type of the elements: what a data set is promised to return; of anything else what
            the rows are converted to. With ``mode="unchanged"`` images of more than 8 bits need
            it.
        item: Which tensor of a safetensors file, or of an element of a data set.
        mode: How images are read: ``"RGB"``, ``"L"`` (grey), ``"RGBA"``, ``"LA"`` or
            ``"unchanged"``.
        background: Colour on which transparent parts of images are put.
        on_error: Whether a row that cannot be read stops the run (``"raise"``), or is left out and
            reported (``"skip"``).
        copy: Whether tensors and arrays in memory are copied.

    Raises:
        DataError: This holds no tensors, or they do not have the promised form.

    >>> lazy(torch.zeros(150, 3, 64, 64))
    <lazy 3 x 64 x 64 float32, 150 rows>
    >>> lazy(["a.png", "b.png"], shape=(3, None, None), dtype=torch.float32)
    <lazy 3 x ? x ? float32, 2 rows>
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error={on_error!r} is neither 'raise' nor 'skip'.")
    data = _arrow(data)
    if isinstance(data, LazyTensor | Column):
        return _promised(as_lazy(data) if isinstance(data, Column) else data, shape, dtype)
    images = _images(data, shape, dtype, mode, background, on_error)
    if images is not None:
        return _promised(LazyTensor.over(images), shape, dtype)
    held = _held(data, item, copy)
    if held is not None:
        return _promised(LazyTensor.over(held), shape, dtype)
    if isinstance(data, list | tuple):
        return _promised(LazyTensor.over(_listed(data)), shape, dtype)
    return LazyTensor.over(_dataset(data, item, shape, dtype, on_error))


@overload
def materialize(
    x: LazyTensor, *, stacked: bool = ..., device: Any = ..., seed: int = ..., epoch: int = ...
) -> Any: ...
@overload
def materialize(
    x: Any, *, stacked: bool = ..., device: Any = ..., seed: int = ..., epoch: int = ...
) -> dict[str, Any]: ...
def materialize(
    x: Any,
    *,
    stacked: bool = False,
    device: str | torch.device = "cpu",
    seed: int = 0,
    epoch: int = 0,
) -> Any:
    """The tensors of lazy columns, read now; what several columns share is computed once.

    Args:
        x: A lazy column, a dict in which some values are, or a task. What is not lazy comes back
            as it is.
        stacked: Whether to return one tensor with rows first, or a list of a tensor per row.
        device: Where the tensors go in the end.
        seed: What random operations depend on, together with the row.
        epoch: The same.

    Shape:
        returns: with ``stacked`` ``(rows, ...)``, otherwise a list of ``(...)``.

    Raises:
        DataError: A row cannot be read.
        ShapeError: Rows of different shapes cannot be stacked.

    >>> materialize(lazy(torch.arange(4.0).reshape(2, 2)))
    [tensor([0., 1.]), tensor([2., 3.])]
    >>> materialize(lazy(torch.arange(4.0).reshape(2, 2)), stacked=True).shape
    torch.Size([2, 2])
    """
    if isinstance(x, LazyTensor):
        return materialize({"": x}, stacked=stacked, device=device, seed=seed, epoch=epoch)[""]
    values, row_ids = _values(x)
    columns = {name: value for name, value in values.items() if isinstance(value, LazyTensor)}
    if not columns:
        return values
    ids = np.arange(len(next(iter(columns.values())))) if row_ids is None else row_ids
    read = Reader(columns, ids).read(np.arange(len(ids)), Draw(seed, epoch))
    if read.skipped:
        first = read.skipped[0]
        raise DataError(
            f"{len(read.skipped)} rows cannot be read.",
            where=f"column {first.column!r}, row {first.row_id}",
            why=f"the first: {first.what}",
            mend="leave these rows out",
        )
    found = {
        name: _finished(name, tensors, columns[name].spec, stacked, torch.device(device))
        for name, tensors in read.tensors.items()
    }
    return {name: found.get(name, value) for name, value in values.items()}


def _arrow(data: Any) -> Any:
    """Columns of other libraries, and columns of tensors, in the forms that are known here."""
    if isinstance(data, LazyTensor | Column | pa.Array | pa.ChunkedArray):
        pass
    elif hasattr(data, "__arrow_c_stream__") and not hasattr(data, "columns"):
        data = pa.chunked_array(data)
    if isinstance(data, pa.Array):
        data = pa.chunked_array([data])
    if isinstance(data, pa.ChunkedArray) and _is_file(data.type):
        data = pc.struct_field(data, "bytes")
    if isinstance(data, pa.ChunkedArray) and isinstance(data.type, pa.BaseExtensionType):
        return Column.of(data if data.num_chunks else data.combine_chunks())
    return data


def _is_file(kind: pa.DataType) -> bool:
    """Bytes with the path they came from, as Hugging Face writes images into Parquet files."""
    return pat.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}


def _images(
    data: Any,
    shape: Shape | None,
    dtype: torch.dtype | None,
    mode: str,
    background: str | None,
    on_error: OnError,
) -> Source | None:
    """Files or encoded bytes of images, if that is what the data are."""
    kind = _kind_of_images(data)
    if kind is None:
        return None
    made = ImageFiles if kind == "paths" else Encoded
    given = data if isinstance(data, pa.ChunkedArray) else list(data)
    if kind == "bytes" and isinstance(given, list):
        given = pa.array(given, pa.large_binary())
    size = _size(shape, mode)
    return made(
        given,
        mode=mode,
        size=size,
        background=background,
        on_error=on_error,
        **_free(shape, dtype, mode),
    )


def _free(shape: Shape | None, dtype: torch.dtype | None, mode: str) -> dict[str, Any]:
    """What is promised of images that no mode brings into a form."""
    if mode != "unchanged":
        return {}
    channels = shape[0] if shape and isinstance(shape[0], int) else None
    return {"channels": channels, "dtype": dtype}


def _kind_of_images(data: Any) -> str | None:
    if isinstance(data, pa.ChunkedArray):
        tests = (pat.is_string, pat.is_large_string, pat.is_string_view)
        if any(test(data.type) for test in tests):
            return "paths"
        return "bytes"  # what is no binary column is refused there
    if isinstance(data, np.ndarray) and data.dtype.kind in "UOT":
        data = data.tolist()
    if not isinstance(data, list | tuple) or not data:
        return None
    known = [value for value in data if value is not None]
    if known and all(isinstance(value, str | Path) for value in known):
        return "paths"
    return "bytes" if known and all(isinstance(value, bytes) for value in known) else None


def _size(shape: Shape | None, mode: str) -> tuple[int | str, int | str] | None:
    """Height and width, of which either may be promised."""
    if shape is None:
        return None
    channels = CHANNELS.get(mode)
    if len(shape) != 3 or (isinstance(channels, int) and shape[0] not in (channels, None)):
        raise DataError(
            f"Images in mode {mode!r} cannot have the shape {tuple(shape)}.",
            why=f"it is (channels, height, width), with {channels} channels",
            mend="choose another mode or shape",
        )
    height, width = shape[1:]
    return height or "height", width or "width"


def _held(data: Any, item: int | str | None, copy: bool) -> Source | None:
    """An array in memory or in a file, if that is what the data are."""
    if isinstance(data, np.memmap) and data.filename is not None:
        return MemmapSource.of_memmap(data)
    if isinstance(data, Tensor | np.ndarray):
        return ArraySource(data, copy=copy)
    if not isinstance(data, str | Path):
        return None
    ending = Path(data).suffix.lower()
    if ending == ".npy":
        return MemmapSource.of_npy(data)
    if ending == ".safetensors":
        return MemmapSource.of_safetensors(data, None if item is None else str(item))
    raise DataError(
        f"{data} is not a file with an array.",
        why="a path ends in .npy or .safetensors",
        mend="pass images as a list of paths",
    )


def _listed(data: Sequence[Any]) -> Source:
    """Tensors in a list: stacked if they have one shape."""
    if not data:
        raise DataError("An empty list has no tensors.", mend="pass a tensor of shape (0, ...)")
    tensors = [tensor_in(element) for element in data]
    spec = united([TensorSpec(("batch", *tensor.shape), tensor.dtype) for tensor in tensors])
    if spec.names == ("batch",):
        return ArraySource(torch.stack(tensors), copy=False)
    return DatasetSource([tensor.clone() for tensor in tensors], spec=spec)


def _dataset(
    data: Any,
    item: int | str | None,
    shape: Shape | None,
    dtype: torch.dtype | None,
    on_error: OnError,
) -> Source:
    if isinstance(data, Mapping | pa.Table) or hasattr(data, "columns"):
        raise DataError(
            f"A {type(data).__name__} is a table, not a column of tensors.",
            mend='make a Task of it, and a column lazy with task.lazy("...")',
        )
    if shape is not None and dtype is not None:  # nothing need be read to know the form
        spec = TensorSpec(_named(shape), dtype)
        return DatasetSource(data, item, spec=spec, on_error=on_error)
    found = DatasetSource(data, item, on_error=on_error)
    form = found.spec if shape is None else found.spec.with_shape(_named(shape))
    form = form if dtype is None else form.with_dtype(dtype)
    return DatasetSource(data, item, spec=form, on_error=on_error)


def _named(shape: Shape) -> tuple[int | str, ...]:
    sizes = [f"dim_{dim}" if size is None else size for dim, size in enumerate(shape, 1)]
    return ("batch", *sizes)


def _promised(column: LazyTensor, shape: Shape | None, dtype: torch.dtype | None) -> LazyTensor:
    """The column in a dtype, if it has the shape that was promised."""
    if shape is not None:
        pairs = zip(column.shape[1:], shape, strict=False)
        wrong = any(isinstance(b, int) and a != b for a, b in pairs)
        if len(shape) != len(column.shape) - 1 or wrong:
            raise DataError(
                f"The rows do not have the shape {tuple(shape)}.", why=f"they are {column.spec}"
            )
    return column if dtype is None else column.to(dtype)


def _values(x: Any) -> tuple[dict[str, Any], Any]:
    """Values by name, and row ids if the values have any."""
    columns = getattr(x, "columns", x)
    if not isinstance(columns, Mapping):
        raise DataError(
            f"A {type(x).__name__} has no lazy tensors.",
            why="a lazy column, a dict of them or a task is expected",
        )
    if columns is x:
        return dict(x), None
    values = {
        name: LazyTensor(column) if isinstance(column.type, pa.ExtensionType) else column.array()
        for name, column in columns.items()
    }
    return values, x.row_ids


def _finished(
    name: str,
    tensors: Tensor | list[Tensor],
    spec: TensorSpec,
    stacked: bool,
    device: torch.device,
) -> Tensor | list[Tensor]:
    if not stacked:
        return [tensor.to(device) for tensor in tensors]
    if isinstance(tensors, Tensor):
        return tensors.to(device)
    if not tensors:
        sizes = dict.fromkeys(spec.names, 0)
        return torch.empty(spec.filled(sizes), dtype=spec.dtype, device=device)
    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    raise ShapeError(
        f"Rows of different shapes cannot be stacked{f' (column {name!r})' if name else ''}.",
        why=f"they have {' and '.join(map(str, shapes[:2]))}",
        mend="resize or pad them, or leave out stacked=True",
    )
