"""A small task of numbers and categories, and descriptions of networks made by fitting graphs."""

import numpy as np
import pytest

from mlgraph import Task
from mlgraph.core.node import Node
from mlgraph.net.descriptor import ModelDescriptor


@pytest.fixture
def mixed():
    """Two numeric and two categorical features, three classes."""
    rng = np.random.default_rng(0)
    codes = np.arange(30) % 3
    return Task(
        {
            "a": rng.normal(size=30) + codes,
            "b": rng.normal(size=30) * 10,
            "c": np.array(["red", "green", "blue"])[codes],
            "d": np.array(["left", "right"])[np.arange(30) % 2],
            "y": np.array(["u", "v", "w"])[codes],
        },
        target="y",
    )


@pytest.fixture
def numbers(mixed):
    """Its numeric features."""
    return mixed.select(["a", "b"])


@pytest.fixture
def described():
    """What a graph of layers makes of a task."""

    def describe(graph, task) -> ModelDescriptor:
        graph = graph.as_graph() if isinstance(graph, Node) else graph
        (found,) = graph.fit(task, seed=1).outputs.values()
        assert isinstance(found, ModelDescriptor)
        return found

    return describe
