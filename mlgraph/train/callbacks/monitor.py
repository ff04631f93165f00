"""Scores by name: their values, and whether a greater one is better."""

from __future__ import annotations

from collections.abc import Mapping

from mlgraph.errors import ConfigError, did_you_mean, listing
from mlgraph.train.callback import Callback
from mlgraph.train.formula import TABLE


def is_greater_better(monitor: str) -> bool | None:
    """The direction of a score, as far as its name says it.

    >>> is_greater_better("valid_loss"), is_greater_better("valid_accuracy")
    (False, True)
    """
    name = monitor.removeprefix("valid_").removeprefix("train_")
    if name == "loss":
        return False
    return TABLE[name].greater_is_better if name in TABLE else None


def refuse_direction(
    callback: Callback,
    monitor: str,
    greater: bool | None,
    mend: str = "greater_is_better=True",
) -> None:
    """Refuse a score of which nobody knows whether it should be high or low.

    Args:
        callback: What watches the score.
        monitor: Its name.
        greater: Whether a greater one is better, if that was said.
        mend: How to say it.

    Raises:
        ConfigError: It is such a score.

    >>> refuse_direction(Callback(), "valid_loss", None)
    """
    if greater is None and is_greater_better(monitor) is None:
        raise ConfigError(
            f"Whether {monitor!r} should be high or low is not known.",
            where=repr(callback),
            mend=f"say so: {mend}. {did_you_mean(monitor, ['valid_loss', 'train_loss'])}".rstrip(),
        )


def refuse_without_validation(callback: Callback, monitor: str, validates: bool) -> None:
    """Refuse to watch a score that no epoch will have.

    Raises:
        ConfigError: There are no validation data, and it is none of training data.

    >>> refuse_without_validation(Callback(), "train_loss", False)
    """
    if not validates and not monitor.startswith("train_"):
        raise ConfigError(
            f"{callback.call_name()} needs validation data, and there are none.",
            mend="graph.fit(task, valid=0.2)",
        )


def monitored(callback: Callback, monitor: str, scores: Mapping[str, float]) -> float:
    """The score of this name.

    Raises:
        ConfigError: There is none.

    >>> monitored(Callback(), "valid_loss", {"valid_loss": 0.5})
    0.5
    """
    if monitor not in scores:
        raise ConfigError(
            f"There is no score {monitor!r} to monitor.",
            where=repr(callback),
            why=f"the scores are {listing(scores)}",
            mend=did_you_mean(monitor, scores) or "name it in metrics=",
        )
    return scores[monitor]
