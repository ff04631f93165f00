"""Nodes of lazy tensors in a graph: stages, columns, states; and what is particular to some."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from mlgraph import ConfigError, DataError, ShapeError, Task, nn, po, sel
from mlgraph.core.base import Context
from mlgraph.data.lazy.column import LazyTensor, as_lazy
from mlgraph.data.lazy.draws import Draw
from mlgraph.data.lazy.reader import Reader
from mlgraph.data.lazy.source import ArraySource
from mlgraph.errors import MLGraphError

PART = {"top": 1, "left": 2, "height": 4, "width": 3}


def images(n: int = 5) -> torch.Tensor:
    return torch.rand(n, 3, 13, 11, generator=torch.Generator().manual_seed(n))


def read(column: LazyTensor) -> torch.Tensor:
    places = np.arange(len(column))
    found = Reader({"x": column}, places).read(places, Draw(0)).tensors["x"]
    assert isinstance(found, torch.Tensor)
    return found


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


def test_pixels_as_they_are_in_files_cannot_be_normalised_and_the_way_out_is_named() -> None:
    task = Task({"image": torch.zeros(2, 1, 4, 4, dtype=torch.uint8)})
    normalise = po("trafo_normalize", mean=(0.5,), std=(0.5,))
    with pytest.raises(ShapeError, match="trafo_normalize cannot accept") as refused:
        normalise.as_graph().fit(task)
    assert 'po("trafo_to_dtype", torch.float32)' in refused.value.mend
    assert (po("trafo_to_dtype", torch.float32, scale=True) >> normalise).fit(task)


def test_layers_name_the_node_that_makes_numbers_of_pixels() -> None:
    task = Task({"image": torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "y": ["a", "b"]}, target="y")
    network = nn("conv2d", 2, 3) >> nn("flatten") >> nn("head") >> po("torch_model")
    with pytest.raises(ShapeError, match="conv2d cannot accept") as refused:
        network.check(task)
    assert 'po("trafo_to_dtype", torch.float32, scale=True)' in refused.value.mend
    assert (po("trafo_to_dtype", torch.float32, scale=True) >> network).check(task)


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
        assert torch.equal(read(kept), wanted) and torch.equal(read(kept), wanted)
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
    rows = images()
    assert torch.equal(node(rows)[0], node(rows[0]))
    with pytest.raises(MLGraphError, match="works on"):
        node(torch.zeros(5))
    flips = po("augment_random_horizontal_flip")
    assert torch.equal(flips(rows, seed=3), flips(rows, seed=3))
    assert len({flips(rows).sum(-2).flatten().numpy().tobytes() for _ in range(20)}) > 1


def test_drawing_for_a_tensor_leaves_the_global_stream_alone() -> None:
    before = torch.get_rng_state()
    po("augment_random_resized_crop", size=4)(images())
    assert torch.equal(torch.get_rng_state(), before)
