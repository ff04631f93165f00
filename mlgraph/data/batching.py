"""What is fed to a network, in batches: tensors, or rows that are read while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from torch import Tensor

from mlgraph.data.batch import Batches, TensorBatches
from mlgraph.data.feed import Feed
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.pending import Lazy
from mlgraph.data.loader import Loading, ReadBatches
from mlgraph.data.token import IngressToken

_AUTO = 64 * 2**20


def batched(
    feed: Feed,
    tokens: Mapping[str, IngressToken],
    target: Tensor | None,
    weights: Tensor | None,
    size: int,
    *,
    seed: int = 0,
    loading: Loading | None = None,
) -> Batches:
    """What is fed to a network in batches: tensors, or rows that are read batch by batch.

    Args:
        feed: The task of each ingress.
        tokens: The ingresses, in the order of the network's arguments.
        target: The target, rows first.
        weights: Row weights.
        size: Rows per batch.
        seed: What random operations depend on.
        loading: How rows are read.

    Raises:
        DataError: A value cannot enter the network.
        ShapeError: A column has another shape than in training.

    >>> from mlgraph import Task
    >>> from mlgraph.data.token import NumericToken
    >>> feed = Feed({"x": Task({"a": [1.0, 2.0, 3.0]})})
    >>> batched(feed, {"x": NumericToken("x", ("a",))}, None, None, 2).n_batches
    2
    """
    lazy = {id: token.lazy(feed[id]) for id, token in tokens.items()}
    columns = {id: column for id, column in lazy.items() if column is not None}
    if not columns:
        return TensorBatches(feed.tensors(tokens), target, weights, size)
    return ReadBatches(
        inputs=tuple(id if id in columns else t.tensor(feed[id]) for id, t in tokens.items()),
        columns=columns,
        row_ids=feed.task.row_ids,
        places=np.arange(len(feed.task)),
        target=target,
        weights=weights,
        size=size,
        seed=seed,
        loading=loading or Loading(),
        titles={id: tokens[id].columns[0] for id in columns},
    )


def settled(batches: Batches, keep: bool | Literal["auto"]) -> Batches:
    """The same batches, with what is read kept in memory where that changes nothing.

    Random operations draw anew in each epoch; what comes before them is kept.

    Args:
        batches: The batches.
        keep: Whether to; ``"auto"`` keeps up to 64 MB of tensors that nothing random is done to.

    >>> import torch
    >>> batches = TensorBatches((torch.zeros(4, 1),), None, None, 2)
    >>> settled(batches, True) is batches
    True
    """
    if not isinstance(batches, ReadBatches) or not keep:
        return batches
    size = batches.n_bytes
    if keep == "auto" and (batches.is_random or size is None or size > _AUTO):
        return batches
    whole = None if batches.is_random else batches.in_memory()
    if whole is not None:
        return whole
    kept = {name: _remembering(column) for name, column in batches.columns.items()}
    return batches.but(columns=kept)


def _remembering(column: LazyTensor) -> LazyTensor:
    """The column with what comes before its first random operation kept in memory."""
    steps = column.lazy.operations
    n = next((i for i, step in enumerate(steps) if step.random), len(steps))
    before = column.over_lazy(Lazy(column.lazy.sources, steps[:n]))
    if set(before.spec.names) - {"batch"}:
        return column  # rows of different shapes are read anew
    kept = before.cached()
    return kept.over_lazy(Lazy(kept.lazy.sources, steps[n:]))
