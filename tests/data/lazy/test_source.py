import pickle

import numpy as np
import pytest
import torch

from mlgraph.data.lazy.source import Absent, ArraySource, ReadFailure
from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "bool", "complex64", ">f4"])
def test_an_array_gives_its_rows_in_the_order_asked_for(dtype):
    array = np.arange(12).reshape(4, 3).astype(dtype)
    found = ArraySource(array).fetch(np.array([3, 0, 3]))
    assert np.array_equal(found.numpy(), array[[3, 0, 3]])


def test_one_number_per_row_is_a_scalar():
    source = ArraySource(np.arange(4))
    assert source.spec == TensorSpec(("batch",), torch.int64)
    assert source.fetch(np.array([2])).tolist() == [2]


def test_a_copy_does_not_change_with_the_array():
    array = np.zeros((2, 2))
    copied, shared = ArraySource(array), ArraySource(array, copy=False)
    array[:] = 1
    assert copied.fetch(np.array([0])).sum() == 0
    assert shared.fetch(np.array([0])).sum() == 2


def test_a_copy_of_a_tensor_does_not_change_with_it():
    tensor = torch.zeros(2, 2, requires_grad=True)
    source = ArraySource(tensor)
    with torch.no_grad():
        tensor += 1
    assert source.fetch(np.array([0])).sum() == 0 and not source.data.requires_grad


def test_fetched_rows_are_not_the_memory_of_the_source():
    source = ArraySource(torch.zeros(2, 2))
    source.fetch(np.array([0, 1])).add_(1)
    assert source.data.sum() == 0


def test_equal_content_made_separately_has_one_fingerprint():
    one, other = (ArraySource(torch.arange(6.0).reshape(3, 2)) for _ in range(2))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    "other",
    [torch.arange(1.0, 7.0).reshape(3, 2), torch.arange(6.0).reshape(2, 3), torch.arange(6.0)],
)
def test_other_content_or_shape_has_another_fingerprint(other):
    one = ArraySource(torch.arange(6.0).reshape(3, 2))
    assert one.fingerprint != ArraySource(other).fingerprint


def test_dtype_is_part_of_the_fingerprint():
    zeros = [ArraySource(torch.zeros(4, dtype=dtype)) for dtype in (torch.int32, torch.float32)]
    assert zeros[0].fingerprint != zeros[1].fingerprint


def test_an_array_of_words_is_refused():
    with pytest.raises(DataError, match=r"of <U1 cannot become tensors"):
        ArraySource(np.array(["a", "b"]))


def test_a_single_number_is_refused():
    with pytest.raises(DataError, match="One number is not a column"):
        ArraySource(torch.tensor(1.0))


def test_what_was_left_behind_cannot_be_read():
    gone = Absent(TensorSpec(("batch", "height", 2)), "0")
    assert gone.fetch(np.zeros(0, dtype=np.int64)).shape == (0, 0, 2)
    with pytest.raises(ReadFailure, match="left behind"):
        gone.fetch(np.array([0]))


def test_a_failure_survives_the_way_between_processes():
    failure = pickle.loads(pickle.dumps(ReadFailure(3, "no", "because", "mend")))
    assert (failure.row, failure.what, failure.why, failure.mend) == (3, "no", "because", "mend")
