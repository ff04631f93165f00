"""U-Net (Ronneberger et al., 2015): down and up again, with a shortcut at every resolution."""

from __future__ import annotations

import pytest
from torch import Tensor, cat
from torch import nn as tnn
from torch.nn import functional

from mlgraph import Graph, MLGraphError, nn
from mlgraph.tensor.spec import TensorSpec


def convolved(channels: int) -> Graph:
    return nn("conv2d", channels, 3, padding="same") >> nn("batch_norm2d") >> nn("relu")


def level(channels: int, below: Graph) -> Graph:
    """What is below works at half the resolution."""
    lower = nn("max_pool2d", 2) >> below >> nn("upsample", scale_factor=2)
    skip = nn("skip", lower, merge=nn("merge_cat", dim=1))
    return convolved(channels) >> skip >> convolved(channels)


UNET = level(8, level(16, level(32, convolved(64)))) >> nn("conv2d", 1, 1)
ANY_SIZE = ("batch", 1, "height", "width")


def names_of(depth: int) -> dict[str, str]:
    """Beginnings of names by hand, and here, for a number of levels."""
    here, there, names = "", "", {}
    for _ in range(depth):
        names |= {
            f"{there}before.0.": f"{here}conv2d.",
            f"{there}before.1.": f"{here}batch_norm2d.",
            f"{there}after.0.": f"{here}conv2d_2.",
            f"{there}after.1.": f"{here}batch_norm2d_2.",
        }
        here, there = f"{here}skip.", f"{there}below."
    return names | {f"{there}0.": f"{here}conv2d.", f"{there}1.": f"{here}batch_norm2d."}


RENAME = {
    **{f"0.{there}": here for there, here in names_of(depth=3).items()},
    "1.": "conv2d_3.",
}


def by_hand(before: int, after: int) -> tnn.Sequential:
    convolution = tnn.Conv2d(before, after, 3, padding=1)
    return tnn.Sequential(convolution, tnn.BatchNorm2d(after), tnn.ReLU())


class Level(tnn.Module):
    def __init__(self, before: int, channels: int, below: tnn.Module) -> None:
        super().__init__()
        self.before, self.below = by_hand(before, channels), below
        self.after = by_hand(channels + 2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        lower = functional.interpolate(self.below(functional.max_pool2d(x, 2)), scale_factor=2)
        made: Tensor = self.after(cat([x, lower], dim=1))
        return made


def unet() -> tnn.Module:
    third = Level(16, 32, by_hand(32, 64))
    return tnn.Sequential(Level(1, 8, Level(8, 16, third)), tnn.Conv2d(8, 1, 1))


@pytest.mark.parametrize("size", [(16, 16), (8, 24)])
def test_it_is_the_module_written_by_hand_for_images_of_any_size(check_same, noise, size):
    network = UNET.network(ANY_SIZE, seed=1)
    check_same(network, unet, noise(3, 1, *size), rename=RENAME)


def test_known_sizes_come_back_and_unknown_ones_stay_unknown(shapes):
    known, unknown = TensorSpec(("batch", 1, 16, 24)), TensorSpec(ANY_SIZE)
    assert shapes(UNET, {"conv2d.input": known}) == [(None, 1, 16, 24)]
    assert shapes(UNET, {"conv2d.input": unknown}) == [(None, 1, None, None)]


def test_a_size_that_cannot_be_halved_is_refused_at_the_merge():
    with pytest.raises(MLGraphError, match=r"skip\.skip\.merge_cat"):
        UNET.network(("batch", 1, 10, 16))


def test_it_learns_to_remove_noise(train, images, noise):
    clean = functional.interpolate(images[:240], size=16, mode="bilinear")
    noisy = clean + 0.5 * noise(240, 1, 16, 16)
    batches = [((x,), y) for x, y in zip(noisy.split(16), clean.split(16), strict=True)] * 4
    network = UNET.network(ANY_SIZE, seed=1)
    losses = train(network, functional.mse_loss, batches, lr=5e-3)
    last = sum(losses[-5:]) / 5
    assert last < 0.2 * losses[0]
    assert last < 0.1 * functional.mse_loss(noisy, clean).item()
