from __future__ import annotations

import multiprocessing

import pytest
import torch

from mlgraph import ConfigError, StateError
from mlgraph.train.parallel import group as module
from mlgraph.train.parallel.group import Group, Lost, joined


def test_tensors_of_all_dtypes_and_shapes_are_summed_in_place(ranks):
    def sums(group: Group):
        n = float(group.rank + 1)
        tensors = [
            torch.full((2, 3), n).t(),
            torch.tensor(n, dtype=torch.float64),
            torch.tensor([group.rank]),
            torch.tensor([complex(n, -n)]),
            torch.empty(0),
        ]
        group.add(tensors)
        return tensors

    for matrix, number, whole, complex_, empty in ranks(sums, size=3):
        assert torch.equal(matrix, torch.full((3, 2), 6.0))
        assert number == 6.0 and whole == 3 and complex_ == 6 - 6j
        assert empty.shape == (0,)


def test_the_others_get_the_tensors_of_the_first_bit_for_bit(ranks):
    first = [
        torch.tensor([-0.0, float("nan"), float("inf"), 1e-45]),
        torch.tensor(True),
        torch.arange(6, dtype=torch.int16).reshape(2, 3).t(),
    ]

    def followed(group: Group):
        tensors = [x.clone() if group.is_first else torch.ones_like(x) for x in first]
        group.follow(tensors)
        return tensors

    for tensors in ranks(followed):
        for mine, other in zip(tensors, first, strict=True):
            bits = [x.contiguous().reshape(-1).view(torch.uint8) for x in (mine, other)]
            assert torch.equal(*bits)


def test_each_says_something_of_its_own(ranks):
    said = [{"rank": 0, "text": "é"}, {"rank": 1, "text": "a longer one"}, None]
    assert ranks(lambda group: group.each(said[group.rank]), size=3) == [said] * 3


def test_a_failure_reaches_those_who_wait_with_its_message(ranks):
    def failing(group: Group):
        if group.rank == 1:
            raise ValueError("no such column")
        group.add([torch.zeros(1)])

    waiting, failed = ranks(failing)
    assert isinstance(waiting, Lost) and isinstance(waiting, StateError)
    assert "Process 1 of 2 failed" in str(waiting)
    assert "ValueError: no such column" in str(waiting)
    assert isinstance(failed, ValueError)


def test_the_first_failure_is_the_one_that_is_told(ranks):
    def failing(group: Group):
        if group.rank == 1:
            raise ValueError("the cause")
        group.add([torch.zeros(1)])

    first, _, third = ranks(failing, size=3)
    assert "the cause" in str(first) and "the cause" in str(third)


def test_one_that_is_gone_without_a_word_is_told_as_such(ranks, monkeypatch):
    monkeypatch.setattr(module, "GRACE", module.timedelta(milliseconds=10))

    def leaving(group: Group):
        if group.rank == 0:
            group.add([torch.zeros(1)])

    waiting, _ = ranks(leaving)
    assert isinstance(waiting, Lost)
    assert "is gone, or does not answer" in str(waiting)


def launched(patch: pytest.MonkeyPatch, size: int) -> None:
    values = {"RANK": "0", "WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    for name, value in values.items():
        patch.setenv(name, value)


def test_a_process_alone_joins_nobody(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with joined(torch.device("cpu")) as group:
        assert group is None


def test_what_a_process_starts_in_turn_joins_nobody(monkeypatch):
    launched(monkeypatch, size=2)
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    with joined(torch.device("cpu")) as group:
        assert group is None


def test_a_device_without_connections_is_refused(monkeypatch):
    monkeypatch.setattr(module, "_found", lambda: (module.dist.HashStore(), 0, 2))
    with pytest.raises(ConfigError, match="cannot train together on 'mps'"):
        with joined(torch.device("mps")):
            pass
