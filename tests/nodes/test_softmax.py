from __future__ import annotations

import pytest
import torch

from mlgraph import ShapeError, nn
from mlgraph.tensor.spec import TensorSpec


def test_numbers_along_the_dimension_sum_to_1() -> None:
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    for dim in (1, -1):
        y = nn("softmax", dim=dim).build(TensorSpec(("batch", 3, 4)))(x)
        assert torch.allclose(y.sum(dim), torch.ones(()))


def test_a_dimension_out_of_range_is_named_as_the_user_wrote_it() -> None:
    for key in ("glu", "softmax", "log_softmax", "softmin"):
        with pytest.raises(ShapeError, match="dim=-3"):
            nn(key, dim=-3).infer(TensorSpec(("batch", 4)))


def test_softmax2d_refuses_an_image_without_a_batch() -> None:
    with pytest.raises(ShapeError, match="4 dimensions"):
        nn("softmax2d").infer(TensorSpec((3, 8, 8)))
