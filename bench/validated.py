"""The training of ``contestants.py`` with all that goes on beside it in practice.

After every epoch each contestant computes the loss and a metric on the same validation rows, in
one batch, keeps all of it in a history, and shows it: the libraries as they do by themselves, on a
screen that nobody sees. The loop written by hand shows nothing.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import thread_time
from typing import Any, cast

import torch
from rich import progress
from torch.utils.data import DataLoader, TensorDataset

from bench.contestants import OPTIMIZERS, RATE, Setting, Ticking, graph_of, task_of
from bench.relay import Tick

PREDICTING = 1024  # rows in a batch without gradients; more than there are


def by_hand(s: Setting, tick: Tick) -> None:
    """A loop over slices with a fused optimizer, and an evaluation after each epoch."""
    (x, y), (valid_x, valid_y) = s.data(), s.valid_data()
    network = s.network()
    optimizer = s.build(network.parameters(), fused=True)
    history = []
    for epoch in range(1, s.epochs + 1):
        losses = []
        network.train()
        for i in range(0, s.rows, s.batch):
            optimizer.zero_grad()
            loss = s.loss(network(x[i : i + s.batch]), y[i : i + s.batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        network.eval()
        with torch.no_grad():
            output = network(valid_x)
            scores = {"valid_loss": float(s.loss(output, valid_y))}
            scores[f"valid_{s.metric}"] = float(s.score(output, valid_y))
        history.append({"epoch": epoch, "train_loss": s.mean(losses), **scores})
        tick(told(history[-1], s))


def with_mlgraph(s: Setting, tick: Tick) -> None:
    """A graph and its ``fit`` with validation data and progress bar."""
    graph = graph_of(s, Ticking(setting=s, tick=tick, told=lambda scores: told(scores, s)))
    shown = graph.with_params(torch_model__metrics=[s.metric], torch_model__progress=True)
    shown.fit(task_of(s), valid=task_of(s, s.valid_data()), seed=1)


def with_skorch(s: Setting, tick: Tick) -> None:
    """An estimator of skorch with its history and table, and a score of scikit-learn."""
    import skorch
    from skorch import callbacks as offered
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    class Ending(offered.Callback):  # type: ignore[misc]
        def on_epoch_end(self, net: Any, **_: Any) -> None:
            tick(told(net.history[-1], s))

    scored = "accuracy" if s.metric == "accuracy" else "neg_root_mean_squared_error"
    scoring = offered.EpochScoring(scored, lower_is_better=False, name=f"valid_{s.metric}")
    kind = skorch.NeuralNetBinaryClassifier if s.metric == "accuracy" else skorch.NeuralNetRegressor
    valid = Dataset(*_shaped(s, *s.valid_data()))
    model = kind(
        s.network(),
        optimizer=OPTIMIZERS[s.optimizer],
        optimizer__fused=True,
        lr=RATE,
        batch_size=s.batch,
        iterator_valid__batch_size=PREDICTING,
        max_epochs=s.epochs,
        iterator_train__shuffle=False,
        train_split=predefined_split(valid),
        callbacks=[("scoring", scoring), ("ending", Ending())],
        **({"callbacks__valid_acc": None} if s.metric == "accuracy" else {}),
    )
    model.fit(*_shaped(s, *s.data()))


def with_lightning(s: Setting, tick: Tick) -> None:
    """The ``Trainer`` of Lightning with a bar; what it would write to files is switched off."""
    from lightning import pytorch as lightning
    from lightning.pytorch.callbacks import TQDMProgressBar

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=s.epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[TQDMProgressBar()],
        )
        trainer.fit(
            _lightning_module(s, tick),
            DataLoader(TensorDataset(*s.data()), s.batch),
            DataLoader(TensorDataset(*s.valid_data()), PREDICTING),
        )


VALIDATED: dict[str, Callable[[Setting, Tick], None]] = {
    "hand": by_hand,
    "again": by_hand,
    "mlgraph": with_mlgraph,
    "skorch": with_skorch,
    "lightning": with_lightning,
}


def told(scores: Any, s: Setting) -> float:
    """All scores of an epoch as one number, so that nobody can leave out one of them."""
    names = ("train_loss", "valid_loss", f"valid_{s.metric}")
    return float(sum(abs(scores[name]) for name in names))  # scikit-learn's errors are negative


class Screen(io.TextIOWrapper):
    """A terminal that nobody looks at: what is written is encoded, passed on and gone."""

    def __init__(self) -> None:
        super().__init__(open(os.devnull, "wb"), encoding="utf-8", line_buffering=True)

    def isatty(self) -> bool:
        """Programs show here what they show in terminals."""
        return True


@contextmanager
def rendering() -> Iterator[None]:
    """What is shown is rendered, and each contestant pays for its own."""
    before = sys.stdout, sys.stderr, progress.Progress, os.environ.get("TERM")
    cast(Any, progress).Progress = _Bar
    os.environ["TERM"] = "xterm-256color"
    sys.stdout = sys.stderr = Screen()
    try:
        yield
    finally:
        sys.stdout.close()
        sys.stdout, sys.stderr, cast(Any, progress).Progress, term = before
        os.environ.pop("TERM")
        os.environ.update({} if term is None else {"TERM": term})


class _Bar(progress.Progress):
    """The bar of rich, drawn as often as by its thread but in the time of whoever uses it.

    Its thread would draw while the others have their turns. Nor does it take the screen away from
    them.
    """

    def __init__(self, *columns: Any, **options: Any) -> None:
        redirect = {"redirect_stdout": False, "redirect_stderr": False}
        super().__init__(*columns, **{**options, **redirect, "auto_refresh": False})
        self._drawn = thread_time()

    def update(self, *arguments: Any, **options: Any) -> None:
        """Update, and draw it if it is time."""
        super().update(*arguments, **options)
        if thread_time() - self._drawn >= 1 / self.live.refresh_per_second:
            self._drawn = thread_time()
            self.refresh()


def _shaped(s: Setting, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Data as skorch wants them: the target of a binary classification is a vector."""
    return (x, y[:, 0]) if s.metric == "accuracy" else (x, y)


def _lightning_module(s: Setting, tick: Tick) -> Any:
    from lightning import pytorch as lightning

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = s.network()
            self.history: list[dict[str, float]] = []

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return s.build(self.network.parameters(), fused=True)

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            loss = s.loss(self.network(batch[0]), batch[1])
            size = len(batch[0])
            self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=size)
            return loss

        def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
            output, size = self.network(batch[0]), len(batch[0])
            scores = {"valid_loss": s.loss(output, batch[1])}
            scores[f"valid_{s.metric}"] = s.score(output, batch[1])
            self.log_dict(scores, prog_bar=True, batch_size=size)

        def on_train_epoch_end(self) -> None:
            found = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
            self.history.append(found)

    return _ticking(Module(), s, tick)


def _ticking(module: Any, s: Setting, tick: Tick) -> Any:
    """Lightning knows the mean of the training only after the epoch has ended."""
    ended = module.on_train_epoch_end

    def on_train_epoch_end() -> None:
        ended()
        tick(told(module.history[-1], s))

    module.on_train_epoch_end = on_train_epoch_end
    return module
