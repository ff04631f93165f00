"""How deep in a network its parameters are: in which of its layers, counted from the input."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from torch import nn

from mlgraph.train.chosen import kinds

_PLAIN = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


def depths(network: nn.Module, names: Collection[str]) -> dict[str, int]:
    """The layer of each of these parameters, from 0 at the input, in the order of definition.

    A layer is a module that is no mere container and holds at most half of all their numbers:
    a block of a ResNet or of a transformer. Normalisations, and parameters that belong to no
    layer, such as class tokens, count with the layer before them.

    Args:
        network: The network.
        names: Names of parameters; others do not count.

    >>> network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    >>> depths(network, {"0.weight", "1.weight", "2.weight"})
    {'0.weight': 0, '1.weight': 0, '2.weight': 1}
    """
    sizes = {name: p.numel() for name, p in network.named_parameters() if name in names}
    found: dict[str, int] = {}
    depth, begun = 0, False
    for layer, is_light in _layers(network, sizes):
        depth += begun and not is_light
        begun = begun or not is_light
        found.update(dict.fromkeys(layer, depth))
    return found


def _layers(network: nn.Module, sizes: Mapping[str, int]) -> Iterator[tuple[list[str], bool]]:
    """The names of each layer, and whether it counts with the one before it."""
    known = kinds(network)
    for layer, is_own in _opened(network, "", sizes, sum(sizes.values())):
        yield layer, is_own or all("norm" in known[name] for name in layer)


def _opened(
    module: nn.Module, path: str, sizes: Mapping[str, int], total: int
) -> Iterator[tuple[list[str], bool]]:
    """The layers in a module, or the module as one; and whether it is what no layer owns."""
    inside = {name: size for name, size in sizes.items() if name.startswith(path)}
    children = list(module.named_children())
    if not inside:
        return
    if not children or not (type(module) in _PLAIN or 2 * sum(inside.values()) > total):
        yield list(inside), False
        return
    own = [path + name for name, _ in module.named_parameters(recurse=False)]
    if any(name in sizes for name in own):
        yield [name for name in own if name in sizes], True
    for name, child in children:
        yield from _opened(child, f"{path}{name}.", sizes, total)
