"""Groups of parameters: which of them an optimizer treats in another way, and how.

A row chooses parameters and says what holds for them. A parameter takes what all rows that
choose it say; so "no decay for norms" and "a tenth of the rate for the backbone" go together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mlgraph.core.param import Token
from mlgraph.core.value import FrozenDict
from mlgraph.data.selector import Kind, Selector
from mlgraph.errors import ConfigError, UnknownParameterError, did_you_mean, listing
from mlgraph.train.chosen import chosen
from mlgraph.train.depth import depths

Rows = tuple[FrozenDict, ...]

# What shall not shrink: everything but the matrices and kernels that multiply features.
UNDECAYED = Kind(("bias", "embedding", "norm", "vector"))

RELATIVE = ("lr_factor", "layer_decay")
_MEND = 'write {"weights": sel.match("^backbone"), "lr_factor": 0.1}'


def rows_of(value: Any) -> Any:
    """Rows as they are kept: a tuple of frozen dicts, each with a selector under ``weights``.

    Args:
        value: A list of rows, one row, or a dict from selectors to settings.

    >>> rows_of({"head.bias": {"lr": 0.1}})
    ({'weights': sel.names('head.bias'), 'lr': 0.1},)
    """
    if isinstance(value, Mapping) and "weights" not in value:
        value = [
            {"weights": chosen, **settings} if isinstance(settings, Mapping) else settings
            for chosen, settings in value.items()
        ]
    elif value is None or isinstance(value, Mapping):
        value = [] if value is None else [value]
    return tuple(map(_row, value)) if isinstance(value, (list, tuple)) else value


def check_rows(rows: Any, options: Collection[str], takes_any: bool) -> None:
    """Refuse what is no row, and settings that the optimizer does not have.

    Args:
        rows: The rows.
        options: What can be set.
        takes_any: Whether the optimizer takes other options too.

    Raises:
        ConfigError: A row has no weights, or no settings, or impossible ones.
        UnknownParameterError: There is no such setting.

    >>> from mlgraph.data.select import sel
    >>> check_rows(rows_of([{"weights": sel.all(), "lr_factor": 0.5}]), ["lr"], False)
    """
    if not isinstance(rows, tuple):
        raise _no_row(rows)
    for row in rows:
        if not isinstance(row, Mapping) or len(row) < 2:
            raise _no_row(row)
        if not isinstance(row.get("weights"), (Selector, Token)):
            raise _no_row(row)
        for name in settings_of(row):
            if not takes_any and name not in (*options, *RELATIVE):
                raise _unknown(row, name, options)
        _check_number(row, "lr_factor", None)
        _check_number(row, "layer_decay", 1.0)


def settings_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of the weights it chooses.

    >>> settings_of({"weights": None, "lr": 0.1})
    {'lr': 0.1}
    """
    return {name: value for name, value in row.items() if name != "weights"}


def grouped(network: nn.Module, rows: Rows, rate: Any) -> list[dict[str, Any]]:
    """The groups for an optimizer: first what no row chooses, then in the order of the rows.

    A group whose rate is not the optimizer's remembers their ratio as ``lr_factor``.

    Args:
        network: The network; frozen weights are part of the groups.
        rows: The rows.
        rate: The learning rate of the optimizer, or None if it is not known.

    Raises:
        ConfigError: A row chooses nothing, or two say different things of one weight.

    >>> rows = rows_of({"bias": {"lr_factor": 2.0}})
    >>> [group.get("lr") for group in grouped(nn.Linear(2, 1), rows, 0.1)]
    [None, 0.2]
    """
    said = _said(network, rows)
    groups: dict[Any, dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        place, settings = said.get(name, ((), {}))
        group = groups.setdefault(place, {"params": [], **_absolute(settings, rate)})
        group["params"].append(parameter)
    return [groups[place] for place in sorted(groups)]


def factors(optimizer: torch.optim.Optimizer) -> list[float]:
    """The learning rate of each group as a multiple of the optimizer's.

    >>> factors(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1))
    [1.0]
    """
    return [float(group.get("lr_factor", 1.0)) for group in optimizer.param_groups]


Place = tuple[tuple[int, int], ...]


def _said(network: nn.Module, rows: Rows) -> dict[str, tuple[Place, dict[str, Any]]]:
    """What the rows say of each weight; and which they are, with the layer where it matters."""
    found: dict[str, tuple[Place, dict[str, Any]]] = {}
    for number, row in enumerate(rows):
        names = chosen(row["weights"], network, repr(row))
        layers = depths(network, names) if "layer_decay" in row else dict.fromkeys(names, 0)
        last = max(layers.values(), default=0)
        for name in names:
            place, settings = found.get(name, ((), {}))
            new = settings_of(row)
            if "layer_decay" in row:
                new["layer_decay"] = row["layer_decay"] ** (last - layers[name])
            _refuse_conflict(name, settings, new, row)
            found[name] = (*place, (number, layers[name])), {**settings, **new}
    return found


def _absolute(settings: Mapping[str, Any], rate: Any) -> dict[str, Any]:
    """Settings as torch has them, the learning rate multiplied out."""
    plain = {name: value for name, value in settings.items() if name not in RELATIVE}
    base = plain.get("lr", rate)
    factor = settings.get("lr_factor", 1.0) * settings.get("layer_decay", 1.0)
    if not {"lr", *RELATIVE} & settings.keys():
        return plain
    if base is None:
        raise ConfigError(
            "A part of the learning rate is not known, as the whole is not.",
            why="the optimizer has no option 'lr'",
            mend="give it a learning rate, or set lr instead of lr_factor",
        )
    plain["lr"] = base * factor
    if rate:
        plain["lr_factor"] = plain["lr"] / rate if "lr" in settings else factor
    return plain


def _refuse_conflict(
    name: str, old: Mapping[str, Any], new: Mapping[str, Any], row: Mapping[str, Any]
) -> None:
    for setting in new:
        if setting in old and old[setting] != new[setting]:
            raise ConfigError(
                f"Two groups set {setting!r} of {name!r}.",
                where=repr(row),
                why=f"to {old[setting]} and to {new[setting]}",
                mend="take the weights of one out of the other: a - b",
            )


def _row(row: Any) -> Any:
    if not isinstance(row, Mapping) or "weights" not in row:
        return row
    weights = row["weights"]
    return FrozenDict({**row, "weights": weights if _is_open(weights) else Selector.of(weights)})


def _is_open(value: Any) -> bool:
    return isinstance(value, Token)


def _check_number(row: Mapping[str, Any], name: str, upper: float | None) -> None:
    value = row.get(name, 1.0)
    if isinstance(value, Token):
        return
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and 0 < value <= (upper or float("inf"))):
        raise ConfigError(
            f"A group cannot have {name}={value!r}.",
            where=repr(row),
            why=f"expected a number above 0{f', and at most {upper:g}' if upper else ''}",
        )


def _no_row(row: Any) -> ConfigError:
    return ConfigError(
        f"{row!r} is no group of weights.",
        why="a group has the weights, and what holds for them",
        mend=_MEND,
    )


def _unknown(row: Any, name: str, options: Collection[str]) -> UnknownParameterError:
    known: Sequence[str] = (*RELATIVE, *options)
    return UnknownParameterError(
        f"A group cannot set {name!r}.",
        where=repr(row),
        why=f"it can set {listing(known, 20)}",
        mend=did_you_mean(name, known),
    )
