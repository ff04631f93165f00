"""Files that are damaged, or made to do harm: refused, with nothing written and little taken."""

from __future__ import annotations

import importlib.util
import resource
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mlgraph
from mlgraph.core.fitted import FittedGraph
from mlgraph.errors import StateError

_SPEC = importlib.util.spec_from_file_location("hostile", Path(__file__).with_name("hostile.py"))
assert _SPEC is not None and _SPEC.loader is not None
hostile = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(hostile)

MIB = 2**20
# The file takes some thousand bytes; its index at most 8 MiB.
LIMIT = 48 * MIB


@pytest.fixture(scope="module")
def entries(fitted: FittedGraph, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("good") / "good.mlgraph"
    fitted.save(path)
    assert isinstance(mlgraph.load(path), FittedGraph)
    made: dict[str, bytes] = hostile.entries_of(path)
    return made


def tree(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def refusal(path: Path, **options: Any) -> StateError:
    with pytest.raises(StateError) as caught:
        mlgraph.load(path, **options)
    return caught.value


def resident() -> int:
    """The most memory this process ever had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@pytest.mark.parametrize("case", hostile.CASES)
def test_a_hostile_file_is_refused(
    case: str,
    entries: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make: Callable[[dict[str, bytes]], bytes] = hostile.CASES[case]
    path = tmp_path / "inner" / "file.mlgraph"
    path.parent.mkdir()
    path.write_bytes(make(entries))
    monkeypatch.chdir(path.parent)
    before, modules, most = tree(tmp_path), set(sys.modules), resident()
    tracemalloc.start()
    try:
        error = refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in error.where
    assert tree(tmp_path) == before
    assert peak < LIMIT
    assert resident() - most < 4 * LIMIT
    assert not {name.partition(".")[0] for name in set(sys.modules) - modules} & {"no_such_package"}


def test_the_good_file_put_together_again_is_no_hostile_one(
    entries: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "file.mlgraph"
    path.write_bytes(hostile.zipped(entries))
    assert isinstance(mlgraph.load(path), FittedGraph)


def test_a_file_over_the_limit_is_refused_before_it_is_read(
    entries: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "file.mlgraph"
    path.write_bytes(hostile.zipped(entries))
    assert "max_bytes" in refusal(path, max_bytes=1000).mend


def test_a_newer_file_says_which_version_it_needs(
    entries: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "file.mlgraph"
    path.write_bytes(hostile.CASES["future format"](entries))
    assert refusal(path).mend == 'pip install "mlgraph>=9.9"'


def test_an_unknown_node_is_named_with_the_package_that_offered_it(
    entries: dict[str, bytes], tmp_path: Path
) -> None:
    def change(manifest: Any) -> None:
        manifest["providers"]["mlgraph-wave"] = {"version": "2.1", "nodes": ["wave"]}

    renamed = hostile.edited(entries, "graph.json", hostile.set_key("impute", "wave"))
    (tmp_path / "one").write_bytes(renamed)
    offered = hostile.edited(hostile.entries_of(tmp_path / "one"), "manifest.json", change)
    (tmp_path / "two").write_bytes(offered)
    error = refusal(tmp_path / "two")
    assert error.what == "The file needs a node 'wave', which is not there."
    assert "mlgraph-wave 2.1" in error.why
