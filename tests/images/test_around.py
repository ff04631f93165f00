"""What is around a fit on images: files, estimators, splits, several processes, scenarios."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.model_selection import KFold, cross_val_score

import mlgraph
from mlgraph import Task, lazy, nn, po

# Files ------------------------------------------------------------------------------------------


@pytest.fixture
def big():
    """A megabyte of images."""
    array = np.random.default_rng(0).integers(0, 256, (100, 3, 64, 64)).astype(np.uint8)
    return array, Task({"image": lazy(array), "y": ["a", "b"] * 50}, target="y")


def small_network():
    return (
        po("trafo_to_dtype", torch.float32, scale=True)
        >> po("augment_random_horizontal_flip")
        >> nn("adaptive_avg_pool2d", 4)
        >> nn("flatten")
        >> nn("head")
        >> po("torch_model", epochs=1, progress=False)
    )


def test_a_fitted_graph_has_no_image_inside(big, tmp_path):
    array, task = big
    fitted = small_network().fit(task, seed=1, valid=0.2)
    fitted.save(tmp_path / "model.mlgraph")
    assert array.nbytes > 10**6
    assert (tmp_path / "model.mlgraph").stat().st_size < 50_000
    assert len(pickle.dumps(fitted)) < 50_000


@pytest.mark.parametrize("way", ["file", "pickle"])
def test_a_fitted_graph_predicts_images_wherever_they_are(way, big, images, tmp_path):
    array, task = big
    fitted = small_network().fit(task, seed=1)
    if way == "file":
        fitted.save(tmp_path / "model.mlgraph")
        loaded = mlgraph.load(tmp_path / "model.mlgraph")
    else:
        loaded = pickle.loads(pickle.dumps(fitted))
    wanted = fitted.predict(task).prob
    np.save(tmp_path / "x.npy", array)
    for new in (lazy(array), array, torch.from_numpy(array), lazy(tmp_path / "x.npy"), list(array)):
        new = lazy(new) if isinstance(new, list) else new
        assert np.array_equal(loaded.predict({"image": new}).prob, wanted)
    paths = lazy(images.files(tmp_path, size=lambda i: (64, 64)))  # no size is promised
    assert loaded.predict({"image": paths}).prob.shape == (30, 2)
    assert loaded.predict(task.take([])).prob.shape == (0, 2)


def test_the_network_goes_into_a_file_of_torch(big, tmp_path):
    _, task = big
    fitted = small_network().fit(task, seed=1)
    fitted.export_torch(tmp_path / "net.pt2")
    exported = torch.export.load(tmp_path / "net.pt2").module()
    x = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(exported(x), fitted.module()(x))


def test_graphs_and_tasks_travel_with_their_operations(images):
    graph = images.augmented()
    assert pickle.loads(pickle.dumps(graph)) == graph
    task = po("augment_hflip").as_graph().fit(images.task(), seed=1).predict(images.task())
    moved = pickle.loads(pickle.dumps(task))
    assert moved.fingerprint == task.fingerprint
    assert images.same(graph.fit(moved, seed=1), graph.fit(task, seed=1))


def test_an_interrupted_fit_is_continued_with_new_draws(images):
    whole = images.augmented(epochs=3, num_workers=1).fit(images.task(), seed=1)
    first = images.augmented(epochs=2).fit(images.task(), seed=1)
    assert images.same(first.continue_(images.task(), epochs=1), whole)


# Estimators -------------------------------------------------------------------------------------


def test_images_of_equal_size_reach_an_estimator_as_a_column_of_arrow(images):
    """scikit-learn's tables have two dimensions; Arrow has a type for tensors in a column."""
    table = pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(images.array)})
    made = images.augmented(epochs=1).as_classifier(random_state=1)
    fitted = made.fit(table, images.labels)
    wanted = images.augmented(epochs=1).fit(images.task(), seed=fitted.graph_.seed)
    assert images.same(fitted.graph_, wanted) and list(fitted.classes_) == ["a", "b"]
    assert np.array_equal(fitted.predict_proba(table), wanted.predict(images.task()).prob)
    assert len(cross_val_score(made, table, images.labels, cv=3, error_score="raise")) == 3


def test_images_as_rows_of_numbers_are_put_in_shape_by_the_network(images):
    graph = po("ingress_num") >> nn("reshape", shape=(-1, 3, 8, 8)) >> images.head(epochs=1)
    flat = images.array.reshape(30, -1)
    scores = cross_val_score(graph.as_classifier(), flat, images.labels, cv=3, error_score="raise")
    assert len(scores) == 3


def test_folds_of_a_task_are_cut_without_reading(images, tmp_path):
    np.save(tmp_path / "x.npy", images.array)
    task = images.task(lazy(tmp_path / "x.npy"))
    seen = []
    for train, test in KFold(3).split(np.zeros(30)):
        fitted = images.augmented(epochs=1).fit(task.take(train), seed=1)
        seen += fitted.predict(task.take(test)).row_ids.tolist()
    assert seen == list(range(30))


def test_rows_that_are_drawn_twice_draw_for_themselves(images):
    twice = images.task().take([3, 3, 5, 3])
    seen = []

    def note(x):
        seen.append(x)
        return x

    graph = (
        po("trafo_to", torch.float32)
        >> po("augment_random_affine", degrees=90, translate=(0.4, 0.4))
        >> po("trafo_fn", fn=note, stages="fit")
        >> images.head(epochs=1, batch_size=4, shuffle=False)
    )
    graph.fit(twice, seed=1)
    a, b, _, c = seen[-4:]
    assert not torch.equal(a, b) and not torch.equal(a, c) and not torch.equal(b, c)


# Scenarios --------------------------------------------------------------------------------------


def square(x):
    return torch.cat([x, x**2], -1)


def test_operations_before_a_linear_network_make_polynomial_regression():
    x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    task = Task({"x": lazy(x), "y": (1 + 2 * x - 3 * x**2)[:, 0].astype(float)}, target="y")
    graph = (
        po("trafo_fn", fn=square, batched=True)
        >> nn("head")
        >> po("torch_optimizer", "adamw", lr=0.05)
        >> po("torch_model", epochs=150, batch_size=20, progress=False)
    )
    assert "(batch, 2) float32" in str(graph.check(task))
    weights = graph.fit(task, seed=1).trained().tensors
    np.testing.assert_allclose(weights["head.weight"], [[2, -3]], atol=0.05)
    np.testing.assert_allclose(weights["head.bias"], [1], atol=0.05)


def test_flat_images_enter_a_perceptron_of_which_only_some_rows_are_read(images, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    broken = tuple(range(20, 30))
    task = images.task(lazy(images.files(folder, broken=broken), shape=(3, 8, 8)))
    graph = (
        po("trafo_to_dtype", torch.float32, scale=True)
        >> po("trafo_reshape", shape=(-1,))
        >> nn("linear", 20)
        >> nn("relu")
        >> nn("dropout", 0.3)
        >> nn("head")
        >> po("torch_optimizer", "adamw", lr=1e-3, weight_decay=0.01)
        >> po("torch_model", epochs=1, progress=False, metrics_train=["log_loss"])
    )
    some = task.take(range(20))
    assert "(batch, 192) float32" in str(graph.check(some))
    assert graph.fit(some, seed=1).predict(some).prob.shape == (20, 2)


# A file larger than what may be held ------------------------------------------------------------

MEMORY = """
import resource, sys
import numpy as np, torch
from mlgraph import Task, lazy, nn, po

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def fit(rows):
    images = np.memmap(sys.argv[1], dtype=np.uint8, mode="r", shape=(rows, 1, 28, 28))
    labels = (np.arange(rows) % 10).astype(str)
    task = Task({"image": lazy(images), "y": labels}, target="y")
    graph = (
        po("trafo_to_dtype", torch.float32, scale=True) >> po("augment_random_horizontal_flip")
        >> nn("conv2d", 4, kernel_size=3, stride=3) >> nn("relu") >> nn("flatten") >> nn("head")
        >> po("torch_model", epochs=1, batch_size=512, progress=False, metrics=["accuracy"])
    )
    graph.fit(task, seed=1, valid=0.1)

fit(3000)
before = peak()
fit(70_000)
print((peak() - before) / (70_000 * 28 * 28))
"""


@pytest.mark.slow
def test_a_fit_does_not_hold_what_it_reads(tmp_path):

    np.random.default_rng(0).integers(0, 256, 70_000 * 784, dtype=np.uint8).tofile(tmp_path / "x")
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "x")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) < 1.3
