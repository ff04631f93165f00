"""Arrays and data frames of all kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlgraph import DataError, Graph, Task, lazy, nn, po, sel

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def linear(epochs: int = 20, **params: Any) -> Graph:
    return po("scale") >> nn("linear") >> po("torch_model", epochs=epochs, **params)


def tables() -> Graph:
    return po("impute") >> po("encode") >> linear(30)


@pytest.mark.parametrize(
    "convert",
    [lambda f: f, pl.from_pandas, lambda f: pa.Table.from_pandas(f, preserve_index=False)],
)
def test_strings_categories_and_booleans_keep_their_types(penguins: Any, convert: Any) -> None:
    frame, y = convert(penguins[0]), penguins[1]
    estimator = tables().as_classifier(random_state=0).fit(frame, y)
    seen = estimator.graph_.prototypes["impute.input"]
    types = {name: seen.types[name] for name in seen.features}
    assert types == {"mass": "float", "island": "string", "sex": "category", "adult": "bool"}
    assert estimator.feature_names_in_.tolist() == list(types)
    assert estimator.n_features_in_ == 4
    assert estimator.score(frame, y) > 0.95


@pytest.mark.parametrize(
    "convert",
    [
        lambda X, y: Task({"a": X[:, 0]}),
        lambda X, y: lazy(X),
        lambda X, y: {"image": lazy(X)},
    ],
    ids=["task", "lazy", "dict"],
)
@pytest.mark.parametrize("kind", ["classifier", "regressor", "transformer"])
def test_what_graphs_take_and_scikit_learn_cannot_is_refused_with_what_takes_it(
    blobs: Arrays, convert: Any, kind: str
) -> None:
    X, y = blobs
    graph = po("scale").as_graph() if kind == "transformer" else linear(1)
    estimator = getattr(graph, f"as_{kind}")(random_state=0)
    given = convert(X, y)
    with pytest.raises(DataError, match="takes an array or a data frame") as told:
        estimator.fit(given, y)
    assert "graph.fit(task" in told.value.mend
    estimator.fit(X, y)
    with pytest.raises(DataError, match="takes an array or a data frame"):
        estimator.transform(given) if kind == "transformer" else estimator.predict(given)


@pytest.mark.parametrize(
    "convert",
    [lambda f: f, pl.from_pandas, lambda f: pa.Table.from_pandas(f, preserve_index=False)],
)
def test_frames_of_numbers_are_arrays_with_names(blobs: Arrays, convert: Any) -> None:
    X, y = blobs
    frame = pd.DataFrame(X, columns=list("abcd"))
    named = linear(3).as_classifier(random_state=0).fit(convert(frame), y)
    plain = linear(3).as_classifier(random_state=0).fit(X, y)
    assert named.graph_.prototypes["scale.input"].features == ("a", "b", "c", "d")
    found = named.predict_proba(convert(frame))
    np.testing.assert_array_equal(found, plain.predict_proba(X))


def test_a_graph_gives_the_same_on_a_task_and_through_the_adapter(penguins: Any) -> None:
    frame, y = penguins
    estimator = tables().as_classifier(random_state=0).fit(frame, y)
    task = Task(frame.assign(species=y), target="species")
    fitted = tables().fit(task, seed=estimator.graph_.seed)
    np.testing.assert_array_equal(estimator.predict_proba(frame), fitted.predict(frame).prob)


def test_columns_can_be_chosen_by_name_and_type(penguins: Any) -> None:
    frame, y = penguins
    graph = po("select", columns=sel.names("mass") | sel.type("category")) >> tables()
    estimator = graph.as_classifier(random_state=0).fit(frame, y)
    assert estimator.score(frame, y) > 0.9


def test_arrays_of_objects_may_hold_strings_where_the_graph_encodes(penguins: Any) -> None:
    frame, y = penguins
    X = frame.to_numpy(dtype=object)
    estimator = tables().as_classifier(random_state=0).fit(X, y)
    assert estimator.graph_.prototypes["impute.input"].features == ("x0", "x1", "x2", "x3")
    assert estimator.score(X, y) > 0.95
    assert estimator.score(X.tolist(), y) > 0.95


def test_arrays_with_strings_are_refused_where_nothing_encodes(penguins: Any) -> None:
    frame, y = penguins
    with pytest.raises(ValueError, match="could not convert string to float"):
        linear().as_classifier().fit(frame[["island"]].to_numpy(dtype=object), y)


def test_missing_values_are_refused_where_nothing_imputes(blobs: Arrays) -> None:
    X, y = blobs
    holes = X.copy()
    holes[0, 0] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        linear().as_classifier().fit(holes, y)
    estimator = (po("impute") >> linear(2)).as_classifier().fit(holes, y)
    assert estimator.predict(holes).shape == (120,)


def test_infinite_values_are_refused_also_where_something_imputes(blobs: Arrays) -> None:
    X = blobs[0].copy()
    X[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        (po("impute") >> linear()).as_classifier().fit(X, blobs[1])


def test_missing_values_in_a_mixed_frame_are_refused_by_the_graph(penguins: Any) -> None:
    frame, y = penguins
    graph = po("encode") >> po("scale") >> nn("linear") >> po("torch_model")
    with pytest.raises(DataError, match="Missing values would reach the network: 'mass'"):
        graph.as_classifier().fit(frame, y)


@pytest.mark.parametrize("mixed", [True, False])
def test_names_and_their_order_are_checked(penguins: Any, mixed: bool) -> None:
    frame, y = penguins
    frame = frame if mixed else frame[["mass"]].assign(length=1.0).fillna(4.0)
    estimator = tables().as_classifier(random_state=0).fit(frame, y)
    with pytest.raises(ValueError, match="in the same order"):
        estimator.predict(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        estimator.predict(frame.rename(columns={"mass": "weight"}))
    with pytest.raises(ValueError, match="seen at fit time, yet now missing"):
        estimator.predict(frame.iloc[:, 1:])


@pytest.mark.parametrize("mixed", [True, False])
def test_lengths_that_differ_are_refused(penguins: Any, mixed: bool) -> None:
    frame, y = penguins
    frame = frame if mixed else frame[["mass"]].fillna(4.0)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        tables().as_classifier().fit(frame, y[:-1])


@pytest.mark.parametrize("mixed", [True, False])
def test_a_missing_label_is_refused(penguins: Any, mixed: bool) -> None:
    frame, y = penguins
    frame = frame if mixed else frame[["mass"]].fillna(4.0)
    labels = y.to_numpy(dtype=object, copy=True)
    labels[4] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        tables().as_classifier().fit(frame, labels)


def test_names_that_are_no_strings_are_places(penguins: Any) -> None:
    frame, y = penguins
    numbered = frame.set_axis(range(4), axis=1)
    estimator = tables().as_classifier(random_state=0).fit(numbered, y)
    assert not hasattr(estimator, "feature_names_in_")
    np.testing.assert_array_equal(
        estimator.predict(numbered), estimator.predict(frame.to_numpy(dtype=object))
    )


def test_integers_may_be_followed_by_fractions(blobs: Arrays) -> None:
    X, y = blobs
    estimator = linear(2).as_classifier().fit(np.round(X).astype(int), y)
    assert estimator.predict(X).shape == (120,)


def test_a_level_that_was_not_there_in_fit_is_encoded_as_zeros(penguins: Any) -> None:
    frame, y = penguins
    estimator = tables().as_classifier(random_state=0).fit(frame, y)
    new = frame.head(2).assign(island=["Atlantis", "Dream"])
    assert estimator.predict(new).shape == (2,)


def test_no_rows_are_refused(penguins: Any) -> None:
    frame, y = penguins
    for X in (frame.head(0), frame[["mass"]].head(0)):
        with pytest.raises(ValueError, match="0 sample"):
            tables().as_classifier().fit(X, y.head(0))
