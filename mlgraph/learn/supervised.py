"""Graphs as scikit-learn classifiers and regressors."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from mlgraph.data.prediction import Prediction
from mlgraph.errors import DataError
from mlgraph.learn.abilities import gives_probabilities, takes_targets
from mlgraph.learn.base import GraphEstimator
from mlgraph.learn.inputs import row_weights, training_data, training_task
from mlgraph.learn.labels import codes_of, task_labels


def _has_probabilities(estimator: Any) -> bool:
    return gives_probabilities(estimator.graph)


class _Supervised(GraphEstimator):
    """What learns a target: the parameters of the estimator."""

    gives: ClassVar[type] = Prediction

    def __init__(
        self,
        graph: Any = None,
        *,
        validate: Any = None,
        random_state: Any = None,
        device: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.graph = graph
        self.validate = validate
        self.random_state = random_state
        self.device = device
        self.verbose = verbose


class GraphClassifier(ClassifierMixin, _Supervised):  # type: ignore[misc]
    """A graph as a scikit-learn classifier.

    Args:
        graph: The graph; what it puts out in the end is a Prediction. ``<id>__<param>`` reads and
            sets the parameters of its nodes.
        validate: Validation data of the trainer: a fraction of the rows, or their positions.
        random_state: Fixes everything random. None uses NumPy's global state, once per fit.
        device: Where the trainers compute, in place of what they say themselves.
        verbose: Whether to show progress.

    Attributes:
        graph_: The fitted graph.
        classes_: The class labels, sorted.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if all of them are strings.

    >>> from mlgraph import po
    >>> graph = po("scale") >> po("nn_linear") >> po("torch_model", epochs=50)
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"]
    >>> GraphClassifier(graph, random_state=1).fit(X, y).predict([[0.5], [2.5]])
    array(['low', 'high'], dtype='<U4')
    """

    classes_: NDArray[Any]

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit the graph.

        Args:
            X: An array, or a data frame; columns of strings and categories keep their types.
            y: A class label per row.
            sample_weight: A weight per row.
            groups: A group per row: ``validate`` takes whole groups.

        Raises:
            DataError: X is a task, or holds lazy tensors: these are for ``graph.fit(task)``.
            ValueError: The data is not fit for it (in scikit-learn's words), or the graph is not
                (an MLGraphError).
        """
        graph = self._usable_graph()
        table, y = training_data(self, X, y)
        check_classification_targets(y)
        classes, codes = np.unique(np.asarray(y), return_inverse=True)
        _refuse_one_class(classes)
        weights = row_weights(sample_weight, len(codes))
        labels = task_labels(classes)[codes]
        task = training_task(table, labels, kind="classification", weights=weights, groups=groups)
        fitted = graph.fit(task, valid=self.validate, seed=self._seed())
        self.classes_ = classes
        self._remember(fitted)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of each row."""
        prediction = self._applied(X)
        return self.classes_[codes_of(prediction.response, task_labels(self.classes_))]

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The probability of each class, float64 ``(rows, classes)`` in the order of ``classes_``.

        It is there unless the graph holds a classifier of scikit-learn that has none.
        """
        return np.array(self._applied(X).prob)


class GraphRegressor(RegressorMixin, _Supervised):  # type: ignore[misc]
    """A graph as a scikit-learn regressor.

    Args:
        graph: The graph; what it puts out in the end is a Prediction. ``<id>__<param>`` reads and
            sets the parameters of its nodes.
        validate: Validation data of the trainer: a fraction of the rows, or their positions.
        random_state: Fixes everything random. None uses NumPy's global state, once per fit.
        device: Where the trainers compute, in place of what they say themselves.
        verbose: Whether to show progress.

    Attributes:
        graph_: The fitted graph.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if all of them are strings.

    >>> from mlgraph import po
    >>> graph = po("nn_linear") >> po("torch_optimizer", lr=0.1) >> po("torch_model")
    >>> X, y = [[-1.0], [0.0], [1.0], [2.0]], [-1.0, 1.0, 3.0, 5.0]
    >>> GraphRegressor(graph, random_state=1).fit(X, y).predict([[1.5]]).round(1)
    array([4.])
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit the graph.

        Args:
            X: An array, or a data frame; columns of strings and categories keep their types.
            y: A quantity per row, or several, ``(rows, targets)``.
            sample_weight: A weight per row.
            groups: A group per row: ``validate`` takes whole groups.

        Raises:
            DataError: X is a task, or holds lazy tensors: these are for ``graph.fit(task)``.
            ValueError: The data is not fit for it (in scikit-learn's words), or the graph is not
                (an MLGraphError).
        """
        graph = self._usable_graph()
        table, y = training_data(self, X, y, y_numeric=True, multi_output=True)
        target = np.asarray(y, dtype=np.float64)
        weights = row_weights(sample_weight, len(target))
        kind = "regression" if target.ndim == 1 else "multitarget"
        task = training_task(table, target, kind=kind, weights=weights, groups=groups)
        self._remember(graph.fit(task, valid=self.validate, seed=self._seed()))
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The predicted quantity of each row, or quantities, ``(rows, targets)``."""
        return np.array(self._applied(X).response)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = takes_targets(self.graph)
        return tags


def _refuse_one_class(classes: NDArray[Any]) -> None:
    if len(classes) < 2:
        raise DataError(
            f"y has one class only, {classes.tolist()[0]!r}: nothing to learn.",
            why="a classification needs rows of at least two classes",
        )
