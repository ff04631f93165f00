"""Nodes that transform targets that are quantities, and predictions back.

A target transformation has two outputs: the task with the new target, and ``fun``, which knows the
way back. ``targetinvert`` takes ``fun`` and a prediction. ``with_target`` wires all of it:

    task -> targetscale -> output -> graph -> targetinvert -> prediction
                        -> fun ------------->
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.graph import Graph, to_graph
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.data.answers import known_floats
from mlgraph.data.prediction import Prediction
from mlgraph.data.rowids import align_positions
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError, DataError, GraphError, listing

_Floats = NDArray[np.float64]


@attrs.frozen(eq=False)
class TargetInverse:
    """The way back from predictions of a transformed target.

    Args:
        function: From transformed quantities to those of the target; of several targets it takes
            and returns ``(rows, targets)``.
        row_ids: Ids of the rows that were transformed.
        truth: Their targets before, NaN where missing; ``None`` without a target.

    >>> inverse = TargetInverse(np.exp, np.array([0]), np.array([8.0]))
    >>> inverse.invert(Prediction.regression([0], [0.0])).response
    array([1.])
    """

    function: Callable[[_Floats], _Floats]
    row_ids: NDArray[np.int64]
    truth: _Floats | None = None

    def invert(self, prediction: Prediction) -> Prediction:
        """The prediction in units of the target: response, standard errors, quantiles and truth.

        A standard error or deviation becomes half the distance between the ends of its interval,
        which is exact for linear functions. Where the function falls, quantiles change places.

        Raises:
            DataError: The prediction is of other rows.
        """
        response = prediction.response
        return attrs.evolve(
            prediction,
            response=self._back(response),
            truth=known_floats(self._truth(prediction)),
            se=None if prediction.se is None else self._spread(response, prediction.se),
            quantiles=self._quantiles(prediction),
        )

    def _back(self, values: _Floats) -> _Floats:
        with np.errstate(all="ignore"):
            return np.asarray(self.function(values), dtype=np.float64)

    def _spread(self, response: _Floats, se: _Floats) -> _Floats:
        return np.asarray(np.abs(self._back(response + se) - self._back(response - se)) / 2)

    def _quantiles(self, prediction: Prediction) -> dict[float, _Floats] | None:
        if prediction.quantiles is None:
            return None
        step = np.maximum(np.abs(prediction.response), 1.0) * 1e-3
        rise = self._back(prediction.response + step) - self._back(prediction.response - step)
        falls = bool(np.nansum(rise) < 0)
        back = {
            round(1 - level, 12) if falls else level: self._back(values)
            for level, values in prediction.quantiles.items()
        }
        return dict(sorted(back.items()))

    def _truth(self, prediction: Prediction) -> _Floats | None:
        if self.truth is None or np.array_equal(prediction.row_ids, self.row_ids):
            return self.truth
        return self.truth[align_positions(prediction.row_ids, self.row_ids)]


class TargetTransform(Node):
    """Base of nodes that transform targets that are quantities; outputs ``fun`` and the task.

    Subclasses say what is learned from a target, the way there and the way back; of several
    targets each is learned and transformed on its own.

    Class attributes:
        linear: Whether the way is a shift and a scaling, which keep distributions what they are.

    >>> class Halve(TargetTransform):
    ...     def learn(self, target):
    ...         return 2.0
    ...
    ...     def forward(self, state, values):
    ...         return values / state
    ...
    ...     def backward(self, state, values):
    ...         return values * state
    >>> fitted = Halve().as_graph().fit(Task({"a": [1], "y": [3.0]}, target="y"))
    >>> fitted.outputs["halve.output"].target_codes()
    array([1.5])
    """

    inputs = (Port("input", Task),)
    outputs = (Port("fun", TargetInverse), Port("output", Task))
    linear: ClassVar[bool] = False
    how_to_join = (
        "put it around the graph that is to learn the new target: from mlgraph_nodes.target "
        "import with_target, then with_target(graph, node)"
    )

    @abstractmethod
    def learn(self, target: _Floats) -> Any:
        """What is learned from the target: plain data."""

    @abstractmethod
    def forward(self, state: Any, values: _Floats) -> _Floats:
        """Targets as the model sees them."""

    @abstractmethod
    def backward(self, state: Any, values: _Floats) -> _Floats:
        """The reverse of ``forward``."""

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        task = inputs["input"]
        self._refuse_kind(task)
        target = task.target_codes()
        state = {"learned": _each(lambda part: self.learn(part[~np.isnan(part)]), target)}
        changed = self._forward(state, target)
        for name, old, new in zip(task.targets, _parts(target), _parts(changed), strict=True):
            self._refuse_lost(name, old, new, task)
        return self.apply(state, inputs, ctx), state

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        task = inputs["input"]
        back = _Backward(self, state["learned"])
        if not task.targets:
            return TargetInverse(back, task.row_ids), task
        target = task.target_codes()
        values = self._forward(state, target)
        # What is undefined for new data is no target there; the truth is still restored.
        new = task.with_target_values(np.where(np.isfinite(values), values, np.nan))
        return TargetInverse(back, task.row_ids, target), new

    def _forward(self, state: Mapping[str, Any], target: _Floats) -> _Floats:
        return _mapped(self._forward_one, state["learned"], target)

    def _forward_one(self, learned: Any, target: _Floats) -> _Floats:
        with np.errstate(all="ignore"):
            values = np.asarray(self.forward(learned, target), dtype=np.float64)
        if values.shape != target.shape:
            raise DataError(
                f"{self.call_name()} must make one value of every target.",
                why=f"{len(target)} targets became an array of shape {values.shape}",
            )
        return values

    def _refuse_kind(self, task: Task) -> None:
        allowed = task.goal.type.transforms
        if allowed == "none":
            raise DataError(
                f"{self.call_name()} transforms quantities.",
                why=f"the task is of kind {task.kind!r}",
                mend="use it in regression only",
            )
        if allowed == "linear" and not self.linear:
            raise DataError(
                f"{self.call_name()} cannot transform the target of a task of kind {task.kind!r}.",
                why="what is predicted would be of another kind once it is transformed back",
                mend='use po("targetscale"), which shifts and scales, or another kind of task',
            )

    def _refuse_lost(self, name: str, old: _Floats, new: _Floats, task: Task) -> None:
        lost = ~np.isfinite(new) & ~np.isnan(old)
        if lost.any():
            raise DataError(
                f"{self.call_name()} makes {int(lost.sum())} targets infinite or undefined.",
                where=f"column {name!r}",
                why=f"row {task.row_ids[lost][0]}: {old[lost][0]}",
                mend="choose a function that is defined for all targets",
            )


@attrs.frozen
class _Backward:
    """``backward`` of a node with what it learned; unlike a closure, it can be pickled."""

    node: TargetTransform
    state: Any

    def __call__(self, values: _Floats) -> _Floats:
        return _mapped(self.node.backward, self.state, values)


def _parts(values: _Floats) -> list[_Floats]:
    """The values of each target."""
    return [values] if values.ndim == 1 else list(values.T)


def _each(function: Callable[[_Floats], Any], values: _Floats) -> Any:
    """What a function gives for the target, or a tuple with what it gives for each of several."""
    return function(values) if values.ndim == 1 else tuple(map(function, values.T))


def _mapped(function: Callable[[Any, _Floats], _Floats], state: Any, values: _Floats) -> _Floats:
    """Values changed by a function, each target with its own state."""
    if values.ndim == 1:
        return function(state, values)
    parts = [function(one, part) for one, part in zip(state, values.T, strict=True)]
    return np.column_stack(parts)


class TargetScale(TargetTransform):
    """Standardise the target: mean 0, standard deviation 1. A constant one becomes 0.

    >>> fitted = TargetScale().as_graph().fit(Task({"a": [1, 2], "y": [1.0, 3.0]}, target="y"))
    >>> fitted.outputs["targetscale.output"].target_codes()
    array([-1., 1.])
    """

    key = "targetscale"
    linear = True

    def learn(self, target: _Floats) -> Any:
        if len(target) == 0 or target.min() == target.max():
            return {"center": float(target[0]) if len(target) else 0.0, "scale": 1.0}
        return {"center": float(target.mean()), "scale": float(target.std()) or 1.0}

    def forward(self, state: Any, values: _Floats) -> _Floats:
        return np.asarray((values - state["center"]) / state["scale"])

    def backward(self, state: Any, values: _Floats) -> _Floats:
        return np.asarray(values * state["scale"] + state["center"])


class TargetTrafoScaleRange(TargetTransform):
    """Map the range of the target to an interval; a constant one goes to its lower end.

    Args:
        lower: What the smallest target becomes.
        upper: What the largest becomes.

    Raises:
        ConfigError: The interval is empty.

    >>> task = Task({"a": [1, 2], "y": [1.0, 3.0]}, target="y")
    >>> fitted = TargetTrafoScaleRange().as_graph().fit(task)
    >>> fitted.outputs["targettrafoscalerange.output"].target_codes()
    array([0., 1.])
    """

    key = "targettrafoscalerange"
    linear = True

    lower: float = 0.0
    upper: float = 1.0

    def validate(self) -> None:
        if self.lower >= self.upper:
            raise ConfigError(
                f"{self.call_name()} needs an interval.",
                why=f"lower={self.lower} is not below upper={self.upper}",
            )

    def learn(self, target: _Floats) -> Any:
        low, high = (target.min(), target.max()) if len(target) else (0.0, 0.0)
        return {"low": float(low), "scale": float(high - low) / (self.upper - self.lower) or 1.0}

    def forward(self, state: Any, values: _Floats) -> _Floats:
        return np.asarray((values - state["low"]) / state["scale"] + self.lower)

    def backward(self, state: Any, values: _Floats) -> _Floats:
        return np.asarray((values - self.lower) * state["scale"] + state["low"])


class TargetMutate(TargetTransform):
    """Transform the target by a function of yours, and predictions back by another.

    Both get an array of floats and return one.

    Args:
        trafo: From the target to what the model sees.
        inverter: The way back; by default predictions stay as they are.

    Raises:
        DataError: The function is not defined for some target of the fit.

    >>> task = Task({"a": [1, 2], "y": [1.0, 1.0]}, target="y")
    >>> fitted = TargetMutate(trafo=np.log, inverter=np.exp).as_graph().fit(task)
    >>> fitted.outputs["targetmutate.output"].target_codes()
    array([0., 0.])
    """

    key = "targetmutate"

    trafo: Callable[..., Any] = param()
    inverter: Callable[..., Any] | None = None

    def learn(self, target: _Floats) -> Any:
        return None

    def forward(self, state: Any, values: _Floats) -> _Floats:
        return np.asarray(self.trafo(values))

    def backward(self, state: Any, values: _Floats) -> _Floats:
        return values if self.inverter is None else np.asarray(self.inverter(values))


class TargetInvert(Node):
    """Bring predictions of a transformed target back to the target; truth, too.

    >>> TargetInvert().ports()[0][0]
    Port('fun', TargetInverse)
    """

    key = "targetinvert"
    inputs = (Port("fun", TargetInverse), Port("prediction", fit=None, apply=Prediction))
    outputs = (Port("output", fit=None, apply=Prediction),)

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        return (None,), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        return (inputs["fun"].invert(inputs["prediction"]),)


def with_target(graph: Any, trafo: TargetTransform) -> Graph:
    """A graph that learns a transformed target, and predicts the target itself.

    Args:
        graph: A graph whose inputs take tasks and whose one output is a prediction.
        trafo: The transformation.

    Raises:
        GraphError: The graph has no input, or not exactly one output.

    >>> from mlgraph_nodes.estimator import Learner
    >>> from sklearn.linear_model import LinearRegression
    >>> graph = with_target(Learner(estimator=LinearRegression), TargetScale())
    >>> task = Task({"a": [1.0, 2.0, 3.0], "y": [10.0, 20.0, 30.0]}, target="y")
    >>> graph.fit(task).predict({"a": [4.0]}).response.round(6)
    array([40.])
    """
    inner = to_graph(graph)
    if len(inner.outputs) != 1 or not inner.inputs:
        raise GraphError(
            "with_target needs a graph with inputs and one output.",
            why=f"it has {listing(inner.inputs)} and {listing(inner.outputs)}",
        )
    whole = trafo.as_graph() & inner & TargetInvert()
    _, *inside, back, prediction = whole.inputs
    fun, changed, predicted, _ = whole.outputs
    for address in inside:
        whole = whole.connect(changed, address)
    return whole.connect(fun, back).connect(predicted, prediction)
