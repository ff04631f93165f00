"""Whether two results of a node are the same, up to rounding; what ``mlgraph.testing`` asserts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from mlgraph.core.value import canonical
from mlgraph.data.prediction import Prediction
from mlgraph.data.task import Task


def alike(one: Any, two: Any, of: str, *, ordered: bool = True, target: bool = True) -> None:
    """Assert that two results, or two dicts of them, are the same.

    Args:
        one: A task, a prediction, or results by name; what is neither is not compared.
        two: What should be like it.
        of: What they are, for the message.
        ordered: Whether the order of the features counts.
        target: Whether the target counts.

    >>> alike(Task({"a": [1.0]}), Task({"a": [2.0]}), "two tasks")
    Traceback (most recent call last):
    AssertionError: ...
    """
    if isinstance(one, Mapping):
        assert one.keys() == two.keys(), f"{of}: outputs {list(one)} and {list(two)}"
        for name in one:
            alike(one[name], two[name], of, ordered=ordered, target=target)
    elif isinstance(one, Task):
        _alike_tasks(one, two, of, ordered, target)
    elif isinstance(one, Prediction):
        _alike_arrays(one.row_ids, two.row_ids, of)
        _alike_arrays(one.response, two.response, of)
        _alike_arrays(one.prob, two.prob, of)


def _alike_tasks(one: Task, two: Task, of: str, ordered: bool, target: bool) -> None:
    names = (one.features, two.features)
    same = names[0] == names[1] if ordered else set(names[0]) == set(names[1])
    assert same, f"{of}: features {names[0]} and {names[1]}"
    assert one.same_rows(two), f"{of}: other rows"
    for name in one.features:
        alike_columns(one, two, name, of)
    if target and one.target is not None:
        _alike_arrays(one.target_codes(), two.target_codes(), f"{of}, target")


def alike_columns(one: Task, two: Task, name: str, of: str) -> None:
    """Assert that a column is the same in two tasks.

    >>> alike_columns(Task({"a": [1]}), Task({"a": [1], "b": [2]}), "a", "two tasks")
    """
    types = (one.types[name], two.types[name])
    assert types[0] == types[1], f"{of}: column {name!r} is {types[0]} and {types[1]}"
    if types[0] == "tensor":
        same = one.columns[name].fingerprint == two.columns[name].fingerprint
        assert same, f"{of}: column {name!r} differs"
        return
    assert one.levels(name) == two.levels(name), f"{of}: column {name!r} has other levels"
    left, right = one.column(name), two.column(name)
    if types[0] == "float":
        _alike_arrays(left.to_numpy(), right.to_numpy(), f"{of}, column {name!r}")
    else:
        assert left.to_pylist() == right.to_pylist(), f"{of}: column {name!r} differs"


def _alike_arrays(one: Any, two: Any, of: str) -> None:
    if one is None or two is None:
        assert one is two, f"{of}: one has it, the other not"
    elif one.dtype.kind == "f":
        np.testing.assert_allclose(one, two, rtol=1e-7, atol=1e-9, err_msg=of)
    else:
        assert canonical(one.tolist()) == canonical(two.tolist()), f"{of}: values differ"


def rows_of(value: Any, places: Any) -> Any:
    """The rows of a task or prediction at these places.

    >>> len(rows_of(Task({"a": [1, 2, 3]}), [2, 0]))
    2
    """
    rows = np.asarray(places, dtype=np.int64)
    if isinstance(value, Task):
        return value.take(rows)
    changes = {
        field.name: getattr(value, field.name)[rows]
        for field in attrs.fields(Prediction)
        if isinstance(getattr(value, field.name), np.ndarray)
    }
    return attrs.evolve(value, **changes)
