"""Tasks with lazy columns: built, cut, joined and printed without reading a tensor."""

import pickle

import attrs
import numpy as np
import pytest
import torch

from mlgraph import MLGraphError, Task, lazy, materialize, nn, po, sel
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.memmap import MemmapSource
from mlgraph.data.lazy.operation import Function
from mlgraph.errors import DataError, UnknownColumnError

ROOT = Function("root", torch.sqrt)


@pytest.fixture
def task(counted):
    return Task({"image": LazyTensor.over(counted), "y": ["a", "b"] * 3}, target="y")


def test_a_task_holds_lazy_tensors_and_says_what_they_are(task, counted):
    assert task.types["image"] == "tensor" and task.missing == {}
    assert "tensor (1): image [2 float32]" in repr(task)
    assert sel.type("tensor").pick(task) == ("image",)
    assert counted.asked == []


def test_views_read_nothing_and_keep_rows_with_their_targets(task, counted):
    train, valid = task.filter([5, 2, 3, 0]).split(0.25, seed=1)
    task.fingerprint, task.take([1]).fingerprint, task.empty(), repr(train)
    assert counted.asked == []
    for part in (train, valid, task.take(slice(1, 4)), task.take([5, 5, 0])):
        found = materialize(part, stacked=True)
        assert (found["image"][:, 0] / 2).tolist() == part.row_ids.tolist()


def test_fingerprints_follow_rows_sources_and_operations(task):
    other = task.with_lazy({"image": task.lazy("image").append(ROOT)})
    prints = {t.fingerprint for t in (task, other, task.take([1, 0]), other.take([1, 0]))}
    assert len(prints) == 4
    again = task.with_lazy({"image": task.lazy("image").append(Function("b", torch.sqrt))})
    assert again.fingerprint == other.fingerprint


def test_a_pickled_task_is_the_same(counted):
    task = Task({"image": LazyTensor.over(counted.inner)}).take([3, 1])
    other = pickle.loads(pickle.dumps(task))
    assert other.fingerprint == task.fingerprint
    assert torch.equal(*(materialize(t, stacked=True)["image"] for t in (task, other)))


def test_an_empty_task_keeps_the_form_and_not_the_data(task):
    empty = task.empty()
    assert empty.lazy("image").spec == task.lazy("image").spec
    assert empty.columns["image"].type == task.columns["image"].type
    source = empty.lazy("image").lazy.sources[0]
    assert len(source) == 0 and not hasattr(source, "inner")
    assert materialize(empty, stacked=True)["image"].shape == (0, 2)


def test_operations_are_appended_to_an_empty_task_too(task):
    wide = Function("wide", lambda x: x.repeat(3))
    empty = task.empty()
    empty = empty.with_lazy({"image": empty.lazy("image").append(wide)})
    assert empty.lazy("image").shape == ("batch", 6)


def test_new_data_is_taken_lazy_or_in_memory(task):
    for new in (
        lazy(torch.ones(2, 2)),
        LazyTensor.over(task.lazy("image").lazy.sources[0]).append(ROOT),
        np.ones((2, 2), dtype=np.float32),
    ):
        like = task.like({"image": new})
        assert like.lazy("image").spec == task.lazy("image").spec
        assert materialize(like, stacked=True)["image"].shape[1:] == (2,)


@pytest.mark.parametrize(
    "new",
    [np.ones((2, 3), np.float32), np.ones((2, 2)), np.ones((2, 2, 1), np.float32), [1.0, 2.0]],
)
def test_new_data_of_another_form_is_refused(task, new):
    with pytest.raises(DataError, match=r"another form|has no tensors") as caught:
        task.like({"image": new})
    assert "column 'image'" in caught.value.where


def test_lazy_tensors_do_not_become_numbers():
    task = Task({"image": [1.0, 2.0]})
    with pytest.raises(DataError, match="'image' is tensor here and was float"):
        task.like({"image": lazy(torch.ones(2, 2))})


def test_lazy_tensors_do_not_stand_for_those_in_memory():
    task = Task({"image": np.ones((4, 2, 2))})
    with pytest.raises(DataError, match="are lazy here and were in memory"):
        task.like({"image": task.lazy("image")})


def test_lazy_tensors_do_not_enter_as_numbers(task):
    graph = po("ingress_num") >> nn("linear", 2) >> nn("head") >> po("torch_model", epochs=1)
    with pytest.raises(MLGraphError, match="image"):
        graph.fit(task, seed=1)


def test_rows_of_another_source_go_below(task):
    more = Task(
        {"image": lazy(torch.full((2, 2), 9.0)), "y": ["b", "a"]}, target="y", row_ids=[9, 8]
    )
    joined = task.concat(more)
    assert joined.row_ids.tolist() == [0, 1, 2, 3, 4, 5, 9, 8]
    assert materialize(joined.filter([8, 2]), stacked=True)["image"].tolist() == [[9, 9], [4, 5]]
    assert len(joined.lazy("image").lazy.sources) == 2


def test_tensors_in_memory_go_below_lazy_ones(task):
    joined = task.concat({"image": np.full((1, 2), 9, np.float32), "y": ["a"]})
    assert materialize(joined, stacked=True)["image"][-1].tolist() == [9, 9]


def test_rows_with_other_operations_do_not_go_below(task):
    other = task.with_lazy({"image": task.lazy("image").append(ROOT)})
    with pytest.raises(DataError, match="different operations") as caught:
        task.concat(Task(other, row_ids=np.arange(6) + 10))
    assert "column 'image'" in caught.value.where


def test_tensors_in_memory_are_made_lazy_by_name():
    task = Task({"image": np.ones((4, 2, 2)), "x": [1.0] * 4})
    assert task.lazy("image").shape == ("batch", 2, 2)
    with pytest.raises(DataError, match="type float has no tensors") as caught:
        task.lazy("x")
    assert caught.value.where == "column 'x'"
    with pytest.raises(UnknownColumnError, match="imag"):
        task.lazy("imag")


def test_another_column_may_be_put_in_place(task):
    root = task.with_lazy({"image": task.lazy("image").append(ROOT)})
    assert root.features == task.features and root.target == "y"
    assert torch.equal(
        materialize(root, stacked=True)["image"], materialize(task, stacked=True)["image"].sqrt()
    )
    with pytest.raises(DataError):
        task.with_lazy({"picture": task.lazy("image")})
    with pytest.raises(DataError, match="2 values for 6 rows"):
        task.with_lazy({"image": lazy(torch.ones(2, 2))})


def test_views_stay_shared_between_columns(task):
    part = task.take([4, 1])
    root = part.with_lazy({"image": part.lazy("image").append(ROOT)})
    assert root.columns["image"].rows is root.columns["y"].rows


def test_columns_are_renamed_and_chosen_without_reading(task, counted):
    other = task.rename({"image": "picture"}).select("picture").with_columns({"z": [1.0] * 6})
    assert other.features == ("picture", "z") and counted.asked == []
    assert other.lazy("picture").fingerprint == task.lazy("image").fingerprint


@attrs.frozen(eq=False, slots=False, init=False)
class _Watched(MemmapSource):
    """A memory map whose file is not even opened."""

    def fetch(self, rows):
        raise AssertionError("a tensor was touched")

    @property
    def _array(self):
        raise AssertionError("the file was opened")


def test_a_million_rows_are_built_cut_and_joined_without_touching_a_tensor(tmp_path):
    with open(tmp_path / "big", "wb") as file:
        file.truncate(1_000_000 * 12)
    source = _Watched(tmp_path / "big", (1_000_000, 3, 2, 2), "uint8")
    image = LazyTensor.over(source).to(torch.float32)
    task = Task({"image": image, "y": np.arange(1_000_000) % 7 < 3}, target="y")
    train, valid = task.split(0.2, seed=1)
    part = train.take(np.arange(0, len(train), 2)).filter(train.row_ids[::4])
    assert len(train) + len(valid) == 1_000_000 and len(part) == -(-len(train) // 4)
    assert part.empty().lazy("image").shape == ("batch", 3, 2, 2)
    assert len({t.fingerprint for t in (task, train, valid, part)}) == 4
    assert "3 x 2 x 2 float32" in repr(task)


def test_a_task_of_files_travels_without_their_content(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((10, 100_000)))
    task = Task({"image": lazy(tmp_path / "x.npy")})
    assert len(pickle.dumps(task)) < 5000
