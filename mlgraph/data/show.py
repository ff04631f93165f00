"""A task in a few lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlgraph.data.column import TYPES


def types_lines(
    features: Sequence[str], types: Mapping[str, str], missing: Mapping[str, int]
) -> list[str]:
    """One line per feature type: how many, which, and where values are missing.

    >>> types_lines(["a", "b"], {"a": "float", "b": "float"}, {"b": 3})
    ['float (2): a, b [3 missing]']
    """
    lines = []
    for kind in TYPES:
        names = [name for name in features if types[name] == kind]
        if names:
            words = [_with_missing(name, missing) for name in names]
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


def _with_missing(name: str, missing: Mapping[str, int]) -> str:
    return f"{name} [{missing[name]} missing]" if name in missing else name


def _shortened(words: Sequence[str], width: int = 76) -> str:
    shown: list[str] = []
    for word in words:
        if shown and len(", ".join([*shown, word])) > width:
            return f"{', '.join(shown)}, ... ({len(words) - len(shown)} more)"
        shown.append(word)
    return ", ".join(shown)
