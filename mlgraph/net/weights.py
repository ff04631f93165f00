"""Weights by name: into a network, from a file, another module, or tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor, nn

from mlgraph.core.param import shown
from mlgraph.data.selector import Nothing, Selector
from mlgraph.errors import ConfigError, StateError, UnknownColumnError, did_you_mean, listing


@attrs.frozen(repr=False)
class Loaded:
    """What was loaded into a module, and what was not.

    Args:
        loaded: Names that were loaded.
        missing: Names of the module that the source does not have.
        unexpected: Names of the source that the module does not have.
        different: Names whose sizes differ, with those of the module and of the source.

    >>> Loaded(("weight",), ("bias",))
    1 loaded; missing: 'bias'
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    different: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = attrs.field(factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every name of the module was loaded, and no other was there."""
        return not (self.missing or self.unexpected or self.different)

    def __repr__(self) -> str:
        sizes = (f"{name} {here} here, {there} there" for name, (here, there) in self._sizes())
        words = {
            "missing": listing(self.missing),
            "unexpected": listing(self.unexpected),
            "of other sizes": "; ".join(sizes),
        }
        rest = (f"; {what}: {names}" for what, names in words.items() if names)
        return f"{len(self.loaded)} loaded{''.join(rest)}"

    def _sizes(self) -> Any:
        return self.different.items()


def load_weights(
    module: nn.Module,
    source: Mapping[str, Tensor] | nn.Module | str | Path,
    *,
    rename: Mapping[str, str] | None = None,
    fresh: Selector | str | Sequence[str] = (),
    strict: bool = True,
) -> Loaded:
    """Copy weights and buffers into a module, by name; nothing is copied if it is refused.

    Args:
        module: The module, such as ``graph.network(...)``.
        source: Tensors by name, a module, or the path of a ``.safetensors`` file or of a state
            dict that ``torch.save`` wrote; of that, tensors are read and nothing else. In a
            checkpoint with other things, the one part that is tensors by name is meant.
        rename: Other beginnings of names: ``{"fc.": "head."}`` loads ``fc.weight`` into
            ``head.weight``, ``{"module.": ""}`` strips, and ``{"": "body."}`` adds one.
        fresh: Weights that are not taken from the source: those of a new head of the module, which
            the source may have, in other sizes, or not; or those of a head that the module lacks.
        strict: Refuse a source that does not fit in full; else what fits is loaded.

    Returns:
        What was loaded and what was not.

    Raises:
        StateError: Names or sizes differ, and ``strict``; or the file cannot be read.
        ConfigError: The file is of an unknown kind, or ``fresh`` chooses no weights.

    >>> module = nn.Linear(2, 1)
    >>> load_weights(module, {"weight": torch.ones(1, 2)}, strict=False)
    1 loaded; missing: 'bias'
    >>> load_weights(module, {"weight": torch.ones(1, 2)}, fresh="bias")
    1 loaded
    """
    own = module.state_dict()
    given = _renamed(tensors_of(source), rename or {})
    kept = _fresh(_selector(fresh), {**own, **given})
    own, given = _without(kept, own), _without(kept, given)
    report = _compared(own, given)
    if strict and not report.complete:
        raise StateError(
            f"The weights do not fit the {type(module).__name__}.",
            why=repr(report),
            mend="rename={...} maps names, fresh=... spares a new head or leaves an old one behind",
        )
    with torch.no_grad():
        for name in report.loaded:
            own[name].copy_(given[name])
    return report


def tensors_of(source: Mapping[str, Tensor] | nn.Module | str | Path) -> Mapping[str, Tensor]:
    """Tensors by name, whatever holds them.

    Raises:
        StateError: The file is not there, or damaged.
        ConfigError: It is of an unknown kind.

    >>> list(tensors_of(nn.Linear(1, 1)))
    ['weight', 'bias']
    """
    if isinstance(source, nn.Module):
        return source.state_dict()
    if isinstance(source, Mapping):
        return {name: _tensor(name, value) for name, value in source.items()}
    if not isinstance(source, (str, PathLike)):
        raise ConfigError(
            f"A {type(source).__name__} holds no weights by name.",
            mend="give a module, a dict of tensors or a path; of a fitted graph fitted.module()",
        )
    path = Path(source)
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise ConfigError(
            f"Weights cannot be read from {path.name!r}.",
            why=f"the kinds of files are {listing(_READERS)}",
        )
    path = path.expanduser()
    if not path.is_file():
        raise StateError(
            f"There is no file {str(path)!r}.",
            where=f"in {str(Path.cwd())!r}" if not path.is_absolute() else "",
            mend="nothing is downloaded: put the file there, or give the path where it is",
        )
    try:
        found = reader(path)
    except Exception as error:
        if isinstance(error, UnpicklingError) and "GLOBAL" in str(error):  # it names a class
            raise _more_than_tensors(path) from error
        raise StateError(
            f"Weights cannot be read from {str(path)!r}.", why=f"{type(error).__name__}: {error}"
        ) from error
    parts = found.values() if isinstance(found, Mapping) else ()
    inner: list[Mapping[str, Tensor]] = [part for part in parts if _is_tensors(part) and part]
    if _is_tensors(found):
        inner = [found]
    if len(inner) != 1:
        raise StateError(
            f"{str(path)!r} holds no tensors by name.",
            why=f"it holds a {type(found).__name__}",
            mend="save module.state_dict()",
        )
    return inner[0]


def _more_than_tensors(path: Path) -> StateError:
    return StateError(
        f"Weights cannot be read from {str(path)!r}.",
        why="it holds a whole model, or other objects, and these could run any code",
        mend="where it was made, save model.state_dict()",
    )


def _is_tensors(found: Any) -> bool:
    return isinstance(found, Mapping) and all(isinstance(v, Tensor) for v in found.values())


def _safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


def _state_dict(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


_READERS = {
    ".safetensors": _safetensors,
    **dict.fromkeys((".pt", ".pth", ".bin"), _state_dict),
}
KINDS_OF_FILES = tuple(_READERS)


def _tensor(name: str, value: object) -> Tensor:
    """A tensor, also of an array of NumPy."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(value.copy())
    raise ConfigError(
        f"{name!r} is no tensor.",
        where="weights",
        why=f"it is {shown(value)}",
        mend="pass tensors or arrays by name, such as the state_dict of a module",
    )


def _renamed(tensors: Mapping[str, Tensor], new: Mapping[str, str]) -> dict[str, Tensor]:
    def name(old: str) -> str:
        start = max((s for s in new if old.startswith(s)), key=len, default="")
        return new.get(start, "") + old.removeprefix(start)

    found: dict[str, str] = {}
    for old in tensors:
        if name(old) in found:
            raise StateError(
                f"Two weights would be called {name(old)!r}.",
                why=f"they are called {found[name(old)]!r} and {old!r}",
                mend="leave one of them out, or map its name to another one in rename={...}",
            )
        found[name(old)] = old
    return {new: tensors[old] for new, old in found.items()}


def _selector(fresh: Selector | str | Sequence[str]) -> Selector:
    """A selector; of no names, the one that chooses nothing."""
    return Selector.of(fresh) if isinstance(fresh, Selector) or fresh else Nothing()


def _fresh(chosen: Selector, known: Mapping[str, Tensor]) -> frozenset[str]:
    """The names that are meant, of which there has to be one."""
    try:
        found = chosen.pick_from(known)
    except UnknownColumnError:
        found = ()
    if not found and not isinstance(chosen, Nothing):
        raise ConfigError(
            f"fresh={chosen!r} chooses no weights.",
            why=f"the weights are {listing(known, 20)}",
            mend=did_you_mean(getattr(chosen, "names", ("",))[0], known),
        )
    return frozenset(found)


def _without(names: Collection[str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name not in names}


def _compared(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Loaded:
    sizes = {
        name: (tuple(own[name].shape), tuple(given[name].shape)) for name in own if name in given
    }
    different = {name: pair for name, pair in sizes.items() if pair[0] != pair[1]}
    return Loaded(
        loaded=tuple(name for name in sizes if name not in different),
        missing=tuple(name for name in own if name not in given),
        unexpected=tuple(name for name in given if name not in own),
        different=different,
    )
