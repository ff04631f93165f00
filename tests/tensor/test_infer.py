from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mlgraph.errors import ConfigError, ShapeError
from mlgraph.tensor.infer import infer_outputs
from mlgraph.tensor.spec import TensorSpec

BATCH = TensorSpec(("batch", 4))


class Fn(nn.Module):
    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.fn(*tensors)


def shapes(fn: Callable[..., Any], *inputs: tuple[int | str, ...], **options: Any) -> list[Any]:
    specs = [TensorSpec(shape) for shape in inputs]
    found = infer_outputs(lambda: Fn(fn), specs, name="node", **options)
    return [spec.shape for spec in found]


def refusal(build: Callable[[], nn.Module], *inputs: TensorSpec, **options: Any) -> ShapeError:
    with pytest.raises(ShapeError) as caught:
        infer_outputs(build, inputs, name="Linear", **options)
    return caught.value


# What is known of the outputs


def test_a_transposition_of_two_unknown_sizes_is_recognised() -> None:
    assert shapes(lambda x: x.mT, ("batch", "time", "width")) == [("batch", "width", "time")]


def test_a_long_slice_is_not_mistaken_for_its_bound() -> None:
    assert shapes(lambda x: x[:, :32], ("batch", "time", 6)) == [("batch", "node_1", 6)]
    assert shapes(lambda x: x[:, :2], ("batch", "time", 3)) == [("batch", 2, 3)]
    assert shapes(lambda x: x[:32], ("batch", 3)) == [("node_0", 3)]


def test_squeeze_removes_no_unknown_size() -> None:
    assert shapes(lambda x: x.squeeze(), ("batch", 1, "time", 6)) == [("batch", "time", 6)]


def test_a_convolution_makes_new_sizes_and_a_pooled_image_is_known() -> None:
    image = TensorSpec(("batch", 3, "height", "width"))
    found = infer_outputs(lambda: nn.Conv2d(3, 8, 3), [image], name="conv")
    assert found == (TensorSpec(("batch", 8, "conv_2", "conv_3")),)
    pooled = infer_outputs(lambda: nn.AdaptiveAvgPool2d(1), found, name="pool")
    assert pooled == (TensorSpec(("batch", 8, 1, 1)),)


def test_equal_new_sizes_have_one_name() -> None:
    assert shapes(lambda x: x[:, 1:] @ x[:, 1:].mT, ("batch", "time", 4)) == [
        ("batch", "node_1", "node_1")
    ]


def test_new_sizes_of_several_outputs_are_named_after_their_ports() -> None:
    def halves(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x[:, 1:], x[:, 2:]

    assert shapes(halves, ("batch", "time")) == [("batch", "node_0_1"), ("batch", "node_1_1")]
    assert shapes(halves, ("batch", "time"), outputs=["left", "right"]) == [
        ("batch", "node_left_1"),
        ("batch", "node_right_1"),
    ]


def test_a_new_name_is_never_that_of_an_input() -> None:
    assert shapes(lambda x: x[:, 1:], ("batch", "node_1")) == [("batch", "node_1_")]


def test_a_batch_that_changes_is_a_new_size() -> None:
    assert shapes(lambda x: torch.cat([x, x]), ("batch", 4)) == [("node_0", 4)]


def test_dtypes_come_from_the_outputs() -> None:
    found = infer_outputs(lambda: Fn(lambda x: (x > 0, x.argmax(1))), [BATCH], name="node")
    assert [spec.dtype for spec in found] == [torch.bool, torch.int64]


def test_an_embedding_takes_codes() -> None:
    codes = TensorSpec(("batch", 3), torch.int64, cardinalities=(2, 5, 3))
    (found,) = infer_outputs(lambda: nn.Embedding(10, 6), [codes], name="embed")
    assert found == TensorSpec(("batch", 3, 6))


def test_sizes_that_fit_no_small_or_prime_stand_in_are_dropped() -> None:
    image = TensorSpec(("batch", 3, "height", "width"))
    (kernel,) = infer_outputs(lambda: nn.Conv2d(3, 8, 29), [image], name="conv")
    assert kernel.shape == ("batch", 8, "conv_2", "conv_3")
    for patch in (14, 16, 30):

        def patches(x: torch.Tensor, patch: int = patch) -> torch.Tensor:
            n, c, h, w = x.shape
            x = x.reshape(n, c, h // patch, patch, w // patch, patch)
            return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

        assert shapes(patches, ("batch", 3, "height", "width")) == [
            ("batch", "node_1", 3 * patch * patch)
        ]


def test_inference_runs_in_eval_mode_so_that_batch_norm_takes_a_single_row() -> None:
    (found,) = infer_outputs(lambda: nn.BatchNorm1d(4), [TensorSpec((1, 4))], name="norm")
    assert found.shape == (1, 4)


# Several inputs


def test_a_sum_complains_only_about_known_sizes() -> None:
    assert shapes(torch.add, ("batch", "a", 4), ("batch", "b", 4)) == [("batch", "node_1", 4)]
    assert shapes(torch.add, ("batch", "a", 4), ("batch", 7, "b")) == [("batch", 7, 4)]
    with pytest.raises(ShapeError):
        shapes(torch.add, ("batch", "a", 4), ("batch", "a", 5))


def test_joined_tensors_need_not_be_equally_long() -> None:
    def join(*tensors: torch.Tensor) -> torch.Tensor:
        return torch.cat(tensors, 1)

    assert shapes(join, ("batch", 4, "a"), ("batch", 4, 6)) == [("batch", 8, 6)]
    assert shapes(join, ("batch", "a", 3), ("batch", 4, 3)) == [("batch", "node_1", 3)]


def test_a_matrix_product_keeps_the_outer_names() -> None:
    assert shapes(torch.matmul, ("b", "i", "k"), ("b", "k", "j")) == [("b", "i", "j")]


# Modules that fail on the meta device


def test_a_module_that_reads_a_value_when_built_is_understood() -> None:
    class Rates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rates = [rate.item() for rate in torch.linspace(0, 0.5, 3)]
            self.parts = nn.Sequential(nn.Conv1d(4, 5, 3), *(nn.Dropout(rate) for rate in rates))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.parts(x)

    (found,) = infer_outputs(Rates, [TensorSpec(("batch", 4, "time"))], name="rates")
    assert found.shape == ("batch", 5, "rates_2")


def test_positions_made_in_forward_are_understood() -> None:
    def positions(x: torch.Tensor) -> torch.Tensor:
        return x + torch.arange(x.size(1), device="cpu").unsqueeze(-1)

    assert shapes(positions, ("batch", "time", 3)) == [("batch", "time", 3)]


def test_a_constant_made_outside_is_understood() -> None:
    weights = torch.ones(4, 3)
    assert shapes(lambda x: x @ weights, ("batch", "time", 4)) == [("batch", "time", 3)]


@pytest.mark.parametrize("shape", [("batch",), (50,)])
def test_a_size_that_depends_on_values_is_unknown(shape: tuple[int | str, ...]) -> None:
    assert shapes(lambda x: x[x > 0], shape) == [("node_0",)]
    assert shapes(lambda x: x.nonzero(), shape) == [("node_0", 1)]


# Refusals


def test_a_refusal_names_node_and_specs_and_speaks_of_names() -> None:
    error = refusal(lambda: nn.Linear(5, 10), TensorSpec(("batch", "time", 8)))
    assert error.what == "Linear cannot accept (batch, time, 8) float32."
    assert "(batch*time x 8 and 5 x 10)" in error.why
    assert "override `spec` in the layer" in error.mend


def test_the_message_and_the_exception_of_the_module_survive() -> None:
    def boom(x: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("boom")

    error = refusal(lambda: Fn(boom), BATCH)
    assert "boom" in str(error)
    assert "override `spec` in the layer" in error.mend
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_a_module_that_cannot_be_built_is_told_apart() -> None:
    def boom() -> nn.Module:
        raise ValueError("boom")

    error = refusal(boom, BATCH)
    assert error.what == "Linear cannot be built for (batch, 4) float32."
    assert error.why == "boom"


def test_an_unknown_size_that_build_needs_is_told_with_its_mend() -> None:
    spec = TensorSpec(("batch", "time"))
    error = refusal(lambda: nn.Linear(spec.size(-1), 3), spec)
    assert error.what == "Linear cannot accept (batch, time) float32."
    assert error.why == "the size of dimension -1, 'time', is needed now and is not known"
    assert error.mend == "give it a fixed size, or pool or flatten that dimension first"


def test_other_errors_of_build_pass_unchanged() -> None:
    mine = ConfigError("No such activation.")

    def build() -> nn.Module:
        raise mine

    with pytest.raises(ConfigError) as caught:
        infer_outputs(build, [BATCH], name="node")
    assert caught.value is mine


def test_a_kernel_larger_than_a_known_image_is_refused() -> None:
    error = refusal(lambda: nn.Conv2d(3, 8, 9), TensorSpec(("batch", 3, 5, 5)))
    assert "5 x 5" in error.why and "9 x 9" in error.why


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.bool])
def test_a_linear_map_of_another_dtype_is_refused(dtype: torch.dtype) -> None:
    error = refusal(lambda: nn.Linear(4, 3), BATCH.with_dtype(dtype))
    assert "dtype" in error.why


@pytest.mark.parametrize("output", [None, (), 3, "text", {}, {"size": 3}])
def test_an_output_that_is_no_tensor_is_refused_by_type(output: object) -> None:
    error = refusal(lambda: Fn(lambda x: output), BATCH)
    kind = "int" if output == {"size": 3} else type(output).__name__
    assert f"is of type {kind}" in error.what
    assert ("and empty" in error.what) is (output in ((), {}))
    assert error.where == "Linear"


def test_nested_outputs_are_refused_with_their_place() -> None:
    error = refusal(lambda: nn.LSTM(4, 3), TensorSpec(("batch", "time", 4)))
    assert "output 1 is of type tuple" in error.what
    assert "next to each other" in error.mend


def test_a_wrong_number_of_outputs_is_refused() -> None:
    error = refusal(lambda: nn.Identity(), BATCH, outputs=["a", "b"])
    assert error.what == "Linear returns 1 tensor, not 2."
    assert "'a', 'b'" in error.why


def test_a_rank_that_depends_on_an_unknown_size_is_refused() -> None:
    def fickle(x: torch.Tensor) -> torch.Tensor:
        return x if x.size(0) > 50 else x[0]

    error = refusal(lambda: Fn(fickle), BATCH)
    assert "differ in number, rank or dtype" in error.what
    assert "batch=" in error.why


# What it costs


def test_the_random_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    infer_outputs(lambda: nn.Linear(4, 3), [BATCH], name="node")
    refusal(lambda: nn.Linear(5, 3), BATCH)
    assert torch.equal(before, torch.get_rng_state())


def test_a_chain_builds_each_of_its_layers_once() -> None:
    spec, built = TensorSpec(("batch", 16)), []

    def layer(n: int, m: int) -> nn.Module:
        built.append(m)
        return nn.Linear(n, m)

    for width in range(16, 216):
        make = functools.partial(layer, spec.size(-1), width)
        (spec,) = infer_outputs(make, [spec], name="node")
    assert spec.shape == ("batch", 215) and built == list(range(16, 216))


def test_a_layer_of_40_gb_allocates_nothing() -> None:
    wide = TensorSpec(("batch", 200_000))
    (found,) = infer_outputs(lambda: nn.Linear(200_000, 50_000), [wide], name="wide")
    assert found.shape == ("batch", 50_000)


def test_equal_keys_are_built_once_whatever_the_name() -> None:
    built = []

    def build() -> nn.Module:
        built.append(1)
        return nn.Conv1d(4, 4, 3)

    spec = TensorSpec(("batch", 4, "time"))
    key = object()
    (one,) = infer_outputs(build, [spec], name="one", key=key)
    (two,) = infer_outputs(build, [spec], name="two", key=key)
    assert (one.shape[2], two.shape[2]) == ("one_2", "two_2")
    assert len(built) == 1
    infer_outputs(build, [TensorSpec((1, 4, 9))], name="one", key=key)
    infer_outputs(build, [spec], name="one", key=object())
    assert len(built) == 3


def test_a_refusal_is_not_remembered() -> None:
    key = object()
    refusal(lambda: nn.Linear(5, 3), BATCH, key=key)
    assert infer_outputs(lambda: nn.Linear(4, 3), [BATCH], name="node", key=key)


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlgraph.tensor import infer

    monkeypatch.setattr(infer, "_CACHE", infer._Cache(2))
    built = []

    def build() -> nn.Module:
        built.append(1)
        return nn.Identity()

    for key in ("a", "b", "a", "c", "a", "b"):
        infer_outputs(build, [BATCH], name="node", key=key)
    assert len(built) == 4
