"""Data for the tests of the estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification, make_regression

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@pytest.fixture(scope="session")
def blobs() -> Arrays:
    X, y = make_classification(
        120, n_features=4, n_informative=3, n_redundant=0, n_classes=3, random_state=0
    )
    return X, y


@pytest.fixture(scope="session")
def line() -> Arrays:
    X, y = make_regression(80, n_features=3, noise=1.0, random_state=0)
    return X, y / y.std()


@pytest.fixture(scope="session")
def penguins() -> tuple[pd.DataFrame, pd.Series]:
    generator = np.random.default_rng(0)
    n = 90
    species = np.array(["Adelie", "Gentoo"])[np.arange(n) % 2]
    mass = np.where(species == "Gentoo", 5.0, 3.7) + generator.normal(scale=0.2, size=n)
    island = np.where(species == "Gentoo", "Biscoe", "Dream").astype(object)
    frame = pd.DataFrame(
        {
            "mass": mass,
            "island": pd.Series(island, dtype="str"),
            "sex": pd.Categorical(np.array(["f", "m"])[generator.integers(0, 2, n)]),
            "adult": generator.integers(0, 2, n).astype(bool),
        }
    )
    frame.loc[3, "mass"] = np.nan
    return frame, pd.Series(species, name="species")
