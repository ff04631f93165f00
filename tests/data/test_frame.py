"""Views of rows and columns: what they show, what they share, what they refuse."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgraph.data.select import sel
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, DataError, UnknownColumnError

N = 10


@pytest.fixture
def task() -> Task:
    data = {
        "a": np.arange(float(N)),
        "k": pd.Categorical(list("uvwuvwuvwu")),
        "s": [f"row {i}" for i in range(N)],
        "y": list("pqpqpqpqpq"),
    }
    return Task(data, target="y", row_ids=np.arange(N) + 100)


def buffer(task: Task, name: str) -> int:
    return task.column(name).chunk(0).buffers()[1].address


def same_data(one: Task, other: Task, name: str) -> bool:
    return one.columns[name].stored is other.columns[name].stored


# Rows


def test_rows_are_taken_by_position_and_filtered_by_id(task: Task) -> None:
    taken = task.take([3, 1, 1])
    assert taken.column("a").to_pylist() == [3.0, 1.0, 1.0]
    assert taken.row_ids.tolist() == [103, 101, 101]
    assert len(taken) == taken.n_rows == 3
    filtered = task.filter([103, 101, 101])
    assert filtered.to_arrow().equals(taken.to_arrow())
    assert task.take(slice(8, None)).row_ids.tolist() == [108, 109]


def test_contiguous_rows_are_slices_of_the_same_buffer(task: Task) -> None:
    fold = task.take(np.arange(2, 6))
    assert buffer(fold, "a") == buffer(task, "a")
    assert fold.column("a").chunk(0).offset == 2
    assert buffer(fold.take([1, 2]), "a") == buffer(task, "a")
    assert fold.column("a").to_pylist() == [2.0, 3.0, 4.0, 5.0]


def test_all_rows_are_the_same_task(task: Task) -> None:
    assert task.take(range(N)) is task


def test_views_of_views_stay_flat_and_share_the_data(task: Task) -> None:
    view = task.take([9, 7, 5, 3]).take([2, 0]).take([1])
    assert view.column("s").to_pylist() == ["row 9"]
    assert same_data(view, task, "s")
    assert view.columns["a"].rows is view.columns["s"].rows


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=4))
def test_views_compose_like_indexing(steps: list[list[int]]) -> None:
    values = np.arange(50)
    task = Task({"a": values})
    for step in steps:
        inside = [i for i in step if i < len(values)]
        task, values = task.take(inside), values[np.array(inside, dtype=int)]
    assert task.column("a").to_pylist() == values.tolist()
    assert task.row_ids.tolist() == values.tolist()
    assert len(task) == len(values)


def test_a_repeated_row_is_found_with_all_its_copies(task: Task) -> None:
    boot = task.take([0, 3, 0])
    assert boot.filter([100]).row_ids.tolist() == [100, 100]
    assert boot.filter([103, 100]).column("a").to_pylist() == [3.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        ([10], "no row at position 10"),
        ([-1], "no row at position -1"),
        ([0.5], "Positions are integers"),
        ([[0]], "Positions are integers"),
    ],
)
def test_positions_that_are_none_are_refused(task: Task, positions, words: str) -> None:
    with pytest.raises(DataError, match=words):
        task.take(positions)


def test_a_mask_is_refused_with_the_way_to_turn_it(task: Task) -> None:
    with pytest.raises(DataError) as mask:
        task.take(np.ones(N, dtype=bool))
    assert "flatnonzero" in mask.value.mend


def test_ids_that_are_not_there_are_refused(task: Task) -> None:
    with pytest.raises(DataError, match="Row 5 is not here") as absent:
        task.filter([100, 5, 6])
    assert "2 of 3 row ids" in absent.value.why


def test_an_empty_view_keeps_the_schema_and_lets_go_of_the_data(task: Task) -> None:
    empty = task.take([1]).empty()
    assert len(empty) == 0
    assert empty.to_arrow().schema.equals(task.to_arrow().schema)
    assert empty.levels("k") == ("u", "v", "w")
    assert empty.column("k").chunk(0).dictionary.to_pylist() == ["u", "v", "w"]
    assert empty.target_codes().tolist() == []
    assert not same_data(empty, task, "s")
    assert task.take([]).column("k").num_chunks == 1


def test_a_task_without_features_knows_its_length(task: Task) -> None:
    bare = task.select(sel.none()).take([4, 2])
    assert len(bare) == 2
    assert bare.table().num_rows == 2
    assert [batch.num_rows for batch in bare.scan(batch_size=1)] == [1, 1]
    assert len(Task({}, row_ids=[1, 2])) == 2
    assert len(Task(pd.DataFrame(index=range(3)))) == 3
    assert bare.to_numpy()[0].shape == (2, 0)


def test_scan_reads_the_view_in_batches(task: Task) -> None:
    view = task.take([9, 8, 3, 4, 5])
    batches = list(view.scan(["a"], batch_size=2))
    assert [batch.num_rows for batch in batches] == [2, 2, 1]
    assert pa.concat_tables(batches)["a"].to_pylist() == [9.0, 8.0, 3.0, 4.0, 5.0]
    with pytest.raises(ConfigError, match="batch_size=0"):
        next(task.scan(batch_size=0))


def test_rows_are_aligned_by_id(task: Task) -> None:
    assert task.align(task) is task
    shuffled = task.take([4, 2, 0])
    ordered = task.take([0, 2, 4])
    assert ordered.align(shuffled).column("a").to_pylist() == [0.0, 2.0, 4.0]
    assert ordered.same_rows(ordered.select("a"))
    assert not ordered.same_rows(shuffled)
    repeated = task.take([1, 1, 2])
    assert repeated.align(repeated.select("a")).row_ids.tolist() == [101, 101, 102]


def test_rows_that_cannot_be_aligned_are_refused_with_the_first_difference(task: Task) -> None:
    with pytest.raises(DataError, match="cannot be aligned") as differ:
        task.take([0, 1, 2]).align(task.take([0, 5]))
    assert differ.value.why == "3 and 2 rows; at position 1, row 101 and row 105"
    with pytest.raises(DataError, match="cannot be aligned") as longer:
        task.take([0]).align(task.take([0, 5]))
    assert "at position 1, no row and row 105" in longer.value.why
    with pytest.raises(DataError, match="cannot be aligned"):
        task.take([1, 1, 2]).align(task.take([1, 2, 1]))


# Columns


def test_features_are_selected_in_the_order_of_the_task(task: Task) -> None:
    assert task.select(["s", "a"]).features == ("a", "s")
    assert task.select("k").features == ("k",)
    assert task.select(~sel.type("float")).features == ("k", "s")
    assert task.drop(["a"]).features == ("k", "s")
    assert task.drop(sel.match("^[ak]$")).features == ("s",)
    assert task.select("a").target == "y"
    assert "s" not in task.select("a").columns


def test_only_features_are_selected_or_dropped(task: Task) -> None:
    for method in (task.select, task.drop):
        with pytest.raises(UnknownColumnError, match="No column is called 'aa'") as unknown:
            method(["aa"])
        assert "'a'" in unknown.value.mend
        with pytest.raises(DataError, match="'y' is not a feature") as target:
            method(["a", "y"])
        assert "'target'" in target.value.why


def test_replace_takes_new_columns_and_keeps_the_others_by_reference(task: Task) -> None:
    view = task.take([5, 3])
    new = view.replace({"z": np.array([1.0, np.nan]), "a": pa.array([7, 8])}, ["z", "k", "a"])
    assert new.features == ("z", "k", "a")
    assert new.types["a"] == "int"
    assert new.missing == {"z": 1}
    assert same_data(new, task, "k")
    assert new.column("y").to_pylist() == ["q", "q"]
    later = new.take([1])
    assert later.column("a").to_pylist() == [8]
    assert later.column("k").to_pylist() == ["u"]
    assert task.features == ("a", "k", "s")


def test_replace_refuses_what_does_not_fit(task: Task) -> None:
    with pytest.raises(DataError, match="New column 'z' has 2 values for 10 rows"):
        task.replace({"z": [1, 2]}, ["z"])
    with pytest.raises(DataError, match="'y' is not a feature"):
        task.replace({"y": np.zeros(N)}, ["y"])
    with pytest.raises(UnknownColumnError, match="'zz'"):
        task.replace({}, ["a", "zz"])
    with pytest.raises(DataError, match="do not fit the order"):
        task.replace({"z": np.zeros(N)}, ["a"])
    with pytest.raises(DataError, match="do not fit the order") as twice:
        task.replace({}, ["a", "a"])
    assert "twice" in twice.value.why


def test_columns_are_added_and_replaced_in_place(task: Task) -> None:
    zeros = np.zeros(N)
    assert task.with_columns({"z": zeros}).features == ("a", "k", "s", "z")
    assert task.with_columns(pa.table({"z": zeros, "k": zeros})).features == ("a", "k", "s", "z")
    assert task.with_columns({"z": zeros}, at={"z": "a"}).features == ("a", "z", "k", "s")
    assert task.with_columns({"k": zeros}).types["k"] == "float"
    with pytest.raises(UnknownColumnError):
        task.with_columns({"z": zeros}, at={"z": "nowhere"})
    with pytest.raises(DataError, match="'y' is not a feature"):
        task.with_columns({"y": zeros})


def test_columns_are_renamed_in_all_roles(task: Task) -> None:
    new = task.rename({"a": "k", "k": "a", "y": "class"})
    assert new.features == ("k", "a", "s")
    assert new.target == "class"
    assert new.types["a"] == "category"
    assert new.target_codes().tolist() == task.target_codes().tolist()
    with pytest.raises(UnknownColumnError):
        task.rename({"z": "a"})
    with pytest.raises(DataError, match="several columns the name 'k'"):
        task.rename({"a": "k"})


def test_unknown_columns_are_refused_when_read(task: Task) -> None:
    for read in (task.column, task.levels, task.is_ordered):
        with pytest.raises(UnknownColumnError, match="'zz'"):
            read("zz")


def test_exports_have_all_columns(task: Task) -> None:
    view = task.take([2, 1])
    assert view.to_arrow().column_names == ["a", "k", "s", "y"]
    frame = view.to_pandas()
    assert frame.index.tolist() == [102, 101]
    assert frame["k"].cat.categories.tolist() == ["u", "v", "w"]
    assert view.table(["s"]).to_pydict() == {"s": ["row 2", "row 1"]}


def test_missing_values_are_counted_in_view() -> None:
    task = Task({"a": [None, 1.0, None], "b": [1, 2, 3]})
    assert task.missing == {"a": 2}
    assert task.take([0, 1]).missing == {"a": 1}
    assert task.take([1]).missing == {}


# Fingerprints


def test_a_fingerprint_tells_content_and_not_chunks(task: Task) -> None:
    whole = pa.table({"a": [1.0, 2.0, 3.0], "s": ["x", None, "yz"], "b": [True, None, False]})
    parts = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert parts["a"].num_chunks == 2
    assert Task(whole).fingerprint == Task(parts).fingerprint
    other = whole.set_column(1, "s", pa.array(["x", "", "yz"]))
    assert Task(other).fingerprint != Task(whole).fingerprint
    shifted = whole.set_column(1, "s", pa.array(["xy", None, "z"]))
    assert Task(shifted).fingerprint != Task(whole).fingerprint


def test_every_part_of_a_task_counts_in_its_fingerprint(task: Task) -> None:
    variants = [
        task,
        task.take([0, 1]),
        task.take([1, 0]),
        task.select("a"),
        task.rename({"a": "b"}),
        task.with_weight(np.ones(N)),
        task.with_roles(stratum="k"),
        Task(task, positive="p"),
        Task(task, row_ids=np.arange(N)),
        task.with_target(None),
        task.empty(),
    ]
    assert len({variant.fingerprint for variant in variants}) == len(variants)


def test_order_and_unused_levels_of_a_category_count() -> None:
    kinds = [
        pd.CategoricalDtype(["a", "b"]),
        pd.CategoricalDtype(["b", "a"]),
        pd.CategoricalDtype(["a", "b", "c"]),
        pd.CategoricalDtype(["a", "b"], ordered=True),
    ]
    prints = {Task({"c": pd.Series(["a", "b"], dtype=kind)}).fingerprint for kind in kinds}
    assert len(prints) == 4


def test_the_same_way_to_a_view_gives_the_same_fingerprint(task: Task) -> None:
    assert task.take([1, 2]).select("a").fingerprint == task.select("a").take([1, 2]).fingerprint


def test_a_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "from mlgraph.data.task import Task\n"
        "import pandas as pd\n"
        "data = {'a': [1.5, None], 'k': pd.Categorical(['v', 'u']), 'y': ['p', 'q']}\n"
        "FINGERPRINT = Task(data, target='y').take([1, 0]).fingerprint\n"
    )
    here: dict[str, str] = {}
    exec(code, here)
    command = [sys.executable, "-c", f"{code}print(FINGERPRINT)"]
    there = subprocess.run(command, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here["FINGERPRINT"]
