"""Of several CUDA devices, each process has its own."""

from __future__ import annotations

import pytest

from mlgraph import ConfigError
from mlgraph.train import device as module
from mlgraph.train.device import resolve_device


@pytest.fixture
def two_cuda_devices(monkeypatch):
    monkeypatch.setattr(module, "_available", lambda: ("cuda", "cpu"))
    monkeypatch.setattr(module, "_count", lambda kind: 2)


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_launched_process_has_the_device_of_its_number(name, two_cuda_devices, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert str(resolve_device(name)) == "cuda:1"
    assert str(resolve_device("cuda:0")) == "cuda:0"
    assert str(resolve_device("cpu")) == "cpu"
    monkeypatch.delenv("LOCAL_RANK")
    assert str(resolve_device(name)) == "cuda"


def test_more_processes_than_devices_are_refused(two_cuda_devices, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="'cuda:2' is not available"):
        resolve_device("auto")


def test_the_only_device_that_is_shown_is_the_one(two_cuda_devices, monkeypatch):
    monkeypatch.setattr(module, "_count", lambda kind: 1)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert str(resolve_device("cuda")) == "cuda"
