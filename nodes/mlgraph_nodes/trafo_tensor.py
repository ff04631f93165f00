"""Nodes for lazy tensors of any kind: functions, shapes, dtypes, and keeping what was computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch

from mlgraph.core.param import param
from mlgraph.data.lazy.cached import size_in_bytes
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.combine import Reshape
from mlgraph.data.lazy.operation import Cast, Function, Operation
from mlgraph.errors import ConfigError, MLGraphError
from mlgraph_nodes.trafo_base import LazyTransform


def _shape(value: Any) -> str | None:
    if sum(size < 0 for size in value) < 2 and all(size >= -1 for size in value):
        return None
    return "sizes, one of which may be -1"


class TrafoNop(LazyTransform):
    """Append nothing; tensors in memory become lazy ones.

    Shape:
        input, output: ``(batch, ...)``, the same.

    >>> TrafoNop()(torch.zeros(3, 8, 6)).shape
    torch.Size([3, 8, 6])
    """

    def operation(self, params: Mapping[str, Any], id: str) -> Operation:
        raise NotImplementedError("there is no operation")

    def appended(self, tensor: LazyTensor, params: Mapping[str, Any], id: str) -> LazyTensor:
        return tensor


class TrafoFn(LazyTransform):
    """Apply a function to tensors; its result needs no shape rule.

    Shape:
        input: ``(...)``, one row, or ``(batch, ...)``.
        output: what the function returns.

    Args:
        fn: The function. Worker processes need one that can be pickled.
        batched: Whether it takes several rows at once, and returns one result for each.
        random: Whether it draws from torch's stream, which is seeded for every row.

    >>> TrafoFn(fn=torch.sum)(torch.ones(3, 8, 6))
    tensor(144.)
    """

    example = {"fn": torch.tanh}
    redefines = ("random",)

    fn: Callable[..., Any]
    batched: bool = False
    random: bool = False  # type: ignore[misc]

    def operation(self, params: Mapping[str, Any], id: str) -> Operation:
        return Function(id, params["fn"], random=params["random"], batched=params["batched"])


class TrafoReshape(LazyTransform):
    """Another shape of every row.

    Shape:
        input: ``(batch, ...)``.
        output: ``(batch, *shape)``.

    Args:
        shape: The sizes of a row, without the batch; one may be -1, which is then found.

    >>> TrafoReshape(shape=(6, -1))(torch.zeros(3, 8, 6)).shape
    torch.Size([6, 24])
    """

    example = {"shape": (2, -1)}

    shape: tuple[int, ...] = param(check=_shape)

    def operation(self, params: Mapping[str, Any], id: str) -> Operation:
        return Reshape(id, params["shape"])


class TrafoTo(LazyTransform):
    """Another dtype; a value that does not fit is refused when it is read.

    Shape:
        input, output: ``(batch, ...)``, the same.

    Args:
        dtype: The dtype. Fractions are cut off where it has none.

    Raises:
        DataError: A value does not fit, while reading.

    >>> TrafoTo(dtype=torch.float32)(torch.tensor([1, 2]))
    tensor([1., 2.])
    """

    example = {"dtype": torch.float64}

    dtype: torch.dtype

    def operation(self, params: Mapping[str, Any], id: str) -> Operation:
        return Cast(id, params["dtype"])


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _size(value: Any) -> str | None:
    try:
        size_in_bytes(value)
    except ConfigError:
        return 'a number of bytes, or a text such as "500MB"'
    return None


class TrafoCache(LazyTransform):
    """Keep what was computed so far, so that it is read and computed once per row.

    What is kept in a folder is found again by sources, operations and their parameters. What a
    function uses from its module, other functions or constants, does not count: when that
    changes, give the folder a new name.

    Shape:
        input, output: ``(batch, ...)``, the same; all sizes must be known.

    Args:
        folder: Where files are kept; None keeps the tensors in memory.
        limit: How many bytes are kept, such as ``"1GB"``; further rows are computed anew.

    Raises:
        ConfigError: Something before it is random: it would be drawn once and for all.
        ShapeError: The tensors have no fixed shape.

    >>> TrafoCache(limit="500MB")(torch.zeros(3, 8, 6)).shape
    torch.Size([3, 8, 6])
    """

    folder: str | None = param(default=None, convert=_text)
    limit: int | str = param(default="1GB", check=_size)

    def operation(self, params: Mapping[str, Any], id: str) -> Operation:
        raise NotImplementedError("there is no operation")

    def appended(self, tensor: LazyTensor, params: Mapping[str, Any], id: str) -> LazyTensor:
        try:
            return tensor.cached(params["folder"], params["limit"])
        except MLGraphError as error:
            raise error.at(f"node {id!r}") from error.__cause__
