from __future__ import annotations

import torch

from mlgraph import nn
from mlgraph.tensor.spec import TensorSpec


def test_nothing_changes_not_even_codes() -> None:
    codes = torch.tensor([[1, 2]])
    module = nn("identity").build(TensorSpec(("batch", 2), torch.int64))
    assert module(codes) is codes
