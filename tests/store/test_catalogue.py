"""Every node of the catalogue, in a fitted graph: saved, loaded, and the same in all it says.

A node that is added to the catalogue is tested by being there. A layer gets parameters and inputs
drawn at random; a node of tables is fitted on a small task of all kinds of columns. A node for
which that does not do has an example below, or the test fails and says so.
"""

from __future__ import annotations

import datetime
import functools
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

import mlgraph
from mlgraph import Task, branch, nn, po, sel
from mlgraph.catalogue import catalogue
from mlgraph.core.base import Context
from mlgraph.core.fitted import FittedGraph
from mlgraph.core.graph import Graph
from mlgraph.core.node import Node
from mlgraph.core.port import fits
from mlgraph.errors import MLGraphError
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.net.layer import Layer
from mlgraph.net.network import copied, network
from mlgraph.tensor.stream import forked
from mlgraph.testing import drawn
from mlgraph.testing.layer import arriving
from mlgraph.testing.rows import values
from mlgraph.train.optimizer import default_optimizer
from mlgraph.train.trained import Trained
from mlgraph_nodes.target import TargetScale, with_target
from mlgraph_nodes.trafo_base import LazyTransform


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fresh = _module("fresh")
sentences = _module("sentences")
FRESH = Path(__file__).with_name("fresh.py")

OFFERS = catalogue().offers
LAYERS = sorted(key for key, offer in OFFERS.items() if issubclass(offer.node, Layer))
OTHERS = sorted(OFFERS.keys() - set(LAYERS))
SAMPLE = [
    *["encode", "imputehist", "pca", "sklearn", "learner", "targetscale", "torch_model", "branch"],
    *["trafo_normalize", "trafo_fn", "augment_random_crop", "augment_random_choice"],
    *["nn_block", "nn_batch_norm1d", "nn_lstm", "nn_fn", "nn_merge_cat", "nn_multihead_attention"],
]


# Tasks and graphs -------------------------------------------------------------------------------

N = 24
RNG = np.random.default_rng(0)
COLUMNS = {
    "number": np.where(np.arange(N) % 5 == 0, np.nan, RNG.normal(size=N)),
    "whole": RNG.normal(size=N) + 2,
    "count": RNG.integers(0, 9, N),
    "flag": RNG.random(N) < 0.5,
    "kind": pa.array([None if i % 7 == 0 else "uvw"[i % 3] for i in range(N)]).dictionary_encode(),
    "word": ["xyz"[i % 3] for i in range(N)],
    "moment": [datetime.datetime(2024, 2, 1) + datetime.timedelta(hours=31 * i) for i in range(N)],
}
MIXED = tuple(
    Task({**COLUMNS, "y": y}, target="y")
    for y in (
        ["abc"[i % 3] for i in range(N)],
        ["ab"[i % 2] for i in range(N)],
        RNG.normal(size=N) + 5,
    )
)
SCALED = TargetScale()
KEPT: list[tempfile.TemporaryDirectory[str]] = []
NUMBERS = sel.names("whole", "count")
# All kinds of columns, or those that many nodes can work with only.
TASKS = (*MIXED, MIXED[0].select(["whole", "count"]), MIXED[0].select(["flag", "word"]))
TENSORS = Task(
    {
        "image": RNG.random((N, 3, 8, 6), dtype=np.float32),
        "pixel": RNG.random((N, 1, 1, 1), dtype=np.float32),
        "video": RNG.random((N, 4, 3, 8, 6), dtype=np.float32),
        "y": ["abc"[i % 3] for i in range(N)],
    },
    target="y",
)


@functools.cache
def sentence_model() -> str:
    """The folder of a small model; it is there as long as the tests run."""
    KEPT.append(tempfile.TemporaryDirectory())
    return sentences.model(Path(KEPT[-1].name))


def trained_by(*layers: Any, columns: Any = NUMBERS, head: bool = True) -> Graph:
    """The layers between the numbers of a task and a short training."""
    graph = po("ingress_num", columns=columns) if columns is not None else Graph.empty()
    for part in (*layers, *([nn("head")] if head else []), trainer()):
        graph = graph >> part
    return graph


def trainer() -> Node:
    return po("torch_model", epochs=2, device="cpu", progress=False)


# Graphs for nodes that need parameters, or company.
EXAMPLES: dict[str, Callable[[], Graph | Node]] = {
    "branch": lambda: branch({"one": po("scale"), "other": po("pca")}, selection="one"),
    "unbranch": lambda: branch({"one": po("scale"), "other": po("nop")}, selection="other"),
    "copy": lambda: po("copy", n=2) >> [po("scale"), po("select", columns="word")],
    "colapply": lambda: po("colapply", fn=np.square, columns=NUMBERS),
    "imputeconstant": lambda: po("imputeconstant", constant=0.5, columns="number"),
    "ingress_categ": lambda: trained_by(
        po("ingress_categ", columns="word"), nn("embedding", 2), nn("flatten"), columns=None
    ),
    "ingress_rows": lambda: trained_by(
        po("ingress_rows"), nn("constant_output"), head=False, columns=None
    ),
    "ingress_tensor": lambda: trained_by(
        po("ingress_tensor", columns="image"), nn("flatten"), columns=None
    ),
    "learner": lambda: po("learner", estimator=LogisticRegression(), columns=NUMBERS),
    "nn_block": lambda: trained_by(nn("block", nn("linear", 3) >> nn("relu"), n_blocks=2)),
    "nn_shared": lambda: trained_by(nn("shared", nn("linear", 2) >> nn("relu"), name="tower")),
    "nn_skip": lambda: trained_by(nn("skip", nn("linear", 2))),
    "nn_tied": lambda: trained_by(nn("tied", nn("linear", 2), name="tower")),
    "renamecolumns": lambda: po("renamecolumns", names={"number": "n"}),
    "text_embedding": lambda: po("text_embedding", model=sentence_model()),
    "select": lambda: po("select", columns=sel.type("float") - sel.names("whole")),
    "drop": lambda: po("drop", columns=["number"]),
    "sklearn": lambda: po("sklearn", StandardScaler(), columns=NUMBERS),
    "targetinvert": lambda: with_target(po("learner", LinearRegression, columns=NUMBERS), SCALED),
    "targetmutate": lambda: po("targetmutate", trafo=np.log, inverter=np.exp),
    "threshold": lambda: trained_by() >> po("threshold"),
    "torch_callbacks": lambda: trained_by(
        po("torch_callbacks", ["lr_step", "ema"], lr_step__step_size=1)
    ),
    "torch_loss": lambda: trained_by(po("torch_loss", "cross_entropy", label_smoothing=0.1)),
    "torch_model": lambda: trained_by(nn("linear", 4), nn("batch_norm1d"), nn("relu")),
}

# Columns for nodes of tensors that are no images.
PLACES = {"trafo_linear_transformation": "pixel", "trafo_uniform_temporal_subsample": "video"}


def fitted_with(key: str) -> tuple[FittedGraph, Task]:
    """A fitted graph with a node of this key, and the task it was fitted on."""
    cls = OFFERS[key].node
    refusals = []
    try:
        part = EXAMPLES[key]() if key in EXAMPLES else guessed(cls)
    except MLGraphError as error:
        raise AssertionError(gives_up(key, str(error))) from error
    tensors = key == "ingress_tensor" or issubclass(cls, LazyTransform)
    for task in [TENSORS] if tensors else TASKS:
        try:
            fitted = part.as_graph().fit(task, seed=1)
            fitted.predict(task)
        except MLGraphError as error:
            refusals.append(str(error))
            continue
        graphs = (fitted.graph, fitted.resolved)
        held = {type(node) for graph in graphs for node in graph.nodes.values()}
        assert cls in held, f"the example of {key!r} does not hold the node"
        return fitted, task
    raise AssertionError(gives_up(key, "\n".join(refusals)))


def guessed(cls: type[Node]) -> Graph:
    """The node with its defaults, in the company that its ports ask for."""
    if issubclass(cls, LazyTransform):
        return cls.create((), {"columns": PLACES.get(cls.key, "image"), **cls.example}).as_graph()
    node = cls.create()
    (into, *_), (out, *_) = node.ports()
    if fits(into.fit, ModelDescriptor):
        return trained_by(nn("linear", 4), node)
    if fits(out.fit, ModelDescriptor):
        return trained_by(node, columns=None)
    return node.as_graph()


def gives_up(key: str, why: str) -> str:
    return (
        f"No fitted graph with the node {key!r} could be guessed.\n{why}\n"
        "Add one to EXAMPLES in tests/store/test_catalogue.py."
    )


def fitted_layer(key: str) -> tuple[FittedGraph, tuple[torch.Tensor, ...]]:
    """A layer in a network that has just been made, as if trained, and inputs for it."""
    layer, tensors, descriptor = running_layer(key)
    with forked(0):
        made = network(descriptor)
    trained = Trained(
        descriptor=descriptor.without_data(),
        tensors=copied(made),
        history=pa.table({"epoch": [1], "train_loss": [0.5]}),
        seed=3,
        epochs=1,
        best_epoch=1,
        interrupted=False,
        stopped="",
        loss=None,
        optimizer=default_optimizer(),
    )
    graph = layer.renamed("layer").as_graph().add(trainer())
    states = {"layer": None, "torch_model": trained}
    return FittedGraph(graph, graph.resolved, states, 3, {}), tensors


def running_layer(key: str) -> tuple[Layer, tuple[torch.Tensor, ...], ModelDescriptor]:
    """A layer, inputs that it can work on, and the network of nothing else."""
    cls = OFFERS[key].node
    assert issubclass(cls, Layer)
    for number in range(10):
        layer, specs = storable(cls, number)
        ctx = Context(id="layer", phase="fit", seed=0)
        descriptor = layer.fit(arriving(layer, specs), ctx)[0][0]
        tensors = values(specs, 0)
        try:
            with torch.no_grad(), forked(0):
                network(descriptor).eval()(*tensors)
        except IndexError:  # values that are no codes of such an embedding
            continue
        return layer, tensors, descriptor
    raise AssertionError(gives_up(key, "it cannot work on the inputs that were drawn"))


# Layers that may be given what cannot be saved: a finished module.
NOT_DRAWN = {"nn_module": "an example with a finished module is refused when it is saved"}


def storable(cls: type[Layer], number: int) -> Any:
    if cls.key in NOT_DRAWN:
        return next(iter(cls.examples()))
    return drawn(cls, random.Random(f"saved {cls.key} {number}"))


def keep(key: str, folder: Path) -> str:
    """Save a graph with a node of this key, and data for it; returns what it answers."""
    file = folder / f"{key}.mlgraph"
    if key in LAYERS and key not in EXAMPLES:
        fitted, tensors = fitted_layer(key)
        inputs = folder / f"{key}.safetensors"
        named = {f"{i:02}": tensor.contiguous().clone() for i, tensor in enumerate(tensors)}
        save_file(named, inputs)
    else:
        fitted, task = fitted_with(key)
        inputs = folder / f"{key}.arrow"
        table = task.to_arrow()
        with pa.ipc.new_file(str(inputs), table.schema) as writer:
            writer.write_table(table)
    fitted.save(file)
    wanted: str = fresh.answer(fitted, inputs)
    loaded = mlgraph.load(file)
    assert fresh.answer(loaded, inputs) == wanted
    assert loaded.graph == fitted.graph and loaded.graph.hash == fitted.graph.hash
    assert loaded.resolved == fitted.resolved and loaded.seed == fitted.seed
    written = json.dumps(fitted.graph.to_dict())
    assert Graph.from_dict(json.loads(written)) == fitted.graph
    again = folder / f"{key}.again"
    loaded.save(again)
    assert again.read_bytes() == file.read_bytes()
    again.unlink()
    return wanted


@pytest.mark.parametrize("key", [*LAYERS, *OTHERS])
def test_a_graph_with_the_node_is_the_same_when_it_is_loaded(key: str, tmp_path: Path) -> None:
    keep(key, tmp_path)


def answers_of_a_fresh_process(folder: Path) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, str(FRESH), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_a_fresh_process_predicts_the_same(tmp_path: Path) -> None:
    wanted = {key: keep(key, tmp_path) for key in SAMPLE}
    assert answers_of_a_fresh_process(tmp_path) == wanted


@pytest.mark.slow
def test_a_fresh_process_predicts_the_same_with_every_node(tmp_path: Path) -> None:
    wanted = {key: keep(key, tmp_path) for key in [*LAYERS, *OTHERS]}
    assert answers_of_a_fresh_process(tmp_path) == wanted


def test_what_is_said_of_single_nodes_is_said_of_nodes_that_are_there() -> None:
    assert {*EXAMPLES, *NOT_DRAWN, *SAMPLE} <= OFFERS.keys()
