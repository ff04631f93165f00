"""Unfreezing: train some of the weights first, and others later."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import attrs
from torch import nn

from mlgraph.core.param import param
from mlgraph.core.value import FrozenDict
from mlgraph.data.selector import Selector
from mlgraph.errors import ConfigError
from mlgraph.train.callback import Callback
from mlgraph.train.chosen import chosen
from mlgraph.train.running import Running


@attrs.define
class Trainable:
    """The names of the weights that are trained, None before the training; and what is held.

    >>> Trainable().names is None
    True
    """

    names: list[str] | None = None
    held: list[nn.Module] = attrs.field(factory=list)

    def state_dict(self) -> dict[str, Any]:
        """The names; what is held follows from them."""
        return {"names": self.names}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Put the names back."""
        self.names = None if saved["names"] is None else list(saved["names"])


class Unfreeze(Callback):
    """Train some of the weights at first, and let others join them later.

    Weights are chosen by name: ``sel.match("^linear_1")`` those of a layer, ``sel.all()``,
    ``sel.none()``; or by kind: ``sel.kind("norm")``. What is not chosen at first is frozen,
    whatever it was before.

    A module all of whose weights are frozen calculates as it does when predicting: the statistics
    of its batch normalisations stay what they were, and nothing in it is dropped out. Those of a
    pretrained network would otherwise move away from the weights they belong to, although these
    are frozen.

    Args:
        starting_weights: The weights that are trained from the beginning.
        unfreeze: What joins them, and when: ``{"weights": sel.match("linear_1"), "epoch": 3}``
            from the beginning of that epoch, or with ``"step"`` of that batch, both from 1.
        frozen: What frozen modules are: ``"eval"`` as above, or in mode ``"train"`` like all
            others, statistics and dropout included, as torch leaves them.

    >>> from mlgraph.data.select import sel
    >>> plan = [{"weights": sel.all(), "epoch": 3}]
    >>> Unfreeze(starting_weights=sel.match("head"), unfreeze=plan).starting_weights
    sel.match('head')
    """

    starting_weights: Any = param(convert=Selector.of)
    unfreeze: tuple[Any, ...] = param(default=(), convert=lambda value: _rows(value))
    frozen: Literal["eval", "train"] = "eval"

    def validate(self) -> None:
        for row in self.unfreeze:
            _check_row(self, row)
        for unit in ("epoch", "step"):
            times = [row[unit] for row in self.unfreeze if unit in row]
            if len(set(times)) < len(times):
                raise ConfigError(
                    f"Two rows of unfreeze name the same {unit}.",
                    where=repr(self),
                    mend="choose the weights with one selector: a | b",
                )

    def fixed(self) -> Mapping[str, Any]:
        return self.own()

    def check(self, network: nn.Module) -> None:
        for selector in (self.starting_weights, *(row["weights"] for row in self.unfreeze)):
            self._picked(selector, network)

    def start(self, run: Running) -> Trainable:
        self.check(run.network)  # so that a mistake in the last row is not found after days
        return Trainable()

    def on_train_begin(self, run: Running, state: Trainable) -> None:
        """Freeze, or go on where an earlier run was saved."""
        first = self._picked(self.starting_weights, run.network)
        self._train(first if state.names is None else state.names, run, state)

    def on_epoch_begin(self, run: Running, state: Trainable) -> None:
        """Unfreeze what is due in this epoch."""
        self._unfreeze("epoch", run.epoch, run, state)
        by_step = any("step" in row for row in self.unfreeze)
        if not state.names and not by_step:
            raise ConfigError(
                f"No weights are trained in epoch {run.epoch}.",
                where=repr(self),
                mend="choose some in starting_weights, or unfreeze some in epoch 1",
            )

    def on_batch_begin(self, run: Running, state: Trainable) -> None:
        """Unfreeze what is due in this step."""
        self._unfreeze("step", run.global_step, run, state)
        _hold(state)

    def on_train_end(self, run: Running, state: Trainable) -> None:
        """Hold what is frozen, for those who look at statistics now."""
        _hold(state)

    def _unfreeze(self, unit: str, now: int, run: Running, state: Trainable) -> None:
        for row in self.unfreeze:
            if row.get(unit) == now:
                joining = self._picked(row["weights"], run.network)
                self._train({*(state.names or ()), *joining}, run, state)

    def _train(self, names: Iterable[str], run: Running, state: Trainable) -> None:
        """Train these weights, and no others."""
        wanted = set(names)
        state.names = [name for name, _ in run.network.named_parameters() if name in wanted]
        _train_only(run, wanted)
        for module in state.held:
            module.train()
        state.held = list(_frozen(run.network)) if self.frozen == "eval" else []

    def _picked(self, selector: Selector, network: nn.Module) -> tuple[str, ...]:
        return chosen(selector, network, repr(self))


def _train_only(run: Running, names: Collection[str]) -> None:
    for name, parameter in run.network.named_parameters():
        parameter.requires_grad_(name in names)
        if name not in names:
            parameter.grad = None  # the step of the optimizer would still use it


def _frozen(module: nn.Module) -> Iterable[nn.Module]:
    """The largest modules that have weights, all of them frozen."""
    weights = list(module.parameters())
    if weights and not any(weight.requires_grad for weight in weights):
        yield module
        return
    for child in module.children():
        yield from _frozen(child)


def _hold(state: Trainable) -> None:
    """Put what is held into eval mode, out of which each epoch takes the whole network."""
    for module in state.held:
        if module.training:
            module.eval()


def _rows(value: Any) -> Any:
    if isinstance(value, Mapping):
        value = (value,)
    if not isinstance(value, (list, tuple)):
        return value
    return tuple(_row(row) for row in value)


def _row(row: Any) -> Any:
    if not isinstance(row, Mapping) or "weights" not in row:
        return row
    return FrozenDict({**row, "weights": Selector.of(row["weights"])})


def _check_row(callback: Callback, row: Any) -> None:
    units = [unit for unit in ("epoch", "step") if isinstance(row, Mapping) and unit in row]
    fits = len(units) == 1 and set(row) == {"weights", *units}
    if fits and isinstance(row["weights"], Selector):
        time = row[units[0]]
        if isinstance(time, int) and not isinstance(time, bool) and time >= 1:
            return
    raise ConfigError(
        f"{row!r} is no row of unfreeze.",
        where=repr(callback),
        why="a row has the weights, and the epoch or the step, from 1",
        mend='write {"weights": sel.match("linear"), "epoch": 3}',
    )
