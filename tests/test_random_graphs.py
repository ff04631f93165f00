"""Random graphs of real nodes: every one of them works, or is refused in words of ours.

A program is a piece of Python, written at random: nodes of the whole catalogue with random
parameters (some impossible), wired with ``>>``, ``&``, lists, dicts, branches and ``connect``. It
is built, checked, fitted on a small task and applied to new data. Whatever happens must be success
or an ``MLGraphError``; a warning counts as an exception. What fails is printed as code.

The suite runs a few programs. ``pytest -m slow tests/test_random_graphs.py`` runs thousands;
``MLGRAPH_EXAMPLES`` says how many, and ``MLGRAPH_SEED`` draws others.
"""

from __future__ import annotations

import datetime
import functools
import os
import random
import traceback
import typing
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from mlgraph import (
    ConfigError,
    DataError,
    Graph,
    MLGraphError,
    Task,
    branch,
    lazy,
    nn,
    po,
    replicate,
    sel,
    tune,
    union,
)
from mlgraph.catalogue import catalogue
from mlgraph.data.lazy.pending import LazyType

EXAMPLES = int(os.environ.get("MLGRAPH_EXAMPLES", "10000"))
ROWS = 24

# Tasks ----------------------------------------------------------------------------------------


def task(kind: str, columns: str, weight: bool = False, n: int = ROWS) -> Task:
    """A small task with columns of these kinds: ``n`` numbers, ``c`` categories, ..."""
    return _task(kind, columns, weight, n)


@functools.cache
def _task(kind: str, columns: str, weight: bool, n: int) -> Task:
    rng = np.random.default_rng(len(columns))
    target = {
        "binary": ["no", "yes"] * n,
        "classes": ["u", "v", "w"] * n,
        "quantity": rng.normal(size=n).tolist(),
    }[kind][:n]
    data = {name: values for code in columns for name, values in COLUMNS[code](rng, n).items()}
    extra = {"weight_": rng.random(n) + 0.1} if weight else {}
    return Task({**data, **extra, "y": target}, target="y", weight="weight_" if weight else None)


def _holes(values: Any, n: int) -> list[Any]:
    return [None if i % 7 == 3 else value for i, value in enumerate(list(values)[:n])]


START = datetime.datetime(2024, 1, 1)
COLUMNS = {
    "n": lambda rng, n: {"a": rng.normal(size=n), "b": rng.normal(size=n) * 3},
    "i": lambda rng, n: {"i": rng.integers(0, 9, n)},
    "m": lambda rng, n: {"m": _holes(rng.normal(size=n).tolist(), n)},
    "c": lambda rng, n: {"c": pa.array((list("rgb") * n)[:n]).dictionary_encode()},
    "s": lambda rng, n: {"s": _holes(list("xy") * n, n)},
    "t": lambda rng, n: {"t": (["p", "q"] * n)[:n]},
    "l": lambda rng, n: {"l": rng.random(n) < 0.5},
    "d": lambda rng, n: {"d": [START + datetime.timedelta(hours=7 * i) for i in range(n)]},
    "k": lambda rng, n: {"k": np.ones(n)},
    "x": lambda rng, n: {"x": rng.random((n, 3, 8, 6), dtype=np.float32)},
    "z": lambda rng, n: {"x": lazy(rng.integers(0, 256, (n, 3, 8, 6), dtype=np.uint8))},
    "v": lambda rng, n: {"x": lazy([torch.ones(3, 8, 6 + i % 2) for i in range(n)])},
}

# Functions, modules and estimators that programs use -------------------------------------------


def same(x: Any) -> Any:
    return x


def first(x: torch.Tensor) -> torch.Tensor:
    return x[:, :1]


def pair(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x, -x


def weighted(x: torch.Tensor, y: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    return x + scale * y


def positive(x: torch.Tensor) -> torch.Tensor:
    return x[x[:, 0] > 0]


def nan(x: torch.Tensor) -> torch.Tensor:
    return x * float("nan")


def absolute(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target.reshape(len(output), -1)).abs().mean()


def half(values: Any) -> Any:
    return values[: len(values) // 2]


def upper(name: str) -> str:
    return name.upper()


def agree(truth: Any, response: Any) -> float:
    return float((truth == response).mean())


USED = (same, first, pair, weighted, positive, nan, absolute, half, upper, agree, task)
ESTIMATORS = (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    GaussianNB,
    LinearRegression,
    LogisticRegression,
    OrdinalEncoder,
    PCA,
    SelectKBest,
    StandardScaler,
    f_classif,
)
GRAPHS = (branch, nn, po, replicate, tune, union)
NAMES = {used.__name__: used for used in (*USED, *ESTIMATORS, *GRAPHS)}
NAMES |= {"inf": float("inf"), "np": np, "sel": sel, "torch": torch}

# Parameters: plausible code for values, by what a parameter is ----------------------------------

COLUMN_CHOICES = (
    ["None"] * 8
    + ["'a'", "['a', 'b']", "sel.type('float')", "sel.type('float', 'int')", "sel.all()"]
    + ["sel.type('category', 'string', 'bool')", "sel.none()", "sel.match('a|c')", "['zz']"]
)
KNOWN: dict[str, list[str]] = {
    "branch.options": ["['p', 'q']", "2", "['p']", "['p', 'p']", "0"],
    "branch.selection": ["0", "1", "'q'", "'output_1'"],
    "classweights.weights": ["None", "{'no': 1.0, 'yes': 2.0}", "{'u': 1.0}", "{}"],
    "classweights.method": ["'balanced'", "'explicit'", "'median_frequency_balancing'"],
    "colapply.fn": ["same", "same", "same", "half"],
    "drop.columns": ["'a'", "sel.type('datetime')", "sel.type('string')", "sel.match('m|s')"],
    "select.columns": ["sel.all()", "['a', 'b']", "sel.type('float')", "sel.type('string')"],
    "renamecolumns.names": ["{'a': 'z'}", "{'a': 'b'}", "upper", "{}", "{'zz': 'a'}"],
    "imputeconstant.constant": ["0.0", "0", "'x'", "True", "None"],
    "learner.estimator": [
        "LogisticRegression(max_iter=10)",
        "DecisionTreeClassifier(max_depth=2)",
        "DecisionTreeRegressor(max_depth=2)",
        "LinearRegression()",
        "GaussianNB()",
        "StandardScaler()",
    ],
    "sklearn.estimator": [
        "StandardScaler()",
        "PCA(1)",
        "OrdinalEncoder()",
        "SelectKBest(f_classif, k=1)",
        "LinearRegression()",
        "StandardScaler",
    ],
    "targetmutate.trafo": ["same", "np.abs", "half"],
    "targetmutate.inverter": ["None", "same"],
    "threshold.thresholds": ["0.5", "0.2", "{'no': 0.3, 'yes': 0.7}", "{'zz': 0.1}"],
    "featureunion.prefixes": ["[]", "['p_', 'q_']", "['p_']"],
    "nn_block.block": ["nn('linear', 3)", "nn('relu') >> nn('linear', 2)", "po('scale')", "3"],
    "nn_block.n_blocks": ["0", "1", "2"],
    "nn_block.vary": ["{}", "{'linear__out_features': [2, 3]}", "{'x': 1}"],
    "nn_embedding.embedding_dim": ["1", "2", "3"],
    "nn_embedding.cardinalities": ["None", "[3]", "[2, 2]"],
    "nn_embedding_cat.cardinalities": ["None", "[3]"],
    "nn_fn.fn": ["same", "torch.sin", "first", "pair", "weighted", "positive", "nan"],
    "nn_fn.inputs": ["['input']", "['x', 'y']", "[]"],
    "nn_fn.outputs": ["['output']", "['p', 'q']"],
    "nn_fn.options": ["{}", "{'scale': 2.0}"],
    "nn_linear.out_features": ["None", "1", "2", "3", "4"],
    "nn_module.module": [
        "torch.nn.ReLU",
        "torch.nn.Tanh()",
        "torch.nn.Softmax(dim=1)",
        "torch.nn.Linear(2, 3)",
        "torch.nn.Bilinear(2, 2, 1)",
        "torch.nn.LSTM(2, 3)",
        "torch.nn.BatchNorm1d(2)",
        "torch.nn.Conv1d(1, 2, 1)",
        "torch.nn.LazyLinear(2)",
        "torch.nn.Flatten",
    ],
    "nn_module.inputs": ["None", "['x', 'y']"],
    "nn_module.outputs": ["['output']", "['p', 'q']"],
    "nn_module.options": ["{}", "{'inplace': True}"],
    "nn_permute.dims": ["[0, 1]", "[1, 0]", "[0, 2, 1]"],
    "nn_reshape.shape": ["[-1, 1]", "[-1, 2]", "[2, -1]", "[-1, 1, 2]", "tuple"],
    "nn_squeeze.dim": ["1", "0", "-1", "[1, 2]"],
    "nn_unflatten.sizes": ["[1, -1]", "[2, 1]", "[1, 2]"],
    "augment_random_apply.transforms": ["po('trafo_hflip')", "[]", "[po('scale')]"],
    "augment_random_choice.transforms": [
        "[po('trafo_hflip'), po('augment_random_crop', size=4)]",
        "[po('trafo_hflip'), po('trafo_to', dtype=torch.uint8)]",
    ],
    "augment_random_order.transforms": ["[po('trafo_hflip'), po('augment_gaussian_noise')]"],
    "trafo_fn.fn": ["torch.sqrt", "same", "first", "pair", "nan", "weighted"],
    "trafo_reshape.shape": ["[-1]", "[3, -1]", "[5, -1]", "[144]", "[]"],
    "trafo_to.dtype": ["torch.float64", "torch.uint8"],
    "trafo_to_dtype.dtype": ["torch.float64", "torch.uint8"],
    "trafo_cache.folder": ["None"],
    "torch_loss.loss": [
        "'cross_entropy'",
        "'mse'",
        "'l1'",
        "'huber'",
        "'bce_with_logits'",
        "'nll'",
        "'hinge_embedding'",
        "absolute",
        "torch.nn.MSELoss",
    ],
    "torch_loss.options": ["{}", "{'label_smoothing': 0.1}", "{'delta': 2.0}"],
    "torch_optimizer.optimizer": ["'adamw'", "'sgd'", "'adam'", "'rmsprop'", "'sparse_adam'"],
    "torch_optimizer.options": ["{}", "{'lr': 0.1}", "{'lr': 1e20}", "{'lr': -1}"],
    "torch_model.num_workers": ["0", "'auto'"],  # of too many torch warns
    "text_embedding.model": ["'/no/such/folder'"],
    "torch_model.pin_memory": ["False", "'auto'"],
    "torch_model.metrics": ["[]", "'accuracy'", "['rmse', 'mae']", "['log_loss']", "agree"],
    "torch_model.monitor": ["None", "'valid_loss'", "'accuracy'"],
    "torch_model.class_weight": ["None", "'balanced'", "2.0", "{'no': 1.0, 'yes': 3.0}"],
    "torch_model.device": ["'cpu'"],
    "torch_model.epochs": ["0", "1", "2"],
    "torch_model.batch_size": ["1", "5", "8", "64"],
    "torch_model.progress": ["False"],
    "torch_model.batch_size_predict": ["None", "1", "4"],
    "torch_model.eval_freq": ["1", "2"],
    "torch_model.patience": ["0", "0", "0", "1"],
}
BY_TYPE = {
    bool: ["True", "False"],
    int: ["-1", "0", "1", "2", "3"],
    float: ["0.0", "0.1", "0.5", "1.0", "2.0"],
    str: ["'x'"],
}
WRONG = ["'x'", "-3", "None", "1e30", "[]", "True", "{}", "tune(1, 2)", "2.5", "object()", "inf"]


@attrs.frozen
class Kind:
    """What programs must know of a node class: its key, its ports, its parameters."""

    key: str
    values: dict[str, list[str]]
    required: tuple[str, ...]
    takes: str
    gives: str

    @property
    def of_tensors(self) -> bool:
        return self.key.startswith(("trafo_", "augment_"))


@functools.cache
def kinds() -> tuple[Kind, ...]:
    """Every node of the catalogue that is ours; other tests may define more."""
    offers = sorted(catalogue().offers.items())
    return tuple(_kind(key, offer.node) for key, offer in offers if offer.provider == "mlgraph")


def _kind(key: str, cls: Any) -> Kind:
    hints = typing.get_type_hints(cls)
    fields = [field for field in attrs.fields(cls) if field.name not in ("id", "stem")]
    values = {
        field.name: _values(key, field.name, hints[field.name], field.metadata.get("param"))
        for field in fields
    }
    for name, value in getattr(cls, "example", {}).items():  # what is plausible for images
        if f"{key}.{name}" not in KNOWN:
            values[name] = [repr(value)] * 20 + values[name]
    required = tuple(field.name for field in fields if field.default is attrs.NOTHING)
    return Kind(key, values, required, *_flow(cls))


def _values(key: str, name: str, hint: Any, details: Any) -> list[str]:
    if f"{key}.{name}" in KNOWN:
        return KNOWN[f"{key}.{name}"]
    if name == "columns":
        return COLUMN_CHOICES
    if details is not None and details.choices:
        return [repr(choice) for choice in details.choices]
    options = getattr(hint, "__args__", (hint,))
    found = [value for option in options for value in BY_TYPE.get(option, ())]
    found += [repr(option) for option in options if isinstance(option, str)]
    return found + ["None"] * (type(None) in options) or ["None"]


def _flow(cls: Any) -> tuple[str, str]:
    """What enters and leaves: ``Task``, ``ModelDescriptor``, ..., or nothing certain."""
    words = []
    for ports in (cls.inputs, cls.outputs):
        single = isinstance(ports, tuple) and len(ports) == 1
        words.append(getattr(ports[0].fit, "__name__", "") if single else "")
    if cls.key.startswith("nn_"):
        words[0] = "ModelDescriptor"
    return words[0], words[1]


# Programs -------------------------------------------------------------------------------------


@attrs.frozen
class Program:
    """A graph, a task and what to validate with, all as code."""

    graph: str
    task: str
    valid: str


class Writer:
    """Writes programs; all its choices come from one random source."""

    def __init__(self, rng: random.Random, wrong: float) -> None:
        self.rng, self.wrong = rng, wrong

    def chance(self, share: float) -> bool:
        # Not ``random()``, whose numbers hypothesis likes to choose near 0.
        return self.rng.randrange(100) >= 100 - round(100 * share)

    def pick(self, items: Any) -> Any:
        return items[self.rng.randrange(len(items))]

    def node(self, kind: Kind) -> str:
        """A node with some of its parameters."""
        given = {}
        for name, values in kind.values.items():
            if name in kind.required or self.chance(0.12):
                given[name] = self.pick(values)
        if kind.values and self.chance(self.wrong):
            given[self.pick(list(kind.values))] = self.pick(WRONG)
        if self.chance(self.wrong / 4):
            given["unknwon"] = "1"
        if kind.key == "torch_model":
            plain = {"epochs": "1", "batch_size": "8", "device": "'cpu'"}
            given = plain | given | {"progress": "False"}
        if self.chance(self.wrong):
            given["id"] = self.pick(["'x'", "'relu'", "'relu_2'", "'forward'", "'a__b'", "'n'"])
        short = kind.key.startswith("nn_") and self.chance(0.5)
        call, key = ("nn", kind.key[3:]) if short else ("po", kind.key)
        return f"{call}({', '.join([repr(key), *(f'{n}={v}' for n, v in given.items())])})"

    def of(self, test: Callable[[Kind], bool]) -> str:
        return self.node(self.pick([kind for kind in kinds() if test(kind)]))

    def transform(self) -> str:
        return self.of(lambda kind: kind.takes == kind.gives == "Task" and not kind.of_tensors)

    def pictures(self) -> list[str]:
        """Transforms of the column of images, which the rest cannot work on."""
        steps = [self.of(lambda kind: kind.of_tensors) for _ in range(self.pick([0, 1, 2, 3]))]
        return [*steps, "po('drop', 'x')"]

    def seeing(self, columns: str, kind: str) -> str:
        """A network of images, most of it as one would write it."""
        steps = [self.of(lambda kind: kind.of_tensors) for _ in range(self.pick([0, 0, 1, 2]))]
        if "z" in columns and not self.chance(0.1):
            place = self.rng.randrange(len(steps) + 1)
            steps.insert(place, "po('trafo_to_dtype', torch.float32, scale=True)")
        door = self.pick(["po('ingress_tensor', columns='x')"] * 8 + ["po('select', 'x')"])
        layers = [self.pick(LOOKING) for _ in range(self.pick([0, 1, 2, 3]))]
        if self.chance(0.3):
            layers.insert(self.rng.randrange(len(layers) + 1), self.layer())
        return " >> ".join([*steps, door, *layers, "nn('flatten')", *self.end(kind)])

    def layer(self) -> str:
        return self.of(lambda kind: kind.key.startswith("nn_"))

    # Programs that mean something

    def sensible(self, columns: str, kind: str) -> str:
        """Preprocessing, a network and a trainer, in this order."""
        parts = [*self.table(columns), *self.entry(columns), *self.layers(), *self.end(kind)]
        if self.chance(0.1):
            parts.insert(self.rng.randrange(len(parts) + 1), self.of(lambda kind: True))
        if self.chance(0.05):
            parts.pop(self.rng.randrange(len(parts)))
        return " >> ".join(parts)

    def table(self, columns: str) -> list[str]:
        parts = self.pictures() if set(columns) & set("xzv") else []
        if "d" in columns and not self.chance(0.1):
            parts.append(self.pick(["po('datefeatures')", "po('drop', 'd')"]))
        if set(columns) & set("ms") and not self.chance(0.1):
            parts.append(self.pick(["po('impute')"] * 3 + ["po('imputesample')"]))
        parts += [self.transform() for _ in range(self.pick([0, 0, 1, 1, 2]))]
        if self.chance(0.15):
            parts.append(self.joined_tables())
        if self.chance(0.1):
            taken = self.pick([0, 1])
            parts.append(f"branch({{'p': {self.transform()}, 'q': None}}, selection={taken})")
        return parts

    def joined_tables(self) -> str:
        paths = [self.transform(), self.transform(), self.pick(["None", "po('nop')"])]
        paths = paths[self.pick([0, 1]) :]
        prefixes = ", prefixes=['p_', 'q_']" if len(paths) == 2 and self.chance(0.5) else ""
        return f"([{', '.join(paths)}] >> po('featureunion'{prefixes}))"

    def entry(self, columns: str) -> list[str]:
        if set(columns) & set("cstl") and self.chance(0.3):
            numbers = "po('ingress_num', columns=sel.type('float', 'int'))"
            words = "po('ingress_categ', columns=sel.type('category', 'string', 'bool'))"
            return [f"([{numbers}, {words} >> nn('embedding_cat')] >> nn('merge_cat'))"]
        if set(columns) & set("cstld"):
            return ["po('encode')"] * (not self.chance(0.02))
        return self.pick([[], [], ["po('ingress_num')"]])

    def layers(self) -> list[str]:
        usual = ["nn('linear', 4)", "nn('relu')", "nn('batch_norm1d')"]
        count = self.pick([0, 1, 1, 2, 3])
        parts = [self.pick(usual) if self.chance(0.5) else self.layer() for _ in range(count)]
        if self.chance(0.15):
            one, two = self.layer(), self.layer()
            paths = self.pick([f"[{one}, {two}]", f"{{'p': {one}, 'q': {two}}}", f"[{one}, None]"])
            merge = self.pick(["merge_cat", "merge_sum", "merge_prod"])
            parts.append(f"({paths} >> nn('{merge}'))")
        return parts

    def end(self, kind: str) -> list[str]:
        parts = [self.pick(["nn('head')"] * 8 + ["nn('linear')"])]
        if self.chance(0.15):
            parts.append(f"po('torch_loss', {self.pick(LOSSES[kind])})")
        elif self.chance(0.05):
            parts.append(self.of(lambda kind: kind.key == "torch_loss"))
        if self.chance(0.2):
            parts.append(self.of(lambda kind: kind.key == "torch_optimizer"))
        parts.append(self.of(lambda kind: kind.key == "torch_model"))
        if self.chance(0.05):
            parts.append(self.of(lambda kind: kind.key == "threshold"))
        return parts

    # Programs that need not mean anything

    def wild(self, depth: int = 3) -> str:
        """Anything, joined by anything."""
        if depth == 0 or self.chance(0.35):
            return self.of(lambda kind: True)
        one, two = self.wild(depth - 1), self.wild(depth - 1)
        return self.pick(FORMS).format(one=one, two=two, id=self.pick(IDS), other=self.pick(IDS))


LOOKING = (
    "nn('conv2d', 4, kernel_size=3, padding=1)",
    "nn('conv2d', 2, kernel_size=3)",
    "nn('batch_norm2d')",
    "nn('relu')",
    "nn('max_pool2d', 2)",
    "nn('adaptive_avg_pool2d', 2)",
)
LOSSES = {
    "binary": ["'cross_entropy'", "'bce_with_logits'"],
    "classes": ["'cross_entropy'"],
    "quantity": ["'mse'", "'l1'", "'huber'", "absolute"],
}
FORMS = (
    *["({one} >> {two})"] * 6,
    "({one} & {two})",
    "([{one}, {two}] >> po('featureunion'))",
    "([{one}, {two}] >> nn('merge_sum'))",
    "({one} >> {{'p': {two}, 'q': {two}}})",
    "branch({{'p': {one}, 'q': {two}}}, selection='q')",
    "branch({{'p': {one}, 'q': None}})",
    "({one} & {two}).connect('{id}', '{other}')",
    "({one} & {two}).connect('{id}.output', '{other}.input')",
    "({one} >> {two}).replace('{id}', {two})",
    "({one} >> {two}).rename({{'{id}': '{other}'}})",
    "({one} >> {two}).prefix('p_')",
    "({one} >> {two}).subgraph(['{id}', '{other}'])",
    "({one} >> {two}).with_params({id}__p=0.5)",
    "({one} >> {two} >> po('torch_model', epochs=1, progress=False))",
    "replicate({one}, 2)",
    "union({{'p': {one}, 'q': {two}}})",
    "({one} | {two})",
    "({one} >> 3)",
)
IDS = ("scale", "linear", "relu", "dropout", "torch_model", "nop", "x", "head", "p_scale", "impute")


def program(rng: random.Random) -> Program:
    """A program of any sort; most of them could be somebody's."""
    write = Writer(rng, wrong=rng.choice([0.0, 0.0, 0.15]))
    columns = rng.choice(["n", "n", "n", ""]) + "".join(rng.sample("nimcstldk", rng.randint(1, 3)))
    columns = "".join(dict.fromkeys(columns)) + rng.choice(["", "", "", "x", "z", "v"])
    kind = rng.choice(["binary", "classes", "quantity"])
    sees = bool(set(columns) & set("xzv")) and write.chance(0.5)
    sensible = write.seeing if sees else write.sensible
    graph = write.wild() if write.chance(0.2) else sensible(columns, kind)
    weight = ", weight=True" if write.chance(0.1) else ""
    valid = rng.choice(["None"] * 20 + ["0.25"] * 20 + ["[0, 1, 2, 3]"] * 8 + ["[99]", "2"])
    return Program(graph, f"task({kind!r}, {columns!r}{weight})", valid)


# The property ---------------------------------------------------------------------------------


def outcome(program: Program) -> str:
    """How far a program gets; whatever is not an error of ours escapes."""
    with _strict():
        try:
            graph = eval(program.graph, dict(NAMES)).as_graph()
            data = eval(program.task, dict(NAMES))
            valid = eval(program.valid)
        except MLGraphError:
            return "refused when built"
        try:
            return _ran(graph, data, valid)
        except Exception as error:
            if _foreign(error):
                return "refused by scikit-learn"
            raise


def _foreign(error: Exception) -> bool:
    """Whether scikit-learn refused something; its exceptions keep their type and gain a note."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    noted = any(note.startswith("in node ") for note in getattr(error, "__notes__", ()))
    return noted and any(f"{os.sep}sklearn{os.sep}" in file for file in files)


def _ran(graph: Graph, data: Task, valid: Any) -> str:
    refused = None
    try:
        graph.check(data, valid=valid, seed=1)
    except MLGraphError as error:
        refused = error
    try:
        fitted = graph.fit(data, valid=valid, seed=1)
    except MLGraphError as error:
        if refused is None:
            assert _shows_only_in_training(error), f"check() let this pass: {error}"
        return "refused when checked" if refused else "refused when fitted"
    assert refused is None, f"check() refused what works: {refused}"
    try:
        fitted.predict(data)
        few = data.take([0, 1, 2])
        is_lazy = any(isinstance(column.type, LazyType) for column in data.columns.values())
        fitted.predict(few if is_lazy else few.table(data.features))
    except MLGraphError:
        return "refused when predicting"
    return "worked"


def _shows_only_in_training(error: MLGraphError) -> bool:
    """Whether nobody could have known before: weights, rows unread, a function of the user's."""
    phrases = (
        *("The loss is ", "cannot train this network", "This loss has no value per row"),
        *("differ in shape", "another shape or dtype than promised", "does not fit "),
        "A row has the shape ",  # which only reading tells
    )
    return isinstance(error, DataError | ConfigError) and any(p in error.what for p in phrases)


class _strict(warnings.catch_warnings):
    """Warnings are errors, but for those that scikit-learn's estimators are known for."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="sklearn")
        return entered


def run_programs(examples: int, **more: Any) -> Counter[str]:
    """Run so many programs; how far they got."""
    seen: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        **more,
    )
    # One source can be shrunk when a program escapes, the other does not prefer small numbers.
    @given(st.builds(program, st.randoms(use_true_random=False) | st.randoms(use_true_random=True)))
    def every_program_works_or_is_refused(program: Program) -> None:
        note(repr(program))
        found = outcome(program)
        seen[found] += 1
        event(found)

    run = every_program_works_or_is_refused
    if "MLGRAPH_SEED" in os.environ:
        run = hypothesis_seed(int(os.environ["MLGRAPH_SEED"]))(run)
    run()
    return seen


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def share(seen: Counter[str], found: str) -> float:
    return seen[found] / seen.total()


def test_a_random_graph_works_or_is_refused_in_words_of_ours():
    seen = run_programs(150, derandomize=True)
    # The programs must be worth running: some work, and some fail at every station.
    assert share(seen, "worked") > 0.2, seen
    assert share(seen, "refused when built") > 0.05, seen
    assert share(seen, "refused when checked") > 0.05, seen


@pytest.mark.slow
def test_thousands_of_random_graphs_work_or_are_refused_in_words_of_ours():
    seen = run_programs(EXAMPLES, derandomize="MLGRAPH_SEED" not in os.environ)
    assert share(seen, "worked") > 0.25, seen


def test_random_graphs_use_every_node_of_the_catalogue():
    written = "".join(program(random.Random(number)).graph for number in range(2000))
    absent = [
        kind.key
        for kind in kinds()
        if f"po({kind.key!r}" not in written and f"nn({kind.key[3:]!r}" not in written
    ]
    assert absent == []


def test_a_program_that_escapes_is_noticed():
    escaping = Program("nn('fn', 1 / 0)", "task('binary', 'n')", "None")
    with pytest.raises(ZeroDivisionError):
        outcome(escaping)
