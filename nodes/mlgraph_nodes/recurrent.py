"""Recurrent layers: a state that is carried from one position of a sequence to the next.

Sequences of several lengths are not packed, as torch would do it: what stands behind the end of a
sequence cannot change what comes before, and a sequence that is read backwards is turned around
within its own length first. So nothing depends on the values of lengths but numbers, and the
network can be compiled and exported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlgraph.core.param import param
from mlgraph.core.port import Port
from mlgraph.net.layer import layer_port
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.sequence import SequenceLayer, padding_mask, settled, switched_on

Returns = Literal["output", "hidden", "both"]


class _Recurrent(SequenceLayer):
    """A recurrent layer of some kind of cell."""

    mode: ClassVar[str]

    hidden_size: int = param(lower=1)
    num_layers: int = param(default=1, lower=1)
    bias: bool = True
    dropout: float = param(default=0.0, lower=0, upper=1)
    bidirectional: bool = False
    returns: Returns = param(default="output", tags={"structure"})
    lengths: bool = param(default=False, tags={"structure"})

    def layout(self) -> dict[str, str]:
        return {"input": "batch time features"} | switched_on(self, {"lengths": "batch"})

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        settled(self.returns)
        hidden = (layer_port("hidden"),) if self.returns == "both" else ()
        return super().ports()[0], self.outputs + hidden

    def build(self, *inputs: TensorSpec) -> nn.Module:
        size = self.checked(inputs)["input"].size(-1)
        options: dict[str, Any] = {
            "num_layers": self.num_layers,
            "bias": self.bias,
            # torch warns where there is no second layer whose input could be dropped.
            "dropout": self.dropout if self.num_layers > 1 else 0.0,
            "returns": self.returns,
        }
        if self.lengths and self.bidirectional:
            return BothWays(self._cell(), size, self.hidden_size, **options)
        cells = {"bidirectional": self.bidirectional, **options}
        return Recurrence(self._cell(), size, self.hidden_size, **cells)

    def _cell(self) -> str:
        return self.mode


class RNN(_Recurrent):
    """Recurrent network of Elman: ``h = tanh(W x + b + U h_before + c)``.

    Shape:
        input: ``(batch, time, features)``, ``features`` known.
        lengths: ``(batch,)`` integers.
        output: ``(batch, time, directions * hidden_size)``.
        hidden: ``(batch, directions * hidden_size)``.

    Args:
        hidden_size: Size of the state of one direction.
        num_layers: How many networks stand on top of each other.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: Add learned constants.
        dropout: Probability of a zero between layers, while training; without effect for one.
        bidirectional: Read each sequence backwards as well; both results next to each other.
        returns: The states of the last layer at all positions (``"output"``), its final state,
            that of the backward direction at the start (``"hidden"``), or both, by two ports.
        lengths: An input that says where each sequence ends. Behind its end the output is 0, and
            ``hidden`` is the state at its end. What is longer than ``time`` counts as ``time``.

    Differs from torch: ``input_size`` is read from the input, the batch always comes first, and
    of the final states only that of the last layer is returned.

    References: Elman (1990), "Finding Structure in Time", Cognitive Science 14(2).

    >>> RNN(hidden_size=16).infer(TensorSpec(("batch", "time", 8)))
    ((batch, time, 16) float32,)
    """

    hidden_size: int = param(lower=1)
    num_layers: int = param(default=1, lower=1)
    nonlinearity: Literal["tanh", "relu"] = "tanh"

    mode = "RNN"

    def _cell(self) -> str:
        return f"RNN_{self.nonlinearity.upper()}"


class LSTM(_Recurrent):
    """Long short-term memory: a state with gates for what enters, stays and comes out.

    Shape:
        input: ``(batch, time, features)``, ``features`` known.
        lengths: ``(batch,)`` integers.
        output: ``(batch, time, directions * hidden_size)``.
        hidden: ``(batch, directions * hidden_size)``.

    Args:
        hidden_size: Size of the state of one direction.
        num_layers: How many networks stand on top of each other.
        bias: Add learned constants.
        dropout: Probability of a zero between layers, while training; without effect for one.
        bidirectional: Read each sequence backwards as well; both results next to each other.
        returns: The states of the last layer at all positions (``"output"``), its final state,
            that of the backward direction at the start (``"hidden"``), or both, by two ports.
        lengths: An input that says where each sequence ends. Behind its end the output is 0, and
            ``hidden`` is the state at its end. What is longer than ``time`` counts as ``time``.

    Differs from torch: ``input_size`` is read from the input, the batch always comes first, there
    is no ``proj_size``, and of the final states only the hidden one of the last layer is returned.

    References: Hochreiter and Schmidhuber (1997), "Long Short-Term Memory", Neural
    Computation 9(8).

    >>> LSTM(hidden_size=16, returns="hidden").infer(TensorSpec(("batch", "time", 8)))
    ((batch, 16) float32,)
    """

    mode = "LSTM"


class GRU(_Recurrent):
    """Gated recurrent unit: a state with gates for what is kept and what is renewed.

    Shape:
        input: ``(batch, time, features)``, ``features`` known.
        lengths: ``(batch,)`` integers.
        output: ``(batch, time, directions * hidden_size)``.
        hidden: ``(batch, directions * hidden_size)``.

    Args:
        hidden_size: Size of the state of one direction.
        num_layers: How many networks stand on top of each other.
        bias: Add learned constants.
        dropout: Probability of a zero between layers, while training; without effect for one.
        bidirectional: Read each sequence backwards as well; both results next to each other.
        returns: The states of the last layer at all positions (``"output"``), its final state,
            that of the backward direction at the start (``"hidden"``), or both, by two ports.
        lengths: An input that says where each sequence ends. Behind its end the output is 0, and
            ``hidden`` is the state at its end. What is longer than ``time`` counts as ``time``.

    Differs from torch: ``input_size`` is read from the input, the batch always comes first, and
    of the final states only that of the last layer is returned.

    References: Cho et al. (2014), "Learning Phrase Representations using RNN Encoder-Decoder for
    Statistical Machine Translation", arXiv:1406.1078.

    >>> GRU(hidden_size=16, bidirectional=True).infer(TensorSpec(("batch", "time", 8)))
    ((batch, time, 32) float32,)
    """

    mode = "GRU"


class Recurrence(nn.RNNBase):
    """torch's recurrent networks, their weights under the same names.

    ``forward`` does what that of ``nn.LSTM`` and its like does; theirs cannot be compiled.

    >>> output, hidden = Recurrence("GRU", 3, 4)(torch.zeros(2, 5, 3))
    >>> output.shape, hidden.shape
    (torch.Size([2, 5, 4]), torch.Size([2, 4]))
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        *,
        returns: Returns = "both",
        **options: Any,
    ) -> None:
        super().__init__(mode, input_size, hidden_size, batch_first=True, **options)
        self.returns = returns

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        """States at all positions, the final state, or both."""
        if lengths is None:
            output, states = self.run(x)
            directions = 2 if self.bidirectional else 1
            return _picked(self.returns, output, states[-directions:].transpose(0, 1).flatten(1))
        padding = padding_mask(lengths, x).unsqueeze(-1)
        output = self.run(x.masked_fill(padding, 0.0))[0].masked_fill(padding, 0.0)
        return _picked(self.returns, output, at_end(output, lengths))

    def run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """States of the last layer, and the final states ``(layers * directions, batch, size)``."""
        weights = [getattr(self, name) for name in self._flat_weights_names]
        count = self.num_layers * (2 if self.bidirectional else 1)
        start = x.new_zeros(count, x.shape[0], self.hidden_size)
        first = (start, start) if self.mode == "LSTM" else start
        output, final, *_ = _RUN[self.mode](
            x,
            first,
            weights,
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            True,
        )
        return output, final


_RUN: dict[str, Callable[..., Any]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}


class BothWays(nn.Module):
    """Recurrent networks that read sequences of several lengths in both directions.

    >>> module = BothWays("GRU", 3, 4, num_layers=2)
    >>> output, hidden = module(torch.zeros(2, 5, 3), torch.tensor([5, 2]))
    >>> output.shape, hidden.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        returns: Returns = "both",
    ) -> None:
        super().__init__()
        self.ahead, self.back = nn.ModuleList(), nn.ModuleList()
        for layer in range(num_layers):
            size = 2 * hidden_size if layer else input_size
            self.ahead.append(Recurrence(mode, size, hidden_size, bias=bias))
            self.back.append(Recurrence(mode, size, hidden_size, bias=bias))
        self.dropout, self.returns = dropout, returns

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        """States at all positions, the final states, or both; the backward ones come last."""
        padding = padding_mask(lengths, x).unsqueeze(-1)
        x = x.masked_fill(padding, 0.0)
        for layer, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            if layer:
                x = functional.dropout(x, self.dropout, self.training)
            backward = turned(back(turned(x, lengths))[0], lengths)
            x = torch.cat([ahead(x)[0], backward], dim=-1).masked_fill(padding, 0.0)
        forward, backward = x.chunk(2, dim=-1)
        return _picked(self.returns, x, torch.cat([at_end(forward, lengths), backward[:, 0]], -1))


def at_end(x: Tensor, lengths: Tensor) -> Tensor:
    """What stands at the end of each sequence; at the start of one without positions.

    >>> at_end(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), torch.tensor([1, 2])).tolist()
    [[1.0], [4.0]]
    """
    last = (lengths.long() - 1).clamp(0, x.shape[1] - 1)
    return x.gather(1, last.view(-1, 1, 1).expand(-1, -1, x.shape[2])).squeeze(1)


def turned(x: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence in reverse, what stands behind its end in its place.

    >>> turned(torch.tensor([[[1.0], [2.0], [0.0]]]), torch.tensor([2])).flatten().tolist()
    [2.0, 1.0, 0.0]
    """
    time = x.shape[1]
    ahead = torch.arange(time, device=x.device)
    back = lengths.long().clamp(max=time).unsqueeze(1) - 1 - ahead
    places = torch.where(back >= 0, back, ahead)
    return x.gather(1, places.unsqueeze(-1).expand(-1, -1, x.shape[2]))


def _picked(returns: Returns, output: Tensor, hidden: Tensor) -> Any:
    if returns == "both":
        return output, hidden
    return output if returns == "output" else hidden
