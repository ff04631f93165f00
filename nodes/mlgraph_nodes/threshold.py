"""Thresholds of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.data.prediction import Prediction
from mlgraph.errors import ConfigError, DataError, did_you_mean, listing

_Floats = NDArray[np.float64]


class Threshold(Node):
    """Choose classes by thresholds on their probabilities, which stay as they are.

    Args:
        thresholds: With two classes a number: the positive class is chosen if its probability is
            above. Else a number for every class, by which probabilities are divided before the
            largest is chosen; a class with 0 is chosen whenever it is possible at all. May be
            changed after fitting.

    Raises:
        DataError: Predictions have no probabilities, or classes do not fit.

    >>> node = Threshold(thresholds=0.2)
    >>> given = Prediction.classification([0], [[0.7, 0.3]], ("no", "yes"))
    >>> node.apply(None, {"input": given}, None)[0].response
    array(['yes'], dtype='<U3')
    """

    inputs = (Port("input", fit=None, apply=Prediction),)
    outputs = (Port("output", fit=None, apply=Prediction),)

    thresholds: float | Mapping[str, Any] = param(default=0.5, lower=0, upper=1, tags={"predict"})

    def validate(self) -> None:
        if isinstance(self.thresholds, float):
            return
        bad = [v for v in self.thresholds.values() if not isinstance(v, (int, float)) or v < 0]
        if bad or not any(self.thresholds.values()):
            raise ConfigError(
                f"{self.call_name()} cannot take these thresholds.",
                why="expected a number of at least 0 for every class, not all of them 0",
            )

    def fit(self, inputs: Mapping[str, Any], ctx: Context) -> tuple[Any, Any]:
        return (None,), None

    def apply(self, state: Any, inputs: Mapping[str, Any], ctx: Context) -> Any:
        prediction = inputs["input"]
        if prediction.prob is None:
            raise DataError("A threshold needs probabilities.", why="these are quantities")
        if prediction.classes is None:
            raise DataError(
                f"{self.call_name()} chooses between classes.",
                why=f"the prediction is of kind {prediction.kind!r}",
                mend="compare prediction.prob with thresholds of yours",
            )
        labels = np.array(prediction.classes)
        response = labels[self._codes(prediction, prediction.prob)]
        return (attrs.evolve(prediction, response=response),)

    def _codes(self, prediction: Prediction, prob: _Floats) -> NDArray[np.int64]:
        classes = prediction.classes or ()
        if not isinstance(self.thresholds, float):
            return self._by_class(classes, prob)
        if len(classes) != 2 or prediction.positive is None:
            raise DataError(
                "One threshold is for two classes.",
                why=f"there are {len(classes)}",
                mend='give one per class: thresholds={"class": 0.3, ...}',
            )
        positive = classes.index(prediction.positive)
        return np.where(prob[:, positive] > self.thresholds, positive, 1 - positive)

    def _by_class(self, classes: tuple[Any, ...], prob: _Floats) -> NDArray[np.int64]:
        given = {str(label): value for label, value in dict(self.thresholds).items()}  # type: ignore[arg-type]
        known = [str(label) for label in classes]
        wrong = sorted(given.keys() ^ set(known))
        if wrong:
            raise DataError(
                "The thresholds do not fit the classes.",
                why=f"the classes are {listing(known)}; the thresholds are of {listing(given)}",
                mend=did_you_mean(wrong[0], known) or "give every class one",
            )
        limits = np.array([given[label] for label in known], dtype=np.float64)
        ratio = np.where(limits > 0, prob / np.where(limits > 0, limits, 1.0), np.inf)
        chosen: NDArray[np.int64] = np.argmax(np.where(prob > 0, ratio, 0.0), axis=1)
        return chosen
