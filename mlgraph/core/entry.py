"""What goes into a walk: one value for every free input, split for validation, and its seed."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from mlgraph.core import wiring
from mlgraph.core.fitted import FittedGraph
from mlgraph.core.graph import Graph
from mlgraph.core.port import Port, accepts, article
from mlgraph.core.resolve import entrances
from mlgraph.core.value import digest
from mlgraph.errors import (
    ConfigError,
    DataError,
    GraphError,
    MLGraphError,
    did_you_mean,
    listing,
    together,
)

Address = tuple[str, str]


def problems(graph: Graph) -> list[MLGraphError]:
    """What can be found wrong without any data."""
    problems: list[MLGraphError] = []
    tokens = graph.search_space()
    if tokens:
        shown = ", ".join(f"{path}={token!r}" for path, token in tokens.items())
        problems.append(
            ConfigError(
                f"{len(tokens)} parameter{'s are' * (len(tokens) > 1) or ' is'} left to tuning.",
                where=shown,
                mend=f"give values: graph.with_params({next(iter(tokens))}=...), or search them",
            )
        )
    absent = [
        name
        for name in sorted(graph.requires)
        if importlib.util.find_spec(name.partition(".")[0]) is None
    ]
    for name in absent:
        users = [id for id, node in graph.nodes.items() if name in node.requires]
        problems.append(
            ConfigError(
                f"The package {name!r} is not installed.",
                why=f"needed by {listing(users)}",
                mend=f"pip install {name}",
            )
        )
    if len(graph) == 0:
        problems.append(GraphError("The graph is empty.", mend="start with po(...)"))
    return problems


def refuse(problems: list[MLGraphError]) -> None:
    """Raise the findings, if there are any, as one error."""
    if problems:
        count = sum(len(problem.errors) or 1 for problem in problems)
        raise together(problems, f"{count} things are wrong with the graph.")


def run_seed(seed: int | None) -> int:
    """The seed of a run: the one given, or one drawn from the system."""
    if seed is None:
        return secrets.randbits(48)
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ConfigError(f"seed={seed!r} is no seed.", why="expected an integer or None")
    return int(seed)


def refuse_more(graph: Graph, more: tuple[Any, ...]) -> None:
    """Refuse ``fit(X, y)``: what belongs together is one value.

    Raises:
        GraphError: Says how to make that value.
    """
    if more:
        wanted = [input_at(graph, name).type_in("fit") for name in graph.inputs[:1]]
        raise GraphError(
            f"A graph takes one value for all its inputs, and got {1 + len(more)}.",
            why="features and their target come as one",
            mend="".join(str(getattr(kind, "how_to_make", "")) for kind in wanted),
        )


def given_values(graph: Graph, value: Any, inputs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The value of every free input.

    Raises:
        GraphError: Both or neither way of giving values, unknown or missing names.
    """
    if (value is None) == (inputs is None):
        raise GraphError(
            "Give the graph one value for all its inputs, or inputs={...}.",
            why=f"its inputs are {listing(graph.inputs)}",
        )
    if inputs is None:
        return {name: value for name in graph.inputs}
    return _named_inputs(graph, inputs)


def _named_inputs(graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Any]:
    given = _full_names(graph, inputs)
    missing = [name for name in graph.inputs if name not in given]
    if missing:
        raise GraphError(
            f"No value is given for {listing(missing)}.",
            why=f"the graph's inputs are {listing(graph.inputs)}",
        )
    return given


def to_fit(
    graph: Graph, resolved: Graph, given: Mapping[str, Any], valid: Any, seed: int
) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Training values, validation values, and whether the latter are real data.

    Both by free input of the resolved graph, from values by free input of the user's.
    """
    doors = entrances(graph, resolved)
    values = _spread(resolved, _entering(doors, given))
    _refuse_types(resolved, values, "fit")
    return _split(values, _by_door(graph, doors, valid), seed)


def to_predict(fitted: FittedGraph, given: Mapping[str, Any]) -> dict[str, Any]:
    """New data by free input of the resolved graph, in the form of what was fitted on."""
    return _formed(fitted, _arrived(fitted, given))


def to_continue(
    fitted: FittedGraph, given: Mapping[str, Any], valid: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Training and validation values for a fitted graph, split as when it was fitted."""
    doors = entrances(fitted.graph, fitted.resolved)
    raw = _arrived(fitted, given)
    values = _formed(fitted, raw)
    for name, value in raw.items():
        _refuse_other_roles(fitted, name, values[name], value)
    train, held, _ = _split(values, _by_door(fitted.graph, doors, valid), fitted.seed)
    return train, held


def _full_names(graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """By ``id.port`` what may be given by ``id`` alone."""
    if not isinstance(inputs, Mapping):
        mend = f"write inputs={{{graph.inputs[0]!r}: ...}}" if graph.inputs else ""
        raise GraphError(f"inputs= takes a dict, and got {article(type(inputs))}.", mend=mend)
    given: dict[str, Any] = {}
    for name, value in inputs.items():
        full = [known for known in graph.inputs if name in (known, known.partition(".")[0])]
        if len(full) != 1:
            raise GraphError(
                f"No input of the graph is called {name!r}."
                if not full
                else f"{name!r} names {len(full)} inputs.",
                why=f"its inputs are {listing(graph.inputs)}",
                mend=did_you_mean(name, graph.inputs),
            )
        if full[0] in given:
            raise GraphError(f"The input {full[0]!r} is given twice.", mend="give it once")
        given[full[0]] = value
    return given


def _entering(doors: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the inputs of the plain graph, from values by those of the user's graph.

    Args:
        doors: For each input of the user's graph, the one of the plain graph that leads there.
        given: Values by input of the user's graph.

    Raises:
        GraphError: Two values for inputs that share one.
    """
    values: dict[str, Any] = {}
    for name, door in doors.items():
        if door in values and values[door] is not given[name]:
            raise GraphError(
                f"{door} takes one value, and got two.",
                why=f"it also leads to {name!r}: they were given one value while fitting",
                mend="give them the same value, or fit the graph with inputs={...}",
            )
        values[door] = given[name]
    return values


def _spread(graph: Graph, values: Mapping[str, Any]) -> dict[str, Any]:
    """A list for a variadic input as one value each: ``id.port[0]``, ``id.port[1]``, ..."""
    spread: dict[str, Any] = {}
    for name, value in values.items():
        if input_at(graph, name).variadic and isinstance(value, (list, tuple)):
            spread.update({f"{name}[{i}]": item for i, item in enumerate(value)})
        else:
            spread[name] = value
    return spread


def _refuse_types(graph: Graph, values: Mapping[str, Any], phase: str) -> None:
    """Refuse values of other types than the free inputs take.

    Raises:
        DataError: Names the input, and how to make what it takes.
    """
    for name, value in values.items():
        wanted = input_at(graph, name).type_in(phase)
        if not accepts(wanted, value):
            raise DataError(
                f"{name} takes {article(wanted)}, and got {article(type(value))}.",
                where=f"input {name!r} of the graph",
                mend=str(getattr(wanted, "how_to_make", "")),
            )


def _by_door(graph: Graph, doors: Mapping[str, str], valid: Any) -> Any:
    """Validation data given by input of the user's graph, by input of the plain one."""
    if not isinstance(valid, Mapping):
        return valid
    return {doors[n]: v for n, v in _full_names(graph, valid).items() if n in doors}


def _split(
    given: Mapping[str, Any], valid: Any, seed: int
) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Training values, validation values, and whether the latter are real.

    A value that stands at several inputs is split once.
    """
    train, held = {}, {}
    done: dict[tuple[int, int], tuple[Any, Any]] = {}
    for name, value in given.items():
        wanted = valid.get(name.partition("[")[0]) if isinstance(valid, Mapping) else valid
        key = id(value), id(wanted)
        if key not in done:
            done[key] = _halves(name, value, wanted, node_seed(seed, "", "split"))
        train[name], held[name] = done[key]
    return train, {n: v for n, v in held.items() if v is not None}, valid is not None


def _halves(name: str, value: Any, valid: Any, seed: int) -> tuple[Any, Any]:
    if valid is None:
        return value, value.empty() if hasattr(value, "empty") else None
    if not hasattr(value, "split"):
        raise ConfigError(
            f"Validation data cannot be split off {article(type(value))}.",
            where=f"input {name!r} of the graph",
        )
    train, held = value.split(valid, seed)
    return train, held


def _formed(fitted: FittedGraph, raw: Mapping[str, Any]) -> dict[str, Any]:
    """What arrived, in the form of what was fitted on."""
    values = {name: _modelled(fitted, name, value) for name, value in raw.items()}
    _refuse_types(fitted.resolved, values, "apply")
    return values


def _modelled(fitted: FittedGraph, name: str, value: Any) -> Any:
    """New data in the form of what the graph was fitted on."""
    prototype = fitted.prototypes.get(name)
    if prototype is None or not hasattr(prototype, "like"):
        return value
    try:
        return prototype.like(value)
    except MLGraphError as error:
        raise error.at(f"input {name!r} of the graph") from error.__cause__


def _arrived(fitted: FittedGraph, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, by free input of the resolved graph."""
    return _spread(fitted.resolved, _entering(entrances(fitted.graph, fitted.resolved), given))


def _refuse_other_roles(fitted: FittedGraph, name: str, value: Any, given: Any) -> None:
    """Refuse data to learn from that differ in what learning depends on, besides the features."""
    prototype = fitted.prototypes.get(name)
    if prototype is None or not hasattr(prototype, "refuse_other_roles"):
        return
    try:
        prototype.refuse_other_roles(value, given)
    except MLGraphError as error:
        raise error.at(f"input {name!r} of the graph") from error.__cause__


def kept_ids(graph: Graph, keep: Iterable[str] | str) -> frozenset[str]:
    """The ids whose outputs are to be kept; unknown ones are refused."""
    if keep == "all":
        return frozenset(graph.ids)
    if not isinstance(keep, Iterable):
        raise ConfigError(f"keep={keep!r} names no nodes.", mend='write keep=["id"] or keep="all"')
    ids = frozenset([keep] if isinstance(keep, str) else keep)
    for id in ids:
        wiring.by_id(graph.ids, id)
    return ids


def node_seed(seed: int, id: str, phase: str) -> int:
    """The seed of a node: a function of the run's seed, the node's id and the phase only.

    >>> node_seed(1, "scale", "fit") == node_seed(1, "scale", "fit")
    True
    """
    return int(digest(str(seed), id, phase)[:15], 16)


def split_address(name: str) -> Address:
    """The id and the port of ``"id.port"`` or ``"id.port[0]"``; an id may hold dots itself."""
    id, _, port = name.partition("[")[0].rpartition(".")
    return id, port


def input_at(graph: Graph, name: str) -> Port:
    """The port of a free input."""
    id, port = split_address(name)
    return wiring.input_port(graph.nodes[id], port)


def output_at(graph: Graph, name: str) -> Port:
    """The port of a free output."""
    id, port = split_address(name)
    return wiring.output_port(graph.nodes[id], port)
