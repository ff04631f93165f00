"""A run of which every process does its share, and what they do to stay alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import attrs
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mlgraph.core.entry import node_seed
from mlgraph.core.param import param
from mlgraph.errors import ConfigError, StateError, listing
from mlgraph.train.callback import Callback
from mlgraph.train.lossfn import masses
from mlgraph.train.parallel.group import Group, joined
from mlgraph.train.parallel.share import Share, Summed, complete, part
from mlgraph.train.run import Run, Validation


@contextmanager
def data_parallel(
    run: Run, callbacks: Mapping[str, Callback], identity: Callable[[], Mapping[str, str]]
) -> Iterator[Mapping[str, Callback]]:
    """Let a run be this process's share, where there are several; its callbacks.

    Args:
        run: The run of one process alone.
        callbacks: The callbacks of it, by id.
        identity: Describes what must be the same in all processes; asked only if there are others.

    Raises:
        ConfigError: Processes cannot train together on such a device.
        StateError: Another process failed, or trains something else.
    """
    with joined(_device(run.network)) as group:
        if group is None:
            yield callbacks
        else:
            _refuse_unlike(group, {**identity(), "epochs": str(run.epochs)})
            yield shared(run, callbacks, group)


def shared(run: Run, callbacks: Mapping[str, Callback], group: Group) -> dict[str, Callback]:
    """Let a run take its share of the batches, and of the loss; its callbacks.

    Args:
        run: The run of one process alone.
        callbacks: The callbacks of it, by id.
        group: The processes.
    """
    _share(run, group)
    own = dict(callbacks)
    if not group.is_first:
        own = {id: _quiet(callback) for id, callback in own.items()}
    # These come first among equals: what is agreed on is what checkpoints hold.
    return {"_sharing": _Sharing(group=group), "_agreeing": _Agreeing(group=group), **own}


def _refuse_unlike(group: Group, mine: Mapping[str, str]) -> None:
    """Refuse processes that would train different things."""
    first, *others = group.each(dict(mine))
    different = [name for name in first if any(other[name] != first[name] for other in others)]
    if different:
        raise StateError(
            "The processes do not train the same.",
            why=f"they differ in {listing(different)}",
            mend="give fit a seed, and every process the same data and the same graph",
        )


def _share(run: Run, group: Group) -> None:
    _refuse_running_scores(run)
    _refuse_scaled_steps(run)
    mass, valid = masses(run.objective, run.batches), run.validation
    uneven = mass is not None or (valid is not None and valid.batches.weights is not None)
    if valid is not None:
        run.validation = _shared_validation(valid, run.objective, group)
    run.batches = cast(Any, Share(run.batches, group.rank, group.size, mass))
    run.objective = Summed(run.objective, even=not uneven)


def _refuse_scaled_steps(run: Run) -> None:
    if run.plan.precision == "fp16":
        raise ConfigError(
            "Several processes cannot train together in float16.",
            where="parameter 'precision'",
            why="each would leave out other steps than the others",
            mend='torch_model(precision="bf16")',
        )


def _refuse_running_scores(run: Run) -> None:
    if run.training is not None and run.training.clean is None:
        raise ConfigError(
            "Each process sees the outputs for its own share of the training rows only.",
            where="parameter 'metrics_train'",
            mend='torch_model(metrics_train_from="clean")',
        )


def _shared_validation(valid: Validation, objective: Any, group: Group) -> Validation:
    """Evaluation of a part of the rows, whose outputs are put together."""
    whole = valid.batches
    mass = None if whole.weights is None else masses(objective, whole)
    if mass is not None:
        whole = whole.but(weights=mass / mass.sum())
    start, end, counts = part(whole.rows, group.rank, group.size)
    rows = torch.arange(start, end, device=whole.device)

    def together(output: Tensor) -> Tensor:
        found = output.new_zeros(whole.rows, *output.shape[1:])
        if counts:
            found[start:end] = output
        group.add([found])
        return found

    return Validation(batches=cast(Any, _Some(whole, rows)), scorer=valid.scorer, whole=together)


@attrs.frozen(eq=False)
class _Some:
    """Some of the rows; whatever else is asked for is that of all."""

    whole: Any
    places: Tensor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.whole, name)

    def epoch(self) -> Any:
        """The batches of these rows."""
        sizes = self.whole.cut(len(self.places))
        return map(complete, self.whole.epoch(self.places, sizes), sizes)


@attrs.frozen(eq=False)
class _Quiet:
    """A callback that only has its memory."""

    inner: Callback

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def hook(self, event: str) -> None:
        """Nothing to do."""


def _quiet(callback: Callback) -> Callback:
    return cast(Callback, _Quiet(callback)) if callback.writes else callback


class _Sharing(Callback):
    """Sums gradients and losses before anyone looks at them."""

    weight: float = float("-inf")

    group: Any = param()

    def on_train_begin(self, run: Any, state: None) -> None:
        """Begin at the same place, with the weights of the first process."""
        places = self.group.each([run.epoch, run.step])
        if any(place != places[0] for place in places):
            raise StateError(
                "The processes do not go on from the same checkpoint.",
                why=f"their epochs and batches are {listing(map(tuple, places))}",
                mend="let all of them see the folder of the checkpoints",
            )
        with torch.no_grad():
            self.group.follow(list(run.network.state_dict().values()))

    def on_batch_begin(self, run: Any, state: None) -> None:
        """Draw what no other process draws; depends on nothing that came before."""
        seed = node_seed(run.seed, f"process {self.group.rank}", str(run.global_step))
        torch.default_generator.manual_seed(seed)
        device = _device(run.network)
        if device.type == "cuda":
            torch.cuda.default_generators[device.index or 0].manual_seed(seed)

    def on_after_backward(self, run: Any, state: None) -> None:
        """Sum the gradients, the loss and the statistics of batch norm, in one message."""
        with torch.no_grad():
            self._sum(run, [p for p in run.network.parameters() if p.requires_grad])

    def _sum(self, run: Any, weights: list[nn.Parameter]) -> None:
        missing = [weight.grad is None for weight in weights]
        grads = [torch.zeros_like(w) if w.grad is None else _dense(w.grad) for w in weights]
        loss = run.loss.clone()
        present = loss.new_ones(len(weights))
        if any(missing):
            present = loss.new_tensor([float(not absent) for absent in missing])
        statistics = _statistics(run.network)
        for tensor in statistics:
            tensor.mul_(run.batches.fraction(run.sizes[run.step - 1]))
        self.group.add([*grads, loss, present, *statistics])
        run.loss = loss
        if any(missing):  # used in another process, or in none
            used = (present > 0).tolist()
            for weight, grad, absent, by_any in zip(weights, grads, missing, used, strict=True):
                if absent and by_any:
                    weight.grad = grad

    def on_batch_end(self, run: Any, state: None) -> None:
        """Sum the loss of a batch without a step."""
        if not run.has_updated:
            loss = run.loss.clone()
            self.group.add([loss])
            run.loss = loss

    def on_valid_begin(self, run: Any, state: None) -> None:
        """Evaluate with the same buffers."""
        _follow_buffers(run.network, self.group)

    def on_valid_end(self, run: Any, state: None) -> None:
        """Decide by the scores of the first process: a device need not compute alike twice."""
        scores = torch.tensor(list(run.scores.values()), dtype=torch.float64)
        self.group.follow([scores])
        run.scores = dict(zip(run.scores, scores.tolist(), strict=True))

    def on_epoch_end(self, run: Any, state: None) -> None:
        """Let no buffer drift."""
        _follow_buffers(run.network, self.group)

    def on_train_end(self, run: Any, state: None) -> None:
        """Let an interruption end all, as processes are interrupted at different moments."""
        if run.interrupted:
            raise KeyboardInterrupt


class _Agreeing(Callback):
    """Ends the training in all processes where a callback ends it in one."""

    weight: float = float("inf")

    group: Any = param()

    def on_train_begin(self, run: Any, state: None) -> None:
        """Agree on what an earlier run has reached."""
        self._agree(run)

    def on_batch_end(self, run: Any, state: None) -> None:
        """Agree before the next batch."""
        self._agree(run)

    def on_epoch_end(self, run: Any, state: None) -> None:
        """Agree before the next epoch."""
        self._agree(run)

    def _agree(self, run: Any) -> None:
        # On the CPU: nobody waits for a device.
        wishes = torch.tensor([float(bool(run.stopped)), float(run.is_halted)])
        self.group.add([wishes])
        stopped, halted = wishes.tolist()
        if stopped:
            run.stopped = next(filter(None, self.group.each(run.stopped)))
        run.is_halted = bool(halted)

    def on_train_end(self, run: Any, state: None) -> None:
        """Refuse a result that is not the same in all processes."""
        with torch.no_grad():
            self.group.add(_scaled(_statistics(run.network), 1 / self.group.size))
        different = [*_drifted(run.network, self.group), *_unlike_history(run, self.group)]
        if different:
            raise StateError(
                "The processes ended with different results.",
                why=f"they differ in {listing(different)}",
                mend="look for a callback or a layer that does not do the same in all of them",
            )


def _dense(grad: Tensor) -> Tensor:
    if grad.layout is not torch.strided:
        raise ConfigError(
            "Sparse gradients cannot be shared between processes.",
            mend='leave out sparse=True in nn("embedding")',
        )
    return grad


def _statistics(network: nn.Module) -> list[Tensor]:
    """The running statistics of batch norm and its like."""
    norms = [module for module in network.modules() if isinstance(module, _NormBase)]
    found = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var)]
    return [tensor for tensor in found if tensor is not None]


def _scaled(tensors: list[Tensor], by: float) -> list[Tensor]:
    for tensor in tensors:
        tensor.mul_(by)
    return tensors


def _follow_buffers(network: nn.Module, group: Group) -> None:
    """Take all other buffers from the first process: what they are, only their layer knows."""
    known = {id(tensor) for tensor in _statistics(network)}
    with torch.no_grad():
        group.follow([tensor for tensor in network.buffers() if id(tensor) not in known])


def _drifted(network: nn.Module, group: Group) -> list[str]:
    """The tensors that are not those of the first process."""
    mine = []
    for name, tensor in network.state_dict().items():
        first = tensor.detach().clone()
        group.follow([first])
        if not torch.equal(_bits(first), _bits(tensor)):
            mine.append(name)
    return sorted({name for names in group.each(mine) for name in names})


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _unlike_history(run: Run, group: Group) -> list[str]:
    found = [json.dumps(run.history), run.epoch, run.best_epoch]
    return [] if all(other == found for other in group.each(found)) else ["the history"]


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
