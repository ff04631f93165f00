from __future__ import annotations

import json
import pickle

import attrs
import numpy as np
import pytest
import torch

from mlgraph.errors import ShapeError
from mlgraph.tensor.spec import TensorSpec


def test_a_spec_prints_as_sizes_and_dtype() -> None:
    assert repr(TensorSpec(("batch", 10))) == "(batch, 10) float32"
    assert repr(TensorSpec(("batch",), torch.int64)) == "(batch,) int64"
    assert repr(TensorSpec(())) == "() float32"


@pytest.mark.parametrize("shape", [[2, 3], torch.Size([2, 3]), (np.int64(2), 3), iter((2, 3))])
def test_any_iterable_of_ints_becomes_a_tuple_of_plain_ints(shape: object) -> None:
    spec = TensorSpec(shape)
    assert spec.shape == (2, 3)
    assert all(type(size) is int for size in spec.shape)


@pytest.mark.parametrize("shape", [5, "batch", None, (True, 2), (2.0,), (None, 2), (-1,), ("",)])
def test_what_is_not_a_shape_is_refused(shape: object) -> None:
    with pytest.raises(ShapeError):
        TensorSpec(shape)


def test_a_dtype_must_be_a_torch_dtype() -> None:
    with pytest.raises(ShapeError, match=r"'float32' is not a dtype\."):
        TensorSpec((2,), "float32")


def test_an_unknown_size_that_is_needed_is_named_with_the_mend() -> None:
    with pytest.raises(ShapeError) as caught:
        TensorSpec(("batch", "time")).size(-1)
    assert "dimension -1, 'time', is needed now and is not known" in caught.value.what
    assert caught.value.mend == "give it a fixed size, or pool or flatten that dimension first"


def test_a_size_of_zero_has_no_room_for_weights() -> None:
    spec = TensorSpec(("batch", 0))
    with pytest.raises(ShapeError, match="Dimension -1 has size 0"):
        spec.size(-1)
    assert spec.last(1) == (0,)


@pytest.mark.parametrize("dim", [2, -3, 7])
def test_a_dimension_out_of_range_is_reported_as_the_user_wrote_it(dim: int) -> None:
    with pytest.raises(ShapeError) as caught:
        TensorSpec(("batch", 10)).size(dim)
    assert f"no dimension {dim}." in caught.value.what
    assert caught.value.why == "its rank is 2, so dimensions are -2 to 1"


def test_several_sizes_are_read_at_once_and_must_be_known() -> None:
    spec = TensorSpec(("batch", 3, 4))
    assert spec.last(2) == spec.sizes(2) == (3, 4)
    assert spec.last(0) == ()
    with pytest.raises(ShapeError, match="'batch'"):
        spec.sizes()


def test_there_is_one_cardinality_for_each_column() -> None:
    spec = TensorSpec(("batch", 2), torch.int64, cardinalities=[3, 5])
    assert spec.cardinalities == (3, 5)
    with pytest.raises(ShapeError, match="3 cardinalities do not fit"):
        TensorSpec(("batch", 2), torch.int64, cardinalities=(3, 5, 7))
    with pytest.raises(ShapeError, match="do not fit"):
        TensorSpec((), torch.int64, cardinalities=(3,))
    with pytest.raises(ShapeError, match="0 levels"):
        TensorSpec(("batch", 1), torch.int64, cardinalities=(0,))


def test_cardinalities_go_when_their_columns_or_the_codes_do() -> None:
    spec = TensorSpec(("batch", 2), torch.int64, cardinalities=(3, 5))
    assert spec.with_shape((8, 2)).cardinalities == (3, 5)
    assert spec.with_shape(("batch", 3)).cardinalities == ()
    assert spec.with_dtype(torch.int32).cardinalities == (3, 5)
    assert spec.with_dtype(torch.float32).cardinalities == ()


@pytest.mark.parametrize(
    ("shape", "dtype", "fits"),
    [
        ((2, 2, 3), torch.float32, True),
        ((2, 4, 3), torch.float32, False),
        ((2, 2, 4), torch.float32, False),
        ((2, 2), torch.float32, False),
        ((2, 2, 3), torch.float64, False),
    ],
)
def test_a_tensor_fits_in_rank_sizes_names_and_dtype(
    shape: tuple[int, ...], dtype: torch.dtype, fits: bool
) -> None:
    assert TensorSpec(("side", "side", 3)).fits(torch.zeros(shape, dtype=dtype)) is fits


def test_a_meta_tensor_needs_a_number_for_each_name() -> None:
    spec = TensorSpec(("batch", 3), torch.int64)
    tensor = spec.meta(batch=4)
    assert tensor.is_meta and tensor.shape == (4, 3) and tensor.dtype == torch.int64
    with pytest.raises(ShapeError, match="needs a number for 'batch'"):
        spec.meta()


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec(()),
        TensorSpec(("batch", 0, 3), torch.bfloat16),
        TensorSpec(("batch", 2), torch.int64, cardinalities=(3, 5)),
    ],
)
def test_a_spec_survives_json_and_pickle(spec: TensorSpec) -> None:
    assert TensorSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.__mlgraph_json__() == spec.to_json()
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_an_unknown_dtype_in_json_is_refused() -> None:
    with pytest.raises(ShapeError, match="is not a dtype"):
        TensorSpec.from_json({"shape": [1], "dtype": "relu"})


def test_equal_specs_hash_equal_and_cannot_be_changed() -> None:
    spec = TensorSpec(["batch", 3])
    assert {spec: 1}[TensorSpec(("batch", 3))] == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.shape = (1,)
