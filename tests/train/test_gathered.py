from __future__ import annotations

import pytest
import torch

from mlgraph.errors import ShapeError
from mlgraph.train.gathered import Gathered
from mlgraph.train.losses import Losses

PARTS = [torch.arange(6.0).reshape(3, 2) + 10 * i for i in range(4)]


@pytest.mark.parametrize("rows", [0, 5, 12, 20])
def test_outputs_come_in_order_however_many_are_expected(rows):
    gathered = Gathered(rows)
    for part in PARTS:
        gathered.add(part, 3)
    assert torch.equal(gathered.all(), torch.cat(PARTS))


def test_outputs_are_copies_without_gradients():
    output = torch.ones(2, 1, requires_grad=True) * 1
    gathered = Gathered(2)
    gathered.add(output, 2)
    with torch.no_grad():
        output.zero_()
    assert gathered.all().tolist() == [[1.0], [1.0]]
    assert not gathered.all().requires_grad


def test_what_was_there_is_gone_on_with_and_stays_what_it_was():
    before = PARTS[0].clone()
    gathered = Gathered.of(before)
    gathered.add(PARTS[1], 3)
    assert torch.equal(gathered.all(), torch.cat(PARTS[:2]))
    assert torch.equal(before, PARTS[0])


def test_without_a_batch_there_is_nothing():
    with pytest.raises(ValueError, match="No batch"):
        Gathered(3).all()


@pytest.mark.parametrize("n", [1, 2, 64, 65, 66, 130, 500])
def test_losses_are_those_of_all_steps_in_order(n):
    losses = Losses()
    for i in range(n):
        losses.add(torch.tensor(float(i)))
        assert float(losses.last) == i and len(losses) == i + 1
    assert losses.all().tolist() == list(range(n))
    again = Losses.of(losses.all())
    assert again.all().tolist() == list(range(n)) and float(again.last) == n - 1


def test_few_tensors_are_kept_of_many_losses():
    losses = Losses()
    for i in range(1000):
        losses.add(torch.tensor(float(i)))
    assert len(losses.recent) < 100


def test_the_last_loss_may_be_replaced_also_after_they_were_joined():
    losses = Losses()
    for i in range(65):
        losses.add(torch.tensor(float(i)))
        losses.last = torch.tensor(float(-i))
    assert losses.all().tolist() == [float(-i) for i in range(65)]


def test_there_are_no_losses_before_the_first_step():
    assert len(Losses()) == 0 and not Losses() and not Losses.of(torch.empty(0))


@pytest.mark.parametrize("other", [torch.ones(1, 1), torch.ones(2), torch.ones(2, 2).double()])
def test_outputs_of_another_kind_are_refused(other):
    gathered = Gathered(9)
    gathered.add(torch.ones(2, 2), 2)
    with pytest.raises(ShapeError, match="another kind of output") as caught:
        gathered.add(other, len(other))
    assert "(2,) float32" in caught.value.why
