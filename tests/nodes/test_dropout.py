from __future__ import annotations

import pytest
import torch

from mlgraph import ConfigError, ShapeError, nn
from mlgraph.tensor.spec import TensorSpec


def test_dropout_acts_in_training_only() -> None:
    module = nn("dropout", p=0.5).build(TensorSpec(("batch", 4)))
    x = torch.ones(100, 4)
    assert torch.equal(module.eval()(x), x)
    assert set(module.train()(x).unique().tolist()) == {0.0, 2.0}


def test_channels_are_dropped_as_a_whole() -> None:
    module = nn("dropout1d", p=0.5).build(TensorSpec(("batch", 4, 10))).train()
    y = module(torch.ones(50, 4, 10))
    assert torch.equal(y.amin(2), y.amax(2))
    assert y.unique().numel() == 2


@pytest.mark.parametrize("p", [-0.1, 1.1, "a"])
@pytest.mark.parametrize("key", ["dropout", "alpha_dropout", "dropout1d"])
def test_p_is_a_probability(key: str, p: object) -> None:
    with pytest.raises(ConfigError, match="p="):
        nn(key, p=p)


@pytest.mark.parametrize(("key", "rank"), [("dropout1d", 3), ("dropout2d", 4), ("dropout3d", 5)])
def test_channel_dropout_refuses_inputs_without_a_batch(key: str, rank: int) -> None:
    nn(key).infer(TensorSpec(("batch", *range(2, rank + 1))))
    for wrong in (rank - 1, rank + 1):
        with pytest.raises(ShapeError, match=f"{rank} dimensions"):
            nn(key).infer(TensorSpec(("batch", *range(2, wrong + 1))))


def test_codes_are_refused() -> None:
    with pytest.raises(ShapeError, match="floating-point"):
        nn("dropout").infer(TensorSpec(("batch", 4), torch.int64))
