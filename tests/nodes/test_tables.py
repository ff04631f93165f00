"""Every table node through the battery of ``mlgraph.testing``."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mlgraph.core.node import Node
from mlgraph.core.port import Port
from mlgraph.data.select import sel
from mlgraph.data.task import Task
from mlgraph.errors import ConfigError
from mlgraph.testing.node import PROMISES, check_node
from mlgraph_nodes.columns import (
    ColApply,
    Drop,
    FeatureUnion,
    MissInd,
    RenameColumns,
    Select,
)
from mlgraph_nodes.dates import DateFeatures
from mlgraph_nodes.encode import Encode
from mlgraph_nodes.estimator import Learner, Sklearn
from mlgraph_nodes.impute import (
    Impute,
    ImputeConstant,
    ImputeHist,
    ImputeMean,
    ImputeMedian,
    ImputeMode,
    ImputeOor,
    ImputeSample,
)
from mlgraph_nodes.reduce import CollapseFactors, FixFactors, Pca, RemoveConstants
from mlgraph_nodes.sample import ClassBalancing, ClassWeights, Subsample
from mlgraph_nodes.scale import Scale, ScaleMaxAbs, ScaleRange
from mlgraph_nodes.target import TargetMutate, TargetScale, TargetTrafoScaleRange

N = 40


def columns(seed: int = 0) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    floats = np.where(rng.random(N) < 0.2, np.nan, rng.normal(size=N) * 3 + 5)
    words = [None if u < 0.2 else "uvw"[int(3 * u)] for u in rng.random(N)]
    sizes = ["small", "large", "medium"]
    start = datetime.datetime(2023, 12, 28, 22, 15)
    return {
        "number": floats,
        "whole": rng.normal(size=N),
        "count": rng.integers(0, 9, N),
        "flag": rng.random(N) < 0.5,
        "kind": pa.array(words).cast(pa.dictionary(pa.int32(), pa.string())),
        "size": pa.DictionaryArray.from_arrays(
            pa.array(rng.integers(0, 3, N).astype(np.int32)), sizes, ordered=True
        ),
        "word": [None if u < 0.1 else "xyz"[int(3 * u)] for u in rng.random(N)],
        "moment": [start + datetime.timedelta(hours=31 * i) for i in range(N)],
    }


def classification() -> Task:
    codes = np.random.default_rng(1).integers(0, 3, N)
    target = pd.Categorical.from_codes(codes, ["c", "a", "b"])
    return Task({**columns(), "target": target}, target="target")


def regression() -> Task:
    y = np.random.default_rng(1).normal(size=N) + 10
    return Task({**columns(), "target": y}, target="target")


def twice(values: np.ndarray) -> np.ndarray:
    return 2 * values


def upper(name: str) -> str:
    return name.upper()


NUMBERS = sel.names("whole", "count", strict=False)
ROWS = ("layout", "column_order", "fit_is_apply")  # identity once fitted

TRANSFORMS = [
    (Select(columns=sel.type("float", "category")), ()),
    (Drop(columns=sel.type("float")), ()),
    (RenameColumns(names=upper), ()),
    (RenameColumns(names={"number": "n"}, ignore_missing=True), ()),
    (FeatureUnion(), ("layout", "column_order")),
    (FeatureUnion(prefixes=["p"]), ("layout", "column_order")),
    (MissInd(), ()),
    (MissInd(which="all", type="category"), ()),
    (MissInd(which="all", type="float"), ()),
    (ColApply(fn=twice, columns=sel.type("float")), ()),
    (RemoveConstants(), ()),
    (CollapseFactors(), ()),
    (FixFactors(), ()),
    (Pca(columns=NUMBERS), ()),
    (Pca(columns=NUMBERS, scale=True, rank=1), ()),
    (Encode(), ()),
    (Encode(method="treatment", unknown="missing"), ()),
    (Encode(method="ordinal"), ()),
    (Scale(), ()),
    (Scale(robust=True), ()),
    (Scale(center=False, ddof=1), ()),
    (ScaleRange(lower=-1), ()),
    (ScaleMaxAbs(), ()),
    (DateFeatures(), ()),
    (DateFeatures(cyclic=True, keep_date_var=True), ()),
    (Impute(), ()),
    (ImputeMean(), ()),
    (ImputeMedian(), ()),
    (ImputeMode(), ()),
    (ImputeSample(), ()),
    (ImputeHist(), ()),
    (ImputeOor(), ()),
    (ImputeOor(min=False, create_empty_level=True), ()),
    (ImputeConstant(constant=0, columns=sel.type("float", "int")), ()),
    (Sklearn(estimator=StandardScaler(), columns=NUMBERS), ()),
    (Sklearn(estimator=PCA(n_components=1), columns=NUMBERS), ()),
    (Sklearn(estimator=KBinsDiscretizer(encode="onehot"), columns=NUMBERS), ()),
    (
        Sklearn(
            estimator=OneHotEncoder(handle_unknown="ignore"), columns=sel.type("category", "string")
        ),
        (),
    ),
]


@pytest.mark.parametrize(("node", "skip"), TRANSFORMS, ids=lambda value: repr(value)[:60])
def test_a_transform_keeps_its_promises(node: Node, skip: tuple[str, ...]) -> None:
    check_node(node, classification(), skip=skip)


@pytest.mark.parametrize("node", [Impute(), Encode(), Scale()], ids=repr)
def test_quantities_to_learn_make_no_difference(node: Node) -> None:
    check_node(node, regression())


@pytest.mark.parametrize("node", [Subsample(), Subsample(replace=True, frac=1.5)], ids=repr)
def test_a_node_that_draws_rows_keeps_its_promises(node: Node) -> None:
    check_node(node, regression(), skip=ROWS)


@pytest.mark.parametrize(
    "node",
    [Subsample(stratify=True), ClassBalancing(), ClassWeights()],
    ids=repr,
)
def test_a_node_that_looks_at_classes_keeps_its_promises(node: Node) -> None:
    check_node(node, classification(), skip=(*ROWS, "without_target"))


@pytest.mark.parametrize(
    "node",
    [TargetScale(), TargetTrafoScaleRange(), TargetMutate(trafo=np.log, inverter=np.exp)],
    ids=repr,
)
def test_a_target_transformation_keeps_its_promises(node: Node) -> None:
    check_node(node, regression(), skip=("layout", "without_target"))


def test_a_supervised_transformer_keeps_its_promises() -> None:
    node = Sklearn(estimator=SelectKBest(k=1), columns=NUMBERS)
    check_node(node, classification(), skip=("without_target",))


@pytest.mark.parametrize(
    "node",
    [
        Learner(estimator=LogisticRegression(), columns=NUMBERS),
        Learner(estimator=DecisionTreeClassifier(max_features=1), columns=NUMBERS),
    ],
    ids=repr,
)
def test_a_classifier_keeps_its_promises(node: Node) -> None:
    check_node(node, classification(), skip=("no_features", "without_target"))


def test_a_regressor_keeps_its_promises() -> None:
    node = Learner(estimator=LinearRegression(), columns=NUMBERS)
    check_node(node, regression(), skip=("no_features", "without_target"))


class _Broken(Node):
    """Centres by the mean of whatever comes: a row depends on its batch."""

    inputs = (Port("input", Task),)
    outputs = (Port("output", Task),)
    key = "broken"

    def fit(self, inputs, ctx):
        return self.apply(None, inputs, ctx), None

    def apply(self, state, inputs, ctx):
        task = inputs["input"]
        made = {name: task.to_numpy()[0][:, i] for i, name in enumerate(task.features)}
        return (task.replace({n: v - v.mean() for n, v in made.items() if len(v)}, task.features),)


@pytest.mark.parametrize("promise", ["layout", "one_row", "batches"])
def test_the_battery_finds_what_is_broken(promise: str) -> None:
    task = Task({"a": np.arange(9.0)})
    skip = [name for name in PROMISES if name != promise]
    with pytest.raises(AssertionError, match=promise):
        check_node(_Broken(), task, skip=skip)


def test_an_unknown_promise_cannot_be_skipped() -> None:
    with pytest.raises(ConfigError, match="no_promise"):
        check_node(Scale(), classification(), skip=("no_promise",))
