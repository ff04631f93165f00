"""How well the networks predict, next to scikit-learn's models on the same rows.

1. The shortest program, ``po("scale") >> po("nn_linear") >> po("torch_model")``, with only the
   number of epochs and the batch size set, in 5-fold cross-validation: it is a linear model and
   must not be far behind scikit-learn's, which sees features scaled in the same way.
2. A small network on two larger tables (``data.py`` fetches them), one split and one seed: it must
   reach what is known to be reachable.

    python bench/quality.py            # everything, some minutes
    python bench/quality.py --quick    # iris and breast cancer only
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from time import perf_counter
from typing import Any

import attrs
import numpy as np
import torch

from bench import data
from bench.table import show, verdict
from mlgraph import Graph, Task, chain, datasets, nn, po, sel
from mlgraph_nodes.target import TargetScale, with_target

Target = tuple[str, bool]


@attrs.frozen
class Chain:
    """The three-node chain on one data set, and how long it trains."""

    name: str
    epochs: int
    batch_size: int = 32
    scaled_target: bool = False

    @property
    def label(self) -> str:
        """What is shown."""
        return self.name + (", target scaled" if self.scaled_target else "")

    def graph(self) -> Graph:
        """The graph."""
        model = po("torch_model", epochs=self.epochs, batch_size=self.batch_size, progress=False)
        three = po("scale") >> po("nn_linear") >> model
        return with_target(three, TargetScale()) if self.scaled_target else three


CHAINS = (
    Chain("iris", epochs=100, batch_size=8),
    Chain("breast_cancer", epochs=50),
    Chain("digits", epochs=30),
    Chain("diabetes", epochs=1000, batch_size=16),
    Chain("diabetes", epochs=30, scaled_target=True),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Predictions next to scikit-learn's.")
    parser.add_argument("--quick", action="store_true", help="two small data sets, two folds")
    parser.add_argument("--folds", type=int, default=5, help="of the cross-validation")
    parser.add_argument("--only", choices=("chains", "tables"), help="one of the two parts")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    targets: list[Target] = []
    if given.quick:
        return 0 if verdict(compare_chains(CHAINS[:2], folds=2)) else 1
    if given.only != "tables":
        targets += compare_chains(CHAINS, given.folds)
    if given.only != "chains":
        targets += compare_tables()
    return 0 if verdict(targets) else 1


# The shortest program --------------------------------------------------------------------------


def compare_chains(chains: Sequence[Chain], folds: int) -> list[Target]:
    """Cross-validate the chains and linear models, print a table; the targets."""
    rows, targets = [], []
    for one in chains:
        start = perf_counter()
        task = datasets.load(one.name)
        scores = [scored(one.graph(), *split) for split in splits(task, folds)]
        ours, theirs = (fmean(pair[i] for pair in scores) for i in (0, 1))
        rows.append([one.label, metric(task), ours, theirs, f"{perf_counter() - start:.0f}"])
        targets.append(_compared(one.label, task, ours, theirs))
    head = ["three-node chain", "metric", "mlgraph", "scikit-learn", "seconds"]
    show(head, rows, f"{folds}-fold cross-validation, mean over the folds")
    return targets


def metric(task: Task) -> str:
    """What is reported."""
    return "rmse" if task.kind == "regression" else "accuracy"


def splits(task: Task, folds: int) -> Iterator[tuple[Task, Task]]:
    """Rows to train on and rows to test on; stratified where there are classes."""
    from sklearn.model_selection import KFold, StratifiedKFold

    cls = KFold if task.kind == "regression" else StratifiedKFold
    folding = cls(folds, shuffle=True, random_state=0)
    for train, test in folding.split(np.zeros(len(task)), task.target_codes()):
        yield task.take(train), task.take(test)


def scored(graph: Graph, train: Task, test: Task) -> tuple[float, float]:
    """The score of a graph, and that of a linear model after the same scaling."""
    ours = graph.fit(train, seed=1).predict(test).score(metric(train))
    scale = po("scale").as_graph().fit(train)
    model = linear_model(train).fit(*scale.predict(train).to_numpy())
    features, truth = scale.predict(test).to_numpy()
    return ours, score(model, features, truth, train)


def linear_model(task: Task) -> Any:
    """scikit-learn's, with its own defaults."""
    from sklearn.linear_model import LogisticRegression, Ridge

    return Ridge() if task.kind == "regression" else LogisticRegression(max_iter=5000)


def score(model: Any, features: Any, truth: Any, task: Task) -> float:
    """Root mean squared error, or accuracy."""
    found = model.predict(features)
    if task.kind == "regression":
        return float(np.sqrt(np.mean((found - truth) ** 2)))
    return float(np.mean(found == truth))


def _compared(label: str, task: Task, ours: float, theirs: float) -> Target:
    if task.kind == "regression":
        return f"{label}: RMSE at most 3 % worse: {100 * (ours / theirs - 1):+.1f} %", (
            ours <= 1.03 * theirs
        )
    text = f"{label}: accuracy at most 2 points worse: {100 * (ours - theirs):+.1f}"
    return text, ours >= theirs - 0.02


# Larger tables ---------------------------------------------------------------------------------

NUMBERS = sel.type("float", "int")


def adult_network() -> Graph:
    """Numbers as they are, a learned vector for every category, two hidden layers."""
    categories = po("ingress_categ", columns=~NUMBERS, unknown="slot")
    return chain(
        po("impute"),
        po("scale"),
        [
            po("ingress_num", columns=NUMBERS),
            categories >> nn("embedding_cat") >> nn("dropout", p=0.2),
        ],
        nn("merge_cat"),
        *_hidden(64, 2, p=0.2),
        nn("head"),
        po("torch_optimizer", "adamw", lr=1e-3),
        _patient("roc_auc", patience=4, epochs=30, batch_size=256),
    )


def california_network() -> Graph:
    """Features by rank, three hidden layers, a scaled target."""
    from sklearn.preprocessing import QuantileTransformer

    network = chain(
        po("sklearn", QuantileTransformer(output_distribution="normal")),
        *_hidden(128, 3),
        nn("head"),
        po("torch_optimizer", "adamw", lr=3e-3),
        _patient("rmse", patience=10, epochs=60, batch_size=128),
    )
    return with_target(network, TargetScale())


def compare_tables() -> list[Target]:
    """Train on both tables, print a table; the targets."""
    try:
        tables = {"adult": data.adult(), "california": data.california()}
    except data.NotFetched as error:
        print(f"\nThe larger tables are left out. {error}", file=sys.stderr)
        return [("adult and california: AUC >= 0.905, RMSE <= 0.53: not fetched", False)]
    auc = _row(tables["adult"], adult_network, "roc_auc")
    rmse = _row(tables["california"], california_network, "rmse")
    head = ["table", "metric", "mlgraph", "linear", "boosted trees", "seconds"]
    show(head, [["adult", *auc], ["california", *rmse]], "one split, 80 % to train on")
    return [
        (f"adult: AUC at least 0.905: {auc[1]:.3f}", auc[1] >= 0.905),
        (f"california: RMSE at most 0.53: {rmse[1]:.3f}", rmse[1] <= 0.53),
    ]


def _row(task: Task, graph: Callable[[], Graph], name: str) -> tuple[str, float, float, float, str]:
    train, test = task.split(0.2, seed=1)
    start = perf_counter()
    fitted = graph().fit(train, valid=0.1, seed=1)
    ours = fitted.predict(test).score(name)
    seconds = f"{perf_counter() - start:.0f}"
    return name, ours, _linear(train, test, name), boosted(train, test, name), seconds


def _linear(train: Task, test: Task, name: str) -> float:
    """One-hot encoding, scaling, and a linear model."""
    prepared = chain(po("impute"), po("encode"), po("scale"), po("sklearn", linear_model(train)))
    return float(prepared.fit(train).predict(test).score(name))


def boosted(train: Task, test: Task, name: str) -> float:
    """scikit-learn's boosted trees; they take categories as codes, and missing values."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    coded = po("encode", method="ordinal").as_graph().fit(train)
    known = coded.predict(train)
    features, target = known.to_numpy()
    codes = [train.types[column] in ("string", "category") for column in known.features]
    trees = (
        HistGradientBoostingRegressor
        if train.kind == "regression"
        else HistGradientBoostingClassifier
    )
    model = trees(categorical_features=codes, random_state=1).fit(features, target)
    new_features, truth = coded.predict(test).to_numpy()
    if name == "rmse":
        return score(model, new_features, truth, train)
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, model.predict_proba(new_features)[:, 1]))


def _hidden(width: int, layers: int, p: float = 0.0) -> list[Any]:
    parts = [nn("linear", width), nn("relu"), nn("dropout", p=p) if p else None]
    return [part for _ in range(layers) for part in parts]


def _patient(metrics: str, patience: int, epochs: int, batch_size: int) -> Any:
    """A trainer which stops when the validation score does, and goes back to the best weights."""
    options = {"metrics": metrics, "patience": patience, "progress": False}
    return po("torch_model", epochs=epochs, batch_size=batch_size, **options)


if __name__ == "__main__":
    sys.exit(main())
