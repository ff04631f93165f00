"""What pretrained weights are worth: efficientnet-lite0 on the categories of emoji.

Three times the same network, the same rows, the same seed. Its new head is trained on a frozen
body, and from some epoch on the body as well, its first layers least and its normalisations not at
all; or the head alone; or everything, from random weights. The validation accuracy of every epoch
is kept as a curve.

    python bench/finetune.py            # about a quarter of an hour on one core
    python bench/finetune.py --show     # what was measured last

The images are lazy: read from their files and resized in the first epoch, kept from then on,
mirrored at random in every epoch. Validation data, a fifth of the emoji, are never mirrored, and no
person, profession or family is on both sides.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import process_time

import numpy as np
import torch

from bench import data, lite0
from bench.table import show, verdict
from mlgraph import Graph, Task, callback, chain, po, sel

RESULTS = Path(__file__).resolve().parent / "results" / "finetune_curves.csv"
HEAD = sel.match(rf"\.{lite0.HEAD}\.")
EPOCHS, UNFREEZE, SIZE = 6, 3, 80

Curves = dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    if given.show:
        return _judged(_read())
    task = data.emoji()
    if given.rows:
        task = task.take(np.linspace(0, len(task) - 1, given.rows).astype(int))
    curves = measured(task, contestants(given.epochs, given.unfreeze, len(task.classes)))
    if given.rows is None:
        _write(curves)
    return _judged(curves)


def contestants(epochs: int, unfreeze: int, classes: int, size: int = SIZE) -> dict[str, Graph]:
    """The graphs; ``unfreeze`` is the epoch in which the body joins the head."""
    # Frozen normalisations keep the statistics of a million photographs; a batch has 32 images.
    plan = [{"weights": ~sel.kind("norm"), "epoch": unfreeze}]
    falling = callback("lr_cosine_annealing", T_max=epochs)
    frozen = callback("unfreeze", starting_weights=HEAD)
    thawed = callback("unfreeze", starting_weights=HEAD, unfreeze=plan)
    known, new = (lite0.layer(classes, pretrained) for pretrained in (True, False))
    # The first layers, which know what an edge is, change least.
    slowly = po("torch_optimizer", "adamw", lr=1e-3, layer_decay=0.85, selective_decay=True)
    freely = po("torch_optimizer", "adamw", lr=1e-3)
    parts = {
        f"frozen, from epoch {unfreeze} unfrozen": (
            known,
            slowly,
            po("torch_callbacks", [thawed, falling]),
        ),
        "frozen": (known, slowly, po("torch_callbacks", [frozen, falling])),
        "from scratch": (new, freely, po("torch_callbacks", [falling])),
    }
    images = (
        po("select", columns="image"),
        *lite0.resized(size),
        po("augment_random_horizontal_flip"),
        *lite0.normalized(),
    )
    model = po("torch_model", epochs=epochs, batch_size=32, metrics="accuracy", progress=False)
    return {name: chain(*images, *part, model) for name, part in parts.items()}


def measured(task: Task, graphs: Mapping[str, Graph]) -> Curves:
    """The validation accuracy of each epoch; every contestant has the same rows."""
    curves = {}
    for name, graph in graphs.items():
        start = process_time()
        fitted = graph.fit(task, valid=0.2, seed=1)
        curves[name] = fitted.history["valid_accuracy"].to_pylist()
        print(f"{name}: {process_time() - start:.0f} s of processor time", file=sys.stderr)
    return curves


def _judged(curves: Curves) -> int:
    epochs = range(1, max(map(len, curves.values())) + 1)
    rows = [[name, *(f"{score:.3f}" for score in curve)] for name, curve in curves.items()]
    show(["accuracy by epoch", *map(str, epochs)], rows, "emoji, on a fifth not trained on")
    tuned, frozen, scratch = (curve[-1] for curve in curves.values())
    met = verdict(
        [
            (f"tuned at least 0.15 above scratch: {tuned - scratch:+.3f}", tuned - scratch >= 0.15),
            (f"tuned above frozen: {tuned - frozen:+.3f}", tuned > frozen),
        ]
    )
    return 0 if met else 1


def _write(curves: Curves) -> None:
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "epoch", "accuracy"])
        for name, curve in curves.items():
            writer.writerows([name, i, round(score, 4)] for i, score in enumerate(curve, 1))
    draw(curves, RESULTS.with_suffix(".png"))


def draw(curves: Curves, path: Path) -> None:
    """A line per network: accuracy by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.4), layout="constrained")
    panel = figure.subplots()
    for name, curve in curves.items():
        panel.plot(range(1, len(curve) + 1), curve, marker="o", label=name)
    panel.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
    panel.legend(frameon=False)
    figure.savefig(path, dpi=150)


def _read() -> Curves:
    curves: Curves = {}
    with RESULTS.open() as file:
        for row in csv.DictReader(file):
            curves.setdefault(row["network"], []).append(float(row["accuracy"]))
    return curves


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Fine-tuning next to training from scratch.")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--unfreeze", type=int, default=UNFREEZE, help="the epoch of the body")
    parser.add_argument("--rows", type=int, help="use so many images only, and keep nothing")
    parser.add_argument("--show", action="store_true", help="show the curves that are kept")
    return parser


if __name__ == "__main__":
    sys.exit(main())
