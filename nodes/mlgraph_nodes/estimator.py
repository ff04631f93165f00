"""Any scikit-learn estimator as a node.

    sklearn   an estimator with ``transform``: Task -> Task
    learner   a classifier or regressor: Task -> Prediction

An estimator is kept as its class and parameters. Every fit makes a new one of these; the one that
was passed in is never trained. Its parameters, nested ones too, are parameters of the node.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.param import Token, param
from mlgraph.core.port import Port
from mlgraph.core.value import FrozenDict, freeze
from mlgraph.data.prediction import Prediction
from mlgraph.data.task import Task
from mlgraph.data.transform import TaskTransform, layout_of, numbers, restored, selector
from mlgraph.errors import ConfigError, DataError, UnknownParameterError, did_you_mean, listing

# A sparse result is made dense up to this many cells (0.4 GB).
_DENSE_CELLS = 50_000_000
_SIMPLE = frozenset({"float", "int", "bool"})


@attrs.frozen(repr=False)
class EstimatorSpec:
    """A scikit-learn estimator as a value: its class and parameters.

    >>> from sklearn.preprocessing import StandardScaler
    >>> EstimatorSpec.of(StandardScaler(with_mean=False))
    StandardScaler(with_mean=False)
    """

    kind: type
    params: FrozenDict

    @classmethod
    def of(cls, estimator: Any) -> EstimatorSpec:
        """The description of an estimator, or of the one a class makes by default.

        Raises:
            ConfigError: It has no ``get_params``.
        """
        if isinstance(estimator, EstimatorSpec):
            return estimator
        estimator = estimator() if isinstance(estimator, type) else estimator
        if not _is_estimator(estimator):
            raise _not_supported(estimator)
        params = estimator.get_params(deep=False)
        return cls(type(estimator), FrozenDict({k: _frozen(v) for k, v in params.items()}))

    def build(self) -> Any:
        """A new estimator, not fitted."""
        return self.kind(**{name: _thawed(value) for name, value in self.params.items()})

    def deep(self) -> dict[str, Any]:
        """All parameters, those of estimators inside included, by path."""
        return {name: _frozen(value) for name, value in self.build().get_params(deep=True).items()}

    def changed(self, params: Mapping[str, Any]) -> EstimatorSpec:
        """The same with other parameters, by path."""
        estimator = self.build()
        return EstimatorSpec.of(estimator.set_params(**{k: _thawed(v) for k, v in params.items()}))

    def tokens(self, path: str = "") -> Iterator[tuple[str, Token]]:
        """The tuning tokens among the parameters, by path."""
        for name, value in self.params.items():
            yield from _tokens(value, path + name, path)

    def __mlgraph_json__(self) -> dict[str, Any]:
        return {"class": self.kind, "params": dict(self.params)}

    def __repr__(self) -> str:
        signature = inspect.signature(self.kind).parameters
        shown = [
            f"{name}={value!r}"
            for name, value in self.params.items()
            if name not in signature or repr(freeze(signature[name].default)) != repr(value)
        ]
        return f"{self.kind.__name__}({', '.join(shown)})"


@attrs.frozen(repr=False)
class _List:
    """A list among the parameters: some estimators tell lists from tuples."""

    items: tuple[Any, ...]

    def __repr__(self) -> str:
        return repr(list(self.items))


class _OpenParameters(Node):
    """What both nodes share: the estimator's parameters are the node's."""

    estimator: Any = param(convert=EstimatorSpec.of)
    random = True

    @classmethod
    def create(
        cls,
        args: Sequence[Any] = (),
        params: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        stem: str | None = None,
    ) -> Self:
        given = dict(params or {})
        own = {name: given.pop(name) for name in list(given) if name in cls.field_names()}
        node = super().create(args, own, id=id, stem=stem)
        return node.with_parameters(given) if given else node

    def parameters(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in self.field_names()}
        spec = self.estimator
        return {**spec.deep(), **own} if isinstance(spec, EstimatorSpec) else own

    def with_parameters(self, changes: Mapping[str, Any]) -> Self:
        fields = self.field_names()
        own = {name: value for name, value in changes.items() if name in fields}
        nested = {name: value for name, value in changes.items() if name not in fields}
        node = super().with_parameters(own) if own else self
        if not nested:
            return node
        return attrs.evolve(node, estimator=node._with_nested(nested))  # type: ignore[misc]

    def changed(self) -> dict[str, Any]:
        fields = self.field_names()
        return {name: value for name, value in super().changed().items() if name in fields}

    def tags(self, name: str) -> frozenset[str]:
        if name.rpartition("__")[2] in ("n_jobs", "verbose") and name not in self.field_names():
            return frozenset({"runtime"})
        return super().tags(name)

    def _tokens(self) -> Iterator[tuple[str, Token]]:
        yield from super()._tokens()
        if isinstance(self.estimator, EstimatorSpec):
            yield from self.estimator.tokens()

    def _with_nested(self, nested: Mapping[str, Any]) -> EstimatorSpec:
        spec: EstimatorSpec = self.estimator
        known = [*self.field_names(), *spec.deep()]
        for name in nested:
            if name not in known:
                raise UnknownParameterError(
                    f"{spec.kind.__name__} has no parameter {name!r}.",
                    why=f"its parameters are {listing(known, 30)}",
                    mend=did_you_mean(name, known),
                )
        return spec.changed(nested)

    def _made(self, ctx: Context) -> Any:
        """A new estimator whose random states are drawn from the seed where they are not set."""
        estimator = self.estimator.build()
        unset = [
            name
            for name, value in estimator.get_params(deep=True).items()
            if name.rpartition("__")[2] == "random_state" and value is None
        ]
        seeds = {name: (ctx.seed + i) % 2**32 for i, name in enumerate(sorted(unset))}
        return estimator.set_params(**seeds) if seeds else estimator


class Sklearn(_OpenParameters, TaskTransform):
    """Transform columns with a scikit-learn estimator.

    The columns reach the estimator together: as a NumPy matrix if all are numbers, else, or if it
    asks for columns by name, as a pandas data frame. Results are named by
    ``get_feature_names_out``, else ``<id>_0``, ``<id>_1``, ... Supervised transformers see the
    target while fitting. A ``random_state`` that is ``None`` is drawn from the seed.

    A classifier or regressor makes ``po("sklearn", ...)`` a ``learner``.

    Args:
        estimator: The estimator, or its class. ``<id>__<parameter>`` reads and sets its parameters;
            where one is called as a parameter of the node is, the node's comes first.
        output: ``"transform"`` or ``"predict"``, for an estimator that does both.
        columns: The columns to transform, by default all but tensors.

    Raises:
        ConfigError: The estimator can neither transform nor predict.

    >>> from sklearn.preprocessing import StandardScaler
    >>> node = Sklearn(estimator=StandardScaler())
    >>> task = Task({"a": [1.0, 3.0]})
    >>> node.as_graph().fit(task).predict(task).column("a").to_pylist()
    [-1.0, 1.0]
    """

    accepts = frozenset({"float", "int", "bool", "category", "string", "datetime"})

    estimator: Any = param(convert=EstimatorSpec.of, tags={"structure"})
    output: str = param(
        default="auto", choices=("auto", "transform", "predict"), tags={"structure"}
    )

    @classmethod
    def create(
        cls,
        args: Sequence[Any] = (),
        params: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        stem: str | None = None,
    ) -> Self:
        given = {**dict(zip(("estimator", "output"), args, strict=False)), **(params or {})}
        wanted = given.get("output", "auto")
        spec = EstimatorSpec.of(given["estimator"]) if "estimator" in given else None
        if cls is Sklearn and spec is not None and _role(spec, wanted) == "predict":
            rest = {name: value for name, value in given.items() if name != "output"}
            return Learner.create((), rest, id=id, stem=stem or cls.key)  # type: ignore[return-value]
        return super().create(args, params, id=id, stem=stem)

    def validate(self) -> None:
        if _role(self.estimator, self.output) == "predict":
            raise ConfigError(
                f"{self.estimator.kind.__name__} predicts, so its node is a learner.",
                mend='write po("sklearn", estimator), or Learner(estimator=...)',
            )

    def fit_columns(self, table: pa.Table, task: Task, ctx: Context) -> Any:
        raise NotImplementedError  # never asked: fitting and transforming are one step

    def transform_columns(self, state: Any, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        x = self._frame(table)
        result = state["estimator"].transform(x)
        return _columns_of(result, state["names"])

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        return super().fit(inputs, ctx)

    def _frame(self, table: pa.Table) -> Any:
        return frame_for(self.estimator, table)
