from __future__ import annotations

import pytest

from mlgraph import ConfigError, ShapeError, Task, nn
from mlgraph.data.taskspec import TaskSpec
from mlgraph.tensor.spec import TensorSpec

X = TensorSpec(("batch", 4))


@pytest.mark.parametrize(
    ("task", "size"),
    [
        (TaskSpec("regression"), 1),
        (TaskSpec("classification", ("a", "b")), 1),
        (TaskSpec("classification", ("a", "b", "c")), 3),
    ],
)
def test_the_task_decides_the_output_size(task: TaskSpec, size: int) -> None:
    assert nn("head").infer(X, task=task)[0].shape == ("batch", size)


def test_a_task_without_a_target_is_refused() -> None:
    with pytest.raises(ConfigError, match="without a target"):
        nn("head").infer(X)


@pytest.mark.parametrize("sizes", [("batch",), ("batch", 3, 4), ("batch", 3, 4, 5)])
def test_other_ranks_are_refused_with_a_way_out(sizes: tuple[int | str, ...]) -> None:
    with pytest.raises(ShapeError, match="2 dimensions") as caught:
        nn("head").infer(TensorSpec(sizes), task=TaskSpec("regression"))
    assert "flatten" in caught.value.mend


def test_the_number_of_features_has_to_be_known() -> None:
    with pytest.raises(ShapeError, match="'features'"):
        nn("head").infer(TensorSpec(("batch", "features")), task=TaskSpec("regression"))


def test_the_error_in_a_graph_names_the_node() -> None:
    task = Task({"x": [1.0, 2.0], "y": [0.5, 1.5]}, target="y")
    with pytest.raises(ShapeError, match="node 'head', fed by 'unsqueeze'"):
        (nn("unsqueeze", 1) >> nn("head")).fit(task, seed=0)
