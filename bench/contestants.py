"""The same training, written several ways, and once more to see how well ratios can be measured.

All start from the same weights and see the same rows in the same order, so they must arrive at
the same loss. Whoever can uses the fused optimizer; ``loader`` is the loop of the tutorials, with
the optimizer as torch gives it. Everything the libraries do beside training is switched off.
"""

from __future__ import annotations

import importlib.util
import itertools
import logging
import warnings
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from bench.relay import Tick
from mlgraph import Graph, Node, Port, Task, chain, po
from mlgraph import nn as mlnn
from mlgraph.data.feed import Feed
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.train.callback import Callback

OPTIMIZERS: dict[str, Any] = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
RATE = 1e-3


@attrs.frozen(kw_only=True)
class Setting:
    """A network, an optimizer, and data: ``rows`` x ``features`` normal numbers, one target.

    With a metric, which is used where there is validation: ``rmse``, or ``accuracy`` for the sign
    of the target.
    """

    layers: int
    width: int
    optimizer: str
    rows: int = 2000
    features: int = 1000
    batch: int = 32
    epochs: int = 1
    metric: str = ""
    valid_rows: int = 500
    device: str = "cpu"
    compile: str = "off"

    def sizes(self) -> list[int]:
        """Sizes of the tensors between the linear layers."""
        return [self.features, *[self.width] * self.layers, 1]

    def network(self) -> nn.Sequential:
        """The network, always with the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(1)
            pairs = itertools.pairwise(self.sizes())
            parts = [part for n, m in pairs for part in (nn.Linear(n, m), nn.ReLU())]
        return nn.Sequential(*parts[:-1]).to(self.device)

    def data(self) -> tuple[Tensor, Tensor]:
        """Features and target; always the same."""
        return self._drawn(self.rows, 2)

    def valid_data(self) -> tuple[Tensor, Tensor]:
        """The same for validation."""
        return self._drawn(self.valid_rows, 3)

    def _drawn(self, rows: int, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(rows, self.features, generator=generator)
        y = x[:, :1] + torch.randn(rows, 1, generator=generator)
        y = (y > 0).float() if self.metric == "accuracy" else y
        return x.to(self.device), y.to(self.device)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss that the metric goes with."""
        if self.metric == "accuracy":
            return F.binary_cross_entropy_with_logits(output, target)
        return F.mse_loss(output, target)

    def score(self, output: Tensor, target: Tensor) -> Tensor:
        """The metric."""
        if self.metric == "accuracy":
            return ((output > 0) == (target > 0.5)).float().mean()
        return F.mse_loss(output, target).sqrt()

    def mean(self, losses: list[Tensor]) -> float:
        """The mean loss of an epoch over its rows; the last batch may have fewer."""
        counts = [min(self.batch, self.rows - i) for i in range(0, self.rows, self.batch)]
        weights = torch.tensor(counts, dtype=torch.float32, device=losses[0].device)
        return float(torch.stack(losses) @ weights) / self.rows

    def build(self, parameters: Any, **options: Any) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""
        made: torch.optim.Optimizer = OPTIMIZERS[self.optimizer](parameters, lr=RATE, **options)
        return made


def by_hand(s: Setting, tick: Tick) -> None:
    """Slices of tensors and a fused optimizer: what mlgraph is measured against."""
    _over_slices(s, tick, s.network())


def hand_graphs(s: Setting, tick: Tick) -> None:
    """The same with the network compiled into CUDA graphs, one for each size of batch."""
    network = s.network()
    _over_slices(s, tick, torch.compile(network, mode="reduce-overhead", dynamic=False))


def _over_slices(s: Setting, tick: Tick, network: Any) -> None:
    x, y = s.data()
    optimizer = s.build(network.parameters(), fused=True)
    for _ in range(s.epochs):
        losses = []
        for i in range(0, s.rows, s.batch):
            optimizer.zero_grad()
            loss = F.mse_loss(network(x[i : i + s.batch]), y[i : i + s.batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        tick(s.mean(losses))


def loader(s: Setting, tick: Tick) -> None:
    """The usual loop over a ``DataLoader``."""
    _over_loader(s, tick)


def loader_fused(s: Setting, tick: Tick) -> None:
    """The usual loop with a fused optimizer, to tell the two effects apart."""
    _over_loader(s, tick, fused=True)


def with_mlgraph(s: Setting, tick: Tick) -> None:
    """A graph and its ``fit``; a callback notes the ends of epochs."""
    graph_of(s, Ticking(setting=s, tick=tick)).fit(task_of(s), seed=1)


def with_mlgraph_compiled(s: Setting, tick: Tick) -> None:
    """The same with ``compile="on"``."""
    with_mlgraph(attrs.evolve(s, compile="on"), tick)


def with_skorch(s: Setting, tick: Tick) -> None:
    """The ``NeuralNetRegressor`` of skorch, which keeps the training loss and nothing else."""
    from skorch import NeuralNetRegressor
    from skorch.callbacks import Callback as SkorchCallback

    class Ending(SkorchCallback):  # type: ignore[misc]
        def on_epoch_end(self, net: Any, **_: Any) -> None:
            tick(net.history[-1, "train_loss"])

    model = NeuralNetRegressor(
        s.network(),
        optimizer=OPTIMIZERS[s.optimizer],
        optimizer__fused=True,
        lr=RATE,
        batch_size=s.batch,
        max_epochs=s.epochs,
        iterator_train__shuffle=False,
        train_split=None,
        callbacks=[Ending()],
        callbacks__epoch_timer=None,
        callbacks__valid_loss=None,
        callbacks__print_log=None,
        verbose=0,
    )
    model.fit(*s.data())


def with_lightning(s: Setting, tick: Tick) -> None:
    """The ``Trainer`` of Lightning in its barest mode."""
    from lightning import pytorch as lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(max_epochs=s.epochs, accelerator="cpu", barebones=True)
        trainer.fit(_lightning_module(s, tick), DataLoader(TensorDataset(*s.data()), s.batch))


CONTESTANTS: dict[str, Callable[[Setting, Tick], None]] = {
    "hand": by_hand,
    "again": by_hand,
    "mlgraph": with_mlgraph,
    "loader": loader,
    "loader_fused": loader_fused,
    "skorch": with_skorch,
    "lightning": with_lightning,
    "hand_graphs": hand_graphs,
    "mlgraph_compiled": with_mlgraph_compiled,
}
COMPILED = ("hand_graphs", "mlgraph_compiled")


def installed() -> list[str]:
    """The contestants whose library is there, but for those that compile, which is for GPUs."""
    libraries = {"skorch", "lightning"}
    missing = {name for name in libraries if importlib.util.find_spec(name) is None}
    return [name for name in CONTESTANTS if name not in missing and name not in COMPILED]


def graph_of(s: Setting, *more: Node) -> Graph:
    """The network and its training as a graph."""
    hidden = [part for _ in range(s.layers) for part in (mlnn("linear", s.width), mlnn("relu"))]
    optimizer = po("torch_optimizer", s.optimizer, lr=RATE)
    options = {
        "epochs": s.epochs,
        "batch_size": s.batch,
        "shuffle": False,
        "device": s.device,
        "compile": s.compile,
    }
    return chain(*hidden, mlnn("head"), optimizer, *more, po("torch_model", **options))


class Ticking(Node):
    """Lets the training begin with the common weights, and calls ``tick`` after each epoch."""

    inputs = (Port("input", fit=ModelDescriptor, apply=Feed),)
    outputs = (Port("output", fit=ModelDescriptor, apply=Feed),)

    setting: Any = None
    tick: Any = None
    told: Any = None

    def fit(self, inputs: Any, ctx: Any) -> Any:
        watch = {"tick": _Watch(setting=self.setting, tick=self.tick, told=self.told)}
        return (attrs.evolve(inputs["input"], callbacks=watch),), None

    def apply(self, state: Any, inputs: Any, ctx: Any) -> Any:
        return (inputs["input"],)


def task_of(s: Setting, data: tuple[Tensor, Tensor] | None = None) -> Task:
    """The data as a task."""
    x, y = (tensor.cpu() for tensor in data or s.data())
    columns = {f"x{i}": column for i, column in enumerate(x.numpy().T)}
    target = y[:, 0].bool() if s.metric == "accuracy" else y[:, 0]
    return Task({**columns, "y": target.numpy()}, target="y")


class _Watch(Callback):
    """Notes the ends of epochs, once everybody else has seen them."""

    weight: float = float("inf")

    setting: Any
    tick: Any
    told: Any = None

    def on_train_begin(self, run: Any, state: Any) -> None:
        with torch.no_grad():
            given = self.setting.network().parameters()
            for mine, common in zip(run.network.parameters(), given, strict=True):
                mine.copy_(common)

    def on_epoch_end(self, run: Any, state: Any) -> None:
        self.tick(self.told(run.scores) if self.told else run.scores["train_loss"])


def _over_loader(s: Setting, tick: Tick, **options: Any) -> None:
    batches = DataLoader(TensorDataset(*s.data()), s.batch)
    network = s.network()
    optimizer = s.build(network.parameters(), **options)
    for _ in range(s.epochs):
        total = 0.0
        for x, y in batches:
            optimizer.zero_grad()
            loss = F.mse_loss(network(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        tick(total / s.rows)


def _lightning_module(s: Setting, tick: Tick) -> Any:
    from lightning import pytorch as lightning

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = s.network()
            self.losses: list[Tensor] = []

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return s.build(self.network.parameters(), fused=True)

        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            loss = F.mse_loss(self.network(batch[0]), batch[1])
            self.losses.append(loss.detach())
            return loss

        def on_train_epoch_end(self) -> None:
            tick(s.mean(self.losses))
            self.losses.clear()

    return Module()
