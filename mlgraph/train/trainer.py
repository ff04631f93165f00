"""Trainer: the terminal node. A description of a network goes in; a fitted model is its state.

While fitting it builds the network and runs the loop, inside a forked random stream. Applied to
new data it returns a Prediction. Checked, it builds the network on the meta device and stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import attrs
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, fx, nn

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.data.batch import Feed, TensorBatches, target_tensor, weight_tensor
from mlgraph.data.prediction import Prediction
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import (
    ConfigError,
    DataError,
    MLGraphError,
    did_you_mean,
    listing,
    together,
)
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.net.layer import Start
from mlgraph.net.network import n_parameters, network
from mlgraph.train.blame import naming_layer, refusing_step
from mlgraph.train.callback import Callback, EarlyStopping, Progress
from mlgraph.train.device import resolve_device, shows_progress
from mlgraph.train.encode import check_output, prediction
from mlgraph.train.loop import Plan, Run, Validation, apply_network, history_columns, train
from mlgraph.train.lossfn import class_weights
from mlgraph.train.metric import Metric
from mlgraph.train.metric import resolve as resolve_metrics
from mlgraph.train.objective import Loss, Optimizer, default_loss, default_optimizer
from mlgraph.train.trained import Trained, seeded


@attrs.frozen
class Summary:
    """What a trainer would train: a note per thing that the graph does not say."""

    notes: tuple[str, ...]


class Trainer(Node):
    """Train the network that arrives, and predict with it.

    Args:
        epochs: Total number of passes over the training data.
        batch_size: Rows per step.
        batch_size_predict: Rows per batch when predicting and validating; None chooses.
        shuffle: Draw a new row order in each epoch.
        drop_last: Leave out a last batch that is not full.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        metrics: Scores on the validation data, by name or as functions.
        monitor: The score that early stopping watches; by default the first metric, else the loss.
        eval_freq: Validate every so many epochs, and after the last.
        patience: Evaluations without improvement after which to stop; 0 never stops.
        min_delta: What counts as an improvement.
        restore_best_weights: End with the weights of the best evaluation; needs ``patience``.
        use_valid: Use the validation data that arrive.
        class_weight: ``"balanced"``, weights by class, or the weight of the positive class.
        progress: Show a progress bar; ``"auto"`` does in terminals and notebooks.
    """

    inputs = (Port("input", fit=ModelDescriptor, apply=Feed),)
    outputs = (Port("output", fit=None, apply=Prediction),)
    trains: ClassVar[bool] = True
    random: ClassVar[bool] = True

    epochs: int = param(default=100, lower=0, tags={"internal_tuning"})
    batch_size: int = param(default=32, lower=1)
    batch_size_predict: int | None = param(default=None, lower=1, tags={"predict"})
    shuffle: bool = True
    drop_last: bool = False
    device: str = param(default="auto", tags={"runtime"})
    metrics: Any = param(default=(), convert=lambda value: _as_tuple(value))
    monitor: str | None = None
    eval_freq: int = param(default=1, lower=1)
    patience: int = param(default=0, lower=0)
    min_delta: float = param(default=0.0, lower=0)
    restore_best_weights: bool = True
    use_valid: bool = True
    class_weight: Any = None
    progress: bool | Literal["auto"] = param(default="auto", tags={"runtime"})

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        descriptor: ModelDescriptor = inputs["input"]
        setup = self._setup(descriptor, ctx)
        device = resolve_device(self.device)
        data = self._training_data(descriptor)
        with seeded(ctx.seed, device):
            run = self._prepared(setup, data, descriptor, ctx, device)
            _train(run, setup, descriptor)
        return (None,), _state(run, descriptor, setup, ctx.seed)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        feed: Feed = inputs["input"]
        device = resolve_device(self.device)
        tensors = feed.tensors(state.descriptor.tokens)
        batches = TensorBatches(tensors, None, None, self._predict_size()).to(device)
        spec = state.descriptor.task
        if len(feed.task) == 0:
            return (prediction(torch.empty(0, spec.output_size), feed.task, spec),)
        module = state.live(device)
        with naming_layer(module, _layers(state.descriptor)):
            output = apply_network(module, batches)
        return (prediction(output, feed.task, spec),)

    def check(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        descriptor: ModelDescriptor = inputs["input"]
        notes: list[str] = []
        steps = (
            lambda: notes.extend(self._check_setup(descriptor, ctx)),
            lambda: self._training_data(descriptor),
        )
        _refuse(_findings(steps), "training")
        return (None,), Summary(tuple(notes))

    # Checks -----------------------------------------------------------------------------------

    def _check_setup(self, descriptor: ModelDescriptor, ctx: Context) -> list[str]:
        setup = self._setup(descriptor, ctx)
        built = network(descriptor, "meta")
        notes = [f"{n_parameters(built):,} parameters"]
        if descriptor.loss is None:
            notes.append(f"the loss is {setup.loss!r}")
        if descriptor.optimizer is None:
            notes.append(f"the optimizer is {setup.optimizer!r}")
        self._check_batches(built, len(next(iter(descriptor.inputs.values()))))
        return notes

    def _setup(self, descriptor: ModelDescriptor, ctx: Context) -> _Setup:
        """Everything that can be decided before weights exist, every mistake at once."""
        spec = descriptor.task
        loss = descriptor.loss or default_loss(spec)
        counts = _class_counts(descriptor.inputs.task, spec)
        checks = (
            partial(check_output, descriptor),
            partial(loss.check, spec),
            partial(class_weights, spec, self.class_weight, counts),
            partial(self._scored, spec, ctx),
            partial(resolve_device, self.device),
        )
        _refuse(_findings(checks), "training")
        metrics, callbacks = self._scored(spec, ctx)
        return _Setup(
            loss=loss,
            optimizer=descriptor.optimizer or default_optimizer(),
            metrics=metrics,
            callbacks=callbacks,
        )

    def _scored(
        self, spec: TaskSpec, ctx: Context
    ) -> tuple[Mapping[str, Metric], tuple[Callback, ...]]:
        """The metrics, and the callbacks, one of which may watch a metric."""
        metrics = resolve_metrics(self.metrics, spec.kind) if self.metrics else {}
        return metrics, self._callbacks(metrics, ctx)

    def _callbacks(self, metrics: Mapping[str, Metric], ctx: Context) -> tuple[Callback, ...]:
        found: list[Callback] = [Progress()] if shows_progress(self.progress) else []
        if self.patience and not (ctx.has_valid and self.use_valid):
            raise ConfigError(
                f"patience={self.patience} needs validation data, and there are none.",
                mend="graph.fit(task, valid=0.2), or patience=0",
            )
        if self.patience:
            name, greater = self._monitored(metrics)
            stop = EarlyStopping(
                name, greater, self.patience, self.min_delta, self.restore_best_weights
            )
            found.append(stop)
        return tuple(found)

    def _monitored(self, metrics: Mapping[str, Metric]) -> tuple[str, bool]:
        directions: dict[str, bool | None] = {"valid_loss": False}
        directions |= {f"valid_{n}": metric.greater_is_better for n, metric in metrics.items()}
        name = self.monitor or list(directions)[1 if metrics else 0]
        name = name if name in directions else f"valid_{name}"
        if name not in directions:
            raise ConfigError(
                f"There is no score {self.monitor!r} to monitor.",
                why=f"the scores are {listing(directions)}",
                mend=did_you_mean(self.monitor, directions) or "name it in metrics=",
            )
        greater = directions[name]
        if greater is None:
            raise ConfigError(
                f"Whether {name!r} should be high or low is not known.",
                mend="metrics=[metric(f, greater_is_better=True)]",
            )
        return name, greater

    def _check_batches(self, built: nn.Module, rows: int) -> None:
        """Batch norm cannot learn from a single row."""
        if rows == 0:
            raise DataError("There are no rows to train on.")
        if has_batch_statistics(built) and (rows == 1 or self.batch_size == 1):
            raise DataError(
                "Batch norm cannot learn from batches of one row (n_samples=1)."
                if rows == 1
                else "Batch norm cannot learn from batches of one row (batch_size=1).",
                why="the variance of a single value is not defined",
                mend='use more rows and a larger batch_size, or nn("layer_norm")',
            )

    # Training ---------------------------------------------------------------------------------

    def _training_data(self, descriptor: ModelDescriptor) -> TensorBatches:
        feed, spec = descriptor.inputs, descriptor.task
        if len(feed.task) == 0:
            raise DataError("There are no rows to train on.")
        weights = weight_tensor(feed.task)
        tensors = feed.tensors(descriptor.tokens)
        target = target_tensor(feed.task, spec)
        return TensorBatches(tensors, target, weights, self.batch_size, self.drop_last)

    def _prepared(
        self,
        setup: _Setup,
        data: TensorBatches,
        descriptor: ModelDescriptor,
        ctx: Context,
        device: torch.device,
    ) -> Run:
        built = started(descriptor, data.inputs).to(device)
        self._check_batches(built, data.rows)
        data = attrs.evolve(data, merge_last=has_batch_statistics(built)).to(device)
        spec = descriptor.task
        counts = _class_counts(descriptor.inputs.task, spec)
        objective = setup.loss.build(spec, self.class_weight, counts).to(device)
        validation = self._validation(setup.metrics, descriptor, ctx, device)
        return Run(
            network=built,
            objective=objective,
            optimizer=setup.optimizer.build(list(built.parameters())),
            batches=data,
            plan=Plan(epochs=self.epochs, shuffle=self.shuffle, eval_freq=self.eval_freq),
            seed=ctx.seed,
            validation=validation,
        )

    def _validation(
        self,
        metrics: Mapping[str, Metric],
        descriptor: ModelDescriptor,
        ctx: Context,
        device: torch.device,
    ) -> Validation | None:
        if not (ctx.has_valid and self.use_valid) or ctx.valid is None:
            return None
        feed: Feed = ctx.valid["input"]
        spec = descriptor.task
        tensors = feed.tensors(descriptor.tokens)
        target, weights = target_tensor(feed.task, spec), weight_tensor(feed.task)
        batches = TensorBatches(tensors, target, weights, self._predict_size()).to(device)

        def scorer(output: Tensor) -> dict[str, float]:
            if not metrics:
                return {}
            found = prediction(output, feed.task, spec)
            return {f"valid_{name}": metric(found) for name, metric in metrics.items()}

        return Validation(batches=batches, scorer=scorer)

    def _predict_size(self) -> int:
        # Without gradients larger batches cost little memory and save most of the overhead.
        return self.batch_size_predict or max(self.batch_size, 1024)


@attrs.frozen(kw_only=True)
class _Setup:
    loss: Loss
    optimizer: Optimizer
    metrics: Mapping[str, Metric]
    callbacks: tuple[Callback, ...]


def started(descriptor: ModelDescriptor, tensors: tuple[Tensor, ...]) -> fx.GraphModule:
    """The real network, with the start its layers give it."""
    built = network(descriptor)
    start = Start(dict(zip(descriptor.tokens, tensors, strict=True)))
    for call in descriptor.reachable():
        call.layer.initialize(built.get_submodule(call.id), start)
    return built


def has_batch_statistics(module: nn.Module) -> bool:
    """Whether a module computes statistics over the batch while training.

    >>> has_batch_statistics(nn.Sequential(nn.BatchNorm1d(3)))
    True
    """
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def _train(run: Run, setup: _Setup, descriptor: ModelDescriptor) -> None:
    with (
        naming_layer(run.network, _layers(descriptor)),
        refusing_step(run.optimizer, setup.optimizer),
    ):
        train(run, setup.callbacks)


def _layers(descriptor: ModelDescriptor) -> list[str]:
    return [call.id for call in descriptor.reachable()]


def _state(run: Run, descriptor: ModelDescriptor, setup: _Setup, seed: int) -> Trained:
    tensors = {name: t.detach().cpu().clone() for name, t in run.network.state_dict().items()}
    return Trained(
        descriptor=descriptor.without_data(),
        tensors=tensors,
        history=pa.table(history_columns(run.rows)),
        seed=seed,
        epochs=run.epoch,
        best_epoch=_best_epoch(run, setup),
        interrupted=run.interrupted,
        stopped=run.stopped,
        loss=setup.loss,
        optimizer=setup.optimizer,
    )


def _best_epoch(run: Run, setup: _Setup) -> int:
    """The epoch of the best evaluation if one was watched, else the last."""
    for callback in setup.callbacks:
        if isinstance(callback, EarlyStopping):
            best, epoch = float("nan"), run.epoch
            for row in run.rows:
                score = row.get(callback.monitor, float("nan"))
                if callback.improves(score, best):
                    best, epoch = score, int(row["epoch"])
            return epoch
    return run.epoch


def _class_counts(task: Task, spec: TaskSpec) -> list[int] | None:
    if spec.kind != "classification":
        return None
    counts: list[int] = np.bincount(task.target_codes(), minlength=len(spec.classes)).tolist()
    return counts


def _findings(checks: Iterable[Callable[[], Any]]) -> list[MLGraphError]:
    """What the checks find, each run whatever the others find."""
    found: list[MLGraphError] = []
    for check in checks:
        try:
            check()
        except MLGraphError as error:
            found.append(error)
    return found


def _refuse(found: list[MLGraphError], what: str) -> None:
    if found:
        raise together(found, f"{len(found)} things are wrong with the {what}.")


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)
