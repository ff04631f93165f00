"""What a recipe must know: parameters whose values shape the graph.

A recipe passes most of its parameters on, each to one node, which checks them and may leave them
to tuning. Those it computes with, or uses twice, are named in ``@knows(...)``: their values have
the types of their annotations, and cannot be left to tuning.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from mlgraph.catalogue import find
from mlgraph.core.graph import Graph
from mlgraph.core.param import Mismatch, Param, Token, coerce, shown
from mlgraph.errors import ConfigError, UnknownParameterError, did_you_mean, listing

P = ParamSpec("P")


def knows(*names: str) -> Callable[[Callable[P, Graph]], Callable[P, Graph]]:
    """Check these parameters before a recipe is made; others that it passes on must have a name.

    Raises:
        ConfigError: A value is of another type, or left to tuning.
        UnknownParameterError: Neither the recipe nor ``torch_model`` has the parameter.

    >>> from mlgraph.catalogue import nn
    >>> @knows("depth")
    ... def plain(task, *, depth: int = 2):
    ...     return nn("block", nn("linear", 8), depth) >> nn("head")
    >>> plain(None, depth="3")
    Traceback (most recent call last):
    mlgraph.errors.ConfigError: recipe("plain") cannot take depth='3'.
      where: parameter 'depth'
      why:   expected an integer
    """

    def decorated(recipe: Callable[P, Graph]) -> Callable[P, Graph]:
        @functools.wraps(recipe)
        def checked(*args: P.args, **params: P.kwargs) -> Graph:
            _refuse_unknown(recipe, params)
            given = inspect.signature(recipe).bind(*args, **params)
            for name in (name for name in names if name in given.arguments):
                given.arguments[name] = _known(recipe, name, given.arguments[name])
            return recipe(*given.args, **given.kwargs)

        return checked

    return decorated


def settled(recipe: str, name: str, value: Any, hint: Any = Any) -> Any:
    """The value of a parameter, of the type that is asked for.

    Raises:
        ConfigError: It is of another type, or left to tuning.

    >>> settled("mlp", "activation", "relu", str)
    'relu'
    """
    if isinstance(value, Token):
        raise ConfigError(
            f'recipe("{recipe}") cannot leave {name} to tuning.',
            where=f"parameter {name!r}",
            why=f"it needs a value to make the graph, and got {value!r}",
            mend="make one graph for each value; what only one node needs is tuned there: "
            f'recipe("{recipe}", ...).with_params(<id>__<parameter>={value!r})',
        )
    try:
        return coerce(value, hint, Param())
    except Mismatch as mismatch:
        raise ConfigError(
            f'recipe("{recipe}") cannot take {name}={shown(value)}.',
            where=f"parameter {name!r}",
            why=f"expected {mismatch}",
        ) from None


def _known(recipe: Callable[..., Graph], name: str, value: Any) -> Any:
    hints = typing.get_type_hints(recipe)
    return settled(recipe.__name__, name, value, hints.get(name, Any))


def _refuse_unknown(recipe: Callable[..., Graph], params: Mapping[str, Any]) -> None:
    """Refuse names that neither the recipe nor the trainer knows, and name those they do."""
    wanted = inspect.signature(recipe).parameters.values()
    own = [each.name for each in wanted if each.kind is not inspect.Parameter.VAR_KEYWORD]
    if len(own) == len(wanted):
        return  # nothing is passed on
    passed = find("torch_model")[0].field_names()
    for name in params:
        if name not in (*own, *passed, "id"):
            raise UnknownParameterError(
                f'recipe("{recipe.__name__}") has no parameter {name!r}.',
                why=f"its parameters are {listing(own, 30)}, "
                f"and those of torch_model: {listing(passed, 40)}",
                mend=did_you_mean(name, [*own, *passed]),
            )
