"""What does a task of a million images cost that nobody has looked at?

    python bench/lazy.py            1,000,000 images of 3 x 32 x 32 in a memory map, 3 GB of holes
    python bench/lazy.py --quick    10,000

Building, filtering and splitting the task are timed after the first task was built, the best of
some. Target: less than a second for all three together. The memory map is not to be touched, which
would show in the memory of the process: what it grew by is printed as well.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlgraph import Task, lazy

SHAPE = (3, 32, 32)
TARGET = 1.0


def task_of(path: Path, rows: int) -> Task:
    """A task of lazy images, a label and a number."""
    images = np.memmap(path, dtype=np.uint8, mode="r", shape=(rows, *SHAPE))
    numbers = np.arange(rows)
    return Task({"image": lazy(images), "a": numbers / rows, "y": numbers % 7 < 3}, target="y")


def seconds(act: Callable[[], Any], repeats: int) -> float:
    """The best of several times."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        found.append(time.perf_counter() - start)
    return min(found)


def peak() -> float:
    """The most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="10,000 rows")
    options = parser.parse_args()
    rows = 10_000 if options.quick else options.rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images"
        with path.open("wb") as file:
            file.truncate(rows * int(np.prod(SHAPE)))
        before = peak()
        task = task_of(path, rows)
        odd = task.row_ids[1::2]
        steps = {
            "build": lambda: task_of(path, rows),
            "filter": lambda: task.filter(odd),
            "split": lambda: task.split(0.2, seed=1),
        }
        found = {name: seconds(act, options.repeats) for name, act in steps.items()}
        added = peak() - before
    for name, value in found.items():
        print(f"{name:<8}{value:8.3f} s")
    total = sum(found.values())
    verdict = "met" if total < TARGET else "MISSED"
    print(f"{'together':<8}{total:8.3f} s, target {TARGET} s for {rows:,} rows: {verdict}")
    print(f"memory   {added:8.0f} MB more at most; the images are {path_mb(rows):,.0f} MB")
    return total >= TARGET


def path_mb(rows: int) -> float:
    """The size of the images, in MB."""
    return rows * float(np.prod(SHAPE)) / 2**20


if __name__ == "__main__":
    sys.exit(main())
