"""The one stream of random numbers: forked, seeded, and put back."""

import pytest
import torch

from mlgraph.tensor.stream import forked

CPU = torch.device("cpu")


def test_forked_gives_the_same_numbers_and_puts_the_stream_back():
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with forked(5, CPU):
            drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)


def test_forked_puts_the_stream_back_after_an_exception():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), forked(5, CPU):
        torch.rand(3)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), before)


def test_forked_equals_torchs_own_seed():
    with forked(5, CPU):
        ours = torch.rand(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        assert torch.equal(ours, torch.rand(3))
