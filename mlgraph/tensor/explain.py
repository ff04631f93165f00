"""Why a module refused its inputs, in the words of the specs.

torch complains about the stand-in numbers of a run: `mat1 and mat2 shapes cannot be multiplied
(64x96 and 10x5)`. A number that is the stand-in of one name in *every* refusal is that name (or a
product of names), a number that never changes is itself, and what varies otherwise becomes `?`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

from mlgraph.errors import MLGraphError, ShapeError
from mlgraph.tensor.fill import Filling, unknown_names
from mlgraph.tensor.probe import Probe, Refused
from mlgraph.tensor.spec import TensorSpec

OVERRIDE = "override `spec` in the layer"

# Whole numbers that are no part of a word or a decimal. torch writes sizes as "64x96".
_NUMBER = re.compile(r"(?<![\w.])\d+(?!\w|\.\d)")
_TIMES = re.compile(r"(?<=\d)x(?=\d)")

# What modules raise for sizes they cannot take; anything else may be about the probing itself.
_MISMATCH = (RuntimeError, ValueError, IndexError, AssertionError)


def listed(inputs: Sequence[TensorSpec]) -> str:
    """Specs as one phrase.

    >>> listed([TensorSpec(("batch", 3)), TensorSpec(("batch",))])
    '(batch, 3) float32 and (batch,) float32'
    """
    *most, last = [str(spec) for spec in inputs] or ["no inputs"]
    return f"{', '.join(most)} and {last}" if most else last


def complaint(
    found: Probe, inputs: Sequence[TensorSpec], name: str, otherwise: str = OVERRIDE
) -> ShapeError:
    """The error for a module that gave too few answers, and what else can be done about it.

    >>> sad = Probe((), (Refused({}, ValueError("boom")),), enough=False)
    >>> print(complaint(sad, [TensorSpec((2, 3))], "linear"))
    linear cannot accept (2, 3) float32.
      why:   boom
      mend:  change its inputs or parameters, or override `spec` in the layer
    """
    error = found.refused[-1].error
    return ShapeError(
        _headline(found, listed(inputs), name),
        why=_reason(found, inputs),
        mend=", or ".join(filter(None, [_mend(found, error), otherwise])),
    )


def refused_by_build(error: ShapeError, inputs: Sequence[TensorSpec], name: str) -> ShapeError:
    """The error for a layer whose ``build`` refused the specs themselves.

    >>> print(refused_by_build(ShapeError("Too wide.", mend="cut it"), [TensorSpec((9,))], "fold"))
    fold cannot accept (9,) float32.
      why:   too wide
      mend:  cut it
    """
    why = "; ".join(filter(None, [_as_clause(error.what), error.why]))
    return ShapeError(f"{name} cannot accept {listed(inputs)}.", why=why, mend=error.mend)


def _headline(found: Probe, inputs: str, name: str) -> str:
    last = found.refused[-1]
    if found.seen or not isinstance(last.error, _MISMATCH) or _unsupported(last.error):
        return f"The output of {name} for {inputs} could not be found."
    return f"{name} cannot {'be built for' if last.building else 'accept'} {inputs}."


def _unsupported(error: Exception) -> bool:
    return isinstance(error, NotImplementedError)


def _mend(found: Probe, error: Exception) -> str:
    if isinstance(error, MLGraphError) and error.mend:
        return error.mend
    if found.seen:
        return "give more dimensions a fixed size"
    return "change its inputs or parameters"


def _reason(found: Probe, inputs: Sequence[TensorSpec]) -> str:
    group = _alike(found.refused)
    texts = [_TIMES.sub(" x ", _text(refused.error)) for refused in group]
    message = _translated(texts, [refused.filling for refused in group], inputs)
    if not found.seen:
        return message
    return f"it ran for {len(found.seen)} of the sizes tried only; for others: {message}"


def _alike(refused: Sequence[Refused]) -> list[Refused]:
    """The largest group whose messages differ in nothing but numbers."""
    groups: dict[str, list[Refused]] = {}
    for one in refused:
        groups.setdefault(_NUMBER.sub("#", _TIMES.sub(" x ", _text(one.error))), []).append(one)
    return max(groups.values(), key=len)


def _text(error: Exception) -> str:
    if isinstance(error, MLGraphError):
        return "; ".join(filter(None, [_as_clause(error.what), error.why]))
    message = str(error)
    kind = type(error).__name__
    plain = isinstance(error, RuntimeError | ValueError | AssertionError | IndexError)
    return message if message and plain else f"{kind}: {message}".removesuffix(": ")


def _translated(
    texts: Sequence[str], fillings: Sequence[Filling], inputs: Sequence[TensorSpec]
) -> str:
    words = _dictionary(fillings, inputs)
    if not words:
        return texts[0]
    columns = list(zip(*[[int(n) for n in _NUMBER.findall(text)] for text in texts], strict=True))
    numbers = iter(columns)

    def word(match: re.Match[str]) -> str:
        values = next(numbers)
        return words.get(values, match.group() if len(set(values)) == 1 else "?")

    return _NUMBER.sub(word, texts[0])


def _dictionary(
    fillings: Sequence[Filling], inputs: Sequence[TensorSpec]
) -> dict[tuple[int, ...], str]:
    """What a number means that takes these values in these runs."""
    words: dict[tuple[int, ...], str] = {}
    names = [name for name in unknown_names(inputs) if all(name in f for f in fillings)]
    for count in (1, 2, 3):
        for some in itertools.combinations(names, count):
            values = tuple(math.prod(filling[name] for name in some) for filling in fillings)
            words.setdefault(values, "*".join(some))
    for spec in inputs:
        if spec.names and set(spec.names) <= set(names):
            values = tuple(math.prod(spec.filled(filling)) for filling in fillings)
            words.setdefault(values, "*".join(map(str, spec.shape)))
    return words


def _as_clause(sentence: str) -> str:
    """A sentence as part of another.

    >>> _as_clause("The size is unknown.")
    'the size is unknown'
    """
    return sentence[:1].lower() + sentence[1:].removesuffix(".")
