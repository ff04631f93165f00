"""Torchvision's transforms as operations: the same numbers, known shapes, draws of their own."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from mlgraph.core.value import FrozenDict
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.combine import MAX_ORDERED, Combined, Reshape
from mlgraph.data.lazy.draws import Draw
from mlgraph.data.lazy.operation import Function
from mlgraph.data.lazy.reader import Reader
from mlgraph.data.lazy.rules import RULES
from mlgraph.data.lazy.source import ArraySource
from mlgraph.data.lazy.transform import Transform, crops, joined
from mlgraph.errors import ShapeError
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked

IMAGES = TensorSpec(("batch", 3, 13, 11))


def images(n: int = 6, dtype: torch.dtype = torch.float32, channels: int = 3) -> torch.Tensor:
    draws = torch.Generator().manual_seed(n)
    whole = torch.randint(0, 256, (n, channels, 13, 11), generator=draws, dtype=torch.uint8)
    return whole if dtype == torch.uint8 else whole.to(dtype) / 255


def read(operation: Any, rows: torch.Tensor, draw: Draw = Draw(0), size: int = 99) -> Any:
    """What a reader makes of the rows, in batches of a size."""
    reader = Reader({"x": LazyTensor.over(ArraySource(rows)).append(operation)}, np.arange(99)[:6])
    parts = [
        reader.read(np.arange(6)[at : at + size], draw).tensors["x"] for at in range(0, 6, size)
    ]
    return [row for part in parts for row in part]


def alike(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# What torchvision has ------------------------------------------------------------------------

# Bounding boxes, key points and several crops of one image are no tensors of a row; the rest is
# there under other names, or needs labels. JPEG: torchvision is about to remove it.
LEFT_OUT = {
    *("ClampBoundingBoxes", "ClampKeyPoints", "ConvertBoundingBoxFormat", "SanitizeBoundingBoxes"),
    *("SanitizeKeyPoints", "SetClampingMode", "RandomIoUCrop", "FiveCrop", "TenCrop"),
    *("CutMix", "MixUp", "Lambda", "Compose", "Identity", "JPEG"),
    *("PILToTensor", "ToImage", "ToPILImage", "ToPureTensor", "ToTensor"),
    *("RandomApply", "RandomChoice", "RandomOrder"),  # see Combined
    *("Transform", "AutoAugmentPolicy", "InterpolationMode"),
}


def test_every_transform_of_torchvision_is_there_or_left_out_for_a_reason() -> None:
    classes = {name for name, value in vars(v2).items() if inspect.isclass(value)}
    assert classes - LEFT_OUT == {name for name in RULES if name[0].isupper()}


def test_every_function_in_the_rules_is_one_of_torchvision() -> None:
    names = [name for name in RULES if name[0].islower()]
    assert all(callable(getattr(functional, name)) for name in names)
    gates = {rule.gate for rule in RULES.values()} - {""}
    assert all(RULES[gate].batched and not RULES[gate].random for gate in gates)


# The same as torchvision ---------------------------------------------------------------------


def test_a_flip_at_random_flips_the_rows_whose_number_is_below_p() -> None:
    rows, numbers = images(), torch.tensor([0.1, 0.5, 0.49, 0.9, 0.0, 1.0])[:, None]
    flipped = Transform("f", "RandomHorizontalFlip", {"p": 0.5}).draw_batch(rows, numbers)
    chosen = numbers[:, 0] < 0.5
    assert chosen.tolist() == [True, False, True, False, True, False]
    assert torch.equal(flipped[chosen], rows[chosen].flip(-1))
    assert torch.equal(flipped[~chosen], rows[~chosen])


@pytest.mark.parametrize(("p", "same"), [(0.0, True), (1.0, False)])
def test_a_probability_of_0_or_1_leaves_nothing_to_chance(p: float, same: bool) -> None:
    rows = images()
    found = Transform("f", "RandomInvert", {"p": p}).draw_batch(rows, torch.rand(6, 1))
    assert torch.equal(found, rows if same else functional.invert(rows))


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_at_random_keep_their_channels(channels: int) -> None:
    rows = images(channels=channels)
    found = Transform("g", "RandomGrayscale", {"p": 1.0}).draw_batch(rows, torch.rand(6, 1))
    assert torch.equal(found, functional.rgb_to_grayscale(rows, channels))


PADDINGS: list[dict[str, Any]] = [
    {},
    {"padding": 2},
    {"padding": (1, 2)},
    {"padding": (1, 2, 3, 4), "fill": 0.5},
    {"padding": 3, "padding_mode": "reflect"},
    {"padding": 0, "pad_if_needed": True, "size": (20, 5)},
    {"padding": (1, 2, 3, 4), "pad_if_needed": True, "size": (30, 30), "fill": (0.1, 0.2, 0.3)},
]


@pytest.mark.parametrize("params", PADDINGS)
def test_crops_are_those_of_torchvision_at_the_same_places(params: dict[str, Any]) -> None:
    params = {"size": (6, 5), **params}
    crop, rows = v2.RandomCrop(**params), images()
    with forked(3):
        drawn = [crop.make_params([row]) for row in rows]
        torch.default_generator.manual_seed(3)
        wanted = [crop(row) for row in rows]
    padded = functional.pad(rows, drawn[0]["padding"])
    room = [padded.shape[-2] - drawn[0]["height"] + 1, padded.shape[-1] - drawn[0]["width"] + 1]
    middle = [[(d["top"] + 0.5) / room[0], (d["left"] + 0.5) / room[1]] for d in drawn]
    found = crops(rows, torch.tensor(middle, dtype=torch.float64), **params)
    assert alike(found, wanted)


def test_crops_reach_every_place() -> None:
    whole = torch.arange(4.0).reshape(1, 2, 2).expand(400, 1, 2, 2)
    numbers = torch.rand(400, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert set(crops(whole, numbers, size=1).flatten().tolist()) == {0.0, 1.0, 2.0, 3.0}


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ShapeError, match="14 x 14 cannot be cut out of 13 x 11"):
        crops(images(), torch.zeros(6, 2), size=14)


@pytest.mark.parametrize("name", ["Resize", "horizontal_flip", "RandomCrop", "RandomAffine"])
def test_images_without_channels_are_treated_like_those_with_one(name: str) -> None:
    params: dict[str, Any] = {
        "Resize": {"size": (5, 7)},
        "RandomCrop": {"size": 6},
        "RandomAffine": {"degrees": 20},
    }.get(name, {})
    operation, one = Transform("t", name, params), images(channels=1)
    found = read(operation, one[:, 0])
    assert alike(found, [row[0] for row in read(operation, one)])
    assert operation.infer(TensorSpec(("batch", 13, 11))).shape[1:] == found[0].shape


# Draws ---------------------------------------------------------------------------------------

RANDOM: dict[str, dict[str, Any]] = {
    "RandomHorizontalFlip": {"p": 0.5},
    "RandomCrop": {"size": 6},
    "RandomResizedCrop": {"size": 6},
    "RandomErasing": {"p": 1.0, "value": "random"},
    "GaussianNoise": {},
}


@pytest.mark.parametrize("name", RANDOM)
def test_draws_do_not_depend_on_the_batch(name: str) -> None:
    operation, rows = Transform("t", name, RANDOM[name]), images()
    wanted = read(operation, rows)
    for size in (1, 2, 4):
        assert alike(read(operation, rows, size=size), wanted)
    assert not alike(read(operation, rows, Draw(0, epoch=1)), wanted)
    assert not alike(read(operation, rows, Draw(1)), wanted)


@pytest.mark.parametrize("name", RANDOM)
def test_rows_draw_for_themselves(name: str) -> None:
    rows = images(1).expand(6, 3, 13, 11)
    found = read(Transform("t", name, RANDOM[name]), rows)
    assert len({tuple(row.flatten().tolist()) for row in found}) > 1


def test_image_and_mask_are_moved_alike() -> None:
    for name in ("RandomHorizontalFlip", "RandomCrop", "RandomResizedCrop"):
        interpolation = {"interpolation": "nearest"} if name == "RandomResizedCrop" else {}
        operation = Transform("t", name, {**RANDOM[name], **interpolation})
        image = images(dtype=torch.uint8)
        pair = {"image": image, "mask": image[:, 0]}
        columns = {
            key: LazyTensor.over(ArraySource(rows)).append(operation) for key, rows in pair.items()
        }
        found = Reader(columns, np.arange(6)).read(np.arange(6), Draw(5)).tensors
        assert alike([row[0] for row in found["image"]], found["mask"])


# Values --------------------------------------------------------------------------------------


def test_equal_parameters_in_any_order_are_an_equal_operation() -> None:
    one = Transform("a", "RandomCrop", {"size": 3, "fill": 0.0})
    assert one == Transform("a", "RandomCrop", FrozenDict({"fill": 0.0, "size": 3}))
    assert one != Transform("a", "RandomCrop", {"size": 4, "fill": 0.0})
    assert one != Transform("b", "RandomCrop", {"size": 3, "fill": 0.0})  # it draws
    assert Transform("a", "horizontal_flip") == Transform("b", "horizontal_flip")


def test_a_transform_that_was_used_can_be_pickled_and_stays_small() -> None:
    used = Transform("t", "RandomErasing", {"p": 1.0})
    read(used, images())
    parts = [used, Function("f", torch.abs), Reshape("r", (-1,))]
    for operation in (used, Combined("c", "RandomApply", parts, {"p": 0.5})):
        again = pickle.loads(pickle.dumps(operation))
        assert again == operation and "run" not in vars(again)
        assert len(pickle.dumps(operation)) < 1000


def test_what_is_made_while_shapes_are_found_is_made_of_real_tensors() -> None:
    erase = Transform("t", "RandomErasing", {"p": 1.0})
    with torch.device("meta"):
        erase.infer(IMAGES)
    assert not any(value.is_meta for value in vars(erase.run).values() if torch.is_tensor(value))


# Shapes --------------------------------------------------------------------------------------


def test_an_unknown_size_becomes_known_where_it_can() -> None:
    anything = TensorSpec(("batch", 3, "height", "width"), torch.uint8)
    for name, params in (
        ("Resize", {"size": (4, 5)}),
        ("RandomCrop", {"size": (4, 5)}),
        ("CenterCrop", {"size": (4, 5)}),
        ("RandomResizedCrop", {"size": (4, 5)}),
    ):
        found = Transform("t", name, params).infer(anything)
        assert found == TensorSpec(("batch", 3, 4, 5), torch.uint8)
    assert Transform("t", "RandomAffine", {"degrees": 5}).infer(anything) == anything
    assert Transform("t", "Resize", {"size": 4}).infer(anything).shape[1] == 3


@pytest.mark.parametrize("size", [8, 32, 224, (5, 70)])
@pytest.mark.parametrize("sizes", [("height", "width"), ("side", "side"), ("height", 300)])
def test_the_size_of_a_part_is_known_whatever_it_is_cut_out_of(size: Any, sizes: Any) -> None:
    crop = Transform("crop", "RandomCrop", {"size": size, "padding": 4, "padding_mode": "reflect"})
    want = (size, size) if isinstance(size, int) else size
    assert crop.infer(TensorSpec(("batch", 3, *sizes))).shape == ("batch", 3, *want)


def test_a_part_larger_than_a_size_that_is_known_is_refused_with_advice_that_can_be_taken() -> None:
    with pytest.raises(ShapeError, match="larger than input image size") as told:
        Transform("crop", "RandomCrop", {"size": 40}).infer(TensorSpec(("batch", 3, 8, "width")))
    assert told.value.mend == "change its inputs or parameters"


def test_numbers_of_other_channels_do_not_normalise() -> None:
    three = Transform("normalize", "Normalize", {"mean": (0.5,) * 3, "std": (0.5,) * 3})
    assert three.infer(IMAGES) == IMAGES
    with pytest.raises(ShapeError, match="cannot accept") as told:
        three.infer(TensorSpec(("batch", 1, 8, 8)))
    assert "mean has 3 numbers, std has 3, and there are 1 channels" in str(told.value)
    one = Transform("normalize", "Normalize", {"mean": (0.5,), "std": (0.5,)})
    assert one.infer(TensorSpec(("batch", 7, 8, 8))).shape == ("batch", 7, 8, 8)


@pytest.mark.parametrize("expand", [True, False])
def test_sizes_that_are_drawn_are_unknown(expand: bool) -> None:
    turned = Transform("t", "RandomRotation", {"degrees": 40, "expand": expand}).infer(IMAGES)
    assert turned.shape == (("batch", 3, "t_height", "t_width") if expand else IMAGES.shape)


def test_an_unknown_number_of_channels_stays_or_becomes_known() -> None:
    some = TensorSpec(("batch", "channels", 13, 11))
    assert Transform("t", "adjust_hue", {"hue_factor": 0.1}).infer(some) == some
    assert Transform("t", "RGB").infer(some).shape == ("batch", 3, 13, 11)
    assert Transform("t", "Grayscale").infer(some).shape == ("batch", 1, 13, 11)


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("Resize", ("batch", 13), r"works on \(batch, \[channels,\] height, width\)"),
        ("adjust_hue", ("batch", 13, 11), r"works on \(batch, channels, height, width\)"),
        ("AutoAugment", ("batch", 4, 13, 11), "1 or 3 channels, and there are 4"),
        ("UniformTemporalSubsample", ("batch", 3, 13, 11), "time"),
    ],
)
def test_another_layout_is_refused_by_name(name: str, shape: tuple[Any, ...], says: str) -> None:
    params: dict[str, Any] = {"Resize": {"size": 4}, "adjust_hue": {"hue_factor": 0.1}}
    with pytest.raises(ShapeError, match=says):
        Transform("t", name, params.get(name, {"num_samples": 2})).infer(TensorSpec(shape))


def test_whole_numbers_are_not_normalised() -> None:
    with pytest.raises(ShapeError, match="float"):
        params = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
        Transform("t", "Normalize", params).infer(IMAGES.with_dtype(torch.uint8))


# Several -------------------------------------------------------------------------------------

PARTS = (Transform("a", "Pad", {"padding": 1}), Transform("b", "horizontal_flip"))


def test_several_are_those_of_torchvision_on_the_same_stream() -> None:
    made = {
        "RandomApply": v2.RandomApply([v2.Pad(1), functional.horizontal_flip], p=0.5),
        "RandomChoice": v2.RandomChoice([v2.Pad(1), functional.horizontal_flip]),
        "RandomOrder": v2.RandomOrder([v2.Pad(1), functional.horizontal_flip]),
    }
    for name, wanted in made.items():
        operation = Combined("c", name, PARTS, {"p": 0.5} if name == "RandomApply" else {})
        for seed in range(6):
            with forked(seed):
                found = operation(images()[0])
            with forked(seed):
                assert torch.equal(found, wanted(images()[0]))


def test_sizes_that_depend_on_the_choice_are_unknown() -> None:
    assert Combined("c", "RandomApply", PARTS, {"p": 0.5}).infer(IMAGES).shape[2:] == ("c_2", "c_3")
    assert Combined("c", "RandomChoice", PARTS).infer(IMAGES).shape[2:] == ("c_2", "c_3")
    assert Combined("c", "RandomOrder", PARTS).infer(IMAGES).shape[2:] == (15, 13)


def test_orders_of_many_transforms_that_change_shapes_are_not_tried() -> None:
    pads = [Transform("a", "Pad", {"padding": 1})] * (MAX_ORDERED + 1)
    with pytest.raises(ShapeError, match="many orders"):
        Combined("c", "RandomOrder", pads).infer(IMAGES)
    flips = [Transform("a", "horizontal_flip")] * (MAX_ORDERED + 1)
    assert Combined("c", "RandomOrder", flips).infer(IMAGES) == IMAGES


def test_results_of_different_dtypes_are_refused() -> None:
    specs = [IMAGES, IMAGES.with_dtype(torch.uint8)]
    with pytest.raises(ShapeError, match="differ in rank or dtype"):
        joined(specs, "choice")


@pytest.mark.parametrize("n", [0, 1, 4])
def test_rows_are_reshaped_also_where_there_are_none(n: int) -> None:
    assert Reshape("r", (3, -1)).infer(IMAGES).shape == ("batch", 3, 143)
    assert Reshape("r", (3, -1))(torch.zeros(n, 3, 13, 11)).shape == (n, 3, 143)


def test_a_shape_of_another_number_of_elements_is_refused() -> None:
    with pytest.raises(ShapeError, match="r cannot accept"):
        Reshape("r", (5, 5)).infer(IMAGES)
