"""Fashion-MNIST as a lazy task: accuracy of a small network, memory, and the same from PNG files.

70,000 images of 28 x 28 stay in the files in which they come; a batch is read when its turn comes.
A network of two convolutions, written as a graph, is trained for three epochs. The same is done
with the images as PNG in a Parquet file, and has to give the same numbers. Memory is the peak of
the resident set of a process of its own that does only this, beyond what it had before the task
was made, with torch, torchvision and a small fit and prediction with other data behind it. Memory
that was freed counts as free: the allocator of glibc is told to give large blocks back at once, or
it keeps 20 to 40 MB more or less of the activations, at random.

    python bench/fashion.py                  # about 5 minutes on two cores
    python bench/fashion.py --rows 5000      # a look
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torchvision.io import encode_png

from bench import data
from bench.table import show, verdict
from mlgraph import Graph, Task, datasets, lazy, materialize, nn, po

RAW = 70_000 * 28 * 28
HEAD = ["images", "accuracy", "train loss", "seconds", "extra MB", "of the raw images"]


def network(epochs: int) -> Graph:
    """Two convolutions and two linear layers, 431,754 parameters."""
    return (
        po("trafo_to_dtype", dtype=torch.float32, scale=True)
        >> nn("conv2d", 32, 3)
        >> nn("relu")
        >> nn("max_pool2d", 2)
        >> nn("conv2d_2", 64, 3)
        >> nn("relu_2")
        >> nn("max_pool2d_2", 2)
        >> nn("flatten")
        >> nn("linear", 256)
        >> nn("relu_3")
        >> nn("head")
        >> po("torch_optimizer", "adamw", lr=0.001)
        >> po("torch_model", epochs=epochs, batch_size=64, batch_size_predict=256, progress=False)
    )


def from_parquet(path: Path) -> Task:
    """The same images as PNG in a column of a Parquet file."""
    table = pq.read_table(path)
    column = lazy(table["image"], shape=(1, 28, 28), mode="L")
    labels = Task(table.drop_columns("image"), target="label")
    return labels.with_columns({"image": column}).with_roles(feature="image")


def write_parquet(task: Task, path: Path) -> None:
    """Encode every image."""
    encoded = [bytes(encode_png(image).numpy()) for image in materialize(task.lazy("image"))]
    labels = task.table(["label", "split"])  # the order of its classes comes back with it
    pq.write_table(labels.append_column("image", pa.array(encoded, pa.binary())), path)


def halves(task: Task, rows: int | None) -> tuple[Task, Task]:
    """Training and test rows."""
    parts = datasets.by_split(task)
    train, test = parts["train"], parts["test"]
    return (train, test) if rows is None else (train.take(range(rows)), test.take(range(rows // 6)))


def measured(kind: str, given: argparse.Namespace) -> dict[str, float]:
    """Fit and test in this process."""
    torch.set_num_threads(given.threads)
    zeros = Task({"x": torch.zeros(512, 1, 28, 28).numpy(), "y": ["a", "b"] * 256}, target="y")
    for _ in range(2):  # the second time with all modules loaded
        warm = network(1).fit(zeros, seed=1)
        warm.predict(zeros).score("accuracy")
        warm.history.to_pylist()
    before, start = _peak(), perf_counter()
    task = data.fashion_mnist() if kind == "files" else from_parquet(Path(given.parquet))
    train, test = halves(task, given.rows)
    fitted = network(given.epochs).fit(train, seed=1)
    accuracy = fitted.predict(test).score("accuracy")
    return {
        "accuracy": accuracy,
        "loss": fitted.history["train_loss"].to_pylist()[-1],
        "seconds": perf_counter() - start,
        "extra": _peak() - before,
    }


def _peak() -> int:
    """The largest resident set of this process; ``getrusage`` would count its parent's as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(size) * 1024


def apart(kind: str, given: argparse.Namespace, parquet: Path) -> dict[str, float]:
    """The same in a process of its own."""
    options = ["--epochs", str(given.epochs), "--threads", str(given.threads)]
    options += ["--rows", str(given.rows)] if given.rows else []
    command = [sys.executable, "-m", "bench.fashion", "--measure", kind, "--parquet", str(parquet)]
    root = Path(__file__).resolve().parents[1]
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**17)}
    done = subprocess.run(
        [*command, *options], cwd=root, env=env, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.measure:
        print(json.dumps(measured(given.measure, given)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        parquet = Path(folder) / "images.parquet"
        write_parquet(data.fashion_mnist(), parquet)
        files, png = (apart(kind, given, parquet) for kind in ("files", "png"))
    rows = [[name, *_cells(found)] for name, found in (("files", files), ("PNG in Parquet", png))]
    show(HEAD, rows, f"{given.epochs} epochs")
    if given.rows is None:
        _keep(rows)
    same = files["accuracy"] == png["accuracy"] and files["loss"] == png["loss"]
    return 0 if verdict([*_targets(files), ("PNG files give the same numbers", same)]) else 1


def _targets(found: dict[str, float]) -> list[tuple[str, bool]]:
    accuracy, share = found["accuracy"], found["extra"] / RAW
    return [
        (f"accuracy {accuracy:.4f} >= 0.89", accuracy >= 0.89),
        (f"peak memory {share:.2f} <= 1.3 of the raw images", share <= 1.3),
    ]


def _cells(found: dict[str, float]) -> list[object]:
    extra = found["extra"]
    memory = [f"{extra / 1e6:.0f}", f"{extra / RAW:.2f}"]
    return [f"{found['accuracy']:.4f}", f"{found['loss']:.5f}", f"{found['seconds']:.0f}", *memory]


def _keep(rows: list[list[object]]) -> None:
    path = Path(__file__).resolve().parent / "results" / "fashion.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Fashion-MNIST as a lazy task.")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=None, help="of the training rows")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--measure", choices=["files", "png"], help=argparse.SUPPRESS)
    parser.add_argument("--parquet", default="", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
