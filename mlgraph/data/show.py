"""A task in a few lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlgraph.data.column import TYPES
from mlgraph.data.goal import Goal


def types_lines(
    features: Sequence[str],
    types: Mapping[str, str],
    missing: Mapping[str, int],
    forms: Mapping[str, str] | None = None,
) -> list[str]:
    """One line per feature type: how many, which, and where values are missing.

    Args:
        features: Names of the features.
        types: Feature types by name.
        missing: Number of missing values by name.
        forms: Sizes of lazy tensors by name.

    >>> types_lines(["a", "b"], {"a": "float", "b": "float"}, {"b": 3})
    ['float (2): a, b [3 missing]']
    """
    notes = {**{name: f"{count} missing" for name, count in missing.items()}, **(forms or {})}
    lines = []
    for kind in TYPES:
        names = [name for name in features if types[name] == kind]
        if names:
            words = [f"{name} [{notes[name]}]" if name in notes else name for name in names]
            lines.append(f"{kind} ({len(names)}): {_shortened(words)}")
    return lines


def counts_line(labels: Sequence[object], counts: Sequence[int], positive: object = None) -> str:
    """Classes and how often each occurs.

    >>> counts_line(["a", "b"], [2, 1], positive="b")
    'a (2), b (1, positive)'
    """
    marks = [", positive" if label == positive else "" for label in labels]
    rows = zip(labels, counts, marks, strict=True)
    return _shortened([f"{label} ({count}{mark})" for label, count, mark in rows])


def target_lines(names: Sequence[str], codes: NDArray[Any], goal: Goal) -> list[str]:
    """What the targets are, one line each, the first few.

    >>> target_lines(["y"], np.array([1.0, 3.0]), Goal("regression"))
    ["target 'y': 1 to 3"]
    """
    if goal.classes:
        counts = np.bincount(codes[codes >= 0], minlength=len(goal.classes)).tolist()
        return [f"target {names[0]!r}: {counts_line(goal.classes, counts, goal.positive)}"]
    parts = codes.reshape(len(codes), -1).T
    shown = [
        f"target {name!r}: {_span(part, goal)}" for name, part in zip(names, parts, strict=True)
    ]
    return shown if len(shown) <= 6 else [*shown[:5], f"... {len(shown) - 5} more targets"]


def _span(values: NDArray[Any], goal: Goal) -> str:
    known = values[~np.isnan(values)]
    if not len(known):
        return "all missing"
    if "multilabel" in goal.type.scores:
        return f"{int(known.sum())} of {len(known)} true"
    return f"{known.min():.6g} to {known.max():.6g}"


def _shortened(words: Sequence[str], width: int = 76) -> str:
    shown: list[str] = []
    for word in words:
        if shown and len(", ".join([*shown, word])) > width:
            return f"{', '.join(shown)}, ... ({len(words) - len(shown)} more)"
        shown.append(word)
    return ", ".join(shown)
