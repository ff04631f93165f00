"""The loop: the only module that calls ``backward()``.

It is a function of plain values: tensors in batches, a network, a loss, an optimizer, a plan and
a seed. Whatever is optional is a callback. In a step nothing waits for the device; the losses of
an epoch are read once, at its end.

Row order comes from a generator of its own for each (seed, epoch), never from the stream that
initialises weights and draws dropout, so that a run can be continued without replaying it and a
hand-written loop can follow it::

    torch.randperm(n, generator=torch.Generator().manual_seed(order_seed(seed, epoch)))
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from mlgraph.core.entry import node_seed
from mlgraph.data.batch import Batches, with_rows
from mlgraph.errors import DataError
from mlgraph.net.network import direct, unhooked
from mlgraph.train.callback import Callback, bound, predicting, with_ids
from mlgraph.train.further import ended
from mlgraph.train.gathered import Gathered, check_rows
from mlgraph.train.interrupt import CtrlC
from mlgraph.train.kept import Kept
from mlgraph.train.losses import Losses
from mlgraph.train.lossfn import masses
from mlgraph.train.run import Run, Validation
from mlgraph.train.running import Predicting
from mlgraph.train.trainscores import clean_scores, listening, running_scores

SHORT = 1.0  # seconds of training after which a run is copied, however short its epochs are


def train(
    run: Run,
    callbacks: Iterable[Callback] | Mapping[str, Callback] = (),
    resume: Callable[[Run], None] | None = None,
) -> Run:
    """Train until the plan is done, a callback stops it, or the user interrupts it.

    An interruption keeps the last complete epoch: its weights, and what callbacks remembered
    then. Where epochs take less than a second, the one that runs is completed, or what was
    trained in the last second is given up. A second interruption is raised.

    Args:
        run: The run.
        callbacks: What happens beside the steps; by id, or else the keys are the ids.
        resume: Puts back the state of another run, once callbacks have their memory.

    Raises:
        DataError: The loss is not finite.
        KeyboardInterrupt: The user interrupted it twice.

    >>> from mlgraph.train.run import Plan
    >>> network = nn.Linear(1, 1)
    >>> sgd = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> from mlgraph.data.batch import TensorBatches
    >>> data = TensorBatches((torch.ones(4, 1),), torch.ones(4, 1), None, size=2)
    >>> run = Run(network, nn.MSELoss(), sgd, data, Plan(epochs=3), seed=1)
    >>> train(run).global_step
    6
    """
    run.callbacks, run.states = with_ids(callbacks), {}
    with CtrlC().heard() as ctrl_c:
        try:
            events = _started(run, resume)
            _emit(events["on_train_begin"])
            _epochs(run, events, ctrl_c)
            with ctrl_c.deferred():
                run.ended = run.ended or ended(run)
                _emit(events["on_train_end"])
        finally:
            with ctrl_c.deferred():
                run.network.eval()
                _exit(run)
    run.interrupted = ctrl_c.count > 0
    return run


def _started(run: Run, resume: Callable[[Run], None] | None) -> dict[str, Any]:
    """The hooks of each event, once callbacks have their memory."""
    for id, callback in run.callbacks.items():
        run.states[id] = callback.start(run)
    if resume is not None:
        resume(run)
        run.is_resumed = True
    return bound(run.callbacks.values(), run.states.values(), run)


def _exit(run: Run) -> None:
    """Let every callback that was started leave, also where another one fails."""
    started = [run.callbacks[id] for id in run.states]
    failed: list[Exception] = []
    before = sys.exception()
    for hook in bound(started, run.states.values(), run, ["on_exit"])["on_exit"]:
        try:
            hook()
        except Exception as error:
            failed.append(error)
    if before is None and failed:
        raise failed[0]
    if before is not None:
        for also in failed:
            before.add_note(f"then on_exit failed, too: {type(also).__name__}: {also}")


def order_seed(seed: int, epoch: int) -> int:
    """The seed of the row order in an epoch.

    >>> order_seed(1, 1) == order_seed(1, 2)
    False
    """
    return node_seed(seed, "order", str(epoch))


def row_order(run: Run) -> Tensor | None:
    """The order of the rows in this epoch, ``(rows,)``, or None for the order they have.

    >>> from mlgraph.train.run import Plan
    >>> network = nn.Linear(1, 1)
    >>> sgd = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> from mlgraph.data.batch import TensorBatches
    >>> data = TensorBatches((torch.ones(4, 1),), torch.ones(4, 1), None, size=2)
    >>> row_order(Run(network, nn.MSELoss(), sgd, data, Plan(epochs=1), seed=1)).sort().values
    tensor([0, 1, 2, 3])
    """
    if not run.plan.shuffle:
        return None
    generator = torch.Generator().manual_seed(order_seed(run.seed, run.epoch))
    order = torch.randperm(run.batches.rows, generator=generator)
    return order.to(run.batches.device)


def _epochs(run: Run, events: Mapping[str, Any], ctrl_c: CtrlC) -> None:
    complete = Kept()
    complete.keep(run)
    try:
        while (run.step or run.epoch < run.plan.epochs) and not run.stopped:
            # Where there is no copy of the epoch before, Ctrl-C waits until this one is complete.
            waiting = nullcontext() if complete.is_of(run) else ctrl_c.deferred(patience=SHORT)
            with waiting, complete.training():
                _epoch(run, events)
            with ctrl_c.deferred():
                _end_epoch(run, events)
                if complete.seconds >= SHORT:
                    complete.keep(run)
            ctrl_c.raise_if_due()
    except KeyboardInterrupt:
        ctrl_c.accept()
        run.interrupted = True
        # Between two epochs the run is what it should be, and the copy perhaps half made.
        if len(run.history) < run.epoch:
            complete.put_back(run)
            if run.step:
                run.ended = "the training was interrupted in an epoch that it had resumed"
            run.epoch, run.step = len(run.history), 0


def _epoch(run: Run, events: Mapping[str, Any]) -> None:
    """The next epoch, or the rest of one that another run began."""
    if run.step == 0:
        run.epoch += 1
        run.losses, run.outputs = Losses(), Gathered(run.batches.rows)
        _emit(events["on_epoch_begin"])
    run.scores = {"train_loss": _train_epoch(run, events), **running_scores(run)}
    if run.is_due and run.validation is None:
        run.scores |= clean_scores(run)
    elif run.is_due and run.validation is not None:
        _emit(events["on_valid_begin"])
        # By the weights that are validated, which a callback may have put there.
        run.scores |= clean_scores(run)
        run.scores |= _evaluate(run, run.validation, events)
        _emit(events["on_valid_end"])


def _end_epoch(run: Run, events: Mapping[str, Any]) -> None:
    run.history.append({"epoch": run.epoch, **run.scores})
    run.step = 0
    _emit(events["on_epoch_end"])


def _train_epoch(run: Run, events: Mapping[str, Any]) -> float:
    """One pass over the data, or the rest of one; the mean loss."""
    forward = listening(run.forward or direct(run.network), run)
    objective, optimizer = unhooked(run.objective), run.optimizer
    differentiate = run.steps.backward()
    begin, backward, end = (
        events[name] for name in ("on_batch_begin", "on_after_backward", "on_batch_end")
    )
    backward, step = (*run.steps.before(optimizer), *backward), run.steps.step(optimizer)
    run.order, run.sizes = _visited(run)
    losses, shares, updated, learned = run.losses, _shares(run), True, False
    run.network.train()
    epoch = run.batches.epoch(run.order, run.sizes, number=run.epoch, first=run.step)
    for batch in epoch:
        run.batch = batch
        run.step += 1
        run.global_step += 1
        if updated:
            optimizer.zero_grad()
            learned = False
        _emit(begin)
        if rows := batch.inputs[0].shape[0]:
            learned = True
            output = forward(*batch.inputs)
            if rows == 1:
                check_rows(output, rows)
            if batch.weights is None:
                loss = objective(output, batch.target)
            else:
                loss = run.objective.weighted(output, batch.target, batch.weights)
            losses.add(loss.detach())
            differentiate(loss if shares is None else loss * shares[run.step - 1])
        else:  # none of its rows can be read; it counts as a batch of no rows
            losses.add(losses.last if losses else torch.zeros((), device=run.batches.device))
        updated = shares is None or run.has_updated
        if updated and learned:
            _emit(backward)
            step()
        _emit(end)
        if run.is_halted:
            break
    run.steps.check(run.epoch)
    return _mean_loss(run)


def _visited(run: Run) -> tuple[Tensor | None, list[int]]:
    """The rows of this epoch, ``(rows,)``, or None for all in order; and how they are cut."""
    if run.sampling is None:
        return row_order(run), run.batches.cut(run.batches.rows)
    order, sizes = run.sampling.draw(order_seed(run.seed, run.epoch), run.epoch)
    return order.to(run.batches.device), sizes


def _shares(run: Run) -> list[float] | None:
    """The part of each batch in the weight of its step; None where a batch is a step."""
    n = run.plan.accumulate
    if n == 1:
        return None
    weights = _weights(run)
    groups = (weights[i : i + n] for i in range(0, len(weights), n))
    return [weight / (sum(group) or 1) for group in groups for weight in group]


def _weights(run: Run) -> Sequence[float]:
    """What each batch of this epoch weighs."""
    mass = masses(run.objective, run.batches)
    if mass is None:
        return run.sizes
    visited = mass if run.order is None else mass[run.order]
    parts = visited[: sum(run.sizes)].split_with_sizes([*run.sizes])
    found: list[float] = torch.stack([part.sum() for part in parts]).tolist()
    return found


def _mean_loss(run: Run) -> float:
    """The mean over rows; read from the device once per epoch."""
    values = run.losses.all().double().cpu()
    if not bool(values.isfinite().all()):
        raise _not_finite(run, values)
    counts = torch.tensor(run.batches.counts(run.sizes)[: len(values)], dtype=torch.float64)
    return float((values * counts).sum() / counts.sum())


def _not_finite(run: Run, values: Tensor) -> DataError:
    step = int((~values.isfinite()).nonzero()[0, 0]) + 1
    rate = run.optimizer.param_groups[0].get("lr")
    return DataError(
        f"The loss is {values[step - 1].item()} in step {step} of epoch {run.epoch}.",
        why=f"the training diverged; the learning rate is {rate}",
        mend='scale the features and the target (po("scale"), po("targetscale")), '
        'or lower the learning rate: po("torch_optimizer", "adamw", lr=...)',
    )


def _evaluate(run: Run, validation: Validation, events: Mapping[str, Any]) -> dict[str, float]:
    """Loss and metrics on the validation data."""
    begin, end = events["on_valid_batch_begin"], events["on_valid_batch_end"]
    forward = run.forward or run.network
    outputs = Gathered(validation.batches.rows)
    run.network.eval()
    with torch.no_grad():
        for batch in with_rows(validation.batches.epoch()):
            run.batch = batch
            _emit(begin)
            outputs.add(forward(*batch.inputs), len(batch.inputs[0]))
            _emit(end)
        output = validation.whole(outputs.all())
        loss = _whole_loss(run.objective, output, validation.batches)
    run.network.train()
    return {"valid_loss": loss, **validation.scorer(output, validation.batches.kept)}


def _whole_loss(objective: Any, output: Tensor, batches: Batches) -> float:
    target, weights = batches.seen(batches.target), batches.seen(batches.weights)
    if weights is None:
        return float(objective(output, target))
    return float(objective.weighted(output, target, weights))


def apply_network(
    network: nn.Module,
    batches: Batches,
    callbacks: Iterable[Callback] = (),
    forward: Callable[..., Tensor] | None = None,
) -> Tensor:
    """The outputs of a network for all rows, on the CPU; nothing is learned or dropped.

    Args:
        network: The network.
        batches: The rows.
        callbacks: What happens beside it.
        forward: What computes the network, if it is compiled or computes in other numbers.

    Shape:
        returns: ``(rows, ...)``.

    >>> from mlgraph.data.batch import TensorBatches
    >>> batches = TensorBatches((torch.ones(3, 1),), None, None, size=2)
    >>> apply_network(nn.Identity(), batches).shape
    torch.Size([3, 1])
    """
    network.eval()
    run = Predicting(network, batches)
    events = predicting(callbacks, run)
    outputs = Gathered(batches.rows, torch.device("cpu"))
    with torch.inference_mode():
        _emit(events["on_predict_begin"])
        for run.batch in with_rows(batches.epoch()):
            run.step += 1
            run.output = (forward or network)(*run.batch.inputs)
            outputs.add(run.output, len(run.batch.inputs[0]))
            _emit(events["on_predict_batch_end"])
        _emit(events["on_predict_end"])
        return outputs.all()


def _emit(event: tuple[Callable[[], None], ...]) -> None:
    for hook in event:
        hook()


def history_columns(rows: list[dict[str, float]]) -> dict[str, list[float | None]]:
    """The rows of a history as columns, by epoch; a score that an epoch does not have is None.

    >>> history_columns([{"epoch": 1}, {"epoch": 2, "valid_loss": 0.5}])
    {'epoch': [1, 2], 'valid_loss': [None, 0.5]}
    """
    names = dict.fromkeys(["epoch", *(name for row in rows for name in row)])
    return {name: [row.get(name) for row in rows] for name in names}
