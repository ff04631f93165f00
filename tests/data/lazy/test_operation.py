import pickle

import pytest
import torch

from mlgraph.data.lazy.cast import cast
from mlgraph.data.lazy.operation import Cast, Function
from mlgraph.errors import ConfigError, DataError, ShapeError
from mlgraph.tensor.spec import TensorSpec

IMAGES = TensorSpec(("batch", 3, 8, "width"))


def halved(x):
    return x[..., ::2]


def test_equal_functions_are_equal_whatever_the_node():
    assert Function("a", torch.sqrt) == Function("b", torch.sqrt)
    assert hash(Function("a", torch.sqrt)) == hash(Function("b", torch.sqrt))
    assert Function("a", torch.sqrt) != Function("a", torch.exp)
    assert Function("a", torch.sqrt) != Function("a", torch.sqrt, batched=True)


def test_what_draws_is_told_apart_by_the_node():
    one, other = (Function(id, torch.rand_like, random=True) for id in "ab")
    assert one != other and one == Function("a", torch.rand_like, random=True)


def test_an_operation_is_the_same_after_a_journey():
    one = Function("a", halved, batched=True)
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize("batched", [True, False])
def test_the_spec_of_results_is_found_by_running(batched):
    spec = Function("half", halved, batched=batched).infer(IMAGES)
    assert spec.shape[:3] == ("batch", 3, 8) and isinstance(spec.shape[3], str)
    assert spec.shape[3] != "width"


def test_the_dtype_of_results_is_found_by_running():
    assert Function("far", torch.isinf).infer(IMAGES) == TensorSpec(IMAGES.shape, torch.bool)


def test_a_size_that_is_drawn_is_not_known():
    def cut(x):
        return x[..., : int(torch.randint(2, 7, ()))]

    spec = Function("cut", cut, random=True).infer(TensorSpec(("batch", 3, 8, 8)))
    assert spec.shape[:3] == ("batch", 3, 8) and isinstance(spec.shape[3], str)


def test_inferring_leaves_the_stream_as_it_was():
    before = torch.get_rng_state()
    Function("noise", torch.rand_like, random=True).infer(IMAGES)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_run_is_refused_by_id():
    with pytest.raises(ShapeError, match="product"):
        Function("product", lambda x: x @ torch.ones(5, 2)).infer(TensorSpec(("batch", 3, 4)))


def test_results_that_lose_the_batch_are_refused():
    with pytest.raises(ShapeError, match="'total' does not return one result per row"):
        Function("total", torch.sum, batched=True).infer(IMAGES)


def test_what_is_no_function_is_refused():
    with pytest.raises(ConfigError, match="3 is not a function"):
        Function("a", 3)


@pytest.mark.parametrize(
    ("values", "old", "new"),
    [
        ([0, 255], torch.int64, torch.uint8),
        ([-1.7, 3.0], torch.float32, torch.int8),
        ([1.5, -2.5], torch.float64, torch.float16),
        ([True, False], torch.bool, torch.uint8),
        ([0, 3], torch.uint8, torch.bool),
        ([300, 4], torch.int32, torch.float32),
        ([float("inf"), float("nan")], torch.float64, torch.float32),
    ],
)
def test_what_fits_is_cast(values, old, new):
    x = torch.tensor(values, dtype=old)
    found = cast(x, new)
    assert found.dtype == new and torch.equal(found.nan_to_num(), x.to(new).nan_to_num())


@pytest.mark.parametrize(
    ("values", "old", "new", "bad"),
    [
        ([0, 256], torch.int64, torch.uint8, "256"),
        ([-1, 0], torch.int64, torch.uint8, "-1"),
        ([1e10], torch.float32, torch.int32, "1e\\+10"),
        ([1e5], torch.float32, torch.float16, "100000"),
        ([float("nan")], torch.float32, torch.int64, "An infinite or missing value"),
        ([200], torch.uint8, torch.int8, "200"),
    ],
)
def test_what_would_overflow_is_refused(values, old, new, bad):
    with pytest.raises(DataError, match=f"{bad} does not fit"):
        cast(torch.tensor(values, dtype=old), new)


def test_complex_numbers_are_not_made_real():
    with pytest.raises(DataError, match="Complex numbers do not fit float32"):
        cast(torch.tensor([1j]), torch.float32)


def test_casts_are_equal_by_dtype():
    assert Cast("a", torch.float32) == Cast("b", torch.float32)
    assert Cast("a", torch.float32) != Cast("a", torch.float64)
