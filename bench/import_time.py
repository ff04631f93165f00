"""How long ``import mlgraph`` takes next to ``import torch``, and a long chain to build and check.

Imports are timed in fresh processes, in turn; a pair of neighbours gives a ratio, of which the
median is reported (``--clock cpu`` leaves out the time in which a busy machine, or the disk, kept
the process waiting). The package is compiled before, as
installing compiles it. Building a chain and checking it must be linear in the number of nodes.

    python bench/import_time.py            # 11 pairs; chains of 1,000 to 4,000 nodes
    python bench/import_time.py --quick    # 3 pairs; chains of 250 to 1,000 nodes
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from compileall import compile_dir
from functools import partial, reduce
from pathlib import Path
from statistics import median
from time import perf_counter

import mlgraph
import mlgraph_nodes
from bench.table import show, verdict
from mlgraph import Graph, chain, datasets, nn, po

HEAVY = ("lightning", "matplotlib", "optuna", "pandas", "polars", "scipy", "sklearn", "torchvision")
CLOCKS = {"wall": "perf_counter", "cpu": "process_time"}
TIMED = "from time import {0} as clock; start = clock(); import {1}; print(clock() - start)"
LISTED = "import sys; import {}; print(*{{name.split('.')[0] for name in sys.modules}})"

Target = tuple[str, bool]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time of the import and of building chains.")
    parser.add_argument("--quick", action="store_true", help="fewer processes, shorter chains")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="of the imports")
    given = parser.parse_args(arguments)
    pairs, nodes = (3, 250) if given.quick else (11, 1000)
    targets = [*compare_imports(pairs, CLOCKS[given.clock]), *compare_chains(nodes)]
    return 0 if verdict(targets) or given.quick else 1


def compare_imports(pairs: int, clock: str) -> list[Target]:
    """Time both imports, and see what the one of mlgraph loads."""
    for package in (mlgraph, mlgraph_nodes):
        compile_dir(Path(package.__file__).parent, quiet=1)
    in_python("import mlgraph")  # warms the file cache
    seconds = [[import_seconds(name, clock) for name in ("torch", "mlgraph")] for _ in range(pairs)]
    ratio = median(mlgraph / torch for torch, mlgraph in seconds)
    columns = [list(column) for column in zip(*seconds, strict=True)]
    best = min(columns[1]) / min(columns[0])
    ratios = [["1", "1"], [f"{ratio:.3f}", f"{best:.3f}"]]
    rows = [
        [name, median(column), min(column), *found]
        for name, column, found in zip(("torch", "mlgraph"), columns, ratios, strict=True)
    ]
    head = ["import", "median, s", "best, s", "median ratio", "ratio of best"]
    show(head, rows, f"{pairs} fresh processes each")
    loaded, by_torch = packages("mlgraph"), packages("torch")
    heavy = sorted(loaded & set(HEAVY))
    print(f"\n  packages that torch does not load itself: {_listed(sorted(loaded - by_torch))}")
    return [
        (f"import at most 1.15 of torch's: {ratio:.3f}", ratio <= 1.15),
        (f"no heavy package is loaded: {_listed(heavy)}", not heavy),
    ]


def compare_chains(nodes: int) -> list[Target]:
    """Build chains of this many nodes, twice and four times as many, in two ways; check them."""
    sizes = (nodes, 2 * nodes, 4 * nodes)
    check_seconds(10)  # loads the catalogue
    ways = {
        "chain(*nodes)": partial(_seconds, build),
        "graph >> node": partial(_seconds, build_by_hand),
        "check(task)": check_seconds,
    }
    rows = {name: [min(way(n) for _ in range(3)) for n in sizes] for name, way in ways.items()}
    head = ["seconds of", *(f"{n:,} nodes" for n in sizes)]
    show(head, [[name, *found] for name, found in rows.items()], "chains of linear layers")
    targets = []
    for name, (small, middle, large) in rows.items():
        targets.append((f"{name}, {sizes[1]:,} nodes under 5 s: {middle:.2f} s", middle < 5))
        growth = large / small
        text = f"{name}, four times the nodes at most 6 times the time: {growth:.1f}"
        targets.append((text, growth <= 6))
    return targets


def build(n: int) -> Graph:
    """A chain of layers, made from a list."""
    return chain(*(nn("linear", out_features=8) for _ in range(n)))


def build_by_hand(n: int) -> Graph:
    """The same chain, one ``>>`` after the other, all graphs on the way alive in turn."""
    first = nn("linear", out_features=8).as_graph()
    return reduce(lambda graph, _: graph >> nn("linear", out_features=8), range(n - 1), first)


def check_seconds(n: int) -> float:
    """Seconds in which a workflow with a chain of layers is checked, shapes included."""
    graph = po("ingress_num") >> build(n) >> nn("head") >> po("torch_model", epochs=1)
    task = datasets.iris()
    return _seconds(lambda _: graph.check(task), n)


def import_seconds(module: str, clock: str) -> float:
    """Seconds of an import in a fresh process, without the start of Python."""
    return float(in_python(TIMED.format(clock, module)))


def packages(module: str) -> set[str]:
    """What an import loads: top-level packages outside the standard library."""
    found, before = (set(in_python(LISTED.format(name)).split()) for name in (module, "sys"))
    return {name for name in found - before if not name.startswith("_")} - sys.stdlib_module_names


def in_python(code: str) -> str:
    """What a fresh process prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _seconds(way: Callable[[int], object], n: int) -> float:
    start = perf_counter()
    way(n)
    return perf_counter() - start


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


if __name__ == "__main__":
    sys.exit(main())
