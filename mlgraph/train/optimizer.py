"""Optimizers as values: described now, built when the network is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs
import torch
from torch import Tensor, nn

from mlgraph.core.keyed import tokens_in
from mlgraph.errors import ConfigError
from mlgraph.train import known
from mlgraph.train.described import Description
from mlgraph.train.groups import RELATIVE, Rows, check_rows, grouped, rows_of, settings_of


@attrs.frozen(eq=False, repr=False)
class Optimizer(Description):
    """An optimizer, its options, and groups of weights with others; made with ``Optimizer.of``.

    >>> Optimizer.of("adamw", {"lr": 0.01})
    adamw(lr=0.01)
    """

    groups: Rows = ()

    what: ClassVar[str] = "optimizer"
    hidden: ClassVar[frozenset[str]] = frozenset({"params"})
    positional: ClassVar[int] = 1

    @classmethod
    def of(
        cls,
        optimizer: str | type[torch.optim.Optimizer] | Callable[..., Any] | Optimizer,
        options: Mapping[str, Any] | None = None,
        groups: Any = (),
    ) -> Optimizer:
        """Describe an optimizer.

        Args:
            optimizer: A name (``"adam"``), a class, or a function of parameters and options.
            options: Arguments of the class; what is left out is as torch has it.
            groups: Rows ``{"weights": selector, ...}`` with options for the weights that the
                selector chooses. ``lr_factor`` multiplies the learning rate; ``layer_decay``
                does so once for each layer between a weight and the last layer chosen. What
                several rows say of a weight holds together.

        Raises:
            UnknownKeyError: No optimizer has this name.
            UnknownParameterError: The optimizer has no such option.
            ConfigError: The options have impossible values, or the optimizer needs a closure.

        >>> Optimizer.of(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9})
        sgd(lr=0.1, momentum=0.9)
        """
        if isinstance(optimizer, Optimizer):
            options = {**optimizer.options, **(options or {})}
            groups = rows_of(groups) or optimizer.groups
            optimizer = optimizer.cls
        described = cls.calling(known.optimizer(optimizer), options)
        described = attrs.evolve(described, groups=rows_of(groups))
        check_rows(described.groups, *described.accepted())
        # The first optimizer of a process takes seconds (torch imports its compiler).
        untouched = described.native and not described.options and not described.groups
        if not untouched and not described.is_open:
            described._try()
        return described

    @classmethod
    def known(cls) -> Mapping[str, type[torch.optim.Optimizer]]:
        """The classes of ``torch.optim`` by their names."""
        return known.optimizers()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all optimizers.

        >>> "rmsprop" in Optimizer.names()
        True
        """
        return tuple(known.optimizers())

    @property
    def is_open(self) -> bool:
        """Whether a tuning token still stands for an option, or in a group."""
        return super().is_open or any(True for _ in tokens_in(self.groups))

    def closed(self) -> Self:
        """This description, if no tuning token is left in it; else a ``ConfigError``."""
        open_ = [token for _, token in tokens_in(self.groups)]
        if open_:
            raise ConfigError(
                f"A group of optimizer {self.name!r} has no value yet.",
                why=f"it is {open_[0]!r}",
                mend="search for it, or give it a value",
            )
        return super().closed()

    def __mlgraph_json__(self) -> dict[str, Any]:
        return super().__mlgraph_json__() | ({"groups": self.groups} if self.groups else {})

    def __repr__(self) -> str:
        plain = super().__repr__()
        groups = f"groups={list(self.groups)!r}"
        if not self.groups:
            return plain
        return f"{plain[:-1]}{', ' if self.options else ''}{groups})"

    def build(self, parameters: Iterable[Any] | nn.Module) -> torch.optim.Optimizer:
        """The optimizer of a network, or of parameters; fused where torch can.

        Args:
            parameters: The network, of which the groups are made; or parameters, or torch's
                groups of parameters.

        Raises:
            ConfigError: Torch refuses the parameters, a tuning token is left in the options, or
                a group finds no weights in the network.

        >>> Optimizer.of("sgd", {"lr": 0.1}).build(nn.Linear(2, 1).parameters()).defaults["lr"]
        0.1
        >>> half = Optimizer.of("sgd", {"lr": 0.1}, {"bias": {"lr_factor": 0.5}})
        >>> [group["lr"] for group in half.build(nn.Linear(2, 1)).param_groups]
        [0.1, 0.05]
        """
        self.closed()
        given = [_kept(item) for item in self.parts(parameters)]
        if self._fusible(given):
            try:
                return self._make(given, fused=True)
            except ConfigError:  # this version of torch cannot; what it can is no mistake
                pass
        return self._make(given)

    def parts(self, parameters: Iterable[Any] | nn.Module) -> list[Any]:
        """What torch's optimizer is made of: parameters, or its groups of parameters.

        Raises:
            ConfigError: A group finds no weights, or there is no network to find them in.

        >>> decay = {"weights": "bias", "weight_decay": 0.0}
        >>> len(Optimizer.of("adamw", groups=decay).parts(nn.Linear(2, 1)))
        2
        """
        if not self.groups:
            if isinstance(parameters, nn.Module):
                return list(parameters.parameters())
            return list(parameters)
        if isinstance(parameters, nn.Module):
            return grouped(parameters, self.groups, self.rate)
        raise ConfigError(
            f"Optimizer {self.name!r} has groups of weights, which have names.",
            why="parameters without names are given",
            mend="pass the network",
        )

    @property
    def rate(self) -> Any:
        """The learning rate, torch's default where none is chosen; None if that is not known.

        >>> Optimizer.of("sgd").rate
        0.001
        """
        found = self.options.get("lr", self.accepted()[0].get("lr"))
        return found if isinstance(found, (int, float)) else None

    def _try(self) -> None:
        """Make optimizers with all options: torch checks those of its groups never."""
        for row in ({}, *self.groups):
            own = {k: v for k, v in settings_of(row).items() if k not in RELATIVE}
            tried = attrs.evolve(self, options={**self.options, **own})
            tried._make([nn.Parameter(torch.zeros(2, 2))])

    def _make(self, parameters: Sequence[Any], **extra: bool) -> torch.optim.Optimizer:
        try:
            # Torch writes its defaults into groups it is given.
            fresh = [dict(item) if isinstance(item, dict) else item for item in parameters]
            made = self.cls(fresh, **{**self.options, **extra})
        except Exception as error:
            raise self.refusal(error) from error
        if isinstance(made, torch.optim.SGD):  # schedules may give it a momentum later
            made.register_step_pre_hook(_unfuse)
        if not isinstance(made, torch.optim.Optimizer):
            raise ConfigError(
                f"{self.name!r} does not make an optimizer.",
                why=f"it returns a {type(made).__name__}",
                mend="return a torch.optim.Optimizer",
            )
        return made

    def _fusible(self, parameters: Sequence[Any]) -> bool:
        chosen = any(self.options.get(name) is not None for name in ("fused", "foreach"))
        special = any(self.options.get(name) for name in ("differentiable", "capturable"))
        if chosen or special or not self.takes("fused"):
            return False
        tensors = list(_tensors_of(parameters))
        devices = {tensor.device.type for tensor in tensors}
        floating = all(tensor.is_floating_point() for tensor in tensors)
        return floating and len(devices) == 1 and devices <= {"cpu", "cuda"}


def default_optimizer() -> Optimizer:
    """The optimizer when none is chosen; ten times torch's learning rate, for small tables.

    Differs from torch: no weight decay. A decay of 0.01 keeps every weight of an AdamW network
    below 1 / 0.01 = 100 in size, the constant of a regression as well.

    >>> default_optimizer()
    adamw(lr=0.01, weight_decay=0.0)
    """
    return Optimizer.of("adamw", {"lr": 0.01, "weight_decay": 0.0})


def _unfuse(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Leave the fused kernel where some weights have a momentum and others, which join, not yet.

    It needs all momenta or none; the kernel over lists does not.
    """
    for group in optimizer.param_groups:
        if group["fused"] and group["momentum"]:
            moved = [p for p in group["params"] if p.grad is not None]
            states = [optimizer.state.get(p, {}) for p in moved]
            if len({state.get("momentum_buffer") is None for state in states}) == 2:
                group.update(fused=False, foreach=True)


def _kept(item: Any) -> Any:
    """A group whose parameters can be read more than once, or the parameter itself."""
    if not isinstance(item, dict):
        return item
    inside = item["params"]
    return {**item, "params": inside if isinstance(inside, Tensor) else list(inside)}


def _tensors_of(parameters: Iterable[Any]) -> Iterator[Tensor]:
    for item in parameters:
        if isinstance(item, dict):
            inside = item["params"]
            yield from _tensors_of([inside] if isinstance(inside, Tensor) else inside)
        else:
            yield item[1] if isinstance(item, tuple) else item  # (name, parameter)
