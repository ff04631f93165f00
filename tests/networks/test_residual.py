"""A residual network with batch norm (He et al., 2016): three stages of two blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch import nn as tnn
from torch.nn import functional

from mlgraph import Graph, nn
from mlgraph.data.taskspec import TaskSpec
from mlgraph.tensor.spec import TensorSpec


def convolved(channels: int, kernel_size: int = 3, stride: int = 1) -> Graph:
    padding = kernel_size // 2
    convolution = nn("conv2d", channels, kernel_size, stride, padding, bias=False)
    return convolution >> nn("batch_norm2d")


def stage(channels: int, stride: int) -> Graph:
    """A block that changes the size, which takes a projection, and one that does not."""
    first = convolved(channels, stride=stride) >> nn("relu") >> convolved(channels)
    second = convolved(channels) >> nn("relu") >> convolved(channels)
    projection = convolved(channels, kernel_size=1, stride=stride)
    changing = nn("skip", first, shortcut=projection) >> nn("relu")
    return changing >> nn("skip", second) >> nn("relu")


TOWER = (
    convolved(8) >> nn("relu")
    >> stage(8, stride=1) >> stage(16, stride=2) >> stage(32, stride=2)
    >> nn("adaptive_avg_pool2d", 1) >> nn("flatten") >> nn("head")
)  # fmt: skip

DIGITS = TaskSpec("classification", tuple(range(10)))
ANY_SIZE = ("batch", 1, "height", "width")
SKIPS = ("skip", "skip_2", "skip_3", "skip_4", "skip_5", "skip_6")
PARTS = {
    "conv1.": "conv2d.",
    "norm1.": "batch_norm2d.",
    "conv2.": "conv2d_2.",
    "norm2.": "batch_norm2d_2.",
    "shortcut.0.": "shortcut_conv2d.",
    "shortcut.1.": "shortcut_batch_norm2d.",
}
RENAME = {
    "stem.0.": "conv2d.",
    "stem.1.": "batch_norm2d.",
    **{
        f"blocks.{place}.{old}": f"{skip}.{new}"
        for place, skip in enumerate(SKIPS)
        for old, new in PARTS.items()
    },
}


class Block(tnn.Module):
    def __init__(self, before: int, channels: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = tnn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
        self.norm1 = tnn.BatchNorm2d(channels)
        self.conv2 = tnn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = tnn.BatchNorm2d(channels)
        self.shortcut: tnn.Module = tnn.Identity()
        if project:
            convolution = tnn.Conv2d(before, channels, 1, stride, bias=False)
            self.shortcut = tnn.Sequential(convolution, tnn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        inside = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.shortcut(x) + self.norm2(self.conv2(inside)))


class Tower(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = tnn.Sequential(tnn.Conv2d(1, 8, 3, padding=1, bias=False), tnn.BatchNorm2d(8))
        blocks, before = [], 8
        for channels, stride in ((8, 1), (16, 2), (32, 2)):
            blocks.append(Block(before, channels, stride, project=True))
            blocks.append(Block(channels, channels, 1, project=False))
            before = channels
        self.blocks = tnn.Sequential(*blocks)
        self.head = tnn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(functional.relu(self.stem(x)))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


@pytest.mark.parametrize("size", [(16, 16), (11, 20)])
def test_it_is_the_module_written_by_hand_for_images_of_any_size(check_same, noise, size):
    network = TOWER.network(ANY_SIZE, task=DIGITS, seed=1)
    check_same(network, Tower, noise(4, 1, *size), rename=RENAME)


def test_the_shape_is_known_but_for_the_batch(shapes):
    spec = TensorSpec(ANY_SIZE)
    assert shapes(TOWER, {"conv2d.input": spec}, DIGITS) == [(None, 10)]
    stages = TOWER.subgraph(TOWER.ids[:-3])
    assert shapes(stages, {"conv2d.input": spec}) == [(None, 32, None, None)]


def test_copies_of_one_skip_are_a_tower(check_same, noise):
    def blocks() -> tnn.Module:
        return tnn.Sequential(*[Block(8, 8, 1, project=False) for _ in range(6)])

    skip = nn("skip", convolved(8) >> nn("relu") >> convolved(8)) >> nn("relu")
    network = nn("block", skip, n_blocks=6).as_graph().network(("batch", 8, 9, 9), seed=1)
    rename = {
        f"{place}.{old}": f"block.{place}.skip.{new}"
        for place in range(6)
        for old, new in PARTS.items()
    }
    check_same(network, blocks, noise(3, 8, 9, 9), rename=rename)


def test_it_learns_digits(train, images, labels):
    network = TOWER.network(ANY_SIZE, task=DIGITS, seed=1)
    rows = torch.arange(960).reshape(15, 64)
    batches = [((images[some],), labels[some]) for some in rows] * 2
    losses = train(network, functional.cross_entropy, batches, lr=5e-3)
    assert losses[0] > 2
    assert sum(losses[-5:]) / 5 < 0.25 * losses[0]
    new = slice(1000, None)
    guess = network.eval()(images[new]).argmax(1)
    assert (guess == labels[new]).float().mean() > 0.8
