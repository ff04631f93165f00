"""How tensors are cut into batches."""

import pytest
import torch

from mlgraph.data.batch import Batch, TensorBatches


def batches(rows=10, size=3, **kwargs):
    x = torch.arange(float(rows)).unsqueeze(1)
    return TensorBatches((x, x * 2), x.squeeze(1), None, size, **kwargs)


@pytest.mark.parametrize(
    ("rows", "size", "options", "expected"),
    [
        (6, 3, {}, [3, 3]),
        (7, 3, {}, [3, 3, 1]),
        (8, 3, {}, [3, 3, 2]),
        (2, 3, {}, [2]),
        (0, 3, {}, []),
        (7, 3, {"drop_last": True}, [3, 3]),
        (6, 3, {"drop_last": True}, [3, 3]),
        (2, 3, {"drop_last": True}, []),
        (7, 3, {"merge_last": True}, [3, 4]),
        (8, 3, {"merge_last": True}, [3, 3, 2]),
        (4, 3, {"merge_last": True}, [4]),
        (1, 3, {"merge_last": True}, [1]),
        (7, 3, {"merge_last": True, "drop_last": True}, [3, 3]),
    ],
)
def test_rows_are_cut_into_batches(rows, size, options, expected):
    made = batches(rows, size, **options)
    assert made.cut(rows) == expected
    assert [len(batch.target) for batch in made.epoch()] == expected


def test_without_an_order_rows_come_as_they_are():
    seen = torch.cat([batch.target for batch in batches().epoch()])
    assert torch.equal(seen, torch.arange(10.0))


def test_an_order_holds_for_inputs_target_and_weights():
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    x = torch.arange(10.0)
    data = TensorBatches((x.unsqueeze(1), x.unsqueeze(1) * 2), x, x + 100, 4)
    found = list(data.epoch(order))
    assert [len(batch.target) for batch in found] == [4, 4, 2]
    assert torch.equal(torch.cat([batch.target for batch in found]), x[order])
    for batch in found:
        first, second = batch.inputs
        assert torch.equal(first.squeeze(1), batch.target)
        assert torch.equal(second.squeeze(1), batch.target * 2)
        assert torch.equal(batch.weights, batch.target + 100)


def test_a_batch_in_the_given_order_is_a_view_of_the_data():
    data = batches()
    (batch, *_) = data.epoch()
    assert batch.inputs[0].data_ptr() == data.inputs[0].data_ptr()


def test_a_batch_without_target_has_none():
    (batch,) = TensorBatches((torch.zeros(2, 1),), None, None, 5).epoch(torch.tensor([1, 0]))
    assert isinstance(batch, Batch)
    assert batch.target is None
    assert batch.weights is None


def test_rows_of_weight_zero_do_not_count():
    data = TensorBatches(
        (torch.arange(4.0).unsqueeze(1),),
        torch.arange(4),
        torch.tensor([0.0, 2.0, 0.0, 1.0]),
        2,
        drop_last=True,
    ).that_count()
    assert data.inputs[0].squeeze(1).tolist() == [1, 3]
    assert data.target.tolist() == [1, 3]
    assert data.weights.tolist() == [2, 1]
    assert data.drop_last


def test_all_rows_count_without_weights_or_with_positive_ones():
    plain = batches()
    weighed = TensorBatches((torch.zeros(2, 1),), None, torch.ones(2), 2)
    assert plain.that_count() is plain
    assert weighed.that_count() is weighed


# A token has tests of its own in test_token.py; here is what both kinds have in common.


def test_batches_seen_already_are_left_out():
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    for given in (None, order):
        whole = [batch.target.tolist() for batch in batches().epoch(given)]
        assert [batch.target.tolist() for batch in batches().epoch(given, first=2)] == whole[2:]


def test_a_fingerprint_depends_on_the_numbers_only():
    assert batches().fingerprint == batches(size=2).fingerprint
    assert batches().fingerprint != batches(rows=11).fingerprint
