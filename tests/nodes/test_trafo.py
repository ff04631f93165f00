"""Every node ``trafo_*`` and ``augment_*``: torchvision's numbers, and what they promise."""

from __future__ import annotations

import enum
import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from mlgraph import ShapeError, po
from mlgraph.catalogue import catalogue
from mlgraph.core.node import Node
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.draws import Draw, copies_of, keys
from mlgraph.data.lazy.reader import Reader
from mlgraph.data.lazy.rules import rule
from mlgraph.data.lazy.source import ArraySource
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked
from mlgraph_nodes.trafo_base import THEIR_NAMES, LazyTransform, VisionTransform

NODES = {
    key: offer.node
    for key, offer in sorted(catalogue().offers.items())
    if issubclass(offer.node, LazyTransform)
}
VISION = [key for key, node in NODES.items() if issubclass(node, VisionTransform)]

# What the parameters without a default are, by node; several nodes share most of them.
PART = {"top": 1, "left": 2, "height": 4, "width": 3}
AFFINE = {"angle": 10, "translate": (1, 2), "scale": 1.5, "shear": (5, 3)}
SHIFT = {"startpoints": None, "endpoints": None, "coefficients": (1, 0.1, 2, 0, 1, 0, 0, 0.01)}
GIVEN: dict[str, dict[str, Any]] = {
    "trafo_resize": {"size": (5, 7)},
    "trafo_center_crop": {"size": (20, 5)},
    "trafo_crop": PART,
    "trafo_resized_crop": {**PART, "size": (8, 8)},
    "trafo_pad": {"padding": (1, 2, 3, 4), "fill": (0.1, 0.2, 0.3)},
    "trafo_rotate": {"angle": 30, "enlarge": True},
    "trafo_affine": AFFINE,
    "trafo_perspective": SHIFT,
    "trafo_uniform_temporal_subsample": {"num_samples": 2},
    "trafo_adjust_gamma": {"gamma": 1.7},
    "trafo_adjust_brightness": {"brightness_factor": 0.7},
    "trafo_adjust_contrast": {"contrast_factor": 0.7},
    "trafo_adjust_saturation": {"saturation_factor": 0.7},
    "trafo_adjust_hue": {"hue_factor": 0.2},
    "trafo_adjust_sharpness": {"sharpness_factor": 2},
    "trafo_posterize": {"bits": 2},
    "trafo_solarize": {"threshold": 0.5},
    "trafo_gaussian_blur": {"kernel_size": (3, 5)},
    "trafo_permute_channels": {"permutation": (2, 0, 1)},
    "trafo_normalize": {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)},
    "trafo_linear_transformation": {
        "transformation_matrix": np.eye(12)[::-1].tolist(),
        "mean_vector": [0.5] * 12,
    },
    "trafo_to_dtype": {"dtype": torch.uint8, "scale": True},
    "augment_crop": PART,
    "augment_center_crop": {"size": 6},
    "augment_resized_crop": {**PART, "size": 8},
    "augment_rotate": {"angle": 30},
    "augment_random_crop": {"size": 6, "padding": 2},
    "augment_random_resized_crop": {"size": 6},
    "augment_random_rotation": {"degrees": 40},
    "augment_random_affine": {"degrees": 40, "translate": (0.1, 0.2), "shear": 5},
    "augment_elastic": {"sigma": 1.0},
    "augment_random_resize": {"min_size": 5, "max_size": 20},
    "augment_random_shortest_size": {"min_size": (5, 9, 12)},
    "augment_scale_jitter": {"target_size": (20, 20), "scale_range": (0.5, 2)},
    "augment_color_jitter": {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.2},
    "augment_random_posterize": {"bits": 2},
    "augment_random_solarize": {"threshold": 0.5},
    "augment_random_adjust_sharpness": {"sharpness_factor": 2},
    "augment_gaussian_blur": {"kernel_size": 3},
    "augment_random_order": {"transforms": [po("augment_hflip"), po("augment_gaussian_noise")]},
    "augment_random_choice": {"transforms": [po("trafo_pad", padding=1), po("augment_vflip")]},
    "augment_random_apply": {"transforms": [po("augment_hflip"), po("augment_gaussian_noise")]},
    "trafo_fn": {"fn": torch.sqrt},
    "trafo_reshape": {"shape": (3, -1)},
    "trafo_to": {"dtype": torch.float64},
}
# Rows that are no image of three channels.
ROWS = {"trafo_linear_transformation": (3, 2, 2), "trafo_uniform_temporal_subsample": (5, 3, 4, 4)}


def node_of(key: str, **more: Any) -> Any:
    return po(key, **{**GIVEN.get(key, {}), **more})


def rows_for(key: str, n: int = 5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    draws = torch.Generator().manual_seed(n)
    shape = (n, *ROWS.get(key, (3, 13, 11)))
    whole = torch.randint(0, 256, shape, generator=draws, dtype=torch.uint8)
    return whole if dtype == torch.uint8 else whole.to(dtype) / 255


def dtypes_for(key: str) -> list[torch.dtype]:
    floats = ("trafo_normalize", "trafo_linear_transformation", "augment_gaussian_noise")
    given = GIVEN.get(key, {}).get("transforms", ())
    few = key in floats or any(part.key in floats for part in given) or key == "trafo_fn"
    return [torch.float32] if few else [torch.float32, torch.uint8]


def read(column: LazyTensor, draw: Draw = Draw(0), size: int = 99) -> list[torch.Tensor]:
    reader, places = Reader({"x": column}, np.arange(len(column))), np.arange(len(column))
    parts = [places[at : at + size] for at in range(0, len(column), size)]
    return [row for part in parts for row in reader.read(part, draw).tensors["x"]]


def alike(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


every_node = pytest.mark.parametrize("key", NODES)
every_vision = pytest.mark.parametrize("key", VISION)


# Parameters ----------------------------------------------------------------------------------


def torchvision_of(key: str) -> Any:
    name = NODES[key].made_of
    return getattr(v2, name) if name[0].isupper() else getattr(functional, name)


def plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


@every_vision
def test_parameters_are_those_of_torchvision_in_name_order_and_default(key: str) -> None:
    theirs = dict(inspect.signature(torchvision_of(key)).parameters)
    for name in ("inpt", "inplace"):  # a tensor may have other readers
        theirs.pop(name, None)
    for ours, name in THEIR_NAMES.items():
        theirs = {ours if known == name else known: item for known, item in theirs.items()}
    names = [name for name in NODES[key].field_names() if name not in ("columns", "stages")]
    assert names == list(theirs)
    known = {n: p.default for n, p in theirs.items() if p.default is not inspect.Parameter.empty}
    node = node_of(key)
    assert {name for name in names if name not in known} <= GIVEN.get(key, {}).keys()
    for name in known.keys() - GIVEN.get(key, {}).keys():
        assert getattr(node, name) == plain(known[name]), name


@every_node
def test_columns_and_stages_come_last(key: str) -> None:
    assert NODES[key].field_names()[-2:] == ("columns", "stages")
    assert node_of(key).stages == ("both" if key.startswith("trafo_") else "fit")
    assert key.startswith(("trafo_", "augment_"))


@every_node
def test_no_parameter_hides_a_method(key: str) -> None:
    hidden = [name for name in NODES[key].field_names() if callable(getattr(Node, name, None))]
    assert hidden == []


# The same numbers as torchvision --------------------------------------------------------------


def their_own(key: str) -> Any:
    """Torchvision's transform with the parameters of the node."""
    params = {
        THEIR_NAMES.get(name, name): v2.InterpolationMode(value)
        if name == "interpolation"
        else value
        for name, value in node_of(key).arguments().items()
    }
    if "policy" in params:
        params["policy"] = v2.AutoAugmentPolicy(params["policy"])
    if key == "trafo_linear_transformation":
        params = {name: torch.tensor(value) for name, value in params.items()}
    found, listed = torchvision_of(key), {}
    for name, value in params.items():
        listed[name] = list(value) if isinstance(value, tuple) else value
    return found(**listed) if inspect.isclass(found) else lambda x: found(x, **listed)


@every_vision
def test_results_are_those_of_torchvision_bit_for_bit(key: str) -> None:
    node = node_of(key)
    if node.operation(node.arguments(), "x").draws:
        return  # tested with given numbers in tests/data/lazy/test_transform.py
    own = their_own(key)
    for dtype in dtypes_for(key):
        rows = rows_for(key, dtype=dtype)
        found = node(rows, seed=4, batched=True)
        ids = np.arange(len(rows))
        seeds = keys(Draw(4), node.default_id, ids, copies_of(ids)).tolist()
        for row, seed, made in zip(rows, seeds, found, strict=True):
            with forked(seed):
                assert torch.equal(made, own(row))


@every_node
def test_a_row_alone_becomes_what_it_becomes_among_others(key: str) -> None:
    for dtype in dtypes_for(key):
        column = LazyTensor.over(ArraySource(rows_for(key, 7, dtype)))
        made = node_of(key)(column)
        whole = read(made)
        assert alike(read(made, size=1), whole) and alike(read(made, size=3), whole)
        assert alike(read(made.take([5, 2])), [whole[5], whole[2]]) or is_random(key)


def is_random(key: str) -> bool:
    node = node_of(key)
    if key in ("trafo_nop", "trafo_cache"):
        return False
    return bool(node.operation(node.arguments(), "x").random)


@every_node
def test_random_ones_draw_by_epoch_and_seed_and_others_not_at_all(key: str) -> None:
    rows = rows_for(key, 1).expand(24, *rows_for(key).shape[1:])
    made = node_of(key)(LazyTensor.over(ArraySource(rows)))
    one = read(made)
    again = [read(made, Draw(0, epoch=1)), read(made, Draw(1))]
    same_rows = all(row.shape == one[0].shape and torch.equal(row, one[0]) for row in one)
    same_draws = [alike(one, other) for other in again]
    if is_random(key):
        assert not same_rows and not any(same_draws)
    else:
        assert same_rows and all(same_draws)


# Shapes are known before anything is read ------------------------------------------------------


@every_node
def test_what_comes_out_is_what_the_spec_promises(key: str) -> None:
    for dtype in dtypes_for(key):
        rows = rows_for(key, 6, dtype)
        sizes = rows.shape[1:]
        for shape in (sizes, (*sizes[:-2], "height", "width")):
            spec = TensorSpec(("batch", *shape), dtype)
            if key == "trafo_linear_transformation" and "height" in shape:
                continue  # it takes one size only
            if key == "trafo_cache" and "height" in shape:
                continue  # it keeps rows of one size only
            promised = node_of(key)(LazyTensor.over(Rows(rows, spec))).spec
            for row in read(node_of(key)(LazyTensor.over(Rows(rows, spec)))):
                assert TensorSpec(promised.shape[1:], promised.dtype).fits(row)
            if shape == sizes and not rule_varies(key):
                assert not set(promised.names) - {"batch"}


def rule_varies(key: str) -> bool:
    if key in VISION:
        return rule(NODES[key].made_of).varies
    return key == "augment_random_choice"  # the one in GIVEN pads or does not


class Rows(ArraySource):
    """A source that promises a form of its own."""

    def __init__(self, data: torch.Tensor, spec: TensorSpec) -> None:
        super().__init__(data, token=repr(spec))
        self.__dict__["spec"] = spec


@every_vision
def test_vectors_are_refused_with_the_layout_or_taken_by_those_that_take_anything(
    key: str,
) -> None:
    column = LazyTensor.over(ArraySource(torch.rand(4, 12)))
    node = node_of(key)
    layout = node.operation(node.arguments(), "x").rule.layout
    if layout == "any":
        assert len(node(column)) == 4
        return
    with pytest.raises(ShapeError, match=f"{key} cannot accept") as refused:
        node(column)
    assert "height, width)" in refused.value.why
