from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mlgraph.draw.layout import layered, to_networkx
from mlgraph.draw.net import Box, Link, Net
from mlgraph.draw.order import crossings, ordered

BOX = Box(80, 20)


def test_both_of_two_parallel_edges_are_in_the_multigraph(crossed, doubled):
    assert sorted(to_networkx(crossed).edges(keys=True)) == [
        ("split", "join", ("left", "right")),
        ("split", "join", ("right", "left")),
    ]
    assert to_networkx(doubled).number_of_edges("add", "total") == 2


def test_networkx_nodes_know_key_and_parameters(diamond):
    node = to_networkx(diamond).nodes["add_2"]
    assert (node["key"], node["parameters"]["n"]) == ("add", 2)


def test_the_empty_graph_is_an_empty_multigraph_and_an_empty_layout(empty):
    assert len(to_networkx(empty)) == 0
    assert (layered([], []).width, layered([], []).height) == (0.0, 0.0)


def test_a_chain_is_one_vertical_line():
    boxes = [Box(40 + 20 * (i % 3), 20) for i in range(60)]
    layout = layered(boxes, [Link(i, i + 1) for i in range(59)])
    assert len({x for x, _ in layout.places}) == 1
    assert all(a[1] < b[1] for a, b in itertools.pairwise(layout.places))


def test_a_fork_stands_in_the_middle_of_its_paths():
    layout = layered([BOX] * 4, [Link(0, 1), Link(0, 2), Link(1, 3), Link(2, 3)])
    (top, _), (left, _), (right, _), (bottom, _) = layout.places
    assert top == bottom == (left + right) / 2


def test_a_link_past_a_box_does_not_touch_it():
    layout = layered([BOX] * 3, [Link(0, 1), Link(1, 2), Link(0, 2)])
    x, y = layout.places[1]
    passing = [px for px, py in layout.routes[2] if y <= py <= y + BOX.height]
    assert passing
    assert all(abs(px - x) > BOX.width / 2 for px in passing)


def test_what_nothing_feeds_stands_right_above_what_it_feeds():
    late = layered([BOX] * 4, [Link(0, 2), Link(2, 3), Link(1, 3)])
    assert late.places[1][1] == late.places[2][1]


def test_avoidable_crossings_are_avoided():
    links = [Link(0, 4), Link(1, 3), Link(2, 5), Link(0, 5)]
    net = Net.of([BOX] * 6, links, ranks=[0, 0, 0, 1, 1, 1])
    assert crossings(net, [[0, 1, 2], [3, 4, 5]]) == 2
    assert crossings(net, ordered(net)) == 0


def test_room_for_labels_is_kept():
    labelled = Box(80, 20, right=200, below=20)
    layout = layered([labelled, BOX, BOX], [Link(0, 2), Link(1, 2)])
    assert layout.places[1][0] - BOX.width / 2 >= layout.places[0][0] + 200
    assert layout.places[2][1] >= 20 + 20


@st.composite
def pictures(draw):
    sides = st.sampled_from([20.0, 60.0, 150.0])
    labels = st.sampled_from([0.0, 30.0])
    boxes = draw(st.lists(st.builds(Box, sides, sides, sides, labels), max_size=12))
    offsets = st.sampled_from([-8.0, 0.0, 8.0])
    pairs = list(itertools.combinations(range(len(boxes)), 2))
    ends = draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    return boxes, [Link(a, b, draw(offsets), draw(offsets)) for a, b in ends]


@given(pictures())
def test_no_two_boxes_overlap_and_all_are_inside(picture):
    boxes, links = picture
    layout = layered(boxes, links)
    drawn = list(zip(boxes, layout.places, strict=True))
    for box, (x, y) in drawn:
        assert -1e-6 <= x - box.width / 2 and x + box.width / 2 <= layout.width + 1e-6
        assert 0 <= y and y + box.height <= layout.height + 1e-6
    for (a, (ax, ay)), (b, (bx, by)) in itertools.combinations(drawn, 2):
        apart = abs(ax - bx) >= (a.width + b.width) / 2 - 1e-6
        assert apart or ay + a.height <= by + 1e-6 or by + b.height <= ay + 1e-6


@given(pictures())
def test_every_link_leads_down_from_its_box_to_its_box(picture):
    boxes, links = picture
    layout = layered(boxes, links)
    for link, route in zip(links, layout.routes, strict=True):
        (x, y), (to_x, to_y) = layout.places[link.source], layout.places[link.target]
        assert route[0] == (x + link.leave, y + boxes[link.source].height)
        assert route[-1] == (to_x + link.enter, to_y)
        assert all(a[1] <= b[1] + 1e-6 for a, b in itertools.pairwise(route))
