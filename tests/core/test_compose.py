"""Chain, union and replicate."""

from __future__ import annotations

from typing import Any

import pytest

from mlgraph.core.compose import chain, replicate, union
from mlgraph.core.graph import Graph
from mlgraph.core.route import Copy, Nop
from mlgraph.errors import ConfigError, GraphError


def test_a_chain_is_the_operator_over_its_parts() -> None:
    assert chain(Nop(), None, [Nop(), None], None) == Nop() >> [Nop(), None]
    assert chain(Nop()) == Nop().as_graph()


def test_one_list_of_parts_is_no_chain() -> None:
    for parts in ([Nop(), Nop()], (Nop(), None)):
        with pytest.raises(GraphError, match="one list of 2") as refused:
            chain(parts)
        assert "chain(*parts)" in refused.value.mend
    assert chain([Nop()]) == Nop().as_graph()
    assert chain([Nop(), Nop()], None).ids == ("nop", "nop_2")


@pytest.mark.parametrize("parts", [[], {}, ()])
def test_nothing_makes_the_empty_graph(parts: Any) -> None:
    assert union(parts) == chain(*parts) == Graph.empty()


def test_a_union_of_anything_listed_is_flat() -> None:
    flat = union([Nop(), Nop(), Nop(), Copy()])
    assert union([[Nop(), (Nop(),)], Nop() & Copy()]) == flat
    assert union((Nop(), Nop(), Nop(), Copy())) == flat


def test_a_mapping_prefixes_ids_and_keeps_them_apart() -> None:
    graph = union({"left": Nop() >> Nop(), "right": None})
    assert graph.ids == ("left_nop", "left_nop_2", "right_nop")
    assert graph.inputs == ("left_nop.input", "right_nop.input")


def test_replicated_ids_are_chosen_and_edges_stay_inside_a_copy() -> None:
    graph = replicate(Nop() >> Copy(id="c"), 3)
    assert graph.ids == ("nop_1", "c_1", "nop_2", "c_2", "nop_3", "c_3")
    assert all(edge.source[-1] == edge.target[-1] for edge in graph.edges)
    with pytest.raises(GraphError, match="nop_1"):
        graph & Nop(id="nop_1")


@pytest.mark.parametrize("count", [-1, 1.5, "2"])
def test_a_count_of_copies_that_is_none_is_refused(count: Any) -> None:
    with pytest.raises(ConfigError, match="is no count"):
        replicate(Nop(), count)
