"""Graphs against modules written by hand: equal weights, equal outputs, equal gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import nn as tnn

from mlgraph import Graph, Task, load_weights
from mlgraph.data.feed import Feed
from mlgraph.data.taskspec import TaskSpec
from mlgraph.datasets import digits as load_digits
from mlgraph.net.build import Argument
from mlgraph.net.descriptor import ModelDescriptor, Source
from mlgraph.net.network import n_parameters
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower on several threads, and sums come out alike on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def check_same() -> Callable[..., None]:
    """Check that a network is a module written by hand, once it has its weights."""

    def check(
        network: tnn.Module,
        make: Callable[[], tnn.Module],
        *inputs: Tensor,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        with forked(0):
            by_hand = make()
        assert n_parameters(network) == n_parameters(by_hand)
        assert load_weights(network, by_hand, rename=rename).complete
        ours, theirs = copy.deepcopy(network).double(), copy.deepcopy(by_hand).double()
        doubled = [x.double() if x.is_floating_point() else x for x in inputs]
        for training in (True, False):
            pairs = zip(_run(ours, doubled, training), _run(theirs, doubled, training), strict=True)
            for made, wanted in pairs:
                torch.testing.assert_close(made, wanted, rtol=1e-6, atol=1e-9)
            _check_gradients(ours, theirs, rename)
        buffers = copy.deepcopy(ours)  # of batch norm, after a step in training
        load_weights(buffers, theirs, rename=rename)
        torch.testing.assert_close(ours.state_dict(), buffers.state_dict(), rtol=1e-6, atol=1e-9)

    return check


@pytest.fixture
def shapes() -> Callable[..., list[tuple[int | None, ...]]]:
    """The shapes that a graph of layers puts out; sizes that are not known are None."""

    def find(
        graph: Graph, specs: Mapping[str, TensorSpec], task: TaskSpec | None = None
    ) -> list[tuple[int | None, ...]]:
        goal = task or TaskSpec("unsupervised")
        inputs = {name: _entering(name, spec, goal) for name, spec in specs.items()}
        found = graph.fit(inputs=inputs, seed=0).outputs.values()
        return [tuple(n if isinstance(n, int) else None for n in one.spec.shape) for one in found]

    return find


@pytest.fixture
def train() -> Callable[..., list[float]]:
    """The losses of a plain loop over batches, the first of them before any step."""

    def run(
        network: tnn.Module,
        loss: Callable[..., Tensor],
        batches: Sequence[tuple[tuple[Tensor, ...], Tensor]],
        lr: float,
    ) -> list[float]:
        optimizer = torch.optim.Adam(network.parameters(), lr=lr)
        losses = []
        with forked(0):  # dropout
            for inputs, target in batches:
                optimizer.zero_grad()
                value = loss(network(*inputs), target)
                value.backward()
                optimizer.step()
                losses.append(value.item())
        return losses

    return run


@pytest.fixture(scope="session")
def digits() -> Task:
    """Handwritten digits, one column for each pixel."""
    return load_digits()


@pytest.fixture(scope="session")
def images(digits: Task) -> Tensor:
    """The digits as images between 0 and 1: ``(1797, 1, 8, 8)``."""
    pixels, _ = digits.to_numpy()
    return torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 16


@pytest.fixture(scope="session")
def labels(digits: Task) -> Tensor:
    """Which digit each image shows: ``(1797,)``."""
    return torch.from_numpy(digits.target_codes())


@pytest.fixture
def noise() -> Callable[..., Tensor]:
    """Random numbers of a shape, equal in each run."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))

    return draw


def _entering(name: str, spec: TensorSpec, task: TaskSpec) -> ModelDescriptor:
    """The network that consists of one input."""
    id = name.replace(".", "_")
    return ModelDescriptor(task, {id: Argument(id, (), spec)}, {}, Source(id), spec, Feed({}))


def _run(module: tnn.Module, inputs: Sequence[Tensor], training: bool) -> list[Tensor]:
    """The outputs, after a backward pass of a random function of them."""
    module.train(training)
    module.zero_grad()
    with forked(0):  # the same dropout in both modules
        made: Any = module(*inputs)
    outputs = [made] if isinstance(made, Tensor) else list(made)
    generator = torch.Generator().manual_seed(1)
    slopes = [torch.randn(o.shape, generator=generator, dtype=o.dtype) for o in outputs]
    torch.autograd.backward(outputs, slopes)
    return [output.detach() for output in outputs]


def _check_gradients(
    ours: tnn.Module, theirs: tnn.Module, rename: Mapping[str, str] | None
) -> None:
    """Gradients have the names of the weights, so they can be loaded in their place."""
    wanted = copy.deepcopy(ours)
    gradients = {name: weight.grad for name, weight in theirs.named_parameters()}
    report = load_weights(wanted, gradients, rename=rename, strict=False)
    assert set(report.loaded) == {name for name, _ in ours.named_parameters()}
    for name, weight in ours.named_parameters():
        assert weight.grad is not None, name
        torch.testing.assert_close(
            weight.grad, wanted.get_parameter(name).detach(), rtol=1e-6, atol=1e-9
        )
