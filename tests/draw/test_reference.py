"""The table of nodes in nodes/README.md is what the code says."""

from __future__ import annotations

from pathlib import Path

from mlgraph.catalogue import catalogue
from mlgraph.cli import main
from mlgraph.draw.reference import to_markdown

README = Path(__file__).parent.parent.parent / "nodes" / "README.md"


def test_the_readme_of_the_nodes_is_up_to_date():
    assert README.read_text() == to_markdown(), "run: python -m mlgraph nodes > nodes/README.md"


def test_every_node_has_a_row_with_its_parameters():
    text = to_markdown()
    for offer in catalogue().offers.values():
        rows = [line for line in text.splitlines() if f"`{offer.node.call_name()}`" in line]
        assert len(rows) == 1
        assert all(f"`{name}: " in rows[0] for name in offer.node.field_names())


def test_a_row_shows_ports_types_and_defaults():
    (row,) = (line for line in to_markdown().splitlines() if '`nn("linear")`' in line)
    assert "| input: ModelDescriptor | output: ModelDescriptor |" in row
    assert r"`out_features: int \| None = None`, `bias: bool = True`" in row


def test_the_command_prints_it(capsys):
    assert main(["nodes"]) == 0
    assert capsys.readouterr().out == to_markdown()
