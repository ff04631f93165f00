"""Transforms of images that draw nothing, from torchvision."""

from __future__ import annotations

import torch

from mlgraph_nodes.trafo_table import (
    ANTIALIAS,
    BILINEAR,
    BLACK,
    CENTER,
    EMPTY,
    KERNEL,
    MODES,
    NEAREST,
    NUMBERS,
    PADDING_MODE,
    SHORTER,
    SIDES,
    SIZE,
    Par,
    Row,
    nodes_of,
    par,
)

PIXELS = par(int, "Where the part begins, counted from the top.")
EXTENT = par(int, "Pixels from top to bottom.", lower=1)
CORNERS = tuple[tuple[int, int], ...] | None
DTYPE = par(torch.dtype, "The dtype.", default=torch.float32)

CROP = {
    "top": PIXELS,
    "left": PIXELS.but("Where the part begins, counted from the left."),
    "height": EXTENT,
    "width": EXTENT.but("Pixels from left to right."),
}
RESIZED_CROP = {**CROP, "size": SHORTER, "interpolation": MODES, "antialias": ANTIALIAS}
ROTATE = {
    "angle": par(float, "Degrees, counter-clockwise."),
    "interpolation": NEAREST,
    "enlarge": par(
        bool,
        "Make room for the corners instead of cutting them off; ``expand`` in torchvision, which "
        "is a method of every node.",
        default=False,
    ),
    "center": CENTER,
    "fill": EMPTY,
}


def _factor(what: str) -> Par:
    return par(float, f"What {what} is multiplied with; 1 changes nothing.", lower=0)


GEOMETRY = (
    Row(
        "trafo_resize",
        "Resize",
        "Bring images to a size.",
        {
            "size": par(
                int | tuple[int, ...] | None,
                "Height and width; a single number is the length of the shorter side.",
                lower=1,
            ),
            "interpolation": MODES,
            "max_size": par(
                int | None, "What the longer side is limited to.", default=None, lower=1
            ),
            "antialias": ANTIALIAS,
        },
        dict(size=4),
        "3, 5, 4",
    ),
    Row(
        "trafo_center_crop",
        "CenterCrop",
        "Cut out the middle; smaller images are padded with zeros.",
        {"size": SIZE},
        dict(size=4),
        "3, 4, 4",
    ),
    Row(
        "trafo_crop",
        "crop",
        "Cut out a part; what lies outside of the image is zero.",
        CROP,
        dict(top=1, left=2, height=4, width=3),
        "3, 4, 3",
    ),
    Row(
        "trafo_resized_crop",
        "resized_crop",
        "Cut out a part and bring it to a size.",
        RESIZED_CROP,
        dict(top=1, left=2, height=4, width=3, size=(8, 8)),
        "3, 8, 8",
    ),
    Row(
        "trafo_pad",
        "Pad",
        "Add pixels on the sides of images.",
        {"padding": SIDES, "fill": BLACK, "padding_mode": PADDING_MODE},
        dict(padding=(1, 2, 3, 4)),
        "3, 14, 10",
    ),
    Row("trafo_hflip", "horizontal_flip", "Swap left and right."),
    Row("trafo_vflip", "vertical_flip", "Swap top and bottom."),
    Row(
        "trafo_rotate",
        "rotate",
        "Turn images by an angle.",
        ROTATE,
        dict(angle=90, enlarge=True),
        "3, 6, 8",
    ),
    Row(
        "trafo_affine",
        "affine",
        "Turn, move, scale and shear images.",
        {
            "angle": par(float, "Degrees, clockwise."),
            "translate": par(tuple[float, float], "Pixels to the right and down."),
            "scale": par(float, "What sizes are multiplied with.", lower=1e-6),
            "shear": par(tuple[float, ...], "Degrees along x, or along x and y."),
            "interpolation": NEAREST,
            "fill": EMPTY,
            "center": CENTER,
        },
        dict(angle=10, translate=(1, 0), scale=1.5, shear=(5, 5)),
    ),
    Row(
        "trafo_perspective",
        "perspective",
        "Move four points of images elsewhere, and everything else with them.",
        {
            "startpoints": par(CORNERS, "Four points, each x and y."),
            "endpoints": par(CORNERS, "Where they go."),
            "interpolation": BILINEAR,
            "fill": EMPTY,
            "coefficients": par(
                tuple[float, ...] | None,
                "The eight numbers of the transform, in place of points.",
                default=None,
            ),
        },
        dict(startpoints=None, endpoints=None, coefficients=(1, 0, 0, 0, 1, 0, 0, 0)),
    ),
    Row(
        "trafo_uniform_temporal_subsample",
        "UniformTemporalSubsample",
        "Keep some frames of videos, at equal distances.",
        {"num_samples": par(int, "How many frames.", lower=1)},
        dict(num_samples=2),
        "1, 2, 3, 8, 6",
        before=".repeat(5, 1, 1, 1)[None]",
    ),
)

COLOURS = (
    Row(
        "trafo_adjust_gamma",
        "adjust_gamma",
        "Correct the gamma of images.",
        {
            "gamma": par(float, "The exponent; above 1 shadows get darker.", lower=0),
            "gain": par(float, "What the result is multiplied with.", default=1),
        },
        dict(gamma=2),
    ),
    Row(
        "trafo_adjust_brightness",
        "adjust_brightness",
        "Change how bright images are.",
        {"brightness_factor": _factor("the brightness")},
        dict(brightness_factor=0.5),
    ),
    Row(
        "trafo_adjust_contrast",
        "adjust_contrast",
        "Change the contrast of images.",
        {"contrast_factor": _factor("the contrast")},
        dict(contrast_factor=0.5),
    ),
    Row(
        "trafo_adjust_saturation",
        "adjust_saturation",
        "Change how saturated images are.",
        {"saturation_factor": _factor("the saturation")},
        dict(saturation_factor=0.5),
    ),
    Row(
        "trafo_adjust_hue",
        "adjust_hue",
        "Shift the hue of images.",
        {"hue_factor": par(float, "How far round the circle of hues.", lower=-0.5, upper=0.5)},
        dict(hue_factor=0.1),
    ),
    Row(
        "trafo_adjust_sharpness",
        "adjust_sharpness",
        "Blur or sharpen images.",
        {"sharpness_factor": _factor("the sharpness")},
        dict(sharpness_factor=2),
    ),
    Row(
        "trafo_grayscale",
        "Grayscale",
        "Make images grey.",
        {"num_output_channels": par(int, "1 or 3 channels.", default=1, choices=(1, 3))},
        {},
        "1, 8, 6",
    ),
    Row(
        "trafo_rgb_to_grayscale",
        "rgb_to_grayscale",
        "Make images grey; the dimension of channels stays.",
        {"num_output_channels": par(int, "1 or 3 channels.", default=1, choices=(1, 3))},
        {},
        "1, 8, 6",
    ),
    Row("trafo_rgb", "RGB", "Give grey images three channels; coloured ones stay."),
    Row("trafo_invert", "invert", "Turn images into their negatives."),
    Row(
        "trafo_posterize",
        "posterize",
        "Keep the first bits of every pixel.",
        {"bits": par(int, "How many bits.", lower=0, upper=8)},
        dict(bits=2),
    ),
    Row(
        "trafo_solarize",
        "solarize",
        "Invert all pixels from a value on.",
        {"threshold": par(float, "The value.")},
        dict(threshold=0.5),
    ),
    Row("trafo_autocontrast", "autocontrast", "Stretch every channel to the full range."),
    Row("trafo_equalize", "equalize", "Make all values of a channel about equally frequent."),
    Row(
        "trafo_gaussian_blur",
        "gaussian_blur",
        "Blur images.",
        {
            "kernel_size": KERNEL,
            "sigma": par(
                NUMBERS | None,
                "Standard deviation in pixels; by default it follows from the size.",
                default=None,
            ),
        },
        dict(kernel_size=3),
    ),
    Row(
        "trafo_permute_channels",
        "permute_channels",
        "Put the channels in another order.",
        {"permutation": par(tuple[int, ...], "The old places of the channels.")},
        dict(permutation=(2, 1, 0)),
    ),
)

NUMERIC = (
    Row(
        "trafo_normalize",
        "Normalize",
        "Subtract a mean from every channel, and divide by a standard deviation.",
        {
            "mean": par(tuple[float, ...], "One number per channel."),
            "std": par(
                tuple[float, ...],
                "Likewise.",
                check=lambda value: None if all(value) else "numbers other than 0",
            ),
        },
        dict(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)),
    ),
    Row(
        "trafo_linear_transformation",
        "LinearTransformation",
        "Subtract a vector from the flattened image, and multiply with a matrix.",
        {
            "transformation_matrix": par(
                tuple[tuple[float, ...], ...], "As many rows and columns as an image has pixels."
            ),
            "mean_vector": par(tuple[float, ...], "One number for each."),
        },
        dict(transformation_matrix=[[2]], mean_vector=[1]),
        "1, 1, 1",
        before="[:1, :1, :1]",
    ),
    Row(
        "trafo_to_dtype",
        "ToDtype",
        "Another dtype; without ``scale`` a value that does not fit wraps around.",
        {
            "dtype": par(torch.dtype, "The dtype; see ``trafo_to`` for one that refuses."),
            "scale": par(bool, "Bring the values to the range of the dtype.", default=False),
        },
        dict(dtype=torch.float32, scale=True),
    ),
    Row(
        "trafo_convert_image_dtype",
        "ConvertImageDtype",
        "Another dtype, the values scaled to its range: 0..255 become 0..1.",
        {"dtype": DTYPE},
    ),
)

globals().update(nodes_of(__name__, (*GEOMETRY, *COLOURS, *NUMERIC)))
