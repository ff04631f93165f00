"""What happens beside the training steps: callbacks on their way to the trainer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from mlgraph.core.base import Context
from mlgraph.core.keyed import tokens_in
from mlgraph.core.node import Node
from mlgraph.core.param import Token, param
from mlgraph.core.port import Port
from mlgraph.data.feed import Feed
from mlgraph.errors import GraphError
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.known import Named, named


class TorchCallbacks(Node):
    """Add callbacks; their parameters are parameters of this node, ``<id>__<parameter>``.

    Args:
        callbacks: Keys or callbacks in a list, or in a dict by id. An id is the key unless it is
            given; a repeated one is numbered.

    Raises:
        UnknownKeyError: No callback has this key.
        UnknownParameterError: A callback has no such parameter.

    >>> from mlgraph import po
    >>> node = po("torch_callbacks", ["progress", "lr_step"], lr_step__step_size=3)
    >>> node.with_parameters({"lr_step__step_size": 5}).parameters()["lr_step__step_size"]
    5
    """

    inputs = (Port("input", fit=ModelDescriptor, apply=Feed),)
    outputs = (Port("output", fit=ModelDescriptor, apply=Feed),)

    callbacks: Any = param(convert=lambda value: named(value))

    @classmethod
    def absorbed(cls, values: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        if "callbacks" not in values:
            return values  # the refusal of missing callbacks says more
        if isinstance(values["callbacks"], Token):
            raise cls._unknown(next(iter(extra)), cls.field_names())
        params: dict[str, dict[str, Any]] = {}
        for path, value in extra.items():
            id, _, inside = path.partition("__")
            params.setdefault(id, {})[inside] = value
        made = named(values["callbacks"], params)
        cls._refuse_unknown(extra, dict(made))
        return {**values, "callbacks": made}

    @classmethod
    def _refuse_unknown(cls, extra: Iterable[str], made: Mapping[str, Callback]) -> None:
        for path in extra:
            id, _, inside = path.partition("__")
            if id not in made or not inside:
                known = [f"{id}__{name}" for id, c in made.items() for name in c.field_names()]
                raise cls._unknown(path, (*cls.field_names(), *known))

    def parameters(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in self.field_names()}
        inner = {
            f"{id}__{name}": value
            for id, callback in self._named()
            for name, value in callback.parameters().items()
        }
        return {**own, **inner}

    def changed(self) -> dict[str, Any]:
        return {"callbacks": dict(self.callbacks)}

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        descriptor: ModelDescriptor = inputs["input"]
        for id, callback in self._named():
            if descriptor.callbacks.get(id, callback) != callback:
                raise GraphError(
                    f"Two different callbacks are called {id!r}.",
                    mend='give them ids: po("torch_callbacks", {"first": ..., "second": ...})',
                )
        joined = {**descriptor.callbacks, **dict(self.callbacks)}
        return (attrs.evolve(descriptor, callbacks=joined),), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (inputs["input"],)

    def _named(self) -> Named:
        return () if isinstance(self.callbacks, Token) else self.callbacks

    def _tokens(self) -> Iterator[tuple[str, Token]]:
        if isinstance(self.callbacks, Token):
            yield "callbacks", self.callbacks
        for id, callback in self._named():
            yield from tokens_in(callback, id)
