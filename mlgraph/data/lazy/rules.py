"""What is known of torchvision's transforms beyond their names: layouts, batches and draws."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from mlgraph.errors import ShapeError
from mlgraph.tensor.spec import TensorSpec

_RANKS = {
    "any": (1, "(batch, ...)"),
    "image": (3, "(batch, [channels,] height, width)"),
    "channels": (4, "(batch, channels, height, width)"),
    "video": (5, "(batch, time, channels, height, width)"),
}


@attrs.frozen
class Rule:
    """How a transform can be called.

    Args:
        layout: What the dimensions of a row are: ``any``, ``image`` (channels are optional),
            ``channels`` or ``video``. More dimensions may stand in front of them.
        colours: Whether there must be 1 or 3 channels.
        batched: Whether a batch gives the same as its rows, bit for bit.
        floats: Whether integers, as image files hold them, are refused.
        random: Whether it draws.
        varies: Whether height and width of the result may differ from row to row.
        gate: The transform without draws that is applied to a row with probability ``p``.
    """

    layout: str = "image"
    colours: bool = False
    batched: bool = False
    floats: bool = False
    random: bool = False
    varies: bool = False
    gate: str = ""

    @property
    def dims(self) -> str:
        """The dimensions of the input, in words."""
        return _RANKS[self.layout][1]

    def check(self, name: str, spec: TensorSpec) -> None:
        """Refuse inputs that torchvision would take for something else, or refuse while training.

        Raises:
            ShapeError: There are too few dimensions, neither 1 nor 3 channels, or integers.

        >>> rule("Resize").check("resize", TensorSpec(("batch", 3, 8, 8)))
        """
        least, layout = _RANKS[self.layout]
        if spec.rank < least:
            raise ShapeError(
                f"{name} cannot accept {spec}.",
                why=f"it works on {layout}",
                mend='bring the tensors to this layout, say with po("trafo_reshape", shape=...)',
            )
        channels = spec.shape[-3] if self.colours else 3
        if isinstance(channels, int) and channels not in (1, 3):
            raise ShapeError(
                f"{name} cannot accept {spec}.",
                why=f"it works on {layout} with 1 or 3 channels, and there are {channels}",
                mend="make images of 1 or 3 channels before, or leave this column out of columns=",
            )
        if self.floats and not spec.dtype.is_floating_point:
            raise ShapeError(
                f"{name} cannot accept {spec}.",
                why="it works on floating-point numbers",
                mend='put po("trafo_to_dtype", torch.float32) before it, or with scale=True '
                "for numbers from 0 to 1",
            )


def rule(name: str) -> Rule:
    """The rule for a class of ``torchvision.transforms.v2``, or a function of its ``functional``.

    >>> rule("RandomHorizontalFlip").gate, rule("adjust_hue").colours
    ('horizontal_flip', True)
    """
    return RULES[name]


_STEADY = Rule(batched=True)
_COLOURS = Rule("channels", colours=True, batched=True)
_COLOURS_BY_ROW = Rule("channels", colours=True)
_RANDOM = Rule(random=True)
_VARIES = Rule(random=True, varies=True)
_RANDOM_COLOURS = Rule("channels", colours=True, random=True)

# Where the results of a batch would differ in the last bit (vectorised powers, convolutions) or
# could (means), rows are transformed one by one.
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Resize": _STEADY,
        "CenterCrop": _STEADY,
        "Pad": _STEADY,
        "crop": _STEADY,
        "resized_crop": _STEADY,
        "horizontal_flip": _STEADY,
        "vertical_flip": _STEADY,
        "rotate": _STEADY,
        "affine": _STEADY,
        "perspective": _STEADY,
        "invert": _STEADY,
        "posterize": _STEADY,
        "solarize": _STEADY,
        "Normalize": Rule("channels", batched=True, floats=True),
        "permute_channels": Rule("channels", batched=True),
        "equalize": Rule("channels", batched=True),
        "autocontrast": _COLOURS,
        "adjust_brightness": _COLOURS,
        "adjust_saturation": _COLOURS,
        "adjust_hue": _COLOURS,
        "rgb_to_grayscale": _COLOURS,
        "Grayscale": _COLOURS,
        "RGB": _COLOURS,
        "adjust_contrast": _COLOURS_BY_ROW,
        "adjust_sharpness": _COLOURS_BY_ROW,
        "adjust_gamma": Rule(),
        "gaussian_blur": Rule(),
        "LinearTransformation": Rule("channels"),
        "ToDtype": Rule("any", batched=True),
        "ConvertImageDtype": Rule("any", batched=True),
        "UniformTemporalSubsample": Rule("video", batched=True),
        "RandomHorizontalFlip": Rule(random=True, gate="horizontal_flip"),
        "RandomVerticalFlip": Rule(random=True, gate="vertical_flip"),
        "RandomInvert": Rule(random=True, gate="invert"),
        "RandomPosterize": Rule(random=True, gate="posterize"),
        "RandomSolarize": Rule(random=True, gate="solarize"),
        "RandomEqualize": Rule("channels", random=True, gate="equalize"),
        "RandomAutocontrast": Rule("channels", colours=True, random=True, gate="autocontrast"),
        "RandomGrayscale": Rule("channels", colours=True, random=True, gate="rgb_to_grayscale"),
        "RandomCrop": _RANDOM,
        "RandomResizedCrop": _RANDOM,
        "RandomAffine": _RANDOM,
        "RandomRotation": _RANDOM,
        "RandomPerspective": _RANDOM,
        "ElasticTransform": _RANDOM,
        "GaussianBlur": _RANDOM,
        "GaussianNoise": Rule("any", random=True),
        "RandomErasing": Rule("channels", random=True),
        "RandomChannelPermutation": Rule("channels", random=True),
        "RandomResize": _VARIES,
        "RandomShortestSize": _VARIES,
        "ScaleJitter": _VARIES,
        "RandomZoomOut": _VARIES,
        "RandomAdjustSharpness": _RANDOM_COLOURS,
        "ColorJitter": _RANDOM_COLOURS,
        "RandomPhotometricDistort": _RANDOM_COLOURS,
        "AutoAugment": _RANDOM_COLOURS,
        "RandAugment": _RANDOM_COLOURS,
        "TrivialAugmentWide": _RANDOM_COLOURS,
        "AugMix": _RANDOM_COLOURS,
    }
)
