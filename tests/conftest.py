"""What all tests share: networks this small are slower on several threads, and less repeatable."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

# Before torch is imported; processes that tests start inherit it. With more than one thread the
# sums inside a matrix product may be split in another way from run to run.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a package that offers nodes, for one test."""
    from mlgraph.catalogue import catalogue

    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)

    def write(name: str, code: str, more: Mapping[str, str] | None = None) -> None:
        info = tmp_path / f"{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[mlgraph.nodes]\n{name} = {name}\n")
        (tmp_path / name).mkdir()
        for module, text in {"__init__": code, **(more or {})}.items():
            (tmp_path / name / f"{module}.py").write_text(text)
        catalogue.cache_clear()

    yield write
    for module in set(sys.modules) - modules:
        if module.partition(".")[0] in {path.name for path in tmp_path.iterdir()}:
            del sys.modules[module]
    monkeypatch.undo()
    catalogue.cache_clear()
