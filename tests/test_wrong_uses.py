"""Wrong uses, each with what its message must say: what is wrong, where, why, and how to mend it.

A row of ``WRONG`` is a use that cannot work. The first line of its error is what a log keeps, so
the row says what must be in it; further words may stand anywhere in the text.
"""

from __future__ import annotations

import datetime
import decimal
import pickle
import re
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn.linear_model import LinearRegression

from mlgraph import (
    ConfigError,
    DataError,
    Graph,
    GraphError,
    Layer,
    MLGraphError,
    Node,
    Port,
    QuantileRegression,
    ShapeError,
    Task,
    TaskType,
    branch,
    chain,
    layer,
    nn,
    po,
    replicate,
    sel,
    tune,
)
from mlgraph.errors import UnknownColumnError, UnknownKeyError, UnknownParameterError

N = 24
A, B, C = (np.random.default_rng(0).normal(size=(3, N)) + 1).tolist()
WORDS = ["r", "g", "b"] * (N // 3)
DATES = [datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=5 * i) for i in range(N)]
HOLES = [None, *C[1:]]
MODULE = torch.nn.Linear(7, 2)


def three(**more: Any) -> Task:
    """Three classes, two numbers, and more columns."""
    return Task({"a": A, "b": B, **more, "y": ["u", "v", "w"] * (N // 3)}, target="y")


def quantity(**more: Any) -> Task:
    return Task({"a": A, "b": B, **more, "y": C}, target="y")


def words(values: Any = WORDS) -> Task:
    return Task({"c": values, "y": ["no", "yes"] * (N // 2)}, target="y")


def raw(target: Any, **roles: Any) -> Task:
    """A task of two numbers with this target."""
    return Task({"a": A, "b": B, "y": target}, target="y", **roles)


def labelled(**roles: Any) -> Task:
    """Three labels."""
    truths = {name: np.array(column) > 1 for name, column in zip("pqr", (A, B, C), strict=True)}
    return Task({"a": A, "b": B, **truths}, target=["p", "q", "r"], **roles)


def weighted(weights: Any) -> Task:
    return Task({"a": A, "w": weights, "y": C}, target="y", weight="w")


def model(**parameters: Any) -> Node:
    return po("torch_model", **{"epochs": 1, "batch_size": 8, "progress": False, **parameters})


def linear(**parameters: Any) -> Graph:
    """The shortest network, and its trainer."""
    return nn("linear") >> model(**parameters)


def embedded(**parameters: Any) -> Graph:
    codes = po("ingress_categ", **parameters) >> nn("embedding_cat")
    return codes >> nn("head") >> model()


def configured(*nodes: Node) -> Graph:
    """The shortest network with a loss or an optimizer."""
    graph = nn("linear").as_graph()
    for node in nodes:
        graph = graph >> node
    return graph >> model()


def fitted(task: Task | None = None, graph: Graph | None = None) -> Any:
    return (graph or linear()).fit(three() if task is None else task, seed=1)


def predicting(**columns: Any) -> Callable[[], Any]:
    """Apply a graph fitted on the numbers ``a`` and ``b`` to other data."""
    return lambda: fitted().predict(columns)


def tables(*nodes: Any) -> Graph:
    return po("nop") >> list(nodes) >> po("featureunion") >> linear()


def meeting(one: Any, two: Any, merge: str = "merge_cat", **parameters: Any) -> Graph:
    """Two paths that meet in one network."""
    return [one, two] >> nn(merge, **parameters) >> nn("head") >> model()


class Absent(Node):
    """Needs a package that nobody has."""

    inputs = (Port("input", Task),)
    outputs = (Port("output", Task),)
    requires = ("no_such_package",)

    def fit(self, inputs, ctx):
        return (inputs["input"],), None

    def apply(self, state, inputs, ctx):
        return (inputs["input"],)


class Unbuilt(Layer):
    """Written as a module of torch would be."""

    def forward(self, x):
        return 2 * x


@layer
class LateGate(torch.nn.Module):
    """A module that learns its sizes from its first batch."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.linear = torch.nn.LazyLinear(width)

    def forward(self, x):
        return self.linear(x)


def defined(base: type[Any], **body: Any) -> Callable[[], Any]:
    """Define a class."""
    return lambda: type("Mine", (base,), body)


@attrs.frozen
class Row:
    """A wrong use, and what its error must be and say."""

    id: str
    use: Callable[[], Any]
    error: type[MLGraphError]
    first: str
    rest: tuple[str, ...]


def wrong(
    id: str, use: Callable[[], Any], error: type[MLGraphError], first: str, *rest: str
) -> Row:
    return Row(id, use, error, first, rest)


ASKING = [
    wrong(
        "layer that is not finished",
        lambda: nn("unbuilt"),
        UnknownKeyError,
        "the class Unbuilt is not finished",
        "'build'",
        "help(Layer.build)",
    ),
    wrong(
        "layer with an __init__",
        defined(Layer, __init__=lambda self, width=8: None),
        ConfigError,
        "Mine cannot have an __init__",
        "declare fields: width: int = param(default=8)",
    ),
    wrong(
        "layer without inputs",
        defined(Layer, build=lambda self: torch.nn.ReLU()),
        GraphError,
        "build() of Mine takes no input",
        "def build(self, x)",
    ),
    wrong(
        "selectors joined by and",
        lambda: po("select", columns=sel.type("float") and sel.names("a")),
        ConfigError,
        "A selector is neither true nor false",
        "sel.type('float')",
        "& | ~",
    ),
    wrong("unknown key", lambda: po("scal"), UnknownKeyError, "'scal'", "'scale'"),
    wrong("unknown layer", lambda: nn("linaer"), UnknownKeyError, "'nn_linaer'", "'nn_linear'"),
    wrong(
        "layer asked for with po", lambda: po("linear"), UnknownKeyError, "'linear'", "nn_linear"
    ),
    wrong(
        "unknown parameter",
        lambda: nn("linear", out_feature=3),
        UnknownParameterError,
        "nn(\"linear\") has no parameter 'out_feature'",
        "'out_features', 'bias'",
        "Did you mean 'out_features'?",
    ),
    wrong(
        "missing parameter",
        lambda: nn("embedding"),
        ConfigError,
        "nn(\"embedding\") needs 'embedding_dim'",
        'nn("embedding", embedding_dim=...)',
    ),
    wrong(
        "parameter of a wrong type",
        lambda: nn("linear", out_features="8"),
        ConfigError,
        "out_features='8'",
        "parameter 'out_features'",
        "expected an integer or None",
    ),
    wrong("fraction for a count", lambda: model(epochs=2.5), ConfigError, "epochs=2.5", "integer"),
    wrong("bool for a count", lambda: model(epochs=True), ConfigError, "epochs=True", "integer"),
    wrong("negative epochs", lambda: model(epochs=-1), ConfigError, "epochs=-1", "at least 0"),
    wrong("no rows per batch", lambda: model(batch_size=0), ConfigError, "=0", "at least 1"),
    wrong("dropout above one", lambda: nn("dropout", p=2), ConfigError, "p=2", "from 0 to 1"),
    wrong(
        "no such choice",
        lambda: po("encode", method="onehot"),
        ConfigError,
        "method='onehot'",
        "Did you mean 'one-hot'?",
    ),
    wrong("too many values", lambda: nn("linear", 1, True, 2), ConfigError, "takes 2", "got 3"),
    wrong("given twice", lambda: nn("linear", 3, out_features=3), ConfigError, "'out_features'"),
    wrong("a class for a key", lambda: nn(torch.nn.ReLU), GraphError, "nn() takes a key", "module"),
    wrong("po of nothing", lambda: po(None), GraphError, "NoneType", "scikit-learn estimator"),
    wrong(
        "options that are no dict",
        lambda: po("torch_loss", "mse", options=3, beta=1),
        ConfigError,
        "options=3",
        "expected a dict",
    ),
    wrong(
        "ports left to tuning",
        lambda: nn("fn", torch.sin, outputs=tune(1, 2)),
        ConfigError,
        "ports",
        "outputs=tune(1, 2)",
    ),
    wrong(
        "upside-down range", lambda: tune(3, 1), ConfigError, "tune(3, 1)", "smaller number first"
    ),
    wrong("no module", lambda: nn("module", dict), ConfigError, "module=dict", "torch.nn.Module"),
    wrong(
        "module without its arguments",
        lambda: nn("module", torch.nn.Linear),
        ConfigError,
        "Linear",
        "'in_features'",
    ),
    wrong(
        "unknown argument of a module",
        lambda: nn("module", torch.nn.Linear, in_features=2, out_feature=3),
        UnknownParameterError,
        "Linear has no parameter 'out_feature'",
        "Did you mean 'out_features'",
    ),
    wrong(
        "module for a function",
        lambda: nn("fn", torch.nn.ReLU()),
        ConfigError,
        "ReLU",
        'nn("module"',
    ),
    wrong("number for a function", lambda: nn("fn", 3), ConfigError, "fn=3", "a function"),
    wrong("no estimator", lambda: po("sklearn", 3), ConfigError, "int", "get_params"),
    wrong(
        "vary of a wrong length",
        lambda: nn("block", nn("linear", 3), n_blocks=2, vary={"linear__out_features": [1]}),
        ConfigError,
        "repeat its graph 2 times",
        "linear__out_features",
        "a list of 2 values",
    ),
    wrong(
        "vary of an unknown parameter",
        lambda: nn("block", nn("linear", 3), n_blocks=2, vary={"linear__width": [1, 2]}),
        UnknownParameterError,
        "'width'",
        "node 'block'",
        "'out_features'",
    ),
    wrong(
        "table node in a block", lambda: nn("block", po("scale"), 2), ConfigError, "repeat", "Task"
    ),
    wrong("unknown loss", lambda: po("torch_loss", "mes"), UnknownKeyError, "'mes'", "'mse'?"),
    wrong(
        "unknown optimizer",
        lambda: po("torch_optimizer", "adma"),
        UnknownKeyError,
        "'adma'",
        "'adam'",
    ),
    wrong(
        "unknown option of a loss",
        lambda: po("torch_loss", "cross_entropy", label_smooth=0.1),
        UnknownParameterError,
        "'label_smooth'",
        "Did you mean 'label_smoothing'?",
    ),
    wrong(
        "unknown option of an optimizer",
        lambda: po("torch_optimizer", "adam", learning_rate=0.1),
        UnknownParameterError,
        "'adam' has no option 'learning_rate'",
        "'lr'",
    ),
    wrong(
        "impossible option", lambda: po("torch_optimizer", lr=-1), ConfigError, "'adamw'", "lr=-1"
    ),
    wrong(
        "option of a wrong type",
        lambda: po("torch_optimizer", "adam", lr="fast"),
        ConfigError,
        "'adam'",
        "lr='fast'",
    ),
    wrong(
        "optimizer with a closure",
        lambda: po("torch_optimizer", "lbfgs"),
        ConfigError,
        "'lbfgs'",
        "once",
    ),
    wrong(
        "reduction of a loss",
        lambda: po("torch_loss", "mse", reduction="sum"),
        ConfigError,
        "'reduction'",
        "leave out",
    ),
]

WIRING = [
    wrong(
        "prediction into a table node",
        lambda: model() >> po("scale"),
        GraphError,
        "torch_model.output cannot feed scale.input",
        "a trainer gives nothing while fitting; only predictions come out of it",
        "put the node before the trainer",
    ),
    wrong(
        "task into a node of predictions",
        lambda: po("scale") >> po("threshold"),
        GraphError,
        "scale.output cannot feed threshold.input",
        "a Task is not a Prediction",
    ),
    wrong(
        "network into a table node",
        lambda: nn("linear") >> po("scale"),
        GraphError,
        "linear.output cannot feed scale.input",
        "a ModelDescriptor is not a Task",
    ),
    wrong(
        "trainer after trainer",
        lambda: model() >> model(),
        GraphError,
        "torch_model.output cannot feed torch_model.input",
        "a trainer gives nothing while fitting",
    ),
    wrong(
        "cycle",
        lambda: (po("scale") >> po("pca")).connect("pca.output", "scale.input"),
        GraphError,
        "pca.output -> scale.input closes a cycle",
        "a path leads from 'scale' to 'pca'",
    ),
    wrong(
        "self loop",
        lambda: po("scale").as_graph().connect("scale", "scale"),
        GraphError,
        "scale.output -> scale.input closes a cycle",
    ),
    wrong(
        "two wires into one input",
        lambda: (po("scale") & po("pca") & po("nop")).connect("scale", "nop").connect("pca", "nop"),
        GraphError,
        "nop.input is fed already",
        "scale.output -> nop.input",
        "featureunion",
    ),
    wrong(
        "two outputs into one input",
        lambda: [po("scale"), po("pca")] >> po("ingress_num"),
        GraphError,
        "2 outputs cannot feed 1 input",
        "scale.output, pca.output -> ingress_num.input",
        'po("featureunion")',
    ),
    wrong(
        "two outputs into three inputs",
        lambda: [po("scale"), po("pca")] >> nn("fn", torch.addcmul, inputs=("x", "y", "z")),
        GraphError,
        "2 outputs cannot feed 3 inputs",
        "fn.x, fn.y, fn.z",
    ),
    wrong(
        "one chosen id twice",
        lambda: po("scale", id="s") >> po("pca", id="s"),
        GraphError,
        "Two nodes are called 's'",
        'id="s_b"',
    ),
    wrong("id with __", lambda: po("scale", id="a__b"), GraphError, "'a__b'", "no __"),
    wrong("id that ends in _", lambda: po("scale", id="a_"), GraphError, "'a_'", "ends in no _"),
    wrong(
        "keyword as id", lambda: po("scale", id="class"), GraphError, "'class'", "word of Python"
    ),
    wrong(
        "number as id", lambda: po("scale", id=3), GraphError, "called 3", "starts with a letter"
    ),
    wrong(
        "forward as id", lambda: nn("linear", id="forward"), GraphError, "'forward'", "forward_1"
    ),
    wrong("bar", lambda: po("scale") | po("pca"), GraphError, "| joins nothing", "&", "branch"),
    wrong(
        "key in a chain", lambda: po("scale") >> "pca", GraphError, "A str cannot be part", "node"
    ),
    wrong(
        "module in a chain", lambda: po("scale") >> MODULE, GraphError, "A Linear", 'nn("module"'
    ),
    wrong(
        "function in a chain",
        lambda: po("scale") >> datetime.datetime.now,
        GraphError,
        "cannot be part",
        'nn("fn"',
    ),
    wrong(
        "connect an unknown node",
        lambda: linear().connect("linaer", "torch_model"),
        UnknownKeyError,
        "'linaer'",
        "'linear', 'torch_model'",
        "Did you mean 'linear'?",
    ),
    wrong(
        "connect an unknown port",
        lambda: linear().connect("linear.out", "torch_model"),
        GraphError,
        "'linear' has no output 'out'",
        "Did you mean 'output'?",
    ),
    wrong(
        "connect one port of several",
        lambda: (po("copy") & po("nop")).connect("copy", "nop"),
        GraphError,
        "Which output of 'copy'?",
        "copy.output_1",
    ),
    wrong(
        "connect what does not fit",
        lambda: (model() & po("scale")).connect("torch_model", "scale"),
        GraphError,
        "torch_model.output cannot feed scale.input",
    ),
    wrong(
        "connect nodes in place of ids",
        lambda: linear().connect(po("nop"), po("scale")),
        GraphError,
        "not the address of a port",
        '"id.port"',
    ),
    wrong(
        "parameter of an unknown node",
        lambda: linear().with_params(linaer__bias=False),
        UnknownKeyError,
        "'linaer'",
        "Did you mean 'linear'?",
    ),
    wrong(
        "unknown parameter of a node",
        lambda: linear().with_params(linear__biass=False),
        UnknownParameterError,
        "'biass'",
        "node 'linear'",
        "Did you mean 'bias'?",
    ),
    wrong(
        "impossible value in a graph",
        lambda: linear().with_params(linear__out_features=0),
        ConfigError,
        "out_features=0",
        "node 'linear'",
        "at least 1",
    ),
    wrong(
        "value for a node",
        lambda: linear().with_params(linear=3),
        GraphError,
        "'linear'",
        "linear__",
    ),
    wrong(
        "replace an unknown node",
        lambda: linear().replace("x", po("nop")),
        UnknownKeyError,
        "'x'",
        "'linear'",
    ),
    wrong(
        "replace by other ports",
        lambda: linear().replace("linear", po("copy")),
        GraphError,
        "po(\"copy\") cannot replace 'linear'",
        "output_1",
        ">>",
    ),
    wrong(
        "replace by other types",
        lambda: linear().replace("linear", po("threshold")),
        GraphError,
        "linear.output cannot feed torch_model.input",
    ),
    wrong(
        "replace by no node", lambda: linear().replace("linear", 3), GraphError, "'linear'", "got 3"
    ),
    wrong("rename an unknown node", lambda: linear().rename({"x": "z"}), UnknownKeyError, "'x'"),
    wrong(
        "rename to an id in use",
        lambda: linear().rename({"linear": "torch_model"}),
        GraphError,
        "'torch_model'",
    ),
    wrong("rename to no id", lambda: linear().rename({"linear": "a__b"}), GraphError, "'a__b'"),
    wrong(
        "subgraph of unknown nodes",
        lambda: linear().subgraph(["linaer"]),
        UnknownKeyError,
        "'linaer'",
        "'linear'?",
    ),
    wrong(
        "unknown node of a graph",
        lambda: linear()["linaer"],
        UnknownKeyError,
        "'linaer'",
        "'linear'?",
    ),
    wrong("prefix that is none", lambda: linear().prefix("1_"), GraphError, "'1_linear'", "letter"),
    wrong(
        "number as name of a path", lambda: {1: po("scale")} >> po("pca"), GraphError, "'1_scale'"
    ),
    wrong("negative copies", lambda: replicate(po("scale"), -1), ConfigError, "-1 is no count"),
    wrong(
        "parts of a chain in a list",
        lambda: chain([po("scale"), po("pca")]),
        GraphError,
        "chain() takes parts, and got one list of 2",
        "chain(*parts)",
    ),
    wrong(
        "paths without names",
        lambda: branch([po("pca"), None]),
        ConfigError,
        "A branch takes a dict of paths, not a list",
        "paths have names",
        'branch({"pca": po("pca"), "plain": None})',
    ),
    wrong(
        "branch without paths",
        lambda: branch({}),
        ConfigError,
        "A branch needs at least one path",
        'branch({"pca": po("pca"), "plain": None})',
    ),
    wrong(
        "unknown path of a branch",
        lambda: branch({"raw": None, "pca": po("pca")}, selection="pac"),
        ConfigError,
        "'pac'",
        "node 'branch'",
        "'raw', 'pca'",
        "Did you mean 'pca'?",
    ),
    wrong(
        "unknown path of a branch in a graph",
        lambda: branch({"raw": None, "pca": po("pca")}).with_params(branch__selection="x"),
        ConfigError,
        "No path of the branch is called 'x'",
        "node 'branch'",
    ),
    wrong(
        "path with two outputs",
        lambda: branch({"a": po("copy")}),
        GraphError,
        "Path 'a'",
        "output_2",
    ),
    wrong(
        "unbranch of paths that all run",
        lambda: ([po("scale"), po("pca")] >> po("unbranch")).fit(three()),
        GraphError,
        "2 of the inputs",
        "node 'unbranch'",
        "featureunion",
    ),
    wrong(
        "path that a branch does not take",
        lambda: (po("branch", ["p", "q"]) >> [po("scale"), po("pca")] >> po("featureunion")).fit(
            three()
        ),
        GraphError,
        "'featureunion' needs a path",
        "pca.output -> featureunion.inputs",
        'po("unbranch")',
    ),
]

RUNNING = [
    wrong(
        "fit a node",
        lambda: po("scale").fit(three()),
        GraphError,
        "'fit' is for graphs",
        ".as_graph().fit",
    ),
    wrong(
        "predict with a node",
        lambda: po("scale").predict(three()),
        GraphError,
        "'predict' is for graphs",
        "as_graph",
    ),
    wrong(
        "predict before fit",
        lambda: linear().predict(three()),
        GraphError,
        "A graph has no 'predict'",
        "fit(task)",
    ),
    wrong(
        "history before fit",
        lambda: linear().history,
        GraphError,
        "A graph has no 'history'",
        "fit(task)",
    ),
    wrong(
        "fit on a data frame",
        lambda: po("scale").as_graph().fit(pd.DataFrame({"a": A})),
        DataError,
        "scale.input takes a Task, and got a DataFrame",
        "Task(data, target=",
    ),
    wrong(
        "fit a network on a data frame",
        lambda: linear().fit(pd.DataFrame({"a": A})),
        DataError,
        "got a DataFrame",
        "Task(data, target=",
    ),
    wrong(
        "check on a dict",
        lambda: linear().check({"a": A}),
        DataError,
        "got a dict",
        "Task(data, target=",
    ),
    wrong(
        "fit on X and y",
        lambda: linear().fit((np.zeros((3, 2)), np.zeros(3))),
        DataError,
        "got a tuple",
        "Task(",
    ),
    wrong("fit on nothing", lambda: linear().fit(), GraphError, "one value", "'linear.input'"),
    wrong(
        "fit on two things",
        lambda: linear().fit(three(), inputs={"linear": three()}),
        GraphError,
        "or inputs=",
    ),
    wrong("fit an empty graph", lambda: Graph.empty().fit(three()), GraphError, "empty", "po("),
    wrong(
        "unknown input",
        lambda: linear().fit(inputs={"x": three()}),
        GraphError,
        "'x'",
        "'linear.input'",
    ),
    wrong(
        "missing input",
        lambda: (po("scale") & po("pca")).fit(inputs={"scale": three()}),
        GraphError,
        "No value is given for 'pca.input'",
    ),
    wrong(
        "doubled input",
        lambda: linear().fit(inputs={"linear": three(), "linear.input": three()}),
        GraphError,
        "'linear.input' is given twice",
    ),
    wrong(
        "inputs that are no dict",
        lambda: linear().fit(inputs=[three()]),
        GraphError,
        "inputs= takes a dict",
        "list",
    ),
    wrong(
        "raw data as an input",
        lambda: linear().fit(inputs={"linear": {"a": A}}),
        DataError,
        "dict",
        "Task(",
    ),
    wrong(
        "seed that is none",
        lambda: linear().fit(three(), seed="x"),
        ConfigError,
        "seed='x'",
        "integer",
    ),
    wrong(
        "keep an unknown node",
        lambda: linear().fit(three(), keep="lin"),
        UnknownKeyError,
        "'lin'",
        "'linear'?",
    ),
    wrong("keep a number", lambda: linear().fit(three(), keep=3), ConfigError, "keep=3", '"all"'),
    wrong(
        "fit with a token",
        lambda: linear(epochs=tune(1, 3)).fit(three()),
        ConfigError,
        "1 parameter is left to tuning",
        "torch_model__epochs=tune(1, 3)",
        "with_params",
    ),
    wrong(
        "check with a token",
        lambda: linear(epochs=tune(1, 3)).check(),
        ConfigError,
        "left to tuning",
    ),
    wrong(
        "check with a token and data",
        lambda: (po("select", tune(["a"])) >> linear()).check(three()),
        ConfigError,
        "left to tuning",
        "select__columns",
    ),
    wrong(
        "fit with a token in an option",
        lambda: configured(po("torch_optimizer", lr=tune(0.1, 1.0))).fit(three()),
        ConfigError,
        "left to tuning",
        "torch_optimizer__lr",
    ),
    wrong(
        "absent package",
        lambda: (Absent() >> linear()).fit(three()),
        ConfigError,
        "'no_such_package' is not installed",
        "'absent'",
        "pip install",
    ),
    wrong("unknown fitted node", lambda: fitted()["nope"], UnknownKeyError, "'nope'", "'linear'"),
    wrong(
        "fit parameter after fitting",
        lambda: fitted().with_params(linear__bias=False),
        ConfigError,
        "linear__bias cannot change after fitting",
        "graph.with_params(linear__bias=...)",
    ),
    wrong(
        "unknown parameter after fitting",
        lambda: fitted().with_params(torch_model__device_="cpu"),
        UnknownParameterError,
        "'device_'",
        "Did you mean 'device'?",
    ),
    wrong(
        "history without a trainer",
        lambda: fitted(graph=po("scale").as_graph()).history,
        GraphError,
        "0 trainers",
        "fitted[id]",
    ),
    wrong(
        "several things at once",
        lambda: (nn("linear", 64) >> model(metrics="rmse")).check(three()),
        MLGraphError,
        "2 things are wrong",
        "(batch, 64)",
        "'rmse' is the wrong metric",
        "node 'torch_model'",
    ),
]

TASKS = [
    wrong(
        "no target column",
        lambda: Task({"a": A}, target="y"),
        UnknownColumnError,
        "'y'",
        "role 'target'",
        "'a'",
    ),
    wrong(
        "misspelt target",
        lambda: Task({"a": A, "species": WORDS}, target="specie"),
        UnknownColumnError,
        "'specie'",
        "Did you mean 'species'?",
    ),
    wrong(
        "constant target",
        lambda: raw(["u"] * N),
        DataError,
        "always 'u'",
        "column 'y'",
        "two classes",
    ),
    wrong("target with holes", lambda: raw(HOLES), DataError, "1 missing", "column 'y'", "rows 0"),
    wrong("infinite target", lambda: raw([np.inf, *C[1:]]), DataError, "1 infinite", "column 'y'"),
    wrong(
        "integer target",
        lambda: raw([0, 1] * (N // 2)),
        DataError,
        "integer",
        'kind="classification"',
    ),
    wrong("date as target", lambda: raw(DATES), DataError, "datetime", "column 'y'"),
    wrong(
        "unknown kind",
        lambda: raw(C, kind="regresion"),
        ConfigError,
        "'regresion'",
        "'regression'?",
    ),
    wrong(
        "kind without a target",
        lambda: Task({"a": A}, kind="regression"),
        DataError,
        "needs a target",
    ),
    wrong(
        "words as quantities",
        lambda: raw(WORDS, kind="regression"),
        DataError,
        "string",
        "regression",
    ),
    wrong(
        "positive that is no class",
        lambda: raw(["no", "yes"] * (N // 2), positive="Yes"),
        ConfigError,
        "'Yes' is not a class",
        "'no' and 'yes'",
        "Did you mean 'yes'?",
    ),
    wrong(
        "positive of three",
        lambda: raw(WORDS, positive="r"),
        ConfigError,
        "two classes",
        "3 classes",
    ),
    wrong(
        "negative weight",
        lambda: weighted([-1.0, *A[1:]]),
        DataError,
        "'w' has",
        "negative",
        "rows 0",
    ),
    wrong(
        "missing weight",
        lambda: weighted([None, *[1.0] * (N - 1)]),
        DataError,
        "'w' has 1 missing",
        "rows 0",
    ),
    wrong("weights of zero", lambda: weighted([0.0] * N), DataError, "All weights in 'w' are 0"),
    wrong("words as weights", lambda: weighted(WORDS), DataError, "'w' is not numeric", "string"),
    wrong(
        "no weight column", lambda: raw(C, weight="w"), UnknownColumnError, "'w'", "role 'weight'"
    ),
    wrong(
        "two columns of one name",
        lambda: Task(pd.DataFrame(np.zeros((3, 2)), columns=["a", "a"])),
        DataError,
        "'a'",
        "more than once",
    ),
    wrong(
        "decimals",
        lambda: Task({"price": pa.array([decimal.Decimal("1.5")])}),
        DataError,
        "'price'",
        "decimal",
        "Cast it to a float",
    ),
    wrong("lists in a column", lambda: Task({"a": [[1, 2], [3]]}), DataError, "'a'", "list"),
    wrong(
        "mixed column", lambda: Task(pd.DataFrame({"a": [1, "x"]})), DataError, "'a'", "one type"
    ),
    wrong(
        "complex numbers",
        lambda: Task({"a": np.array([1j, 2.0])}),
        DataError,
        "'a'",
        "real and imaginary parts",
    ),
    wrong(
        "sparse column",
        lambda: Task(pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 1.0])})),
        DataError,
        "'a'",
        "densify it",
    ),
    wrong("column without a name", lambda: Task({"": [1]}), DataError, "''", "index=False"),
    wrong(
        "ragged columns", lambda: Task({"a": [1, 2], "b": [1]}), DataError, "length", "'b' has 1"
    ),
    wrong("no table", lambda: Task(3), DataError, "from int", "data frame"),
    wrong("no file", lambda: Task("nowhere.csv"), DataError, "nowhere.csv"),
]

KINDS = [
    wrong(
        "targets of unlike types",
        lambda: Task({"a": A, "b": B, "y": WORDS}, target=["b", "y"]),
        DataError,
        "targets 'b', 'y' is not clear",
        "'float', 'string'",
        'kind="multitarget"',
    ),
    wrong(
        "one kind for several targets",
        lambda: Task({"a": A, "b": B, "y": C}, target=["b", "y"], kind="regression"),
        DataError,
        "kind 'regression' has one target, not 2",
        "'b', 'y'",
        "'multitarget'",
    ),
    wrong(
        "a target named twice",
        lambda: Task({"a": A, "y": C}, target=["y", "y"]),
        DataError,
        "'y' is named twice",
        "once",
    ),
    wrong("no targets named", lambda: Task({"a": A}, target=[]), DataError, "is empty", "Leave"),
    wrong(
        "one of several targets is unknown",
        lambda: Task({"a": A, "weight": B, "y": C}, target=["y", "wieght"]),
        UnknownColumnError,
        "'wieght'",
        "role 'target'",
        "Did you mean 'weight'?",
    ),
    wrong(
        "labels that are quantities",
        lambda: Task({"a": A, "b": B, "y": C}, target=["b", "y"], kind="multilabel"),
        DataError,
        "Target 'b' of type float does not fit multilabel",
        "'bool', 'int'",
    ),
    wrong(
        "labels that are counts",
        lambda: Task({"a": A, "p": [0, 1, 2] * 8, "q": [0, 1] * 12}, ["p", "q"], kind="multilabel"),
        DataError,
        "Label 'p' is neither true nor false in 8 rows",
        "here is a 2",
        'kind="multitarget"',
    ),
    wrong(
        "levels that fall",
        lambda: QuantileRegression(levels=(0.9, 0.1)),
        ConfigError,
        "QuantileRegression() cannot take levels=(0.9, 0.1)",
        "rising numbers between 0 and 1",
    ),
    wrong(
        "unknown option of a kind",
        lambda: QuantileRegression(level=(0.1, 0.5)),
        UnknownParameterError,
        "QuantileRegression() has no parameter 'level'",
        "Did you mean 'levels'?",
    ),
    wrong(
        "option of a kind by position",
        lambda: QuantileRegression((0.1, 0.5)),
        ConfigError,
        "QuantileRegression takes its parameters by name",
        "QuantileRegression(levels=...)",
    ),
    wrong(
        "kind with a token",
        lambda: raw(C, kind=QuantileRegression(levels=tune([(0.1, 0.9), (0.2, 0.8)]))),
        ConfigError,
        "A task cannot be tuned",
        "'levels' is left to tuning",
    ),
    wrong(
        "levels in percent",
        lambda: raw(C, kind=QuantileRegression(levels=(5, 50, 95))),
        ConfigError,
        "levels=(5, 50, 95)",
        "between 0 and 1",
    ),
    wrong(
        "quantiles of words",
        lambda: raw(WORDS, kind="quantile"),
        DataError,
        "string does not fit quantile",
        "column 'y'",
    ),
    wrong(
        "positive label of several",
        lambda: labelled(positive=True),
        ConfigError,
        "Only a task with two classes",
        "multilabel",
    ),
    wrong(
        "one logit for three labels",
        lambda: (nn("linear", 1) >> model()).fit(labelled()),
        ShapeError,
        "the task needs (batch, 3)",
        "3 labels need one logit each",
        'nn("head")',
    ),
    wrong(
        "a mean without a deviation",
        lambda: (nn("linear", 1) >> model()).fit(raw(C, kind="normal")),
        ShapeError,
        "the task needs (batch, 2)",
        "logarithm of its deviation",
    ),
    wrong(
        "squared error for quantiles",
        lambda: configured(po("torch_loss", "mse")).fit(raw(C, kind="quantile")),
        ConfigError,
        "'mse' is the wrong loss",
        "the task is quantile",
        "use 'pinball'",
    ),
    wrong(
        "accuracy of labels",
        lambda: linear(metrics="accuracy").fit(labelled()),
        ConfigError,
        "'accuracy' is the wrong metric",
        "multilabel",
        "use 'hamming_loss'",
    ),
    wrong(
        "coverage to watch",
        lambda: linear(metrics="coverage", patience=1).fit(
            raw(C, kind="quantile"), valid=0.25, seed=1
        ),
        ConfigError,
        "'valid_coverage' should be high or low",
        "greater_is_better",
    ),
    wrong(
        "class weights of labels",
        lambda: linear(class_weight="balanced").fit(labelled()),
        ConfigError,
        "class_weight does not fit",
        "multilabel task without classes",
        "weigh rows",
    ),
    wrong(
        "balance labels",
        lambda: (po("classbalancing") >> linear()).fit(labelled()),
        DataError,
        "needs classes",
        "'multilabel'",
    ),
    wrong(
        "scale labels",
        lambda: po("targetscale").as_graph().fit(labelled()),
        DataError,
        "transforms quantities",
        "'multilabel'",
    ),
    wrong(
        "logarithm of a normal target",
        lambda: po("targetmutate", np.log).as_graph().fit(raw(np.exp(C), kind="normal")),
        DataError,
        "cannot transform the target of a task of kind 'normal'",
        "targetscale",
    ),
    wrong(
        "an estimator for several targets",
        lambda: po(LinearRegression()).as_graph().fit(Task({"a": A, "b": B, "y": C}, ["b", "y"])),
        DataError,
        "LinearRegression cannot learn this task",
        "'multitarget'",
    ),
    wrong(
        "a kind with the key of another",
        lambda: type("Mine", (TaskType,), {"key": "regression"}),
        ConfigError,
        "Mine cannot be the kind of task 'regression'",
        "Regression",
        "another name",
    ),
    wrong(
        "a kind without methods",
        lambda: raw(C, kind=type("Unfinished", (TaskType,), {"__module__": __name__})),
        ConfigError,
        "Unfinished is no kind of task yet",
        "'encode', 'loss', 'output_size', 'predict'",
    ),
    wrong(
        "validate on half of the targets",
        lambda: linear().fit(
            Task({"a": A, "b": B, "y": C}, ["b", "y"]), valid=Task({"a": A, "b": B}, "b"), seed=1
        ),
        DataError,
        "validate with has no target",
        "'y'",
    ),
]

TABLES = [
    wrong(
        "select an unknown column",
        lambda: po("select", ["bb"]).as_graph().fit(three()),
        UnknownColumnError,
        "'bb'",
        "node 'select'",
        "Did you mean 'b'?",
    ),
    wrong("select by a number", lambda: po("select", 3), ConfigError, "3 does not select", "sel."),
    wrong("unknown feature type", lambda: sel.type("number"), ConfigError, "'number'", "'float'"),
    wrong(
        "select nothing for a network",
        lambda: (po("select", sel.none()) >> linear()).fit(three()),
        DataError,
        "No column is left",
        "node 'ingress'",
        "no features",
    ),
    wrong(
        "rename to a name in use",
        lambda: po("renamecolumns", {"a": "b"}).as_graph().fit(three()),
        DataError,
        "'b'",
        "node 'renamecolumns'",
    ),
    wrong(
        "rename an unknown column",
        lambda: po("renamecolumns", {"z": "q"}).as_graph().fit(three()),
        UnknownColumnError,
        "'z'",
        "node 'renamecolumns'",
        "'a', 'b'",
    ),
    wrong(
        "union of columns that differ",
        lambda: tables(po("scale"), None).fit(three()),
        DataError,
        "'a', 'b'",
        "node 'featureunion'",
        "prefixes=",
    ),
    wrong(
        "impute a word into numbers",
        lambda: (po("imputeconstant", "x", columns="c") >> linear()).fit(three(c=HOLES)),
        DataError,
        "'c' cannot be filled with 'x'",
        "node 'imputeconstant'",
        "float",
    ),
    wrong(
        "scale the target of classes",
        lambda: po("targetscale").as_graph().fit(three()),
        DataError,
        "quantities",
        "node 'targetscale'",
        "classification",
    ),
    wrong(
        "balance the classes of quantities",
        lambda: po("classbalancing").as_graph().fit(quantity()),
        DataError,
        "needs classes",
        "regression",
    ),
    wrong(
        "regressor for classes",
        lambda: po("learner", LinearRegression()).as_graph().fit(three()),
        DataError,
        "LinearRegression cannot learn",
        "node 'learner'",
        "classification",
    ),
    wrong(
        "too few values from a function",
        lambda: po("colapply", lambda values: values[:3]).as_graph().fit(three()),
        DataError,
        "one value per row",
        "node 'colapply'",
        "3 values",
    ),
    wrong(
        "thresholds of other classes",
        lambda: fitted(graph=linear() >> po("threshold", {"x": 0.5})).predict(three()),
        DataError,
        "thresholds",
        "node 'threshold'",
        "'u', 'v', 'w'",
    ),
]

ENTERING = [
    wrong(
        "words into a numeric ingress",
        lambda: (po("ingress_num") >> linear()).fit(three(c=WORDS)),
        DataError,
        "ingress_num cannot take 'c' (string)",
        "node 'ingress_num'",
        "'float', 'int'",
        'po("encode")',
    ),
    wrong(
        "numbers into a categorical ingress",
        lambda: embedded().fit(three(c=WORDS)),
        DataError,
        "ingress_categ cannot take 'a' (float)",
        "node 'ingress_categ'",
        "'category'",
    ),
    wrong(
        "numbers and words by themselves",
        lambda: linear().fit(three(c=WORDS)),
        DataError,
        "one door",
        "node 'ingress'",
        "'c' are categories",
        "'a', 'b' are numbers",
        'po("encode")',
    ),
    wrong(
        "dates into a network",
        lambda: linear().fit(three(d=DATES)),
        DataError,
        "'d' (datetime)",
        "node 'ingress'",
        'po("datefeatures")',
    ),
    wrong(
        "holes into a network",
        lambda: linear().fit(three(c=HOLES)),
        DataError,
        "Missing values would reach the network: 'c'",
        "node 'ingress'",
        'po("impute")',
    ),
    wrong(
        "missing words",
        lambda: embedded().fit(words([None, *WORDS[1:]])),
        DataError,
        "'c'",
        'po("impute")',
    ),
    wrong(
        "infinity into a network",
        lambda: linear().fit(three(c=[np.inf, *C[1:]])),
        DataError,
        "Infinite values would reach the network: 'c'",
        "node 'ingress'",
        "clip",
    ),
    wrong(
        "too large for float32",
        lambda: linear().fit(three(c=[1e300, *C[1:]])),
        DataError,
        "'c'",
        "float32",
    ),
    wrong(
        "unknown column of an ingress",
        lambda: (po("ingress_num", columns="z") >> linear()).fit(three()),
        UnknownColumnError,
        "'z'",
        "node 'ingress_num'",
        "'a', 'b'",
    ),
    wrong(
        "codes into a linear layer",
        lambda: linear().fit(words()),
        ShapeError,
        "linear cannot accept (batch, 1) int64",
        "node 'linear', fed by 'ingress'",
        'nn("embedding")',
    ),
    wrong(
        "other rows on two paths",
        lambda: meeting(
            po("ingress_num", columns="a"),
            po("subsample", 0.5) >> po("ingress_num", id="other", columns="b"),
        ).fit(three(), seed=1),
        DataError,
        "rows of two tasks",
        "node 'merge_cat'",
        "24 and 12 rows",
    ),
    wrong(
        "unsupervised task",
        lambda: linear().fit(Task({"a": A})),
        ConfigError,
        "without a target",
        "node 'linear'",
    ),
]

NETWORKS = [
    wrong(
        "lazy module",
        lambda: (nn("late_gate") >> linear()).fit(three(), seed=1),
        ConfigError,
        "The sizes of the LateGate are not fixed",
        "node 'late_gate'",
        "first batch",
        'nn("linear")',
    ),
    wrong(
        "network without a head",
        lambda: (nn("relu") >> model()).fit(three()),
        ShapeError,
        "puts out (batch, 2) float32, and the task needs (batch, 3)",
        "node 'torch_model', output of 'relu'",
        "3 classes need one logit each",
        'nn("head")',
    ),
    wrong(
        "64 logits for 3 classes",
        lambda: (nn("linear", 64) >> model()).fit(three()),
        ShapeError,
        "(batch, 64)",
    ),
    wrong(
        "no layer", lambda: model().as_graph().fit(three()), ShapeError, "(batch, 2)", 'nn("head")'
    ),
    wrong(
        "nothing to learn",
        lambda: (nn("fn", lambda x: x[:, :1]) >> model()).fit(quantity()),
        GraphError,
        "nothing to learn",
        "node 'torch_model'",
        'nn("head")',
    ),
    wrong(
        "batch that is no longer first",
        lambda: (
            nn("transpose", 0, 1) >> nn("fn", lambda x: x[:, :3]) >> nn("linear", 3) >> model()
        ).fit(three()),
        ShapeError,
        "needs (batch, 3)",
        "no longer the batch",
        "node 'torch_model'",
    ),
    wrong(
        "sum of other widths",
        lambda: meeting(nn("linear", 4), nn("linear", 5), "merge_sum").fit(three()),
        ShapeError,
        "merge_sum cannot accept (batch, 4) float32 and (batch, 5) float32",
        "node 'merge_sum', fed by 'linear'",
        "sizes 4 and 5",
    ),
    wrong(
        "row of other ranks",
        lambda: meeting(nn("linear", 4), nn("unsqueeze", 1)).fit(three()),
        ShapeError,
        "merge_cat cannot accept",
        "node 'merge_cat'",
        "one rank",
        'nn("flatten")',
    ),
    wrong(
        "linear layer after an unknown width",
        lambda: (nn("fn", lambda x: x[:, x[0] > 0]) >> linear()).fit(three()),
        ShapeError,
        "linear cannot accept",
        "node 'linear', fed by 'fn'",
        "is not known",
    ),
    wrong(
        "layer of images on a table",
        lambda: (nn("batch_norm2d") >> linear()).fit(three()),
        ShapeError,
        "batch_norm2d cannot accept (batch, 2) float32",
        "node 'batch_norm2d'",
        "(batch, channels, height, width)",
    ),
    wrong(
        "module of another width",
        lambda: (nn("module", MODULE) >> linear()).fit(three()),
        ShapeError,
        "module cannot accept (batch, 2) float32",
        "node 'module'",
        "batch x 2 and 7 x 2",
    ),
    wrong(
        "function that returns no tensor",
        lambda: (nn("fn", lambda x: "x") >> linear()).fit(three()),
        ShapeError,
        "must return tensors",
        "node 'fn'",
        "str",
    ),
    wrong(
        "function with another number of outputs",
        lambda: (nn("fn", lambda x: (x, x)) >> linear()).fit(three()),
        ShapeError,
        "returns 2 tensors, not 1",
        "node 'fn'",
    ),
    wrong(
        "function that fails",
        lambda: (nn("fn", lambda x: 1 / 0) >> linear()).fit(three()),
        ShapeError,
        "The output of fn",
        "node 'fn', fed by 'ingress'",
        "ZeroDivisionError",
    ),
    wrong(
        "batch norm with one row",
        lambda: (nn("batch_norm1d") >> linear()).fit(quantity().take([0])),
        DataError,
        "batches of one row",
        "node 'torch_model'",
        "layer_norm",
    ),
    wrong(
        "batch norm with batches of one",
        lambda: (nn("batch_norm1d") >> linear(batch_size=1)).fit(three()),
        DataError,
        "batch_size=1",
    ),
]

TRAINING = [
    wrong(
        "loss of quantities for classes",
        lambda: configured(po("torch_loss", "mse")).fit(three()),
        ConfigError,
        "'mse' is the wrong loss",
        "node 'torch_model'",
        "multiclass",
        "'cross_entropy'",
    ),
    wrong(
        "loss of classes for quantities",
        lambda: configured(po("torch_loss", "cross_entropy")).fit(quantity()),
        ConfigError,
        "'cross_entropy' is the wrong loss",
        "use 'mse'",
    ),
    wrong(
        "two losses",
        lambda: configured(po("torch_loss", "mse"), po("torch_loss", "mse")).fit(quantity()),
        GraphError,
        "loss already",
        "node 'torch_loss_2'",
        "leave one",
    ),
    wrong(
        "two optimizers",
        lambda: configured(po("torch_optimizer"), po("torch_optimizer")).fit(quantity()),
        GraphError,
        "optimizer already",
        "node 'torch_optimizer_2'",
    ),
    wrong(
        "optimizer of sparse gradients",
        lambda: configured(po("torch_optimizer", "sparse_adam")).fit(quantity()),
        ConfigError,
        "'sparse_adam' cannot train this network",
        "node 'torch_model'",
        "'adamw'",
    ),
    wrong(
        "patience without validation",
        lambda: linear(patience=2).fit(three()),
        ConfigError,
        "patience=2 needs validation data",
        "node 'torch_model'",
        "valid=0.2",
    ),
    wrong(
        "unknown metric",
        lambda: linear(metrics="accurracy").fit(three(), valid=0.25),
        UnknownKeyError,
        "'accurracy'",
        "node 'torch_model'",
        "'accuracy'",
    ),
    wrong(
        "metric of another kind",
        lambda: linear(metrics="rmse").fit(three(), valid=0.25),
        ConfigError,
        "'rmse' is the wrong metric",
        "use 'accuracy'",
    ),
    wrong(
        "number as metric",
        lambda: linear(metrics=3).fit(three(), valid=0.25),
        ConfigError,
        "3 is not a metric",
    ),
    wrong(
        "unknown monitor",
        lambda: linear(metrics="accuracy", monitor="acuracy", patience=1).fit(three(), valid=0.25),
        ConfigError,
        "'acuracy'",
        "'valid_loss', 'valid_accuracy'",
        "Did you mean 'valid_accuracy'?",
    ),
    wrong(
        "metric without a direction",
        lambda: linear(metrics=len, patience=1).fit(three(), valid=0.25),
        ConfigError,
        "'valid_len'",
        "greater_is_better",
    ),
    wrong(
        "loss that is no number",
        lambda: (nn("fn", lambda x: x * float("nan")) >> linear()).fit(three()),
        DataError,
        "The loss is nan in step 1 of epoch 1",
        "node 'torch_model'",
    ),
    wrong(
        "training that diverges",
        lambda: configured(po("torch_optimizer", "sgd", lr=1e30)).fit(quantity()),
        DataError,
        "The loss is",
        "1e+30",
        "learning rate",
    ),
    wrong(
        "validate too much",
        lambda: linear().fit(three(), valid=1.5),
        ConfigError,
        "valid=1.5",
        "between 0 and 1",
    ),
    wrong(
        "validate nothing",
        lambda: linear().fit(three(), valid=0),
        ConfigError,
        "valid=0",
        "valid=0.2",
    ),
    wrong(
        "validate yes",
        lambda: linear().fit(three(), valid=True),
        ConfigError,
        "valid=True",
        "valid=0.2",
    ),
    wrong(
        "validate unknown rows",
        lambda: linear().fit(three(), valid=[0, 99]),
        DataError,
        "Row 99 is not here",
    ),
    wrong(
        "validate all rows",
        lambda: linear().fit(three(), valid=list(range(N))),
        DataError,
        "train on",
    ),
    wrong(
        "validate without a target",
        lambda: linear().fit(three(), valid=Task({"a": A, "b": B})),
        DataError,
        "validate with has no target",
        "'y'",
    ),
    wrong(
        "class without a weight",
        lambda: linear(class_weight={"u": 1.0, "v": 2.0}).fit(three()),
        ConfigError,
        "class_weight",
        "node 'torch_model'",
        "no weight for 'w'",
    ),
    wrong(
        "weight without a class",
        lambda: linear(class_weight={"u": 1.0, "v": 2.0, "w": 1.0, "x": 1.0}).check(three()),
        ConfigError,
        "class_weight",
        "'x'",
    ),
    wrong(
        "weights of quantities",
        lambda: linear(class_weight="balanced").check(quantity()),
        ConfigError,
        "class_weight",
    ),
    wrong(
        "unknown device",
        lambda: linear(device="gpu").check(three()),
        ConfigError,
        "'gpu'",
        "available are",
        '"auto"',
    ),
]

PREDICTING = [
    wrong(
        "column missing",
        predicting(a=[1.0]),
        DataError,
        "Column 'b' is missing",
        "input 'ingress.input' of the graph",
        "'a'",
    ),
    wrong(
        "word for a number",
        predicting(a=["x"], b=[1.0]),
        DataError,
        "'a' is string here and was float",
        "'x'",
    ),
    wrong(
        "number for a word",
        lambda: fitted(words(), embedded()).predict({"c": [1.5]}),
        DataError,
        "'c' is float here",
    ),
    wrong(
        "holes in new data",
        predicting(a=[None, 1.0], b=[1.0, 1.0]),
        DataError,
        "'a'",
        "node 'ingress'",
        "impute",
    ),
    wrong(
        "infinity in new data", predicting(a=[np.inf], b=[1.0]), DataError, "'a'", "node 'ingress'"
    ),
    wrong(
        "unknown class as truth",
        predicting(a=[1.0], b=[1.0], y=["x"]),
        DataError,
        "'x' is not a class",
        "'u', 'v', 'w'",
    ),
    wrong(
        "number as truth",
        predicting(a=[1.0], b=[1.0], y=[3.0]),
        DataError,
        "'y' is float here and was string",
    ),
    wrong(
        "array of another width",
        lambda: fitted().predict(np.zeros((2, 3))),
        DataError,
        "3 columns",
        "2 features",
    ),
    wrong(
        "array of one dimension",
        lambda: fitted().predict(np.zeros(2)),
        DataError,
        "(2,)",
        "two dimensions",
    ),
    wrong("no columns", predicting(), DataError, "2 columns are missing: 'a', 'b'"),
    wrong("nothing", lambda: fitted().predict(), GraphError, "one value"),
    wrong(
        "number in place of data", lambda: fitted().predict(3), DataError, "from int", "data frame"
    ),
    wrong(
        "level that fit did not see",
        lambda: fitted(words(), embedded()).predict({"c": ["violet"]}),
        DataError,
        "'c' has a level that fit did not see: 'violet'",
        "node 'ingress_categ'",
        "'b', 'g', 'r'",
        'unknown="slot"',
    ),
    wrong(
        "level that the encoder did not see",
        lambda: fitted(words(), po("encode", unknown="error") >> linear()).predict(
            {"c": ["violet"]}
        ),
        DataError,
        "'violet'",
        "node 'encode'",
        'unknown="zeros"',
    ),
    wrong(
        "level that the encoder leaves open",
        lambda: fitted(words(), po("encode", unknown="missing") >> linear()).predict(
            {"c": ["violet"]}
        ),
        DataError,
        "Missing values would reach the network",
        "node 'ingress'",
    ),
]

WRONG = [
    *ASKING,
    *WIRING,
    *RUNNING,
    *TASKS,
    *KINDS,
    *TABLES,
    *ENTERING,
    *NETWORKS,
    *TRAINING,
    *PREDICTING,
]


@pytest.mark.parametrize("row", WRONG, ids=lambda row: row.id)
def test_a_wrong_use_is_refused_with_what_where_why_and_how_to_mend_it(row: Row):
    with pytest.raises(row.error) as caught:
        row.use()
    text = str(caught.value)
    first = text.splitlines()[0]
    assert row.first in first
    assert [words for words in row.rest if words not in text] == []
    assert re.search(r"[.?]$", first), f"not a sentence: {first}"
    assert not re.search(r"\b0x[0-9a-f]{6,}|<lambda>|Traceback", text), f"internals: {text}"
    assert "why:" in text or "mend:" in text, f"neither a reason nor a remedy: {text}"


def test_every_wrong_use_has_a_name_of_its_own():
    names = [row.id for row in WRONG]
    assert len(set(names)) == len(names) >= 60


def test_an_error_can_be_caught_as_what_python_would_have_raised():
    with pytest.raises(LookupError):
        po("scal")
    with pytest.raises(ValueError, match="no parameter"):
        nn("linear", out_feature=3)
    with pytest.raises(AttributeError):
        linear().predict(three())
    assert not hasattr(linear(), "predict")


def test_an_error_survives_pickling_with_its_whole_text():
    with pytest.raises(ShapeError) as caught:
        (nn("linear", 64) >> model()).fit(three())
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is ShapeError
    assert str(again) == str(caught.value)


def test_an_estimator_that_is_not_fitted_says_so_in_the_words_of_scikit_learn():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="not fitted"):
        linear().as_classifier().predict(np.zeros((2, 2)))


class Fragile(torch.nn.Module):
    """Breaks in training, or when it predicts, and never while shapes are inferred."""

    def __init__(self, training: bool) -> None:
        super().__init__()
        self.breaks = training

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        real = x.device.type == "cpu" and type(x) is torch.Tensor
        if real and self.training is self.breaks:
            raise KeyError("a mistake of the user's")
        return x


@pytest.mark.parametrize("training", [True, False])
def test_an_exception_in_a_layer_keeps_its_type_and_gains_a_note_with_the_layer(training):
    graph = nn("linear", 4) >> nn("module", Fragile, training=training, id="fragile") >> linear()
    with pytest.raises(KeyError, match="mistake of the user") as caught:
        graph.fit(three()).predict(three())
    layer, node = caught.value.__notes__
    assert re.match(r"in layer 'fragile' \(Fragile\); input was \(\d+, 4\) float32", layer)
    assert "in node 'torch_model'" in node


def test_an_exception_in_a_function_for_columns_keeps_its_type_and_gains_a_note():
    graph = po("colapply", lambda values: {}["x"]) >> linear()
    with pytest.raises(KeyError) as caught:
        graph.fit(three())
    assert "in node 'colapply'" in caught.value.__notes__[0]
    assert "Task 24 x 2" in caught.value.__notes__[0]


def test_reordered_and_extra_columns_change_no_prediction():
    model_ = fitted()
    plain = model_.predict({"a": A, "b": B}).prob
    frame = pd.DataFrame({"extra": WORDS, "b": B, "more": HOLES, "a": A})
    assert np.array_equal(model_.predict(frame).prob, plain)
    assert np.array_equal(model_.predict(np.column_stack([A, B])).prob, plain)
    odd = frame.assign(raw=[b"?"] * N, took=pd.Timedelta(1)).rename(columns={"more": 7.5})
    assert np.array_equal(model_.predict(odd).prob, plain)
    doubled = pd.concat([odd, odd[["raw", "extra"]]], axis=1)
    assert np.array_equal(model_.predict(doubled).prob, plain)


def test_integers_in_new_data_do_where_floats_were_fitted():
    model_ = fitted()
    given = {"a": [1, 2], "b": [3, 4]}
    floats = {name: [float(value) for value in values] for name, values in given.items()}
    assert np.array_equal(model_.predict(given).prob, model_.predict(floats).prob)


def test_a_refused_use_leaves_the_graph_as_it_was():
    graph = linear()
    before = graph.hash
    for change in (
        lambda: graph.connect("torch_model", "linear"),
        lambda: graph.with_params(linear__out_features=-1),
        lambda: graph.rename({"linear": "torch_model"}),
        lambda: graph.fit(words()),
    ):
        with pytest.raises(MLGraphError):
            change()
    assert graph.hash == before
    assert graph == linear()


@pytest.mark.parametrize("valid", [None, 0.3])
def test_a_check_goes_on_where_only_values_cannot_enter(valid: float | None) -> None:
    data = {"a": [1.0, None, 3.0, 4.0] * 5, "b": [0.5, 1.0, 2.0, 3.0] * 5, "y": ["u", "v"] * 10}
    trainer = po("torch_model", epochs=1, metrics="rmse", class_weight={"zz": 2.0})
    graph = po("scale") >> nn("linear", 4) >> nn("conv1d", 3, 3) >> nn("head") >> trainer
    with pytest.raises(MLGraphError) as caught:
        graph.check(Task(data, target="y"), valid=valid)
    found = [error.where.partition(",")[0] for error in caught.value.errors]
    assert found == ["node 'ingress'", "node 'conv1d'", "node 'torch_model'", "node 'torch_model'"]


def test_what_a_node_found_is_not_told_again_by_those_behind_it() -> None:
    task = Task({"a": [1.0, None, 3.0, 4.0], "y": ["u", "v"] * 2}, target="y")
    graph = nn("linear", 4) >> nn("head") >> po("torch_model", epochs=1)
    with pytest.raises(DataError, match="Missing values would reach the network") as caught:
        graph.check(task)
    assert not caught.value.errors and caught.value.where == "node 'ingress'"
