"""EMA: an exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlgraph.core.param import param
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.averages import Averages
from mlgraph.train.running import Running


class Ema(Callback):
    """Validate and end with an exponential moving average of the weights.

    The network itself is trained as ever; a checkpoint holds both. Early stopping keeps and
    restores averaged weights.

    Args:
        decay: The share of the average that stays in each step of the optimizer.
        use_buffers: Average the statistics of batch normalisation as well, instead of using the
            network's.

    >>> Ema(decay=0.99)
    callback("ema", decay=0.99)
    """

    early = ("on_epoch_end",)
    weight: float = 500.0  # before early stopping, whose weights have the last word

    decay: float = param(default=0.999, lower=0, upper=1)
    use_buffers: bool = False

    def fixed(self) -> Mapping[str, Any]:
        return self.own()

    def start(self, run: Running) -> Averages:
        return Averages()

    def on_batch_end(self, run: Running, state: Averages) -> None:
        """Add the weights after a step of the optimizer."""
        if run.has_updated:
            state.add(run.network, 1 - self.decay, self.use_buffers)

    def on_valid_begin(self, run: Running, state: Averages) -> None:
        """Validate with the average."""
        state.put_in(run.network)

    # Not in on_valid_end: there, others look at the network that was validated; and before
    # others, which may change the weights that are trained.
    def on_epoch_end(self, run: Running, state: Averages) -> None:
        """Go on training with the network's own weights."""
        state.take_out(run.network)

    def on_train_end(self, run: Running, state: Averages) -> None:
        """End with the average."""
        if state.tensors:
            state.give(run.network)
