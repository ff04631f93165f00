"""What a graph can be used for: read from its nodes, without data."""

from __future__ import annotations

from typing import Any

from sklearn.utils import get_tags

from mlgraph.core.base import NodeBase
from mlgraph.core.entry import problems, refuse
from mlgraph.core.graph import Graph
from mlgraph.core.port import type_name
from mlgraph.errors import ConfigError, MLGraphError, listing

# Nodes that work on one kind of task only, and say so in no other way.
_KIND_OF_KEY = {
    "threshold": "classification",
    "classbalancing": "classification",
    "classweights": "classification",
    "classifavg": "classification",
    "regravg": "regression",
    "targetinvert": "regression",
}


def check_usable(owner: str, graph: Any, wanted: type) -> None:
    """Refuse what is no graph, a graph left to tuning, and one that puts out something else.

    Args:
        owner: Name of the estimator's class, for messages.
        graph: What the constructor was given.
        wanted: What the one free output has to be when the graph is applied.

    Raises:
        MLGraphError: Says what is there instead, and what to do.

    >>> check_usable("GraphClassifier", None, int)
    Traceback (most recent call last):
    ...
    mlgraph.errors.ConfigError: GraphClassifier needs a graph, and has none.
    ...
    """
    if not isinstance(graph, Graph):
        raise ConfigError(
            f"{owner} needs a graph, and has {_short(graph)}.",
            mend=f'{owner}(po("scale") >> ...)',
        )
    refuse(problems(graph))
    resolved = graph.resolved
    if len(resolved.outputs) != 1:
        raise ConfigError(
            f"The graph has {len(resolved.outputs)} free outputs; {owner} needs exactly one.",
            where=f"outputs {listing(resolved.outputs)}",
            mend='join them, for example with po("featureunion") or nn("merge_cat")',
        )
    found = _output_types(resolved)[resolved.outputs[0]]
    # None: nothing at all comes out. Any: a node passes on what only the run will show.
    if found is None or not (found is Any or issubclass(found, wanted)):
        raise wrong_output(owner, resolved.outputs[0], type_name(found), wanted)


def wrong_output(owner: str, output: str, found: str, wanted: type) -> ConfigError:
    """The error for a graph that ends in something else than the estimator gives.

    >>> wrong_output("GraphTransformer", "torch_model.output", "Prediction", int).where
    "output 'torch_model.output'"
    """
    predicts = wanted.__name__ == "Prediction"
    return ConfigError(
        f"{owner} needs a graph that puts out a {wanted.__name__}.",
        where=f"output {output!r}",
        why=f"it is a {found}",
        mend='end it with po("torch_model"), or use graph.as_transformer()'
        if predicts
        else "use graph.as_classifier() or graph.as_regressor()",
    )


def kinds_of(graph: Graph) -> frozenset[str]:
    """The kinds of task that nodes of the graph are limited to.

    >>> kinds_of(Graph.empty())
    frozenset()
    """
    nodes = [node for node in _nodes(graph) if not node.tokens()]
    return frozenset(kind for node in nodes if (kind := _kind_of(node)) is not None)


def trains(graph: Graph) -> bool:
    """Whether there is something in the graph that learns to predict.

    >>> trains(Graph.empty())
    False
    """
    return any(node.trains for node in _nodes(graph))


def gives_probabilities(graph: Any) -> bool:
    """Whether every classifier of scikit-learn in the graph has ``predict_proba``.

    Networks always have probabilities.

    >>> gives_probabilities(Graph.empty())
    True
    """
    learners = [_estimator(node) for node in _nodes(graph) if node.trains]
    return all(hasattr(made, "predict_proba") for made in learners if made is not None)


def takes_targets(graph: Any) -> bool:
    """Whether several targets can be learned: by networks, not by estimators of scikit-learn.

    >>> takes_targets(Graph.empty())
    True
    """
    return all(_estimator(node) is None for node in _nodes(graph) if node.trains)


def takes_missing(graph: Any) -> bool:
    """Whether missing values are welcome: some node imputes, or wraps an estimator that copes.

    >>> takes_missing(Graph.empty())
    False
    """
    return any(node.key.startswith("impute") or _tag(node, "allow_nan") for node in _nodes(graph))


def takes_categories(graph: Any) -> bool:
    """Whether columns of categories and strings have a place to go.

    >>> takes_categories(Graph.empty())
    False
    """
    return any(
        node.key.startswith("encode")
        or node.key == "ingress_categ"
        or "embedding" in node.key
        or _tag(node, "categorical")
        for node in _nodes(graph)
    )


def with_runtime(owner: str, graph: Graph, device: str | None, verbose: Any) -> Graph:
    """The graph with its trainers told where to compute and whether to show progress.

    ``verbose=0`` silences trainers whose ``progress`` is ``"auto"``; one that was asked to show
    progress keeps doing so.

    Raises:
        ConfigError: A device is given, and no node of the graph has one.

    >>> from mlgraph.train.trainer import Trainer
    >>> with_runtime("GraphClassifier", Trainer().as_graph(), "cpu", 0).params()["trainer__device"]
    'cpu'
    """
    placed = [id for id, node in graph.nodes.items() if _has(node, "device")]
    if device is not None and not placed:
        raise ConfigError(
            f"{owner} has device={device!r}, and no node of its graph uses a device.",
            why=f"the nodes are {listing(graph.ids, 12)}",
            mend="leave device out",
        )
    changes: dict[str, Any] = {f"{id}__device": device for id in placed if device is not None}
    for id, node in graph.nodes.items():
        if _has(node, "progress") and (verbose or getattr(node, "progress", None) == "auto"):
            changes[f"{id}__progress"] = bool(verbose)
    return graph.with_params(changes) if changes else graph


def _has(node: NodeBase, name: str) -> bool:
    return node.trains and name in node.field_names()


def _nodes(graph: Any) -> tuple[NodeBase, ...]:
    """The nodes that run; those of the graph as written if what runs is not decided yet."""
    if not isinstance(graph, Graph):
        return ()
    try:
        return tuple(graph.resolved.nodes.values())
    except MLGraphError:
        return tuple(graph.nodes.values())


def _kind_of(node: NodeBase) -> str | None:
    if getattr(node, "sets", None) == "loss":
        return _kind_of_loss(node)
    if node.trains and getattr(node, "class_weight", None) is not None:
        return "classification"
    made = _estimator(node) if node.trains else None
    if made is not None:
        return "classification" if _estimator_type(made) == "classifier" else "regression"
    return _KIND_OF_KEY.get(node.key)


def _kind_of_loss(node: Any) -> str | None:
    kinds = node.description().kinds
    if kinds and kinds <= {"binary", "multiclass"}:
        return "classification"
    return "regression" if kinds == {"regression"} else None


def _estimator(node: Any) -> Any:
    """The scikit-learn estimator that a node wraps, new, or None."""
    build = getattr(getattr(node, "estimator", None), "build", None)
    return build() if build is not None else None


def _estimator_type(estimator: Any) -> str:
    return str(get_tags(estimator).estimator_type)


def _tag(node: Any, name: str) -> bool:
    made = _estimator(node)
    return made is not None and bool(getattr(get_tags(made).input_tags, name))


def _output_types(graph: Graph) -> dict[str, Any]:
    """What every output is when the graph is applied, seen through nodes that pass things on."""
    types: dict[str, tuple[Any, Any]] = {}
    for id in graph.order:
        arriving = {
            edge.input: types[f"{edge.source}.{edge.output}"]
            for edge in graph.edges
            if edge.target == id
        }
        found = graph[id].output_types(arriving)
        types |= {f"{id}.{name}": kinds for name, kinds in found.items()}
    return {name: kinds[1] for name, kinds in types.items()}


def _short(value: object) -> str:
    return "none" if value is None else f"a {type(value).__name__}"
