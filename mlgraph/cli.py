"""The command line: ``python -m mlgraph demo``, ``python -m mlgraph nodes``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import mlgraph
from mlgraph.catalogue import nn, po
from mlgraph.core.compose import chain
from mlgraph.core.graph import Graph
from mlgraph.data.task import Task
from mlgraph.datasets import penguins
from mlgraph.draw.reference import to_markdown
from mlgraph.tensor.threads import threads

SEED = 1
EPOCHS = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status.

    Args:
        arguments: The command and its options, by default those of the process.

    >>> main([])
    usage: mlgraph [-h] [--version] {demo,nodes} ...
    ...
    2
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.command is None:
        parser.print_help()
        return 2
    if given.command == "nodes":
        print(to_markdown(), end="")
    else:
        demo(seed=given.seed, epochs=given.epochs)
    return 0


def demo(*, seed: int = SEED, epochs: int = EPOCHS) -> dict[str, float]:
    """Train a network on the penguins and compare it with logistic regression; the accuracies.

    A quarter of the rows, stratified by species, is held out. Both models learn from the same
    rows, prepared by the same nodes, which learn from these rows only.

    Args:
        seed: Fixes the split, the weights and the order of the rows.
        epochs: Passes of the network over the data.
    """
    train, test = penguins().split(0.25, seed)
    graph = network(epochs)
    print(f"{train!r}\n{len(test)} more rows are held out\n")
    print(f"{graph.check(train)}\n")
    start = time.perf_counter()
    with threads(1):  # more would wait for each other longer than they compute
        fitted = graph.fit(train, seed=seed)
    seconds = time.perf_counter() - start
    scores = {
        "network": float(fitted.predict(test).score("accuracy")),
        "logistic regression": _logistic_regression(train, test),
    }
    print(f"\nheld-out accuracy, {len(test)} penguins (trained in {seconds:.1f} s)")
    for name, score in scores.items():
        print(f"  {name:<22}{score:.3f}")
    return scores


def preparation() -> Graph:
    """What both models of the demo begin with.

    >>> preparation().ids
    ('impute', 'encode', 'scale')
    """
    return chain(po("impute"), po("encode"), po("scale"))


def network(epochs: int) -> Graph:
    """The graph of the demo.

    >>> network(2).ids[3:]
    ('linear', 'relu', 'dropout', 'head', 'torch_model')
    """
    return chain(
        preparation(),
        nn("linear", out_features=64),
        nn("relu"),
        nn("dropout", p=0.1),
        nn("head"),
        po("torch_model", epochs=epochs, batch_size=32, progress=True),
    )


def _logistic_regression(train: Task, test: Task) -> float:
    from sklearn.linear_model import LogisticRegression

    fitted = preparation().fit(train)
    features, classes = fitted.predict(train).to_numpy()
    new_features, truth = fitted.predict(test).to_numpy()
    model = LogisticRegression(max_iter=1000).fit(features, classes)
    return float(model.score(new_features, truth))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mlgraph", description=mlgraph.__doc__)
    parser.add_argument("--version", action="version", version=mlgraph.__version__)
    commands = parser.add_subparsers(dest="command")
    shown = commands.add_parser("demo", help="train a small network on the Palmer penguins")
    shown.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    shown.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    commands.add_parser("nodes", help="list every node, as Markdown")
    return parser
