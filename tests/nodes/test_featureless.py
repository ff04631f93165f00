from __future__ import annotations

import numpy as np
import pytest
import torch

from mlgraph import ConfigError, ShapeError, Task, nn, po
from mlgraph.data.taskspec import TaskSpec
from mlgraph.net.layer import Layer
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_layer

MIXED = Task(
    {
        "x": [1.0, None, 3.0, None],
        "w": ["u", None, "v", "v"],
        "d": np.array(["2024-01-01", "NaT", "2024-01-02", "2024-01-03"], dtype="datetime64[s]"),
        "y": ["a", "b", "b", "b"],
    },
    target="y",
)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec((5, 3)),
        TensorSpec((4, 0)),
        TensorSpec((4, 2, 3, 2), torch.float64),
        TensorSpec((5, 2), torch.int64, cardinalities=(3, 5)),
    ],
    ids=repr,
)
def test_a_constant_keeps_the_promises_of_layers(spec: TensorSpec) -> None:
    node = nn("constant_output")
    assert isinstance(node, Layer)
    check_layer(node, [spec])


def test_a_constant_does_not_look_at_values() -> None:
    module = nn("constant_output").make((TensorSpec(("batch", 2)),), TaskSpec("regression"))
    assert torch.equal(module(torch.full((3, 2), float("nan"))), torch.zeros(3, 1))


def test_a_constant_needs_to_know_what_is_learned() -> None:
    with pytest.raises(ConfigError, match="no output size"):
        nn("constant_output").infer(TensorSpec(("batch", 2)))


def graph() -> object:
    return po("ingress_rows") >> nn("constant_output") >> po("torch_model", epochs=200)


def test_rows_of_any_features_enter_also_with_missing_values() -> None:
    fitted = graph().fit(MIXED, seed=1)
    prediction = fitted.predict(MIXED)
    np.testing.assert_allclose(prediction.prob, [[0.25, 0.75]] * 4, atol=0.02)


def test_rows_without_features_enter_too() -> None:
    task = Task({"y": ["a", "b", "b", "b"]}, target="y")
    assert graph().fit(task, seed=1).predict(task).response.tolist() == ["b"] * 4


def test_no_rows_are_predicted_for_no_rows() -> None:
    assert len(graph().fit(MIXED, seed=1).predict(MIXED.empty())) == 0


def test_layers_with_weights_refuse_rows_without_features() -> None:
    with pytest.raises(ShapeError, match="size 0, so there is nothing to weigh"):
        (po("ingress_rows") >> nn("head") >> po("torch_model", epochs=1)).check(MIXED)
