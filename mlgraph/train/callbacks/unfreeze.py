"""Unfreezing: train some of the weights first, and others later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from mlgraph.core.param import param
from mlgraph.core.value import FrozenDict
from mlgraph.data.selector import Names, Nothing, Selector
from mlgraph.errors import ConfigError, did_you_mean, listing
from mlgraph.train.callback import Callback
from mlgraph.train.running import Running


@attrs.define
class Trainable:
    """The names of the weights that are trained; None before the training.

    >>> Trainable().names is None
    True
    """

    names: list[str] | None = None


class Unfreeze(Callback):
    """Train some of the weights at first, and let others join them later.

    Weights are chosen by name: ``sel.match("^linear_1")`` those of a layer, ``sel.all()``,
    ``sel.none()``. What is not chosen at first is frozen, whatever it was before. Statistics of
    batch normalisation are no weights, and move all the time.

    Args:
        starting_weights: The weights that are trained from the beginning.
        unfreeze: What joins them, and when: ``{"weights": sel.match("linear_1"), "epoch": 3}``
            from the beginning of that epoch, or with ``"step"`` of that batch, both from 1.

    >>> from mlgraph.data.select import sel
    >>> plan = [{"weights": sel.all(), "epoch": 3}]
    >>> Unfreeze(starting_weights=sel.match("head"), unfreeze=plan).starting_weights
    sel.match('head')
    """

    starting_weights: Any = param(convert=Selector.of)
    unfreeze: tuple[Any, ...] = param(default=(), convert=lambda value: _rows(value))

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

    def start(self, run: Running) -> Trainable:
        # All are looked up now, so that a mistake in the last is not found after days.
        for selector in (self.starting_weights, *(row["weights"] for row in self.unfreeze)):
            self._picked(selector, run)
        return Trainable()

    def on_train_begin(self, run: Running, state: Trainable) -> None:
        """Freeze, or go on where an earlier run was saved."""
        if state.names is None:
            state.names = list(self._picked(self.starting_weights, run))
        _train_only(run, state.names)

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

    def hook(self, event: str) -> Any:
        if event == "on_batch_begin" and not any("step" in row for row in self.unfreeze):
            return None
        return super().hook(event)

    def _unfreeze(self, unit: str, now: int, run: Running, state: Trainable) -> None:
        for row in self.unfreeze:
            if row.get(unit) == now:
                names = {*(state.names or ()), *self._picked(row["weights"], run)}
                state.names = [name for name, _ in run.network.named_parameters() if name in names]
                _train_only(run, state.names)

    def _picked(self, selector: Selector, run: Running) -> tuple[str, ...]:
        names = [name for name, _ in run.network.named_parameters()]
        wanted = selector.names if isinstance(selector, Names) and selector.strict else ()
        missing = [name for name in wanted if name not in names]
        found = () if missing else selector.pick_from(names)
        if not found and not isinstance(selector, Nothing):
            words = missing or _words(selector)
            raise ConfigError(
                f"{selector!r} chooses no weights.",
                where=repr(self),
                why=f"the weights are {listing(names, 20)}",
                mend=next(filter(None, (did_you_mean(word, names) for word in words)), ""),
            )
        return found


def _train_only(run: Running, names: Iterable[str]) -> None:
    chosen = set(names)
    for name, parameter in run.network.named_parameters():
        parameter.requires_grad_(name in chosen)
        if name not in chosen:
            parameter.grad = None  # the step of the optimizer would still use it


def _words(selector: Selector) -> Sequence[str]:
    regex = getattr(selector, "regex", "")
    return [regex.strip("^$.*")] if regex else []


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
