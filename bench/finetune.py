"""What pretrained weights are worth: efficientnet-lite0 on the classes of emoji.

Three times the same network, the same rows, the same seed. Its new head is trained on a frozen
body, and from some epoch on the body as well, its first layers least; or the head alone; or
everything, from random weights. The validation accuracy of every epoch is kept as a curve.

    python bench/data.py emoji efficientnet_lite0    # fetch them
    python bench/finetune.py            # about a quarter of an hour on one core
    python bench/finetune.py --show     # what was measured last

The images (CC-BY 4.0, of the npm package emoji-datasource-twitter) are decoded once; transparent
pixels become white. The name of the category is to be predicted from the image. Rows are split
at random, so that variants of one emoji may be on both sides: that helps all three.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from bench import data
from bench.table import show, verdict
from mlgraph import Graph, Task, callback, chain, nn, po, sel

CURVES = Path(__file__).parent / "results" / "finetune_curves.csv"
HEAD = sel.match(r"\._fc\.")
EPOCHS, UNFREEZE, SIZE = 8, 4, 64


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fine-tuning next to training from scratch.")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--unfreeze", type=int, default=UNFREEZE, help="the epoch of the body")
    parser.add_argument("--rows", type=int, help="use so many images only")
    parser.add_argument("--show", action="store_true", help="show the curves that are kept")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.show:
        return _judged(_read())
    task = emoji()
    if given.rows:
        task = task.take(np.linspace(0, len(task) - 1, given.rows).astype(int))
    curves = measured(task, given.epochs, given.unfreeze)
    if given.rows is None:
        _write(curves)
    return _judged(curves)


def emoji(size: int = SIZE) -> Task:
    """The 1,906 emoji that belong to a category: image ``(3, size, size)`` uint8, and category."""
    from PIL import Image

    root = data.path("emoji")
    rows = json.loads((root / "emoji.json").read_text())
    rows = [row for row in rows if row["category"] != "Component"]
    images = np.empty((len(rows), 3, size, size), dtype=np.uint8)
    for place, row in enumerate(rows):
        with Image.open(root / "img" / "twitter" / "64" / row["image"]) as file:
            drawn = file.convert("RGBA")
        page = Image.new("RGBA", drawn.size, "white")
        flat = Image.alpha_composite(page, drawn).convert("RGB").resize((size, size))
        images[place] = np.asarray(flat).transpose(2, 0, 1)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    return Task({"image": column, "category": [row["category"] for row in rows]}, target="category")


def network(weights: Path | None, classes: int) -> list[Any]:
    """The nodes from the image to the logits."""
    sys.path.append(str(data.folder()))
    from efficientnet_lite_pytorch import EfficientNet

    started = {} if weights is None else {"weights": weights, "fresh": sel.match("^_fc")}
    options = {"model_name": "efficientnet-lite0", "num_classes": classes}
    return [
        po("ingress_tensor", columns="image", dtype=torch.float32),
        nn("normalize", [127.0], [128.0]),
        nn("module", EfficientNet.from_name, **options, **started, id="body"),
    ]


def contestants(classes: int, epochs: int, unfreeze: int) -> dict[str, Graph]:
    """The graphs; ``unfreeze`` is the epoch in which the body joins the head."""
    weights = data.path("efficientnet_lite0")
    model = po("torch_model", epochs=epochs, batch_size=32, metrics="accuracy", progress=False)
    slowly = po("torch_optimizer", "adamw", lr=1e-3, layer_decay=0.85, selective_decay=True)
    plan = [{"weights": sel.all(), "epoch": unfreeze}]
    frozen = callback("unfreeze", starting_weights=HEAD)
    thawed = callback("unfreeze", starting_weights=HEAD, unfreeze=plan)
    return {
        f"frozen, from epoch {unfreeze} unfrozen": chain(
            *network(weights, classes), slowly, po("torch_callbacks", [thawed]), model
        ),
        "frozen": chain(*network(weights, classes), slowly, po("torch_callbacks", [frozen]), model),
        "from scratch": chain(
            *network(None, classes), po("torch_optimizer", "adamw", lr=1e-3), model
        ),
    }


def measured(task: Task, epochs: int, unfreeze: int) -> dict[str, list[float]]:
    """The validation accuracy of each epoch; every contestant has the same rows."""
    train, test = task.split(0.2, seed=1)
    curves = {}
    for name, graph in contestants(len(task.classes), epochs, unfreeze).items():
        start = perf_counter()
        trained = graph.fit(train, valid=test, seed=1).trained()
        curves[name] = trained.history["valid_accuracy"].to_pylist()
        print(f"{name}: {perf_counter() - start:.0f} seconds", file=sys.stderr, flush=True)
    return curves


def _judged(curves: Mapping[str, Sequence[float]]) -> int:
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


def _write(curves: Mapping[str, Sequence[float]]) -> None:
    with CURVES.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["network", "epoch", "accuracy"])
        for name, curve in curves.items():
            writer.writerows([name, i, round(score, 4)] for i, score in enumerate(curve, 1))


def _read() -> dict[str, list[float]]:
    curves: dict[str, list[float]] = {}
    with CURVES.open() as file:
        for row in csv.DictReader(file):
            curves.setdefault(row["network"], []).append(float(row["accuracy"]))
    return curves


if __name__ == "__main__":
    sys.exit(main())
