"""Augmentation of colours, noise, and policies of many changes, by default while fitting only."""

from __future__ import annotations

from mlgraph_nodes.trafo_table import (
    EMPTY,
    KERNEL,
    MODES,
    NUMBERS,
    POLICY,
    RANGE,
    P,
    Par,
    Row,
    nodes_of,
    par,
)

# Torchvision turns and shears with these two.
SIMPLE = MODES.but(default="nearest", choices=("nearest", "bilinear"))
BINS = par(int, "Into how many steps strengths are cut.", default=31, lower=2)


def _jitter(what: str) -> Par:
    return par(
        NUMBERS | None,
        f"How far the factor of the {what} may be from 1, or its range.",
        default=None,
        lower=0,
    )


def _spread(what: str, low: float, high: float) -> Par:
    return par(RANGE, f"Range of the factor of the {what}.", default=(low, high), lower=0)


HUE = "How far the hue may be shifted, at most 0.5, or the range of shifts."

COLOURS = (
    Row(
        "augment_color_jitter",
        "ColorJitter",
        "Change brightness, contrast, saturation and hue at random, in random order.",
        {
            "brightness": _jitter("brightness"),
            "contrast": _jitter("contrast"),
            "saturation": _jitter("saturation"),
            "hue": par(NUMBERS | None, HUE, default=None, lower=-0.5, upper=0.5),
        },
        dict(brightness=0.2),
    ),
    Row(
        "augment_random_photometric_distort",
        "RandomPhotometricDistort",
        "Change colours and the order of channels, each at random or not at all.",
        {
            "brightness": _spread("brightness", 0.875, 1.125),
            "contrast": _spread("contrast", 0.5, 1.5),
            "saturation": _spread("saturation", 0.5, 1.5),
            "hue": par(
                RANGE,
                "Range of the shifts of the hue.",
                default=(-0.05, 0.05),
                lower=-0.5,
                upper=0.5,
            ),
            "p": P,
        },
    ),
    Row(
        "augment_random_channel_permutation",
        "RandomChannelPermutation",
        "Put the channels in random order.",
    ),
    Row(
        "augment_random_grayscale",
        "RandomGrayscale",
        "Make some images grey; the number of channels stays.",
        {"p": P.but(default=0.1)},
    ),
    Row("augment_random_invert", "RandomInvert", "Turn some images into negatives.", {"p": P}),
    Row(
        "augment_random_posterize",
        "RandomPosterize",
        "Keep the first bits of every pixel of some images.",
        {"bits": par(int, "How many bits.", lower=0, upper=8), "p": P},
        dict(bits=2),
    ),
    Row(
        "augment_random_solarize",
        "RandomSolarize",
        "Invert all pixels from a value on, of some images.",
        {"threshold": par(float, "The value."), "p": P},
        dict(threshold=0.5),
    ),
    Row(
        "augment_random_autocontrast",
        "RandomAutocontrast",
        "Stretch the channels of some images to the full range.",
        {"p": P},
    ),
    Row(
        "augment_random_equalize",
        "RandomEqualize",
        "Make all values of a channel about equally frequent, for some images.",
        {"p": P},
    ),
    Row(
        "augment_random_adjust_sharpness",
        "RandomAdjustSharpness",
        "Blur or sharpen some images.",
        {
            "sharpness_factor": par(float, "0 blurs, 1 changes nothing, 2 sharpens.", lower=0),
            "p": P,
        },
        dict(sharpness_factor=2),
    ),
    Row(
        "augment_gaussian_blur",
        "GaussianBlur",
        "Blur images, by a random amount.",
        {
            "kernel_size": KERNEL,
            "sigma": par(NUMBERS, "Range of the standard deviation, or one.", default=(0.1, 2.0)),
        },
        dict(kernel_size=3),
    ),
    Row(
        "augment_gaussian_noise",
        "GaussianNoise",
        "Add normal noise.",
        {
            "mean": par(float, "Mean of the noise.", default=0.0),
            "sigma": par(float, "Its standard deviation.", default=0.1, lower=0),
            "clip": par(bool, "Keep the result between 0 and 1.", default=True),
        },
    ),
)

POLICIES = (
    Row(
        "augment_auto_augment",
        "AutoAugment",
        "Change images by a policy that was found by search.",
        {"policy": POLICY, "interpolation": SIMPLE, "fill": EMPTY},
    ),
    Row(
        "augment_rand_augment",
        "RandAugment",
        "Change images by some transforms of one strength.",
        {
            "num_ops": par(int, "How many transforms.", default=2, lower=0),
            "magnitude": par(int, "Which of the steps is the strength.", default=9, lower=0),
            "num_magnitude_bins": BINS,
            "interpolation": SIMPLE,
            "fill": EMPTY,
        },
    ),
    Row(
        "augment_trivial_augment_wide",
        "TrivialAugmentWide",
        "Change images by one transform of random strength.",
        {"num_magnitude_bins": BINS, "interpolation": SIMPLE, "fill": EMPTY},
    ),
    Row(
        "augment_aug_mix",
        "AugMix",
        "Mix images with several changed copies of themselves.",
        {
            "severity": par(int, "The strength.", default=3, lower=1, upper=10),
            "mixture_width": par(int, "How many copies.", default=3, lower=1),
            "chain_depth": par(
                int, "Transforms of each; -1 for a random number up to 3.", default=-1
            ),
            "alpha": par(float, "How evenly they are mixed.", default=1.0, lower=1e-6),
            "all_ops": par(bool, "With brightness, contrast and the like.", default=True),
            "interpolation": SIMPLE.but(default="bilinear"),
            "fill": EMPTY,
        },
    ),
)

globals().update(nodes_of(__name__, (*COLOURS, *POLICIES)))
