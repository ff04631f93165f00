"""How gradients are made and used: as torch does, or scaled while the network computes in float16.

In float16 small gradients become zero. A loss that is multiplied with a large number has large
gradients, which are divided by it before anybody sees them; a step whose gradients were too large
is left out, and the number halved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mlgraph.errors import DataError

# From 65536 this takes 36 halvings more than doublings; even a gradient of 10^10 would then fit.
_LEAST_SCALE = 2.0**-20


class Steps:
    """Gradients and steps as torch makes them; costs nothing.

    >>> Steps().state_dict()
    {}
    """

    def backward(self) -> Callable[[Tensor], None]:
        """What computes the gradients of a loss."""
        return Tensor.backward

    def before(self, optimizer: Optimizer) -> tuple[Callable[[], None], ...]:
        """What is done when gradients are complete, before they are shown to anybody."""
        return ()

    def step(self, optimizer: Optimizer) -> Callable[[], Any]:
        """What makes a step of the optimizer."""
        return optimizer.step

    def check(self, epoch: int) -> None:
        """Refuse an epoch of which nothing could be learned."""

    def state_dict(self) -> dict[str, Any]:
        """What has to be saved to go on."""
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on where another run was saved."""


class ScaledSteps(Steps):
    """Gradients of scaled losses; steps with gradients that are not finite are left out.

    Args:
        device: Where the network is.

    >>> ScaledSteps(torch.device("cpu")).state_dict()["scale"]
    65536.0
    """

    def __init__(self, device: torch.device) -> None:
        self.scaler = torch.amp.GradScaler(device.type)

    def backward(self) -> Callable[[Tensor], None]:
        scale: Any = self.scaler.scale
        return lambda loss: scale(loss).backward()

    def before(self, optimizer: Optimizer) -> tuple[Callable[[], None], ...]:
        return (partial(self.scaler.unscale_, optimizer),)

    def step(self, optimizer: Optimizer) -> Callable[[], Any]:
        if isinstance(optimizer, torch.optim.SGD):
            # Its fused kernel moves the momenta in steps that are left out; so torch has to wait
            # for the device, and leave them out itself.
            scaled: Any = optimizer
            scaled._step_supports_amp_scaling = False
        return partial(self._step, optimizer)

    def _step(self, optimizer: Optimizer) -> None:
        self.scaler.step(optimizer)
        self.scaler.update()
        # Schedules of torch count the steps left out, but would warn if the first was.
        optimizer._opt_called = True  # type: ignore[attr-defined]

    def check(self, epoch: int) -> None:
        """Refuse gradients that stay infinite or NaN however small the scale.

        Raises:
            DataError: The scale has been halved again and again.
        """
        if self.scaler.get_scale() < _LEAST_SCALE:
            raise DataError(
                f"The gradients are not finite in float16, up to epoch {epoch}.",
                why="however they were scaled, the steps had to be left out",
                mend='torch_model(precision="bf16"), which has the range of float32',
            )

    def state_dict(self) -> dict[str, Any]:
        return self.scaler.state_dict()

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.scaler.load_state_dict(dict(saved))
