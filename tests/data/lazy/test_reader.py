import pickle

import attrs
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mlgraph.data.lazy.column import LazyTensor, append_lazy
from mlgraph.data.lazy.dataset import DatasetSource
from mlgraph.data.lazy.draws import Draw, copies_of
from mlgraph.data.lazy.files import ImageFiles
from mlgraph.data.lazy.operation import Function, Operation
from mlgraph.data.lazy.reader import Reader
from mlgraph.data.lazy.source import ArraySource
from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec

ALL = np.arange(6)


class Calls:
    """A function that counts its calls and the rows it was given."""

    def __init__(self, fn):
        self.fn, self.shapes = fn, []

    def __call__(self, x):
        if not x.is_meta and type(x) is torch.Tensor:
            self.shapes.append(tuple(x.shape))
        return self.fn(x)


def noise(x):
    return x + torch.rand(x.shape)


@attrs.frozen(eq=False, slots=False)
class Flip(Operation):
    """Rows reversed by chance, all at once."""

    id: str
    random = True
    draws = 1

    def __call__(self, x):
        return self.draw_batch(x[None], torch.rand(1, 1))[0]

    def draw_batch(self, x, uniform):
        return torch.where(uniform < 0.5, x.flip(1), x)


def _column(counted, *operations):
    column = LazyTensor.over(counted)
    for operation in operations:
        column = column.append(operation)
    return column


def _read(columns, positions=ALL, draw=Draw(0), row_ids=ALL):
    return Reader(columns, row_ids).read(np.asarray(positions), draw).tensors


def test_rows_come_in_the_order_asked_for_and_may_repeat(counted):
    found = _read({"x": _column(counted)}, [5, 0, 5])["x"]
    assert found[:, 0].tolist() == [10, 0, 10]


def test_columns_over_the_same_rows_are_fetched_once(counted):
    calls = Calls(torch.sqrt)
    rooted = _column(counted, Function("root", calls, batched=True))
    columns = {
        "raw": _column(counted),
        "root": rooted,
        "twice": rooted.append(Function("double", lambda x: 2 * x, batched=True)),
        "minus": rooted.append(Function("minus", torch.neg, batched=True)),
    }
    calls.shapes.clear()
    found = _read(columns, [1, 2])
    assert counted.asked == [[1, 2]] and calls.shapes == [(2, 2)]
    assert torch.equal(found["twice"], 2 * found["root"])
    assert torch.equal(found["minus"], -found["root"])
    assert torch.equal(found["root"], found["raw"].sqrt())


def test_equal_steps_of_different_nodes_are_computed_once(counted):
    calls = Calls(torch.sqrt)
    columns = {id: _column(counted, Function(id, calls, batched=True)) for id in ("root", "root_2")}
    calls.shapes.clear()
    _read(columns)
    assert len(calls.shapes) == 1


def test_columns_over_other_rows_are_fetched_on_their_own(counted):
    column = LazyTensor.over(counted)
    found = _read({"x": column, "y": column.take([1, 0, 2, 3, 4, 5])}, [0])
    assert counted.asked == [[0], [1]]
    assert found["x"].tolist() == [[0, 1]] and found["y"].tolist() == [[2, 3]]


def test_nothing_is_read_when_a_reader_is_made(counted):
    Reader({"x": _column(counted, Function("root", torch.sqrt))}, ALL)
    assert counted.asked == []


def test_what_is_batched_is_called_once_and_the_rest_per_row(counted):
    at_once, single = Calls(torch.sqrt), Calls(torch.exp)
    column = _column(
        counted,
        Function("root", at_once, batched=True),
        Function("exp", single),
        Function("double", lambda x: x * 2, batched=True),
    )
    at_once.shapes.clear(), single.shapes.clear()
    found = _read({"x": column}, [0, 1, 2])["x"]
    assert at_once.shapes == [(3, 2)] and single.shapes == [(2,)] * 3
    expected = torch.arange(6.0).reshape(3, 2).sqrt().exp() * 2
    assert torch.allclose(found, expected) and found.shape == (3, 2)


def test_rows_of_different_shapes_stay_a_list_until_they_agree():
    data = DatasetSource([torch.ones(n + 1) for n in range(6)], spec=TensorSpec(("batch", "time")))
    batched = Calls(torch.neg)
    column = LazyTensor.over(data).append(Function("double", batched, batched=True))
    batched.shapes.clear()
    assert [len(row) for row in _read({"x": column}, [4, 1])["x"]] == [5, 2]
    assert batched.shapes == [(1, 5), (1, 2)]
    total = column.append(Function("total", torch.sum))
    assert _read({"x": total}, [4, 1])["x"].tolist() == [-5, -2]


def test_rows_of_several_sources_come_in_order(counted):
    other = LazyTensor.over(ArraySource(torch.full((2, 2), 9.0)))
    column = append_lazy(LazyTensor.over(counted), other)
    found = _read({"x": column}, [7, 0, 6, 3], row_ids=np.arange(8))["x"]
    assert found[:, 0].tolist() == [9, 0, 9, 6] and counted.asked == [[0, 3]]


@pytest.mark.parametrize("operation", [Function("noise", noise, random=True), Flip("flip")])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_draws_do_not_depend_on_batches_or_order(counted, operation, size):
    reader = Reader({"x": _column(counted, operation)}, ALL)
    whole = reader.read(ALL, Draw(3, 1)).tensors["x"]
    order = np.array([4, 0, 5, 2, 3, 1])
    parts = [reader.read(order[i : i + size], Draw(3, 1)).tensors["x"] for i in range(0, 6, size)]
    assert torch.equal(torch.cat(parts), whole[order])


@pytest.mark.parametrize("operation", [Function("noise", noise, random=True), Flip("flip")])
def test_draws_depend_on_seed_epoch_and_row(operation):
    rows = LazyTensor.over(ArraySource(torch.arange(2.0).repeat(64, 1))).append(operation)
    reader = Reader({"x": rows}, np.arange(64))
    one, again, later, other = (
        reader.read(np.arange(64), draw).tensors["x"]
        for draw in (Draw(0), Draw(0), Draw(0, 1), Draw(1))
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, later) and not torch.equal(one, other)
    assert len(torch.unique(one, dim=0)) > 1


def test_draws_follow_row_ids_and_not_positions(counted):
    column = _column(counted, Function("noise", noise, random=True))
    whole = _read({"x": column}, row_ids=ALL + 10)["x"]
    part = _read({"x": column.take([4, 2])}, [0, 1], row_ids=np.array([14, 12]))["x"]
    assert torch.equal(part, whole[[4, 2]])


def test_a_row_that_repeats_draws_anew_each_time(counted):
    column = _column(counted, Function("noise", noise, random=True)).take([3, 3, 3])
    found = _read({"x": column}, [0, 1, 2], row_ids=np.array([3, 3, 3]))["x"]
    assert len(torch.unique(found, dim=0)) == 3
    single = _read({"x": column}, [2], row_ids=np.array([3, 3, 3]))["x"]
    assert torch.equal(single[0], found[2])


def test_the_same_node_draws_the_same_for_image_and_mask():
    image = LazyTensor.over(ArraySource(torch.arange(40.0).reshape(20, 2)))
    mask = LazyTensor.over(ArraySource(torch.arange(40.0).reshape(20, 2) + 100))
    for operation in (Flip("flip"), Function("noise", noise, random=True)):
        columns = {"image": image.append(operation), "mask": mask.append(operation)}
        found = _read(columns, np.arange(20), row_ids=np.arange(20))
        assert torch.allclose(found["mask"] - 100, found["image"], atol=1e-4)


def test_the_same_operation_twice_draws_twice(counted):
    once = Function("noise", noise, random=True)
    found = _read({"x": _column(counted, once, once)})["x"] - torch.arange(12.0).reshape(6, 2)
    single = _read({"x": _column(counted, once)})["x"] - torch.arange(12.0).reshape(6, 2)
    assert not torch.allclose(found, 2 * single)


def test_the_global_stream_is_as_before(counted):
    reader = Reader({"x": _column(counted, Function("noise", noise, random=True))}, ALL)
    before = torch.get_rng_state()
    reader.read(ALL, Draw(0))
    assert torch.equal(torch.get_rng_state(), before)


class _Indexed:
    """What a loader iterates: positions of batches."""

    def __init__(self, reader):
        self.reader = reader

    def __len__(self):
        return 3

    def __getitem__(self, batch):
        return self.reader.read(np.arange(2 * batch, 2 * batch + 2), Draw(5, 2)).tensors["x"]


@pytest.mark.parametrize("workers", [1, 2])
def test_draws_are_the_same_in_every_process(workers):
    column = LazyTensor.over(ArraySource(torch.arange(12.0).reshape(6, 2)))
    column = column.append(Function("noise", noise, random=True)).append(Flip("flip"))
    reader = Reader({"x": column}, ALL)
    loader = DataLoader(_Indexed(reader), batch_size=None, num_workers=workers)
    here = reader.read(ALL, Draw(5, 2)).tensors["x"]
    assert torch.equal(torch.cat(list(loader)), here)


def test_a_pickled_reader_reads_the_same(counted):
    column = LazyTensor.over(counted.inner).append(Function("noise", noise, random=True))
    reader = Reader({"x": column}, ALL)
    other = pickle.loads(pickle.dumps(reader))
    one, two = (r.read(ALL, Draw(1)).tensors["x"] for r in (reader, other))
    assert torch.equal(one, two)


def test_no_rows_have_the_shape_that_is_known(counted):
    double = Function("double", lambda x: x.repeat(2))
    column = _column(counted, double)
    assert _read({"x": column}, [])["x"].shape == (0, 4)
    unknown = LazyTensor.over(DatasetSource([torch.ones(1)], spec=TensorSpec(("batch", "n"))))
    assert Reader({"x": unknown}, np.arange(1)).read(ALL[:0], Draw(0)).tensors["x"] == []


def test_a_file_that_cannot_be_read_is_named_with_its_row(images):
    paths, _ = images
    paths[2].write_bytes(b"no image")
    column = LazyTensor.over(ImageFiles(paths)).take([4, 2, 0])
    reader = Reader({"picture": column}, np.array([40, 20, 0]))
    with pytest.raises(DataError, match="Row 20 of column 'picture' cannot be read") as caught:
        reader.read(np.array([0, 1, 2]), Draw(0))
    assert str(paths[2]) in caught.value.what and caught.value.why


def test_skipped_rows_are_reported_and_no_other_column_is_shifted(images):
    paths, array = images
    paths[1].unlink()
    paths[3].write_bytes(b"")
    pictures = LazyTensor.over(ImageFiles(paths, on_error="skip", size=(4, 6)))
    numbers = LazyTensor.over(ArraySource(torch.arange(5)))
    reader = Reader({"n": numbers, "picture": pictures}, np.arange(5) * 10)
    read = reader.read(np.array([4, 3, 1, 0]), Draw(0))
    assert read.kept.tolist() == [4, 0]
    assert read.tensors["n"].tolist() == [4, 0]
    assert np.array_equal(read.tensors["picture"], array[[4, 0]].transpose(0, 3, 1, 2))
    assert [(s.position, s.row_id, s.column) for s in read.skipped] == [
        (3, 30, "picture"),
        (1, 10, "picture"),
    ]
    assert str(paths[1]) in read.skipped[1].what


def test_all_rows_may_be_skipped(images):
    paths, _ = images
    for path in paths:
        path.unlink()
    column = LazyTensor.over(ImageFiles(paths, on_error="skip", size=(4, 6)))
    column = column.append(Function("float", torch.Tensor.float, batched=True))
    read = Reader({"x": column}, np.arange(5)).read(np.arange(5), Draw(0))
    assert read.tensors["x"].shape == (0, 3, 4, 6) and len(read.skipped) == 5
    assert read.kept.tolist() == []


def test_nothing_is_reported_where_all_was_read(counted):
    read = Reader({"x": _column(counted)}, ALL).read(ALL, Draw(0))
    assert read.kept is None and read.skipped == ()


def test_a_shape_that_was_not_promised_is_refused_with_its_row(images):
    paths, _ = images
    column = LazyTensor.over(ImageFiles(paths, size=(4, 7)))
    with pytest.raises(DataError, match="Row 3 of column 'x' has another shape") as caught:
        Reader({"x": column}, np.arange(5)).read(np.array([3]), Draw(0))
    assert caught.value.why == "expected (3, 4, 7) uint8, arrived (3, 4, 6) uint8"


def test_results_of_another_shape_than_promised_are_refused(counted):
    column = _column(counted, Function("grow", lambda x: x.repeat(2) if x[0] == 6 else x))
    with pytest.raises(DataError, match="Row 3 of column 'x' has another shape"):
        _read({"x": column})


def test_an_operation_that_changes_its_input_is_refused(counted):
    for batched in (True, False):
        column = _column(counted, Function("add", lambda x: x.add_(1), batched=batched))
        with pytest.raises(DataError, match="'add' changes its input in place"):
            _read({"x": column})


@pytest.mark.parametrize("batched", [True, False])
def test_a_function_that_draws_must_say_so(counted, batched):
    silent = _column(counted, Function("noise", noise, batched=batched))
    with pytest.raises(DataError, match="'noise' draws random numbers without random=True"):
        _read({"x": silent})
    with pytest.raises(DataError, match="'noise' draws random numbers"):
        _read({"x": silent.cached()})
    _read({"x": _column(counted, Function("noise", noise, batched=batched, random=True))})


def test_a_function_that_draws_for_itself_need_not_say_so(counted):
    def blur(x):
        return x + torch.rand(x.shape, generator=torch.Generator().manual_seed(1))

    _read({"x": _column(counted, Function("blur", blur))})


def test_an_operation_that_loses_rows_is_refused(counted):
    column = _column(counted, Function("few", lambda x: x[x[:, 0] != 6], batched=True))
    with pytest.raises(DataError, match="'few' does not return one result per row"):
        _read({"x": column})


def test_an_error_of_an_operation_says_where_it_was(counted):
    def fail(x):
        if x.sum() > 3:
            raise KeyError("broken")
        return x

    column = _column(counted, Function("fragile", fail))
    with pytest.raises(KeyError, match="broken") as caught:
        _read({"x": column}, [2])
    assert caught.value.__notes__ == ["in node 'fragile', of rows 2"]


def test_columns_of_other_lengths_are_refused(counted):
    with pytest.raises(DataError, match="6 rows, and there are 2 row ids"):
        Reader({"x": _column(counted)}, np.arange(2))


def test_copies_of_rows_are_counted_in_order():
    assert copies_of(np.array([5, 1, 5, 5, 1])).tolist() == [0, 0, 1, 2, 1]
    assert copies_of(np.array([-3, -3])).tolist() == [0, 1]
    assert copies_of(np.zeros(0, np.int64)).tolist() == []


def test_uniform_draws_are_uniform_and_independent():
    from mlgraph.data.lazy.draws import keys, uniforms

    ids = np.arange(20000)
    drawn = uniforms(keys(Draw(0), "a", ids, np.zeros(20000, np.uint64)), 2)
    assert 0 <= drawn.min() and drawn.max() < 1
    assert abs(drawn.mean() - 0.5) < 0.01 and abs(drawn.var() - 1 / 12) < 0.002
    assert abs(torch.corrcoef(drawn.T)[0, 1]) < 0.03
    assert abs(torch.corrcoef(torch.stack([drawn[1:, 0], drawn[:-1, 0]]))[0, 1]) < 0.03
