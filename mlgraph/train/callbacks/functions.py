"""A callback made of functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mlgraph.train.callback import Callback, refuse_arguments
from mlgraph.train.running import Running

Hook = Callable[..., Any] | None


class Functions(Callback):
    """A callback made of functions of the run, one for each event that matters.

    Those of predictions get a ``Predicting``. What they remember is their own affair, so a run
    that is resumed does not have it.

    >>> def announce(run):
    ...     print(run.epoch)
    >>> Functions(on_epoch_end=announce)
    callback("functions", on_epoch_end=announce)
    """

    on_train_begin: Hook = None
    on_epoch_begin: Hook = None
    on_batch_begin: Hook = None
    on_after_backward: Hook = None
    on_batch_end: Hook = None
    on_valid_begin: Hook = None
    on_valid_batch_begin: Hook = None
    on_valid_batch_end: Hook = None
    on_valid_end: Hook = None
    on_epoch_end: Hook = None
    on_train_end: Hook = None
    on_exit: Hook = None
    on_predict_begin: Hook = None
    on_predict_batch_end: Hook = None
    on_predict_end: Hook = None

    def validate(self) -> None:
        for name in self.changed():
            if callable(function := getattr(self, name)):
                refuse_arguments(function, ("run",), f"hook {name!r}")

    def hook(self, event: str) -> Any:
        function = getattr(self, event)
        return None if function is None else functools.partial(_without_memory, function)


def _without_memory(function: Callable[[Any], Any], run: Running, state: None) -> None:
    function(run)
