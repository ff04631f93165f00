from __future__ import annotations

import re

from mlgraph.draw.mermaid import to_mermaid

LABEL = r'"[^"`]*"'
LINE = re.compile(
    rf"  (?:\w+\[{LABEL}\]:::\w+|\w+\(\[\w+\]\):::\w+|\w+ -->(?:\|{LABEL}\|)? \w+"
    r"|classDef \w+ fill:#\w+,stroke:#\w+,color:#\w+)"
)


def test_every_line_is_a_statement_of_mermaid(every):
    head, *lines = to_mermaid(every, {"add.output": 'a "b" | <c> `d`'}).splitlines()
    assert head == "flowchart TD"
    assert [line for line in lines if not LINE.fullmatch(line)] == []


def test_every_edge_and_end_is_there(every):
    ends = len(every.inputs) + len(every.outputs)
    assert to_mermaid(every).count(" -->") == len(every.edges) + ends


def test_crossed_edges_are_both_kept_with_their_ports(crossed):
    text = to_mermaid(crossed)
    assert 'n0 -->|"left → right"| n1' in text
    assert 'n0 -->|"right → left"| n1' in text


def test_ids_are_labels_so_that_words_of_mermaid_can_be_ids(add, nested):
    assert 'n0["end<br>' in to_mermaid(add(id="end").as_graph())
    assert 'n2["block.2.add<br>' in to_mermaid(nested)


def test_signs_of_html_are_written_as_numbers(awkward):
    text = to_mermaid(awkward)
    assert "#60;b#62; #38;" in text
    assert "<b>" not in text


def test_what_flows_labels_edges_and_outputs(add):
    text = to_mermaid(add() >> add(), {"add.output": "Task 3", "add_2.output": "Task 4"})
    assert 'n0 -->|"Task 3"| n1' in text
    assert 'n1 -->|"Task 4"| out1' in text


def test_the_empty_graph_is_an_empty_flowchart(empty):
    assert to_mermaid(empty) == "flowchart TD\n"
