"""Metrics: scikit-learn's by name, or functions of truth and response, for predictions.

``rmse``, ``mae``, ``mse``, ``log_loss`` and other losses are positive and better when smaller; with
``neg_`` in front they are scikit-learn's scorers, better when greater.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np

from mlgraph.core.param import shown
from mlgraph.data.goal import task_types
from mlgraph.data.prediction import Prediction
from mlgraph.errors import ConfigError, DataError, UnknownKeyError, did_you_mean, listing
from mlgraph.train.formula import AVERAGES, CLASSES, KINDS, TABLE, Formula
from mlgraph.train.metric_inputs import (
    Array,
    check_both,
    check_finite,
    check_present,
    codes_of,
    known_truth,
    order_of,
    weights_for,
)

# What is usual for predictions of these; the first that fits.
_DEFAULTS = {
    "quantile": "pinball",
    "normal": "nll",
    **dict.fromkeys(("binary", "multiclass"), "accuracy"),
    **dict.fromkeys(("regression", "multitarget"), "rmse"),
    "multilabel": "hamming_loss",
}


@attrs.frozen(repr=False)
class Metric:
    """A metric, which gives a number for a prediction; made with ``metric``.

    Args:
        name: What its column is called.
        fn: The computation: a formula, or the user's function of truth and response.
        greater_is_better: None if nobody said.
        needs: ``"response"``, ``"prob"``, ``"quantiles"`` or ``"se"``.
        kinds: The kinds of task it is for.

    >>> metric("mae")(Prediction.regression([0, 1], [1.0, 2.0], [1.0, 4.0]))
    1.0
    """

    name: str
    fn: Callable[..., Any]
    greater_is_better: bool | None = None
    needs: str = "response"
    kinds: frozenset[str] = KINDS

    def __call__(self, prediction: Prediction) -> float:
        """The value for this prediction, weighted by its row weights.

        Raises:
            DataError: Truth or probabilities are missing or not finite, or a class the metric
                needs is absent.
        """
        truth = known_truth(prediction)
        if isinstance(self.fn, Formula):
            value = self._computed(self.fn, prediction, truth)
        else:
            weights = weights_for(self.fn, prediction)
            value = self.fn(truth, prediction.response, **weights)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"Metric {self.name!r} does not give a number.",
                why=f"it returned {shown(value)}",
                mend="return one float for all rows",
            ) from error

    def __repr__(self) -> str:
        return f"metric({self.name!r})"

    def _computed(self, formula: Formula, prediction: Prediction, truth: Array) -> float:
        weights = weights_for(formula.function_(), prediction)
        if prediction.kind != "classification":
            return self._of_numbers(formula, prediction, truth, weights)
        order = order_of(prediction)
        classes = [(prediction.classes or ())[place] for place in order]
        codes = codes_of(truth, classes)
        if formula.complete:
            check_present(self.name, codes, classes)
        if self.needs == "response":
            return self._value(formula, codes, codes_of(prediction.response, classes), weights)
        return self._value(formula, codes, self._guess(prediction)[:, order], weights)

    def _of_numbers(
        self, formula: Formula, prediction: Prediction, truth: Array, weights: Mapping[str, Any]
    ) -> float:
        guess = self._guess(prediction)
        if prediction.kind == "multilabel":
            truth = truth.astype(np.int64)
            guess = guess.astype(np.int64) if self.needs == "response" else guess
        if formula.complete:
            check_both(self.name, truth, prediction.targets or ())
        return self._value(formula, truth, guess, weights)

    def _value(
        self, formula: Formula, truth: Array, guess: Any, weights: Mapping[str, Any]
    ) -> float:
        check_finite(self.name, truth, guess, *weights.values())
        return formula(truth, guess, **weights)

    def _guess(self, prediction: Prediction) -> Any:
        """What the metric compares with the truth."""
        found = getattr(prediction, self.needs)
        if found is None:
            words = {"prob": "probabilities", "se": "standard deviations"}
            usual = _usual(families(prediction) - {"quantile", "normal"})
            raise DataError(
                f"Metric {self.name!r} needs {words.get(self.needs, self.needs)}, "
                "the prediction has none.",
                mend=f"use a metric of the response, such as {usual!r}",
            )
        return (prediction.response, found) if self.needs == "se" else found


Given: TypeAlias = str | Callable[..., Any] | Metric
Several: TypeAlias = Given | Sequence[Given] | Mapping[str, Given] | None


def metric(
    given: Given, *, average: str | None = None, greater_is_better: bool | None = None
) -> Metric:
    """Make a metric.

    Args:
        given: A name, or a function of truth and response (and ``sample_weight`` if it likes).
        average: How to average over classes, for ``f1`` and its like: ``"macro"``, ...
        greater_is_better: Which direction is better, for a function.

    Raises:
        UnknownKeyError: No metric has this name.
        ConfigError: It cannot be averaged in this way, or is neither name nor function.

    >>> metric("f1", average="macro").name
    'f1_macro'
    """
    if isinstance(given, str):
        made = _named(given, average)
    elif average is not None:
        raise ConfigError("Only a metric with a name takes average=.", why=f"got {shown(given)}")
    else:
        made = given if isinstance(given, Metric) else _own(given)
    if greater_is_better is None or greater_is_better == made.greater_is_better:
        return made
    if made.greater_is_better is not None:
        raise ConfigError(
            f"The direction of metric {made.name!r} cannot be changed.",
            why=f"greater_is_better is {made.greater_is_better}",
            mend="leave out greater_is_better",
        )
    return attrs.evolve(made, greater_is_better=greater_is_better)


def resolve(metrics: Several, kind: str | Collection[str]) -> dict[str, Metric]:
    """The metrics by name, checked against the kind of task.

    Args:
        metrics: One, several, a dict that gives them names, or None for the usual one.
        kind: The key of a kind of task, ``"binary"`` or ``"multiclass"``; or what metrics see
            in its predictions, ``TaskType.scores``.

    Raises:
        UnknownKeyError: No metric has one of the names.
        ConfigError: One does not fit the kind of task, or two have the same name.

    >>> resolve(["rmse", "r2"], "regression")
    {'rmse': metric('rmse'), 'r2': metric('r2')}
    """
    family = _family(kind)
    if not family:
        what = f"kind {kind!r}" if isinstance(kind, str) else "this kind"
        raise ConfigError(
            f"A task of {what} has no metrics.",
            mend="give it a target; a kind of your own says what its predictions are in scores=",
        )
    found: dict[str, Metric] = {}
    for item in _each(metrics, family):
        if item.name in found:
            raise ConfigError(
                f"Two metrics are called {item.name!r}.",
                mend='name them in a dict, such as {"first": ..., "second": ...}',
            )
        found[item.name] = item
        if not item.kinds & family:
            raise _wrong_kind(item, kind, family)
    return found


def score(prediction: Prediction, metrics: Several = None) -> float | dict[str, float]:
    """How good predictions are: a number for one metric, a dict for several.

    Args:
        prediction: Predictions with truth.
        metrics: As for ``resolve``; by default what the kind of task names, such as accuracy or
            the root mean squared error.

    Raises:
        DataError: Truth is missing, or there are no rows.
        ConfigError: A metric does not fit the kind of task.

    >>> prediction = Prediction.regression([0, 1], [1.0, 2.0], [1.0, 4.0])
    >>> score(prediction, ["mae", "max_error"])
    {'mae': 1.0, 'max_error': 2.0}
    """
    if metrics is None and prediction.metrics:
        chosen: Several = (
            prediction.metrics[0] if len(prediction.metrics) == 1 else (prediction.metrics)
        )
        return score(prediction, chosen)
    found = resolve(metrics, families(prediction))
    values = {name: item(prediction) for name, item in found.items()}
    single = metrics is None or isinstance(metrics, str) or callable(metrics)
    return next(iter(values.values())) if single else values


def families(prediction: Prediction) -> frozenset[str]:
    """What metrics see in a prediction.

    >>> sorted(families(Prediction.regression([0], [1.0], se=[1.0])))
    ['normal', 'regression']
    """
    if prediction.kind == "classification":
        return frozenset({"binary" if len(prediction.classes or ()) == 2 else "multiclass"})
    more = {"quantile": prediction.quantiles, "normal": prediction.se}
    return frozenset({prediction.kind, *(k for k, values in more.items() if values is not None)})


def metrics_for(kind: str | Collection[str]) -> tuple[str, ...]:
    """The names of all metrics for a kind of task.

    >>> "log_loss" in metrics_for("classification"), "log_loss" in metrics_for("regression")
    (True, False)
    """
    family = _family(kind)
    return tuple(name for name, entry in TABLE.items() if entry.kinds & family)


def _named(name: str, average: str | None) -> Metric:
    full = name if average in (None, AVERAGES.get(name)) else f"{name}_{average}"
    if full in TABLE:
        entry = TABLE[full]
        return Metric(full, entry.formula, entry.greater_is_better, entry.needs, entry.kinds)
    if name not in TABLE:
        raise UnknownKeyError(
            f"No metric is called {name!r}.",
            why=f"the names are {listing(TABLE, 100)}",
            mend=did_you_mean(name, TABLE) or "pass a function of truth and response",
        )
    known = [other.removeprefix(f"{name}_") for other in TABLE if other.startswith(f"{name}_")]
    raise ConfigError(
        f"Metric {name!r} has no average {average!r}.",
        why=f"it has {listing(known)}" if known else "it is not an average over classes",
        mend=did_you_mean(average, known) or "leave out average",
    )


def _own(given: object) -> Metric:
    if hasattr(given, "_score_func") or isinstance(given, type) or not callable(given):
        raise ConfigError(
            f"{shown(given)} is not a metric.",
            why="a metric is a name or a function of truth and response",
            mend="of a scikit-learn scorer, pass the name or the function it is made of",
        )
    inner = getattr(given, "func", given)
    return Metric(getattr(inner, "__name__", type(inner).__name__).strip("<>"), given)


def _each(metrics: Several, family: frozenset[str]) -> list[Metric]:
    if metrics is None:
        return [metric(_usual(family))]
    if isinstance(metrics, str) or callable(metrics):
        return [metric(metrics)]
    if isinstance(metrics, Mapping):
        return [attrs.evolve(metric(item), name=name) for name, item in metrics.items()]
    if not isinstance(metrics, Sequence):
        raise ConfigError(f"{shown(metrics)} are no metrics.", mend="pass a name or a list")
    return [metric(item) for item in metrics]


def _family(kind: str | Collection[str]) -> frozenset[str]:
    if not isinstance(kind, str):
        return frozenset(kind)
    if kind in CLASSES:
        return frozenset({kind})
    known = task_types()
    return frozenset(known[kind].scores) if kind in known else frozenset()


def _usual(family: Collection[str]) -> str:
    return next(name for key, name in _DEFAULTS.items() if key in family)


def _wrong_kind(item: Metric, kind: str | Collection[str], family: frozenset[str]) -> ConfigError:
    near = [name for name in metrics_for(kind) if name.startswith(item.name)]
    known = kind if isinstance(kind, str) else " or ".join(sorted(family))
    return ConfigError(
        f"{item.name!r} is the wrong metric for the task.",
        why=f"the task is {known}, the metric is for {' and '.join(sorted(item.kinds))}",
        mend=f"use {near[0] if near else _usual(family)!r}",
    )
