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
from mlgraph.data.batch import Batches
from mlgraph.data.feed import Feed
from mlgraph.data.loader import Loading, batched, settled
from mlgraph.data.prediction import Prediction
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ConfigError, listing
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.net.network import copied, n_parameters, network
from mlgraph.tensor.stream import forked
from mlgraph.train.blame import naming_layer, refusing_step
from mlgraph.train.callback import Callback, joined
from mlgraph.train.callbacks.early_stopping import EarlyStopping
from mlgraph.train.callbacks.progress import Progress
from mlgraph.train.checkpoint import Checkpoint, existing, identity, latest, resumed
from mlgraph.train.compiled import backend_of, check_backend, compiled
from mlgraph.train.device import resolve_device, shows_progress
from mlgraph.train.encode import check_output, prediction
from mlgraph.train.findings import every
from mlgraph.train.further import continued, going_on, kept
from mlgraph.train.loop import apply_network, history_columns, train
from mlgraph.train.lossfn import class_weights
from mlgraph.train.members import OfMembers, is_ensemble
from mlgraph.train.metric import Metric
from mlgraph.train.metric import resolve as resolve_metrics
from mlgraph.train.objective import Loss, default_loss
from mlgraph.train.optimizer import Optimizer, default_optimizer
from mlgraph.train.parallel.together import data_parallel
from mlgraph.train.precision import Precision, computed, dtype_of, steps_of
from mlgraph.train.prepare import (
    check_batches,
    check_weights,
    class_counts,
    has_batch_statistics,
    rows_of,
    started,
    train_scored,
    training_data,
    validation_data,
    watched,
)
from mlgraph.train.run import Plan, Run, Validation
from mlgraph.train.sampler import batch_sampler_of, sampler_of, weighs
from mlgraph.train.sampling import Sampling
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
        sampler: What draws the rows of an epoch, in the place of ``shuffle``: ``"random"``,
            ``"sequential"``, ``"weighted"``, ``"stratified"``, ``sampler(key, ...)``, a class of
            ``torch.utils.data``, or a function of the rows that gives one.
        batch_sampler: The same for whole batches, in the place of ``batch_size`` too.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        precision: What the network computes in: ``"32"``, or as far as that is safe ``"bf16"``, or
            ``"fp16"`` with scaled gradients. Weights, losses and outputs are always float32.
        compile: Compile the network with ``torch.compile``: ``"off"``, ``"on"``, or ``"auto"``: on
            CUDA if there are many steps, and not at all where the compiler fails. Any backend of
            torch may be named.
        num_threads: Threads torch computes with on the CPU; None leaves them alone.
        metrics: Scores on the validation data, by name or as functions.
        metrics_train: Scores on the training data, as ``train_<name>``.
        metrics_train_from: ``"running"``: of the outputs as they come in an epoch, which costs
            nothing; ``"clean"``: of a pass in eval mode after an epoch that is evaluated.
        monitor: The score that early stopping watches; by default the first metric, else the loss.
        eval_freq: Validate every so many epochs, and after the last.
        accumulate: Batches whose gradients make one step of the optimizer.
        patience: Evaluations without improvement after which to stop; 0 never stops.
        min_delta: What counts as an improvement.
        restore_best_weights: End with the weights of the best evaluation; needs ``patience``.
        use_valid: Use the validation data that arrive.
        class_weight: ``"balanced"``, weights by class, or the weight of the positive class.
        progress: Show a progress bar; ``"auto"`` does in terminals and notebooks.
        tensor_dataset: Read lazy columns once and keep their tensors in memory; ``"auto"`` does
            with up to 64 MB that nothing random is done to. Random operations draw anew all the
            same: only what comes before them is kept.
        num_workers: Processes that read lazy columns; ``"auto"`` takes one per core, and none
            where reading is quick.
        pin_memory: Whether batches that are read pass through pinned memory; ``"auto"`` does on
            the way to a CUDA device.
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
    sampler: Any = param(default=None, convert=sampler_of)
    batch_sampler: Any = param(default=None, convert=batch_sampler_of)
    device: str = param(default="auto", tags={"runtime"})
    precision: Precision = "32"
    compile: str = param(default="off", tags={"runtime"})
    num_threads: int | None = param(default=None, lower=1, tags={"runtime"})
    metrics: Any = param(default=(), convert=lambda value: _as_tuple(value))
    metrics_train: Any = param(default=(), convert=lambda value: _as_tuple(value))
    metrics_train_from: Literal["running", "clean"] = "running"
    monitor: str | None = None
    eval_freq: int = param(default=1, lower=1)
    accumulate: int = param(default=1, lower=1)
    patience: int = param(default=0, lower=0)
    min_delta: float = param(default=0.0, lower=0)
    restore_best_weights: bool = True
    use_valid: bool = True
    class_weight: Any = None
    progress: bool | Literal["auto"] = param(default="auto", tags={"runtime"})
    tensor_dataset: bool | Literal["auto"] = param(default="auto", tags={"runtime"})
    num_workers: int | Literal["auto"] = param(default="auto", lower=0, tags={"runtime"})
    pin_memory: bool | Literal["auto"] = param(default="auto", tags={"runtime"})
    resume: bool | str | None = param(default=None, tags={"runtime"})

    def validate(self) -> None:
        if self.batch_sampler is None:
            return
        others = [n for n in ("sampler", "batch_size", "drop_last") if n in self.changed()]
        if others:
            raise ConfigError(
                f"{listing(others)} would have no say: batch_sampler gives the batches.",
                mend=f"leave out {listing(others)}, or batch_sampler",
            )

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        return (None,), self._fitted(inputs["input"], ctx)

    def go_on(self, state: Any, inputs: Mapping[str, Any], ctx: Context, epochs: int) -> Any:
        descriptor = attrs.evolve(state.descriptor, inputs=inputs["input"])
        longer = self.with_parameters({"epochs": state.epochs + epochs, "resume": None})
        return longer._fitted(descriptor, ctx, partial(continued, saved=going_on(state)))

    def _fitted(
        self,
        descriptor: ModelDescriptor,
        ctx: Context,
        resume: Callable[[Run], None] | None = None,
    ) -> Trained:
        setup = self._setup(descriptor, ctx)
        data = settled(self._training_data(descriptor, ctx), self.tensor_dataset)
        saved = None if setup.folder is None else latest(setup.folder)
        resume = resume or (None if saved is None else partial(resumed, saved=saved))
        with threads(self.num_threads), kept_streams(), forked(ctx.seed, setup.device):
            run = self._prepared(setup, data, descriptor, ctx)
            _train(run, setup, descriptor, resume)
        return _state(run, descriptor, setup)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        feed: Feed = inputs["input"]
        device = resolve_device(self.device)
        tokens, spec = state.descriptor.tokens, state.descriptor.task
        size, loading = self._predict_size(), self._loading()
        batches = batched(feed, tokens, None, None, size, seed=state.seed, loading=loading)
        if batches.rows == 0:
            return (prediction(torch.empty(0, spec.output_size), feed.task, spec),)
        module, dtype = state.live(device), dtype_of(self.precision, device)
        batches = batches.to(device)
        backend = backend_of(self.compile, device, batches.n_batches)
        code = state.code(device, backend, self.compile != "auto") if backend else None
        callbacks = state.descriptor.callbacks.values()
        with threads(self.num_threads), naming_layer(module, _layers(state.descriptor)):
            forward = computed(module, code, dtype, device)
            output = apply_network(module, batches, callbacks, forward)
        task = feed.task if batches.kept is None else feed.task.take(batches.kept)
        return (prediction(output, task, spec),)

    def check(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        descriptor: ModelDescriptor = inputs["input"]
        notes, *_ = every(
            partial(self._notes, descriptor, ctx),
            partial(self._drawn, descriptor, ctx),
            partial(self._validation, {}, descriptor, ctx, torch.device("cpu")),
        )
        return (None,), Summary(notes)

    def _notes(self, descriptor: ModelDescriptor, ctx: Context) -> tuple[str, ...]:
        setup = self._setup(descriptor, ctx)
        built = network(descriptor, "meta")
        check_weights(built)
        check_batches(built, len(descriptor.inputs.task), self.batch_size)
        notes = [f"{n_parameters(built):,} parameters"]
        if setup.optimizer.groups:
            notes.append(f"{len(setup.optimizer.parts(built))} groups of weights")
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
        device, (metrics, metrics_train, own), folder, *_ = every(
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
            metrics_train=metrics_train,
            callbacks=joined(descriptor.callbacks, own),
            folder=folder,
        )

    def _device(self) -> torch.device:
        device = resolve_device(self.device)
        dtype_of(self.precision, device)
        return device

    def _scored(
        self, spec: TaskSpec, ctx: Context
    ) -> tuple[Mapping[str, Metric], Mapping[str, Metric], tuple[Callback, ...]]:
        """The metrics, and our own callbacks, one of which may watch a metric."""
        metrics, metrics_train = (
            resolve_metrics(given, spec.type.scores) if given else {}
            for given in (self.metrics, self.metrics_train)
        )
        own: list[Callback] = [Progress(show=True)] if shows_progress(self.progress) else []
        if self.patience:
            own.insert(0, self._early_stopping(metrics, metrics_train, ctx))
        return metrics, metrics_train, tuple(own)

    def _early_stopping(
        self, metrics: Mapping[str, Metric], metrics_train: Mapping[str, Metric], ctx: Context
    ) -> EarlyStopping:
        if not self._validates(ctx) and not (self.monitor or "").startswith("train_"):
            raise ConfigError(
                f"patience={self.patience} needs validation data, and there are none.",
                mend="graph.fit(task, valid=0.2), or patience=0",
            )
        name, greater = watched(self.monitor, metrics, metrics_train)
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
        paths = [Path(c.path) for c in callbacks if isinstance(c, Checkpoint) and c.enabled]
        if isinstance(self.resume, str) and Path(self.resume) not in paths:
            return existing(Path(self.resume))
        if not paths:
            raise ConfigError(
                "resume=True needs the callback 'checkpoint', and there is none.",
                mend='po("torch_callbacks", [callback("checkpoint", path=...)]), or resume=path',
            )
        paths = [path for path in paths if self.resume in (True, str(path))]
        return paths[0] if paths[0].exists() else None

    def _training_data(self, descriptor: ModelDescriptor, ctx: Context) -> Batches:
        return training_data(descriptor, self.batch_size, self.drop_last, ctx.seed, self._loading())

    def _loading(self) -> Loading:
        workers = None if self.num_workers == "auto" else self.num_workers
        return Loading(workers=workers, pin=None if self.pin_memory == "auto" else self.pin_memory)

    def _prepared(
        self, setup: _Setup, data: Batches, descriptor: ModelDescriptor, ctx: Context
    ) -> Run:
        """The run, on its device."""
        spec, device = descriptor.task, setup.device
        built = started(descriptor, data.ready).to(device)
        check_weights(built)
        data = data.but(merge_last=has_batch_statistics(built))
        sampling = self._sampling(data, descriptor)
        if self.batch_sampler is None:
            rows = data.rows if sampling is None else sampling.length
            check_batches(built, rows, self.batch_size)
        counts = class_counts(descriptor.inputs.task, spec)
        objective = setup.loss.build(spec, self.class_weight, counts)
        moved = (data.but(weights=None) if weighs(self.sampler) else data).to(device)
        backend = backend_of(self.compile, device, self.epochs * data.n_batches)
        code = compiled(built, backend, must=self.compile != "auto") if backend else None
        return Run(
            network=built,
            objective=(OfMembers(objective) if is_ensemble(descriptor) else objective).to(device),
            optimizer=setup.optimizer.build(built),
            batches=moved,
            sampling=sampling,
            plan=self._plan(),
            seed=ctx.seed,
            validation=self._settled(self._validation(setup.metrics, descriptor, ctx, device)),
            training=train_scored(
                setup.metrics_train,
                descriptor,
                moved,
                self._predict_size() if self.metrics_train_from == "clean" else None,
            ),
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

    def _drawn(self, descriptor: ModelDescriptor, ctx: Context) -> None:
        """Draw the rows of one epoch, to see that it can be done."""
        sampling = self._sampling(self._training_data(descriptor, ctx), descriptor)
        if sampling is not None:
            sampling.draw(seed=0, epoch=1)

    def _sampling(self, data: Batches, descriptor: ModelDescriptor) -> Sampling | None:
        chosen = self.sampler or self.batch_sampler
        if chosen is None:
            return None
        return Sampling.of(chosen, rows_of(data, descriptor))

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
        feed, loading = ctx.valid["input"], self._loading()
        return validation_data(descriptor, feed, metrics, size, device, ctx.seed, loading)

    def _settled(self, validation: Validation | None) -> Validation | None:
        """The validation data, read once if they can be kept."""
        if validation is None:
            return None
        return attrs.evolve(validation, batches=settled(validation.batches, self.tensor_dataset))

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
    metrics_train: Mapping[str, Metric]
    callbacks: Mapping[str, Callback]
    folder: Path | None


def _train(
    run: Run,
    setup: _Setup,
    descriptor: ModelDescriptor,
    resume: Callable[[Run], None] | None,
) -> None:
    used = setup.callbacks.values()
    if resume is not None or any(isinstance(c, Checkpoint) and c.enabled for c in used):
        run.identity = identity(run, descriptor, setup.loss, setup.optimizer)
    described = partial(identity, run, descriptor, setup.loss, setup.optimizer)
    with (
        data_parallel(run, setup.callbacks, described) as callbacks,
        naming_layer(run.network, _layers(descriptor)),
        refusing_step(run.optimizer, setup.optimizer),
    ):
        train(run, callbacks, resume)


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
        ended=kept(run, tensors),
    )


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)
