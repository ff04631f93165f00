"""What a trainer is asked to do, and what can be decided of it before there are weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal

import attrs
import torch

from mlgraph.core.base import Context
from mlgraph.core.files import as_path
from mlgraph.core.lookup import is_ours
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.value import FrozenDict
from mlgraph.data.loader import Loading
from mlgraph.data.taskspec import TaskSpec
from mlgraph.errors import ConfigError, listing
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.train.callback import Callback, joined
from mlgraph.train.callbacks.early_stopping import EarlyStopping
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.monitor import monitored, refuse_without_validation
from mlgraph.train.callbacks.progress import Progress
from mlgraph.train.checkpoint import Checkpoint, existing, newest_of
from mlgraph.train.compiled import check_backend
from mlgraph.train.device import resolve_device, shows_progress
from mlgraph.train.encode import check_output
from mlgraph.train.findings import every
from mlgraph.train.lossfn import class_weights
from mlgraph.train.metric import Metric
from mlgraph.train.metric import resolve as resolve_metrics
from mlgraph.train.objective import Loss, default_loss
from mlgraph.train.optimizer import Optimizer, default_optimizer
from mlgraph.train.precision import Precision, dtype_of
from mlgraph.train.prepare import (
    check_applied,
    class_counts,
    watched,
)
from mlgraph.train.run import Plan
from mlgraph.train.sampler import batch_sampler_of, sampler_of


@attrs.frozen(kw_only=True)
class Setup:
    """What is decided before weights exist.

    Args:
        device: Where the network is trained.
        loss: The loss.
        optimizer: The optimizer.
        metrics: Scores on the validation data, by name.
        metrics_train: Scores on the training data, by name.
        callbacks: Callbacks by id, those of the trainer last.
        folder: The folder of checkpoints to go on from; None for a run of its own.

    >>> [field.name for field in attrs.fields(Setup)][:3]
    ['device', 'loss', 'optimizer']
    """

    device: torch.device
    loss: Loss
    optimizer: Optimizer
    metrics: Mapping[str, Metric]
    metrics_train: Mapping[str, Metric]
    callbacks: Mapping[str, Callback]
    folder: Path | None


class Settings(Node):
    """The parameters of a trainer.

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
        metrics: Scores on the validation data, if there are any, by name or as functions, or a
            dict that names them.
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

    >>> Settings.field_names()[:2]
    ('epochs', 'batch_size')
    """

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
    metrics: Any = param(default=(), convert=lambda value: _several(value))
    metrics_train: Any = param(default=(), convert=lambda value: _several(value))
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
    resume: bool | str | None = param(default=None, convert=as_path, tags={"runtime"})

    def validate(self) -> None:
        if self.batch_sampler is None:
            return
        others = [n for n in ("sampler", "batch_size", "drop_last") if n in self.changed()]
        if others:
            raise ConfigError(
                f"{listing(others)} would have no say: batch_sampler gives the batches.",
                mend=f"leave out {listing(others)}, or batch_sampler",
            )

    def setup(self, descriptor: ModelDescriptor, ctx: Context) -> Setup:
        """Everything that can be decided before weights exist, every mistake at once."""
        decided: Setup = every(
            partial(self.decided, descriptor, ctx), partial(check_output, descriptor)
        )[0]
        return decided

    def decided(self, descriptor: ModelDescriptor, ctx: Context) -> Setup:
        """The same, where the output of the network does not count."""
        spec = descriptor.task
        loss = descriptor.loss or default_loss(spec)
        counts = class_counts(descriptor.inputs.task, spec)
        device, (metrics, metrics_train, own), folder, *_ = every(
            partial(self._device),
            partial(self._scored, spec, ctx, descriptor.callbacks.values()),
            partial(self._folder, descriptor.callbacks.values()),
            partial(check_backend, self.compile),
            partial(self._check_applied, descriptor, ctx),
            partial(loss.check, spec),
            partial(class_weights, spec, self.class_weight, counts),
        )
        return Setup(
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
        self, spec: TaskSpec, ctx: Context, given: Iterable[Callback]
    ) -> tuple[Mapping[str, Metric], Mapping[str, Metric], tuple[Callback, ...]]:
        """The metrics, and our own callbacks, one of which may watch a metric."""
        metrics, metrics_train = (
            resolve_metrics(given, spec.type.scores) if given else {}
            for given in (self.metrics, self.metrics_train)
        )
        _refuse_loss({**metrics, **metrics_train})
        valid = ["valid_loss", *(f"valid_{name}" for name in metrics)]
        train = ["train_loss", *(f"train_{name}" for name in metrics_train)]
        _refuse_unscored(given, train, valid if self.validates(ctx) else [])
        own: list[Callback] = [Progress(show=True)] if shows_progress(self.progress) else []
        if self.patience:
            own.insert(0, self._early_stopping(metrics, metrics_train, ctx))
        return metrics, metrics_train, tuple(own)

    def _early_stopping(
        self, metrics: Mapping[str, Metric], metrics_train: Mapping[str, Metric], ctx: Context
    ) -> EarlyStopping:
        if not self.validates(ctx) and not (self.monitor or "").startswith("train_"):
            raise ConfigError(
                f"patience={self.patience} needs validation data, and there are none.",
                mend="pass them, as in graph.fit(task, valid=0.2), or set patience=0",
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
        chosen = None if self.resume is True else Path(self.resume)
        if chosen is not None and chosen not in paths:
            return existing(chosen)
        if not paths:
            raise ConfigError(
                "resume=True needs the callback 'checkpoint', and there is none.",
                mend='po("torch_callbacks", [callback("checkpoint", path=...)]), or resume=path',
            )
        return newest_of(path for path in paths if chosen in (None, path))

    def _check_applied(self, descriptor: ModelDescriptor, ctx: Context) -> None:
        if ctx.valid is not None:  # without validation data an empty prototype
            check_applied(descriptor, ctx.valid["input"])

    def loading(self) -> Loading:
        """How lazy columns are read."""
        workers = None if self.num_workers == "auto" else self.num_workers
        return Loading(workers=workers, pin=None if self.pin_memory == "auto" else self.pin_memory)

    def plan(self) -> Plan:
        """How long and how to train."""
        return Plan(
            epochs=self.epochs,
            shuffle=self.shuffle,
            eval_freq=self.eval_freq,
            accumulate=self.accumulate,
            precision=self.precision,
        )

    def validates(self, ctx: Context) -> bool:
        """Whether there is something to validate with, and it is wished."""
        return ctx.has_valid and self.use_valid

    def predict_size(self, descriptor: ModelDescriptor) -> int:
        """Rows per batch where nothing is learned, if that is not given: 64 MB, at most 1,024.

        Without gradients larger batches cost little memory and save most of the overhead.
        """
        specs = [token.spec for token in descriptor.tokens.values()]
        if any(set(spec.names) - {"batch"} for spec in specs):
            return self.batch_size_predict or self.batch_size
        row = sum(prod(spec.last(spec.rank - 1)) * spec.dtype.itemsize for spec in specs)
        fitting = min(1024, 2**26 // max(row, 1))
        return self.batch_size_predict or max(self.batch_size, fitting)


def _refuse_unscored(
    callbacks: Iterable[Callback], train: Sequence[str], valid: Sequence[str]
) -> None:
    """Refuse a callback that watches a score no epoch will have, where none can add one."""
    present = [callback for callback in callbacks if callback.enabled]
    if any(isinstance(c, Functions) or not is_ours(type(c)) for c in present):
        return
    for callback in present:
        if isinstance(name := getattr(callback, "monitor", None), str):
            refuse_without_validation(callback, name, bool(valid))
            monitored(callback, name, dict.fromkeys([*train, *valid], 0.0))


def _refuse_loss(metrics: Mapping[str, Metric]) -> None:
    if "loss" in metrics:
        raise ConfigError(
            "A metric cannot be called 'loss'.",
            where="parameter 'metrics'",
            why="train_loss and valid_loss are the losses",
            mend='give it another name: metrics={"my_loss": ...}',
        )


def _several(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenDict(value)
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)
