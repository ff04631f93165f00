"""Tables of every origin become the same columns; what cannot be held is refused by name."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import feather

from mlgraph.data.task import Task
from mlgraph.errors import DataError


def values(task: Task, name: str) -> list[object]:
    return task.column(name).to_pylist()


def columns() -> dict[str, list[object]]:
    return {"x": [1.5, None, 3.0], "n": [1, 2, 3], "s": ["a", None, "c"], "b": [True, False, None]}


TYPES = {"x": "float", "n": "int", "s": "string", "b": "bool"}

ORIGINS = {
    "dict of lists": lambda: columns(),
    "pandas": lambda: pd.DataFrame(columns()).astype({"b": "boolean"}),
    "pandas with objects": lambda: pd.DataFrame(columns()).astype({"s": object, "b": object}),
    "pandas nullable": lambda: pd.DataFrame(columns()).convert_dtypes(),
    "pandas with arrow types": lambda: pd.DataFrame(columns()).convert_dtypes(
        dtype_backend="pyarrow"
    ),
    "polars": lambda: pl.DataFrame(columns()),
    "arrow table": lambda: pa.table(columns()),
    "arrow record batch": lambda: pa.record_batch(columns()),
    "arrow stream": lambda: pa.table(columns()).to_reader(),
    "dict of arrays": lambda: {k: pa.array(v) for k, v in columns().items()},
    "dict of series": lambda: {k: pl.Series(v) for k, v in columns().items()},
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_every_origin_gives_the_same_task(origin: str) -> None:
    task = Task(ORIGINS[origin]())
    assert dict(task.types) == TYPES
    assert {name: values(task, name) for name in task.features} == columns()
    assert task.fingerprint == Task(columns()).fingerprint


def test_a_duckdb_relation_is_a_table() -> None:
    duckdb = pytest.importorskip("duckdb")
    task = Task(duckdb.sql("select 1 as a, 'u'::ENUM('v', 'u') as e"))
    assert dict(task.types) == {"a": "int", "e": "category"}
    assert task.levels("e") == ("v", "u")


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "parquet", "feather", "arrow", "ipc"])
def test_files_are_read_by_their_ending(tmp_path, ending: str) -> None:
    path = tmp_path / f"table.{ending}"
    table = pa.table({"x": [1.5, None], "s": ["a", None], "y": ["u", "v"]})
    if ending in ("csv", "tsv", "csv.gz"):
        table.to_pandas().to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    elif ending == "parquet":
        pq.write_table(table, path)
    elif ending == "ipc":  # a stream; the others are files
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        feather.write_feather(table, str(path), compression="uncompressed")
    for given in (path, str(path)):
        task = Task(given, target="y")
        assert task.types["x"] == "float"
        assert values(task, "x") == [1.5, None]
        assert values(task, "s") == ["a", None]


def test_words_for_missing_are_missing_in_a_csv(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("s,x\nNA,1\nb,NA\n,3\n")
    task = Task(tmp_path / "t.csv")
    assert values(task, "s") == [None, "b", None]
    assert dict(task.missing) == {"s": 2, "x": 1}


def test_files_that_cannot_be_read_are_refused(tmp_path) -> None:
    (tmp_path / "iris.csv").write_text("a\n1\n")
    (tmp_path / "broken.parquet").write_text("no")
    with pytest.raises(DataError, match=r"There is no file .*iriss\.csv") as missing:
        Task(tmp_path / "iriss.csv")
    assert "'iris.csv'" in missing.value.mend
    with pytest.raises(DataError, match=r"file called 'iris\.xlsx'"):
        Task("iris.xlsx")
    with pytest.raises(DataError, match=r"broken\.parquet cannot be read"):
        Task(tmp_path / "broken.parquet")


@pytest.mark.parametrize("rows", ["a,größe\n1,2\n", "a,b\n1,größe\n"])
def test_a_csv_that_is_not_utf_8_is_refused(tmp_path, rows: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(rows.encode("latin-1"))
    with pytest.raises(DataError, match=r"t\.csv is not UTF-8") as refused:
        Task(path)
    assert 'pd.read_csv(path, encoding="latin-1")' in refused.value.mend
    path.write_text(rows, encoding="utf-8")
    assert len(Task(path)) == 1


def test_an_index_in_a_csv_is_refused_with_how_to_leave_it_out(tmp_path) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    frame.to_csv(tmp_path / "t.csv")
    with pytest.raises(DataError, match="'' cannot be the name") as refused:
        Task(tmp_path / "t.csv")
    assert "index=False" in refused.value.mend
    assert Task({"a": [1]}).like(tmp_path / "t.csv").column("a").to_pylist() == [1, 2]


def test_an_array_has_columns_by_number() -> None:
    for array in (np.eye(2), torch.eye(2)):
        task = Task(array)
        assert task.features == ("x0", "x1")
        assert values(task, "x1") == [0.0, 1.0]


def test_a_pair_is_a_table_and_a_target() -> None:
    X = np.eye(3)
    assert Task((X, ["a", "b", "a"])).target == "target"
    assert Task((X, np.array([0, 1, 0])), kind="classification").classes == (0, 1)
    named = Task((pd.DataFrame({"a": [1, 2]}), pd.Series(["u", "v"], name="y")))
    assert (named.target, named.features) == ("y", ("a",))
    assert Task((X, ["a", "b", "a"]), target="label").target == "label"
    assert Task((X, None)).kind == "unsupervised"


def test_a_pair_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="X and y differ in length"):
        Task((np.eye(3), ["a", "b"]))
    with pytest.raises(DataError, match="X has a column 'target' already"):
        Task(({"target": [1, 2]}, ["a", "b"]))
    with pytest.raises(DataError, match="cannot be made from tuple") as wrong:
        Task((1, 2, 3))
    assert "3" in wrong.value.why


def test_the_index_of_pandas_is_left_out(tmp_path) -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=[5, 9])
    assert Task(frame).features == ("a",)
    assert Task(frame).row_ids.tolist() == [0, 1]
    frame.to_parquet(tmp_path / "t.parquet")
    assert Task(tmp_path / "t.parquet").features == ("a",)


@pytest.mark.parametrize("as_frame", [True, False])
def test_memory_that_others_can_write_to_is_copied(as_frame: bool) -> None:
    array = np.array([1.0, 2.0])
    data = pd.DataFrame({"a": array}, copy=False) if as_frame else {"a": array}
    task = Task(data)
    if as_frame:
        data.loc[0, "a"] = 9.0
    array[:] = 9.0
    assert values(task, "a") == [1.0, 2.0]


def test_without_copy_memory_is_shared() -> None:
    array = np.array([1.0, 2.0])
    task = Task({"a": array}, copy=False)
    array[0] = 9.0
    assert values(task, "a") == [9.0, 2.0]


def test_widths_are_normalised() -> None:
    task = Task(
        {
            "i8": np.array([1], np.int8),
            "u32": np.array([1], np.uint32),
            "f16": np.array([1], np.float16),
            "f32": np.array([1], np.float32),
            "words": np.array(["a"]),
            "void": [None],
            "day": [dt.date(2020, 2, 29)],
            "day64": pa.array([0], pa.date64()),
            "naive": np.array(["2020-01-01T00:00:00.123456789"], "datetime64[ns]"),
            "zoned": [dt.datetime(2020, 1, 1, tzinfo=dt.UTC)],
        }
    )
    types = {name: str(task.column(name).type) for name in task.features}
    assert types == {
        "i8": "int64",
        "u32": "int64",
        "f16": "float",
        "f32": "float",
        "words": "large_string",
        "void": "double",
        "day": "date32[day]",
        "day64": "date32[day]",
        "naive": "timestamp[us]",
        "zoned": "timestamp[us, tz=UTC]",
    }
    assert task.types["day"] == task.types["zoned"] == "datetime"
    assert values(task, "naive") == [dt.datetime(2020, 1, 1, 0, 0, 0, 123456)]


@pytest.mark.parametrize("width", [pa.float64(), pa.float32()])
def test_nan_becomes_missing(width: pa.DataType) -> None:
    task = Task({"a": pa.array([1.0, float("nan"), None], width)})
    assert values(task, "a") == [1.0, None, None]
    assert task.missing == {"a": 2}
    assert task.column("a").type == width


def test_dates_of_pandas_keep_their_zone() -> None:
    when = pd.Series(pd.to_datetime(["2020-01-01", None])).dt.tz_localize("Europe/Berlin")
    task = Task(pd.DataFrame({"t": when}))
    assert task.column("t").type.tz == "Europe/Berlin"
    assert task.missing == {"t": 1}


def test_chunks_with_different_dictionaries_are_unified() -> None:
    chunks = [pa.array(["b", "a"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()]
    task = Task(pa.table({"c": pa.chunked_array(chunks)}))
    assert task.levels("c") == ("a", "b", "c")
    assert values(task, "c") == ["b", "a", "c", "a"]
    assert {tuple(chunk.dictionary.to_pylist()) for chunk in task.column("c").chunks} == {
        ("a", "b", "c")
    }


@pytest.mark.parametrize("ordered", [True, False])
def test_categories_of_pandas_keep_levels_and_order(ordered: bool) -> None:
    kind = pd.CategoricalDtype(["low", "mid", "high"], ordered=ordered)
    task = Task(pd.DataFrame({"c": pd.Series(["high", None, "low"], dtype=kind)}))
    assert task.levels("c") == ("low", "mid", "high")
    assert task.is_ordered("c") is ordered
    assert values(task, "c") == ["high", None, "low"]
    assert task.column("c").type == pa.dictionary(pa.int32(), pa.string(), ordered)


def test_levels_that_are_numbers_or_booleans_become_words() -> None:
    task = Task(pd.DataFrame({"n": pd.Categorical([3, 1]), "b": pd.Categorical([True, False])}))
    assert task.levels("n") == ("1", "3")
    assert task.levels("b") == ("False", "True")


def test_a_level_that_is_missing_itself_is_a_missing_value() -> None:
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", None, "b"]))
    task = Task({"c": codes})
    assert task.levels("c") == ("a", "b")
    assert values(task, "c") == ["a", None, "b"]


def test_a_level_that_occurs_twice_is_one_level() -> None:
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", "b", "a"]))
    task = Task({"c": codes})
    assert task.levels("c") == ("a", "b")
    assert values(task, "c") == ["a", "b", "a"]


def test_a_category_may_have_no_levels() -> None:
    task = Task(pd.DataFrame({"c": pd.Categorical([None, None])}))
    assert task.levels("c") == ()
    assert task.missing == {"c": 2}


def test_polars_categories_and_enums_are_categories() -> None:
    frame = pl.DataFrame(
        {
            "c": pl.Series(["b", "a"], dtype=pl.Categorical),
            "e": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x", "z"])),
        }
    )
    task = Task(frame)
    assert task.types == {"c": "category", "e": "category"}
    assert values(task, "c") == ["b", "a"]
    assert task.levels("e") == ("y", "x", "z")


UNDECLARED = {
    "polars": lambda words: pl.DataFrame({"c": pl.Series(words, dtype=pl.Categorical)}),
    "polars series": lambda words: {"c": pl.Series(words, dtype=pl.Categorical)},
    "arrow": lambda words: {"c": pa.array(words).dictionary_encode()},
    "arrow table": lambda words: pa.table({"c": pa.array(words).dictionary_encode()}),
    "arrow inside pandas": lambda words: pd.DataFrame(
        {"c": pd.array(words, dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())))}
    ),
    "pair": lambda words: ({"a": range(3)}, pa.array(words, pa.string()).dictionary_encode()),
}


@pytest.mark.parametrize("origin", UNDECLARED)
def test_the_order_of_the_rows_does_not_decide_that_of_the_levels(origin: str) -> None:
    one, two = (Task(UNDECLARED[origin](words)) for words in (["b", "a", "b"], ["a", "b", "b"]))
    for task, words in ((one, ["b", "a", "b"]), (two, ["a", "b", "b"])):
        (name,) = task.targets or task.features
        levels = task.classes or task.levels(name)
        assert levels == ("a", "b")
        assert values(task, name) == words


def test_the_positive_class_does_not_depend_on_the_first_row() -> None:
    for words in (["no", "yes"], ["yes", "no"]):
        frame = pl.DataFrame({"y": pl.Series(words, dtype=pl.Categorical)})
        task = Task(frame, target="y")
        assert task.classes == ("no", "yes")
        assert task.positive == "yes"


def test_undeclared_levels_that_were_numbers_are_sorted_as_numbers() -> None:
    task = Task({"n": pa.array([10, 9, 10]).dictionary_encode()})
    assert task.levels("n") == ("9", "10")
    assert values(task, "n") == ["10", "9", "10"]


DECLARED = {
    "ordered arrow": lambda: {
        "c": pa.DictionaryArray.from_arrays(
            pa.array([1, 0]), pa.array(["low", "high"]), ordered=True
        )
    },
    "polars enum": lambda: {"c": pl.Series(["high", "low"], dtype=pl.Enum(["low", "high"]))},
    "pandas values": lambda: {"c": pd.Categorical(["high", "low"], ["low", "high"])},
    "arrow from pandas": lambda: pa.table(
        pd.DataFrame({"c": pd.Categorical(["high", "low"], ["low", "high"])})
    ),
}


@pytest.mark.parametrize("origin", DECLARED)
def test_an_order_of_levels_that_was_declared_is_kept(origin: str, tmp_path: Path) -> None:
    task = Task(DECLARED[origin]())
    assert task.levels("c") == ("low", "high")
    pq.write_table(task.table(), tmp_path / "levels.parquet")
    written = tmp_path / "levels.parquet"
    for again in map(Task, (task.to_arrow(), task.table(), task.to_pandas(), written)):
        assert again.levels("c") == ("low", "high")
        assert values(again, "c") == ["high", "low"]


def test_arrays_of_more_dimensions_are_tensor_columns() -> None:
    images = np.arange(12.0).reshape(3, 2, 2)
    task = Task({"image": images, "y": ["a", "b", "a"]}, target="y")
    assert task.types["image"] == "tensor"
    seen = task.take([2, 0]).column("image").combine_chunks().to_numpy_ndarray()
    assert np.array_equal(seen, images[[2, 0]])
    assert task.fingerprint != Task({"image": images + 1, "y": ["a", "b", "a"]}, "y").fingerprint


@pytest.mark.parametrize(
    ("column", "words", "mend"),
    [
        ([decimal.Decimal("1.5")], "decimal128", "Cast it to a float"),
        ([{"u": 1}], "struct<u: int64>", "Unpack its fields"),
        ([[1, 2]], "list<item: int64>", "NumPy array"),
        ([b"raw"], "binary", "lazy tensors"),
        ([dt.time(1)], "time64", "seconds since midnight"),
        ([dt.timedelta(1)], "duration", "seconds"),
        (pd.Series(pd.period_range("2020", periods=1)), "extension", "Convert it"),
        (pd.Series(pd.Categorical([1.5])), "dictionary", "strings"),
    ],
)
def test_types_a_task_cannot_hold_are_refused_by_name(column, words: str, mend: str) -> None:
    with pytest.raises(DataError, match="Column 'odd' has the type") as refused:
        Task({"a": [1], "odd": column})
    assert words in refused.value.what
    assert mend in refused.value.mend


@pytest.mark.parametrize(
    "data",
    [
        {"a": [1], "odd": [1, "x"]},
        pd.DataFrame({"odd": pd.Series([1, "x"], dtype=object)}),
        {"odd": "word"},
        {"odd": 3},
        {"odd": {1, 2}},
        {"odd": np.array([1j])},
        {"odd": np.array(1.0)},
    ],
)
def test_columns_that_are_not_of_one_type_are_refused_by_name(data) -> None:
    with pytest.raises(DataError, match="Column 'odd' cannot be read as values of one type") as no:
        Task(data)
    assert no.value.why


@pytest.mark.parametrize("odd", ["word", 3, 2.5, {"a": 1}])
def test_a_column_that_is_one_value_is_told_to_be_a_list(odd) -> None:
    with pytest.raises(DataError) as no:
        Task({"odd": odd})
    assert no.value.mend == "Give a list, also of one row: [1.0]."


def test_integers_beyond_64_bits_are_refused() -> None:
    with pytest.raises(DataError, match="'a' has integers too large"):
        Task({"a": np.array([2**64 - 1], np.uint64)})


def test_names_must_be_words_that_occur_once() -> None:
    doubled = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    for data in (doubled, pd.DataFrame([[1, 2]], columns=["a", "a"])):
        with pytest.raises(DataError, match="Several columns are called 'a'"):
            Task(data)
    with pytest.raises(DataError, match="'' cannot be the name of a column"):
        Task({"": [1]})
    with pytest.raises(DataError, match=r"\('a', 'b'\) cannot be the name"):
        Task({("a", "b"): [1]})
    assert Task(pd.DataFrame(np.eye(2))).features == ("0", "1")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (3, "cannot be made from int"),
        (None, "cannot be made from NoneType"),
        ([1, 2], "cannot be made from list"),
        (np.arange(3), r"shape \(3,\) is not a table"),
        (pd.Series([1]), "cannot be made from Series"),
        (pl.Series([1]), "cannot be made from Series"),
        ({"a": [1], "b": [1, 2]}, "columns differ in length"),
    ],
)
def test_what_is_no_table_is_refused(data, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Task(data)


def test_a_column_may_bring_itself() -> None:
    class Lazy:
        def __mlgraph_column__(self):
            return Task({"a": [1, 2]}).columns["a"]

    assert values(Task({"a": Lazy(), "b": [3, 4]}), "a") == [1, 2]


def test_a_structured_array_brings_its_names():
    array = np.array([(1.0, 2), (3.0, 4)], dtype=[("length", float), ("count", int)])
    assert Task(array).types == {"length": "float", "count": "int"}
