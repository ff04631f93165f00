"""What the recipes for tables share: the way into the network, and what trains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mlgraph.catalogue import nn, po
from mlgraph.core.compose import chain
from mlgraph.core.graph import Graph
from mlgraph.core.node import Node
from mlgraph.data.select import sel
from mlgraph.data.task import Task
from mlgraph.errors import DataError, listing
from mlgraph_nodes.target import TargetScale, with_target

Scaling = Literal["standard", "quantile"]

NUMERIC = ("float", "int")
CATEGORICAL = ("category", "string", "bool")
DATES = ("datetime",)


def flat(task: Task, scaling: Scaling, embedding: Node | None = None) -> Graph:
    """From the task to one vector per row: numbers, perhaps embedded, then categories, one-hot.

    Raises:
        DataError: There are no features, or of types that no network for tables takes.

    >>> task = Task({"x": [1.0, 2.0], "y": [0.5, 1.0]}, target="y")
    >>> flat(task, "standard").ids
    ('impute', 'scale', 'ingress_num')
    """
    layers = None if embedding is None else embedding >> nn("flatten")
    # A constant column has no bins.
    bins = embedding is not None and embedding.key == "nn_piecewise_linear_embedding"
    numbers = chain(po("removeconstants") if bins else None, _numbers(task, scaling), layers)
    categories = _categories() >> nn("one_hot", drop_last=True)
    return _entering(task, numbers, categories, nn("merge_cat"))


def tokens(task: Task, width: int, scaling: Scaling) -> Graph:
    """From the task to a token for each column: numbers, then categories.

    Raises:
        DataError: There are no features, or of types that no network for tables takes.

    >>> task = Task({"x": ["u", "v"], "y": [0.5, 1.0]}, target="y")
    >>> tokens(task, 8, "standard").ids
    ('impute', 'ingress_categ', 'tokenizer_categ')
    """
    numbers = _numbers(task, scaling) >> nn("tokenizer_num", width)
    categories = _categories() >> nn("tokenizer_categ", width)
    return _entering(task, numbers, categories, nn("merge_cat", dim=1))


def _entering(task: Task, numbers: Graph, categories: Graph, join: Node) -> Graph:
    """From the task through one path or both, as it has features for them."""
    _refuse_features(task)
    kinds = {task.types[name] for name in task.features}
    start = chain(
        po("impute"),
        # The other parts of a date are numbers.
        po("datefeatures", is_day=False) if kinds & set(DATES) else None,
    )
    if not kinds & set(CATEGORICAL):
        return start >> numbers
    if not kinds - set(CATEGORICAL):
        return start >> categories
    paths = [
        po("select", sel.type(*NUMERIC), id="numbers") >> numbers,
        po("select", sel.type(*CATEGORICAL), id="categories") >> categories,
    ]
    return start >> paths >> join


def _numbers(task: Task, scaling: Scaling) -> Graph:
    return _scale(task, scaling) >> po("ingress_num")


def _scale(task: Task, scaling: Scaling) -> Node:
    if scaling == "standard":
        return po("scale")
    from sklearn.preprocessing import QuantileTransformer

    quantiles = max(min(len(task) // 30, 1000), 10)
    normal = QuantileTransformer(
        n_quantiles=quantiles, output_distribution="normal", subsample=None
    )
    return po(normal, id="scale")


def _categories() -> Graph:
    return po("ingress_categ", unknown="slot").as_graph()


def trained(
    task: Task, network: Graph, lr: float, weight_decay: float, trainer: Mapping[str, Any]
) -> Graph:
    """The network with AdamW and its trainer.

    >>> task = Task({"x": [1.0, 2.0], "y": ["u", "v"]}, target="y")
    >>> trained(task, nn("head").as_graph(), 0.1, 0.0, {}).ids
    ('head', 'torch_optimizer', 'torch_model')
    """
    optimizer = po("torch_optimizer", "adamw", lr=lr, weight_decay=weight_decay)
    return in_units(task, network >> optimizer >> po("torch_model", **trainer))


def in_units(task: Task, graph: Graph) -> Graph:
    """The graph, with quantities learned on the scale that networks start at.

    Raises:
        DataError: This is no task.

    >>> task = Task({"x": [1.0, 2.0], "y": [0.5, 1.0]}, target="y")
    >>> in_units(task, nn("head") >> po("torch_model")).ids
    ('targetscale', 'head', 'torch_model', 'targetinvert')
    """
    refuse_other(task)
    quantities = task.goal.type.transforms != "none"
    return with_target(graph, TargetScale()) if quantities else graph


def refuse_other(task: object) -> None:
    """Refuse what is no task.

    Raises:
        DataError: It is not.

    >>> refuse_other(Task({"x": [1.0]}))
    """
    if not isinstance(task, Task):
        raise DataError(
            f"A recipe looks at a Task, and got a {type(task).__name__}.", mend=Task.how_to_make
        )


def _refuse_features(task: Task) -> None:
    refuse_other(task)
    alien = [n for n in task.features if task.types[n] not in (*NUMERIC, *CATEGORICAL, *DATES)]
    if alien or not task.features:
        raise DataError(
            "A network for tables has no place for these features."
            if alien
            else "There is no feature to learn from.",
            why=", ".join(f"{name!r} is {task.types[name]}" for name in alien)
            or "the task has none",
            mend=f"leave them out: po('drop', [{listing(alien)}])" if alien else "",
        )
