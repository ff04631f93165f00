from __future__ import annotations

import numpy as np
import pytest

from mlgraph import Task
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.source import ArraySource
from mlgraph.datasets import by_split
from mlgraph.datasets.images import image_task
from mlgraph.errors import DataError, UnknownColumnError


def part(n_rows, value):
    return LazyTensor.over(ArraySource(np.full((n_rows, 1, 2, 2), value, dtype=np.uint8)))


def test_parts_stand_one_below_the_other_and_are_found_again():
    codes = [np.array([0, 1, 0]), np.array([1])]
    task = image_task(
        [part(3, 0), part(1, 7)],
        codes,
        target="y",
        classes=["u", "v", "w"],
        splits=["train", "test"],
    )
    assert task.features == ("image",) and task.classes == ("u", "v", "w")
    found = by_split(task.take([3, 0, 1]))
    assert list(found) == ["train", "test"]
    assert found["train"].row_ids.tolist() == [0, 1] and found["test"].row_ids.tolist() == [3]
    assert found["test"].target_codes().tolist() == [1]


def test_a_part_without_rows_is_left_out():
    task = Task({"x": [1, 2], "split": ["a", "b"]}).take([1])
    assert list(by_split(task)) == ["b"]


def test_rows_of_no_part_are_refused():
    with pytest.raises(DataError, match="1 rows belong to no part"):
        by_split(Task({"x": [1, 2], "split": ["a", None]}))
    with pytest.raises(UnknownColumnError, match="split"):
        by_split(Task({"x": [1, 2]}))
