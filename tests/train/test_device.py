"""Which device is chosen."""

import pytest
import torch

from mlgraph import ConfigError
from mlgraph.train.device import resolve_device
from mlgraph.train.precision import steps_of


@pytest.mark.parametrize(
    ("there", "chosen"),
    [((), "cpu"), (("mps",), "mps"), (("cuda",), "cuda"), (("cuda", "mps"), "cuda")],
)
def test_auto_is_the_first_of_cuda_mps_and_cpu(there, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
    assert resolve_device("auto") == torch.device(chosen)


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ConfigError, match="'cuda:1' is not available") as caught:
        resolve_device("cuda:1")
    assert "there are 1 of cuda" in caught.value.why


def test_losses_are_scaled_on_the_device_of_the_network():
    assert steps_of("fp16", torch.device("cpu")).scaler._device == "cpu"
