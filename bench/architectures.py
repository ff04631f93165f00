"""Architectures for tables from the literature, with their papers' defaults, on two tables.

Each is a recipe of mlgraph, trained once (one split, one seed) with early stopping on a tenth of
the training rows; only the number of epochs is bounded. They stand next to the perceptron of
``quality.py`` on the same split and to scikit-learn's boosted trees.

    python bench/architectures.py                            # everything: hours on two cores
    python bench/architectures.py --only tabm --tables california

Results are kept in ``results/architectures.csv``, a row per table and architecture, and the
validation scores of every epoch in ``results/architectures_curves.csv``; what is not run again
stays. ``--show`` prints the table and draws the curves without training.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch

from bench import data
from bench.quality import adult_network, boosted, california_network
from bench.table import show, verdict
from mlgraph import FittedGraph, Graph, Task, recipe

RESULTS = Path(__file__).resolve().parent / "results"
SCORES = {"adult": "roc_auc", "california": "rmse"}
PERCEPTRONS = {"adult": adult_network, "california": california_network}
ARCHITECTURES: dict[str, dict[str, object]] = {
    "tab_resnet": {},
    "ft_transformer": {},
    "tabm": {},
    "tabm_piecewise": {"num_embeddings": "piecewise_linear"},
}
Row = dict[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    torch.set_num_threads(given.threads)
    for table in [] if given.show else given.tables:
        task = data.adult() if table == "adult" else data.california()
        for name in given.only:
            compare(table, task, name, given)
    return 0 if verdict(report()) else 1


def compare(table: str, task: Task, name: str, given: argparse.Namespace) -> None:
    """Train one architecture on one table, and keep what came out."""
    train, test = task.split(0.2, seed=1)
    score = SCORES[table]
    start = perf_counter()
    if name == "boosted_trees":
        found: tuple[float, int] = (boosted(train, test, score), 0)
        curve: list[float] = []
    else:
        fitted = graph_of(table, name, train, given)().fit(train, valid=0.1, seed=1)
        found = fitted.predict(test).score(score), fitted.trained().best_epoch
        curve = _curve(fitted, score)
    seconds = perf_counter() - start
    print(
        f"{table:<12}{name:<16}{score} {found[0]:.4f}  epoch {found[1]}  {seconds:.0f} s",
        flush=True,
    )
    row = [table, name, score, f"{found[0]:.4f}", str(found[1]), f"{seconds:.0f}"]
    _keep("architectures", HEAD, [row])
    _keep(
        "architectures_curves",
        CURVE_HEAD,
        [[table, name, str(i), f"{s:.4f}"] for i, s in enumerate(curve, 1)],
    )


def graph_of(table: str, name: str, task: Task, given: argparse.Namespace) -> Callable[[], Graph]:
    """The perceptron of ``quality.py``, or a recipe with its own defaults."""
    if name == "perceptron":
        return PERCEPTRONS[table]
    options = {
        "epochs": given.epochs,
        "patience": given.patience,
        "batch_size": 256,
        "metrics": SCORES[table],
        "scaling": "quantile",
        "progress": False,
        **ARCHITECTURES[name],
    }
    key = name.removesuffix("_piecewise")
    return lambda: recipe(key, task, **options)


def report() -> list[tuple[str, bool]]:
    """Print everything that is kept, draw the curves; whether the perceptron is beaten."""
    found = _read("architectures")
    rows: list[list[object]] = [[row[name] for name in HEAD] for row in found]
    show(HEAD, rows, "one split, one seed")
    _draw(_read("architectures_curves"))
    return [target for table in SCORES for target in _targets(table, found)]


def _targets(table: str, rows: list[Row]) -> list[tuple[str, bool]]:
    scores = {row["architecture"]: float(row["score"]) for row in rows if row["table"] == table}
    base = scores.get("perceptron")
    sign = -1 if SCORES[table] == "rmse" else 1
    return [
        (
            f"{table}: {name} beats the perceptron: {scores[name]} and {base}",
            sign * scores[name] > sign * base,
        )
        for name in ("ft_transformer", "tabm")
        if base is not None and name in scores
    ]


HEAD = ["table", "architecture", "metric", "score", "best epoch", "seconds"]
CURVE_HEAD = ["table", "architecture", "epoch", "validation"]


def _curve(fitted: FittedGraph, score: str) -> list[float]:
    column: list[float] = fitted.history[f"valid_{score}"].to_pylist()
    return column


def _read(name: str) -> list[Row]:
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _keep(name: str, head: list[str], new: list[list[str]]) -> None:
    """Write rows in place of those of the same table and architecture."""
    RESULTS.mkdir(exist_ok=True)
    again = {(row[0], row[1]) for row in new}
    old = [list(row.values()) for row in _read(name)]
    rows = sorted([row for row in old if (row[0], row[1]) not in again] + new, key=lambda r: r[:2])
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([head, *rows])


def _draw(rows: list[Row]) -> None:
    """A panel per table: the validation score by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for panel, (table, score) in zip(figure.subplots(1, 2), SCORES.items(), strict=True):
        for name in dict.fromkeys(row["architecture"] for row in rows if row["table"] == table):
            mine = [r for r in rows if (r["table"], r["architecture"]) == (table, name)]
            panel.plot(
                [int(r["epoch"]) for r in mine], [float(r["validation"]) for r in mine], label=name
            )
        panel.set_title(table)
        panel.set_xlabel("epoch")
        panel.set_ylabel(f"validation {score}")
        panel.legend(fontsize=8)
    figure.savefig(RESULTS / "architectures.png", dpi=120)


def _parser() -> argparse.ArgumentParser:
    names = ["perceptron", "boosted_trees", *ARCHITECTURES]
    parser = argparse.ArgumentParser(description="Architectures of the literature on two tables.")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--tables", nargs="+", choices=list(SCORES), default=list(SCORES))
    parser.add_argument("--epochs", type=int, default=100, help="at most so many")
    parser.add_argument("--patience", type=int, default=8, help="evaluations without improvement")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--show", action="store_true", help="train nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
