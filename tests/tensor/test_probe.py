from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from mlgraph.errors import ConfigError, ShapeError
from mlgraph.tensor.infer import infer_outputs
from mlgraph.tensor.probe import Values, probe
from mlgraph.tensor.spec import TensorSpec

BATCH = TensorSpec(("batch", 4))


class Spy(nn.Module):
    """Notes what it is run on."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[tuple[str, bool, bool]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs.append((x.device.type, self.training, torch.is_grad_enabled()))
        return x


def test_a_module_runs_on_meta_in_eval_mode_without_gradients_and_is_put_back() -> None:
    spy = Spy()
    assert probe(lambda: spy, [BATCH]).enough
    assert spy.runs == [("meta", False, False)] * 2
    assert spy.training


def test_all_modules_are_built_once_on_meta() -> None:
    built = []

    def build() -> nn.Module:
        built.append(torch.empty(1).device.type)
        return nn.Identity()

    probe(build, [TensorSpec(("batch", "time"))])
    assert built == ["meta"]


def test_a_built_module_with_real_weights_is_understood_and_not_changed() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    found = probe(lambda: module, [BATCH])
    assert [seen.shapes for seen in found.seen] == [((64, 3),), ((7, 3),)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert module.training and next(module.parameters()).device.type == "cpu"


@pytest.mark.parametrize("rung", ["meta", "fake", "real"])
def test_the_random_stream_is_put_back(rung: str) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.rand(3, device="cpu")
            if rung != "meta":
                assert torch.empty(1).device.type != "meta"
            if rung == "real":
                torch.rand(1).clamp(2).item()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    before = torch.get_rng_state()
    assert probe(Noisy, [BATCH]).enough
    assert torch.equal(before, torch.get_rng_state())


def test_warnings_do_not_leak() -> None:
    class Loud(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            warnings.warn("loud", UserWarning, stacklevel=1)
            return x

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert probe(Loud, [BATCH]).enough
    assert caught == []


def test_refusals_of_fake_tensors_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert not probe(lambda: nn.Linear(5, 2), [BATCH]).enough
    assert caplog.records == []


def test_a_huge_module_that_refuses_is_not_built_for_real() -> None:
    devices = []

    def build() -> nn.Module:
        layer = nn.Linear(200_000, 50_000)
        devices.append(layer.weight.device.type)
        return layer

    assert not probe(build, [BATCH]).enough
    assert len(devices) == 2


def test_what_fake_tensors_cannot_build_does_not_hide_why_a_huge_module_refused() -> None:
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(200_000, 50_000))
            if not self.weight.is_meta:
                torch.rand(1).item()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("picky")

    found = probe(Picky, [BATCH])
    assert not found.enough
    assert str(found.refused[-1].error) == "picky"


def test_what_is_built_must_be_a_module() -> None:
    with pytest.raises(ConfigError, match="not function"):
        probe(lambda: lambda x: x, [BATCH])


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("batch_first", [True, False])
def test_recurrent_layers_give_all_their_outputs(layer: type, batch_first: bool) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            extra = {"proj_size": 2} if layer is nn.LSTM else {}
            self.rnn = layer(8, 3, 2, bidirectional=True, batch_first=batch_first, **extra)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            output, state = self.rnn(x)
            return (output, *(state if isinstance(state, tuple) else (state,)))

    found = probe(Flat, [TensorSpec(("one", "two", 8))])
    module = Flat().eval()
    for seen in found.seen:
        with torch.no_grad():
            real = module(torch.zeros(seen.filling["one"], seen.filling["two"], 8))
        assert seen.shapes == tuple(tuple(tensor.shape) for tensor in real)


def test_codes_stay_below_their_cardinalities() -> None:
    spec = TensorSpec((1000, 2), torch.int64, cardinalities=(7, 1))
    codes = Values(3)(spec, (1000, 2))
    assert set(codes[:, 0].tolist()) == set(range(7))
    assert set(codes[:, 1].tolist()) == {0}


@pytest.mark.parametrize("dtype", [torch.float16, torch.complex64, torch.bool, torch.uint8])
def test_values_have_the_dtype_of_the_spec(dtype: torch.dtype) -> None:
    assert Values(0)(TensorSpec((3,), dtype), (3,)).dtype == dtype


@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: [x], lambda x: {"out": x}])
def test_a_container_of_one_tensor_is_refused(wrap) -> None:
    class Wrapping(nn.Module):
        def forward(self, x: torch.Tensor) -> object:
            return wrap(x)

    with pytest.raises(ShapeError, match="of one tensor") as caught:
        infer_outputs(Wrapping, [BATCH], name="wrapping")
    assert "return the tensor itself" in str(caught.value)
