"""A long short-term memory that classifies sequences of several lengths.

A digit is read column by column, from the first that has ink to the last; narrow digits are
short sequences.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch import nn as tnn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from mlgraph import Graph, nn
from mlgraph.data.taskspec import TaskSpec
from mlgraph.tensor.spec import TensorSpec


def classifier(num_layers: int = 1, bidirectional: bool = False) -> Graph:
    memory = nn("lstm", 24, num_layers, bidirectional=bidirectional, returns="hidden", lengths=True)
    columns, lengths = nn("linear", 16) >> nn("relu"), nn("identity", id="lengths")
    return [columns, lengths] >> memory >> nn("head")


DIGITS = TaskSpec("classification", tuple(range(10)))
SPECS = {
    "linear.input": TensorSpec(("batch", "time", 8)),
    "lengths.input": TensorSpec(("batch",), torch.int64),
}
# torch keeps both directions in one module, which we can use for sequences of one length only.
BOTH_WAYS = {
    f"lstm.{kind}_l{layer}{suffix}": f"lstm.{direction}.{layer}.{kind}_l0"
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    for layer in range(2)
    for suffix, direction in (("", "ahead"), ("_reverse", "back"))
}


class Classifier(tnn.Module):
    """The same with the packed sequences of torch."""

    def __init__(self, num_layers: int = 1, bidirectional: bool = False) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.linear = tnn.Linear(8, 16)
        self.lstm = tnn.LSTM(16, 24, num_layers, batch_first=True, bidirectional=bidirectional)
        self.head = tnn.Linear(self.directions * 24, 10)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        x = functional.relu(self.linear(x))
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        hidden = self.lstm(packed)[1][0][-self.directions :]
        logits: Tensor = self.head(torch.cat(list(hidden), dim=1))
        return logits


@pytest.fixture(scope="session")
def columns(images: Tensor) -> list[Tensor]:
    """The columns of each digit, ``(length, 8)``, without the empty ones at its sides."""
    return [_inked(image[0].T) for image in images]


def _inked(columns: Tensor) -> Tensor:
    places = columns.sum(1).nonzero()
    return columns[places[0] : places[-1] + 1]


def _batch(sequences: list[Tensor]) -> tuple[Tensor, Tensor]:
    return pad_sequence(sequences, batch_first=True), torch.tensor([len(s) for s in sequences])


def test_digits_are_sequences_of_several_lengths(columns):
    lengths = {len(sequence) for sequence in columns}
    assert lengths >= {4, 5, 6, 7, 8}


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_it_is_the_module_written_by_hand(check_same, columns, num_layers, bidirectional):
    network = classifier(num_layers, bidirectional).network(SPECS, task=DIGITS, seed=1)
    inputs = _batch(columns[:9])
    rename = BOTH_WAYS if bidirectional else None
    check_same(network, partial(Classifier, num_layers, bidirectional), *inputs, rename=rename)


def test_without_lengths_both_directions_have_the_names_of_torch(check_same, noise):
    memory = nn("lstm", 24, 2, bidirectional=True, id="memory")
    network = (memory >> nn("linear", 3)).network(("batch", "time", 8), seed=1)

    class ByHand(tnn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = tnn.LSTM(8, 24, 2, batch_first=True, bidirectional=True)
            self.linear = tnn.Linear(48, 3)

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.linear(self.memory(x)[0])
            return made

    for time in (5, 11):
        check_same(network, ByHand, noise(3, time, 8))


def test_the_shape_is_known_but_for_the_batch(shapes):
    assert shapes(classifier(), SPECS, DIGITS) == [(None, 10)]
    every = nn("lstm", 24, lengths=True).as_graph()
    specs = {"lstm.input": SPECS["linear.input"], "lstm.lengths": SPECS["lengths.input"]}
    assert shapes(every, specs) == [(None, None, 24)]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_longer_neighbour_changes_nothing(columns, bidirectional):
    network = classifier(2, bidirectional).network(SPECS, task=DIGITS, seed=1).eval()
    short = min(columns, key=len)
    alone, together = network(*_batch([short])), network(*_batch([short, *columns[:3]]))
    torch.testing.assert_close(together[:1], alone)


def test_it_learns_digits(train, columns, labels):
    network = classifier().network(SPECS, task=DIGITS, seed=1)
    rows = [list(range(start, start + 64)) for start in range(0, 1280, 64)]
    batches = [(_batch([columns[row] for row in some]), labels[some]) for some in rows] * 6
    losses = train(network, functional.cross_entropy, batches, lr=1e-2)
    assert losses[0] > 2.2
    assert sum(losses[-10:]) / 10 < 0.3 * losses[0]
    guess = network.eval()(*_batch(columns[1300:])).argmax(1)
    assert (guess == labels[1300:]).float().mean() > 0.7
