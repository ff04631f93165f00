"""Fits on lazy columns: the same however they are read, and drawn anew where they should be."""

from __future__ import annotations

import gc
import os
from contextlib import nullcontext
from multiprocessing import active_children

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor

from mlgraph import callback, lazy, materialize, nn, po
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.source import ArraySource, Fetched, Rows
from mlgraph.train.callback import Callback
from mlgraph.train.checkpoint import checkpoints

SEEN: list[Tensor] = []


class Watch(Callback):
    """Notes what enters the network."""

    def on_batch_begin(self, run, state):
        SEEN.append(run.batch.inputs[0].clone())


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()


@attrs.frozen(eq=False, slots=False, init=False)
class Counted(ArraySource):
    """An array that notes which rows are read."""

    def fetch(self, rows: Rows) -> Fetched:
        READ.append(rows.tolist())
        return super().fetch(rows)


READ: list[list[int]] = []


# The same ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 1},
        {"num_workers": 2},
        {"tensor_dataset": True},
        {"tensor_dataset": False},
        {"tensor_dataset": True, "num_workers": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["plain", "augmented"])
def test_how_images_are_read_changes_no_bit(kind, options, images):
    make = getattr(images, kind)
    one = make(metrics=["accuracy"]).fit(images.task(), seed=1, valid=0.3)
    other = make(metrics=["accuracy"], **options).fit(images.task(), seed=1, valid=0.3)
    assert images.same(one, other)
    assert one.trained().history.equals(other.trained().history)
    assert np.array_equal(one.predict(images.task()).prob, other.predict(images.task()).prob)


class Break(Callback):
    """Fails while workers read."""

    def on_epoch_end(self, run, state):
        raise RuntimeError("broken")


@pytest.mark.parametrize("fails", [False, True])
def test_processes_that_read_end_with_the_fit(fails, images):
    used = [Break()] if fails else []
    graph = images.plain(*used, num_workers=1, tensor_dataset=False)
    before = set(active_children())
    gc.disable()  # nothing is left to chance
    try:
        with pytest.raises(RuntimeError, match="broken") if fails else nullcontext():
            graph.fit(images.task(), seed=1, valid=0.3)
        assert not set(active_children()) - before
    finally:
        gc.enable()


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_the_size_of_batches_that_are_predicted_changes_no_weight(size, images):
    one = images.augmented().fit(images.task(), seed=1, valid=0.3)
    other = images.augmented(batch_size_predict=size).fit(images.task(), seed=1, valid=0.3)
    assert images.same(one, other)
    a, b = (fitted.predict(images.task()).prob for fitted in (one, other))
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_number_of_threads_does_not_change_what_is_read():
    big = np.random.default_rng(0).integers(0, 256, (8, 3, 256, 256)).astype(np.uint8)
    contrast = po("augment_color_jitter", contrast=0.5)  # needs the mean of an image
    column = contrast(lazy(big).to(torch.float32))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(materialize(column, stacked=True, seed=1))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


@pytest.mark.parametrize("sampler", ["random", "weighted", "stratified"])
def test_samplers_and_their_batches_are_read_alike_by_workers(sampler, images):
    one, other = (
        images.augmented(
            sampler=sampler, metrics_train=["accuracy"], class_weight="balanced", num_workers=n
        ).fit(images.task(), seed=1)
        for n in (0, 1)
    )
    assert images.same(one, other)
    assert one.trained().history.equals(other.trained().history)


def test_a_path_to_a_file_and_the_array_in_it_are_the_same(images, tmp_path):
    np.save(tmp_path / "x.npy", images.array)
    one = images.augmented().fit(images.task(), seed=1)
    assert images.same(one, images.augmented().fit(images.task(lazy(tmp_path / "x.npy")), seed=1))
    files = lazy(images.files(tmp_path), shape=(3, 8, 8))
    pixels = np.stack([np.resize(one, (8, 8, 3)).transpose(2, 0, 1) for one in images.array])
    one = images.augmented().fit(images.task(lazy(pixels)), seed=1)
    assert images.same(one, images.augmented(num_workers=1).fit(images.task(files), seed=1))


# Drawn anew -------------------------------------------------------------------------------------


def test_epochs_and_rows_draw_for_themselves(images):
    same = np.broadcast_to(images.array[:1], images.array.shape)
    graph = images.augmented(Watch(), shuffle=False, batch_size=30, tensor_dataset=True)
    graph.fit(images.task(lazy(same)), seed=1)
    first, second = SEEN
    for batch in (first, second):
        assert len(torch.unique(batch.flatten(1), dim=0)) == 30
    assert not (first == second).flatten(1).all(1).any()


def test_what_is_predicted_and_validated_is_not_augmented(images):
    seen: list[int] = []

    def note(x):
        seen.append(1)
        return x

    noting = po("trafo_fn", fn=note, random=True, stages="fit")
    fitted = (noting >> images.plain(epochs=1)).fit(images.task(), seed=1, valid=0.3)
    tried = len(seen) - 21
    assert tried < 10  # to find its shapes
    fitted.predict(images.task())
    assert len(seen) == 21 + tried


def test_augmentation_while_predicting_draws_and_is_repeatable(images):
    flips = po("augment_random_horizontal_flip", stages="both")
    fitted = (flips >> images.plain()).fit(images.task(), seed=1, valid=0.3)
    one, two = (fitted.predict(images.task()).prob for _ in range(2))
    assert np.array_equal(one, two)
    alone = [fitted.predict(images.task().take([i])).prob[0] for i in range(30)]
    np.testing.assert_allclose(alone, one, atol=1e-6)
    mirrored = lazy(images.array[..., ::-1].copy())
    changed = np.abs(fitted.predict(images.task(mirrored)).prob - one).max(1) > 1e-6
    assert changed.all()  # a row that was flipped is so again: what it is changes, not its draw


def test_image_and_mask_draw_the_same(images):
    seen: list[tuple[Tensor, Tensor]] = []

    class Both(Callback):
        def on_batch_begin(self, run, state):
            seen.append(run.batch.inputs)

    image = images.array.astype(np.float32)
    task = images.task(lazy(image), mask=lazy(image[:, :1] * 2))
    paths = {
        name: po("ingress_tensor", columns=name) >> nn("flatten") >> nn("linear", 3)
        for name in ("image", "mask")
    }
    graph = (
        po("augment_random_affine", degrees=40, translate=(0.3, 0.3))
        >> paths
        >> nn("merge_cat")
        >> nn("head")
        >> po("torch_callbacks", [Both()])
        >> po("torch_model", epochs=1, batch_size=10, progress=False, num_workers=0)
    )
    graph.fit(task, seed=1)
    assert len(seen) == 3
    for one, mask in seen:
        assert torch.equal(one[:, :1] * 2, mask)
        assert len(torch.unique(one.flatten(1), dim=0)) == 10


# Read once --------------------------------------------------------------------------------------


def test_what_two_paths_have_in_common_is_read_and_computed_once_per_batch(images):
    READ.clear()
    sizes: list[int] = []

    def slow(x):
        sizes.append(len(x))
        return x * 1.0

    ways = {
        "negated": po("trafo_fn", fn=torch.neg, batched=True) >> po("ingress_tensor"),
        "plain": po("ingress_tensor", id="as_it_is"),
    }
    graph = (
        po("trafo_to", torch.float32)
        >> po("trafo_fn", fn=slow, batched=True, id="slow")
        >> {name: way >> nn("flatten") >> nn("linear", 3) for name, way in ways.items()}
        >> nn("merge_cat")
        >> nn("head")
        >> po("torch_model", epochs=2, batch_size=10, progress=False, tensor_dataset=False)
    )
    task = images.task(LazyTensor.over(Counted(images.array)))
    graph.check(task)
    tried = len(sizes)
    sizes.clear()
    graph.fit(task, seed=1)
    assert [len(rows) for rows in READ] == [10] * 6
    assert sizes[-6:] == [10] * 6 and len(sizes) <= tried + 6


# Interrupted ------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [False, True], ids=["whole", "with rows left out"])
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("at", [3, 7])
@pytest.mark.filterwarnings("ignore:3 rows are left out", "ignore:. rows are left out")
def test_a_resumed_fit_is_the_whole_one(at, workers, broken, images, tmp_path):
    (tmp_path / "files").mkdir()
    paths = images.files(tmp_path / "files", broken=(3, 17, 29) if broken else ())
    task = images.task(lazy(paths, shape=(3, 8, 8), on_error="skip"))

    def graph(**more):
        saving = callback("checkpoint", path=str(tmp_path / "run"), batches=1)
        options = {"metrics_train": ["accuracy"], "num_workers": workers, **more}
        return images.augmented(saving, Watch(), **options)

    whole = graph().fit(task, seed=1)
    seen, steps = list(SEEN), 10
    for path in checkpoints(tmp_path / "run")[at:]:
        os.unlink(path)
    SEEN.clear()
    resumed = graph(resume=True).fit(task, seed=1)
    assert images.same(whole, resumed)
    assert whole.trained().history.equals(resumed.trained().history)
    assert len(SEEN) == steps - at
    assert all(torch.equal(a, b) for a, b in zip(SEEN, seen[at:], strict=True))


def test_only_batches_that_remain_are_read_when_a_fit_is_resumed(images, tmp_path):
    def fit(**more):
        saving = callback("checkpoint", path=str(tmp_path / "run"), batches=1)
        graph = images.augmented(saving, epochs=1, tensor_dataset=False, **more)
        return graph.fit(images.task(LazyTensor.over(Counted(images.array))), seed=1)

    READ.clear()
    fit()
    whole = list(READ)
    assert [len(rows) for rows in whole] == [7, 7, 7, 7, 2]
    for path in checkpoints(tmp_path / "run")[3:]:
        os.unlink(path)
    READ.clear()
    fit(resume=True)
    assert whole[3:] == READ


def test_weights_averaged_at_the_end_see_the_same_draws(images):
    def fit(workers):
        graph = (
            po("trafo_to_dtype", torch.float32, scale=True)
            >> po("augment_color_jitter", brightness=0.5)
            >> nn("conv2d", 4, kernel_size=3)
            >> nn("batch_norm2d")
            >> nn("flatten")
            >> nn("head")
            >> po("torch_callbacks", [callback("swa", begin=1), callback("ema", decay=0.9)])
            >> po("torch_model", epochs=3, batch_size=8, progress=False, num_workers=workers)
        )
        return graph.fit(images.task(), seed=1)

    assert images.same(fit(0), fit(1))


def test_a_fit_leaves_the_global_stream_and_threads_alone(images):
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    fitted = images.augmented(num_workers=1).fit(images.task(), seed=1)
    fitted.predict(images.task())
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
