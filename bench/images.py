"""How fast images become batches: mlgraph's lazy columns against torchvision written by hand.

Each reader goes through the emoji (PNG files of 64 x 64) once per round: decode, resize, flip at
random, to float, normalise, batch. ``hand`` is a ``Dataset`` with torchvision's transforms in a
``DataLoader``; ``mlgraph`` the same transforms as nodes, with as many workers; ``cached`` keeps
what stands before the flip, which is what never changes. Readers take turns round by round, in
another order each time; the first round, which starts the workers and fills the cache, does not
count. The images of a row are compared before.

    python bench/images.py                    # 0, 1 and 2 workers
    python bench/images.py --workers 0 --rounds 3 --size 96 --rows 500
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from bench import data
from bench.table import show, verdict
from mlgraph import Graph, Task, lazy, po
from mlgraph.data.batch import Batches
from mlgraph.data.batching import batched
from mlgraph.data.feed import Feed
from mlgraph.data.loader import Loading
from mlgraph.data.tensortoken import TensorToken

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
Read = Callable[[int], Iterator[Tensor]]


class ByHand(Dataset[Tensor]):
    """Images as one writes them with torchvision."""

    def __init__(self, paths: Sequence[str], size: int, p: float = 0.5) -> None:
        self.paths = paths
        steps = [
            v2.Resize([size, size], antialias=True),
            v2.RandomHorizontalFlip(p),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
        self.transform = v2.Compose(steps)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Tensor:
        image = decode_image(self.paths[row], ImageReadMode.RGB)
        transformed: Tensor = self.transform(image)
        return transformed


def by_hand(paths: Sequence[str], given: argparse.Namespace, workers: int) -> Read:
    """Epochs of a DataLoader."""
    loader = DataLoader(
        ByHand(paths, given.size),
        given.batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(1),
    )
    return lambda epoch: iter(loader)


def graph(size: int, cached: bool, p: float = 0.5) -> Graph:
    """The same transforms as nodes."""
    steps = [po("trafo_resize", size=(size, size))]
    steps += [po("trafo_cache")] if cached else []
    steps += [
        po("augment_random_horizontal_flip", p=p),
        po("trafo_to_dtype", dtype=torch.float32, scale=True),
        po("trafo_normalize", mean=MEAN, std=STD),
    ]
    made = steps[0].as_graph()
    for step in steps[1:]:
        made = made >> step
    return made


def batches(
    paths: Sequence[str], given: argparse.Namespace, workers: int, cached: bool, p: float = 0.5
) -> Batches:
    """What a trainer reads."""
    task = Task({"image": lazy(list(paths), shape=(3, 64, 64))})
    (ready,) = graph(given.size, cached, p).fit(task, seed=1).outputs.values()
    token = TensorToken("image", ("image",), ready.lazy("image").spec)
    loading = Loading(workers=workers)
    return batched(
        Feed({"image": ready}), {"image": token}, None, None, given.batch, loading=loading
    )


def by_mlgraph(paths: Sequence[str], given: argparse.Namespace, workers: int, cached: bool) -> Read:
    """Epochs as a trainer asks for them."""
    read = batches(paths, given, workers, cached)

    def epoch(number: int) -> Iterator[Tensor]:
        order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(number))
        return (batch.inputs[0] for batch in read.epoch(order, number=number))

    return epoch


def seconds(read: Read, epoch: int, rows: int) -> float:
    """Time of one pass, which must give all rows."""
    start, seen = perf_counter(), 0
    for images in read(epoch):
        seen += len(images)
    if seen != rows:
        raise RuntimeError(f"{seen} of {rows} rows were read")
    return perf_counter() - start


def check_equal(paths: Sequence[str], given: argparse.Namespace) -> None:
    """Refuse to compare readers that do not read the same."""
    first = list(paths[: given.batch])
    wanted = torch.stack([ByHand(first, given.size, p=0.0)[row] for row in range(len(first))])
    for cached in (False, True):
        (batch,) = batches(first, given, 0, cached, p=0.0).epoch()
        torch.testing.assert_close(batch.inputs[0], wanted, atol=1e-5, rtol=0)


def measured(paths: Sequence[str], given: argparse.Namespace, workers: int) -> dict[str, float]:
    """Median seconds of each reader, and the medians of ratios to the hand-written one."""
    readers: dict[str, Read] = {
        "hand": by_hand(paths, given, workers),
        "mlgraph": by_mlgraph(paths, given, workers, cached=False),
        "cached": by_mlgraph(paths, given, workers, cached=True),
    }
    times: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(given.rounds + 1):
        names = list(np.roll(list(readers), number))
        for name in names:
            taken = seconds(readers[name], number, len(paths))
            if number:
                times[name].append(taken)
    found: dict[str, Any] = {name: statistics.median(each) for name, each in times.items()}
    for name in ("mlgraph", "cached"):
        pairs = zip(times["hand"], times[name], strict=True)
        found[f"{name} / hand"] = statistics.median(hand / own for hand, own in pairs)
    return found


HEAD = ["workers", "hand s", "mlgraph s", "cached s", "mlgraph speed", "cached speed"]


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    column = data.emoji().lazy("image")
    paths = [str(path) for path in column.lazy.sources[0].paths][: given.rows]
    check_equal(paths, given)
    rows, targets = [], []
    for workers in given.workers:
        found = measured(paths, given, workers)
        speeds = [found["mlgraph / hand"], found["cached / hand"]]
        rows.append([workers, *(found[name] for name in ("hand", "mlgraph", "cached")), *speeds])
        targets += [
            (f"{workers} workers: {speeds[0]:.2f} >= 1.0 of the speed by hand", speeds[0] >= 1),
            (f"{workers} workers, cached: {speeds[1]:.2f} >= 3.0 of it", speeds[1] >= 3),
        ]
    title = f"{len(paths)} images to {given.size} x {given.size}, batches of {given.batch}"
    show(HEAD, rows, f"{title}, median of {given.rounds} rounds")
    if given.keep:
        _keep(rows)
    return 0 if verdict(targets) else 1


def _keep(rows: list[list[Any]]) -> None:
    path = Path(__file__).resolve().parent / "results" / "images.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Images read per second.")
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rows", type=int, default=None, help="only the first so many")
    parser.add_argument("--keep", action="store_true", help="write results/images.csv")
    return parser


if __name__ == "__main__":
    sys.exit(main())
