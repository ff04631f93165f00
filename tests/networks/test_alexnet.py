"""AlexNet (Krizhevsky et al., 2012), with the layers of torchvision."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torchvision
from torch import Tensor
from torch import nn as tnn
from torch.nn import functional

from mlgraph import load_weights, nn
from mlgraph.data.taskspec import TaskSpec
from mlgraph.net.network import n_parameters
from mlgraph.tensor.spec import TensorSpec

POOL = nn("max_pool2d", 3, stride=2)
HIDDEN = nn("dropout") >> nn("linear", 4096) >> nn("relu")
ALEXNET = (
    nn("conv2d", 64, 11, stride=4, padding=2) >> nn("relu") >> POOL
    >> nn("conv2d", 192, 5, padding=2) >> nn("relu") >> POOL
    >> nn("conv2d", 384, 3, padding=1) >> nn("relu")
    >> nn("conv2d", 256, 3, padding=1) >> nn("relu")
    >> nn("conv2d", 256, 3, padding=1) >> nn("relu") >> POOL
    >> nn("adaptive_avg_pool2d", 6) >> nn("flatten")
    >> nn("block", HIDDEN, n_blocks=2)
    >> nn("head")
)  # fmt: skip
SMALL = ALEXNET.with_params(block__linear__out_features=64)

DIGITS = TaskSpec("classification", tuple(range(10)))
IMAGENET = TaskSpec("classification", tuple(range(1000)))
ANY_SIZE = ("batch", 3, "height", "width")
RENAME = {
    "features.0.": "conv2d.",
    "features.3.": "conv2d_2.",
    "features.6.": "conv2d_3.",
    "features.8.": "conv2d_4.",
    "features.10.": "conv2d_5.",
    "hidden.1.": "block.0.linear.",
    "hidden.4.": "block.1.linear.",
    "hidden.7.": "block.2.linear.",
}


class AlexNet(tnn.Module):
    def __init__(self, n_classes: int, n_hidden: int = 2, width: int = 4096) -> None:
        super().__init__()
        self.features = tnn.Sequential(
            tnn.Conv2d(3, 64, 11, stride=4, padding=2), tnn.ReLU(), tnn.MaxPool2d(3, 2),
            tnn.Conv2d(64, 192, 5, padding=2), tnn.ReLU(), tnn.MaxPool2d(3, 2),
            tnn.Conv2d(192, 384, 3, padding=1), tnn.ReLU(),
            tnn.Conv2d(384, 256, 3, padding=1), tnn.ReLU(),
            tnn.Conv2d(256, 256, 3, padding=1), tnn.ReLU(), tnn.MaxPool2d(3, 2),
        )  # fmt: skip
        sizes = [256 * 6 * 6] + [width] * n_hidden
        layers: list[tnn.Module] = []
        for size in sizes[:-1]:
            layers += [tnn.Dropout(), tnn.Linear(size, width), tnn.ReLU()]
        self.hidden = tnn.Sequential(*layers)
        self.head = tnn.Linear(sizes[-1], n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(self.features(x), 6).flatten(1)
        logits: Tensor = self.head(self.hidden(x))
        return logits


@pytest.mark.parametrize("size", [(63, 63), (80, 97)])
def test_it_is_the_module_written_by_hand_for_images_of_any_size(check_same, noise, size):
    network = SMALL.network(ANY_SIZE, task=DIGITS, seed=1)
    check_same(network, partial(AlexNet, 10, width=64), noise(3, 3, *size), rename=RENAME)


def test_it_is_that_of_torchvision():
    with torch.device("meta"):
        original = torchvision.models.AlexNet(num_classes=1000)
    classifier = {"classifier.1.": "block.0.linear.", "classifier.4.": "block.1.linear."}
    network = ALEXNET.network(("batch", 3, 224, 224), task=IMAGENET, device="meta")
    rename = {**RENAME, **classifier, "classifier.6.": "head."}
    assert load_weights(network, original, rename=rename).complete
    assert n_parameters(network) == 61_100_840


def test_the_shape_is_known_but_for_the_batch(shapes):
    spec = TensorSpec(ANY_SIZE)
    assert shapes(ALEXNET, {"conv2d.input": spec}, DIGITS) == [(None, 10)]
    features = ALEXNET.subgraph(ALEXNET.ids[:-4])
    assert shapes(features, {"conv2d.input": spec}) == [(None, 256, None, None)]


def test_its_hidden_layers_are_changed_by_parameters(check_same, noise):
    wide = ALEXNET.with_params(block__n_blocks=4, block__linear__out_features=8192)
    with torch.device("meta"):
        by_hand = AlexNet(10, n_hidden=4, width=8192)
    network = wide.network(ANY_SIZE, task=DIGITS, device="meta")
    assert n_parameters(network) == n_parameters(by_hand)
    deep = SMALL.with_params(block__n_blocks=3)
    x = noise(2, 3, 63, 63)
    network = deep.network(ANY_SIZE, task=DIGITS, seed=1)
    check_same(network, partial(AlexNet, 10, n_hidden=3, width=64), x, rename=RENAME)
    assert ALEXNET["block"].n_blocks == 2


def test_it_learns_digits(train, images, labels):
    rows = (labels < 3).nonzero().flatten()[:16]
    x = functional.interpolate(4 * images[rows] - 1, size=63, mode="bilinear").expand(-1, 3, -1, -1)
    graph = ALEXNET.with_params(block__linear__out_features=256, block__dropout__p=0.1)
    network = graph.network(ANY_SIZE, task=TaskSpec("classification", (0, 1, 2)), seed=1)
    losses = train(network, functional.cross_entropy, [((x,), labels[rows])] * 18, lr=5e-4)
    assert losses[0] > 1.05  # the logarithm of 3 is 1.10
    assert losses[-1] < 0.5 * losses[0]
