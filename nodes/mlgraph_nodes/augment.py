"""Augmentation of images: random and other changes, by default while fitting only."""

from __future__ import annotations

from typing import Literal

from mlgraph_nodes.trafo import CROP, RESIZED_CROP, ROTATE
from mlgraph_nodes.trafo_table import (
    ANTIALIAS,
    BILINEAR,
    BLACK,
    CENTER,
    DEGREES,
    MODES,
    NEAREST,
    NUMBERS,
    PADDING_MODE,
    RANGE,
    SIDES,
    SIZE,
    P,
    Row,
    nodes_of,
    par,
)

PLACES = (
    Row("augment_hflip", "horizontal_flip", "Swap left and right."),
    Row("augment_vflip", "vertical_flip", "Swap top and bottom."),
    Row(
        "augment_crop",
        "crop",
        "Cut out a part; what lies outside of the image is zero.",
        CROP,
        dict(top=1, left=2, height=4, width=3),
        "3, 4, 3",
    ),
    Row(
        "augment_center_crop",
        "CenterCrop",
        "Cut out the middle; smaller images are padded with zeros.",
        {"size": SIZE},
        dict(size=4),
        "3, 4, 4",
    ),
    Row(
        "augment_resized_crop",
        "resized_crop",
        "Cut out a part and bring it to a size.",
        RESIZED_CROP,
        dict(top=1, left=2, height=4, width=3, size=(8, 8)),
        "3, 8, 8",
    ),
    Row(
        "augment_rotate",
        "rotate",
        "Turn images by an angle.",
        ROTATE,
        dict(angle=90),
    ),
)

FLIPS = (
    Row(
        "augment_random_horizontal_flip",
        "RandomHorizontalFlip",
        "Swap left and right of some images.",
        {"p": P},
    ),
    Row(
        "augment_random_vertical_flip",
        "RandomVerticalFlip",
        "Swap top and bottom of some images.",
        {"p": P},
    ),
)

CROPS = (
    Row(
        "augment_random_crop",
        "RandomCrop",
        "Cut out a part of a given size, at random.",
        {
            "size": SIZE,
            "padding": SIDES.but(hint=int | tuple[int, ...] | None, default=None),
            "pad_if_needed": par(
                bool, "Pad images that are smaller, instead of refusing them.", default=False
            ),
            "fill": BLACK,
            "padding_mode": PADDING_MODE,
        },
        dict(size=4),
        "3, 4, 4",
    ),
    Row(
        "augment_random_resized_crop",
        "RandomResizedCrop",
        "Cut out a part of random size and place, and bring it to a size.",
        {
            "size": SIZE,
            "scale": par(RANGE, "Which share of the image the part may be.", default=(0.08, 1.0)),
            "ratio": par(RANGE, "What width / height may be.", default=(3 / 4, 4 / 3)),
            "interpolation": MODES,
            "antialias": ANTIALIAS,
        },
        dict(size=4),
        "3, 4, 4",
    ),
)

WARPS = (
    Row(
        "augment_random_rotation",
        "RandomRotation",
        "Turn images by a random angle.",
        {
            "degrees": DEGREES,
            "interpolation": NEAREST,
            "enlarge": ROTATE["enlarge"],
            "center": CENTER,
            "fill": BLACK,
        },
        dict(degrees=30),
    ),
    Row(
        "augment_random_affine",
        "RandomAffine",
        "Turn, move, scale and shear images at random.",
        {
            "degrees": DEGREES,
            "translate": par(
                RANGE | None, "The largest moves, as shares of width and height.", default=None
            ),
            "scale": par(RANGE | None, "What sizes may be multiplied with.", default=None),
            "shear": par(
                NUMBERS | None, "The range of angles along x, or along x and y.", default=None
            ),
            "interpolation": NEAREST,
            "fill": BLACK,
            "center": CENTER,
        },
        dict(degrees=10, translate=(0.1, 0.1)),
    ),
    Row(
        "augment_random_perspective",
        "RandomPerspective",
        "Look at some images from another side.",
        {
            "distortion_scale": par(float, "From 0, none, to 1.", default=0.5, lower=0, upper=1),
            "p": P,
            "interpolation": BILINEAR,
            "fill": BLACK,
        },
    ),
    Row(
        "augment_elastic",
        "ElasticTransform",
        "Move pixels as if seen through water.",
        {
            "alpha": par(NUMBERS, "How far.", default=50.0),
            "sigma": par(NUMBERS, "How smoothly.", default=5.0),
            "interpolation": BILINEAR,
            "fill": BLACK,
        },
        dict(sigma=0.5),
    ),
    Row(
        "augment_random_erasing",
        "RandomErasing",
        "Overwrite a rectangle of some images.",
        {
            "p": P,
            "scale": par(RANGE, "Which share of the image it may be.", default=(0.02, 0.33)),
            "ratio": par(RANGE, "What its height / width may be.", default=(0.3, 3.3)),
            "value": par(
                NUMBERS | Literal["random"],
                'The new value; one per channel, or one; ``"random"`` for noise.',
                default=0.0,
            ),
        },
    ),
)

SIZES = (
    Row(
        "augment_random_resize",
        "RandomResize",
        "Bring images to a random size; sides keep their ratio.",
        {
            "min_size": par(int, "The least length of the shorter side.", lower=1),
            "max_size": par(int, "Its length stays below this.", lower=2),
            "interpolation": MODES,
            "antialias": ANTIALIAS,
        },
        dict(min_size=4, max_size=5),
        "3, 5, 4",
    ),
    Row(
        "augment_random_shortest_size",
        "RandomShortestSize",
        "Bring images to one of several sizes; sides keep their ratio.",
        {
            "min_size": par(int | tuple[int, ...], "Lengths of the shorter side.", lower=1),
            "max_size": par(int | None, "What the longer side is limited to.", default=None),
            "interpolation": MODES,
            "antialias": ANTIALIAS,
        },
        dict(min_size=4),
        "3, 5, 4",
    ),
    Row(
        "augment_scale_jitter",
        "ScaleJitter",
        "Scale images to a multiple of a size, at random.",
        {
            "target_size": par(tuple[int, int], "Height and width.", lower=1),
            "scale_range": par(RANGE, "What they may be multiplied with.", default=(0.1, 2.0)),
            "interpolation": MODES,
            "antialias": ANTIALIAS,
        },
        dict(target_size=(16, 16), scale_range=(1, 1)),
        "3, 16, 12",
    ),
    Row(
        "augment_random_zoom_out",
        "RandomZoomOut",
        "Put some images into a larger frame, at a random place.",
        {
            "fill": BLACK,
            "side_range": par(RANGE, "How many times larger it may be.", default=(1.0, 4.0)),
            "p": P,
        },
        dict(side_range=(2, 2), p=1),
        "3, 16, 12",
    ),
)

globals().update(nodes_of(__name__, (*PLACES, *FLIPS, *CROPS, *WARPS, *SIZES)))
