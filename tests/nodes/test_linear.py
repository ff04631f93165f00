from __future__ import annotations

import pytest
import torch

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.data.taskspec import TaskSpec
from mlgraph.tensor.spec import TensorSpec


def test_the_last_dimension_is_mapped_whatever_comes_before() -> None:
    shape = nn("linear", out_features=10).infer(TensorSpec(("batch", "time", 1)))[0].shape
    assert shape == ("batch", "time", 10)


def test_without_a_size_it_is_that_of_the_task() -> None:
    task = TaskSpec("classification", ("a", "b", "c"))
    assert nn("linear").infer(TensorSpec(("batch", 4)), task=task)[0].shape == ("batch", 3)
    with pytest.raises(ConfigError, match="without a target"):
        nn("linear").infer(TensorSpec(("batch", 4)))


def test_the_number_of_features_has_to_be_known() -> None:
    with pytest.raises(ShapeError, match="'features'"):
        nn("linear", out_features=2).infer(TensorSpec(("batch", "features")))


def test_codes_are_refused() -> None:
    with pytest.raises(ShapeError, match="int64"):
        nn("linear", out_features=2).infer(TensorSpec(("batch", 4), torch.int64))


def test_a_linear_layer_may_go_without_a_constant() -> None:
    assert nn("linear", 2, bias=False).build(TensorSpec(("batch", 4)), task=None).bias is None
