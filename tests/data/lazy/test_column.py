import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch

from mlgraph.data.column import Column
from mlgraph.data.lazy.column import LazyTensor, append_lazy, as_lazy
from mlgraph.data.lazy.make import materialize
from mlgraph.data.lazy.operation import Function
from mlgraph.data.lazy.pending import Lazy, LazyType, united
from mlgraph.data.lazy.source import ArraySource
from mlgraph.errors import DataError, ShapeError
from mlgraph.tensor.spec import TensorSpec

ROOT = Function("root", torch.sqrt)


@pytest.fixture
def numbers():
    return LazyTensor.over(ArraySource(torch.arange(12.0).reshape(6, 2)))


def test_types_are_equal_by_form_and_content():
    spec = TensorSpec(("batch", 3))
    assert LazyType(spec, "a") == LazyType(spec, "a")
    assert hash(LazyType(spec, "a")) == hash(LazyType(spec, "a"))
    assert LazyType(spec, "a") != LazyType(spec, "b")
    assert LazyType(spec, "a") != LazyType(TensorSpec(("batch", 4)), "a")
    assert LazyType(spec, "a") != pa.int64()


def test_arrow_does_not_join_columns_of_other_content(numbers):
    other = numbers.append(ROOT)
    tables = [pa.table({"x": column.column.array()}) for column in (numbers, other)]
    with pytest.raises(pa.ArrowInvalid):
        pa.concat_tables(tables)
    assert pa.concat_tables([tables[0], tables[0]]).num_rows == 12


def test_a_type_is_read_from_a_file_without_running_code(numbers):
    table = pa.table({"x": numbers.column.array()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    found = pa.ipc.open_stream(sink.getvalue()).read_all()
    assert found.schema.field("x").type == numbers.column.type
    written = json.loads(numbers.column.type.__arrow_ext_serialize__())
    assert written == {
        "spec": {"shape": ["batch", 2], "dtype": "float32"},
        "fingerprint": numbers.lazy.fingerprint,
    }


def test_appending_touches_neither_references_nor_the_old_column(numbers):
    before = numbers.fingerprint
    rooted = numbers.append(ROOT)
    chunk, other = (c.column.stored.data.chunk(0).storage.field(1) for c in (numbers, rooted))
    assert chunk.buffers()[1].address == other.buffers()[1].address
    assert numbers.lazy.operations == () and numbers.fingerprint == before
    assert rooted.fingerprint != before and rooted.lazy.sources is numbers.lazy.sources


def test_equal_steps_give_equal_columns(numbers):
    assert numbers.append(ROOT).fingerprint == numbers.append(Function("b", torch.sqrt)).fingerprint


def test_columns_of_equal_arrays_are_equal():
    one, other = (LazyTensor.over(ArraySource(np.ones((3, 2)))) for _ in range(2))
    assert one.fingerprint == other.fingerprint and one.column.type == other.column.type


def test_rows_are_taken_without_reading(counted):
    column = LazyTensor.over(counted).take([4, 1]).take([1, 1, 0])
    assert len(column) == 3 and counted.asked == []
    assert materialize(column, stacked=True).tolist() == [[2, 3], [2, 3], [8, 9]]
    assert counted.asked == [[1, 1, 4]]


def test_some_rows_of_a_source_may_be_a_column(numbers):
    source = numbers.lazy.sources[0]
    column = LazyTensor.over(source, [5, 0, 5])
    assert materialize(column, stacked=True)[:, 0].tolist() == [10, 0, 10]


@pytest.mark.parametrize("rows", [[6], [-1], [0, 100]])
def test_a_row_that_is_not_in_the_source_is_refused(numbers, rows):
    with pytest.raises(DataError, match="no row at position"):
        LazyTensor.over(numbers.lazy.sources[0], rows)
    with pytest.raises(DataError, match="no row at position"):
        numbers.take(rows)


@pytest.mark.parametrize("rows", [[0, None], [0.0, float("nan")]])
def test_a_missing_row_is_refused(numbers, rows):
    with pytest.raises(DataError, match="cannot have missing tensors"):
        LazyTensor.over(numbers.lazy.sources[0], rows)


def test_rows_in_between_are_refused(numbers):
    with pytest.raises(DataError, match="Positions are integers"):
        LazyTensor.over(numbers.lazy.sources[0], [0.5])


def test_an_operation_that_does_not_fit_is_refused_where_it_is_appended(numbers):
    with pytest.raises(ShapeError):
        numbers.append(Function("product", lambda x: x @ torch.ones(3)))


def test_what_is_printed_shows_sizes_dtype_and_rows(numbers):
    assert repr(numbers) == "<lazy 2 float32, 6 rows>"
    assert numbers.shape == ("batch", 2) and numbers.dtype == torch.float32


def test_columns_join_with_sources_united(numbers):
    other = LazyTensor.over(ArraySource(torch.full((2, 2), 9.0)))
    joined = append_lazy(append_lazy(numbers.take([5]), other), numbers.take([0]))
    assert len(joined.lazy.sources) == 2
    assert materialize(joined, stacked=True).tolist() == [[10, 11], [9, 9], [9, 9], [0, 1]]


def test_columns_of_one_source_join_in_it(numbers):
    joined = append_lazy(numbers.take([5]), numbers.take([0]))
    assert joined.column.type == numbers.column.type and len(joined.lazy.sources) == 1
    assert materialize(joined, stacked=True)[:, 0].tolist() == [10, 0]


def test_columns_with_other_operations_do_not_join(numbers):
    with pytest.raises(DataError, match="different operations") as caught:
        append_lazy(numbers.append(ROOT), numbers)
    assert "here root, there none" in caught.value.why


@pytest.mark.parametrize("other", [torch.zeros(2, 3), torch.zeros(2, 2, 1), torch.ones(2, 2).int()])
def test_columns_of_other_form_do_not_join(numbers, other):
    with pytest.raises(DataError, match="different form"):
        append_lazy(numbers, LazyTensor.over(ArraySource(other)))


def test_rows_of_other_sizes_join_where_an_operation_makes_them_equal():
    total = Function("total", torch.sum)
    one, other = (LazyTensor.over(ArraySource(torch.ones(2, n))) for n in (3, 4))
    joined = append_lazy(one.append(total), other.append(total))
    assert joined.shape == ("batch",)
    assert materialize(joined, stacked=True).tolist() == [3, 3, 4, 4]


def test_specs_unite_only_with_equal_rank_and_dtype():
    with pytest.raises(DataError, match="different rank or dtype"):
        united([TensorSpec(("batch", 2)), TensorSpec(("batch", 2, 2))])
    with pytest.raises(DataError, match="needs a source"):
        Lazy(())


def test_tensors_in_memory_are_made_lazy_without_a_copy():
    data = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12.0).reshape(3, 2, 2))
    column = as_lazy(Column.of(pa.chunked_array([data])).take(range(1, 3)))
    assert column.shape == ("batch", 2, 2)
    assert column.lazy.sources[0].data.data_ptr() == data.storage.flatten().buffers()[1].address
    assert materialize(column, stacked=True)[0].tolist() == [[4, 5], [6, 7]]


def test_missing_tensors_in_memory_are_refused():
    data = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((3, 2)))
    column = Column.of(pa.chunked_array([pa.concat_arrays([data, pa.nulls(1, data.type)])]))
    with pytest.raises(DataError, match="1 are missing"):
        as_lazy(column)


def test_a_column_of_numbers_has_no_tensors():
    with pytest.raises(DataError, match="type int has no tensors"):
        as_lazy(Column.of(pa.chunked_array([[1, 2]])))


def test_an_emptied_column_lets_go_of_the_data_and_keeps_the_type(numbers):
    gone = numbers.append(ROOT).column.emptied()
    assert len(gone) == 0 and gone.type == numbers.append(ROOT).column.type
    assert len(pickle.dumps(gone)) < len(pickle.dumps(numbers.column)) + 1000
    assert all(len(source) == 0 for source in gone.stored.extra.sources)


def test_a_pickled_column_is_equal_and_reads_the_same(numbers):
    column = numbers.append(ROOT).take([3, 1])
    other = pickle.loads(pickle.dumps(column))
    assert other.fingerprint == column.fingerprint and other.column.type == column.column.type
    assert torch.equal(materialize(other, stacked=True), materialize(column, stacked=True))
