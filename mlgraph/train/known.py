"""The losses and optimizers torch has, their names, and which tasks they are for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from mlgraph.core.param import shown
from mlgraph.core.value import FrozenDict, snake
from mlgraph.errors import ConfigError
from mlgraph.train.described import find, key_of

ALL_KINDS = frozenset({"binary", "multiclass", "regression"})
KINDS = {
    "bce_with_logits": frozenset({"binary"}),
    "cross_entropy": frozenset({"binary", "multiclass"}),
    "multi_margin": frozenset({"multiclass"}),
    "nll": frozenset({"multiclass"}),
    **dict.fromkeys(("huber", "l1", "mse", "poisson_nll", "smooth_l1"), frozenset({"regression"})),
}
_SIGNS = "it takes targets -1 and 1, a task has classes 0 and 1"
_LABELS = "it takes several labels per row, a task has one"
UNFIT = {
    "bce": "it takes probabilities, and the output of a network is a logit: use bce_with_logits",
    "cosine_embedding": "it compares two outputs, a task has one",
    "ctc": "it needs the lengths of sequences, which a task does not have",
    "gaussian_nll": "it needs a variance beside the output",
    "hinge_embedding": _SIGNS,
    "kl_div": "it takes a distribution as target, a task has one value per row",
    "margin_ranking": "it compares two outputs, a task has one",
    "multi_label_margin": _LABELS,
    "multi_label_soft_margin": _LABELS,
    "soft_margin": _SIGNS,
    "triplet_margin": "it compares three outputs, a task has one",
    "triplet_margin_with_distance": "it compares three outputs, a task has one",
}
BY_CLASS = ("cross_entropy", "nll")  # those torch averages by the weights of the classes
PER_ELEMENT = ("bce", "bce_with_logits")
_TRAINED = "it has weights of its own, so it is a layer, which no optimizer would train here"
_NO_LOSS = {"adaptive_log_softmax_with": _TRAINED, "linear_cross_entropy": _TRAINED}
_NO_OPTIMIZER = {"lbfgs": "it evaluates the loss several times a step, the training loop does once"}
_FUNCTIONAL = {"binary_cross_entropy": "bce", "binary_cross_entropy_with_logits": "bce_with_logits"}


@functools.cache
def losses() -> Mapping[str, type[nn.Module]]:
    """The classes of losses in ``torch.nn``, by name.

    >>> losses()["smooth_l1"].__name__
    'SmoothL1Loss'
    """
    found = {name: getattr(nn, name) for name in sorted(dir(nn)) if name.endswith("Loss")}
    named = {snake(name).removesuffix("_loss"): cls for name, cls in found.items()}
    return FrozenDict({name: named[name] for name in sorted(named) if name not in _NO_LOSS})


@functools.cache
def optimizers() -> Mapping[str, type[torch.optim.Optimizer]]:
    """The classes in ``torch.optim``, by name.

    >>> optimizers()["sparse_adam"].__name__
    'SparseAdam'
    """
    found = [
        item
        for item in vars(torch.optim).values()
        if isinstance(item, type) and issubclass(item, torch.optim.Optimizer)
    ]
    # Torch names its modules as people name the optimizers: rmsprop, sparse_adam.
    modules = {cls: cls.__module__.rpartition(".")[2] for cls in found}
    named = {
        cls.__name__.lower() if module == "optim" else module: cls
        for cls, module in modules.items()
    }
    unusable = {"optimizer", *_NO_OPTIMIZER}
    return FrozenDict({name: named[name] for name in sorted(named) if name not in unusable})


def loss(given: object) -> Callable[..., Any]:
    """The class or function that a name, class or function of a loss means.

    Raises:
        ConfigError: It is no loss, or one that cannot be used.

    >>> loss("mse_loss") is loss(nn.functional.mse_loss) is nn.MSELoss
    True
    """
    if isinstance(given, str):
        return losses()[find(_FUNCTIONAL.get(given, given), losses(), "loss", _NO_LOSS)]
    if isinstance(given, type) and issubclass(given, nn.Module):
        if given.__module__.startswith("torch.nn.modules"):
            find(given.__name__, losses(), "loss", _NO_LOSS)
        return given
    if isinstance(given, (type, nn.Module)) or not callable(given):
        raise ConfigError(
            f"{shown(given)} is not a loss.",
            why="a loss is a name, a class of modules, or a function of output and target",
            mend='write po("torch_loss", "huber", delta=2.0), or in its place the class and its '
            "options",
        )
    if getattr(given, "__module__", "") == nn.functional.__name__:
        # The function cross_entropy, too, must mean what the task needs.
        name = getattr(given, "__name__", "")
        name = _FUNCTIONAL.get(name, name)
        return {key_of(key): cls for key, cls in losses().items()}.get(key_of(name), given)
    return given


def optimizer(given: object) -> Callable[..., Any]:
    """The class or function that a name, class or function of an optimizer means.

    Raises:
        ConfigError: It is no optimizer, or one that cannot be used.

    >>> optimizer("SGD") is torch.optim.SGD
    True
    """
    if isinstance(given, str):
        return optimizers()[find(given, optimizers(), "optimizer", _NO_OPTIMIZER)]
    base = torch.optim.Optimizer
    if isinstance(given, type) and issubclass(given, torch.optim.LBFGS):
        find("lbfgs", {}, "optimizer", _NO_OPTIMIZER)
    foreign = isinstance(given, type) and not issubclass(given, base)
    if given is base or foreign or not callable(given):
        raise ConfigError(
            f"{shown(given)} is not an optimizer.",
            why="an optimizer is a name, a class of optimizers, or a function of the parameters",
            mend='write po("torch_optimizer", "sgd", lr=0.1), or in its place the class and its '
            "options",
        )
    return given
