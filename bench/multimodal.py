"""Tables together with images and text: a network that sees everything against its parts alone.

1. Emoji: a picture, a name, and the version of the standard that added it, to tell the category.
   Pictures become features of efficientnet-lite0, whose weights stay as they are, so each picture
   goes through it once; names are words weighed by how rare they are.
2. scikit-learn's digits, cut in two: the left half as an image, of the right half only the means
   of its rows and columns, as a table. A set built so that each part lacks what the other has.

    python bench/multimodal.py            # both, some minutes
    python bench/multimodal.py --only digits
    python bench/multimodal.py --show     # what was measured last

Each part has a tower that ends in features. Alone, a head follows; together, all towers are put
next to each other by ``merge_cat``, and a head follows. Everything is learned anew on the rows of
each fold, all contestants have the same folds, and related emoji are in one fold.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from bench import data, lite0
from bench.table import show, verdict
from mlgraph import Graph, Task, chain, nn, po, sel
from mlgraph.datasets import digits

RESULTS = Path(__file__).resolve().parent / "results" / "multimodal.csv"
SIZE = 128  # of the emoji when they become features; their files are 64 x 64
ALL = "all"
# Accuracies of one split and linear models, as orders of magnitude.
BASELINES = {
    "emoji": {"image": 0.753, "name": 0.707, ALL: 0.801},
    "digits": {"image": 0.833, "columns": 0.807, ALL: 0.956},
}

Scores = dict[tuple[str, str], list[float]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Everything against its parts alone.")
    parser.add_argument("--only", choices=tuple(BASELINES), help="one of the two tasks")
    parser.add_argument("--folds", type=int, default=5, help="other than 5, nothing is kept")
    parser.add_argument("--show", action="store_true", help="show the scores that are kept")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.show:
        return _judged(_read())
    scores: Scores = {}
    for name in [given.only] if given.only else list(BASELINES):
        task, towers = {"emoji": emoji, "digits": digits_cut}[name]()
        for part, found in compared(task, contestants(towers), given.folds).items():
            scores[name, part] = found
    if given.folds == 5:
        _write({**_read(), **scores})
    return _judged(scores)


# Tasks, and a tower for each part ---------------------------------------------------------------

Towers = dict[str, Graph]


def emoji() -> tuple[Task, Towers]:
    """Pictures as features, names and versions; and the towers."""
    wide = (nn("linear", 128), nn("relu"), nn("dropout", p=0.3))
    return with_features(data.emoji()), {
        "image": chain(po("ingress_tensor", columns="image"), nn("layer_norm"), *wide),
        "name": chain(
            po("text_tfidf", columns="name"), po("ingress_tensor", columns="name"), *wide
        ),
        "added": chain(
            po("scale", columns="added"),
            po("ingress_num", columns="added"),
            nn("linear", 16),
            nn("relu"),
        ),
    }


def with_features(task: Task, size: int = SIZE) -> Task:
    """The task with what the frozen network says of its images, computed when it is first read.

    Shape:
        image: ``(1280,)`` float32.
    """
    body = chain(lite0.layer(None, pretrained=True))
    network = body.network(("batch", 3, size, size), seed=1).eval()
    prepared = chain(
        po("trafo_resize", size=(size, size)),
        *lite0.normalized(),
        po("trafo_fn", fn=torch.inference_mode()(network), batched=True),
        po("trafo_cache"),
    )
    made: Task = prepared.fit(task).predict(task)
    return made


def digits_cut() -> tuple[Task, Towers]:
    """The left half of digits as an image, means of the right half as columns; and the towers.

    Shape:
        image: ``(1, 8, 4)`` float32.
    """
    whole = digits()
    pixels = (whole.to_numpy()[0].reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    left, right = pixels[..., :4], pixels[:, 0, :, 4:]
    columns = {f"row_{i}": right[:, i].mean(1) for i in range(8)}
    columns |= {f"column_{i}": right[:, :, i].mean(1) for i in range(4)}
    digit = whole.column("digit")
    task = Task({"image": left, **columns, "digit": digit}, target="digit", kind="classification")
    numbers = sel.type("float")
    return task, {
        "image": chain(
            po("ingress_tensor", columns="image"),
            *(nn("conv2d", 16, 3, padding="same"), nn("relu")),
            *(nn("conv2d", 32, 3, padding="same"), nn("relu")),
            nn("flatten"),
            *(nn("linear", 64), nn("relu")),
        ),
        "columns": chain(
            po("scale", columns=numbers),
            po("ingress_num", columns=numbers),
            *(nn("linear", 64), nn("relu")),
        ),
    }


# Comparing --------------------------------------------------------------------------------------


def contestants(towers: Mapping[str, Graph], epochs: int = 30) -> dict[str, Graph]:
    """A graph for each part alone, and one for all of them."""
    end = chain(
        nn("head"),
        po("torch_optimizer", "adamw", lr=1e-3),
        po("torch_model", epochs=epochs, batch_size=32, progress=False),
    )
    alone = {name: tower >> end for name, tower in towers.items()}
    return {**alone, ALL: dict(towers) >> nn("merge_cat") >> end}


def compared(task: Task, graphs: Mapping[str, Graph], folds: int) -> dict[str, list[float]]:
    """The accuracy of each graph on each fold."""
    scores: dict[str, list[float]] = {name: [] for name in graphs}
    for train, test in splits(task, folds):
        for name, graph in graphs.items():
            scores[name].append(graph.fit(train, seed=1).predict(test).score("accuracy"))
        print({name: round(found[-1], 3) for name, found in scores.items()}, file=sys.stderr)
    return scores


def splits(task: Task, folds: int) -> Iterator[tuple[Task, Task]]:
    """Rows to train on and rows to test on: stratified, and groups stay together."""
    from sklearn.model_selection import StratifiedGroupKFold

    names = task.roles["group"]
    groups = task.column(names[0]).to_pylist() if names else list(range(len(task)))
    folding = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    for train, test in folding.split(np.zeros(len(task)), task.target_codes(), groups):
        yield task.take(train), task.take(test)


def _judged(scores: Scores) -> int:
    rows, targets = [], []
    for (task, part), found in scores.items():
        spread = f"{np.std(found, ddof=1):.3f}" if len(found) > 1 else ""
        known = BASELINES[task].get(part, "")
        rows.append([f"{task}, {part}", f"{fmean(found):.3f}", spread, known, len(found)])
        gain = fmean(scores[task, ALL]) - fmean(found)
        if part != ALL:
            targets.append((f"{task}: all above {part} alone: {gain:+.3f}", gain > 0))
    head = ["accuracy", "mean", "deviation", "linear, one split", "folds"]
    show(head, rows, "cross-validation, the same folds for all parts")
    return 0 if verdict(targets) else 1


def _write(scores: Scores) -> None:
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["task", "part", "fold", "accuracy"])
        for (task, part), found in scores.items():
            writer.writerows([task, part, i, round(score, 4)] for i, score in enumerate(found, 1))


def _read() -> Scores:
    scores: Scores = {}
    if RESULTS.exists():
        with RESULTS.open() as file:
            for row in csv.DictReader(file):
                scores.setdefault((row["task"], row["part"]), []).append(float(row["accuracy"]))
    return scores


if __name__ == "__main__":
    sys.exit(main())
