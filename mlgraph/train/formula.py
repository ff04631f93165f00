"""The metrics that have a name: which function of scikit-learn, for which tasks, which direction.

Classes come as codes ``0..K-1`` and probabilities as ``(rows, K)`` in the same order; of two
classes, code 1 is the positive one. Several labels come as 0 and 1, ``(rows, labels)``. A forecast
is a pair of means and standard deviations, or quantiles by level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from mlgraph.core.value import FrozenDict

Array = NDArray[Any]

BINARY = frozenset({"binary"})
MULTICLASS = frozenset({"multiclass"})
CLASSES = BINARY | MULTICLASS
REGRESSION = frozenset({"regression"})
TARGETS = frozenset({"multitarget"})
LABELS = frozenset({"multilabel"})
QUANTILE = frozenset({"quantile"})
NORMAL = frozenset({"normal"})
KINDS = CLASSES | REGRESSION | TARGETS | LABELS | QUANTILE | NORMAL


@attrs.frozen
class Formula:
    """A function of ``sklearn.metrics`` by name, or one of this module, with its options.

    It takes finite numbers; nobody looks again.

    Args:
        function: The name, or the function.
        options: Its further arguments.
        sign: -1 for a score that is better when greater, made of a loss.
        complete: Whether truth must have rows of every class.

    >>> Formula("mean_squared_error", sign=-1.0)(np.array([1.0]), np.array([3.0]))
    -4.0
    """

    function: str | Callable[..., Any]
    options: FrozenDict = attrs.field(factory=FrozenDict, converter=FrozenDict)
    sign: float = 1.0
    complete: bool = False

    def __call__(self, truth: Array, guess: Array, **weights: Any) -> float:
        function = self.function_()
        with _unchecked(function):
            return self.sign * float(function(truth, guess, **self.options, **weights))

    def function_(self) -> Callable[..., Any]:
        """The function itself; scikit-learn is imported only now."""
        if not isinstance(self.function, str):
            return self.function
        import sklearn.metrics

        found: Callable[..., Any] = getattr(sklearn.metrics, self.function)
        return found


def _unchecked(function: Callable[..., Any]) -> AbstractContextManager[None]:
    """scikit-learn need not look: parameters are those of the table, numbers are finite."""
    if not function.__module__.startswith("sklearn."):
        return nullcontext()
    from sklearn import config_context

    context: AbstractContextManager[None] = config_context(
        skip_parameter_validation=True, assume_finite=True
    )
    return context


@attrs.frozen
class Entry:
    """What is known of a metric with a name.

    >>> TABLE["rmse"].greater_is_better
    False
    """

    formula: Formula
    greater_is_better: bool | None
    needs: str
    kinds: frozenset[str]


def roc_auc(
    truth: Array,
    prob: Array,
    multi_class: str = "ovr",
    average: str = "macro",
    sample_weight: Array | None = None,
) -> Any:
    """Area under the curve of the positive class, or the mean of all classes or labels.

    >>> roc_auc(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    1.0
    """
    from sklearn.metrics import roc_auc_score

    if truth.ndim == 2:
        return roc_auc_score(truth, prob, average=average, sample_weight=sample_weight)
    if prob.shape[1] == 2:
        return roc_auc_score(truth, prob[:, 1], sample_weight=sample_weight)
    options = {"multi_class": multi_class, "average": average, "labels": range(prob.shape[1])}
    return roc_auc_score(truth, prob, sample_weight=sample_weight, **options)


def accuracy(truth: Array, guess: Array, sample_weight: Array | None = None) -> Any:
    """The share of rows whose class was predicted.

    It may be computed after every epoch; scikit-learn would spend most of its time on finding out
    that codes of classes are codes of classes.

    >>> accuracy(np.array([0, 1, 1, 1]), np.array([0, 1, 0, 1]))
    0.75
    """
    if not len(truth):
        from sklearn.metrics import accuracy_score

        return accuracy_score(truth, guess)  # it refuses them
    return float(np.average(truth == guess, weights=sample_weight))


def average_precision(truth: Array, prob: Array, sample_weight: Array | None = None) -> Any:
    """Average precision of the positive class, or the mean of all classes or labels.

    >>> average_precision(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    1.0
    """
    from sklearn.metrics import average_precision_score

    if truth.ndim == 2:
        return average_precision_score(truth, prob, sample_weight=sample_weight)
    if prob.shape[1] == 2:
        return average_precision_score(truth, prob[:, 1], sample_weight=sample_weight)
    return average_precision_score(_one_hot(truth, prob), prob, sample_weight=sample_weight)


def brier(truth: Array, prob: Array, sample_weight: Array | None = None) -> Any:
    """Mean squared error of the probability of the positive class, or the sum over all classes.

    >>> brier(np.array([1]), np.array([[0.5, 0.5]]))
    0.25
    """
    squares = (prob - _one_hot(truth, prob)) ** 2
    of_row = squares[:, 1] if prob.shape[1] == 2 else squares.sum(axis=1)
    return float(np.average(of_row, weights=sample_weight))


def with_labels(
    truth: Array, prob: Array, function: str, sample_weight: Array | None = None
) -> Any:
    """A function of scikit-learn that must be told which classes there are.

    >>> with_labels(np.array([1]), np.array([[0.0, 1.0]]), "log_loss") < 1e-9
    True
    """
    import sklearn.metrics

    called = getattr(sklearn.metrics, function)
    return called(truth, prob, labels=range(prob.shape[1]), sample_weight=sample_weight)


def pinball(
    truth: Array, quantiles: Mapping[float, Array], sample_weight: Array | None = None
) -> Any:
    """Pinball loss, averaged over the levels (Koenker and Bassett, 1978).

    >>> pinball(np.array([1.0]), {0.1: np.array([0.0]), 0.5: np.array([0.0])}).round(6)
    np.float64(0.3)
    """
    from sklearn.metrics import mean_pinball_loss

    return np.mean(
        [
            mean_pinball_loss(truth, guess, alpha=level, sample_weight=sample_weight)
            for level, guess in quantiles.items()
        ]
    )


def coverage(
    truth: Array, quantiles: Mapping[float, Array], sample_weight: Array | None = None
) -> Any:
    """Share of the rows between the lowest and the highest quantile.

    >>> float(coverage(np.array([1.0, 3.0]), {0.1: np.zeros(2), 0.9: np.array([2.0, 2.0])}))
    0.5
    """
    low, high = quantiles[min(quantiles)], quantiles[max(quantiles)]
    return np.average((low <= truth) & (truth <= high), weights=sample_weight)


def normal_nll(
    truth: Array, forecast: tuple[Array, Array], sample_weight: Array | None = None
) -> Any:
    """Negative log-likelihood of normal distributions.

    >>> float(normal_nll(np.zeros(1), (np.zeros(1), np.ones(1))).round(4))
    0.9189
    """
    mean, sigma = forecast
    loss = 0.5 * ((truth - mean) / sigma) ** 2 + np.log(sigma) + 0.5 * np.log(2 * np.pi)
    return np.average(loss, weights=sample_weight)


def normal_crps(
    truth: Array, forecast: tuple[Array, Array], sample_weight: Array | None = None
) -> Any:
    """Continuous ranked probability score of normal distributions (Gneiting and Raftery, 2007).

    >>> float(normal_crps(np.zeros(1), (np.zeros(1), np.ones(1))).round(4))
    0.2337
    """
    mean, sigma = forecast
    z = (truth - mean) / sigma
    below = torch.special.ndtr(torch.from_numpy(z)).numpy()
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    loss = sigma * (z * (2 * below - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return np.average(loss, weights=sample_weight)


def _one_hot(truth: Array, prob: Array) -> Array:
    return np.eye(prob.shape[1])[truth]


def _averaged() -> dict[str, Entry]:
    """The metrics of one class against the rest, and their averages over all classes."""
    found = {}
    for name in ("f1", "precision", "recall", "jaccard"):
        options = {"zero_division": 0.0}
        found[name] = Entry(Formula(f"{name}_score", options), True, "response", BINARY)
        for average in ("macro", "micro", "weighted"):
            formula = Formula(f"{name}_score", {**options, "average": average})
            found[f"{name}_{average}"] = Entry(formula, True, "response", CLASSES | LABELS)
        formula = Formula(f"{name}_score", {**options, "average": "samples"})
        found[f"{name}_samples"] = Entry(formula, True, "response", LABELS)
    return found


def _areas() -> dict[str, Entry]:
    found: dict[str, dict[str, str]] = {"roc_auc": {}}
    for multi_class in ("ovr", "ovo"):
        for average, suffix in (("macro", ""), ("weighted", "_weighted")):
            found[f"roc_auc_{multi_class}{suffix}"] = {
                "multi_class": multi_class,
                "average": average,
            }
    return {
        name: Entry(Formula(roc_auc, options, complete=True), True, "prob", _of_area(name))
        for name, options in found.items()
    }


def _of_area(name: str) -> frozenset[str]:
    return CLASSES | LABELS if name == "roc_auc" else CLASSES


def _of_labels() -> dict[str, Entry]:
    return {
        "hamming_loss": Entry(Formula("hamming_loss"), False, "response", LABELS),
        "subset_accuracy": Entry(Formula("accuracy_score"), True, "response", LABELS),
    }


def _of_forecasts() -> dict[str, Entry]:
    return {
        "pinball": Entry(Formula(pinball), False, "quantiles", QUANTILE),
        # Neither too low nor too high is good: near the distance of the levels.
        "coverage": Entry(Formula(coverage), None, "quantiles", QUANTILE),
        "nll": Entry(Formula(normal_nll), False, "se", NORMAL),
        "crps": Entry(Formula(normal_crps), False, "se", NORMAL),
    }


def _of_classes() -> dict[str, Entry]:
    by_response: dict[str, str | Callable[..., Any]] = {
        "accuracy": accuracy,
        "balanced_accuracy": "balanced_accuracy_score",
        "cohen_kappa": "cohen_kappa_score",
        "matthews_corrcoef": "matthews_corrcoef",
    }
    log_loss = Formula(with_labels, {"function": "log_loss"})
    d2 = Formula(with_labels, {"function": "d2_log_loss_score"})
    top = Formula(with_labels, {"function": "top_k_accuracy_score"})
    return {
        **{k: Entry(Formula(v), True, "response", CLASSES) for k, v in by_response.items()},
        "average_precision": Entry(
            Formula(average_precision, complete=True), True, "prob", CLASSES | LABELS
        ),
        "brier": Entry(Formula(brier), False, "prob", CLASSES),
        "brier_score": Entry(Formula(brier), False, "prob", CLASSES),
        "log_loss": Entry(log_loss, False, "prob", CLASSES),
        "d2_log_loss_score": Entry(d2, True, "prob", CLASSES),
        "top_k_accuracy": Entry(top, True, "prob", MULTICLASS),
    }


def _of_quantities() -> dict[str, Entry]:
    losses = {
        "rmse": "root_mean_squared_error",
        "mse": "mean_squared_error",
        "mae": "mean_absolute_error",
        "mape": "mean_absolute_percentage_error",
        "msle": "mean_squared_log_error",
        "rmsle": "root_mean_squared_log_error",
        "medae": "median_absolute_error",
        "max_error": "max_error",
        "mean_poisson_deviance": "mean_poisson_deviance",
        "mean_gamma_deviance": "mean_gamma_deviance",
    }
    scores = {
        "r2": "r2_score",
        "explained_variance": "explained_variance_score",
        "d2_absolute_error_score": "d2_absolute_error_score",
    }
    names = {**losses, **{function: function for function in losses.values()}}
    return {
        **{k: Entry(Formula(v), False, "response", _of_targets(v)) for k, v in names.items()},
        **{k: Entry(Formula(v), True, "response", _of_targets(v)) for k, v in scores.items()},
    }


def _of_targets(function: str) -> frozenset[str]:
    """Most are averaged over several targets; some are not defined for them."""
    single = function == "max_error" or function.endswith("_deviance")
    return REGRESSION if single else REGRESSION | TARGETS


def _negated(table: Mapping[str, Entry]) -> dict[str, Entry]:
    return {
        f"neg_{name}": attrs.evolve(
            entry, formula=attrs.evolve(entry.formula, sign=-1.0), greater_is_better=True
        )
        for name, entry in table.items()
        if entry.greater_is_better is False
    }


def _table() -> FrozenDict:
    table = {**_of_classes(), **_averaged(), **_areas(), **_of_quantities()}
    table |= {**_of_labels(), **_of_forecasts()}
    return FrozenDict({**table, **_negated(table)})


# The average a name means without one.
AVERAGES = FrozenDict(
    {
        **dict.fromkeys(("f1", "precision", "recall", "jaccard"), "binary"),
        **dict.fromkeys(("roc_auc", "roc_auc_ovr", "roc_auc_ovo", "average_precision"), "macro"),
    }
)
TABLE = _table()
