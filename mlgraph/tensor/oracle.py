"""The oracle of shape inference: what is inferred, compared with what a real module returns.

Whatever is known about a layer's inputs, what is inferred about its outputs must be true of the
real thing. The sizes of concrete inputs are hidden in all possible ways, and for each the inferred
output specs are compared with the tensors that the layer's module returns for real inputs.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from mlgraph.errors import MLGraphError
from mlgraph.tensor.probe import Values, flat
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked

Specs = tuple[TensorSpec, ...]

MAX_EXHAUSTIVE = 10
SAMPLED = 256


def check_spec(
    build_for: Callable[[Specs], nn.Module],
    infer: Callable[[Specs], Specs],
    concrete: Sequence[TensorSpec],
    seed: int = 0,
) -> int:
    """Compare inferred with real outputs for every pattern of unknown input sizes.

    There are ``2 ** dims`` patterns; of more than 1024 a sample of 256 is checked. A pattern that
    ``infer`` refuses with an `MLGraphError` is passed over, save the one where all is known.

    Args:
        build_for: Makes the module for input specs, some of whose sizes may be unknown.
        infer: The output specs for such input specs.
        concrete: Input specs without unknown sizes, for which the module must work.
        seed: Of the values, the weights and the sample of patterns.

    Returns:
        The number of patterns that were accepted.

    Raises:
        AssertionError: What was inferred is not true; the message holds pattern and both results.
        MLGraphError: Concrete inputs were refused.

    >>> from mlgraph.tensor.infer import infer_outputs
    >>> build_for = lambda specs: nn.Linear(specs[0].size(-1), 2)
    >>> infer = lambda specs: infer_outputs(lambda: build_for(specs), specs, name="linear")
    >>> check_spec(build_for, infer, [TensorSpec((5, 3))])
    2
    """
    known = tuple(concrete)
    _compare(known, infer(known), known, _real(build_for, known, known, seed))
    accepted = 1
    for hidden in _patterns(sum(spec.rank for spec in known), seed):
        pattern = _hide(known, hidden)
        try:
            inferred = infer(pattern)
        except MLGraphError:
            continue
        _compare(pattern, inferred, known, _real(build_for, pattern, known, seed))
        accepted += 1
    return accepted


def _patterns(dims: int, seed: int) -> Iterator[tuple[bool, ...]]:
    """Which sizes to hide; never none of them."""
    if dims <= MAX_EXHAUSTIVE:
        yield from itertools.islice(itertools.product((False, True), repeat=dims), 1, None)
        return
    draws = random.Random(seed)
    numbers = {2**dims - 1, *(draws.randrange(1, 2**dims) for _ in range(SAMPLED - 1))}
    for number in sorted(numbers):
        yield tuple(bool(number >> dim & 1) for dim in range(dims))


def _hide(known: Specs, hidden: Sequence[bool]) -> Specs:
    places = iter(enumerate(hidden))
    specs = []
    for spec in known:
        shape = [
            f"u{place}" if hide else size
            for size, (place, hide) in zip(spec.shape, places, strict=False)
        ]
        specs.append(spec.with_shape(shape))
    return tuple(specs)


def _real(
    build_for: Callable[[Specs], nn.Module], specs: Specs, known: Specs, seed: int
) -> tuple[torch.Tensor, ...]:
    tensors = [Values(seed + place)(spec, spec.sizes()) for place, spec in enumerate(known)]
    with torch.no_grad(), forked(seed):
        try:
            return flat(build_for(specs).eval()(*tensors))
        except Exception as error:
            raise AssertionError(
                f"The module for {specs} was accepted, but cannot be run on {known}: {error}"
            ) from error


def _compare(pattern: Specs, inferred: Specs, known: Specs, real: tuple[torch.Tensor, ...]) -> None:
    sizes: dict[int | str, int] = {
        name: size
        for hidden, spec in zip(pattern, known, strict=True)
        for name, size in zip(hidden.shape, spec.sizes(), strict=True)
        if isinstance(name, str)
    }
    right = len(inferred) == len(real) and all(
        _agrees(spec, tensor, sizes) for spec, tensor in zip(inferred, real, strict=True)
    )
    if pattern == known:
        right = right and all(spec.numel is not None for spec in inferred)
    if not right:
        got = tuple(TensorSpec(tensor.shape, tensor.dtype) for tensor in real)
        raise AssertionError(f"For {pattern}, inferred was {inferred}, but real is {got}.")


def _agrees(spec: TensorSpec, tensor: torch.Tensor, sizes: dict[int | str, int]) -> bool:
    """Whether the tensor fits the spec once the names of input sizes have their real numbers."""
    return spec.with_shape([sizes.get(size, size) for size in spec.shape]).fits(tensor)
