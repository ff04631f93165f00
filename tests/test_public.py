"""What is public: exported, importable, documented, and light to import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import mlgraph

HEAVY = ("torchvision", "sklearn", "pandas", "matplotlib", "polars", "optuna")


@pytest.mark.parametrize("name", mlgraph.__all__)
def test_a_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value: Any = getattr(mlgraph, name)
    assert not isinstance(value, ModuleType)
    assert (inspect.getdoc(value) or "").strip()


def test_nothing_public_is_missing_from_the_list() -> None:
    defined = {
        name
        for name, value in vars(mlgraph).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }
    assert defined == set(mlgraph.__all__)


def test_the_list_is_sorted_and_names_nothing_twice() -> None:
    assert list(mlgraph.__all__) == sorted(set(mlgraph.__all__))


@pytest.mark.parametrize(
    "name",
    [
        *["Task", "Prediction", "Graph", "FittedGraph", "Node", "Layer", "Port"],
        *["po", "nn", "nodes", "branch", "chain", "union", "replicate", "param", "tune", "sel"],
        *["MLGraphError", "GraphError", "ShapeError", "DataError", "ConfigError", "StateError"],
    ],
)
def test_the_names_of_the_first_page_are_public(name: str) -> None:
    assert name in mlgraph.__all__


def test_the_package_has_a_version() -> None:
    assert all(part.isdigit() for part in mlgraph.__version__.split(".")[:2])


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, mlgraph; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_looking_up_a_node_imports_nothing_heavy_either() -> None:
    code = (
        f"import sys, mlgraph; mlgraph.po('nop'); print([n for n in {HEAVY!r} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
