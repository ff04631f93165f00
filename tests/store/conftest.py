"""A few things to save, and what tells whether they are the same afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mlgraph import Task, nn, po
from mlgraph.core.fitted import FittedGraph


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def task() -> Task:
    rng = np.random.default_rng(0)
    columns = {
        "a": np.where(rng.random(40) < 0.2, np.nan, rng.normal(size=40)),
        "b": rng.normal(size=40),
        "word": ["uvw"[i % 3] for i in range(40)],
        "y": ["no" if i % 2 else "yes" for i in range(40)],
    }
    return Task(columns, target="y")


@pytest.fixture(scope="session")
def fitted(task: Task) -> FittedGraph:
    """Preprocessing and a trained network."""
    graph = po("impute") >> po("encode") >> po("scale") >> nn("linear", 4) >> nn("batch_norm1d")
    graph = graph >> nn("relu") >> nn("head") >> po("torch_model", epochs=3, progress=False)
    return graph.fit(task, valid=0.2, seed=1)
