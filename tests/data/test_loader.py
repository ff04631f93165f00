"""Batches of lazy columns: the same for any number of workers, and never shifted."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor

from mlgraph import DataError, ShapeError, Task, lazy
from mlgraph.data.batch import Batches, TensorBatches
from mlgraph.data.batching import batched, settled
from mlgraph.data.feed import Feed
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.operation import Function
from mlgraph.data.loader import Loading, ReadBatches
from mlgraph.data.tensortoken import TensorToken, entering_spec
from mlgraph.data.token import NumericToken
from mlgraph.tensor.spec import TensorSpec

IMAGES = torch.arange(20 * 2 * 3, dtype=torch.float32).reshape(20, 2, 3)
PLAIN = TensorToken("image", ("image",), TensorSpec(("batch", 2, 3)))


def noise(x: Tensor) -> Tensor:
    return x + torch.rand(())


def noisy() -> LazyTensor:
    return lazy(IMAGES).append(Function("noise", noise, random=True))


def task(column: object = None) -> Task:
    return Task({"image": lazy(IMAGES) if column is None else column, "a": np.arange(20.0)})


def batches_of(column: object = None, size: int = 6, workers: int = 0) -> ReadBatches:
    numbers = NumericToken("numbers", ("a",))
    feed = Feed({"image": task(column), "numbers": task(column)})
    tokens = {"image": PLAIN, "numbers": numbers}
    loading = Loading(workers=workers)
    found = batched(feed, tokens, torch.arange(20.0), None, size, seed=3, loading=loading)
    assert isinstance(found, ReadBatches)
    return found


def rows_of(batches: Batches, order: Tensor | None = None, number: int = 1) -> dict[int, Tensor]:
    """What was read, by target, which is the number of the row."""
    found = {}
    for batch in batches.epoch(order, number=number):
        assert batch.target is not None
        found.update(zip(batch.target.long().tolist(), batch.inputs[0], strict=True))
        assert torch.equal(batch.inputs[1].squeeze(1), batch.target)
    return found


def equal(one: dict[int, Tensor], other: dict[int, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_rows_stay_with_their_targets_in_any_order() -> None:
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    assert equal(rows_of(batches_of(), order), dict(enumerate(IMAGES)))


@pytest.mark.parametrize(("workers", "size"), [(0, 1), (0, 20), (1, 1), (2, 6)])
def test_draws_do_not_depend_on_workers_order_or_batch_size(workers: int, size: int) -> None:
    order = torch.randperm(20, generator=torch.Generator().manual_seed(size))
    found = rows_of(batches_of(noisy(), size, workers), order)
    assert equal(found, rows_of(batches_of(noisy())))


def test_draws_differ_between_epochs_and_rows() -> None:
    batches = batches_of(noisy(), workers=1)
    first, second = rows_of(batches, number=1), rows_of(batches, number=2)
    assert not any(torch.equal(first[k], second[k]) for k in first)
    assert len({float((first[k] - IMAGES[k]).mean()) for k in first}) == 20
    assert equal(rows_of(batches, number=1), first)


def test_an_epoch_that_was_left_does_not_disturb_the_next() -> None:
    batches = batches_of(noisy(), workers=2)
    next(iter(batches.epoch(number=1)))
    assert equal(rows_of(batches, number=2), rows_of(batches_of(noisy()), number=2))


def test_batches_seen_already_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def count(x: Tensor) -> Tensor:
        seen.append(int(x.flatten()[0]) // 6 if x.device.type == "cpu" else -1)
        return x

    batches = batches_of(lazy(IMAGES).append(Function("count", count)))
    seen.clear()  # the function was tried, to find its shapes
    assert len(list(batches.epoch(first=2))) == 2
    assert seen == list(range(12, 20))


def test_workers_end_when_batches_are_closed_and_start_anew() -> None:
    batches, before = batches_of(noisy(), workers=2), set(active_children())
    left = batches.epoch(number=1)
    next(left)
    assert len(set(active_children()) - before) == 2
    batches.close()
    assert not set(active_children()) - before
    assert equal(rows_of(batches), rows_of(batches_of(noisy())))
    batches.close()


def test_an_error_in_a_worker_is_the_error_without_one() -> None:
    def odd(x: Tensor) -> Tensor:
        return x[:1] if x[0, 0] > 50 else x

    for workers in (0, 1):
        batches = batches_of(lazy(IMAGES).append(Function("odd", odd)), workers=workers)
        with pytest.raises(DataError, match=r"Row 9 of column 'image' has another shape"):
            rows_of(batches)


def test_rows_of_weight_zero_are_not_read() -> None:
    weights = torch.ones(20)
    weights[:15] = 0
    batches = attrs.evolve(batches_of(), weights=weights).that_count()
    assert list(rows_of(batches)) == [15, 16, 17, 18, 19]


def broken(folder: Path, save: Callable[[Path, int], None]) -> list[str]:
    paths = [folder / f"{i:02}.png" for i in range(20)]
    for i, path in enumerate(paths):
        save(path, i) if i not in (3, 4, 17) else path.write_bytes(b"no image")
    return [str(path) for path in paths]


def an_image(path: Path, value: int) -> None:
    from PIL import Image

    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(path)


@pytest.mark.parametrize("workers", [0, 1])
def test_rows_that_cannot_be_read_are_left_out_with_their_targets(
    workers: int, tmp_path: Path
) -> None:
    column = lazy(broken(tmp_path, an_image), shape=(3, 4, 5), on_error="skip")
    token = TensorToken("image", ("image",), TensorSpec(("batch", 3, 4, 5), torch.uint8))
    feed = Feed({"image": Task({"image": column})})
    loading = Loading(workers=workers)
    batches = batched(feed, {"image": token}, torch.arange(20.0), None, 6, loading=loading)
    with pytest.warns(UserWarning, match="3 rows are left out.* row 3 of 'image'.*row 17"):
        found = list(batches.epoch())
    assert batches.counts([6, 6, 6, 2]) == [4, 6, 5, 2]
    assert batches.kept is not None
    assert batches.kept.tolist() == [i for i in range(20) if i not in (3, 4, 17)]
    assert torch.equal(batches.seen(batches.target), torch.cat([b.target for b in found]))
    for batch in found:
        assert torch.equal(batch.inputs[0][:, 0, 0, 0].float(), batch.target)


def test_a_row_that_is_alone_in_its_batch_is_reported_too(tmp_path: Path) -> None:
    column = lazy(broken(tmp_path, an_image), shape=(3, 4, 5), on_error="skip")
    token = TensorToken("image", ("image",), TensorSpec(("batch", 3, 4, 5), torch.uint8))
    feed = Feed({"image": Task({"image": column})})
    found = batched(feed, {"image": token}, torch.arange(20.0), None, 2)
    batches = attrs.evolve(found, merge_last=True)
    with pytest.warns(
        UserWarning, match="6 rows are left out.*row 16 of 'image', in this epoch the only one"
    ):
        seen = torch.cat([b.target for b in batches.epoch() if b.target is not None])
    assert set(range(20)) - set(seen.int().tolist()) == {2, 3, 4, 5, 16, 17}


def test_without_the_policy_the_broken_file_is_named(tmp_path: Path) -> None:
    column = lazy(broken(tmp_path, an_image), shape=(3, 4, 5))
    token = TensorToken("image", ("image",), TensorSpec(("batch", 3, 4, 5), torch.uint8))
    batches = batched(Feed({"image": Task({"image": column})}), {"image": token}, None, None, 6)
    with pytest.raises(DataError, match=r"Row 3 of column 'image'.*03\.png"):
        list(batches.epoch())


def test_few_deterministic_rows_are_kept_in_memory() -> None:
    kept = settled(batches_of(), "auto")
    assert isinstance(kept, TensorBatches)
    assert equal(rows_of(kept), dict(enumerate(IMAGES)))


def test_random_operations_draw_anew_although_what_is_before_them_is_kept() -> None:
    seen = []

    def count(x: Tensor) -> Tensor:
        seen.append(1)
        return x * 2

    step = Function("noise", noise, random=True)
    column = lazy(IMAGES).append(Function("count", count)).append(step)
    batches = settled(batches_of(column), True)
    seen.clear()  # the function was tried, to find its shapes
    one, two = rows_of(batches, number=1), rows_of(batches, number=2)
    assert len(seen) == 20
    assert not any(torch.equal(one[k], two[k]) for k in one)
    assert equal(one, rows_of(batches_of(column), number=1))
    assert settled(batches_of(column), "auto") is not None
    assert isinstance(settled(batches_of(column), "auto"), ReadBatches)


def test_rows_of_different_shapes_are_read_anew_where_others_would_be_kept() -> None:
    rows = [torch.ones(2, 1 + i % 3) for i in range(20)]

    def cut(x: Tensor) -> Tensor:
        return x[:, :1] * torch.rand(())

    column = lazy(rows).append(Function("cut", cut, random=True))
    token = TensorToken("image", ("image",), TensorSpec(("batch", 2, 1)))
    found = batched(Feed({"image": Task({"image": column})}), {"image": token}, None, None, 6)
    (first, *_) = settled(found, True).epoch(number=1)
    assert first.inputs[0].shape == (6, 2, 1)


def test_a_fingerprint_tells_rows_and_operations_apart() -> None:
    assert batches_of().fingerprint == batches_of(size=3).fingerprint
    assert batches_of().fingerprint != batches_of(noisy()).fingerprint
    assert batches_of().fingerprint != batches_of(lazy(IMAGES + 1)).fingerprint


def test_floats_enter_as_float32_and_other_types_as_they_are() -> None:
    assert entering_spec(TensorSpec(("batch", 2), torch.float64), None, None).dtype == torch.float32
    assert entering_spec(TensorSpec(("batch", 2), torch.uint8), None, None).dtype == torch.uint8
    spec = entering_spec(TensorSpec(("batch", 2), torch.uint8), None, torch.float32)
    assert spec.dtype == torch.float32


def test_sizes_that_are_not_known_can_be_given_and_known_ones_not_changed() -> None:
    spec = TensorSpec(("batch", 3, "height", "width"))
    assert entering_spec(spec, (3, 8, None), None).shape == ("batch", 3, 8, "width")
    for wrong in ((4, 8, 8), (3, 8), (3, 8, 8, 1)):
        with pytest.raises(ShapeError, match="cannot have the shape"):
            entering_spec(spec, wrong, None)


def test_rows_of_other_sizes_than_the_network_takes_are_refused_when_they_are_read() -> None:
    rows = [torch.ones(2, 3 if i != 7 else 4) for i in range(20)]
    batches = batched(Feed({"image": task(lazy(rows))}), {"image": PLAIN}, None, None, 6)
    with pytest.raises(DataError, match=r"shape \(2, 4\), and the network takes \(2, 3\)"):
        list(batches.epoch())


def test_another_shape_than_in_training_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ShapeError, match="another shape than in training") as caught:
        PLAIN.lazy(task(lazy(torch.zeros(20, 2, 4))))
    assert 'stages="both"' in caught.value.mend
