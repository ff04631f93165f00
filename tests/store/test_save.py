"""Saving: all or nothing, equal bytes for equal things, and refusals that name the node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import mlgraph
from mlgraph import Graph, Task, nn, po
from mlgraph.core import files
from mlgraph.core.fitted import FittedGraph
from mlgraph.errors import StateError
from mlgraph.store import archive, save


def test_equal_things_give_equal_bytes(fitted: FittedGraph, task: Task, tmp_path: Path) -> None:
    again = fitted.graph.fit(task, valid=0.2, seed=1)
    fitted.save(tmp_path / "one")
    again.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_more_parts_than_can_be_read_again_are_refused(tmp_path: Path) -> None:
    entries = {f"tables/{i}.arrow": archive.Entry.of(b"") for i in range(300_000)}
    with pytest.raises(StateError, match="too many parts"), files.replacing(tmp_path / "a") as f:
        archive.pack(f, entries)
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_the_file_is_left(fitted: FittedGraph, tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    fitted.save(str(tmp_path / "one"))
    assert [file.name for file in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_a_failure_in_the_middle_keeps_the_old_file(
    error: BaseException, fitted: FittedGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    fitted.save(path)
    old = path.read_bytes()
    written = []

    def fail(file: Any, entries: Any) -> None:
        written.append(file.write(b"half of it"))
        raise error

    monkeypatch.setattr(save, "pack", fail)
    with pytest.raises(type(error)):
        fitted.save(path)
    assert written and path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_of_the_disk_at_the_end_keeps_the_old_file(
    fitted: FittedGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        fitted.save(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from mlgraph import po
from mlgraph.core import files
half = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
files.os.fsync = half
po("nop").as_graph().save(sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_process_killed_in_the_middle_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    po("scale").as_graph().save(path)
    old = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == old
    assert mlgraph.load(path) == po("scale").as_graph()


def test_a_refusal_writes_nothing(tmp_path: Path) -> None:
    graph = nn("fn", lambda x: x, id="mine").as_graph()
    with pytest.raises(StateError):
        graph.save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


# Refusals by node ---------------------------------------------------------------------------------


def refusal(saved: Any, tmp_path: Path) -> StateError:
    with pytest.raises(StateError) as caught:
        saved.save(tmp_path / "file")
    return caught.value


def test_a_lambda_is_refused_by_node(tmp_path: Path) -> None:
    error = refusal(po("scale") >> po("colapply", fn=lambda x: x, id="mine"), tmp_path)
    assert "node 'mine'" in error.where and "fn" in error.where
    assert "lambda" in error.why and "module" in error.mend


def test_a_lambda_inside_a_block_is_refused_by_both_nodes(tmp_path: Path) -> None:
    block = nn("block", nn("linear", 2) >> nn("fn", lambda x: x, id="inner"), n_blocks=2)
    error = refusal(block.as_graph(), tmp_path)
    assert "node 'block'" in error.where and "node 'inner'" in error.where


def test_a_class_defined_in_a_function_is_refused_by_node(tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    error = refusal(nn("module", Net, id="mine").as_graph(), tmp_path)
    assert "node 'mine'" in error.where and "Net" in error.what


def test_a_finished_module_is_refused_by_node(tmp_path: Path) -> None:
    error = refusal(nn("module", torch.nn.Linear(2, 2), id="mine").as_graph(), tmp_path)
    assert "node 'mine'" in error.where
    assert "pass the class" in error.mend


class Remembers:
    """A state that nobody knows how to write."""


class Keeper(mlgraph.Node):
    inputs = (mlgraph.Port("input", Task),)
    outputs = (mlgraph.Port("output", Task),)
    key = "keeper_of_objects"

    def fit(self, inputs: Any, ctx: Any) -> Any:
        return (inputs["input"],), {"deep": [Remembers()]}

    def apply(self, state: Any, inputs: Any, ctx: Any) -> Any:
        return (inputs["input"],)


def test_a_state_without_a_codec_is_refused_by_node(task: Task, tmp_path: Path) -> None:
    graph: Graph = po("impute") >> Keeper(id="mine")
    error = refusal(graph.fit(task), tmp_path)
    assert error.what == "A Remembers cannot be saved."
    assert error.where.startswith("node 'mine', state") and error.where.endswith("deep/0")


def test_a_node_alone_is_refused_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="as_graph"):
        save.save(po("scale"), tmp_path / "file")


def test_a_task_alone_is_refused(task: Task, tmp_path: Path) -> None:
    with pytest.raises(StateError, match="graphs, fitted graphs and the estimators"):
        save.save(task, tmp_path / "file")
