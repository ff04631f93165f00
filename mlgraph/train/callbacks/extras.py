"""Callbacks that write for other programs; what they need is an extra of the installation."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import attrs

from mlgraph.core.extra import needed
from mlgraph.core.files import as_path
from mlgraph.core.param import param
from mlgraph.errors import ConfigError
from mlgraph.train.callback import Callback
from mlgraph.train.running import Running


@attrs.define(eq=False)
class Writers:
    """What writes the event files of a run; nothing of it is saved.

    >>> Writers(None).state_dict()
    {'begun': False}
    """

    make: Any
    begun: bool = False
    epochs: Any = None
    steps: Any = None

    def state_dict(self) -> dict[str, bool]:
        """Whether the folder is this run's."""
        return {"begun": self.begun}

    def load_state_dict(self, saved: dict[str, bool]) -> None:
        """Go on in the folder of an earlier run."""
        self.begun = saved["begun"]


class Tensorboard(Callback):
    """Write the scores of each epoch for TensorBoard (extra ``tensorboard``).

    Args:
        path: A folder that is new, empty, or holds event files already.
        log_train_loss: Write the loss of every step as well, in the folder ``steps``. Each loss
            is read from the device, which then waits.

    >>> Tensorboard(path="runs/a").log_train_loss
    False
    """

    writes = True

    path: str = param(convert=as_path)
    log_train_loss: bool = False

    def start(self, run: Running) -> Writers:
        module = needed(self, "torch.utils.tensorboard", "tensorboard")
        folder = Path(self.path)
        names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        if folder.exists() and names and not any("tfevents" in name for name in names):
            raise ConfigError(
                f"{self.path!r} is no folder of event files.",
                where=repr(self),
                mend="give a folder that is new or empty",
            )
        return Writers(module.SummaryWriter)

    def on_train_begin(self, run: Running, state: Writers) -> None:
        """Open the files; what an earlier run wrote past this point is dropped."""
        first = run.history[-1]["epoch"] + 1 if run.history else 1
        state.epochs = state.make(self.path, purge_step=int(first) if state.begun else None)
        if self.log_train_loss:
            step = run.global_step + 1 if state.begun else None
            state.steps = state.make(os.path.join(self.path, "steps"), purge_step=step)
        state.begun = True

    def on_batch_end(self, run: Running, state: Writers) -> None:
        """Write the loss."""
        state.steps.add_scalar("train_loss", float(run.loss), run.global_step)

    def on_epoch_end(self, run: Running, state: Writers) -> None:
        """Write the scores."""
        for name, value in run.scores.items():
            state.epochs.add_scalar(name, value, run.epoch)
        state.epochs.flush()

    def on_exit(self, run: Running, state: Writers) -> None:
        """Close the files."""
        for writer in filter(None, (state.epochs, state.steps)):
            writer.close()

    def hook(self, event: str) -> Any:
        if event == "on_batch_end" and not self.log_train_loss:
            return None
        return super().hook(event)


@attrs.define(eq=False)
class Tracked:
    """The client, and the id of the run it writes to, which is what is saved.

    >>> Tracked(None).state_dict()
    {'run_id': None}
    """

    client: Any
    run_id: str | None = None
    is_open: bool = False

    def state_dict(self) -> dict[str, Any]:
        """The id of the run."""
        return {"run_id": self.run_id}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on with the same run."""
        self.run_id = saved["run_id"]


class Mlflow(Callback):
    """Write the scores of each epoch to MLflow (extra ``mlflow``).

    Args:
        experiment: Name of the experiment; made if it is new.
        run_name: Name of the run.
        tracking_uri: Where it is kept; None is as MLflow is set.

    >>> Mlflow(experiment="penguins").run_name is None
    True
    """

    writes = True

    experiment: str = "mlgraph"
    run_name: str | None = None
    tracking_uri: str | None = None

    def start(self, run: Running) -> Tracked:
        module = needed(self, "mlflow.tracking", "mlflow")
        return Tracked(module.MlflowClient(tracking_uri=self.tracking_uri))

    def on_train_begin(self, run: Running, state: Tracked) -> None:
        """Begin a run, unless an earlier one is resumed."""
        if state.run_id is None:
            found = state.client.get_experiment_by_name(self.experiment)
            known = found and found.experiment_id
            experiment = known or state.client.create_experiment(self.experiment)
            made = state.client.create_run(experiment, run_name=self.run_name)
            state.run_id = made.info.run_id
            state.client.log_param(state.run_id, "epochs", run.epochs)
        state.is_open = True

    def on_epoch_end(self, run: Running, state: Tracked) -> None:
        """Write the scores."""
        for name, value in run.scores.items():
            if not math.isnan(value):
                state.client.log_metric(state.run_id, name, value, step=run.epoch)

    def on_train_end(self, run: Running, state: Tracked) -> None:
        """End the run."""
        state.client.set_terminated(state.run_id)
        state.is_open = False

    def on_exit(self, run: Running, state: Tracked) -> None:
        """End a run that has failed."""
        if state.is_open:
            state.client.set_terminated(state.run_id, "FAILED")
