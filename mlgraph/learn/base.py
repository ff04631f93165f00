"""What the three estimators share: their parameters, their tags, and how a graph is fitted.

The constructor stores what it is given and looks at nothing. Everything is checked in ``fit``,
which changes nothing that was passed in: graphs are values. What was learned is ``graph_``, a
FittedGraph, and what scikit-learn asks to see beside it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import attrs
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mlgraph.core.fitted import FittedGraph
from mlgraph.core.graph import Graph
from mlgraph.data.task import Task
from mlgraph.learn.abilities import (
    check_usable,
    takes_categories,
    takes_missing,
    with_runtime,
    wrong_output,
)
from mlgraph.learn.inputs import new_data
from mlgraph.learn.params import changed, deep_params, refuse_clashes


class GraphEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators; a subclass has the constructor and ``fit``.

    Class attributes:
        gives: What the graph has to put out when it is applied.

    >>> from mlgraph.core.route import Copy
    >>> from mlgraph.learn.transformer import GraphTransformer
    >>> estimator = GraphTransformer(Copy(n=2).as_graph())
    >>> estimator.set_params(copy__n=1).get_params()["copy__n"]
    1
    """

    gives: ClassVar[type]
    graph: Any
    random_state: Any
    graph_: FittedGraph

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor arguments; with ``deep`` also nodes and their parameters.

        Args:
            deep: Whether to add ``<id>`` and ``<id>__<param>`` for the nodes of the graph.
        """
        own: dict[str, Any] = super().get_params(deep=False)
        # Own arguments win over nodes of the same name; fit refuses such a graph.
        return {**deep_params(self.graph), **own} if deep else own

    def set_params(self, **params: Any) -> Self:
        """Change constructor arguments, nodes (``<id>``) and their parameters (``<id>__<param>``).

        The graph is replaced by a changed one; other estimators that hold it keep theirs.

        Raises:
            UnknownParameterError: There is no such parameter.
            MLGraphError: A node refuses the value; nothing is changed then.
        """
        own = self.get_params(deep=False)
        for name, value in changed(type(self).__name__, own, params).items():
            setattr(self, name, value)
        return self

    def save(self, path: Any) -> None:
        """Write the estimator, fitted or not, to a file, which ``mlgraph.load`` reads."""
        from mlgraph.store.save import save

        save(self, path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = takes_missing(self.graph)
        # Not ``string``: it promises to take arrays of any objects, as text vectorisers do.
        tags.input_tags.categorical = takes_categories(self.graph)
        return tags

    def _usable_graph(self) -> Graph:
        """The graph to fit.

        Raises:
            MLGraphError: It cannot be fitted, or is not one for this estimator.
        """
        owner, own = type(self).__name__, self.get_params(deep=False)
        check_usable(owner, self.graph, self.gives)
        refuse_clashes(owner, own, self.graph)
        return with_runtime(owner, self.graph, own.get("device"), own.get("verbose", 0))

    def _seed(self) -> int:
        """A seed for the run; drawn from NumPy's global state if ``random_state`` is None."""
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _remember(self, fitted: FittedGraph) -> None:
        """Keep what was learned, without the data that came out while fitting."""
        self.graph_ = attrs.evolve(fitted, outputs={}, kept={})

    def _applied(self, X: Any) -> Any:
        """What the fitted graph makes of new rows."""
        check_is_fitted(self)
        found = self.graph_.predict(new_data(self, X, self._prototype().features))
        if not isinstance(found, self.gives):
            output = self.graph_.resolved.outputs[0]
            raise wrong_output(type(self).__name__, output, type(found).__name__, self.gives)
        return found

    def _prototype(self) -> Task:
        """A task without rows of the form that the graph was fitted on."""
        task: Task = next(iter(self.graph_.prototypes.values()))
        return task
