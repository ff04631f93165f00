"""The scikit-learn estimator that a graph can be."""

from __future__ import annotations

from typing import Any

from mlgraph.core.graph import Graph
from mlgraph.errors import ConfigError
from mlgraph.learn.abilities import kinds_of, trains
from mlgraph.learn.base import GraphEstimator
from mlgraph.learn.supervised import GraphClassifier, GraphRegressor
from mlgraph.learn.transformer import GraphTransformer

__all__ = ["GraphClassifier", "GraphRegressor", "GraphTransformer", "as_estimator"]


def as_estimator(graph: Graph, **options: Any) -> GraphEstimator:
    """The estimator that a graph can only be.

    A graph that trains nothing is a transformer. One with a loss, a classifier or regressor of
    scikit-learn, thresholds or the like that suit one kind of task only, is of that kind.

    Args:
        graph: The graph.
        options: Arguments of the estimator, such as ``random_state``.

    Raises:
        ConfigError: The graph suits both kinds of task, or its nodes disagree.

    >>> from mlgraph import po
    >>> as_estimator(po("scale").as_graph(), random_state=1)
    GraphTransformer(graph=scale, random_state=1)
    """
    kinds = kinds_of(graph)
    if not trains(graph):
        return GraphTransformer(graph, **options)
    if len(kinds) == 1:
        kind = next(iter(kinds))
        return (GraphClassifier if kind == "classification" else GraphRegressor)(graph, **options)
    raise ConfigError(
        "The graph could be a classifier as well as a regressor."
        if not kinds
        else "Some nodes of the graph classify, and others do regression.",
        why="scikit-learn asks which it is before it shows any data",
        mend="say graph.as_classifier() or graph.as_regressor()",
    )
