from __future__ import annotations

import pytest

from mlgraph.core.compose import chain, union
from mlgraph.core.route import branch
from mlgraph.draw.text import one_line, to_text


def test_a_chain_is_an_expression_of_its_ids(add):
    assert one_line(chain(add(), add(id="more"), add())) == "add >> more >> add_2"


def test_parallel_paths_stand_in_brackets(diamond):
    assert one_line(diamond) == "add >> [add_2 >> add_3, add_4] >> total"


def test_a_branch_shows_its_paths_in_their_order(add):
    graph = branch({"a": add(), "b": add() >> add(), "c": None})
    assert one_line(graph) == "branch >> [add, add_2 >> add_3, nop] >> unbranch"


def test_parallel_paths_may_nest(add, total):
    inner = add() >> [add(), add()] >> total()
    text = one_line(add() >> [inner, add()] >> total())
    assert text == "add >> [add_2 >> [add_3, add_4] >> total, add_5] >> total_2"


def test_graphs_side_by_side_are_joined_by_and(islands):
    assert one_line(islands) == "a & b & (c >> d)"


def test_towers_begin_with_brackets(towers):
    assert one_line(towers) == "[one >> two, three] >> join"


def test_ids_of_unfolded_blocks_are_kept(nested):
    assert one_line(nested) == "block.0.add >> block.1.add >> block.2.add"


def test_a_graph_that_is_not_series_parallel_is_listed(skip):
    assert one_line(skip) == "Graph(3 nodes: a, b, c)"


def test_a_long_expression_is_listed_and_cut(long):
    text = one_line(long)
    assert text.startswith("Graph(60 nodes: add, add_2, ")
    assert text.endswith(", ...)")
    assert len(text) <= 100


def test_one_long_id_is_cut_too(add):
    text = one_line(add(id="a" * 200).as_graph())
    assert text.startswith("Graph(1 node: aaa")
    assert len(text) <= 100


def test_the_empty_graph_has_an_expression_and_a_text(empty):
    assert one_line(empty) == to_text(empty) == "Graph()"
    assert one_line(union([])) == one_line(empty >> empty) == "Graph()"


def test_the_expression_is_the_repr_and_the_text_what_is_printed(diamond):
    assert repr(diamond) == one_line(diamond)
    assert str(diamond) == to_text(diamond)


def test_a_chain_has_a_line_per_node_between_its_ends(add):
    assert to_text(chain(add(), add(n=5, id="five"))).splitlines() == [
        "┌ INPUT",
        "│ add",
        "│ five  n=5",
        "▼ OUTPUT",
    ]


def test_a_chain_without_input_has_no_input_end(start, add):
    assert to_text(start() >> add()).splitlines() == ["│ start", "│ add", "▼ OUTPUT"]


def test_what_leaves_the_nodes_stands_in_one_column(add):
    graph = chain(add(), add(n=5))
    text = to_text(graph, {"add.output": "Task 150 x 4", "add_2.output": "(batch, 64) float32"})
    assert text.splitlines()[1:3] == [
        "│ add         → Task 150 x 4",
        "│ add_2  n=5  → (batch, 64) float32",
    ]


def test_of_several_ports_a_chain_says_what_leaves_by_the_one_that_goes_on(add):
    graph = branch({"left": add(), "right": add(n=2)}, selection="right").resolved
    text = to_text(graph, {"branch.left": "Task 3 x 4", "branch.right": "Task 3 x 4"})
    (line,) = [line for line in text.splitlines() if "branch  " in line and "un" not in line]
    assert line.endswith("  → right: Task 3 x 4") and line.count("Task") == 1


def test_sixty_nodes_are_sixty_lines(long):
    assert len(to_text(long).splitlines()) == 62


def test_other_graphs_are_a_table_with_sources_and_ends(diamond):
    assert to_text(diamond).splitlines() == [
        "id     parameters  from          out",
        "─────  ──────────  ────────────  ──────",
        "add                INPUT",
        "add_2  n=2         add",
        "add_3  n=3         add_2",
        "add_4  n=4         add",
        "total              add_3, add_4  OUTPUT",
    ]


def test_ports_are_named_where_a_node_has_several(crossed):
    lines = to_text(crossed, {"split.left": "Task 3 x 4"}).splitlines()
    assert lines[2:] == [
        "split  INPUT                               left: Task 3 x 4",
        "join   left=split.right, right=split.left  OUTPUT",
    ]


def test_free_outputs_say_what_leaves_and_that_it_leaves(crossed):
    text = to_text(crossed.subgraph(["split"]), {"split.left": "Task 3 x 4"})
    assert "left: Task 3 x 4 → OUTPUT, right → OUTPUT" in text


def test_edges_between_the_same_ports_are_both_listed(doubled):
    assert "total  add, add  OUTPUT" in to_text(doubled)


def test_many_sources_are_all_listed_in_several_lines(add, total):
    text = to_text([add() for _ in range(30)] >> total())
    assert all(f"add_{i}" in text for i in range(2, 31))
    assert max(map(len, text.splitlines())) <= 100


def test_many_parameters_do_not_make_a_long_line(add):
    text = to_text(chain(add(note="x" * 200, n=2), add()), {"add.output": "int"})
    assert "n=2, +1 more" in text
    assert max(map(len, text.splitlines())) <= 100


def test_notes_come_last(add):
    text = to_text(add().as_graph(), notes=("one ingress",))
    assert text.splitlines()[-2:] == ["filled in:", "  one ingress"]


def test_a_value_with_line_breaks_stays_on_its_line(add):
    class Tall:
        def __repr__(self) -> str:
            return "tall\n  value"

        def __mlgraph_json__(self) -> dict[str, int]:
            return {}

    assert "note=tall value" in to_text(add(note=Tall()).as_graph())


def test_no_line_ends_in_spaces(every):
    assert [line for line in to_text(every).splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("flows", [None, {"nobody.output": "x"}])
def test_every_node_is_in_the_text(every, flows):
    words = to_text(every, flows).split()
    assert [id for id in every.ids if id not in words] == []
