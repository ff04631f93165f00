"""Who offers what: ``po()`` and ``nn()`` find node classes by key.

A package offers nodes through the entry point group ``mlgraph.nodes``; its value names a module
or package, whose modules are imported once, on the first look-up. Every concrete node class
defined in them is offered under its key. A package that cannot be imported takes nothing else
down: it is remembered, and named when a key is not found. Classes a user defines in a script or
notebook are found as well, by the same rule and without registration.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from inspect import isfunction
from types import MappingProxyType, ModuleType
from typing import Any

import attrs

from mlgraph.core.base import NodeBase, is_concrete
from mlgraph.core.graph import Graph
from mlgraph.core.lookup import subclasses, unfinished
from mlgraph.core.node import Node
from mlgraph.core.port import Port
from mlgraph.errors import GraphError, MLGraphError, UnknownKeyError, did_you_mean, listing

GROUP = "mlgraph.nodes"
KEY = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SUFFIX = re.compile(r"(.+)_(\d+)")


@attrs.frozen
class Offer:
    """A node class and the package that offers it."""

    node: type[Node]
    provider: str
    version: str


@attrs.frozen
class Catalogue:
    """Every node and recipe that was found, and every provider that was not.

    Args:
        offers: Offers by key.
        failures: What kept a provider from loading, by provider.
        recipes: Functions that make whole graphs, by name.
    """

    offers: Mapping[str, Offer]
    failures: Mapping[str, str]
    recipes: Mapping[str, Callable[..., Graph]] = attrs.field(factory=dict)


def po(key: Any, /, *args: Any, id: str | None = None, **params: Any) -> Node:
    """A node by its key: ``po("scale")``, ``po("pca_2")`` with the id ``pca_2``.

    Positional arguments are the node's own parameters in order. A scikit-learn estimator in
    place of the key becomes a ``sklearn`` node.

    Raises:
        UnknownKeyError: No node has this key.
        ConfigError: A parameter is unknown, missing or impossible.

    >>> po("nop", id="start")
    po("nop", id='start')
    """
    if not isinstance(key, str):
        return _wrapped(key, *args, id=id, **params)
    cls, chosen = find(key)
    return cls.create(args, params, id=chosen if id is None else id)


def nn(key: str, /, *args: Any, id: str | None = None, **params: Any) -> Node:
    """A network node: ``nn("linear")`` is ``po("nn_linear")`` under the id ``linear``.

    Raises:
        UnknownKeyError: No network node has this key.
        ConfigError: A parameter is unknown, missing or impossible.

    >>> nn("linear_1", out_features=8).id
    'linear_1'
    """
    if not isinstance(key, str):
        raise GraphError(f"nn() takes a key, and got {key!r}.", mend='nn("module", ...)')
    cls, chosen = find(f"nn_{key}")
    chosen = chosen.removeprefix("nn_") if chosen else None
    id = chosen if id is None else id
    return cls.create(args, params, id=id, stem=cls.key.removeprefix("nn_"))


def nodes() -> Any:
    """Every node of the catalogue as an Arrow table: key, label, provider, ports, parameters.

    >>> nodes().column_names
    ['key', 'label', 'provider', 'inputs', 'outputs', 'parameters']
    """
    import pyarrow as pa

    rows = [_row(key, offer) for key, offer in sorted(catalogue().offers.items())]
    return pa.Table.from_pylist(rows)


def stated_ports(cls: type[Node]) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The ports of a node with default parameters; of one that has required ones, the class's.

    >>> [[port.name for port in side] for side in stated_ports(find("nop")[0])]
    [['input'], ['output']]
    """
    try:
        return cls.create().ports()
    except MLGraphError:
        return cls.input_ports(), cls.outputs


def label(documented: Any) -> str:
    """What something is, in one line: the first of its docstring.

    >>> label(label)
    'What something is, in one line: the first of its docstring.'
    """
    return "".join((documented.__doc__ or "").strip().splitlines()[:1])


def find(key: str) -> tuple[type[Node], str | None]:
    """The class of a key, and the id that a digit suffix of the key chooses.

    Raises:
        UnknownKeyError: Names near keys, and providers that could not be loaded.

    >>> find("nop_2")[1]
    'nop_2'
    """
    known = catalogue().offers
    if key in known:
        _refuse_second(known[key])
        return known[key].node, None
    own = _user_classes()
    if key in own:
        return own[key], None
    suffixed = _SUFFIX.fullmatch(key)
    if suffixed and (suffixed[1] in known or suffixed[1] in own):
        return find(suffixed[1])[0], key
    half = unfinished(Node, key) or (unfinished(Node, suffixed[1]) if suffixed else None)
    raise _unfinished(key, half) if half else _unknown(key, [*known, *own])


@functools.cache
def catalogue() -> Catalogue:
    """The catalogue of this process; providers are loaded once."""
    found: dict[str, Offer] = {}
    failures: dict[str, str] = {}
    recipes: dict[str, Callable[..., Graph]] = {}
    owners: dict[str, str] = {}
    for point in _entry_points():
        try:
            offers = list(_offers(point))
            _refuse_doubles(found, offers)
            made = _recipes(point)
            _refuse_double_recipes(recipes, made, _provider(point), owners)
        except Exception as error:
            failures[_provider(point)] = f"{type(error).__name__}: {error}"
            continue
        found.update({offer.node.key: offer for offer in offers})
        recipes.update(made)
        owners.update(dict.fromkeys(made, _provider(point)))
    return Catalogue(MappingProxyType(found), MappingProxyType(failures), MappingProxyType(recipes))


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    """Our own nodes first, so that a clash is the other package's."""
    points = importlib.metadata.entry_points(group=GROUP)
    return sorted(points, key=lambda point: (_provider(point) != "mlgraph", point.value))


def _offers(point: importlib.metadata.EntryPoint) -> Iterator[Offer]:
    version = point.dist.version if point.dist else ""
    for module in _modules(importlib.import_module(point.value)):
        for value in vars(module).values():
            node = getattr(value, "__dict__", {}).get("node", value)  # that of ``@layer``
            if _is_node_of(node, module.__name__):
                _refuse_key(node)
                yield Offer(node, _provider(point), version)


def _recipes(point: importlib.metadata.EntryPoint) -> dict[str, Callable[..., Graph]]:
    """The public functions of the module ``recipes`` of a provider."""
    name = f"{point.value}.recipes"
    module = importlib.import_module(point.value)
    if not hasattr(module, "__path__") or importlib.util.find_spec(name) is None:
        return {}
    return dict(_public(importlib.import_module(name)))


def _public(module: ModuleType) -> Iterator[tuple[str, Callable[..., Graph]]]:
    for name, value in vars(module).items():
        own = isfunction(value) and value.__module__ == module.__name__
        if name in getattr(module, "__all__", ()) or (own and not name.startswith("_")):
            yield name, value


def _modules(root: ModuleType) -> Iterator[ModuleType]:
    yield root
    for info in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{root.__name__}."):
        yield importlib.import_module(info.name)


def _is_node_of(value: Any, module: str) -> bool:
    is_node = isinstance(value, type) and issubclass(value, Node)
    return is_node and value.__module__ == module and is_concrete(value)


def _refuse_key(cls: type[Node]) -> None:
    if not KEY.fullmatch(cls.key) or _SUFFIX.fullmatch(cls.key):
        raise GraphError(
            f"{cls.__qualname__} cannot have the key {cls.key!r}.",
            why="a key is lower case, digits and single _, and does not end in _<digits>",
        )


def _refuse_doubles(found: Mapping[str, Offer], offers: list[Offer]) -> None:
    seen = dict(found)
    for offer in offers:
        other = seen.setdefault(offer.node.key, offer)
        if other.node is not offer.node:
            raise GraphError(
                f"{offer.provider} and {other.provider} both offer {offer.node.key!r}."
                if offer.provider != other.provider
                else f"{offer.provider} offers {offer.node.key!r} twice.",
                mend="one of the nodes must have another key",
            )


def _refuse_double_recipes(
    found: Mapping[str, Callable[..., Graph]],
    made: Mapping[str, Callable[..., Graph]],
    provider: str,
    owners: Mapping[str, str],
) -> None:
    for key, recipe in made.items():
        if found.get(key, recipe) is not recipe:
            raise GraphError(
                f"{provider} and {owners[key]} both offer the recipe {key!r}.",
                mend="one of the recipes must have another name",
            )


def _refuse_second(offer: Offer) -> None:
    """Refuse a key that a class of the script or notebook has as well: which one is meant?"""
    for value in [*vars(sys.modules["__main__"]).values()]:
        own = getattr(value, "node", None) if isfunction(value) else value  # that of ``@layer``
        if isinstance(own, type) and own is not offer.node and issubclass(own, Node):
            if own.key == offer.node.key and own.__module__ == "__main__":
                raise _hidden(offer, own)


def refuse_hidden(node: NodeBase) -> None:
    """Refuse a node whose key means another class: a file could not tell which one it is.

    Raises:
        GraphError: It is such a node.

    >>> refuse_hidden(po("nop"))
    """
    offer = catalogue().offers.get(node.key)
    if offer is not None and offer.node is not type(node):
        raise _hidden(offer, type(node))


def _hidden(offer: Offer, own: type[Any]) -> GraphError:
    return GraphError(
        f"Two nodes have the key {offer.node.key!r}.",
        where=f"class {own.__qualname__!r}",
        why=f"one is the {offer.node.__name__} of {offer.provider}",
        mend='give the class another name, or key = "..."',
    )


def _user_classes() -> dict[str, type[Node]]:
    """Node classes outside every provider, the latest definition of a key last."""
    offered = {offer.node for offer in catalogue().offers.values()}
    made = (cls for cls in subclasses(Node) if "key" in vars(cls))  # a refused class has none
    return {
        cls.key: cls
        for cls in made
        if cls not in offered and is_concrete(cls) and not cls.__module__.startswith("mlgraph.")
    }


def _provider(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def providers() -> tuple[str, ...]:
    """Load every provider of nodes; what is to be said of those that could not be loaded.

    What they define beside nodes, such as kinds of tasks and callbacks, is there afterwards.

    >>> providers()
    ()
    """
    failures = catalogue().failures
    return tuple(f"{name} could not be loaded ({why})" for name, why in failures.items())


def _unknown(key: str, known: list[str]) -> MLGraphError:
    plain = key.removeprefix("nn_")
    hint = f'write recipe("{plain}", task): it is a recipe' * (plain in catalogue().recipes)
    hint = hint or did_you_mean(key, known) or did_you_mean(f"nn_{key}", known)
    return UnknownKeyError(
        f"No node is called {key!r}.",
        why="; ".join([f"{len(known)} nodes are installed", *providers()]),
        mend=hint or "mlgraph.nodes() lists them all",
    )


def _unfinished(key: str, cls: type[Node]) -> MLGraphError:
    lacking = sorted(cls.__abstractmethods__)
    owner = next(base for base in cls.__mro__ if lacking[0] in vars(base))
    return UnknownKeyError(
        f"No node is called {key!r}: the class {cls.__name__} is not finished.",
        where=f"class {cls.__qualname__!r}",
        why=f"it does not define {listing(lacking)}",
        mend=f"define {listing(lacking)}; help({owner.__name__}.{lacking[0]}) says what for",
    )


def _wrapped(value: Any, *args: Any, id: str | None, **params: Any) -> Node:
    if hasattr(value, "get_params") and hasattr(value, "fit"):
        return find("sklearn")[0].create((value, *args), params, id=id)
    raise GraphError(
        f"po() cannot make a node of a {type(value).__name__}.",
        why="it takes the key of a node, or a scikit-learn estimator",
    )


def _row(key: str, offer: Offer) -> dict[str, Any]:
    inputs, outputs = stated_ports(offer.node)
    return {
        "key": key,
        "label": label(offer.node),
        "provider": offer.provider,
        "inputs": [port.name for port in inputs],
        "outputs": [port.name for port in outputs],
        "parameters": list(offer.node.field_names()),
    }
