"""Inferred specs of many kinds of layers against the real modules, for all unknown sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mlgraph.errors import ShapeError
from mlgraph.tensor.infer import infer_outputs
from mlgraph.tensor.oracle import check_spec
from mlgraph.tensor.spec import TensorSpec

Specs = tuple[TensorSpec, ...]
BuildFor = Callable[[Specs], nn.Module]


class Fn(nn.Module):
    """A function of tensors, with modules it may use, as a module."""

    def __init__(self, fn: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.parts = nn.ModuleDict(parts)

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.fn(*tensors, **self.parts)


def fn(f: Callable[..., Any]) -> BuildFor:
    return lambda specs: Fn(f)


def first(make: Callable[[int], nn.Module], dim: int = 1) -> BuildFor:
    """A layer that needs the size of one dimension of its input and returns one or more tensors."""
    return lambda specs: Fn(lambda x, part: _first(part(x)), part=make(specs[0].size(dim)))


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


def _attention(specs: Specs) -> nn.Module:
    width = specs[0].size(-1)
    return Fn(lambda x, a: a(x, x, x), a=nn.MultiheadAttention(width, 2, batch_first=True))


def _cross_attention(specs: Specs) -> nn.Module:
    query, value = specs[0].size(-1), specs[1].size(-1)
    layer = nn.MultiheadAttention(query, 2, kdim=value, vdim=value, batch_first=True)
    return Fn(lambda q, v, a: a(q, v, v), a=layer)


def _lstm(specs: Specs) -> nn.Module:
    layer = nn.LSTM(specs[0].size(-1), 5, num_layers=2, bidirectional=True, batch_first=True)

    def flat(x: torch.Tensor, lstm: nn.Module) -> tuple[torch.Tensor, ...]:
        output, (hidden, cell) = lstm(x)
        return output, hidden, cell

    return Fn(flat, lstm=layer)


def _patches(x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


F32, I64, BOOL = torch.float32, torch.int64, torch.bool

LAYERS: dict[str, tuple[BuildFor, list[Any], int]] = {
    "linear": (first(lambda n: nn.Linear(n, 3), -1), [(5, 4, 6)], 4),
    "bilinear": (
        lambda s: nn.Bilinear(s[0].size(-1), s[1].size(-1), 3),
        [(4, 6), (4, 5)],
        4,
    ),
    "conv1d": (first(lambda n: nn.Conv1d(n, 4, 3)), [(2, 6, 9)], 4),
    "conv2d": (first(lambda n: nn.Conv2d(n, 4, 3, stride=2, padding=1)), [(2, 3, 9, 8)], 8),
    "conv2d same": (first(lambda n: nn.Conv2d(n, 4, 3, padding="same")), [(2, 3, 9, 8)], 8),
    "conv2d groups": (first(lambda n: nn.Conv2d(n, 2 * n, (3, 1), groups=n)), [(2, 3, 9, 8)], 8),
    "conv3d": (first(lambda n: nn.Conv3d(n, 2, 2, dilation=2)), [(2, 3, 5, 6, 7)], 16),
    "conv_transpose1d": (first(lambda n: nn.ConvTranspose1d(n, 4, 3, stride=2)), [(2, 6, 9)], 4),
    "conv_transpose2d": (
        first(lambda n: nn.ConvTranspose2d(n, 4, 3, stride=2, output_padding=1)),
        [(2, 3, 5, 6)],
        8,
    ),
    "max_pool1d": (lambda s: nn.MaxPool1d(3, ceil_mode=True, padding=1), [(2, 3, 10)], 8),
    "max_pool2d": (lambda s: nn.MaxPool2d((2, 3)), [(2, 3, 10, 9)], 16),
    "max_pool2d indices": (
        lambda s: nn.MaxPool2d(2, return_indices=True),
        [(2, 3, 10, 9)],
        16,
    ),
    "avg_pool3d": (lambda s: nn.AvgPool3d(2), [(1, 2, 4, 5, 6)], 32),
    "lp_pool1d": (lambda s: nn.LPPool1d(2, 3), [(2, 3, 10)], 8),
    "adaptive_avg_pool2d": (lambda s: nn.AdaptiveAvgPool2d((2, None)), [(2, 3, 10, 9)], 16),
    "adaptive_max_pool1d": (lambda s: nn.AdaptiveMaxPool1d(4), [(2, 3, 10)], 8),
    "batch_norm1d": (first(nn.BatchNorm1d), [(4, 6)], 2),
    "batch_norm2d": (first(nn.BatchNorm2d), [(4, 3, 5, 6)], 8),
    "group_norm": (first(lambda n: nn.GroupNorm(2, n)), [(4, 6, 5)], 4),
    "instance_norm": (first(lambda n: nn.InstanceNorm1d(n, affine=True)), [(4, 6, 5)], 4),
    "layer_norm": (lambda s: nn.LayerNorm(s[0].last(2)), [(4, 6, 5)], 2),
    "rms_norm": (lambda s: nn.RMSNorm(s[0].last(1)), [(4, 6, 5)], 4),
    "local_response_norm": (lambda s: nn.LocalResponseNorm(2), [(4, 6, 5)], 8),
    "prelu": (first(nn.PReLU), [(4, 6)], 2),
    "glu": (lambda s: nn.GLU(1), [(4, 6, 5)], 8),
    "softmax": (lambda s: nn.Softmax(-1), [(4, 6, 5)], 8),
    "dropout": (lambda s: nn.Dropout(0.5), [(4, 6)], 4),
    "attention": (_attention, [(3, 5, 8)], 4),
    "cross attention": (_cross_attention, [(3, 5, 8), (3, 4, 6)], 16),
    "encoder layer": (
        first(lambda n: nn.TransformerEncoderLayer(n, 2, 7, batch_first=True), -1),
        [(3, 5, 8)],
        4,
    ),
    "lstm": (_lstm, [(3, 5, 8)], 4),
    "gru": (first(lambda n: nn.GRU(n, 3), -1), [(5, 3, 8)], 4),
    "rnn": (first(lambda n: nn.RNN(n, 3, nonlinearity="relu"), -1), [(5, 3, 8)], 4),
    "embedding": (lambda s: nn.Embedding(10, 3), [((4, 5), I64)], 4),
    "embedding_bag": (lambda s: nn.EmbeddingBag(10, 3), [((4, 5), I64)], 4),
    "one_hot": (
        fn(lambda x: nn.functional.one_hot(x, 6).to(torch.float32)),
        [((4, 5), I64)],
        4,
    ),
    "flatten": (lambda s: nn.Flatten(), [(2, 4, 6, 8)], 16),
    "flatten end -2": (lambda s: nn.Flatten(end_dim=-2), [(2, 4, 6, 8)], 16),
    "unflatten": (lambda s: nn.Unflatten(1, (2, -1)), [(2, 4, 6)], 8),
    "squeeze known": (
        lambda s: Fn(lambda x: x.squeeze(1) if s[0].dim(1) == 1 else x),
        [(3, 1, 5)],
        8,
    ),
    "unsqueeze": (fn(lambda x: x.unsqueeze(-1)), [(3, 4)], 4),
    "transpose": (fn(lambda x: x.transpose(1, 2)), [(3, 4, 5)], 8),
    "slice short": (fn(lambda x: x[:, :2]), [(4, 7, 3)], 8),
    "slice long": (fn(lambda x: x[:, :32]), [(4, 7, 3)], 8),
    "slice strided": (fn(lambda x: x[:, 1::3]), [(4, 8, 3)], 8),
    "reshape": (fn(lambda x: x.reshape(-1, 2, 2)), [(3, 4)], 4),
    "split": (fn(lambda x: x.chunk(2, -1)), [(3, 5)], 4),
    "mean": (fn(lambda x: x.mean((-1, -2), keepdim=True)), [(3, 4, 5)], 8),
    "argmax": (fn(lambda x: x.argmax(-1)), [(3, 4, 5)], 8),
    "compare": (fn(lambda x: x > 0), [(3, 4)], 4),
    "where": (fn(torch.where), [((3, 4), BOOL), (3, 4), (3, 4)], 64),
    "sum of two": (fn(torch.add), [(3, 4), (3, 4)], 16),
    "sum broadcast": (fn(torch.add), [(3, 1, 5), (3, 4, 5)], 64),
    "cat last": (fn(lambda *x: torch.cat(x, -1)), [(3, 4), (3, 5), (3, 1)], 64),
    "cat first": (fn(lambda *x: torch.cat(x, 0)), [(3, 4), (2, 4)], 16),
    "stack": (fn(lambda *x: torch.stack(x, 1)), [(3, 4), (3, 4)], 16),
    "matmul": (fn(torch.matmul), [(3, 4), (4, 5)], 4),
    "outer": (fn(lambda x: x.unsqueeze(-1) * x.unsqueeze(-2)), [(3, 4)], 4),
    "pixel shuffle": (lambda s: nn.PixelShuffle(2), [(2, 8, 3, 4)], 16),
    "pixel unshuffle": (lambda s: nn.PixelUnshuffle(2), [(2, 3, 4, 6)], 16),
    "upsample": (lambda s: nn.Upsample(scale_factor=2.0), [(2, 3, 4, 5)], 16),
    "upsample size": (lambda s: nn.Upsample(size=(7, 8)), [(2, 3, 4, 5)], 16),
    "pad": (lambda s: nn.ZeroPad2d((1, 2, 0, 3)), [(2, 3, 4, 5)], 16),
    "reflection pad": (lambda s: nn.ReflectionPad1d(3), [(2, 3, 5)], 8),
    "unfold": (lambda s: nn.Unfold(2), [(2, 3, 4, 5)], 16),
    "patches": (fn(_patches), [(2, 3, 8, 12)], 16),
    "spectrum": (
        fn(lambda x: torch.stft(x, 8, window=torch.ones(8), return_complex=True).abs()),
        [(2, 40)],
        4,
    ),
    "cumsum": (fn(lambda x: x.cumsum(0)), [((3, 4), I64)], 4),
    "two outputs": (fn(lambda x: {"max": x.amax(1), "at": x.argmax(1)}), [(3, 4, 5)], 8),
    "attention mask": (
        fn(lambda x: torch.ones(x.size(1), x.size(1)).tril().expand(x.size(0), -1, -1)),
        [(3, 4, 5)],
        8,
    ),
    "positions": (fn(lambda x: x + torch.arange(x.size(-1))), [(3, 4)], 4),
    "value dependent": (fn(lambda x: x[x > 0][:1].expand(len(x))), [(9,)], 2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_inferred_is_true_of_the_real_module(name: str) -> None:
    build_for, shapes, accepted = LAYERS[name]

    def infer(specs: Specs) -> Specs:
        return infer_outputs(lambda: build_for(specs), specs, name="node")

    specs = [
        TensorSpec(*shape) if isinstance(shape[0], tuple) else TensorSpec(shape) for shape in shapes
    ]
    assert check_spec(build_for, infer, specs) == accepted


def test_a_wrong_size_is_found_and_both_results_are_shown() -> None:
    with pytest.raises(AssertionError) as caught:
        check_spec(fn(lambda x: x[:, 1:]), lambda specs: specs, [TensorSpec((3, 4))])
    assert "(3, 4) float32" in str(caught.value)
    assert "(3, 3) float32" in str(caught.value)


def test_a_wrong_name_is_found() -> None:
    def swapped(specs: Specs) -> Specs:
        return (specs[0].with_shape(reversed(specs[0].shape)),)

    square = TensorSpec((3, 3))
    assert check_spec(fn(lambda x: x), swapped, [square]) == 4
    with pytest.raises(AssertionError):
        check_spec(fn(lambda x: x), swapped, [TensorSpec((3, 4))])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda specs: (specs[0].with_dtype(torch.int64),),
        lambda specs: (specs[0].with_shape(specs[0].shape[:1]),),
        lambda specs: (*specs, *specs),
        lambda specs: (specs[0].with_shape(("node_0", *specs[0].shape[1:])),),
    ],
    ids=["dtype", "rank", "number", "unknown though all is known"],
)
def test_a_wrong_form_is_found(wrong: Callable[[Specs], Specs]) -> None:
    with pytest.raises(AssertionError):
        check_spec(fn(lambda x: x), wrong, [TensorSpec((3, 4))])


def test_refusing_concrete_inputs_is_an_error_and_refusing_patterns_is_not() -> None:
    def fussy(specs: Specs) -> Specs:
        return tuple(spec.with_shape(spec.sizes()) for spec in specs)

    def never(specs: Specs) -> Specs:
        raise ShapeError("No.")

    assert check_spec(fn(lambda x: x), fussy, [TensorSpec((3, 4))]) == 1
    with pytest.raises(ShapeError):
        check_spec(fn(lambda x: x), never, [TensorSpec((3, 4))])


def test_many_dimensions_are_sampled() -> None:
    specs = [TensorSpec((2,) * 6), TensorSpec((2,) * 6)]
    assert check_spec(fn(lambda x, y: x), lambda s: s[:1], specs) <= 257
