"""Toy nodes on ints, and the graphs every kind of picture must cope with."""

from __future__ import annotations

from typing import Any

import pytest

from mlgraph.core.compose import chain
from mlgraph.core.graph import Graph
from mlgraph.core.node import Node
from mlgraph.core.param import param
from mlgraph.core.port import Port


class Toy(Node):
    inputs = (Port("input", int),)
    outputs = (Port("output", int),)

    def fit(self, inputs: Any, ctx: Any) -> Any:
        return self.apply(None, inputs, ctx), None

    def apply(self, state: Any, inputs: Any, ctx: Any) -> Any:
        return (1,) * len(self.outputs)


class Add(Toy):
    n: int = 1
    note: Any = param(default=None)


class Total(Toy):
    inputs = (Port("inputs", int, variadic=True),)


class Split(Toy):
    outputs = (Port("left", int), Port("right", int))


class Join(Toy):
    inputs = (Port("left", int), Port("right", int))


class Start(Toy):
    inputs = ()


@pytest.fixture
def add() -> type[Add]:
    return Add


@pytest.fixture
def total() -> type[Total]:
    return Total


@pytest.fixture
def start() -> type[Start]:
    return Start


@pytest.fixture
def diamond() -> Graph:
    return Add() >> [Add(n=2) >> Add(n=3), Add(n=4)] >> Total()


@pytest.fixture
def crossed() -> Graph:
    """Two edges between the same two nodes, crossed."""
    apart = Split() & Join()
    return apart.connect("split.left", "join.right").connect("split.right", "join.left")


@pytest.fixture
def doubled() -> Graph:
    """Two edges between the same two ports."""
    apart = Add() & Total()
    return apart.connect("add", "total").connect("add", "total")


@pytest.fixture
def skip() -> Graph:
    """An edge past a node: not a series of parallel parts."""
    apart = Add(id="a") & Add(id="b") & Total(id="c")
    return apart.connect("a", "b").connect("b", "c").connect("a", "c")


@pytest.fixture
def towers() -> Graph:
    return [Add(id="one") >> Add(id="two"), Add(id="three")] >> Join()


@pytest.fixture
def islands() -> Graph:
    return Add(id="a") & Add(id="b") & (Add(id="c") >> Add(id="d"))


@pytest.fixture
def long() -> Graph:
    return chain(*[Add() for _ in range(60)])


@pytest.fixture
def nested() -> Graph:
    return chain(*[Add().pinned(f"block.{i}.add") for i in range(3)])


@pytest.fixture
def awkward() -> Graph:
    """A parameter full of signs that mean something in XML, DOT and Mermaid."""
    return Add(note="<b> & \"quoted\" 'it' \\ #1 `x`") >> Add(note=lambda: 0)


@pytest.fixture
def empty() -> Graph:
    return Graph.empty()


@pytest.fixture(
    params=[
        "diamond",
        "crossed",
        "doubled",
        "skip",
        "towers",
        "islands",
        "long",
        "nested",
        "awkward",
        "empty",
    ]
)
def every(request: pytest.FixtureRequest) -> Graph:
    """Each of the graphs above in turn."""
    graph: Graph = request.getfixturevalue(request.param)
    return graph
