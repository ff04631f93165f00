"""Any scikit-learn estimator as a node.

    sklearn   an estimator with ``transform``: Task -> Task
    learner   a classifier or regressor: Task -> Prediction

An estimator is kept as its class and parameters. Every fit makes a new one of these; the one that
was passed in is never trained. Its parameters, nested ones too, are parameters of the node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.param import Token, param
from mlgraph.core.port import Port
from mlgraph.data.chosen import selector
from mlgraph.data.prediction import Prediction
from mlgraph.data.task import Task
from mlgraph.data.transform import TaskTransform, placed, restored
from mlgraph.errors import ConfigError, DataError, UnknownParameterError, did_you_mean, listing
from mlgraph_nodes.estimatorspec import (
    RUNTIME,
    EstimatorSpec,
    columns_of,
    dense,
    frame_for,
    names_of,
    not_supported,
)


class _OpenParameters(Node):
    """What both nodes share: the estimator's parameters are the node's."""

    estimator: Any = param(convert=EstimatorSpec.of)
    random = True

    @classmethod
    def absorbed(cls, values: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        if "estimator" not in values:
            return values  # the refusal of a missing estimator says more
        spec = EstimatorSpec.of(values["estimator"])
        known = [*cls.field_names(), *spec.deep()]
        for name in extra:
            if name not in known:
                raise UnknownParameterError(
                    f"{spec.kind.__name__} has no parameter {name!r}.",
                    why=f"its parameters are {listing(known, 30)}",
                    mend=did_you_mean(name, known),
                )
        return {**values, "estimator": spec.changed(extra)}

    def parameters(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in self.field_names()}
        spec = self.estimator
        return {**spec.deep(), **own} if isinstance(spec, EstimatorSpec) else own

    def _inner(self, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        # ``estimator__alpha`` may be a parameter of an estimator inside the estimator.
        fields = self.field_names()
        own = {name: value for name, value in changes.items() if name in fields}
        return own, {name: value for name, value in changes.items() if name not in fields}

    def changed(self) -> dict[str, Any]:
        fields = self.field_names()
        return {name: value for name, value in super().changed().items() if name in fields}

    def tags(self, name: str) -> frozenset[str]:
        if name.rpartition("__")[2] in RUNTIME and name not in self.field_names():
            return frozenset({"runtime"})
        return super().tags(name)

    def _tokens(self) -> Iterator[tuple[str, Token]]:
        yield from super()._tokens()
        if isinstance(self.estimator, EstimatorSpec):
            yield from self.estimator.tokens()

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
        predicts = spec is not None and wanted in ("auto", "predict")
        if cls is Sklearn and predicts and _role(spec, wanted) == "predict":
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
        return self._fitted(table, task, ctx)[0]

    def fit_task(
        self, task: Task, names: Sequence[str], ctx: Context
    ) -> tuple[Any, Mapping[str, Mapping[str, Any]]]:
        # One step, as in a Pipeline: some estimators (TargetEncoder) return other values for the
        # rows they learn from, so that these do not see their own target.
        state, result = self._fitted(task.table(names), task, ctx)
        return state, placed(columns_of(result, state["names"]), names)

    def transform_columns(self, state: Any, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        result = state["estimator"].transform(frame_for(self.estimator, table))
        return columns_of(dense(self.estimator, result), state["names"])

    def _fitted(self, table: pa.Table, task: Task, ctx: Context) -> tuple[dict[str, Any], Any]:
        _refuse_no_rows(self.estimator, task)
        estimator, x = self._made(ctx), frame_for(self.estimator, table)
        y = {"y": _labels(task)} if task.targets and _fit_takes(estimator, "y") else {}
        if hasattr(estimator, "fit_transform"):
            result = estimator.fit_transform(x, **y)
        else:
            result = estimator.fit(x, **y).transform(x)
        result = dense(self.estimator, result)
        names = names_of(estimator, result, table.column_names, ctx.id)
        return {"estimator": estimator, "names": names}, result


class Learner(_OpenParameters):
    """Predict with a scikit-learn classifier or regressor.

    Classifiers see the class labels, and row weights if the task has any. A classifier without
    ``predict_proba`` gives all probability to the class it predicts.

    Args:
        estimator: The estimator, or its class. ``<id>__<parameter>`` reads and sets its parameters.
        columns: The features to use, by default all but tensors.

    Raises:
        ConfigError: The estimator is neither classifier nor regressor.
        DataError: It does not fit the task: the kind, weights it cannot use, missing values.

    >>> from sklearn.tree import DecisionTreeClassifier
    >>> task = Task({"a": [1.0, 2.0], "y": ["u", "v"]}, target="y")
    >>> fitted = Learner(estimator=DecisionTreeClassifier()).as_graph().fit(task)
    >>> fitted.predict({"a": [1.1, 1.9]}).response
    array(['u', 'v'], dtype='<U1')
    """

    inputs = (Port("input", Task),)
    outputs = (Port("output", fit=None, apply=Prediction),)
    trains = True

    estimator: Any = param(convert=EstimatorSpec.of)
    columns: Any = param(default=None, convert=selector)

    def validate(self) -> None:
        if _kind(self.estimator.build()) not in _TASK_KINDS:
            raise ConfigError(
                f"{self.estimator.kind.__name__} is neither a classifier nor a regressor.",
                mend='write po("sklearn", estimator) for one that transforms',
            )

    def check(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        self._learns_from(inputs["input"])
        return (None,), None

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        task = inputs["input"]
        names, x = self._learns_from(task)
        weights = task.weights()
        given = {} if weights is None else {"sample_weight": weights}
        estimator = self._made(ctx).fit(x, _labels(task), **given)
        layout = {name: task.types[name] for name in names}
        return (None,), {"layout": layout, "estimator": estimator}

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        task = inputs["input"]
        table = restored(task, state["layout"]).table()
        weights = task.weights()
        truth = task.truth()
        if task.kind == "regression":
            response = self._answer(state["estimator"], "predict", table)
            return (Prediction.regression(task.row_ids, response, truth, weights=weights),)
        prob = self._probabilities(state["estimator"], table, task)
        return (
            Prediction.classification(
                task.row_ids, prob, task.classes, truth, positive=task.positive, weights=weights
            ),
        )

    def _learns_from(self, task: Task) -> tuple[tuple[str, ...], Any]:
        """The columns to learn from, and the frame of them; refuses what cannot be learned."""
        names = self._features(task)
        _refuse_no_rows(self.estimator, task)
        return names, frame_for(self.estimator, task.table(names))

    def _features(self, task: Task) -> tuple[str, ...]:
        """The columns to learn from; refuses a task that the estimator cannot learn."""
        estimator = self.estimator.build()
        if _TASK_KINDS[_kind(estimator)] != task.kind:
            raise DataError(
                f"{self.estimator.kind.__name__} cannot learn this task.",
                why=f"it is a {_kind(estimator)}; the task is of kind {task.kind!r}",
                mend="choose another estimator or target",
            )
        if task.roles["weight"] and not _fit_takes(estimator, "sample_weight"):
            raise DataError(
                f"{self.estimator.kind.__name__} cannot use row weights.",
                where=f"column {task.roles['weight'][0]!r}",
                mend="take the role away: task.with_roles(weight=None)",
            )
        picked = task.features if self.columns is None else self.columns.pick(task)
        names = tuple(name for name in picked if task.types[name] != "tensor")
        if not names:
            raise DataError(f"{self.estimator.kind.__name__} has no features to learn from.")
        return names

    def _answer(self, estimator: Any, method: str, table: pa.Table) -> NDArray[Any]:
        if table.num_rows == 0:
            return np.zeros(0)
        return np.asarray(getattr(estimator, method)(frame_for(self.estimator, table)))

    def _probabilities(self, estimator: Any, table: pa.Table, task: Task) -> NDArray[Any]:
        place = {label: i for i, label in enumerate(task.classes)}
        if table.num_rows == 0:
            return np.zeros((0, len(place)))
        if not hasattr(estimator, "predict_proba"):
            labels = self._answer(estimator, "predict", table).tolist()
            return np.eye(len(place))[[place[label] for label in labels]]
        found = self._answer(estimator, "predict_proba", table)
        # Classes that had no rows in the fit are unknown to the estimator: probability 0.
        prob = np.zeros((len(found), len(place)), dtype=found.dtype)
        prob[:, [place[label] for label in np.asarray(estimator.classes_).tolist()]] = found
        return prob


_TASK_KINDS = {"classifier": "classification", "regressor": "regression"}


def _role(spec: Any, wanted: str) -> str:
    """``"transform"`` or ``"predict"``: what the node of an estimator does.

    Raises:
        ConfigError: The estimator cannot do it.
    """
    if isinstance(spec, Token):
        return _role(EstimatorSpec.of(spec.choices[0]), wanted) if spec.choices else "transform"
    estimator = spec.build()
    able = {"transform"} if hasattr(estimator, "transform") else set()
    if hasattr(estimator, "predict") and _kind(estimator) in _TASK_KINDS:
        able.add("predict")
    role = wanted if wanted != "auto" else "predict" if "predict" in able else "transform"
    if role not in able:
        raise not_supported(estimator)
    return role


def _kind(estimator: Any) -> str:
    from sklearn.utils import get_tags

    try:
        return str(get_tags(estimator).estimator_type)
    except (AttributeError, TypeError):  # not of scikit-learn, and without tags
        return str(getattr(estimator, "_estimator_type", ""))


def _refuse_no_rows(spec: EstimatorSpec, task: Task) -> None:
    if len(task) == 0:
        raise DataError(f"{spec.kind.__name__} needs rows to be fitted.")


def _fit_takes(estimator: Any, name: str) -> bool:
    from sklearn.utils.validation import has_fit_parameter

    return bool(has_fit_parameter(estimator, name))


def _labels(task: Task) -> NDArray[Any]:
    codes = task.target_codes()
    return np.array(task.classes)[codes] if task.classes else codes
