"""Small runs, and stand-ins for packages that are extras."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mlgraph.data.batch import TensorBatches
from mlgraph.train.lossfn import ObjectiveFn
from mlgraph.train.run import Plan, Run, Validation

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


def data(rows, seed=0, size=4):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, generator=draws)
    y = x.sum(1, keepdim=True) + 0.1 * torch.randn(rows, 1, generator=draws)
    return TensorBatches((x,), y, None, size)


@pytest.fixture
def make_run():
    """A run of a small network; ``start`` seeds its weights."""

    def made(*, start=0, optimizer="sgd", valid=True, network=None, rows=10, **plan):
        torch.manual_seed(start)
        network = network or nn.Sequential(
            nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.2), nn.Linear(4, 1)
        )
        return Run(
            network=network,
            objective=ObjectiveFn(nn.MSELoss(), nn.MSELoss(reduction="none")),
            optimizer=OPTIMIZERS[optimizer](network.parameters()),
            batches=data(rows),
            plan=Plan(**{"epochs": 4, **plan}),
            seed=3,
            validation=Validation(batches=data(6, 9), scorer=lambda output, kept: {})
            if valid
            else None,
        )

    return made


class FakeWriter:
    """Notes what TensorBoard's writer is told."""

    made = []

    def __init__(self, path, purge_step=None):
        self.path, self.purge_step = str(path), purge_step
        self.scalars = []
        self.closed = False
        FakeWriter.made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def flush(self):
        pass

    def close(self):
        self.closed = True


class FakeClient:
    """Notes what MLflow's client is told."""

    made = []

    def __init__(self, tracking_uri=None):
        self.calls = []
        FakeClient.made.append(self)

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return f"experiment {name}"

    def create_run(self, experiment, run_name=None):
        self.calls.append(("create_run", experiment))
        return SimpleNamespace(info=SimpleNamespace(run_id=f"run {len(FakeClient.made)}"))

    def log_param(self, run_id, name, value):
        pass

    def log_metric(self, run_id, name, value, step):
        self.calls.append((run_id, name, step))

    def set_terminated(self, run_id, status=None):
        self.calls.append(("ended", run_id, *filter(None, [status])))


@pytest.fixture
def extras(monkeypatch):
    """The packages that are extras, as far as callbacks use them."""
    FakeWriter.made, FakeClient.made = [], []
    tracking = SimpleNamespace(MlflowClient=FakeClient)
    board = SimpleNamespace(SummaryWriter=FakeWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(tracking=tracking))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    return SimpleNamespace(writers=FakeWriter.made, clients=FakeClient.made)
