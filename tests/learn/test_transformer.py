"""Graphs as transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from mlgraph import Graph, nn, po, sel

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def linear(epochs: int = 20, **params: Any) -> Graph:
    return po("scale") >> nn("linear") >> po("torch_model", epochs=epochs, **params)


def test_a_transformer_gives_an_array_of_numbers(blobs: Arrays) -> None:
    X, _ = blobs
    transformer = po("scale").as_graph().as_transformer()
    found = transformer.fit_transform(X)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(transformer.transform(X), found)


def test_columns_that_are_no_numbers_come_out_as_objects(penguins: Any) -> None:
    frame, _ = penguins
    graph = po("select", columns=sel.names("mass", "island")).as_graph()
    found = graph.as_transformer().fit_transform(frame)
    assert found.dtype == object
    assert found[0].tolist() == [frame["mass"][0], "Dream"]


def test_names_of_what_comes_out_follow_the_graph(penguins: Any) -> None:
    frame, _ = penguins
    transformer = (po("impute") >> po("encode")).as_transformer().fit(frame)
    names = transformer.get_feature_names_out()
    assert names.dtype == object
    assert names[:3].tolist() == ["mass", "island.Biscoe", "island.Dream"]
    assert len(names) == transformer.transform(frame).shape[1]


def test_names_can_be_given_for_the_columns_of_an_array(penguins: Any) -> None:
    X = penguins[0][["mass", "sex"]].fillna(4.0).to_numpy(dtype=object)
    transformer = po("encode").as_graph().as_transformer().fit(X)
    assert transformer.get_feature_names_out().tolist() == ["x0", "x1.f", "x1.m"]
    assert transformer.get_feature_names_out(["m", "s"]).tolist() == ["m", "s.f", "s.m"]


def test_names_other_than_those_of_the_fit_are_refused(penguins: Any) -> None:
    transformer = (po("impute") >> po("encode")).as_transformer().fit(penguins[0])
    with pytest.raises(ValueError, match="not equal to feature_names_in_"):
        transformer.get_feature_names_out(["a", "b", "c", "d"])


def test_names_before_fit_are_refused() -> None:
    with pytest.raises(NotFittedError):
        po("scale").as_graph().as_transformer().get_feature_names_out()


@pytest.mark.parametrize(("library", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output_makes_data_frames(penguins: Any, library: str, kind: type) -> None:
    transformer = (po("impute") >> po("encode")).as_transformer().set_output(transform=library)
    for found in (transformer.fit_transform(penguins[0]), transformer.transform(penguins[0])):
        assert isinstance(found, kind)
        assert list(found.columns) == transformer.get_feature_names_out().tolist()


def test_a_pandas_index_survives(penguins: Any) -> None:
    frame = penguins[0].set_axis([f"row{i}" for i in range(90)], axis=0)
    transformer = (po("impute") >> po("encode")).as_transformer().set_output(transform="pandas")
    assert transformer.fit_transform(frame).index.tolist() == frame.index.tolist()


def test_fit_transform_gives_what_the_graph_gave_while_fitting(penguins: Any) -> None:
    frame, y = penguins
    encoder = TargetEncoder(cv=StratifiedKFold(3))
    X = frame[["island", "sex"]].astype(object)
    transformer = po("sklearn", encoder).as_graph().as_transformer(random_state=0)
    found = transformer.fit_transform(X, y)
    reference = clone(encoder).fit_transform(X, y)
    np.testing.assert_allclose(found, reference)
    assert not np.allclose(found, transformer.transform(X))


def test_a_transformer_sees_quantities_as_target(line: Arrays) -> None:
    X = np.array([["u"], ["v"]] * 40, dtype=object)
    graph = po("sklearn", TargetEncoder(cv=KFold(2))).as_graph()
    found = graph.as_transformer(random_state=0).fit(X, line[1]).transform(X)
    assert found[0] != found[1]


def test_a_constant_target_is_no_target(blobs: Arrays) -> None:
    transformer = po("scale").as_graph().as_transformer()
    assert transformer.fit(blobs[0], np.ones(120)).transform(blobs[0]).shape == (120, 4)
