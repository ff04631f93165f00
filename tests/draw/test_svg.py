from __future__ import annotations

import itertools
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from mlgraph.core.route import branch
from mlgraph.draw.measure import SMALL, text_width
from mlgraph.draw.scene import scene
from mlgraph.draw.svg import Picture, draw, to_svg
from mlgraph.errors import ConfigError

SVG = "{http://www.w3.org/2000/svg}"


def groups(svg, kind):
    root = ElementTree.fromstring(svg)
    return [group for group in root.iter(f"{SVG}g") if group.get("class") == kind]


def words(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def lines(svg):
    return [edge.find(f"{SVG}path").get("d") for edge in groups(svg, "edge")]


def test_every_node_end_and_edge_is_drawn(every):
    svg = to_svg(every)
    ends = bool(every.inputs) + len(every.outputs)
    assert len(groups(svg, "node")) == len(every) + ends
    assert len(lines(svg)) == len(every.edges) + len(every.inputs) + len(every.outputs)
    assert [id for id in every.ids if id not in words(svg)] == []


def test_the_empty_graph_is_a_picture_that_says_so(empty):
    assert words(to_svg(empty)) == ["empty graph"]
    assert words(to_svg(empty >> empty)) == ["empty graph"]


def test_parallel_edges_are_two_lines(crossed, doubled):
    for graph in (crossed, doubled):
        assert len(set(lines(to_svg(graph)))) == len(lines(to_svg(graph)))


def test_ports_are_named_where_a_node_has_several(crossed, diamond):
    assert [word for word in words(to_svg(crossed)) if word in ("left", "right")] == [
        "left",
        "right",
        "left",
        "right",
    ]
    assert {"input", "output", "inputs"}.isdisjoint(words(to_svg(diamond)))


def test_what_flows_is_written_once_per_port(diamond):
    assert words(to_svg(diamond, {"add.output": "Task 150 x 4"})).count("Task 150 x 4") == 1


def test_calls_and_changed_parameters_are_shown(diamond):
    assert {'po("add")', "n=2", "n=3", "n=4"} <= set(words(to_svg(diamond)))
    assert "n=1" not in words(to_svg(diamond))


def test_signs_of_xml_survive_in_parameters_and_flows(awkward):
    svg = to_svg(awkward, {"add.output": "a < b & c"})
    assert "a < b & c" in words(svg)
    assert "note=<lambda>" in words(svg)
    assert any("<b> &" in word for word in words(svg))


def test_nothing_lies_outside_the_picture(every):
    root = ElementTree.fromstring(to_svg(every))
    width, height = float(root.get("width")), float(root.get("height"))
    for box in root.iter(f"{SVG}rect"):
        assert 0 <= float(box.get("x")) and 0 <= float(box.get("y"))
        assert float(box.get("x")) + float(box.get("width")) <= width
        assert float(box.get("y")) + float(box.get("height")) <= height


@pytest.mark.parametrize("first", ["a", "an_alternative_with_a_long_name", "w" * 60])
def test_names_of_ports_stay_inside_their_card(add, first):
    graph = branch({first: add(), "plain": None, "c": add() >> add()})
    (card,) = [card for card in scene(graph).cards if card.title == "branch"]
    halves = [text_width(slot.name, SMALL) / 2 for slot in card.exits]
    ends = [(s.x - half, s.x + half) for s, half in zip(card.exits, halves, strict=True)]
    assert -card.width / 2 < ends[0][0] and ends[-1][1] < card.width / 2
    assert all(left[1] < right[0] for left, right in itertools.pairwise(ends))


def test_a_long_name_of_a_port_is_cut_and_whole_in_the_tooltip(add):
    name = "an_alternative_with_a_long_name"
    svg = to_svg(branch({name: add(), "plain": None}))
    assert "an_alternative_with_a_l…" in words(svg) and name not in words(svg)
    assert name in "".join(title.text for title in ElementTree.fromstring(svg).iter(f"{SVG}title"))


def test_the_picture_brings_its_background_and_defines_nothing(diamond):
    root = ElementTree.fromstring(to_svg(diamond))
    assert root[0].tag == f"{SVG}rect"
    assert root[0].get("width") == f"{float(root.get('width')) - 1:.1f}".removesuffix(".0")
    assert [e for e in root.iter() if e.get("id") or e.tag == f"{SVG}style"] == []


def test_the_families_of_nodes_differ_in_colour(add):
    keys = ["nn_linear", "ingress_num", "torch_model", "nop", "scale"]
    fills = set()
    for key in keys:
        node = type("Any", (add,), {"key": key, "__module__": __name__})()
        fills.add(groups(to_svg(node.as_graph()), "node")[1].find(f"{SVG}rect").get("fill"))
    assert len(fills) == len(keys)


def test_the_same_graph_gives_the_same_picture_in_every_process(skip):
    code = (
        "from mlgraph.core.route import *; from mlgraph.core.compose import *;"
        "from mlgraph.draw.svg import to_svg;"
        "g = Copy(n=3) >> [Nop(), Nop() >> Nop(), Nop()] >> Unbranch(); print(to_svg(g))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    assert to_svg(skip) == to_svg(skip)


def test_a_picture_is_shown_by_notebooks_and_written_to_a_file(diamond, tmp_path):
    picture = draw(diamond, tmp_path / "graph.svg")
    assert picture.svg == picture._repr_svg_() == picture._repr_html_() == str(picture)
    assert picture.svg == diamond._repr_html_()
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == picture.svg
    assert len(repr(picture)) < 60


@pytest.mark.parametrize("name", ["graph.png", "graph"])
def test_another_kind_of_file_is_refused_with_the_way_to_get_one(name, tmp_path):
    with pytest.raises(ConfigError, match=name) as caught:
        Picture("<svg/>").save(tmp_path / name)
    assert "graph.svg" in caught.value.mend
    assert "plot()" in caught.value.mend
    assert list(tmp_path.iterdir()) == []
