"""Values come back as they were: equal, of the same type, and of the same bytes."""

from __future__ import annotations

import datetime
import decimal
import functools
import io
import math
import zoneinfo
from collections import OrderedDict
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgraph import Task, nn, po, sel, tune
from mlgraph.core.value import FrozenDict, canonical
from mlgraph.data.feed import Feed
from mlgraph.data.kinds import Classification
from mlgraph.data.spread import QuantileRegression
from mlgraph.data.taskspec import TaskSpec
from mlgraph.data.token import CategoricalToken, NumericToken
from mlgraph.errors import StateError
from mlgraph.net.descriptor import Source
from mlgraph.store import tensors
from mlgraph.store.arrow import from_bytes as table_from
from mlgraph.store.arrow import to_bytes as table_bytes
from mlgraph.store.codec import Reader, Writer
from mlgraph.store.codecs import BY_TAG, CODECS
from mlgraph.store.names import Names
from mlgraph.store.text import from_bytes, to_bytes
from mlgraph.tensor.spec import TensorSpec
from mlgraph.train.callbacks.known import callback
from mlgraph.train.callbacks.known import known as known_callbacks
from mlgraph.train.metric import metric
from mlgraph.train.objective import Loss
from mlgraph.train.optimizer import Optimizer


def back(value: Any, allow: tuple[Any, ...] = ()) -> Any:
    """The value, written to bytes and read again."""
    writer = Writer(CODECS)
    with writer.inside("value"):
        content = from_bytes(to_bytes(writer.value(value)), "graph.json")
    entry = tensors.entry(writer.tensors)
    raw = b"".join(map(bytes, entry.pieces))
    assert len(raw) == entry.size
    reader = Reader(
        BY_TAG,
        Names.of(allow),
        tensors=tensors.read(io.BytesIO(raw), len(raw)),
        tables=[table_from(table_bytes(table), "tables/0.arrow") for table in writer.tables],
        objects=writer.objects,
    )
    found = reader.value(content)
    reader.finish()
    return found


UTC = datetime.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
MOMENT = datetime.datetime(2024, 10, 27, 2, 30, 0, 5)

PLAIN = [
    *[
        None,
        True,
        False,
        0,
        -1,
        2**80,
        0.1,
        -0.0,
        1e308,
        math.inf,
        -math.inf,
        "",
        "ä\n\0",
        b"\x00a",
    ],
    *[
        (),
        (1, (2.0, "x")),
        [],
        [1, [2]],
        {},
        {"a": 1, "b": {"c": ()}},
        {"$a": 1},
        {1: "a", (2,): 3},
    ],
    *[FrozenDict({"a": [1]}), frozenset({3, 1, 2}), {1, 2}, range(2, 9, 3), 1 + 2j, Feed({})],
    *[datetime.date(2024, 2, 29), datetime.time(3, 4, 5, 6), datetime.timedelta(-1, 2, 3)],
    *[MOMENT, MOMENT.replace(tzinfo=UTC), MOMENT.replace(tzinfo=BERLIN, fold=1)],
    *[decimal.Decimal("1.50"), torch.float16, torch.device("cuda:1"), Source("a", 2)],
    *[
        torch.relu,
        torch.nn.ReLU,
        torch.nn.functional.gelu,
        torch.optim.SGD,
        np.log,
        torch.Tensor.mean,
    ],
    *[sel.type("float") & ~sel.names("a"), tune(1, 8, log=True), tune([(8, 4), (16,)])],
    *[TensorSpec(("batch", 3), torch.int64, cardinalities=(1, 2, 3)), Loss.of("mse")],
    *[Optimizer.of("sgd", {"lr": 0.1})],
    *[NumericToken("n", ("a",)), CategoricalToken("c", ("a",), (("u", "v"),), True)],
    *[metric("mae"), metric("log_loss")],
    *[QuantileRegression(levels=(0.1, 0.9)), Classification()],
    *[TaskSpec("classification", ("a", "b"), "b", ("y",), {"n": ("a",)}, {"c": (2,)})],
    *[po("scale"), nn("linear_1", 3), nn("block", nn("linear", 2) >> nn("relu"), n_blocks=2)],
    *[po("scale") >> [po("pca"), None] >> po("featureunion"), np.dtype("<f4"), np.dtype("M8[ns]")],
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:40])
def test_a_value_comes_back(value: Any) -> None:
    found = back(value)
    assert type(found) is type(value)
    assert found == value
    assert repr(found) == repr(value)


def test_what_is_no_number_comes_back() -> None:
    assert math.isnan(back({"a": math.nan})["a"])


def test_the_order_of_a_dict_comes_back() -> None:
    assert list(back({"b": 1, "a": 2, 3: 4})) == ["b", "a", 3]


def test_a_partial_function_comes_back() -> None:
    found = back(functools.partial(torch.clamp, min=0.0))
    assert found.func is torch.clamp and found.keywords == {"min": 0.0}


NESTED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.dictionaries(st.integers() | st.booleans(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(NESTED)
def test_nested_values_come_back(value: Any) -> None:
    assert repr(back(value)) == repr(value)


# NumPy

ARRAYS = [
    *[np.arange(6).reshape(2, 3), np.arange(6.0).reshape(2, 3).T, np.zeros((2, 0, 3)), np.array(5)],
    *[np.array([True, False]), np.array(["a", "äöü", ""]), np.array([b"a", b"bc"]), np.array("a")],
    *[np.arange(3, dtype=">i4"), np.arange(10)[::3], np.float16([0.5]), np.array([1 + 2j])],
    *[np.array(["2024-02-29"], "M8[D]"), np.array([3], "m8[s]"), np.array([2**63], np.uint64)],
    *[np.array(["x", 1, None, 0.5], object), np.array([], object), np.array([["a"]], object)],
    *[np.array([np.nan, -0.0, np.inf]), np.array([], "U0"), np.zeros(3, np.complex64)],
]


@pytest.mark.parametrize("value", ARRAYS, ids=lambda value: f"{value.dtype} {value.shape}")
def test_an_array_comes_back(value: Any) -> None:
    found = back(value)
    assert found.dtype == value.dtype.newbyteorder("<") and found.shape == value.shape
    assert found.tobytes() == value.astype(found.dtype).tobytes() or found.dtype == object
    assert repr(found.tolist()) == repr(value.tolist())
    assert found.flags.writeable


def test_an_array_by_columns_stays_one() -> None:
    assert back(np.asfortranarray(np.ones((3, 4)))).flags.f_contiguous


SCALARS = [
    np.float32(0.1),
    np.int8(-3),
    np.bool_(True),
    np.str_("ä"),
    np.datetime64("2024-01", "M"),
]


@pytest.mark.parametrize("value", [*SCALARS, np.complex128(1j), np.bytes_(b"ab")], ids=repr)
def test_a_scalar_comes_back(value: Any) -> None:
    found = back(value)
    assert type(found) is type(value) and found.dtype == value.dtype and found == value


# Tensors

DTYPES = [
    *[torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16],
    *[torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64],
    *[torch.complex128, torch.float8_e4m3fn, torch.uint64],
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_tensor_comes_back(dtype: torch.dtype) -> None:
    value = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    for one in (value, value[0, 0], value[:0], value.T, value[:, ::2]):
        found = back(one)
        assert found.dtype == dtype and found.shape == one.shape
        assert torch.equal(found.to(torch.complex128), one.to(torch.complex128))


def test_views_of_one_storage_come_back_as_tensors_of_their_own() -> None:
    whole = torch.arange(10.0)
    one, two = back((whole[2:4], whole[3:9:2]))
    assert one.tolist() == [2.0, 3.0] and two.tolist() == [3.0, 5.0, 7.0]
    assert one.untyped_storage().nbytes() == 8


def test_parameters_and_conjugates_come_back_as_plain_tensors() -> None:
    assert type(back(torch.nn.Parameter(torch.ones(2)))) is torch.Tensor
    assert back(torch.tensor([1 + 2j]).conj()).tolist() == [1 - 2j]


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(3).to_sparse(),
        torch.empty(2, device="meta"),
    ],
    ids=["sparse", "meta"],
)
def test_a_special_tensor_is_refused(value: torch.Tensor) -> None:
    with pytest.raises(StateError, match="sparse, quantized or without values"):
        back(value)


def test_the_names_of_tensors_say_where_they_belong() -> None:
    writer = Writer(CODECS)
    one = torch.ones(1)
    writer.value({"net": {"linear.weight": one}, "a/b": one, "a": {"b": one}})
    assert list(writer.tensors) == ["net/linear.weight", "a/b", "a/b#2"]


# Arrow

WORDS = pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int8()), ["v", "u"], ordered=True)
ARROW = [
    *[pa.array([1, None]), pa.array([], pa.large_string()), WORDS, WORDS.slice(1, 1), WORDS[:0]],
    *[pa.chunked_array([[1.5], [], [None, 2.5]]), pa.chunked_array([WORDS[:0]]), pa.nulls(3)],
    *[pa.table({"a": [1, 2], "b": WORDS[:2]}), pa.table({"a": WORDS[:0]}), pa.table({})],
    *[
        pa.table({"": pa.nulls(5)}).select([]),
        pa.record_batch({"a": [1]}),
        pa.record_batch({"w": WORDS[:0]}),
    ],
    *[pa.scalar(1.5), pa.scalar(None, pa.int8()), WORDS[0], pa.scalar(MOMENT.replace(tzinfo=UTC))],
    *[
        pa.array([[1], None, []]),
        pa.array([{"a": 1, "b": [b"x"]}]),
        pa.array([decimal.Decimal("1.5")]),
        pa.FixedShapeTensorArray.from_numpy_ndarray(
            np.arange(12, dtype=np.float32).reshape(2, 3, 2)
        ),
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((1, 3), dtype=np.uint8))[:0],
    ],
    *[pa.int8(), WORDS.type, pa.timestamp("us", "Europe/Berlin"), pa.list_(pa.string())],
]


@pytest.mark.parametrize("value", ARROW, ids=lambda value: str(getattr(value, "type", type(value))))
def test_arrow_data_come_back(value: Any) -> None:
    found = back(value)
    assert type(found) is type(value)
    if isinstance(value, pa.DataType):
        assert found == value
        return
    assert found.equals(value)
    if isinstance(value, pa.DictionaryArray):
        assert found.type == value.type
        assert found.dictionary.to_pylist() == value.dictionary.to_pylist()


@pytest.mark.parametrize(
    "value",
    [
        pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), [1]),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)], pa.binary(16))),
    ],
    ids=["run_end", "extension"],
)
def test_arrow_data_of_other_kinds_are_refused(value: Any) -> None:
    with pytest.raises(StateError, match="its type is"):
        back(value)


# Tasks


def test_a_task_comes_back_with_its_roles_and_levels() -> None:
    table = {"a": [1.0, None], "w": [1.0, 2.0], "g": pa.array(["u", "v"]).dictionary_encode()}
    task = Task({**table, "y": [True, False]}, target="y", weight="w", positive=False)
    for one in (task, task.empty(), task.take([1])):
        found = back(one)
        assert dict(found.roles) == dict(one.roles) and found.goal == one.goal
        assert found.levels("g") == ("u", "v") and found.types == one.types
        assert canonical(found.to_arrow().to_pylist()) == canonical(one.to_arrow().to_pylist())
    assert back(task).fingerprint == task.fingerprint
    assert back(task.empty()).fingerprint == task.empty().fingerprint


# Callbacks

SCHEDULES = (callback("lr_warmup", steps=2), callback("lr_step", step_size=2))
PARAMETERS: dict[str, dict[str, Any]] = {
    "checkpoint": {"path": "folder"},
    "csv_log": {"path": "log.csv"},
    "grad_clip": {"norm": 1.0},
    "jsonl_log": {"path": "log.jsonl"},
    "lr_chained": {"schedulers": SCHEDULES},
    "lr_cosine_annealing_warm_restarts": {"T_0": 2},
    "lr_cyclic": {"base_lr": 0.1, "max_lr": 0.2},
    "lr_exponential": {"gamma": 0.5},
    "lr_lambda": {"lr_lambda": math.sqrt},
    "lr_multi_step": {"milestones": [1, 2]},
    "lr_multiplicative": {"lr_lambda": math.sqrt},
    "lr_one_cycle": {"max_lr": 0.1},
    "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.ConstantLR},
    "lr_sequential": {"schedulers": SCHEDULES, "milestones": [2]},
    "lr_step": {"step_size": 2},
    "lr_warmup": {"steps": 2},
    "swa": {"begin": 1},
    "tensorboard": {"path": "folder"},
    "time_limit": {"seconds": 1.0},
    "unfreeze": {"starting_weights": sel.match("^head")},
}


OURS = [key for key, cls in known_callbacks().items() if cls.__module__.startswith("mlgraph.")]


@pytest.mark.parametrize("key", OURS)
def test_every_callback_comes_back(key: str) -> None:
    one = callback(key, **PARAMETERS.get(key, {}))
    assert back(one, allow=(math.sqrt,)) == one


# Refusals


class Odd:
    pass


@attrs.frozen
class Own:
    a: int = 1


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Odd(), "nothing is known"),
        (OrderedDict(a=1), "nothing is known"),
        (np.array([object()], object), "objects that are no texts or numbers"),
        (np.zeros(1, [("a", "i4")]), "its dtype is"),
        (torch.nn.Linear(1, 1), "nothing is known"),
        ("\ud800", "nothing is known"),
        (lambda: 0, "it is a lambda"),
    ],
    ids=["object", "subclass", "objects", "structured", "module", "surrogate", "lambda"],
)
def test_what_cannot_be_saved_is_refused_with_its_place(value: Any, why: str) -> None:
    with pytest.raises(StateError, match=why) as caught:
        back({"outer": (1, value)})
    assert caught.value.where == "value/outer/1"


def test_endless_values_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(StateError, match="nested too deeply"):
        back(loop)


def test_every_codec_has_a_name_of_its_own() -> None:
    assert len(BY_TAG) == len(CODECS)


def test_what_is_written_by_safetensors_is_what_we_write() -> None:
    from safetensors.torch import load, save

    values = {
        "a": torch.arange(3),
        "b": torch.ones(2, 2, dtype=torch.bfloat16),
        "c": torch.ones(()),
    }
    writer = Writer(CODECS)
    writer.value(values)
    raw = b"".join(map(bytes, tensors.entry(writer.tensors).pieces))
    found = load(raw)
    assert all(torch.equal(found[name], values[name]) for name in values)
    assert tensors.read(io.BytesIO(save(values)), len(save(values))).keys() == values.keys()
