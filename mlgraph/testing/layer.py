"""What every layer promises, as checks that a package of layers can run on its own.

``check_layer`` runs them all. Each is a function of its own too, so that a failure has a name.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence

import torch
from torch import nn

from mlgraph.core.base import Context
from mlgraph.core.value import nameless
from mlgraph.data.feed import Feed
from mlgraph.data.task import Task
from mlgraph.data.taskspec import TaskSpec
from mlgraph.data.token import NumericToken
from mlgraph.errors import GraphError, MLGraphError
from mlgraph.net.descriptor import ModelDescriptor, Source
from mlgraph.net.layer import Layer
from mlgraph.net.network import network
from mlgraph.tensor.oracle import check_spec
from mlgraph.tensor.probe import flat
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked
from mlgraph.testing.rows import CLASSES, Specs, check_alone, values, with_rows


def check_layer(
    layer: Layer,
    specs: Sequence[TensorSpec],
    *,
    seeds: Sequence[int] = (0,),
    task: TaskSpec = CLASSES,
) -> None:
    """Check everything a layer promises, for inputs of these specs.

    Args:
        layer: The layer.
        specs: Specs of its inputs, all sizes known. The batch should have 2 rows or more.
        seeds: Of values and weights; everything that is random is repeated for each.
        task: What ``build`` is told of the task.

    Raises:
        AssertionError: A promise is broken.

    >>> from mlgraph_nodes.linear import Linear
    >>> check_layer(Linear(out_features=2), [TensorSpec((5, 3))])
    """
    known = tuple(specs)
    check_value(layer)
    check_id(layer)
    check_build(layer, known, task)
    check_rows(layer, known, task)
    for seed in seeds:
        check_inference(layer, known, task, seed)
        check_alone(layer, known, task, seed)
        check_network(layer, known, task, seed)


def check_value(layer: Layer) -> None:
    """Copies, pickles and JSON are equal to the layer, and its text names what was chosen.

    Raises:
        AssertionError: A copy differs, or a parameter is missing from text or JSON.

    >>> from mlgraph_nodes.linear import Linear
    >>> check_value(Linear(out_features=2))
    """
    again = type(layer).create(params=layer.parameters(), id=layer.id, stem=layer.stem)
    copies = [again, copy.deepcopy(layer)]
    plain = layer.to_json()
    if not nameless(plain):
        copies.append(pickle.loads(pickle.dumps(layer)))
    for other in copies:
        assert other == layer, f"{other!r} is not equal to {layer!r}, of which it is a copy"
        assert hash(other) == hash(layer), f"two equal {type(layer).__name__} differ in their hash"
    assert json.loads(json.dumps(plain)) == plain, f"{plain} does not survive being JSON"
    assert set(plain["params"]) == set(layer.field_names()), "JSON lacks a parameter"
    assert repr(layer).startswith(layer.call_name()[:-1]), f"{layer!r} does not show its key"
    for name in layer.changed():
        assert f"{name}=" in repr(layer), f"{layer!r} does not show {name}"


def check_id(layer: Layer) -> None:
    """The key follows the prefix, and an id can be chosen, if the network can have it.

    Raises:
        AssertionError: A bad id is accepted, or a good one refused.

    >>> from mlgraph_nodes.linear import Linear
    >>> check_id(Linear(out_features=2))
    """
    assert layer.key.startswith("nn_"), f"{layer.key!r} does not start with nn_"
    assert layer.renamed("chosen").as_graph().ids == ("chosen",)
    assert layer.renamed(None).as_graph().ids == (layer.stem or layer.key,)
    for id in ("forward", "two__parts", "end_", "lambda", "1st"):
        try:
            layer.renamed(id)
        except GraphError as error:
            assert repr(id) in str(error), f"the refusal does not name {id!r}: {error}"
        else:
            raise AssertionError(f"{layer!r} can be called {id!r}")


def check_build(layer: Layer, specs: Specs, task: TaskSpec = CLASSES) -> None:
    """``build`` is pure: two modules are alike and share nothing, and inference leaves no trace.

    Raises:
        AssertionError: They differ, share a tensor, or the global random stream has moved.

    >>> from mlgraph_nodes.linear import Linear
    >>> check_build(Linear(out_features=2), (TensorSpec((5, 3)),))
    """
    before = layer.canonical(), torch.random.get_rng_state()
    layer.infer(*specs, task=task)
    state = torch.random.get_rng_state()
    assert torch.equal(state, before[1]), f"inference of {layer!r} drew from the global stream"
    with forked(0):
        first, second = layer.make(specs, task), layer.make(specs, task)
    assert _forms(first) == _forms(second), f"{layer!r} builds modules that differ"
    shared = {id(t) for t in _tensors(first)} & {id(t) for t in _tensors(second)}
    assert not shared, f"two modules of {layer!r} share tensors"
    assert layer.canonical() == before[0], f"build changed {layer!r}"


def check_rows(layer: Layer, specs: Specs, task: TaskSpec = CLASSES) -> None:
    """A layer may need to know sizes, but never how many rows there are.

    Raises:
        AssertionError: An input of an unknown number of rows is refused.

    >>> from mlgraph_nodes.linear import Linear
    >>> check_rows(Linear(out_features=2), (TensorSpec((5, 3)),))
    """
    unknown = with_rows(specs, "batch")
    if unknown == specs:
        unknown = tuple(spec.with_shape(["batch", *spec.shape[1:]]) for spec in specs)
    try:
        layer.infer(*unknown, task=task)
    except MLGraphError as error:
        raise AssertionError(f"{layer!r} needs to know the number of rows: {error}") from error


def check_inference(layer: Layer, specs: Specs, task: TaskSpec = CLASSES, seed: int = 0) -> int:
    """Inferred specs are those of real tensors, for all patterns of unknown sizes.

    Also in training, where sizes may not differ from those of evaluation.

    Returns:
        The number of patterns that the layer accepts.

    Raises:
        AssertionError: A spec is wrong.

    >>> from mlgraph_nodes.linear import Linear
    >>> check_inference(Linear(out_features=2), (TensorSpec((5, 3)),))
    2
    """

    def build_for(some: Specs) -> nn.Module:
        return layer.make(some, task)

    def infer(some: Specs) -> Specs:
        return layer.infer(*some, task=task)

    inferred = infer(specs)
    ports = layer.ports()[1]
    assert len(inferred) == len(ports), f"{layer!r} has {len(ports)} outputs, not {len(inferred)}"
    with torch.no_grad(), forked(seed):
        trained = flat(build_for(specs).train()(*values(specs, seed)))
    for spec, tensor in zip(inferred, trained, strict=True):
        assert spec.fits(tensor), f"in training, {tuple(tensor.shape)} is not the inferred {spec}"
    return check_spec(build_for, infer, specs, seed)


def check_network(layer: Layer, specs: Specs, task: TaskSpec = CLASSES, seed: int = 0) -> None:
    """In a network, every output is that of the module called directly with the same weights.

    Raises:
        AssertionError: An output differs.

    >>> from mlgraph_nodes.linear import Linear
    >>> check_network(Linear(out_features=2), (TensorSpec((5, 3)),))
    """
    with forked(seed):
        module = layer.make(specs, task).eval()
    tensors = values(specs, seed)
    with torch.no_grad(), forked(seed):
        expected = flat(module(*tensors))
    ctx = Context(id="layer", phase="fit", seed=seed)
    outputs, _ = layer.fit(arriving(layer, specs, task), ctx)
    assert len(outputs) == len(expected), f"{layer!r} has {len(outputs)} outputs"
    for descriptor, wanted in zip(outputs, expected, strict=True):
        net = network(descriptor).eval()
        net.get_submodule(layer.shared_as or "layer").load_state_dict(module.state_dict())
        with torch.no_grad(), forked(seed):
            got = net(*tensors)
        assert got.dtype == wanted.dtype, f"{got.dtype} is not {wanted.dtype}"
        same = torch.equal(got.nan_to_num(), wanted.nan_to_num())
        assert same, f"{layer!r} differs in a network from its module"


def arriving(layer: Layer, specs: Specs, task: TaskSpec = CLASSES) -> dict[str, object]:
    """Networks of nothing but their inputs, one for each input of the layer, by port.

    >>> from mlgraph_nodes.linear import Linear
    >>> list(arriving(Linear(out_features=2), (TensorSpec((5, 3)),)))
    ['input']
    """
    tokens = {f"x{place}": NumericToken(f"x{place}", ()) for place in range(len(specs))}
    feed = Feed(dict.fromkeys(tokens, Task({"x": [0.0]})))
    given = [
        ModelDescriptor(task, tokens, {}, Source(id), spec, feed)
        for id, spec in zip(tokens, specs, strict=True)
    ]
    ports = layer.ports()[0]
    if len(ports) == 1 and ports[0].variadic:
        return {ports[0].name: tuple(given)}
    return {port.name: descriptor for port, descriptor in zip(ports, given, strict=True)}


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def _forms(module: nn.Module) -> list[object]:
    named = [*module.named_parameters(), *module.named_buffers()]
    return [(name, t.shape, t.dtype, t.requires_grad) for name, t in named] + [str(module)]


__all__ = [
    "check_alone",
    "check_build",
    "check_id",
    "check_inference",
    "check_layer",
    "check_network",
    "check_rows",
    "check_value",
]
