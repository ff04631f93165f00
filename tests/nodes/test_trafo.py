"""Every node ``trafo_*`` and ``augment_*``: torchvision's numbers, and what they promise."""

from __future__ import annotations

import enum
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from mlgraph import ConfigError, DataError, ShapeError, Task, nn, po, sel
from mlgraph.catalogue import catalogue
from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.data.lazy.column import LazyTensor, as_lazy
from mlgraph.data.lazy.draws import Draw, copies_of, keys
from mlgraph.data.lazy.reader import Reader
from mlgraph.data.lazy.rules import rule
from mlgraph.data.lazy.source import ArraySource
from mlgraph.errors import MLGraphError
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
    name = NODES[key].made_of  # type: ignore[attr-defined]
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
        return rule(NODES[key].made_of).varies  # type: ignore[attr-defined]
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


# In a graph ------------------------------------------------------------------------------------


def task(n: int = 12) -> Task:
    rng = np.random.default_rng(0)
    image = rng.random((n, 3, 8, 6), dtype=np.float32)
    return Task(
        {
            "image": LazyTensor.over(ArraySource(image)),
            "mask": (image[:, 0] > 0.5).astype(np.uint8),
            "a": rng.random(n),
            "y": ["u", "v"] * (n // 2),
        },
        target="y",
    )


def steps(task: Task, name: str = "image") -> list[str]:
    return [operation.id for operation in as_lazy(task.columns[name]).lazy.operations]


@pytest.mark.parametrize(
    ("stages", "fit", "apply"),
    [("fit", ["flip"], []), ("apply", [], ["flip"]), ("both", ["flip"], ["flip"])],
)
def test_nothing_is_appended_outside_of_its_stages(
    stages: str, fit: list[str], apply: list[str]
) -> None:
    fitted = po("augment_hflip", id="flip", stages=stages).as_graph().fit(task(), seed=1)
    assert steps(fitted.outputs["flip.output"]) == fit
    assert steps(fitted.predict(task())) == apply


def test_all_columns_of_tensors_are_worked_on_and_made_lazy() -> None:
    given = task()
    found = po("trafo_hflip").as_graph().fit(given).predict(given)
    assert found.features == given.features and steps(found, "mask") == ["trafo_hflip"]
    assert found.columns["a"] is given.columns["a"]
    assert isinstance(as_lazy(found.columns["mask"]), LazyTensor)


def test_columns_may_be_chosen() -> None:
    found = po("trafo_hflip", columns="image").as_graph().fit(task()).predict(task())
    assert steps(found) == ["trafo_hflip"] and steps(found, "mask") == []
    assert steps(po("trafo_hflip", columns=sel.none()).as_graph().fit(task()).predict(task())) == []


def test_a_column_of_numbers_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r'po\("trafo_hflip"\) cannot work on column .a.'):
        po("trafo_hflip", columns=["image", "a"]).as_graph().fit(task())


def test_tensors_that_do_not_fit_name_the_node_and_the_column() -> None:
    with pytest.raises(ShapeError, match="trafo_grayscale cannot accept") as refused:
        po("trafo_grayscale").as_graph().fit(task())
    assert "column 'mask'" in refused.value.where and "trafo_grayscale" in refused.value.where


def test_parameters_of_the_fit_are_used_afterwards() -> None:
    one, other = po("trafo_crop", **PART), po("trafo_crop", **{**PART, "height": 2})
    ctx = Context(id="crop", phase="fit", seed=0)
    outputs, state = one.fit({"input": task()}, ctx)
    (applied,) = other.apply(state, {"input": task()}, ctx)
    assert as_lazy(applied.columns["image"]).spec == as_lazy(outputs[0].columns["image"]).spec


def test_no_rows_and_no_columns_pass() -> None:
    graph = (po("trafo_resize", size=(4, 4)) >> po("augment_hflip")).with_params(
        trafo_resize__columns="image"
    )
    fitted = graph.fit(task(), seed=1)
    none = fitted.predict(task().empty())
    assert len(none) == 0 and as_lazy(none.columns["image"]).shape == ("batch", 3, 4, 4)
    assert len(po("trafo_hflip").as_graph().fit(task().select("a")).predict(task())) == 12


def test_validation_data_are_not_augmented() -> None:
    graph = po("augment_hflip") >> po("trafo_to", torch.float64)
    fitted = graph.fit(task(), valid=0.5, seed=1)
    assert steps(fitted.outputs["trafo_to.output"]) == ["augment_hflip", "trafo_to"]
    assert steps(fitted.predict(task())) == ["trafo_to"]


def test_equal_paths_are_one_column() -> None:
    paths = [po("trafo_hflip", columns="image"), po("trafo_hflip", columns="image")]
    found = (paths >> po("featureunion")).fit(task()).predict(task())
    assert found.features == task().features


def test_what_is_after_an_augmentation_of_another_shape_is_found_in_apply() -> None:
    graph = po("augment_center_crop", size=4, columns="image")
    fitted = graph.as_graph().fit(task(), seed=1)
    sizes = [
        as_lazy(found.columns["image"]).shape
        for found in (fitted.outputs["augment_center_crop.output"], fitted.predict(task()))
    ]
    assert sizes == [("batch", 3, 4, 4), ("batch", 3, 8, 6)]


def test_graphs_with_such_nodes_are_values() -> None:
    graph = po("trafo_resize", size=[4, 4]) >> po("augment_random_crop", size=3) >> nn("relu")
    assert pickle.loads(pickle.dumps(graph)) == graph
    assert graph.hash == pickle.loads(pickle.dumps(graph)).hash
    assert po("trafo_resize", size=(4, 4)) == po("trafo_resize", (4, 4))
    assert po("trafo_resize", interpolation=v2.InterpolationMode.BICUBIC, size=3) == po(
        "trafo_resize", interpolation="bicubic", size=3
    )


# Single nodes ----------------------------------------------------------------------------------


def test_a_dtype_that_cannot_hold_a_value_is_refused_while_reading() -> None:
    column = po("trafo_to", torch.uint8)(LazyTensor.over(ArraySource(torch.tensor([[1], [300]]))))
    assert column.dtype == torch.uint8
    with pytest.raises(DataError, match="300 does not fit uint8"):
        read(column)


def test_a_function_may_take_rows_or_batches() -> None:
    rows = torch.arange(6.0).reshape(3, 2)
    total = po("trafo_fn", fn=torch.sum)(rows, batched=True)
    assert total.tolist() == [1.0, 5.0, 9.0]
    doubled = po("trafo_fn", fn=lambda x: x * len(x), batched=True)(rows, batched=True)
    assert torch.equal(doubled, rows * 3)


def test_a_function_that_draws_is_seeded_for_every_row() -> None:
    node = po("trafo_fn", fn=lambda x: x + torch.rand(1), random=True)
    rows = torch.zeros(4, 1)
    assert torch.equal(node(rows, seed=1, batched=True), node(rows, seed=1, batched=True))
    assert len(node(rows, seed=1, batched=True).unique()) == 4


def test_what_draws_cannot_be_kept() -> None:
    graph = po("augment_random_horizontal_flip", id="flip") >> po("trafo_cache")
    with pytest.raises(ConfigError, match="'flip'"):
        graph.fit(task(), seed=1)


def test_what_was_computed_is_kept(tmp_path: Any) -> None:
    calls: list[int] = []

    def counted(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x * 2

    for folder in (None, tmp_path):
        column = po("trafo_fn", fn=counted)(LazyTensor.over(ArraySource(torch.rand(5, 3))))
        kept = po("trafo_cache", folder=folder, limit="1MB")(column)
        wanted, before = read(column), len(calls)
        assert alike(read(kept), wanted) and alike(read(kept), wanted)
        assert len(calls) - before == 5


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("trafo_resize", {"size": (1, 2, 3)}),
        ("trafo_resize", {"size": 0}),
        ("trafo_resize", {"size": 4, "interpolation": "cubic"}),
        ("trafo_pad", {"padding": (1, 2, 3)}),
        ("trafo_adjust_hue", {"hue_factor": 0.6}),
        ("trafo_grayscale", {"num_output_channels": 2}),
        ("trafo_gaussian_blur", {"kernel_size": 4}),
        ("trafo_normalize", {"mean": (0.5,), "std": (0.0,)}),
        ("trafo_cache", {"limit": "much"}),
        ("trafo_reshape", {"shape": (-1, -1)}),
        ("trafo_hflip", {"stages": "train"}),
        ("augment_random_horizontal_flip", {"p": 1.5}),
        ("augment_color_jitter", {"hue": 0.7}),
        ("augment_random_rotation", {"degrees": -5}),
        ("augment_random_affine", {"degrees": 5, "translate": (2, 2)}),
        ("augment_random_resized_crop", {"size": 4, "scale": 0.5}),
        ("augment_auto_augment", {"policy": "mnist"}),
        ("augment_random_choice", {"transforms": []}),
        ("augment_random_choice", {"transforms": [po("augment_hflip")], "p": (0.5, 0.5)}),
        ("augment_random_order", {"transforms": [po("scale")]}),
        ("augment_random_order", {"transforms": [po("augment_hflip", stages="both")]}),
        ("augment_random_order", {"transforms": [po("augment_hflip", columns="image")]}),
        ("augment_random_apply", {"transforms": [po("trafo_cache")]}),
    ],
)
def test_impossible_parameters_are_refused_when_the_node_is_made(
    key: str, params: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=key):
        po(key, **params)


def test_a_tensor_alone_or_many_may_be_passed() -> None:
    node = po("trafo_resize", size=(4, 4))
    rows = rows_for("trafo_resize")
    assert torch.equal(node(rows)[0], node(rows[0]))
    with pytest.raises(MLGraphError, match="works on"):
        node(torch.zeros(5))
    flips = po("augment_random_horizontal_flip")
    assert torch.equal(flips(rows, seed=3), flips(rows, seed=3))
    assert len({flips(rows).sum(-2).flatten().numpy().tobytes() for _ in range(20)}) > 1


def test_drawing_for_a_tensor_leaves_the_global_stream_alone() -> None:
    before = torch.get_rng_state()
    po("augment_random_resized_crop", size=4)(rows_for("x"))
    assert torch.equal(torch.get_rng_state(), before)
