"""One operation on some rows: at once where it can be, row by row where it must be.

Row by row with one thread: a sum over a row then has the same bits as in a worker process.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlgraph.data.lazy.draws import Draw, Keys, keys, uniforms
from mlgraph.data.lazy.operation import Function, Operation
from mlgraph.data.lazy.stack import Stack
from mlgraph.errors import DataError, MLGraphError
from mlgraph.tensor.stream import forked
from mlgraph.tensor.threads import threads


class Drawn(NamedTuple):
    """What draws depend on: ids of the rows, earlier rows with the same id, seed and epoch.

    >>> Drawn(np.arange(2), np.zeros(2, np.uint64), Draw(1)).draw.seed
    1
    """

    ids: NDArray[np.int64]
    copies: Keys
    draw: Draw


def run(operation: Operation, key: str, x: Stack, rows: Drawn) -> Stack:
    """The results for some rows.

    Args:
        operation: The operation.
        key: What its draws depend on besides the row.
        x: The rows.
        rows: What is known about them.

    Raises:
        DataError: The operation changes its input, or does not return one result per row.

    >>> from mlgraph.data.lazy.operation import Function
    >>> rows = Drawn(np.arange(2), np.zeros(2, np.uint64), Draw(1))
    >>> run(Function("root", torch.sqrt), "root", Stack(torch.tensor([4.0, 9.0])), rows).value()
    tensor([2., 3.])
    """
    before = x.version()
    try:
        result = _drawn(operation, key, x, rows) if operation.random else each(operation, x)
    except MLGraphError as error:
        raise error.at(f"node {operation.id!r}, rows {_some(rows.ids)}") from error.__cause__
    except Exception as error:
        error.add_note(f"in node {operation.id!r}, of rows {_some(rows.ids)}")
        raise
    if x.version() != before:
        raise DataError(
            f"Operation {operation.id!r} changes its input in place.",
            where=f"node {operation.id!r}",
            why="other columns may need what it had before",
            mend="let it return a new tensor",
        )
    return result


def each(operation: Operation, x: Stack) -> Stack:
    """The results of an operation that draws nothing.

    Raises:
        DataError: It draws all the same, or does not return one result per row.

    >>> from mlgraph.data.lazy.operation import Function
    >>> each(Function("root", torch.sqrt), Stack(torch.tensor([4.0, 9.0]))).value()
    tensor([2., 3.])
    """
    if not isinstance(operation, Function):
        return _steady(operation, x)
    before = torch.default_generator.get_state()
    result = _steady(operation, x)
    if not torch.equal(before, torch.default_generator.get_state()) and _draws(operation, x):
        raise DataError(
            f"Operation {operation.id!r} draws random numbers without random=True.",
            where=f"node {operation.id!r}",
            why="what a row draws would depend on the other rows, and could be kept for ever",
            mend="write random=True beside the function",
        )
    return result


def _draws(operation: Operation, x: Stack) -> bool:
    """Whether it was this operation that drew, and not another thread."""
    with forked():
        before = torch.default_generator.get_state()
        _steady(operation, x)
        return not torch.equal(before, torch.default_generator.get_state())


def _steady(operation: Operation, x: Stack) -> Stack:
    if not operation.batched:
        with threads(1):
            return Stack([operation(row) for row in x.rows()])
    together = x.stacked()
    if together is None:
        return Stack([operation(row[None])[0] for row in x.rows()])
    result = operation(together)
    if len(result) != len(together):
        raise DataError(
            f"Operation {operation.id!r} does not return one result per row.",
            where=f"node {operation.id!r}",
            why=f"{len(together)} rows went in, and {len(result)} came out",
            mend="keep the first dimension, or leave out batched=True",
        )
    return Stack(result)


def _drawn(operation: Operation, key: str, x: Stack, rows: Drawn) -> Stack:
    places = keys(rows.draw, key, rows.ids, rows.copies)
    if operation.draws:
        return _at_once(operation, x, uniforms(places, operation.draws))
    found = []
    with threads(1):
        for seed, row in zip(places.tolist(), x.rows(), strict=True):
            torch.default_generator.manual_seed(seed)
            found.append(operation(row[None])[0] if operation.batched else operation(row))
    return Stack(found)


def _at_once(operation: Operation, x: Stack, uniform: Tensor) -> Stack:
    together = x.stacked()
    if together is not None:
        return Stack(operation.draw_batch(together, uniform))
    pairs = zip(x.rows(), torch.split(uniform, 1), strict=True)
    return Stack([operation.draw_batch(row[None], numbers)[0] for row, numbers in pairs])


def _some(row_ids: NDArray[np.int64]) -> str:
    shown = ", ".join(map(str, row_ids[:5].tolist()))
    return shown if len(row_ids) <= 5 else f"{shown}, ..."
