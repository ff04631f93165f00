"""Averages of weights over the training, kept beside the network and put in its place."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor, nn


@attrs.define
class Averages:
    """The average of the weights so far.

    Args:
        tensors: The average, by name.
        count: How many states of the network it is of.
        raw: The network's own weights, while the average stands in their place.

    >>> averages = Averages()
    >>> averages.add(nn.Linear(1, 1), 0.5, buffers=False)
    >>> averages.count, list(averages.tensors)
    (1, ['weight', 'bias'])
    """

    tensors: dict[str, Tensor] = attrs.field(factory=dict)
    count: int = 0
    raw: dict[str, Tensor] | None = None

    def add(self, network: nn.Module, share: float, buffers: bool) -> None:
        """Move the average towards the weights as they are, by this share of the way.

        The first weights are taken as they are.
        """
        present = averaged(network, buffers)
        with torch.no_grad():
            if not self.tensors:
                self.tensors = {name: t.detach().clone() for name, t in present.items()}
            else:
                self._follow(present)
                new = [tensor.detach() for tensor in present.values()]
                torch._foreach_lerp_([self.tensors[name] for name in present], new, share)
        self.count += 1

    def _follow(self, present: Mapping[str, Tensor]) -> None:
        """Go to the network's device; what was saved comes back on the CPU."""
        name = next(iter(present))
        if self.tensors[name].device != present[name].device:
            self.tensors = {name: t.to(present[name].device) for name, t in self.tensors.items()}

    def put_in(self, network: nn.Module) -> None:
        """Let the average stand in the network; its own weights are kept."""
        if self.tensors and self.raw is None:
            present = network.state_dict()
            self.raw = {name: present[name].detach().clone() for name in self.tensors}
            _copy(self.tensors, network)

    def take_out(self, network: nn.Module) -> None:
        """Put back the network's own weights."""
        if self.raw is not None:
            _copy(self.raw, network)
            self.raw = None

    def give(self, network: nn.Module) -> None:
        """Let the average be the network's weights for good."""
        self.raw = None
        _copy(self.tensors, network)


def averaged(network: nn.Module, buffers: bool) -> dict[str, Tensor]:
    """The tensors of a network that have an average: weights and, if asked for, buffers.

    >>> list(averaged(nn.BatchNorm1d(1), buffers=True))
    ['weight', 'bias', 'running_mean', 'running_var']
    """
    found: dict[str, Tensor] = {**dict(network.named_parameters())}
    if buffers:
        found.update(network.named_buffers())
    return {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}


def _copy(tensors: Mapping[str, Tensor], network: nn.Module) -> None:
    present: dict[str, Tensor] = {**dict(network.named_parameters())}
    present.update(network.named_buffers())
    with torch.no_grad():
        for name, tensor in tensors.items():
            present[name].copy_(tensor)
