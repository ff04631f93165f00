"""Gradients are clipped before the step."""

import pytest
import torch

from mlgraph import ConfigError
from mlgraph.train.callback import ordered
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback
from mlgraph.train.loop import train


def gradients(make_run, chosen):
    """All gradients of each step, as they are used."""
    seen = []

    def look(run):
        parameters = run.network.parameters()
        seen.append(torch.cat([p.grad.flatten() for p in parameters]))

    train(make_run(epochs=1), ordered([chosen, Functions(on_batch_end=look)]))
    return seen


def test_the_norm_of_all_gradients_is_at_most_that(make_run):
    free = gradients(make_run, Functions())
    clipped = gradients(make_run, callback("grad_clip", norm=0.01))
    assert all(g.norm() > 0.01 for g in free)
    assert [float(g.norm()) for g in clipped] == pytest.approx([0.01] * 3, rel=1e-3)
    direction = torch.nn.functional.cosine_similarity(free[0], clipped[0], dim=0)
    assert float(direction) == pytest.approx(1.0)


def test_the_norm_may_be_another(make_run):
    clipped = gradients(make_run, callback("grad_clip", norm=0.01, norm_type=float("inf")))
    assert float(clipped[0].abs().max()) == pytest.approx(0.01, rel=1e-3)


def test_each_number_is_at_most_that(make_run):
    free = gradients(make_run, Functions())
    clipped = gradients(make_run, callback("grad_clip", value=0.02))
    torch.testing.assert_close(clipped[0], free[0].clamp(-0.02, 0.02))


@pytest.mark.parametrize("params", [{}, {"norm": 1.0, "value": 1.0}])
def test_it_is_one_of_the_two(params):
    with pytest.raises(ConfigError, match="by norm or by value"):
        callback("grad_clip", **params)


def test_a_size_is_not_negative():
    with pytest.raises(ConfigError, match="norm=-1"):
        callback("grad_clip", norm=-1.0)
