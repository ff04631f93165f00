"""Networks compiled by ``torch.compile``, beside the module they come from.

The module stays what it is: its weights, names and hooks are those of the network as it is
written, so that callbacks, checkpoints and saved files do not know that it was compiled.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from mlgraph.errors import ConfigError, did_you_mean, listing

CHOICES = ("off", "on", "auto")
# A compilation takes some ten seconds, and saves some tenths of a millisecond in each step.
WORTHWHILE = 20_000
# Weights that are frozen and unfrozen, and training and evaluation, need code of their own each.
_VARIANTS = 64


def backend_of(compile: str, device: torch.device, steps: int) -> str | None:
    """The compiler to use; None for none.

    Args:
        compile: ``"off"``, ``"on"``, ``"auto"``, or the name of a backend of ``torch.compile``.
        device: Where the network is.
        steps: How often it will run.

    Raises:
        ConfigError: There is no such backend.

    >>> backend_of("on", torch.device("cpu"), 10)
    'inductor'
    >>> backend_of("auto", torch.device("cpu"), 10**9) is None
    True
    """
    if compile == "auto":
        return "inductor" if device.type == "cuda" and steps >= WORTHWHILE else None
    if compile in CHOICES:
        return "inductor" if compile == "on" else None
    check_backend(compile)
    return compile


def check_backend(compile: str) -> None:
    """Refuse what is neither a choice nor the name of a backend.

    Raises:
        ConfigError: There is no such backend.

    >>> check_backend("off")
    """
    if compile in CHOICES:
        return
    known = torch.compiler.list_backends(exclude_tags=())
    if compile not in known:
        usual = (*CHOICES, *torch.compiler.list_backends(), "eager", "aot_eager")
        raise ConfigError(
            f"No compiler is called {compile!r}.",
            why=f"there are {listing(usual, 20)}",
            mend=did_you_mean(compile, (*usual, *known)) or 'write compile="on"',
        )


def compiled(network: nn.Module, backend: str, *, must: bool) -> Compiled:
    """A function that computes what the network computes, compiled when it is first called.

    Batches may be of any size: the code is made for all of them at once.

    Args:
        network: The network; it is not changed.
        backend: The compiler.
        must: Whether it is an error when the compiler fails; otherwise the network then runs as
            it is, after a warning.

    >>> compiled(nn.Linear(2, 1), "eager", must=True)(torch.ones(3, 2)).shape
    torch.Size([3, 1])
    """
    options: dict[str, Any] = {}
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        options["recompile_limit"] = _VARIANTS
    made: Any = torch.compile(network.forward, backend=backend, **options)
    return Compiled(network, made, must)


@attrs.define(eq=False)
class Compiled:
    """A network and its compiled code."""

    network: nn.Module
    code: Callable[..., Tensor] | None
    must: bool

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self.code is None or self.network._forward_hooks or self.network._forward_pre_hooks:
            output: Tensor = self.network(*inputs)
            return output
        for tensor in inputs:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        try:
            return self.code(*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            # If the network itself is wrong, it says so here as if it was not compiled.
            output = self.network(*inputs)
            self._give_up(error)
            return output

    def _give_up(self, error: Exception) -> None:
        why = f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"
        if self.must:
            raise ConfigError(
                "The network cannot be compiled.",
                why=why,
                mend='compile="off", or "auto", which goes on without',
            ) from error
        self.code = None
        warnings.warn(f"The network is not compiled, and runs as it is: {why}", stacklevel=3)
