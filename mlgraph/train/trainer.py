"""Trainer: the terminal node. A description of a network goes in; a fitted model is its state.

While fitting it builds the network and runs the loop, inside a forked random stream. Applied to
new data it returns a Prediction. Checked, it builds the network on the meta device and stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
import pyarrow as pa
import torch

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.data.batch import Feed, TensorBatches
from mlgraph.data.prediction import Prediction
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ConfigError, MLGraphError, together
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.net.network import copied, n_parameters, network
from mlgraph.tensor.stream import forked
from mlgraph.train.blame import naming_layer, refusing_step
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.early_stopping import EarlyStopping
from mlgraph.train.callbacks.progress import Progress
from mlgraph.train.checkpoint import Checkpoint, existing, identity, latest, resumed
from mlgraph.train.compiled import backend_of, check_backend, compiled
from mlgraph.train.device import resolve_device, shows_progress
from mlgraph.train.encode import check_output, prediction
from mlgraph.train.loop import apply_network, history_columns, train
from mlgraph.train.lossfn import class_weights
from mlgraph.train.members import OfMembers, is_ensemble
from mlgraph.train.metric import Metric
from mlgraph.train.metric import resolve as resolve_metrics
from mlgraph.train.objective import Loss, Optimizer, default_loss, default_optimizer
from mlgraph.train.precision import Precision, computed, dtype_of, steps_of
from mlgraph.train.prepare import (
    check_batches,
    check_weights,
    class_counts,
    has_batch_statistics,
    started,
    training_data,
    validation_data,
    watched,
)
from mlgraph.train.run import Plan, Run, Validation
from mlgraph.train.snapshot import kept_streams
from mlgraph.train.threads import threads
from mlgraph.train.trained import Trained


@attrs.frozen
class Summary:
    """What a trainer would train: a note per thing that the graph does not say.

    >>> Summary(("9 parameters",)).notes
    ('9 parameters',)
    """

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
        precision: What the network computes in: ``"32"``, or as far as that is safe ``"bf16"``, or
            ``"fp16"`` with scaled gradients. Weights, losses and outputs are always float32.
        compile: Compile the network with ``torch.compile``: ``"off"``, ``"on"``, or ``"auto"``: on
            CUDA if there are many steps, and not at all where the compiler fails. Any backend of
            torch may be named.
        num_threads: Threads torch computes with on the CPU; None leaves them alone.
        metrics: Scores on the validation data, by name or as functions.
        monitor: The score that early stopping watches; by default the first metric, else the loss.
        eval_freq: Validate every so many epochs, and after the last.
        accumulate: Batches whose gradients make one step of the optimizer.
        patience: Evaluations without improvement after which to stop; 0 never stops.
        min_delta: What counts as an improvement.
        restore_best_weights: End with the weights of the best evaluation; needs ``patience``.
        use_valid: Use the validation data that arrive.
        class_weight: ``"balanced"``, weights by class, or the weight of the positive class.
        progress: Show a progress bar; ``"auto"`` does in terminals and notebooks.
        resume: Go on from the latest checkpoint in this folder, or with True in that of the
            callback ``checkpoint``; an empty folder begins a new run. ``epochs`` stays the total.

    >>> Trainer(epochs=5).changed()
    {'epochs': 5}
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
    precision: Precision = "32"
    compile: str = param(default="off", tags={"runtime"})
    num_threads: int | None = param(default=None, lower=1, tags={"runtime"})
    metrics: Any = param(default=(), convert=lambda value: _as_tuple(value))
    monitor: str | None = None
    eval_freq: int = param(default=1, lower=1)
    accumulate: int = param(default=1, lower=1)
    patience: int = param(default=0, lower=0)
    min_delta: float = param(default=0.0, lower=0)
    restore_best_weights: bool = True
    use_valid: bool = True
    class_weight: Any = None
    progress: bool | Literal["auto"] = param(default="auto", tags={"runtime"})
    resume: bool | str | None = param(default=None, tags={"runtime"})

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        descriptor: ModelDescriptor = inputs["input"]
        setup = self._setup(descriptor, ctx)
        data = self._training_data(descriptor)
        saved = None if setup.folder is None else latest(setup.folder)
        with threads(self.num_threads), kept_streams(), forked(ctx.seed, setup.device):
            run = self._prepared(setup, data, descriptor, ctx)
            _train(run, setup, descriptor, saved)
        return (None,), _state(run, descriptor, setup)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        feed: Feed = inputs["input"]
        device = resolve_device(self.device)
        tensors = feed.tensors(state.descriptor.tokens)
        batches = TensorBatches(tensors, None, None, self._predict_size()).to(device)
        spec = state.descriptor.task
        if batches.rows == 0:
            return (prediction(torch.empty(0, spec.output_size), feed.task, spec),)
        module, dtype = state.live(device), dtype_of(self.precision, device)
        backend = backend_of(self.compile, device, batches.n_batches)
        code = state.code(device, backend, self.compile != "auto") if backend else None
        callbacks = state.descriptor.callbacks.values()
        with threads(self.num_threads), naming_layer(module, _layers(state.descriptor)):
            forward = computed(module, code, dtype, device)
            output = apply_network(module, batches, callbacks, forward)
        return (prediction(output, feed.task, spec),)

    def check(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        descriptor: ModelDescriptor = inputs["input"]
        notes, *_ = _every(
            partial(self._notes, descriptor, ctx),
            partial(self._training_data, descriptor),
            partial(self._validation, {}, descriptor, ctx, torch.device("cpu")),
        )
        return (None,), Summary(notes)

    def _notes(self, descriptor: ModelDescriptor, ctx: Context) -> tuple[str, ...]:
        setup = self._setup(descriptor, ctx)
        built = network(descriptor, "meta")
        check_weights(built)
        check_batches(built, len(descriptor.inputs.task), self.batch_size)
        notes = [f"{n_parameters(built):,} parameters"]
        if descriptor.loss is None:
            notes.append(f"the loss is {setup.loss!r}")
        if descriptor.optimizer is None:
            notes.append(f"the optimizer is {setup.optimizer!r}")
        return tuple(notes)

    def _setup(self, descriptor: ModelDescriptor, ctx: Context) -> _Setup:
        """Everything that can be decided before weights exist, every mistake at once."""
        spec = descriptor.task
        loss = descriptor.loss or default_loss(spec)
        counts = class_counts(descriptor.inputs.task, spec)
        device, (metrics, own), folder, *_ = _every(
            partial(self._device),
            partial(self._scored, spec, ctx),
            partial(self._folder, descriptor.callbacks.values()),
            partial(check_backend, self.compile),
            partial(check_output, descriptor),
            partial(loss.check, spec),
            partial(class_weights, spec, self.class_weight, counts),
        )
        return _Setup(
            device=device,
            loss=loss,
            optimizer=descriptor.optimizer or default_optimizer(),
            metrics=metrics,
            # Ours come last: they see what the others made of the scores.
            callbacks=(*descriptor.callbacks.values(), *own),
            folder=folder,
        )

    def _device(self) -> torch.device:
        device = resolve_device(self.device)
        dtype_of(self.precision, device)
        return device

    def _scored(
        self, spec: TaskSpec, ctx: Context
    ) -> tuple[Mapping[str, Metric], tuple[Callback, ...]]:
        """The metrics, and our own callbacks, one of which may watch a metric."""
        metrics = resolve_metrics(self.metrics, spec.type.scores) if self.metrics else {}
        own: list[Callback] = [Progress(show=True)] if shows_progress(self.progress) else []
        if self.patience:
            own.insert(0, self._early_stopping(metrics, ctx))
        return metrics, tuple(own)

    def _early_stopping(self, metrics: Mapping[str, Metric], ctx: Context) -> EarlyStopping:
        if not self._validates(ctx):
            raise ConfigError(
                f"patience={self.patience} needs validation data, and there are none.",
                mend="graph.fit(task, valid=0.2), or patience=0",
            )
        name, greater = watched(self.monitor, metrics)
        return EarlyStopping(
            monitor=name,
            greater_is_better=greater,
            patience=self.patience,
            min_delta=self.min_delta,
            restore=self.restore_best_weights,
        )

    def _folder(self, callbacks: Iterable[Callback]) -> Path | None:
        """The folder of checkpoints to go on from; None for a run of its own."""
        if not self.resume:
            return None
        if isinstance(self.resume, str):
            return existing(Path(self.resume))
        paths = [Path(c.path) for c in callbacks if isinstance(c, Checkpoint) and c.enabled]
        if not paths:
            raise ConfigError(
                "resume=True needs the callback 'checkpoint', and there is none.",
                mend='po("torch_callbacks", [callback("checkpoint", path=...)]), or resume=path',
            )
        return paths[0] if paths[0].exists() else None

    def _training_data(self, descriptor: ModelDescriptor) -> TensorBatches:
        return training_data(descriptor, self.batch_size, self.drop_last)

    def _prepared(
        self, setup: _Setup, data: TensorBatches, descriptor: ModelDescriptor, ctx: Context
    ) -> Run:
        """The run, on its device."""
        spec, device = descriptor.task, setup.device
        built = started(descriptor, data.inputs).to(device)
        check_weights(built)
        check_batches(built, data.rows, self.batch_size)
        counts = class_counts(descriptor.inputs.task, spec)
        objective = setup.loss.build(spec, self.class_weight, counts)
        backend = backend_of(self.compile, device, self.epochs * data.n_batches)
        code = compiled(built, backend, must=self.compile != "auto") if backend else None
        return Run(
            network=built,
            objective=(OfMembers(objective) if is_ensemble(descriptor) else objective).to(device),
            optimizer=setup.optimizer.build(list(built.parameters())),
            batches=attrs.evolve(data, merge_last=has_batch_statistics(built)).to(device),
            plan=self._plan(),
            seed=ctx.seed,
            validation=self._validation(setup.metrics, descriptor, ctx, device),
            forward=computed(built, code, dtype_of(self.precision, device), device),
            steps=steps_of(self.precision, device),
        )

    def _plan(self) -> Plan:
        return Plan(
            epochs=self.epochs,
            shuffle=self.shuffle,
            eval_freq=self.eval_freq,
            accumulate=self.accumulate,
            precision=self.precision,
        )

    def _validation(
        self,
        metrics: Mapping[str, Metric],
        descriptor: ModelDescriptor,
        ctx: Context,
        device: torch.device,
    ) -> Validation | None:
        if ctx.valid is None or not self._validates(ctx):
            return None
        size = self._predict_size()
        return validation_data(descriptor, ctx.valid["input"], metrics, size, device)

    def _validates(self, ctx: Context) -> bool:
        return ctx.has_valid and self.use_valid

    def _predict_size(self) -> int:
        # Without gradients larger batches cost little memory and save most of the overhead.
        return self.batch_size_predict or max(self.batch_size, 1024)


@attrs.frozen(kw_only=True)
class _Setup:
    """What is decided before weights exist."""

    device: torch.device
    loss: Loss
    optimizer: Optimizer
    metrics: Mapping[str, Metric]
    callbacks: tuple[Callback, ...]
    folder: Path | None


def _train(
    run: Run, setup: _Setup, descriptor: ModelDescriptor, saved: Mapping[str, Any] | None
) -> None:
    if saved is not None or any(isinstance(c, Checkpoint) and c.enabled for c in setup.callbacks):
        run.identity = identity(run, descriptor, setup.loss, setup.optimizer)
    with (
        naming_layer(run.network, _layers(descriptor)),
        refusing_step(run.optimizer, setup.optimizer),
    ):
        train(run, setup.callbacks, None if saved is None else partial(resumed, saved=saved))


def _layers(descriptor: ModelDescriptor) -> list[str]:
    return [call.module for call in descriptor.reachable()]


def _state(run: Run, descriptor: ModelDescriptor, setup: _Setup) -> Trained:
    tensors = {name: tensor.cpu() for name, tensor in copied(run.network).items()}
    return Trained(
        descriptor=descriptor.without_data(),
        tensors=tensors,
        history=pa.table(history_columns(run.history)),
        seed=run.seed,
        epochs=run.epoch,
        best_epoch=run.best_epoch or run.epoch,
        interrupted=run.interrupted,
        stopped=run.stopped,
        loss=setup.loss,
        optimizer=setup.optimizer,
    )


def _every(*steps: Callable[[], Any]) -> tuple[Any, ...]:
    """What the steps return; what they find wrong is raised together."""
    values: list[Any] = []
    found: list[MLGraphError] = []
    for step in steps:
        try:
            values.append(step())
        except MLGraphError as error:
            found.append(error)
    if found:
        raise together(found, f"{len(found)} things are wrong with the training.")
    return tuple(values)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)
