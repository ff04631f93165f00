"""Graph: what users build, run and draw."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mlgraph.core.checked import CheckedGraph
from mlgraph.core.param import Token
from mlgraph.core.views import GraphViews
from mlgraph.errors import GraphError, UnknownAttributeError

if TYPE_CHECKING:
    from mlgraph.core.fitted import FittedGraph

_OF_FITTED = frozenset(
    {"predict", "continue_", "history", "module", "trained", "trainers", "states"}
)


class Composable:
    """What can stand on either side of ``>>`` and ``&``."""

    def as_graph(self) -> Graph:
        """This as a graph."""
        raise NotImplementedError

    def __rshift__(self, other: Any) -> Graph:
        return self.as_graph().then(to_graph(other))

    def __rrshift__(self, other: Any) -> Graph:
        return to_graph(other).then(self.as_graph())

    def __and__(self, other: Any) -> Graph:
        return self.as_graph().beside(to_graph(other))

    def __rand__(self, other: Any) -> Graph:
        return to_graph(other).beside(self.as_graph())

    def __or__(self, other: Any) -> Graph:
        raise GraphError(
            "| joins nothing.",
            mend="use & for parallel paths, and branch({...}) for alternatives",
        )

    __ror__ = __or__


class Graph(GraphViews, Composable):
    """An immutable graph of nodes, wired port to port.

    Graphs come from ``>>``, ``&``, ``union`` and ``branch``; every method returns a new one.

    >>> Graph.empty()
    Graph()
    """

    def as_graph(self) -> Graph:
        """The graph itself."""
        return self

    def __sklearn_clone__(self) -> Graph:
        return self

    if not TYPE_CHECKING:  # to a type checker it would say that a graph has every attribute

        def __getattr__(self, name: str) -> Any:
            # Only reached for attributes that do not exist.
            if name in _OF_FITTED:
                raise UnknownAttributeError(
                    f"A graph has no {name!r}; a fitted graph does.",
                    mend=f"write fitted = graph.fit(task) and then fitted.{name}",
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @functools.cached_property
    def resolved(self) -> Graph:
        """The plain graph that runs: macros unfolded, paths not taken cut, conversions added."""
        from mlgraph.core.resolve import resolve

        return resolve(self)

    def search_space(self) -> dict[str, Token]:
        """The tuning tokens by ``<id>__<param>``, without those of paths that no branch takes."""
        from mlgraph.core.resolve import taken

        ids = taken(self)
        return {
            f"{id}__{path}": token
            for id, node in self.nodes.items()
            for path, token in node.tokens().items()
            if id in ids
        }

    # Running ----------------------------------------------------------------------------------

    def fit(
        self,
        task: Any = None,
        *more: Any,
        inputs: Mapping[str, Any] | None = None,
        valid: Any = None,
        seed: int | None = None,
        keep: Iterable[str] | str = (),
        cache: Any = None,
    ) -> FittedGraph:
        """Run every node's ``fit`` in order and return the graph with what was learned.

        Args:
            task: The value for every free input.
            more: Nothing; features and target are one Task.
            inputs: Values by free input (``"id.port"``), in place of ``task``.
            valid: Validation data: a fraction, row ids, or a Task. Split off before the first
                node; each fitted node is applied to it.
            seed: Fixes everything random; None draws one, recorded in ``fitted.seed``.
            keep: Ids whose outputs are kept in ``fitted.kept``, or ``"all"``.
            cache: An object with ``get`` and ``put`` that remembers the results of nodes.

        Raises:
            MLGraphError: Something does not fit; names node and port.
        """
        from mlgraph.core.run import fit

        return fit(self, task, *more, inputs=inputs, valid=valid, seed=seed, keep=keep, cache=cache)

    def check(
        self,
        task: Any = None,
        *more: Any,
        inputs: Mapping[str, Any] | None = None,
        valid: Any = None,
        seed: int | None = None,
    ) -> CheckedGraph:
        """Everything ``fit`` would find wrong, at once and without training.

        Fits the nodes before the trainer, describes the network, and stops there. What comes
        back prints and draws the graph with types and shapes. Nodes that draw at random draw
        what they will draw in a fit with the same seed. Where a node of tables fails, nobody
        knows what would reach the nodes behind it; these are looked at once it is mended.

        Raises:
            MLGraphError: One error; its ``errors`` are the findings when there are several.
        """
        from mlgraph.core.run import check

        return check(self, task, *more, inputs=inputs, valid=valid, seed=seed)

    # What it can be turned into ---------------------------------------------------------------

    def network(
        self,
        specs: Any,
        *,
        task: Any = None,
        seed: int | None = None,
        device: Any = None,
    ) -> Any:
        """The layers as a plain ``torch.fx.GraphModule``, without data and without training.

        Submodules are named by node id. Several free outputs are returned as a tuple.

        Args:
            specs: The shape of the input, batch included: ``("batch", 10)``, where names are
                sizes that are not known; or a TensorSpec, or an example. Several inputs: a dict by
                id or ``"id.port"``, in the order of the network's arguments; one shape for all of
                them makes one argument.
            task: A Task or TaskSpec, for layers that ask for the output size.
            seed: Of the initial weights; None draws one.
            device: Where the weights are made; ``"meta"`` allocates none.

        Raises:
            MLGraphError: Shapes do not fit, or there is more than layers in the graph.
        """
        from mlgraph.net.build import build_network

        return build_network(self, specs, task=task, seed=seed, device=device)

    def shapes(self, specs: Any, *, task: Any = None) -> CheckedGraph:
        """The layers with the shapes between them, without data; prints and draws.

        Args:
            specs: The shape of the input, or of each input, as for ``network``.
            task: A Task or TaskSpec, for layers that ask for the output size.

        Raises:
            MLGraphError: Shapes do not fit, or there is more than layers in the graph.
        """
        from mlgraph.net.build import check_network

        return check_network(self, specs, task=task)

    def as_classifier(self, **options: Any) -> Any:
        """The graph as a scikit-learn classifier, for arrays and data frames.

        Tasks, and tensors that are read later, are for the graph itself: ``graph.fit(task)``.
        """
        from mlgraph.learn.estimator import GraphClassifier

        return GraphClassifier(self, **options)

    def as_regressor(self, **options: Any) -> Any:
        """The graph as a scikit-learn regressor, for arrays and data frames.

        Tasks, and tensors that are read later, are for the graph itself: ``graph.fit(task)``.
        """
        from mlgraph.learn.estimator import GraphRegressor

        return GraphRegressor(self, **options)

    def as_transformer(self, **options: Any) -> Any:
        """The graph as a scikit-learn transformer, for arrays and data frames.

        Tasks, and tensors that are read later, are for the graph itself: ``graph.fit(task)``.
        """
        from mlgraph.learn.estimator import GraphTransformer

        return GraphTransformer(self, **options)

    def as_estimator(self, **options: Any) -> Any:
        """The graph as the scikit-learn estimator it can only be.

        Raises:
            ConfigError: It could be a classifier as well as a regressor.
        """
        from mlgraph.learn.estimator import as_estimator

        return as_estimator(self, **options)


def to_graph(part: Any) -> Graph:
    """Anything that may stand beside ``>>`` as a graph: lists and dicts are unions.

    Raises:
        GraphError: It is none of these.
    """
    if isinstance(part, Composable):
        return part.as_graph()
    if part is None:
        return Graph.empty()
    if isinstance(part, (list, tuple)):
        return functools.reduce(Graph.beside, map(_or_nop, part), Graph.empty())
    if isinstance(part, Mapping):
        named = [_or_nop(item).prefix(f"{name}_") for name, item in part.items()]
        return functools.reduce(Graph.beside, named, Graph.empty())
    raise GraphError(
        f"A {type(part).__name__} cannot be part of a graph.",
        why="nodes, graphs, lists, dicts and None can",
        mend='make a node of it: po("sklearn", estimator), nn("module", module), nn("fn", f)',
    )


def _or_nop(part: Any) -> Graph:
    if part is not None:
        return to_graph(part)
    from mlgraph.core.route import Nop

    return Nop().as_graph()
