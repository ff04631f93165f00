"""What is wrong with images is refused in words of ours, by check or by fit, where it is."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from mlgraph import DataError, MLGraphError, ShapeError, Task, lazy, nn, po
from mlgraph.data.lazy.column import LazyTensor

BROKEN = (3, 17, 29)
KEPT = [i for i in range(30) if i not in BROKEN]


@pytest.fixture
def broken(images, tmp_path):
    def column(on_error="skip", **more):
        paths = images.files(tmp_path, broken=BROKEN)
        return lazy(paths, shape=(3, 8, 8), on_error=on_error, **more)

    return column


# Files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("missing", [False, True])
def test_a_file_that_cannot_be_read_is_named(workers, missing, images, broken, tmp_path):
    task = images.task(broken("raise"))
    if missing:
        for i in BROKEN:
            os.unlink(tmp_path / f"{i:02}.png")
    graph = images.augmented(num_workers=workers)
    graph.check(task)  # reads nothing
    with pytest.raises(DataError, match=r"Row (3|17|29) of column 'image' cannot be read") as error:
        graph.fit(task, seed=1)
    assert "node 'torch_model', column 'image', row" in error.value.where
    assert ".png" in error.value.what and 'on_error="skip"' in str(error.value)
    assert ("there is no file" in error.value.what) == missing
    fitted = images.augmented(epochs=1).fit(images.task(), seed=1)
    with pytest.raises(DataError, match="Row 3 of column 'image'"):
        fitted.predict(task)


@pytest.mark.parametrize("size", [1, 30])
@pytest.mark.parametrize("keep", [True, False, "auto"])
@pytest.mark.parametrize("kind", ["plain", "augmented"])
def test_rows_that_cannot_be_read_do_not_shift_the_others(kind, keep, size, images, broken):
    graph = getattr(images, kind)(
        batch_size=size, tensor_dataset=keep, metrics_train=["accuracy"], shuffle=False
    )
    with pytest.warns(UserWarning, match="3 rows are left out.*row 3 of 'image'"):
        found = graph.fit(images.task(broken()), seed=1)
    if size == 30:  # else the rows are in other batches
        whole = getattr(images, kind)(batch_size=27, shuffle=False)
        wanted = whole.fit(images.task(broken()).take(KEPT), seed=1)
        assert images.same(found, wanted)
    with pytest.warns(UserWarning, match="3 rows are left out"):
        prediction = found.predict(images.task(broken()))
    assert prediction.row_ids.tolist() == KEPT
    assert prediction.truth.tolist() == images.labels[KEPT].tolist()


def test_validation_scores_are_those_of_the_rows_that_could_be_read(images, broken):
    train, kept = images.task().take(range(15)), [i for i in KEPT if i >= 15]
    found = []
    for rows, size in ((range(15, 30), 1), (range(15, 30), 4), (kept, 4)):
        graph = images.plain(metrics=["accuracy", "log_loss"], batch_size_predict=size)
        valid = images.task(broken()).take(list(rows))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "2 rows are left out")
            history = graph.fit(train, seed=1, valid=valid).trained().history
        found.append(history.select(["valid_loss", "valid_accuracy", "valid_log_loss"]))
    for scores in found[1:]:
        for name in scores.column_names:
            np.testing.assert_allclose(scores[name], found[0][name], rtol=1e-5)


@pytest.mark.parametrize("clean", ["running", "clean"])
def test_training_scores_are_those_of_the_rows_that_could_be_read(clean, images, broken):
    def history(task, size):
        graph = images.plain(
            batch_size=size, shuffle=False, metrics_train=["accuracy"], metrics_train_from=clean
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "3 rows are left out")
            return graph.fit(task, seed=1).trained().history

    one = history(images.task(broken()), 30)
    assert one.equals(history(images.task(broken()).take(KEPT), 27))


def test_a_batch_of_which_nothing_can_be_read_makes_no_step(images, broken):
    order = [0, 3, 17, 1, 2, 29]

    def fit(rows, **options):
        graph = images.plain(batch_size=1, shuffle=False, **options)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ". rows are left out")
            return graph.fit(images.task(broken()).take(rows), seed=1)

    assert images.same(fit(order), fit([0, 1, 2]))
    assert fit(order).trained().history.equals(fit([0, 1, 2]).trained().history)
    for precision in ("bf16", "32"):
        assert fit(order, accumulate=2, precision=precision).trained().epochs == 2


def test_batch_norm_does_not_see_a_row_alone(images, broken):
    graph = (
        po("trafo_to_dtype", torch.float32, scale=True)
        >> nn("flatten")
        >> nn("linear", 4)
        >> nn("batch_norm1d")
        >> nn("head")
        >> po("torch_model", epochs=2, batch_size=2, progress=False)
    )
    with pytest.warns(UserWarning, match="6 rows are left out.*in this epoch the only one"):
        graph.fit(images.task(broken()), seed=1)


def test_nothing_that_can_be_read_is_an_error(images, broken):
    nothing = images.task(broken()).take(list(BROKEN))
    fitted = images.plain(epochs=1).fit(images.task(), seed=1)
    for act in (lambda: fitted.predict(nothing), lambda: images.plain().fit(nothing, seed=1)):
        with pytest.raises(DataError, match="No row can be read") as error:
            act()
        assert "column 'image', row" in error.value.where and ".png" in error.value.why


# Shapes and dtypes ------------------------------------------------------------------------------


def test_another_shape_than_promised_is_named(images, tmp_path):
    files = images.files(tmp_path, size=lambda i: (8, 9) if i == 5 else (8, 8))
    for column in (lazy(files, shape=(3, 8, 8)),):
        with pytest.raises(DataError, match="Row 5 of column 'image'") as error:
            images.plain().fit(images.task(column), seed=1)
        assert "8" in error.value.why and "9" in error.value.why


def test_an_operation_that_breaks_its_promise_is_named(images):
    def odd(x):
        return x[:, :4] if torch.equal(x, torch.from_numpy(images.array[5])) else x

    graph = po("trafo_fn", fn=odd) >> images.plain()
    with pytest.raises(DataError, match="Row 5 of column 'image' has another shape") as error:
        graph.fit(images.task(), seed=1)
    assert "expected (3, 8, 8)" in error.value.why and "(3, 4, 8)" in error.value.why


def test_rows_of_several_sizes_enter_one_by_one_or_not_at_all(images):
    lengths = [torch.randn(2 + i % 3, 4) for i in range(30)]

    def graph(**options):
        chosen = {"epochs": 1, "progress": False, **options}
        body = nn("linear", 4) >> nn("reduce", "mean", dim=1) >> nn("head")
        return body >> po("torch_model", **chosen)

    task = images.task(lazy(lengths))
    fitted = graph(batch_size=1).fit(task, seed=1, valid=0.3)
    assert fitted.predict(task).prob.shape == (30, 2)
    equal = task.take(range(0, 30, 3))
    assert graph(batch_size=5).fit(equal, seed=1).predict(equal).prob.shape == (10, 2)
    for options in (
        {"batch_size": 4},
        {"batch_size": 1, "tensor_dataset": True},
        {"batch_size": 1, "batch_size_predict": 4},
    ):
        with pytest.raises(DataError, match="'image' differ in shape") as error:
            graph(**options).fit(task, seed=1, valid=0.3)
        assert "batch_size=1" in error.value.mend and "(2, 4)" in error.value.why


def test_a_network_for_any_size_takes_images_of_two_sizes(images, tmp_path):
    files = images.files(tmp_path, size=lambda i: (8, 8) if i % 2 else (12, 9))
    task = images.task(lazy(files, dtype=torch.float32))
    graph = (
        nn("conv2d", 4, kernel_size=3)
        >> nn("batch_norm2d")
        >> nn("adaptive_avg_pool2d", 1)
        >> nn("flatten")
        >> nn("head")
        >> po("torch_model", epochs=1, batch_size=5, progress=False)
    )
    fitted = graph.fit(task.take(range(1, 30, 2)), seed=1)
    for other in (task.take(range(0, 30, 2)), task.take(range(1, 30, 2))):
        assert np.isfinite(fitted.predict(other).prob).all()


@pytest.mark.parametrize("valid", [None, 0.3])
def test_another_shape_or_dtype_where_it_is_applied_is_found_before_training(valid, images):
    crop = po("augment_center_crop", size=4)
    dtype = po("trafo_to", torch.float32)
    for steps, what in (
        (dtype >> crop, "another shape"),
        (po("trafo_to_dtype", torch.float32, scale=True, stages="fit"), "another dtype"),
    ):
        graph = steps >> images.head()
        for act in (
            lambda graph=graph: graph.check(images.task(), valid=valid),
            lambda graph=graph: graph.fit(images.task(), seed=1, valid=valid),
        ):
            with pytest.raises(ShapeError, match=f"'image' has {what} than in training") as error:
                act()
            assert 'stages="both"' in error.value.mend and not error.value.errors
    both = po("augment_center_crop", size=4, stages="both")
    (dtype >> both >> images.head(epochs=1)).fit(images.task(), seed=1)


@pytest.mark.parametrize(
    ("column", "arrived"),
    [
        (lambda a: lazy(a[:, :1]), "(batch, 1, 8, 8) uint8"),
        (lambda a: lazy(a[..., :7]), "(batch, 3, 8, 7) uint8"),
        (lambda a: lazy(a.astype(np.float32)), "(batch, 3, 8, 8) float32"),
        (lambda a: a.astype(np.float64), "(batch, 3, 8, 8) float64"),
    ],
)
def test_new_images_of_another_form_are_refused(column, arrived, images):
    fitted = images.plain(epochs=1).fit(images.task(), seed=1)
    with pytest.raises(DataError, match="another form") as error:
        fitted.predict({"image": column(images.array)})
    assert arrived in error.value.why and "column 'image'" in error.value.where


def test_a_transform_says_which_channels_it_needs(images):
    graph = po("augment_color_jitter", hue=0.1) >> images.plain()
    with pytest.raises(ShapeError, match="augment_color_jitter cannot accept") as error:
        graph.check(images.task(lazy(images.array[:, :2])))
    assert "column 'image'" in error.value.where and "there are 2" in error.value.why


@pytest.mark.parametrize("p", [0.01, 0.99])
def test_what_is_done_to_some_rows_only_is_tried_before_training(p, images):
    # A threshold of 2 is refused for numbers from 0 to 1, once a row is chosen.
    graph = (
        po("trafo_to_dtype", torch.float32, scale=True)
        >> po("augment_random_solarize", threshold=2.0, p=p)
        >> images.head()
    )
    with pytest.raises(ShapeError, match="augment_random_solarize"):
        graph.check(images.task())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_value_that_does_not_fit_is_refused_where_it_arises(workers, images):
    graph = (
        po("trafo_to", torch.int16)
        >> po("trafo_fn", fn=lambda x: x * 2, id="double")
        >> po("trafo_to", torch.uint8, id="small")
        >> images.plain(num_workers=workers, tensor_dataset=False)
    )
    with pytest.raises(DataError, match="does not fit uint8") as error:
        graph.fit(images.task(), seed=1)
    assert "node 'torch_model'" in error.value.where
    assert "node 'small', rows" in error.value.where


@pytest.mark.parametrize("workers", [0, 1])
def test_an_exception_of_ones_own_stays_what_it_is(workers, images):
    def picky(x):
        if torch.equal(x, torch.from_numpy(images.array[5])):
            raise ZeroDivisionError("my words")
        return x

    graph = po("trafo_fn", fn=picky) >> images.augmented(num_workers=workers)
    with pytest.raises(ZeroDivisionError, match=r"^my words") as error:
        graph.fit(images.task(), seed=1)
    notes = "\n".join(error.value.__notes__)
    assert str(error.value) == "my words"
    assert "in node 'trafo_fn', of rows" in notes and "node 'torch_model'" in notes
    assert ("in a worker process" in notes) == (workers > 0)


# Data sets --------------------------------------------------------------------------------------


class Growing(torch.utils.data.Dataset):
    """A data set whose length may change."""

    def __init__(self) -> None:
        self.n, self.odd = 30, -1

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.full((3, 8, 9 if i == self.odd else 8), float(i)), 0


def test_a_data_set_that_changes_its_length_or_shapes_is_refused(images):
    data = Growing()
    task = images.task(lazy(data, item=0))
    data.n = 29
    with pytest.raises(DataError, match="29 rows now, and had 30") as error:
        images.head().fit(task, seed=1)
    assert "column 'image'" in error.value.where
    data.n, data.odd = 30, 7
    with pytest.raises(DataError, match="Row 7 of column 'image'") as error:
        images.head().fit(task, seed=1)
    assert "shape=" in error.value.mend


def test_rows_that_are_not_there_are_refused_at_once(images):
    for act in (lambda: lazy(images.array).take([30]), lambda: images.task().take([30])):
        with pytest.raises(DataError, match="no row at position 30"):
            act()
    with pytest.raises(DataError, match=r"Row 1 .*has no path"):
        lazy(["a.png", None])


# Wrong doors ------------------------------------------------------------------------------------

TRAIN = po("torch_model", epochs=1, progress=False)
ENDING = nn("flatten") >> nn("head") >> TRAIN


@pytest.mark.parametrize(
    ("begin", "words", "mend"),
    [
        (po("ingress_num"), "ingress_num cannot take 'image'", "ingress_tensor"),
        (po("ingress_categ"), "ingress_categ cannot take 'image'", "ingress_tensor"),
        (po("scale", columns="image"), 'po("scale") cannot work on column', "leave it out"),
        (po("encode", columns="image"), 'po("encode") cannot work on column', "leave it out"),
        (po(PCA(2), columns="image"), "cannot work on column 'image'", "leave it out"),
        (nn("conv2d", 2, kernel_size=3), "conv2d cannot accept", "trafo_to_dtype"),
        (nn("flatten") >> nn("linear", 2), "linear cannot accept", "trafo_to_dtype"),
    ],
    ids=str,
)
def test_a_column_of_images_at_a_wrong_door_is_shown_the_right_one(begin, words, mend, images):
    graph = begin.as_graph() >> ENDING
    for act in (graph.check, graph.fit):
        with pytest.raises(MLGraphError) as error:
            act(images.task())
        assert words in error.value.what and mend in error.value.mend
        assert "image" in str(error.value) or "uint8" in str(error.value)


@pytest.mark.parametrize("door", [po("ingress_tensor"), po("trafo_nop")])
def test_two_columns_of_images_need_a_door_each(door, images):
    task = images.task(mask=lazy(images.array))
    with pytest.raises(DataError, match="takes one column of tensors") as error:
        (door.as_graph() >> ENDING).check(task)
    assert "'image', 'mask'" in error.value.why and 'columns="image"' in error.value.mend


def test_a_lazy_column_does_not_travel_in_a_table(images):
    fitted = images.plain(epochs=1).fit(images.task(), seed=1)
    with pytest.raises(DataError, match="where its tensors are") as error:
        fitted.predict(images.task().table(["image"]))
    assert "column 'image'" in error.value.where and "task.lazy(name)" in error.value.mend


def test_images_and_numbers_need_a_door_each(images):
    with pytest.raises(DataError, match="one door") as error:
        ENDING.check(images.task(a=np.arange(30.0)))
    assert "ingress_num" in error.value.mend and "ingress_tensor" in error.value.mend


def test_images_that_are_not_there_are_asked_for_by_name(images):
    fitted = images.plain(epochs=1).fit(images.task(), seed=1)
    with pytest.raises(DataError, match="Column 'image' is missing"):
        fitted.predict({"picture": images.array})
    with pytest.raises(DataError, match="no tensors") as error:
        fitted.predict({"image": np.arange(30.0)})
    assert "column 'image'" in error.value.where
    assert isinstance(lazy(images.array), LazyTensor) and isinstance(images.task(), Task)
