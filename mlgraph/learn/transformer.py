"""Graphs as scikit-learn transformers."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from mlgraph.core.fitted import FittedGraph
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError
from mlgraph.learn.abilities import wrong_output
from mlgraph.learn.base import GraphEstimator
from mlgraph.learn.inputs import training_data, training_task
from mlgraph.learn.labels import task_labels


class GraphTransformer(TransformerMixin, GraphEstimator):  # type: ignore[misc]
    """A graph from tasks to tasks as a scikit-learn transformer.

    The result is a float64 array, or one of objects if columns are left that are not numbers;
    ``set_output`` makes data frames of it.

    Args:
        graph: The graph; what it puts out in the end is a Task with the rows that went in.
            ``<id>__<param>`` reads and sets the parameters of its nodes.
        random_state: Fixes everything random. None uses NumPy's global state, once per fit.

    Attributes:
        graph_: The fitted graph.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if all of them are strings.

    >>> from mlgraph import po
    >>> GraphTransformer(po("scale").as_graph()).fit_transform([[1.0], [3.0]])
    array([[-1.], [ 1.]])
    """

    gives: ClassVar[type] = Task

    def __init__(self, graph: Any = None, *, random_state: Any = None) -> None:
        self.graph = graph
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the graph.

        Args:
            X: An array, or a data frame; columns of strings and categories keep their types.
            y: What nodes that look at a target see, if there is something to see: labels or
                integers are classes, numbers with fractions quantities.

        Raises:
            ConfigError: The graph drops, repeats or reorders rows while fitting.
            ValueError: The data is not fit for it (in scikit-learn's words), or the graph is not
                (an MLGraphError).
        """
        self._fit(X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit the graph and return what came out while fitting.

        This is what ``transform`` returns for the same rows, unless a node treats the rows it
        learns from differently, as out-of-fold predictions and scikit-learn's TargetEncoder do.
        """
        return _matrix(self._fit(X, y))

    def transform(self, X: Any) -> Any:
        """What the graph makes of new rows, in the same order."""
        return _matrix(self._applied(X))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """The names of the columns that come out.

        Args:
            input_features: Names for the features of an array, in place of ``x0``, ``x1``, ...

        Raises:
            ValueError: They are not those of the fit, or not as many as there were features.
        """
        check_is_fitted(self)
        names = self.graph_.predict(self._prototype()).features
        if input_features is not None:
            _check_names(self, np.asarray(input_features, dtype=object))
            if not hasattr(self, "feature_names_in_"):
                names = [_renamed(name, list(input_features)) for name in names]
        return np.asarray(names, dtype=object)

    def _fit(self, X: Any, y: Any) -> Task:
        graph = self._usable_graph()
        table, y = training_data(self, X, _one_dimensional(y))
        labels, kind = _target(y)
        task = training_task(table, labels, kind=kind)
        fitted = graph.fit(task, seed=self._seed())
        result = _same_rows(type(self).__name__, task, fitted)
        self._remember(fitted)
        return result


def _one_dimensional(y: Any) -> Any:
    """The target, if it is one; several columns mean nothing to a task."""
    return y if y is not None and np.asarray(y).ndim == 1 else None


def _target(y: NDArray[Any] | None) -> tuple[NDArray[Any] | None, str | None]:
    """Target and kind of task; neither if there are not two values to tell apart."""
    if y is None:
        return None, None
    if type_of_target(y) == "continuous":
        return np.asarray(y, dtype=np.float64), "regression"
    classes, codes = np.unique(y, return_inverse=True)
    return (task_labels(classes)[codes], "classification") if len(classes) > 1 else (None, None)


def _same_rows(owner: str, task: Task, fitted: FittedGraph) -> Task:
    """What came out while fitting, if it has the rows that went in."""
    output, result = next(iter(fitted.outputs.items()))
    if not isinstance(result, Task):
        raise wrong_output(owner, output, type(result).__name__, Task)
    if not np.array_equal(task.row_ids, result.row_ids):
        raise ConfigError(
            f"{owner} cannot hold a graph that changes the rows while fitting.",
            where=f"output {output!r}",
            why=f"{len(task)} rows went in, and {len(result)} came out, or in another order; "
            "a transformer of scikit-learn cannot change y along with X",
            mend="use such nodes in a graph that ends in a model: graph.as_classifier()",
        )
    return result


def _matrix(task: Task) -> NDArray[Any]:
    if all(task.types[name] in ("float", "int", "bool") for name in task.features):
        return task.to_numpy()[0]
    columns = [task.column(name).to_pylist() for name in task.features]
    matrix = np.empty((len(task), len(columns)), dtype=object)
    for i, column in enumerate(columns):
        matrix[:, i] = column
    return matrix


def _check_names(estimator: Any, given: NDArray[Any]) -> None:
    known = getattr(estimator, "feature_names_in_", None)
    if known is not None and not np.array_equal(known, given):
        raise ValueError("input_features is not equal to feature_names_in_")
    if len(given) != estimator.n_features_in_:
        raise ValueError(
            "input_features should have length equal to number of features "
            f"({estimator.n_features_in_}), got {len(given)}"
        )


def _renamed(name: str, features: list[str]) -> str:
    """``x2`` and ``x2.level`` with the given name of the third feature in place of ``x2``."""
    found = re.fullmatch(r"x(\d+)(\..*)?", name, flags=re.DOTALL)
    if found is None or int(found[1]) >= len(features):
        return name
    return f"{features[int(found[1])]}{found[2] or ''}"
