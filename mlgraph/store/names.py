"""What a name in a file may mean: functions and classes of a fixed list, and of the caller's.

The lists are made of what is there in the libraries; a name is only ever looked up. Nothing is
imported because a file says so, but for scikit-learn's public modules.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import attrs
import numpy as np
import torch

from mlgraph.catalogue import GROUP, catalogue
from mlgraph.core.base import NodeBase
from mlgraph.core.param import Token
from mlgraph.core.value import address
from mlgraph.data.kind import Goal, TaskType
from mlgraph.data.lazy.source import Absent
from mlgraph.data.selector import Selector
from mlgraph.data.token import IngressToken
from mlgraph.errors import StateError
from mlgraph.net.descriptor import Call, ModelDescriptor
from mlgraph.store.archive import damaged
from mlgraph.tensor.spec import TensorSpec
from mlgraph.train.described import Description
from mlgraph.train.metric import Metric
from mlgraph.train.trained import Trained

# The engine's frozen classes that may be part of what is saved; their subclasses count.
BASES: tuple[type, ...] = (
    Absent,
    Call,
    Description,
    Goal,
    IngressToken,
    Metric,
    ModelDescriptor,
    Selector,
    TensorSpec,
    Token,
    Trained,
)
_PLAIN = (bool, complex, float, int, str)
# Of torch's functions, those that reach beyond the tensors they are given.
_REFUSED = frozenset({"torch:from_file"})
_TENSOR_FUNCTIONS = (torch.nn.functional, torch.functional, torch.special, torch.fft, torch.linalg)
_BUILT_IN = (types.BuiltinFunctionType, types.MethodDescriptorType)


@attrs.frozen
class Names:
    """The functions and classes that a file may name.

    Args:
        allow: Those that the caller adds.

    >>> Names.of([]).find("torch:relu")
    <built-in method relu of type object at ...>
    >>> Names.of([]).find("os:system")
    Traceback (most recent call last):
    ...
    mlgraph.errors.StateError: The file cannot be loaded. It names 'os:system', which ...
    """

    allowed: dict[str, Any]

    @classmethod
    def of(cls, allow: Iterable[Any]) -> Names:
        """The names of the lists, and of these functions and classes."""
        return cls({address(named): named for named in allow})

    def find(self, name: str) -> Any:
        """The function or class of an address.

        Raises:
            StateError: It is on no list.
        """
        found = self.allowed.get(name)
        for lookup in _LISTS if found is None else ():
            found = lookup(name)
            if found is not None:
                break
        if found is None:
            raise not_allowed(name)
        return found


def not_allowed(name: str) -> StateError:
    """The error for a name that is on no list."""
    module, _, path = name.partition(":")
    top = path.partition(".")[0]
    return damaged(
        f"It names {name!r}, which is not allowed.",
        why="a file may name layers, functions and optimizers of torch, functions of NumPy, "
        "estimators of scikit-learn, and what is offered with the nodes",
        mend=f"if you trust it: from {module} import {top}; load(path, allow=[{path}])",
    )


def is_frozen(cls: type) -> bool:
    """Whether this is a frozen attrs class that is made of the values of its fields.

    >>> is_frozen(TensorSpec), is_frozen(dict)
    (True, False)
    """
    if not attrs.has(cls) or issubclass(cls, NodeBase) or "__attrs_init__" in vars(cls):
        return False
    frozen = getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"
    return frozen and all(field.init for field in attrs.fields(cls))


@functools.cache
def _of_torch() -> dict[str, Any]:
    """Functions of tensors, and the classes of layers, optimizers, schedulers, samplers."""
    kinds = (
        torch.nn.Module,
        torch.optim.Optimizer,
        torch.optim.lr_scheduler.LRScheduler,
        torch.utils.data.Sampler,
    )
    modules = (torch.nn.modules, torch.optim, torch.optim.lr_scheduler, torch.utils.data)
    classes = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, kinds)
    ]
    built_in = set(dir(torch._C._VariableFunctions))
    functions = [value for name, value in vars(torch).items() if name in built_in]
    functions += [value for module in _TENSOR_FUNCTIONS for value in _functions(module)]
    functions += vars(torch._C.TensorBase).values()
    public = [f for f in functions if not getattr(f, "__name__", "_").startswith("_")]
    named = [f for f in public if isinstance(f, (*_BUILT_IN, types.FunctionType))]
    found = {address(value): value for value in (*classes, *named)}
    return {name: value for name, value in found.items() if name not in _REFUSED}


def _functions(module: ModuleType) -> Iterator[Any]:
    """The functions of a module's own, and those of C that it offers."""
    for value in vars(module).values():
        own = getattr(value, "__module__", None) == module.__name__
        if isinstance(value, types.BuiltinFunctionType) or (callable(value) and own):
            yield value


@functools.cache
def _of_numbers() -> dict[str, Any]:
    """Python's and NumPy's types of values, and NumPy's functions of numbers, value by value."""
    types_ = [v for v in vars(np).values() if isinstance(v, type) and issubclass(v, np.generic)]
    functions = [value for value in vars(np).values() if isinstance(value, np.ufunc)]
    return {address(value): value for value in (*_PLAIN, *types_, *functions)}


@functools.cache
def _of_packages() -> dict[str, Any]:
    """The frozen classes of the engine and of the packages that offer nodes; their losses."""
    engine = {cls for base in BASES for cls in _family(base)}
    found = [cls for cls in engine if cls.__module__.startswith("mlgraph.")]
    offering = _offering()
    for module in offering:
        own = (v for v in vars(module).values() if isinstance(v, type))
        found += [cls for cls in own if cls.__module__ == module.__name__]
    frozen = {address(cls): cls for cls in found if is_frozen(cls)}
    return {**frozen, **_losses([module.__name__ for module in offering])}


def _losses(offering: Iterable[str]) -> dict[str, Any]:
    """What kinds of tasks are trained by: functions and modules that stand beside them."""
    homes = {cls.__module__ for cls in _family(TaskType)}
    known = [home for home in homes if home.startswith("mlgraph.") or home in offering]
    found = [v for home in sorted(known) for v in vars(sys.modules[home]).values()]
    own = [value for value in found if getattr(value, "__module__", "") in known]
    kinds = (type, types.FunctionType)
    public = [v for v in own if isinstance(v, kinds) and not v.__name__.startswith("_")]
    return {
        address(value): value
        for value in public
        if not isinstance(value, type) or issubclass(value, torch.nn.Module)
    }


def _family(cls: type[Any]) -> Iterator[type[Any]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _family(child)


def _offering() -> list[ModuleType]:
    """The modules of the packages that offer nodes, as far as the catalogue could load them."""
    catalogue()
    roots = [point.value for point in importlib.metadata.entry_points(group=GROUP)]
    inside = tuple(f"{root}." for root in roots)
    return [m for name, m in sorted(sys.modules.items()) if f"{name}.".startswith(inside)]


# Parts of scikit-learn that import more than themselves, or change something by being imported.
_NOT_SKLEARN = frozenset({"datasets", "experimental", "externals", "tests"})


def _of_sklearn(name: str) -> Any:
    """An estimator, or a function of metrics, that a public module of scikit-learn offers."""
    module, _, path = name.partition(":")
    parts = module.split(".")
    if parts[0] != "sklearn" or len(parts) < 2 or parts[1] in _NOT_SKLEARN:
        return None
    import sklearn

    if parts[1] not in sklearn.__all__ or parts[1].startswith("_"):
        return None
    public = importlib.import_module(f"sklearn.{parts[1]}")
    found = getattr(public, path, None) if path in getattr(public, "__all__", ()) else None
    is_known = isinstance(found, type) and issubclass(found, sklearn.base.BaseEstimator)
    is_score = parts[1] in ("metrics", "feature_selection") and isinstance(
        found, types.FunctionType
    )
    return found if (is_known or is_score) and address(found) == name else None


_LISTS: tuple[Callable[[str], Any], ...] = (
    lambda name: _of_torch().get(name),
    lambda name: _of_numbers().get(name),
    lambda name: _of_packages().get(name),
    _of_sklearn,
)
