"""What is prepared for a run: tensors, the real network, and how validation data are scored."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from mlgraph.core.value import FrozenDict
from mlgraph.data.batch import Batches
from mlgraph.data.batching import batched
from mlgraph.data.feed import Feed, target_tensor, weight_tensor
from mlgraph.data.loader import Loading
from mlgraph.data.prediction import Prediction
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import (
    ConfigError,
    DataError,
    GraphError,
    MLGraphError,
    ShapeError,
    did_you_mean,
    listing,
)
from mlgraph.net.build import initialize
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.net.network import network
from mlgraph.train.encode import prediction
from mlgraph.train.metric import Metric
from mlgraph.train.run import Scorer, TrainScores, Validation
from mlgraph.train.sampler import Rows


def training_data(
    descriptor: ModelDescriptor,
    size: int,
    drop_last: bool,
    seed: int = 0,
    loading: Loading | None = None,
) -> Batches:
    """The rows to train on, those of weight 0 left out.

    Raises:
        DataError: There are none, or a value cannot enter the network.

    >>> from mlgraph import nn as layer
    >>> task = Task({"x": [1.0, 2.0], "y": [0.5, 1.0]}, target="y").with_weight([1.0, 0.0])
    >>> (descriptor,) = layer("linear").as_graph().fit(task).outputs.values()
    >>> training_data(descriptor, size=8, drop_last=False).target
    tensor([[0.5000]])
    """
    data = _batches(descriptor, descriptor.inputs, size, seed, loading).that_count()
    if data.rows == 0:
        raise DataError(
            "There are no rows to train on.", why="rows of weight 0 do not count", mend="add rows"
        )
    return data.but(drop_last=drop_last)


def check_applied(descriptor: ModelDescriptor, feed: Feed) -> None:
    """Refuse tensors that have another form where the network is applied than in training.

    Args:
        descriptor: The network with its training data.
        feed: What arrives where it is applied; no row of it is read.

    Raises:
        ShapeError: Shape or dtype of a column differ.

    >>> from mlgraph import nn as layer
    >>> task = Task({"x": torch.zeros(2, 3), "y": [0.5, 1.0]}, target="y")
    >>> (descriptor,) = layer("linear").as_graph().fit(task).outputs.values()
    >>> check_applied(descriptor, descriptor.inputs)
    """
    for id, token in descriptor.tokens.items():
        if token.lazy(feed[id]) is None:
            continue
        name = token.columns[0]
        then, now = descriptor.inputs[id].lazy(name).dtype, feed[id].lazy(name).dtype
        if then != now:
            raise ShapeError(
                f"Column {name!r} has another dtype than in training.",
                where=f"node {id!r}",
                why=f"it was {then} and is {now}",
                mend='give operations that change the dtype stages="both"',
            )


def validation_data(
    descriptor: ModelDescriptor,
    feed: Feed,
    metrics: Mapping[str, Metric],
    size: int,
    device: torch.device,
    seed: int = 0,
    loading: Loading | None = None,
) -> Validation:
    """The rows to evaluate on, and how.

    Raises:
        DataError: There are none, or a value cannot enter the network.

    >>> from mlgraph import nn as layer
    >>> task = Task({"x": [1.0, 2.0], "y": [0.5, 1.0]}, target="y").with_weight([1.0, 0.0])
    >>> (descriptor,) = layer("linear").as_graph().fit(task).outputs.values()
    >>> validation_data(descriptor, descriptor.inputs, {}, 8, torch.device("cpu")).batches.rows
    2
    """
    data = _batches(descriptor, feed, size, seed, loading)
    if data.rows == 0:
        raise DataError("There are no rows to validate on.", mend="pass other rows as valid=")
    score = scorer(metrics, feed.task, descriptor.task)
    return Validation(batches=data.to(device), scorer=score)


def scorer(metrics: Mapping[str, Metric], task: Task, spec: TaskSpec) -> Scorer:
    """What the metrics say of outputs for this task; NaN where outputs are no numbers.

    >>> from mlgraph.train.metric import resolve
    >>> task = Task({"y": [1.0, 2.0]}, target="y")
    >>> score = scorer(resolve(["rmse"], task.kind), task, TaskSpec.of(task))
    >>> score(torch.tensor([[1.0], [2.0]])), score(torch.tensor([[1.0], [float("inf")]]))
    ({'valid_rmse': 0.0}, {'valid_rmse': nan})
    """

    def score(output: Tensor, kept: NDArray[np.int64] | None = None) -> dict[str, float]:
        rows = task if kept is None else task.take(kept)
        return scores("valid", metrics, output, rows, spec)

    return score if metrics else _nothing


def _nothing(output: Tensor, kept: NDArray[np.int64] | None = None) -> dict[str, float]:
    return {}


def train_scored(
    metrics: Mapping[str, Metric],
    descriptor: ModelDescriptor,
    data: Batches,
    clean: int | None,
) -> TrainScores | None:
    """How training rows are scored; None without metrics.

    Args:
        metrics: The metrics.
        descriptor: What is trained, with its data.
        data: The rows to train on.
        clean: Rows per batch of a pass in eval mode; None scores the outputs of the steps.

    >>> train_scored({}, None, None, None) is None
    True
    """
    if not metrics:
        return None
    whole = data.but(size=clean or data.size, drop_last=False, merge_last=False)
    score = train_scorer(metrics, descriptor.inputs, descriptor.task)
    return TrainScores(scorer=score, clean=whole if clean else None)


def rows_of(data: Batches, descriptor: ModelDescriptor) -> Rows:
    """The rows that a sampler may draw.

    >>> from mlgraph import nn as layer
    >>> task = Task({"x": [1.0, 2.0], "y": ["u", "v"]}, target="y")
    >>> (descriptor,) = layer("linear").as_graph().fit(task).outputs.values()
    >>> rows_of(training_data(descriptor, 8, False), descriptor).codes
    tensor([0, 1])
    """
    spec = descriptor.task
    codes = class_codes(descriptor.inputs.task, spec)
    return Rows(data, codes, tuple(spec.classes or ()))


def train_scorer(
    metrics: Mapping[str, Metric], feed: Feed, spec: TaskSpec
) -> Callable[[Tensor, Tensor | None], dict[str, float]]:
    """What the metrics say of outputs for some rows of those that are trained on.

    The places of these rows are counted among the rows that count; None: all of them.

    >>> from mlgraph.train.metric import resolve
    >>> task = Task({"y": [1.0, 2.0]}, target="y")
    >>> score = train_scorer(resolve(["rmse"], task.kind), Feed({"x": task}), TaskSpec.of(task))
    >>> score(torch.tensor([[2.0]]), torch.tensor([1]))
    {'train_rmse': 0.0}
    """
    weights = feed.task.weights()
    counting = feed.task if weights is None else feed.task.take(np.flatnonzero(weights))

    def score(output: Tensor, places: Tensor | None) -> dict[str, float]:
        rows = counting if places is None else counting.take(places.numpy())
        return scores("train", metrics, output, rows, spec)

    return score


def scores(
    of: str, metrics: Mapping[str, Metric], output: Tensor, task: Task, spec: TaskSpec
) -> dict[str, float]:
    """What the metrics say of outputs; NaN where outputs are no numbers, or a metric fails.

    A metric that fails is named in a warning: the training goes on.

    Args:
        of: What the names begin with.
        metrics: The metrics.
        output: The outputs, one per row of the task.
        task: The rows.
        spec: What is learned.

    >>> from mlgraph.train.metric import resolve
    >>> task = Task({"y": [1.0, 2.0]}, target="y")
    >>> metrics = resolve(["rmse"], task.kind)
    >>> scores("some", metrics, torch.tensor([[1.0], [2.0]]), task, TaskSpec.of(task))
    {'some_rmse': 0.0}
    """
    if not output.isfinite().all():
        return {f"{of}_{name}": math.nan for name in metrics}
    found = prediction(output, task, spec)
    return {f"{of}_{name}": _value(metric, found) for name, metric in metrics.items()}


def _value(metric: Metric, found: Prediction) -> float:
    try:
        return metric(found)
    except ConfigError:
        raise
    except Exception as error:
        text = error.what if isinstance(error, MLGraphError) else f"{type(error).__name__}: {error}"
        warnings.warn(f"Metric {metric.name!r} failed, and is NaN: {text}", stacklevel=2)
        return math.nan


def watched(
    monitor: str | None,
    metrics: Mapping[str, Metric],
    metrics_train: Mapping[str, Metric] = FrozenDict(),
) -> tuple[str, bool]:
    """The score that early stopping watches, and whether a greater one is better.

    Args:
        monitor: Its name, the prefix ``valid_`` may be left out; None: the first metric, else the
            loss.
        metrics: The metrics on validation data.
        metrics_train: The metrics on training data.

    Raises:
        ConfigError: There is no such score, or it has no direction.

    >>> watched(None, {})
    ('valid_loss', False)
    """
    directions: dict[str, bool | None] = {"valid_loss": False}
    directions |= {f"valid_{name}": metric.greater_is_better for name, metric in metrics.items()}
    directions["train_loss"] = False
    directions |= {f"train_{name}": m.greater_is_better for name, m in metrics_train.items()}
    name = monitor or list(directions)[1 if metrics else 0]
    name = name if name in directions else f"valid_{name}"
    if name not in directions:
        raise ConfigError(
            f"There is no score {monitor!r} to monitor.",
            why=f"the scores are {listing(directions)}",
            mend=did_you_mean(monitor, directions) or "name it in metrics= or metrics_train=",
        )
    greater = directions[name]
    if greater is None:
        raise ConfigError(
            f"Whether {name!r} should be high or low is not known.",
            mend="metrics=[mlgraph.metric(f, greater_is_better=True)]",
        )
    return name, greater


def started(descriptor: ModelDescriptor, tensors: tuple[Tensor | None, ...]) -> fx.GraphModule:
    """The real network, with the start its layers give it.

    >>> from mlgraph import nn as layer
    >>> task = Task({"x": [1.0, 2.0], "y": [0.5, 1.0]}, target="y").with_weight([1.0, 0.0])
    >>> (descriptor,) = layer("linear").as_graph().fit(task).outputs.values()
    >>> started(descriptor, training_data(descriptor, 8, False).ready).linear
    Linear(in_features=1, out_features=1, bias=True)
    """
    built = network(descriptor)
    given = zip(descriptor.tokens, tensors, strict=True)
    initialize(built, descriptor, {id: tensor for id, tensor in given if tensor is not None})
    return built


def check_batches(module: nn.Module, rows: int, size: int, drop_last: bool = False) -> None:
    """Refuse batches of one row where the network has batch statistics, and no batch at all.

    Raises:
        DataError: There is one row, or ``batch_size=1``; or no full batch, and only those count.

    >>> check_batches(nn.Linear(1, 1), rows=1, size=1)
    """
    if has_batch_statistics(module) and (rows == 1 or size == 1):
        found = "n_samples=1" if rows == 1 else "batch_size=1"
        raise DataError(
            f"Batch norm cannot learn from batches of one row ({found}).",
            why="the variance of a single value is not defined",
            mend='use more rows and a larger batch_size, or nn("layer_norm")',
        )
    if drop_last and rows < size:
        raise DataError(
            f"There is no full batch: batch_size={size}, and {rows} rows to train on.",
            why="drop_last=True leaves out a batch that is not full",
            mend="choose a smaller batch_size, or drop_last=False",
        )


def check_weights(module: nn.Module) -> None:
    """Refuse a network without anything to learn.

    Raises:
        GraphError: No layer has weights.

    >>> check_weights(nn.Linear(1, 1))
    """
    if not any(weight.requires_grad for weight in module.parameters()):
        raise GraphError(
            "The network has nothing to learn.",
            why="all of its weights are frozen"
            if any(True for _ in module.parameters())
            else "none of its layers has weights",
            mend='put nn("head") or nn("linear") before the trainer',
        )


def has_batch_statistics(module: nn.Module) -> bool:
    """Whether a module computes statistics over the batch while training.

    >>> has_batch_statistics(nn.Sequential(nn.BatchNorm1d(3)))
    True
    """
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def class_codes(task: Task, spec: TaskSpec) -> Tensor | None:
    """The place of each row's class, rows of weight 0 left out, ``(rows,)``; None without classes.

    >>> task = Task({"y": ["b", "a", "b"]}, target="y")
    >>> class_codes(task, TaskSpec.of(task))
    tensor([1, 0, 1])
    """
    if not spec.classes:
        return None
    codes, weights = task.target_codes(), task.weights()
    return torch.from_numpy(codes if weights is None else codes[weights > 0]).long()


def class_counts(task: Task, spec: TaskSpec) -> list[int] | None:
    """The number of rows of each class, those of weight 0 left out; None without classes.

    >>> task = Task({"y": ["b", "a", "b"]}, target="y")
    >>> class_counts(task, TaskSpec.of(task))
    [1, 2]
    """
    if not spec.classes:
        return None
    codes, weights = task.target_codes(), task.weights()
    counting = (codes >= 0) & (True if weights is None else weights > 0)
    counts: list[int] = np.bincount(codes[counting], minlength=len(spec.classes)).tolist()
    return counts


def _batches(
    descriptor: ModelDescriptor, feed: Feed, size: int, seed: int, loading: Loading | None
) -> Batches:
    target, weights = target_tensor(feed.task, descriptor.task), weight_tensor(feed.task)
    return batched(feed, descriptor.tokens, target, weights, size, seed=seed, loading=loading)
