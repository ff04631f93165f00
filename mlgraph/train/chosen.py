"""Which parameters of a network a selector means: by their names, and by their kinds."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from mlgraph.data.selector import Both, Kind, Match, Names, Not, Nothing, Selector
from mlgraph.errors import ConfigError, UnknownColumnError, did_you_mean, listing

# Normalisations and embeddings of other libraries are known by the names of their classes.
_NORMS = ("norm",)
_EMBEDDINGS = ("embedding", "tokenizer")
_TOKENS = frozenset({"cls", "embed", "embedding", "embeddings", "token", "tokens"})


def kinds(network: nn.Module) -> dict[str, frozenset[str]]:
    """The kinds of every parameter, by name; ``sel.kind`` says what they are.

    >>> network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    >>> [name for name, found in kinds(network).items() if "norm" in found]
    ['1.weight', '1.bias']
    """
    found = {}
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{path}.{name}" if path else name
            found[full] = frozenset(_kinds(type(module).__name__.lower(), name, parameter.ndim))
    # One that is shared has the first of its names.
    return {name: found[name] for name, _ in network.named_parameters()}


def chosen(selector: Selector, network: nn.Module, where: str = "") -> tuple[str, ...]:
    """Names of the parameters that are meant, in the order of the network.

    Args:
        selector: The choice.
        network: The network.
        where: Who asks, for messages.

    Raises:
        ConfigError: It chooses nothing by name, or names a parameter that is not there. That a
            network has none of a kind is no mistake.

    >>> from mlgraph.data.select import sel
    >>> chosen(sel.kind("bias"), nn.Linear(2, 1))
    ('bias',)
    """
    known = kinds(network)
    try:
        found = selector.pick_from(known, kinds=known)
    except UnknownColumnError:
        found = ()
    if found or isinstance(selector, (Nothing, Kind)):
        return found
    words = [word for word in _words(selector) if word not in known]
    raise ConfigError(
        f"{selector!r} chooses no weights.",
        where=where,
        why=f"the weights are {listing(known, 20)}",
        mend=next(filter(None, (_hint(word, known) for word in words)), ""),
    )


def _kinds(owner: str, name: str, dimensions: int) -> Iterator[str]:
    words = frozenset(name.split("_"))
    if "bias" in words:
        yield "bias"
    if any(word in owner for word in _EMBEDDINGS) or words & _TOKENS:
        yield "embedding"
    if any(word in owner for word in _NORMS):
        yield "norm"
    if dimensions <= 1:
        yield "vector"


def _words(selector: Selector) -> list[str]:
    """What was written in a selector, to offer something near to it."""
    if isinstance(selector, Names):
        return list(selector.names)
    if isinstance(selector, Match):
        return [selector.regex.replace("\\", "").strip("^$.*")]
    if isinstance(selector, Both):
        return [word for side in selector.sides for word in _words(side)]
    return _words(selector.inner) if isinstance(selector, Not) else []


def _hint(word: str, known: dict[str, frozenset[str]]) -> str:
    near = _near(known)
    if word in near:
        beginning = f"{word}.".replace(".", "[.]")
        return f'all weights of the module {word!r} are sel.match("^{beginning}")'
    return did_you_mean(word, near)


def _near(names: dict[str, frozenset[str]]) -> list[str]:
    """The names, and those of the modules they belong to."""
    parts = (name.split(".") for name in names)
    return list(dict.fromkeys(".".join(p[:end]) for p in parts for end in range(len(p), 0, -1)))
