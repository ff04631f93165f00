"""Stand-in numbers for the sizes that are not known.

A module can only be run on numbers, so every unknown size is given one, several times over; what
the outputs have in common between the runs is what is known about them. Within one filling the
numbers differ from each other and from every known size, and none is 1, which would broadcast or
be squeezed away. Multiples of 32 please strides and patches, primes are equal to nothing by
accident, small primes show what was cut off (`x[:, :32]` is not always 32 long).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from mlgraph.tensor.spec import TensorSpec

Filling = dict[str, int]
Pool = Sequence[int]

# Bounds the input of a run on real tensors; on meta and fake tensors a size costs nothing.
MAX_REAL_ELEMENTS = 1_000_000


def unknown_names(inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Names of the unknown sizes of all inputs, each once, in order of appearance.

    >>> unknown_names((TensorSpec(("batch", 3)), TensorSpec(("batch", "time"))))
    ('batch', 'time')
    """
    return tuple(dict.fromkeys(name for spec in inputs for name in spec.names))


def fillings(inputs: Sequence[TensorSpec]) -> tuple[list[Filling], Iterator[Filling]]:
    """Fillings for tensors without data: those always tried, and those for when these fail.

    A batch size alone needs no more than two. Recurrent code may take a step at a time, so no
    number is large unless smaller ones fail.

    >>> fillings([TensorSpec(("batch", 7))])[0]
    [{'batch': 64}, {'batch': 11}]
    >>> fillings([TensorSpec(("batch", "time"))])[0][1]
    {'batch': 131, 'time': 137}
    """
    names = unknown_names(inputs)
    if not names:
        return [{}], iter(())
    core: tuple[Pool, ...] = (_BY_32, _PRIMES, _SMALL_PRIMES)
    rest: tuple[Pool, ...] = (_BY_224, _BY_840, _BY_1680)
    if _only_the_batch(inputs, names):
        core, rest = (_BY_32, _SMALL_PRIMES), (_PRIMES, *rest)
    return [_fill(inputs, pool) for pool in core], (_fill(inputs, pool) for pool in rest)


def real_fillings(inputs: Sequence[TensorSpec]) -> list[Filling]:
    """Fillings whose tensors are small enough to be real; the first dimensions get the least.

    >>> real_fillings([TensorSpec(("batch", 3, "height", "width"))])[0]
    {'batch': 2, 'height': 32, 'width': 64}
    """
    if not unknown_names(inputs):
        return [{}, {}, {}]
    pools = (_REAL_BY_32, _REAL_PRIMES, _SMALL_PRIMES, _BY_224, _TINY_PRIMES)
    every = [_fill(inputs, pool, leading=_TINY_PRIMES[row:]) for row, pool in enumerate(pools)]
    return [filling for filling in every if _elements(inputs, filling) <= MAX_REAL_ELEMENTS]


def _fill(inputs: Sequence[TensorSpec], pool: Pool, leading: Pool = ()) -> Filling:
    taken = {size for spec in inputs for size in spec.shape if isinstance(size, int)}
    first = {spec.shape[0] for spec in inputs if spec.shape}
    filling: Filling = {}
    for name in unknown_names(inputs):
        numbers = leading if leading and name in first else pool
        filling[name] = next(number for number in _endless(numbers) if number not in taken)
        taken.add(filling[name])
    return filling


def _endless(pool: Pool) -> Iterator[int]:
    yield from pool
    # More unknown sizes than anyone has: go on in steps of the first number.
    yield from (pool[-1] + pool[0] * step for step in range(1, 1_000_000))


def _only_the_batch(inputs: Sequence[TensorSpec], names: tuple[str, ...]) -> bool:
    return len(names) == 1 and all(names[0] not in spec.shape[1:] for spec in inputs)


def _elements(inputs: Sequence[TensorSpec], filling: Filling) -> int:
    return sum(math.prod(spec.filled(filling)) for spec in inputs)


def _multiples(step: int, factors: Iterable[int]) -> Pool:
    return tuple(step * factor for factor in factors)


def _primes(start: int, until: int = 1000) -> Pool:
    return tuple(n for n in range(start, until) if all(n % d for d in range(2, math.isqrt(n) + 1)))


_BY_32 = _multiples(32, range(2, 100))
_REAL_BY_32 = _multiples(32, range(1, 100))
# Patches of 7, 14 or 28; then of 10, 12, 15, 20, 24 or 30. The factors differ between the pools:
# with the same ones, two sizes of a fixed ratio would have it in every filling.
_BY_224 = _multiples(224, range(1, 100))
_BY_840 = _multiples(840, _primes(2))
_BY_1680 = _multiples(1680, (3, 7, 17, 29, *range(31, 200, 2)))
_PRIMES = _primes(131)
_REAL_PRIMES = _primes(37)
_SMALL_PRIMES = _primes(7)
_TINY_PRIMES = _primes(2)
