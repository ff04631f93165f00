"""Running a module on stand-in sizes to see the shapes it gives.

Three rungs, cheapest first; the next one is tried when a rung does not get enough answers:

1. the meta device: no weights and no data are allocated, whatever the size of the module;
2. fake tensors, which also know a device and the constants a module was built from;
3. small real tensors on the CPU, for code that looks at values (`.item()` in `__init__`).

The module is in eval mode, without gradients and without warnings, and the global random stream
is put back as it was.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import attrs
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mlgraph.errors import ConfigError, MLGraphError, ShapeError
from mlgraph.tensor.fill import Filling, fillings, real_fillings, unknown_names
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked
from mlgraph.tensor.unify import unified

Build = Callable[[], nn.Module]

# A module with more elements is not built for real just to learn its shapes.
MAX_REAL_PARAMETERS = 20_000_000


class OutputError(ShapeError):
    """A module returned something that is not a tensor."""


@attrs.frozen
class Seen:
    """What came out of one run: the stand-in sizes, and shape and dtype of every output."""

    filling: Filling
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]


@attrs.frozen
class Refused:
    """A run, or with ``building`` a construction, that raised an exception."""

    filling: Filling
    error: Exception
    building: bool = False


@attrs.frozen
class Probe:
    """All answers of the rung that gave enough of them, or of the last one.

    Args:
        seen: The runs that went well.
        refused: The runs that did not.
        enough: Whether the answers tell known sizes from unknown ones.
    """

    seen: tuple[Seen, ...]
    refused: tuple[Refused, ...]
    enough: bool


def probe(build: Build, inputs: Sequence[TensorSpec]) -> Probe:
    """Build the module and run it on stand-in sizes until the answers suffice.

    Raises:
        MLGraphError: What ``build`` itself raised.
        OutputError: The output is not a tensor, or a flat collection of tensors.

    >>> [seen.shapes for seen in probe(lambda: nn.Linear(4, 2), [TensorSpec(("batch", 4))]).seen]
    [((64, 2),), ((7, 2),)]
    """
    found: list[Probe] = []
    elements = 0
    with _undisturbed():
        for rung in (_meta_rung, _fake_rung, _real_rung):
            if rung is _real_rung and elements > MAX_REAL_PARAMETERS:
                return _most_telling(found)
            answers, size = rung(build, inputs)
            elements = max(elements, size)
            if answers.seen or answers.refused:
                found.append(answers)
            if answers.enough:
                break
    return found[-1]


def _most_telling(found: Sequence[Probe]) -> Probe:
    """Without a last word from real tensors, the first rung on which the module was built."""
    return next((one for one in found if not one.refused[-1].building), found[-1])


def _meta_rung(build: Build, inputs: Sequence[TensorSpec]) -> tuple[Probe, int]:
    with torch.device("meta"):
        return _weightless(build, inputs)


def _fake_rung(build: Build, inputs: Sequence[TensorSpec]) -> tuple[Probe, int]:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with torch.device("cpu"), FakeTensorMode(allow_non_fake_inputs=True), _unlogged():
        return _weightless(build, inputs)


def _weightless(build: Build, inputs: Sequence[TensorSpec]) -> tuple[Probe, int]:
    """Run on tensors without data, where any number of any size may be tried."""
    with _Shortcuts():
        module = _built(build)
        if isinstance(module, Refused):
            return Probe((), (module,), enough=False), 0
        with _evaluating(module):
            return _first_enough(inputs, partial(_run_empty, module)), _elements(module)


def _run_empty(module: nn.Module, inputs: Sequence[TensorSpec]) -> Probe:
    core, rest = fillings(inputs)
    need = min(2, len(core))
    answers = [_run(module, inputs, filling, _empty) for filling in core]
    for filling in rest:
        if _count(answers) >= need:
            break
        answers.append(_run(module, inputs, filling, _empty))
    return _probe(answers, need)


def _real_rung(build: Build, inputs: Sequence[TensorSpec]) -> tuple[Probe, int]:
    """Run on small real tensors, with other values each time: sizes may depend on them."""
    with torch.device("cpu"):
        module = _built(build)
        if isinstance(module, Refused):
            return Probe((), (module,), enough=False), 0
        with _evaluating(module):
            return _first_enough(inputs, partial(_run_real, module)), 0


def _run_real(module: nn.Module, inputs: Sequence[TensorSpec]) -> Probe:
    answers = []
    for number, filling in enumerate(real_fillings(inputs)):
        # Zeros too: they differ from noise in what is selected by value.
        make = _zeros if number == 2 else Values(number)
        answer = _run(module, inputs, filling, make)
        if isinstance(answer, Refused):
            answer = _run(module, inputs, filling, _zeros)
        answers.append(answer)
    return _probe(answers, need=2)


def _first_enough(
    inputs: Sequence[TensorSpec], run: Callable[[Sequence[TensorSpec]], Probe]
) -> Probe:
    """The answers for these inputs, or else with some unknown sizes equal, as a sum needs them."""
    found = run(inputs)
    if found.enough or not unknown_names(inputs):
        return found
    others = (run(specs) for specs in unified(inputs))
    return next((other for other in others if other.enough), found)


def _probe(answers: Sequence[Seen | Refused], need: int) -> Probe:
    seen = tuple(answer for answer in answers if isinstance(answer, Seen))
    refused = tuple(answer for answer in answers if isinstance(answer, Refused))
    return Probe(seen, refused, enough=len(seen) >= need)


def _count(answers: Sequence[Seen | Refused]) -> int:
    return sum(isinstance(answer, Seen) for answer in answers)


def _built(build: Build) -> nn.Module | Refused:
    try:
        module = build()
    except MLGraphError:
        raise
    except Exception as error:
        return Refused({}, error, building=True)
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise ConfigError(f"`build` must return a torch.nn.Module, not {kind}.")
    return module


class _Maker(Protocol):
    def __call__(self, spec: TensorSpec, shape: tuple[int, ...]) -> torch.Tensor: ...


def _run(
    module: nn.Module, inputs: Sequence[TensorSpec], filling: Filling, make: _Maker
) -> Seen | Refused:
    try:
        output = module(*[make(spec, spec.filled(filling)) for spec in inputs])
    except Exception as error:
        return Refused(filling, error)
    tensors = flat(output)
    return Seen(filling, tuple(tuple(t.shape) for t in tensors), tuple(t.dtype for t in tensors))


def flat(output: Any) -> tuple[torch.Tensor, ...]:
    """The tensors that a module returned, in order.

    Raises:
        OutputError: There are none, or something else is among them.

    >>> [t.item() for t in flat({"a": torch.tensor(1), "b": torch.tensor(2)})]
    [1, 2]
    """
    if isinstance(output, torch.Tensor):
        return (output,)
    parts = output.values() if isinstance(output, Mapping) else output
    if not isinstance(output, Mapping | tuple | list) or not parts:
        raise _not_a_tensor("its output", output)
    for number, part in enumerate(parts):
        if not isinstance(part, torch.Tensor):
            raise _not_a_tensor(f"output {number}", part)
    if len(parts) == 1:
        raise OutputError(
            f"A module returned a {type(output).__name__} of one tensor.",
            why="the layer after it needs the tensor",
            mend="return the tensor itself",
        )
    return tuple(parts)


def _not_a_tensor(which: str, value: Any) -> OutputError:
    empty = isinstance(value, Mapping | tuple | list) and not value
    return OutputError(
        f"A module must return tensors, but {which} is of type {type(value).__name__}"
        + (", and empty." if empty else "."),
        why="an output is a tensor, or a flat tuple, list or dict of tensors",
        mend="wrap the module so that it returns the tensors alone, next to each other",
    )


def _empty(spec: TensorSpec, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(shape, dtype=spec.dtype)


def _zeros(spec: TensorSpec, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.zeros(shape, dtype=spec.dtype)


@attrs.frozen
class Values:
    """Makes tensors of random values; codes stay below their cardinalities, other ints below 2.

    >>> Values(0)(TensorSpec((2,), torch.int64, cardinalities=(5, 1)), (2,))[1]
    tensor(0)
    """

    number: int

    def __call__(self, spec: TensorSpec, shape: tuple[int, ...]) -> torch.Tensor:
        draws = torch.Generator().manual_seed(self.number)
        if spec.dtype.is_floating_point or spec.dtype.is_complex:
            return torch.randn(shape, generator=draws, dtype=torch.float64).to(spec.dtype)
        limits = torch.tensor(spec.cardinalities or 2)
        return (torch.rand(shape, generator=draws) * limits).to(torch.int64).to(spec.dtype)


def _elements(module: nn.Module) -> int:
    held = [*module.parameters(), *module.buffers()]
    known = [t for t in held if not nn.parameter.is_lazy(t)]
    return sum(tensor.numel() for tensor in known)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave no trace: no gradients, no warnings, the random stream put back."""
    with (
        torch.no_grad(),
        forked(0),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Fake tensors log a traceback for every refusal, and being refused is part of probing."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode, undone afterwards: nothing says that the module was built for this alone."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


class _Shortcuts(TorchFunctionMode):
    """Operations without data made cheap, with the same shapes.

    Where there is no data, torch unrolls recurrent layers at 10 ms a step; one step tells as much.
    The bias is most of the cost of `linear` and does not change the shape, initial weights are
    most of the cost of building one. In return `linear` is stricter than torch: that the weight
    has another dtype than the input would only be seen on real tensors.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear:
            return _linear(*args, **kwargs)
        if func in _RECURRENT and len(args) == 9 and isinstance(args[-1], bool):
            return _one_step(func, *args)
        if func in _INITIAL:
            tensor = args[0] if args else kwargs["tensor"]
            return tensor if tensor.is_meta else func(*args, **kwargs)
        return func(*args, **kwargs)


# Of the last argument of these, `batch_first`; their packed form has another number of arguments.
_RECURRENT = frozenset({torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu})
_INITIAL = frozenset(
    {
        torch.Tensor.uniform_,
        torch.Tensor.normal_,
        nn.init.uniform_,
        nn.init.normal_,
        nn.init.kaiming_uniform_,
    }
)


def _linear(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    if input.dtype != weight.dtype:
        raise RuntimeError(f"linear has weights of {weight.dtype}, the input is {input.dtype}")
    return functional.linear(input, weight)


def _one_step(func: Any, input: torch.Tensor, *args: Any) -> tuple[torch.Tensor, ...]:
    time = 1 if args[-1] else 0
    output, *state = func(input.narrow(time, 0, 1), *args)
    shape = list(output.shape)
    shape[time] = input.shape[time]
    return (output.expand(shape), *state)
