"""Trainer: the terminal node. A description of a network goes in; a fitted model is its state.

While fitting it builds the network and runs the loop, inside a forked random stream. Applied to
new data it returns a Prediction. Checked, it builds the network on the meta device and stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Any, ClassVar

import attrs
import pyarrow as pa
import torch

from mlgraph.core.base import Context
from mlgraph.core.port import Port
from mlgraph.data.batch import Batches
from mlgraph.data.batching import batched, settled
from mlgraph.data.feed import Feed
from mlgraph.data.prediction import Prediction
from mlgraph.errors import listing
from mlgraph.net.descriptor import ModelDescriptor, Unfinished
from mlgraph.net.network import copied, n_parameters, network
from mlgraph.tensor.stream import forked
from mlgraph.tensor.threads import threads
from mlgraph.train.blame import naming_layer, refusing_step
from mlgraph.train.callback import ordered
from mlgraph.train.checkpoint import Checkpoint, identity, latest, resumed
from mlgraph.train.compiled import backend_of, compiled
from mlgraph.train.device import resolve_device
from mlgraph.train.encode import prediction
from mlgraph.train.findings import every
from mlgraph.train.further import continued, going_on, kept
from mlgraph.train.loop import apply_network, history_columns, train
from mlgraph.train.members import OfMembers, is_ensemble
from mlgraph.train.metric import Metric
from mlgraph.train.parallel.together import data_parallel
from mlgraph.train.precision import computed, dtype_of, steps_of
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
)
from mlgraph.train.run import Run, Validation
from mlgraph.train.sampler import weighs
from mlgraph.train.sampling import Sampling
from mlgraph.train.settings import Settings, Setup
from mlgraph.train.snapshot import kept_streams
from mlgraph.train.trained import Trained


@attrs.frozen
class Summary:
    """What a trainer would train: a note per thing that the graph does not say.

    >>> Summary(("9 parameters",)).notes
    ('9 parameters',)
    """

    notes: tuple[str, ...]


class Trainer(Settings):
    """Train the network that arrives, and predict with it.

    Its parameters are those of ``Settings``.

    >>> Trainer(epochs=5).changed()
    {'epochs': 5}
    """

    inputs = (Port("input", fit=ModelDescriptor, apply=Feed),)
    outputs = (Port("output", fit=None, apply=Prediction),)
    trains: ClassVar[bool] = True
    random: ClassVar[bool] = True

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
        setup = self.setup(descriptor, ctx)
        data = settled(self._training_data(descriptor, ctx), self.tensor_dataset)
        saved = None if setup.folder is None else latest(setup.folder)
        resume = resume or (None if saved is None else partial(resumed, saved=saved))
        with threads(self.num_threads), kept_streams(), forked(ctx.seed, setup.device):
            run = self._prepared(setup, data, descriptor, ctx)
            with closing(run):
                _train(run, setup, descriptor, resume)
        return _state(run, descriptor, setup)

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        feed: Feed = inputs["input"]
        device = resolve_device(self.device)
        tokens, spec = state.descriptor.tokens, state.descriptor.task
        size, loading = self.predict_size(state.descriptor), self.loading()
        batches = batched(feed, tokens, None, None, size, seed=state.seed, loading=loading)
        if batches.rows == 0:
            return (prediction(torch.empty(0, spec.output_size), feed.task, spec),)
        module, dtype = state.live(device), dtype_of(self.precision, device)
        batches = batches.to(device)
        backend = backend_of(self.compile, device, batches.n_batches)
        code = state.code(device, backend, self.compile != "auto") if backend else None
        callbacks = state.descriptor.callbacks.values()
        layers = naming_layer(module, _layers(state.descriptor))
        with threads(self.num_threads), layers, closing(batches):
            forward = computed(module, code, dtype, device)
            output = apply_network(module, batches, callbacks, forward)
        task = feed.task if batches.kept is None else feed.task.take(batches.kept)
        return (prediction(output, task, spec),)

    def check(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        descriptor: ModelDescriptor = inputs["input"]
        if isinstance(descriptor, Unfinished):
            self.decided(descriptor, ctx)
            return (None,), Summary(())
        notes, *_ = every(
            partial(self._notes, descriptor, ctx),
            partial(self._drawn, descriptor, ctx),
            partial(self._validation, {}, descriptor, ctx, torch.device("cpu")),
        )
        return (None,), Summary(notes)

    def _notes(self, descriptor: ModelDescriptor, ctx: Context) -> tuple[str, ...]:
        setup = self.setup(descriptor, ctx)
        built = network(descriptor, "meta")
        check_weights(built)
        check_batches(built, len(descriptor.inputs.task), self.batch_size, self.drop_last)
        every(*(partial(callback.check, built) for callback in ordered(setup.callbacks.values())))
        notes = [f"{n_parameters(built):,} parameters"]
        if setup.optimizer.groups:
            notes.append(f"{len(setup.optimizer.parts(built))} groups of weights")
        if descriptor.loss is None:
            notes.append(f"the loss is {setup.loss!r}")
        if descriptor.optimizer is None:
            notes.append(f"the optimizer is {setup.optimizer!r}")
        if setup.metrics and not self.validates(ctx):
            notes.append(f"{listing(setup.metrics)} will not be scored: no validation data")
        return tuple(notes)

    def _training_data(self, descriptor: ModelDescriptor, ctx: Context) -> Batches:
        return training_data(descriptor, self.batch_size, self.drop_last, ctx.seed, self.loading())

    def _prepared(
        self, setup: Setup, data: Batches, descriptor: ModelDescriptor, ctx: Context
    ) -> Run:
        """The run, on its device."""
        spec, device = descriptor.task, setup.device
        built = started(descriptor, data.ready).to(device)
        check_weights(built)
        data = data.but(merge_last=has_batch_statistics(built))
        sampling = self._sampling(data, descriptor)
        if self.batch_sampler is None:
            rows = data.rows if sampling is None else sampling.length
            check_batches(built, rows, self.batch_size, self.drop_last)
        counts = class_counts(descriptor.inputs.task, spec)
        objective = setup.loss.build(spec, self.class_weight, counts).to(device)
        moved = (data.but(weights=None) if weighs(self.sampler) else data).to(device)
        backend = backend_of(self.compile, device, self.epochs * data.n_batches)
        code = compiled(built, backend, must=self.compile != "auto") if backend else None
        return Run(
            network=built,
            objective=OfMembers(objective) if is_ensemble(descriptor) else objective,
            optimizer=setup.optimizer.build(built),
            batches=moved,
            sampling=sampling,
            plan=self.plan(),
            seed=ctx.seed,
            origin=f"{ctx.run_seed} at node {ctx.id!r}",
            may_resume=bool(self.resume),
            validation=self._settled(self._validation(setup.metrics, descriptor, ctx, device)),
            training=train_scored(
                setup.metrics_train,
                descriptor,
                moved,
                self.predict_size(descriptor) if self.metrics_train_from == "clean" else None,
            ),
            forward=computed(built, code, dtype_of(self.precision, device), device),
            steps=steps_of(self.precision, device),
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
        if ctx.valid is None or not self.validates(ctx):
            return None
        size = self.predict_size(descriptor)
        feed, loading = ctx.valid["input"], self.loading()
        return validation_data(descriptor, feed, metrics, size, device, ctx.seed, loading)

    def _settled(self, validation: Validation | None) -> Validation | None:
        """The validation data, read once if they can be kept."""
        if validation is None:
            return None
        return attrs.evolve(validation, batches=settled(validation.batches, self.tensor_dataset))


def _train(
    run: Run,
    setup: Setup,
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


def _history(run: Run) -> pa.Table:
    """One row per epoch; where there was none, of no rows."""
    columns = history_columns(run.history)
    return pa.table({**columns, "epoch": pa.array(columns["epoch"], pa.int64())})


def _layers(descriptor: ModelDescriptor) -> list[str]:
    return [call.module for call in descriptor.reachable()]


def _state(run: Run, descriptor: ModelDescriptor, setup: Setup) -> Trained:
    tensors = {name: tensor.cpu() for name, tensor in copied(run.network).items()}
    return Trained(
        descriptor=descriptor.without_data(),
        tensors=tensors,
        history=_history(run),
        seed=run.seed,
        epochs=run.epoch,
        best_epoch=run.best_epoch or run.epoch,
        interrupted=run.interrupted,
        stopped=run.stopped,
        loss=setup.loss,
        optimizer=setup.optimizer,
        ended=kept(run, tensors),
    )
