"""Several checks at once, so that every mistake is found before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlgraph.errors import MLGraphError, together


def every(*steps: Callable[[], Any]) -> tuple[Any, ...]:
    """What the steps return; what they find wrong is raised together.

    Raises:
        MLGraphError: One error, or one whose ``errors`` are those of several steps.

    >>> every(lambda: 1, lambda: 2)
    (1, 2)
    """
    values: list[Any] = []
    found: list[MLGraphError] = []
    for step in steps:
        try:
            values.append(step())
        except MLGraphError as error:
            if str(error) not in map(str, found):  # two steps may come upon the same
                found.append(error)
    if found:
        raise together(found, f"{len(found)} things are wrong with the training.")
    return tuple(values)
