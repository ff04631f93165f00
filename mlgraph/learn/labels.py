"""Class labels of scikit-learn, and what they are called in a task."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def task_labels(classes: NDArray[Any]) -> NDArray[Any]:
    """Labels that a task can hold, in the same order: strings, integers or booleans.

    Numbers without fraction become integers; labels of other types become their places.

    >>> task_labels(np.array([1.0, 3.0])), task_labels(np.array(["a", "b"], dtype=object))
    (array([1, 3]), array(['a', 'b'], dtype='<U1'))
    """
    if classes.dtype.kind in "biuU":
        return classes
    kinds = {type(label) for label in classes.tolist()}
    if kinds == {str}:
        return classes.astype(str)
    if kinds <= {int, float} and all(label == int(label) for label in classes.tolist()):
        return classes.astype(np.int64)
    return np.arange(len(classes))


def codes_of(labels: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    """Places of labels among known ones, which are sorted.

    >>> codes_of(np.array(["b", "a"]), np.array(["a", "b"]))
    array([1, 0])
    """
    return np.asarray(np.searchsorted(known, labels), dtype=np.int64)
