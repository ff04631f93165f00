import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from mlgraph.data.lazy.dataset import DatasetSource, tensor_in
from mlgraph.data.lazy.source import ReadFailure
from mlgraph.errors import DataError
from mlgraph.tensor.spec import TensorSpec

ROWS = np.array([3, 0, 3])


class Squares(Dataset):
    """Row i is ``(i, i * i)``; some rows fail; it remembers what it was asked for."""

    def __init__(self, length=5, bad=()):
        self.length, self.bad, self.asked = length, bad, []

    def __len__(self):
        return self.length

    def __getitem__(self, row):
        self.asked.append(row)
        if row in self.bad:
            raise OSError("the disk is gone")
        return torch.tensor([row, row * row])


def test_elements_are_stacked_in_the_order_asked_for():
    assert DatasetSource(Squares()).fetch(ROWS).tolist() == [[3, 9], [0, 0], [3, 9]]


def test_one_element_is_read_to_know_the_form():
    data = Squares()
    source = DatasetSource(data)
    assert data.asked == [0] and source.spec == TensorSpec(("batch", 2), torch.int64)


def test_none_is_read_where_the_form_is_given():
    data = Squares()
    DatasetSource(data, spec=TensorSpec(("batch", 2), torch.int64))
    assert data.asked == []


@pytest.mark.parametrize("item", [0, -2, None])
def test_an_item_of_a_tuple_is_picked(item):
    pictures = [(torch.full((2,), float(i)), i) for i in range(5)]
    assert DatasetSource(pictures, item).fetch(ROWS).tolist() == [[3, 3], [0, 0], [3, 3]]


def test_an_item_of_a_dict_is_picked():
    data = [{"image": torch.zeros(2), "mask": torch.ones(3)}] * 4
    assert DatasetSource(data, "mask").spec.shape == ("batch", 3)
    with pytest.raises(DataError, match="not clear which item") as caught:
        DatasetSource(data)
    assert "'image', 'mask'" in caught.value.why
    with pytest.raises(DataError, match="no item 'masks'"):
        DatasetSource(data, "masks")


def test_what_has_no_tensor_is_refused():
    with pytest.raises(DataError, match="not clear which item"):
        DatasetSource([("a", 1)])
    with pytest.raises(DataError, match="is of type str, not a tensor"):
        DatasetSource(["a"])
    with pytest.raises(DataError, match="elements of the data set are single"):
        DatasetSource(Squares(), 1)


@pytest.mark.parametrize(
    ("element", "shape"),
    [
        (Image.new("L", (6, 4)), (1, 4, 6)),
        (Image.new("RGBA", (6, 4)), (4, 4, 6)),
        (Image.new("1", (6, 4)), (1, 4, 6)),
        (np.zeros((4, 6, 3), np.uint8), (3, 4, 6)),
        (np.zeros((4, 6), np.uint8), (1, 4, 6)),
    ],
)
def test_images_become_channels_height_width(element, shape):
    found = tensor_in(element)
    assert found.shape == shape and found.dtype == torch.uint8


@pytest.mark.parametrize("element", [np.zeros((4, 6, 3)), torch.zeros(4, 6, 3)])
def test_other_arrays_stay_as_they_are(element):
    assert tensor_in(element).shape == (4, 6, 3)


def test_rows_are_read_at_once_where_the_data_set_can():
    class Batches(Squares):
        def __getitems__(self, rows):
            self.batches = [*getattr(self, "batches", []), rows]
            return [torch.tensor([row, row]) for row in rows]

    data = Batches()
    assert DatasetSource(data).fetch(ROWS).tolist() == [[3, 3], [0, 0], [3, 3]]
    assert data.batches == [[3, 0, 3]] and data.asked == [0]


def test_a_subset_is_read_by_its_own_rows():
    source = DatasetSource(Subset(TensorDataset(torch.arange(10.0)), [7, 8, 9, 5]))
    assert source.fetch(ROWS).tolist() == [5, 7, 5]


@pytest.mark.parametrize("subset", [False, True])
def test_a_row_that_fails_is_named(subset):
    data = Squares(bad=(3,))
    source = DatasetSource(Subset(data, range(5)) if subset else data)
    with pytest.raises(ReadFailure) as caught:
        source.fetch(np.array([1, 3]))
    assert caught.value.row == 3 and caught.value.why == "OSError: the disk is gone"


def test_rows_that_fail_are_skipped_where_that_is_wanted():
    source = DatasetSource(Squares(bad=(3,)), on_error="skip")
    found, failed = source.attempt(np.array([1, 3, 2]))
    assert torch.stack(found).tolist() == [[1, 1], [2, 4]]
    assert [place for place, _ in failed] == [1]


def test_the_form_is_that_of_the_first_element_that_can_be_read():
    source = DatasetSource(Squares(bad=(0, 1)), on_error="skip")
    assert source.spec == TensorSpec(("batch", 2), torch.int64)
    assert [place for place, _ in source.attempt(np.arange(5))[1]] == [0, 1]
    with pytest.raises(ReadFailure, match="raised an exception") as caught:
        DatasetSource(Squares(bad=(0,)))
    assert caught.value.row == 0 and "shape= and dtype=" in caught.value.mend
    with pytest.raises(ReadFailure, match="raised an exception"):
        DatasetSource(Squares(bad=range(5)), on_error="skip")


@pytest.mark.parametrize("nothing", [None, (None, 1), "text"])
def test_what_is_no_tensor_is_a_row_that_cannot_be_read(nothing):
    elements = [nothing, torch.zeros(2), nothing]
    source = DatasetSource(elements, on_error="skip")
    found, failed = source.attempt(np.arange(3))
    assert len(found) == 1 and [place for place, _ in failed] == [0, 2]
    with pytest.raises(ReadFailure, match="returned no tensor") as caught:
        DatasetSource(elements[1:]).fetch(np.arange(2))
    assert caught.value.row == 1


def test_a_length_that_changes_is_refused():
    data = Squares()
    source = DatasetSource(data)
    data.length = 4
    with pytest.raises(DataError, match="has 4 rows now, and had 5"):
        source.fetch(ROWS)


@pytest.mark.parametrize("other", [torch.zeros(3), torch.zeros(2, dtype=torch.int64)])
def test_a_shape_or_dtype_that_was_not_promised_is_refused(other):
    source = DatasetSource([torch.zeros(2), torch.zeros(2), other])
    with pytest.raises(ReadFailure, match="another shape or dtype than promised") as caught:
        source.fetch(np.array([0, 2]))
    assert caught.value.row == 2 and "expected (2,) float32" in caught.value.why


def test_rows_of_different_sizes_come_as_a_list():
    data = [torch.zeros(2, i) for i in range(5)]
    source = DatasetSource(data, spec=TensorSpec(("batch", 2, "time")))
    assert [row.shape for row in source.fetch(ROWS)] == [(2, 3), (2, 0), (2, 3)]


def test_a_stream_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            yield torch.zeros(2)

    with pytest.raises(DataError, match="is not a map-style data set"):
        DatasetSource(Stream())


def test_an_empty_data_set_needs_a_shape():
    with pytest.raises(DataError, match="no rows, so the shape is not known"):
        DatasetSource([])
    assert DatasetSource([], spec=TensorSpec(("batch", 2))).fetch(ROWS[:0]).shape == (0, 2)


def test_its_fingerprint_travels_and_is_its_own():
    data = Squares()
    one, other = DatasetSource(data), DatasetSource(data)
    assert one.fingerprint != other.fingerprint
    assert pickle.loads(pickle.dumps(one)).fingerprint == one.fingerprint
