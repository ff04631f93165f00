"""Imports go one way: the floors of the house, read from the sources."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent

# From the ground up. What stands in one row may not import each other, except inside a package.
FLOORS = [
    ["mlgraph.errors"],
    ["mlgraph.core"],
    ["mlgraph.tensor"],
    ["mlgraph.data"],
    ["mlgraph.net"],
    ["mlgraph.train"],
    ["mlgraph.learn"],
    ["mlgraph.catalogue"],
    ["mlgraph.cookbook"],
    ["mlgraph.store", "mlgraph.draw"],
    ["mlgraph.testing", "mlgraph.datasets"],
    ["mlgraph"],
    ["mlgraph.cli", "mlgraph_nodes"],
    ["mlgraph.__main__"],
]
CORE = (
    "value files param declare keyed lookup extra port base wiring structure algebra checked views"
    " graph fitted node compose route resolve entry calls run continuing"
).split()

# Methods that belong to a value although their work is done higher up: (module, function, target).
UPWARD = {
    ("mlgraph.core.graph", "_or_nop", "mlgraph.core.route"),
    ("mlgraph.core.graph", "resolved", "mlgraph.core.resolve"),
    ("mlgraph.core.graph", "TYPE_CHECKING", "mlgraph.core.fitted"),
    ("mlgraph.core.graph", "search_space", "mlgraph.core.resolve"),
    ("mlgraph.core.graph", "fit", "mlgraph.core.run"),
    ("mlgraph.core.graph", "check", "mlgraph.core.run"),
    ("mlgraph.core.fitted", "predict", "mlgraph.core.run"),
    ("mlgraph.core.fitted", "continue_", "mlgraph.core.continuing"),
    ("mlgraph.core.views", "__repr__", "mlgraph.draw.text"),
    ("mlgraph.core.views", "__str__", "mlgraph.draw.text"),
    ("mlgraph.core.views", "_repr_html_", "mlgraph.draw.svg"),
    ("mlgraph.core.views", "draw", "mlgraph.draw.svg"),
    ("mlgraph.core.views", "plot", "mlgraph.draw.plot"),
    ("mlgraph.core.views", "to_dot", "mlgraph.draw.dot"),
    ("mlgraph.core.views", "to_mermaid", "mlgraph.draw.mermaid"),
    ("mlgraph.core.views", "to_networkx", "mlgraph.draw.layout"),
    ("mlgraph.core.graph", "network", "mlgraph.net.build"),
    ("mlgraph.core.graph", "shapes", "mlgraph.net.build"),
    ("mlgraph.core.graph", "as_classifier", "mlgraph.learn.estimator"),
    ("mlgraph.core.graph", "as_regressor", "mlgraph.learn.estimator"),
    ("mlgraph.core.graph", "as_transformer", "mlgraph.learn.estimator"),
    ("mlgraph.core.graph", "as_estimator", "mlgraph.learn.estimator"),
    ("mlgraph.core.fitted", "save", "mlgraph.store.save"),
    ("mlgraph.core.views", "save", "mlgraph.store.save"),
    ("mlgraph.core.views", "to_dict", "mlgraph.store.document"),
    ("mlgraph.core.views", "from_dict", "mlgraph.store.document"),
    ("mlgraph.core.fitted", "to_state_dict", "mlgraph.store.export"),
    ("mlgraph.core.fitted", "export_torch", "mlgraph.store.export"),
    ("mlgraph.learn.base", "save", "mlgraph.store.save"),
    ("mlgraph.core.checked", "__str__", "mlgraph.draw.text"),
    ("mlgraph.core.checked", "_repr_html_", "mlgraph.draw.svg"),
    ("mlgraph.core.checked", "draw", "mlgraph.draw.svg"),
    ("mlgraph.core.checked", "plot", "mlgraph.draw.plot"),
    ("mlgraph.core.checked", "to_dot", "mlgraph.draw.dot"),
    ("mlgraph.core.checked", "to_mermaid", "mlgraph.draw.mermaid"),
    ("mlgraph.data.prediction", "score", "mlgraph.train.metric"),
    ("mlgraph.core.lookup", "_load_providers", "mlgraph.catalogue"),
}


class Import(NamedTuple):
    """``module`` imports ``target``, at its top or inside ``function``."""

    module: str
    target: str
    function: str
    line: int

    def __str__(self) -> str:
        place = f" in {self.function}()" if self.function else ""
        return f"{self.module}:{self.line}{place} imports {self.target}"


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _sources() -> dict[str, Path]:
    found = {}
    for root, package in ((ROOT, "mlgraph"), (ROOT / "nodes", "mlgraph_nodes")):
        found.update({_name(path, root): path for path in (root / package).rglob("*.py")})
    return found


SOURCES = _sources()


def _targets(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        package = module if SOURCES[module].name == "__init__.py" else module.rpartition(".")[0]
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *filter(None, [base])])
    for alias in node.names:
        inside = f"{base}.{alias.name}"
        yield inside if inside in SOURCES else base


def _walk(tree: ast.AST, function: str = "") -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, function
        yield from _walk(node, function or _place(node))


def _place(node: ast.AST) -> str:
    """The name of a function, or what stands for one: what only type checkers import."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return "TYPE_CHECKING"
    return node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else ""


def _imports() -> list[Import]:
    return [
        Import(module, target, function, node.lineno)
        for module, path in sorted(SOURCES.items())
        for node, function in _walk(ast.parse(path.read_text(encoding="utf-8")))
        for target in _targets(node, module)
    ]


IMPORTS = _imports()
OURS = [
    found for found in IMPORTS if found.target.partition(".")[0] in ("mlgraph", "mlgraph_nodes")
]


def _unit(module: str) -> str:
    """The entry of ``FLOORS`` a module belongs to: the longest one that contains it."""
    units = [unit for row in FLOORS for unit in row]
    inside = [unit for unit in units if unit != "mlgraph" and f"{module}.".startswith(f"{unit}.")]
    if not inside and module == "mlgraph":
        return module
    return max(inside, key=len, default="")


def _floor(module: str) -> int:
    return next(i for i, row in enumerate(FLOORS) if _unit(module) in row)


def _goes_up(found: Import) -> bool:
    if _unit(found.module) == _unit(found.target):
        return _unit(found.module) == "mlgraph.core" and _core(found.target) > _core(found.module)
    return _floor(found.target) >= _floor(found.module)


def _core(module: str) -> int:
    return CORE.index(module.split(".")[2]) if module.count(".") > 1 else -1


def test_the_sources_are_read() -> None:
    assert len(SOURCES) > 40
    assert Import("mlgraph.core.param", "mlgraph.core.value", "", 0)[:3] in [i[:3] for i in IMPORTS]


def test_every_module_stands_on_a_floor() -> None:
    assert [module for module in SOURCES if not _unit(module)] == []
    inside = {module.split(".")[2] for module in SOURCES if module.startswith("mlgraph.core.")}
    assert inside == set(CORE)


def test_imports_only_go_down() -> None:
    up = [
        str(found)
        for found in OURS
        if _goes_up(found) and (found.module, found.function, found.target) not in UPWARD
    ]
    assert up == []


@pytest.mark.parametrize(("module", "function", "target"), sorted(UPWARD))
def test_each_exception_is_still_needed(module: str, function: str, target: str) -> None:
    made = {(found.module, found.function, found.target) for found in OURS if _goes_up(found)}
    assert (module, function, target) in made
    assert target in SOURCES


def test_no_import_at_the_top_of_a_module_is_part_of_a_cycle() -> None:
    graph = nx.DiGraph((i.module, i.target) for i in OURS if not i.function)
    packages = {module for module, path in SOURCES.items() if path.name == "__init__.py"}
    assert list(nx.simple_cycles(graph.subgraph(set(graph) - packages))) == []
    assert list(nx.simple_cycles(graph)) == []


def test_the_core_needs_attrs_and_networkx_only() -> None:
    foreign = {
        str(found)
        for found in IMPORTS
        if f"{found.module}.".startswith(("mlgraph.core.", "mlgraph.errors."))
        and found.target.partition(".")[0] not in {"mlgraph", "attrs", "networkx"}
        and found.target.partition(".")[0] not in sys.stdlib_module_names
    }
    assert foreign == set()


def test_the_engine_never_imports_the_nodes() -> None:
    assert [
        str(i)
        for i in OURS
        if not i.module.startswith("mlgraph_nodes") and (i.target.startswith("mlgraph_nodes"))
    ] == []


LAZY = {"matplotlib", "optuna", "pandas", "polars", "sklearn", "torchvision"}


def test_heavy_packages_are_imported_where_they_are_needed() -> None:
    engine = [i for i in IMPORTS if not i.module.startswith(("mlgraph_nodes", "mlgraph.learn"))]
    top = [str(i) for i in engine if not i.function and i.target.partition(".")[0] in LAZY]
    assert top == []
