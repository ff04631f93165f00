"""Whole graphs by name: ``recipe()`` finds the function that makes them, and calls it.

A recipe is a public function in the module ``recipes`` of a package that offers nodes. What does
not fit its parameters is refused with the call that would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

from mlgraph.catalogue import catalogue, label, providers
from mlgraph.core.graph import Graph
from mlgraph.core.param import shown
from mlgraph.errors import (
    ConfigError,
    UnknownKeyError,
    UnknownParameterError,
    did_you_mean,
    listing,
)


def recipe(key: str, /, *args: Any, **params: Any) -> Graph:
    """A whole graph by its name: an architecture, to train as it is or to cut and change.

    A parameter may be left to tuning where the recipe only passes it on, to one node.

    Raises:
        UnknownKeyError: There is no such recipe.
        UnknownParameterError: It has no such parameter.
        ConfigError: A parameter is missing, surplus or impossible.

    >>> from mlgraph.datasets import load
    >>> recipe("mlp", load("penguins"), epochs=5)["torch_model"].epochs
    5
    """
    known = catalogue().recipes
    if not isinstance(key, str) or key not in known:
        raise _no_recipe(key, known)
    _refuse_unfit(key, known[key], args, params)
    return known[key](*args, **params)


def recipes() -> Any:
    """Every recipe as an Arrow table: key, label, parameters.

    >>> recipes().column_names
    ['key', 'label', 'parameters']
    """
    import pyarrow as pa

    return pa.Table.from_pylist(
        [
            {"key": key, "label": label(made), "parameters": list(signature(made).parameters)}
            for key, made in sorted(catalogue().recipes.items())
        ]
    )


def _no_recipe(key: object, known: Mapping[str, Callable[..., Graph]]) -> UnknownKeyError:
    return UnknownKeyError(
        f"No recipe is called {key!r}.",
        why="; ".join([f"there are {listing(sorted(known))}", *providers()]),
        mend=f"write po({key!r}): it is a node"
        if isinstance(key, str) and key in catalogue().offers
        else did_you_mean(key, known) or "mlgraph.recipes() lists them all",
    )


def _refuse_unfit(
    key: str, made: Callable[..., Graph], args: Sequence[Any], params: Mapping[str, Any]
) -> None:
    """Refuse arguments that the function cannot be called with."""
    wanted = signature(made).parameters
    if not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in wanted.values()):
        for name in (name for name in params if name not in wanted):
            raise UnknownParameterError(
                f'recipe("{key}") has no parameter {name!r}.',
                why=f"its parameters are {listing(wanted, 30)}",
                mend=did_you_mean(name, wanted),
            )
    try:
        signature(made).bind(*args, **params)
    except TypeError as error:
        raise ConfigError(
            f'recipe("{key}") cannot be called like this.',
            why=str(error),
            mend=f"write {_call(key, wanted.values())}",
        ) from None


def _call(key: str, wanted: Iterable[Parameter]) -> str:
    """How the recipe is called: what it needs, then what has a default."""
    inside = ", ".join([f'"{key}"', *map(_argument, wanted)])
    return f"recipe({inside})"


def _argument(parameter: Parameter) -> str:
    if parameter.kind in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL):
        return "..."
    if parameter.default is not Parameter.empty:
        return f"{parameter.name}={shown(parameter.default)}"
    keyword = parameter.kind is Parameter.KEYWORD_ONLY
    return f"{parameter.name}=..." if keyword else parameter.name
