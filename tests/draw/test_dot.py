from __future__ import annotations

import re

from mlgraph.draw.dot import to_dot

NAME = r'"((?:[^"\\]|\\.)*)"'
ATTRIBUTES = rf"(?: \[(?:\w+=(?:{NAME}|\w+)(?:, )?)+\])?"
STATEMENT = re.compile(rf"  (?:rankdir=TB|(?:node|edge|{NAME}(?: -> {NAME})?){ATTRIBUTES});")


def arrows(dot):
    return re.findall(rf"^  {NAME} -> {NAME}", dot, re.MULTILINE)


def test_every_line_is_a_statement_of_dot(every):
    head, *statements, foot = to_dot(every, {"add.output": 'say "a\\b"'}).splitlines()
    assert (head, foot) == ("digraph mlgraph {", "}")
    assert [line for line in statements if not STATEMENT.fullmatch(line)] == []


def test_every_edge_and_end_is_there(every):
    ends = len(every.inputs) + len(every.outputs)
    assert len(arrows(to_dot(every))) == len(every.edges) + ends


def test_crossed_edges_are_both_kept_with_their_ports(crossed):
    dot = to_dot(crossed)
    assert '"split" -> "join" [label="left → right"];' in dot
    assert '"split" -> "join" [label="right → left"];' in dot


def test_ids_with_dots_are_quoted(nested):
    assert ("block.0.add", "block.1.add") in arrows(to_dot(nested))


def test_an_id_called_input_is_not_the_end_of_the_graph(add):
    assert arrows(to_dot(add(id="INPUT").as_graph())) == [
        ("(INPUT)", "INPUT"),
        ("INPUT", "(OUTPUT 1)"),
    ]


def test_what_flows_labels_edges_and_outputs(add):
    dot = to_dot(add() >> add(), {"add.output": "Task 3 x 4", "add_2.output": "Task 3 x 5"})
    assert '"add" -> "add_2" [label="Task 3 x 4"];' in dot
    assert '"add_2" -> "(OUTPUT 1)" [label="Task 3 x 5"];' in dot


def test_the_empty_graph_is_a_graph_without_nodes(empty):
    assert arrows(to_dot(empty)) == []
    assert "INPUT" not in to_dot(empty)
