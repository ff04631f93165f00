from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import pytest
import torch
from torch import nn as tnn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mlgraph import ConfigError, ShapeError, Task, nn, po
from mlgraph.net.layer import Layer
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.compiled import check_compiled, check_exported
from mlgraph.testing.layer import check_layer

KEYS = ["rnn", "lstm", "gru"]
TORCH: dict[str, Any] = {"rnn": tnn.RNN, "lstm": tnn.LSTM, "gru": tnn.GRU}
X, LENGTHS = TensorSpec((3, 5, 2)), TensorSpec((3,), torch.int64)


def layer(key: str, **params: object) -> Layer:
    made = nn(key, 4, **params)
    assert isinstance(made, Layer)
    return made


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


PARAMS: list[dict[str, object]] = [
    {},
    {"num_layers": 2, "dropout": 0.5, "returns": "both"},
    {"bidirectional": True, "bias": False, "returns": "hidden"},
    {"lengths": True, "num_layers": 2, "returns": "both"},
    {"lengths": True, "num_layers": 2, "bidirectional": True, "returns": "both"},
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("params", PARAMS)
def test_recurrent_layers_keep_their_promises(key: str, params: dict[str, object]) -> None:
    check_layer(layer(key, **params), [X, LENGTHS] if "lengths" in params else [X])


def test_an_rnn_of_relus_keeps_its_promises() -> None:
    check_layer(layer("rnn", nonlinearity="relu"), [X])


@pytest.mark.parametrize(("key", "row"), [("rnn", 0), ("gru", 3), ("lstm", 4)])
def test_recurrent_layers_can_be_compiled_and_exported(key: str, row: int) -> None:
    specs = (X, LENGTHS) if "lengths" in PARAMS[row] else (X,)
    check_compiled(layer(key, **PARAMS[row]), specs)
    check_exported(layer(key, **PARAMS[row]), specs)


def theirs(key: str, weights: dict[str, torch.Tensor], **options: object) -> tnn.RNNBase:
    made: tnn.RNNBase = TORCH[key](2, 4, batch_first=True, **options)
    made.load_state_dict(weights)
    return made.eval()


def last(state: Any, directions: int) -> torch.Tensor:
    """The final states of the last layer, next to each other."""
    state = state[0] if isinstance(state, tuple) else state
    return torch.cat(list(state[-directions:]), dim=-1)


OPTIONS = [
    {"num_layers": layers, "bidirectional": both, "bias": bias}
    for layers, both, bias in itertools.product((1, 2, 3), (False, True), (True, False))
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_numbers_are_those_of_torch(key: str, options: dict[str, Any]) -> None:
    ours = layer(key, returns="both", **options).build(X).eval()
    output, state = theirs(key, ours.state_dict(), **options)(noise(3, 5, 2))
    got = ours(noise(3, 5, 2))
    torch.testing.assert_close(got[0], output)
    torch.testing.assert_close(got[1], last(state, 1 + options["bidirectional"]))


def test_relus_are_those_of_torch() -> None:
    ours = layer("rnn", nonlinearity="relu").build(X)
    output, _ = theirs("rnn", ours.state_dict(), nonlinearity="relu")(noise(3, 5, 2))
    torch.testing.assert_close(ours(noise(3, 5, 2)), output)


def as_torch(module: tnn.Module) -> dict[str, torch.Tensor]:
    """Weights of a network for both ways, under the names that torch has for them."""
    found = {}
    for name, weight in module.state_dict().items():
        way, number, inner = name.split(".")
        found[inner.replace("_l0", f"_l{number}") + "_reverse" * (way == "back")] = weight
    return found


def packed(network: tnn.RNNBase, x: torch.Tensor, lengths: torch.Tensor) -> tuple[Any, Any]:
    inner = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    output, state = network(inner)
    return pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])[0], state


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("options", OPTIONS, ids=repr)
@pytest.mark.parametrize("ends", [(5, 2, 3), (1, 1, 4), (5, 5, 5)])
def test_sequences_of_several_lengths_are_those_that_torch_packs(
    key: str, options: dict[str, Any], ends: tuple[int, ...]
) -> None:
    ours = layer(key, returns="both", lengths=True, **options).build(X, LENGTHS).eval()
    weights = as_torch(ours) if options["bidirectional"] else ours.state_dict()
    x, lengths = noise(3, 5, 2), torch.tensor(ends)
    output, state = packed(theirs(key, weights, **options), x, lengths)
    got = ours(x, lengths)
    torch.testing.assert_close(got[0], output)
    torch.testing.assert_close(got[1], last(state, 1 + options["bidirectional"]))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("both", [True, False])
def test_gradients_are_those_that_torch_packs(key: str, both: bool) -> None:
    options = {"num_layers": 2, "bidirectional": both}
    ours = layer(key, lengths=True, **options).build(X, LENGTHS)
    other = theirs(key, as_torch(ours) if both else ours.state_dict(), **options).train()
    x, lengths = noise(3, 5, 2), torch.tensor([5, 2, 3])
    ours(x, lengths).pow(2).sum().backward()
    packed(other, x, lengths)[0].pow(2).sum().backward()
    ours.load_state_dict({name: weight.grad for name, weight in ours.named_parameters()})
    got = as_torch(ours) if both else ours.state_dict()
    for name, weight in other.named_parameters():
        torch.testing.assert_close(got[name], weight.grad)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("both", [True, False])
def test_what_stands_behind_the_end_has_no_influence_even_if_it_is_nan(
    key: str, both: bool
) -> None:
    made = layer(key, lengths=True, bidirectional=both, returns="both", num_layers=2)
    module, lengths = made.build(X, LENGTHS), torch.tensor([5, 2, 0])
    one, two = noise(3, 5, 2), noise(3, 5, 2)
    two[1, 2:], two[2] = torch.nan, torch.inf
    for first, second in zip(module(one, lengths), module(two, lengths), strict=True):
        assert torch.equal(first, second)
    module(two, lengths)[0].sum().backward()
    assert all(weight.grad.isfinite().all() for weight in module.parameters())


@pytest.mark.parametrize("both", [True, False])
def test_a_sequence_without_positions_leaves_zeros(both: bool) -> None:
    made = layer("gru", lengths=True, bidirectional=both, returns="both")
    output, hidden = made.build(X, LENGTHS)(noise(3, 5, 2), torch.tensor([0, 5, 1]))
    assert not output[0].any() and not hidden[0].any()
    assert not output[2, 1:].any() and output[2, 0].all() and hidden[2].all()


@pytest.mark.parametrize("both", [True, False])
def test_what_is_longer_than_the_sequence_counts_as_the_sequence(both: bool) -> None:
    module = layer("lstm", lengths=True, bidirectional=both).build(X, LENGTHS)
    x = noise(3, 5, 2)
    assert torch.equal(module(x, torch.tensor([5, 9, 7])), module(x, torch.tensor([5, 5, 5])))


def test_dropout_acts_between_layers_in_both_directions_while_training() -> None:
    made = layer("gru", lengths=True, bidirectional=True, num_layers=2, dropout=0.9)
    module, x, lengths = made.build(X, LENGTHS), noise(3, 5, 2), torch.tensor([5, 5, 5])
    assert not torch.equal(module(x, lengths), module(x, lengths))
    module.eval()
    assert torch.equal(module(x, lengths), module(x, lengths))


def test_dropout_of_one_layer_is_no_warning_and_no_dropout() -> None:
    module, x = layer("lstm", dropout=0.9).build(X), noise(3, 5, 2)
    assert torch.equal(module(x), module(x))


def test_what_is_returned_comes_out_by_ports() -> None:
    def ports(**params: object) -> list[str]:
        return [port.name for port in layer("lstm", **params).ports()[1]]

    assert ports() == ports(returns="hidden") == ["output"]
    assert ports(returns="both") == ["output", "hidden"]
    x = TensorSpec(("batch", "time", 2))
    both = layer("lstm", returns="both", bidirectional=True).infer(x)
    assert [spec.shape for spec in both] == [("batch", "time", 8), ("batch", 8)]
    assert layer("lstm", returns="hidden").infer(x)[0].shape == ("batch", 4)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("specs", "text"),
    [
        ([TensorSpec(("batch", 2)), LENGTHS], "input 'input'.*has rank 2"),
        ([TensorSpec(("batch", 5, "f")), LENGTHS], "'f', is needed now"),
        ([TensorSpec((3, 5, 2), torch.int64), LENGTHS], "floating-point numbers"),
        ([TensorSpec((3, 5, 2), torch.float64), LENGTHS], "dtype float32 are needed"),
        ([X, TensorSpec((3,))], "integers are needed"),
        ([X, TensorSpec((3, 1), torch.int64)], "input 'lengths'.*has rank 2"),
        ([X, TensorSpec((4,), torch.int64)], "different sizes of 'batch'"),
        ([X], "2 inputs are needed"),
    ],
)
def test_refused_inputs(key: str, specs: list[TensorSpec], text: str) -> None:
    with pytest.raises(ShapeError, match=r"^it cannot accept") as caught:
        layer(key, lengths=True).infer(*specs, name="it")
    caught.match(text)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"hidden_size": 0}, "at least 1"),
        ({}, "hidden_size"),
        ({"hidden_size": 4, "num_layers": 0}, "at least 1"),
        ({"hidden_size": 4, "dropout": 2.0}, "from 0 to 1"),
        ({"hidden_size": 4, "returns": "all"}, "one of 'output', 'hidden', 'both'"),
        ({"hidden_size": 4, "input_size": 3}, "no parameter 'input_size'"),
    ],
)
def test_impossible_parameters(key: str, params: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        nn(key, **params)


def test_the_batch_of_lengths_may_have_a_name_of_its_own() -> None:
    specs = TensorSpec(("batch", "time", 2)), TensorSpec(("rows",), torch.int64)
    assert layer("gru", lengths=True).infer(*specs)[0].shape == ("batch", "time", 4)


@pytest.mark.parametrize("params", PARAMS)
def test_copies_give_the_same(params: dict[str, object]) -> None:
    specs = [X, LENGTHS] if "lengths" in params else [X]
    module = layer("lstm", **{**params, "returns": "output"}).build(*specs).eval()
    tensors = [noise(3, 5, 2), torch.tensor([5, 2, 3])][: len(specs)]
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(*tensors), module(*tensors))


def test_weights_given_from_outside_are_used() -> None:
    module, x = layer("gru").build(X), noise(3, 5, 2)
    zeros = {name: torch.zeros_like(weight) for name, weight in module.named_parameters()}
    assert not torch.func.functional_call(module, zeros, (x,)).any()
    assert module(x).any()


def test_both_outputs_are_used_in_a_graph() -> None:
    sequence = nn("unflatten", dim=1, sizes=(2, 2))
    graph = sequence >> layer("lstm", returns="both", id="both")
    states = nn("reduce", "sum", id="states")
    graph = (graph & states & nn("merge_cat")).connect("both.output", "states")
    graph = graph.connect("states", "merge_cat").connect("both.hidden", "merge_cat")
    columns = {name: [1.0, 2.0] for name in "abcd"}
    fitted = graph.fit(Task({**columns, "y": [0.5, 1.5]}, target="y"), seed=0)
    net = network(fitted.outputs["merge_cat.output"])
    rows = noise(3, 4)
    output, hidden = net.get_submodule("both")(rows.view(3, 2, 2))
    assert torch.equal(net(rows), torch.cat([output.sum(1), hidden], 1))


@pytest.mark.parametrize("key", KEYS)
def test_a_recurrent_network_learns(key: str) -> None:
    numbers = noise(64, 4)
    data = {f"x{place}": numbers[:, place].tolist() for place in range(4)}
    task = Task({**data, "y": (numbers[:, 0] * 2.0).tolist()}, target="y")
    graph = (
        nn("unsqueeze", -1)
        >> nn(key, 16, returns="hidden")
        >> nn("head")
        >> po("torch_model", epochs=60, batch_size=16)
    )
    response = torch.tensor(graph.fit(task, seed=1).predict(task).response)
    assert (response - numbers[:, 0] * 2).pow(2).mean() < 0.4
