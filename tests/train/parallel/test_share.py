from __future__ import annotations

import pytest
import torch
from torch import nn

from mlgraph.data.batch import TensorBatches
from mlgraph.train.lossfn import ObjectiveFn, masses
from mlgraph.train.members import OfMembers
from mlgraph.train.parallel.share import Share, Summed, part


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 31])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("least", [1, 2])
def test_parts_cover_all_rows_once_and_none_is_empty(n, size, least):
    parts = [part(n, rank, size, least) for rank in range(size)]
    counted = [i for start, end, counts in parts if counts for i in range(start, end)]
    assert counted == list(range(n))
    for start, end, _ in parts:
        assert end - start >= min(least, n)
        assert end <= n


def batches(n: int = 11, size: int = 4, **options) -> TensorBatches:
    return TensorBatches((torch.arange(float(n)).reshape(n, 1),), None, None, size, **options)


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("options", [{}, {"drop_last": True}, {"merge_last": True}])
def test_shares_together_are_the_batches_of_one_process(shuffled, options):
    whole = batches(9, **options)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1)) if shuffled else None
    shares = [list(Share(whole, rank, 3).epoch(order)) for rank in range(3)]
    expected = [batch.inputs[0].flatten().tolist() for batch in whole.epoch(order)]
    found = [
        [x for batch in parts for x in batch.inputs[0][batch.weights > 0].flatten().tolist()]
        for parts in zip(*shares, strict=True)
    ]
    assert found == expected


def test_an_epoch_can_begin_at_a_later_batch():
    share = Share(batches(), 1, 2)
    later = [batch.inputs[0].tolist() for batch in share.epoch(first=1)]
    assert later == [batch.inputs[0].tolist() for batch in share.epoch()][1:]


def test_a_share_has_its_part_of_what_a_sampler_draws():
    order, sizes = torch.tensor([3, 3, 0, 9, 1]), [3, 2]
    found = [
        [
            batch.inputs[0].flatten().tolist()
            for batch in Share(batches(), rank, 2).epoch(order, sizes)
        ]
        for rank in range(2)
    ]
    assert found == [[[3.0], [9.0]], [[3.0, 0.0], [1.0]]]


def test_a_share_answers_for_all_rows():
    share = Share(batches(), 1, 2)
    assert (share.rows, share.n_batches, share.cut(11)) == (11, 3, [4, 4, 3])


@pytest.mark.parametrize("mass", [None, torch.arange(1.0, 12.0)])
def test_the_weights_of_a_batch_sum_to_one_over_all_processes(mass):
    shares = [Share(batches(), rank, 4, mass) for rank in range(4)]
    for parts in zip(*(share.epoch() for share in shares), strict=True):
        assert sum(float(batch.weights.sum()) for batch in parts) == pytest.approx(1, abs=1e-6)
    for n in (4, 3, 1):
        assert sum(share.fraction(n) for share in shares) == pytest.approx(1)


def test_a_share_has_two_rows_where_batch_statistics_need_them():
    shares = [Share(batches(7, 4, merge_last=True), rank, 2) for rank in range(2)]
    last = [list(share.epoch())[-1] for share in shares]
    assert [len(batch.inputs[0]) for batch in last] == [3, 2]
    assert last[1].weights.tolist() == [0.0, 0.0]
    assert [share.fraction(3) for share in shares] == [1.0, 0.0]


MSE = ObjectiveFn(nn.MSELoss(), nn.MSELoss(reduction="none"))
WEIGHT = torch.tensor([1.0, 0.0, 2.5])
LOSSES = {
    "mse": MSE,
    "of members": OfMembers(MSE),
    "class weights": ObjectiveFn(
        nn.CrossEntropyLoss(weight=WEIGHT), nn.CrossEntropyLoss(reduction="none"), WEIGHT
    ),
}


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("weighed", [True, False])
@pytest.mark.parametrize("n", [7, 1])
def test_parts_of_the_loss_and_their_gradients_add_up_to_those_of_the_batch(name, weighed, n):
    draw = torch.Generator().manual_seed(0)
    objective, classes = LOSSES[name], name == "class weights"
    target = torch.arange(n) % 3 if classes else torch.randn(n, 1, generator=draw)
    weights = torch.rand(n, generator=draw) + 0.1 if weighed else None
    shape = {"mse": (n, 1), "of members": (n, 5, 1), "class weights": (n, 3)}[name]
    output = torch.randn(shape, generator=draw, requires_grad=True)
    whole = TensorBatches((output,), target, weights, size=n)

    args = (output, target) if weights is None else (output, target, weights)
    loss = (objective if weights is None else objective.weighted)(*args)
    (expected,) = torch.autograd.grad(loss, output)

    mass = masses(objective, whole)
    part_of = Summed(objective, even=mass is None)
    losses = []
    for rank in range(3):
        (batch,) = Share(whole, rank, 3, mass).epoch()
        losses.append(part_of.weighted(batch.inputs[0], batch.target, batch.weights))
    (found,) = torch.autograd.grad(sum(losses), output)
    torch.testing.assert_close(sum(losses), loss)
    torch.testing.assert_close(found, expected)


def test_a_loss_without_a_value_per_row_is_shared_where_all_rows_weigh_the_same():
    objective = ObjectiveFn(nn.MSELoss(), nn.MSELoss())
    output, target = torch.arange(5.0).reshape(5, 1), torch.zeros(5, 1)
    whole = TensorBatches((output,), target, None, size=5)
    shares = [next(Share(whole, rank, 2).epoch()) for rank in range(2)]
    summed = Summed(objective, even=True)
    found = sum(summed.weighted(b.inputs[0], b.target, b.weights) for b in shares)
    torch.testing.assert_close(found, objective(output, target))
