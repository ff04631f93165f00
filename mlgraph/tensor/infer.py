"""Output specs of a module, found by running it instead of being written down.

Unknown sizes are filled with numbers several times (`mlgraph.tensor.fill`) and the module is run
on each filling without allocating anything (`mlgraph.tensor.probe`). A size of the output that is
the same every time is known; one that always equals the number of an unknown input size is that
size; any other is a new unknown, named after the node.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence

from mlgraph.errors import ShapeError, listing
from mlgraph.tensor.explain import OVERRIDE, complaint, listed, refused_by_build
from mlgraph.tensor.fill import unknown_names
from mlgraph.tensor.probe import Build, OutputError, Seen, probe
from mlgraph.tensor.spec import TensorSpec

CACHE_SIZE = 4096


def infer_outputs(
    build: Build,
    inputs: Sequence[TensorSpec],
    *,
    name: str,
    outputs: Sequence[str] | None = None,
    key: Hashable | None = None,
    otherwise: str = OVERRIDE,
) -> tuple[TensorSpec, ...]:
    """The specs of what a module returns for inputs of these specs.

    Args:
        build: Makes the module. Called on the meta device first; must have no side effects.
        inputs: One spec for each positional argument of the module.
        name: Address of the node; new unknown sizes are called ``name_dim``, or
            ``name_port_dim`` when there are several outputs.
        outputs: Names of the output ports, when their number is known.
        key: Stands for ``build`` in a cache; equal keys must build equal modules.
        otherwise: What else a message advises than to change inputs or parameters.

    Raises:
        ShapeError: The module cannot be run on these inputs, its output is not tensors, or their
            number is not that of ``outputs``.
        MLGraphError: What ``build`` itself raised.

    >>> from torch import nn
    >>> infer_outputs(lambda: nn.Linear(4, 10), [TensorSpec(("batch", 4))], name="linear")
    ((batch, 10) float32,)
    >>> infer_outputs(lambda: nn.Conv1d(4, 8, 3), [TensorSpec(("batch", 4, "time"))], name="conv")
    ((batch, 8, conv_2) float32,)
    """
    specs = tuple(inputs)
    seen = _answers(build, specs, name, key, otherwise)
    _check_agreement(seen, name, otherwise)
    if outputs is not None and len(outputs) != len(seen[0].shapes):
        raise _wrong_number(name, outputs, len(seen[0].shapes))
    return _combined(seen, specs, name, outputs)


def _answers(
    build: Build, inputs: tuple[TensorSpec, ...], name: str, key: Hashable | None, otherwise: str
) -> tuple[Seen, ...]:
    """The runs that went well. They do not depend on the name, so all copies of a layer share."""
    if key is None:
        return _ask(build, inputs, name, otherwise)
    found = _CACHE.get((key, inputs))
    if found is None:
        found = _ask(build, inputs, name, otherwise)
        _CACHE.put((key, inputs), found)
    return found


def _ask(
    build: Build, inputs: tuple[TensorSpec, ...], name: str, otherwise: str
) -> tuple[Seen, ...]:
    try:
        found = probe(build, inputs)
    except OutputError as error:
        raise error.at(name) from None
    except ShapeError as error:
        raise refused_by_build(error, inputs, name) from error
    if not found.enough:
        raise complaint(found, inputs, name, otherwise) from found.refused[-1].error
    return found.seen


def _check_agreement(seen: tuple[Seen, ...], name: str, otherwise: str) -> None:
    forms = {(tuple(map(len, one.shapes)), one.dtypes) for one in seen}
    if len(forms) > 1:
        raise ShapeError(
            f"The outputs of {name} differ in number, rank or dtype with the size of its input.",
            why="it gave " + " and ".join(sorted(_form(one) for one in seen)),
            mend=", or ".join(filter(None, ["give more dimensions a fixed size", otherwise])),
        )


def _form(one: Seen) -> str:
    specs = [TensorSpec(*pair) for pair in zip(one.shapes, one.dtypes, strict=True)]
    given = ", ".join(f"{name}={size}" for name, size in one.filling.items())
    return listed(specs) + (f" for {given}" if given else "")


def _wrong_number(name: str, outputs: Sequence[str], got: int) -> ShapeError:
    return ShapeError(
        f"{name} returns {got} {'tensor' if got == 1 else 'tensors'}, not {len(outputs)}.",
        why=f"its outputs are {listing(outputs)}",
        mend="name one output for each tensor that the module returns",
    )


def _combined(
    seen: tuple[Seen, ...],
    inputs: tuple[TensorSpec, ...],
    name: str,
    outputs: Sequence[str] | None,
) -> tuple[TensorSpec, ...]:
    """What all runs have in common, port by port and size by size."""
    words = _Words(seen, unknown_names(inputs))
    count = len(seen[0].shapes)
    ports = outputs or [str(port) for port in range(count)]
    specs = []
    for port, dtype in enumerate(seen[0].dtypes):
        label = name if count == 1 else f"{name}_{ports[port]}"
        columns = zip(*(one.shapes[port] for one in seen), strict=True)
        shape = [words.size(values, f"{label}_{dim}") for dim, values in enumerate(columns)]
        specs.append(TensorSpec(shape, dtype))
    return tuple(specs)


class _Words:
    """The meaning of a size that took these values in the runs: a number, a name, a new name."""

    def __init__(self, seen: tuple[Seen, ...], names: tuple[str, ...]) -> None:
        self._taken = set(names)
        # A size that the module needed equal to another has no name of its own.
        known = [name for name in names if name in seen[0].filling]
        self._words = {tuple(one.filling[name] for one in seen): name for name in known}
        # Two values in common may be an accident, three are not.
        self._share = len(seen) >= 3

    def size(self, values: tuple[int, ...], label: str) -> int | str:
        if len(set(values)) == 1:
            return values[0]
        if values in self._words:
            return self._words[values]
        while label in self._taken:
            label += "_"
        self._taken.add(label)
        if self._share:
            self._words[values] = label
        return label


class _Cache:
    """The most recent answers; a pure function's memory, so sharing it changes no result."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, tuple[Seen, ...]] = OrderedDict()

    def get(self, key: Hashable) -> tuple[Seen, ...] | None:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Hashable, value: tuple[Seen, ...]) -> None:
        with self._lock:
            self._held[key] = value
            while len(self._held) > self._size:
                self._held.popitem(last=False)


_CACHE = _Cache(CACHE_SIZE)
