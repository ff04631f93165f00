from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgraph import ConfigError, ShapeError, Task, nn
from mlgraph.errors import MLGraphError
from mlgraph.net.layer import Layer
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.compiled import check_compiled, check_exported
from mlgraph.testing.layer import check_inference, check_layer

Shape = tuple[int | str, ...]


def layer(key: str, *args: object, **params: object) -> Layer:
    made = nn(key, *args, **params)
    assert isinstance(made, Layer)
    return made


ROWS = [
    (layer("split", (1, -1, 2)), (3, 5)),
    (layer("split", (3, 4), dim=1), (3, 7, 2)),
    (layer("split", 3, dim=-2), (2, 5, 4)),
    (layer("chunk", 2), (3, 5)),
    (layer("chunk", 3, dim=1), (4, 5, 2)),
    (layer("take", -1), (3, 5, 2)),
    (layer("take", (0, -1, 0), dim=-1), (3, 5)),
    (layer("reduce"), (3, 5, 2)),
    (layer("reduce", "std", dim=(1, -1)), (3, 5, 2)),
    (layer("reduce", "max", keepdim=True), (3, 5, 2)),
    (layer("reduce", "min", dim=-1), (3, 5)),
    (layer("reduce", "sum", dim=(-1, 1), keepdim=True), (3, 5, 2)),
]


@pytest.mark.parametrize(("made", "shape"), ROWS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_they_keep_their_promises(made: Layer, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if dtype != torch.float32 and made.parameters().get("how") in ("mean", "std"):
        return
    check_layer(made, [TensorSpec(shape, dtype)])


@pytest.mark.parametrize("row", [0, 3, 6, 8], ids=lambda row: repr(ROWS[row][0]))
def test_they_can_be_compiled_and_exported(row: int) -> None:
    check_compiled(ROWS[row][0], (TensorSpec(ROWS[row][1]),))
    check_exported(ROWS[row][0], (TensorSpec(ROWS[row][1]),))


def shapes(made: Layer, of: Shape) -> list[Shape]:
    return [spec.shape for spec in made.infer(TensorSpec(of), name="it")]


@pytest.mark.parametrize(
    ("made", "of", "found"),
    [
        (layer("split", (2, 3)), ("batch", 5), [("batch", 2), ("batch", 3)]),
        (layer("split", 2), ("batch", 5), [("batch", 2), ("batch", 3)]),
        (layer("split", (-1, 2)), ("batch", "f"), [("batch", "it_split_0_1"), ("batch", 2)]),
        (layer("split", (2, 300)), ("batch", "f"), [("batch", 2), ("batch", 300)]),
        (layer("split", (2, 3), dim=1), ("batch", 5, "t"), [("batch", 2, "t"), ("batch", 3, "t")]),
        (layer("chunk", 3), ("batch", 5), [("batch", 2), ("batch", 2), ("batch", 1)]),
        (layer("take", 0), ("batch", "time", 8), [("batch", 8)]),
        (layer("take", 100), ("batch", "time", 8), [("batch", 8)]),
        (layer("take", (0, 1)), ("batch", "time", 8), [("batch", 2, 8)]),
        (layer("take", (0,), dim=-1), ("batch", 8), [("batch", 1)]),
        (layer("reduce"), ("batch", "time", 8), [("batch", 8)]),
        (layer("reduce", dim=(2, 1)), ("batch", "time", 8), [("batch",)]),
        (layer("reduce", dim=-1, keepdim=True), ("batch", "time", 8), [("batch", "time", 1)]),
    ],
)
def test_shapes(made: Layer, of: Shape, found: list[Shape]) -> None:
    assert shapes(made, of) == found


def test_a_number_of_parts_of_an_unknown_size_has_unknown_sizes() -> None:
    first, second = shapes(layer("chunk", 2), ("batch", "f"))
    assert first[0] == second[0] == "batch"
    assert {first[1], second[1]}.isdisjoint({"f"})


@pytest.mark.parametrize(
    ("made", "of", "text"),
    [
        (layer("split", (2, 2)), ("batch", 5), r"size 5 cannot become \(2, 2\)"),
        (layer("split", (2, 4)), ("batch", 5), r"size 5 cannot become \(2, 4\)"),
        (layer("split", (2, 3, -1)), ("batch", 5), r"size 5 cannot become \(2, 3, -1\)"),
        (layer("split", 5), ("batch", 5), r"size 5 cannot become \(5, -1\)"),
        (layer("split", 2, dim=0), ("batch", 5), "not work along the batch"),
        (layer("split", 2, dim=-2), ("batch", 5), "not work along the batch"),
        (layer("split", 2, dim=2), ("batch", 5), "dim=2"),
        (layer("chunk", 4), ("batch", 5), "cannot be divided into 4 parts"),
        (layer("chunk", 6), ("batch", 5), "cannot be divided into 6 parts"),
        (layer("chunk", 2, dim=0), ("batch", 5), "not work along the batch"),
        (layer("take", 5), ("batch", 5), "no place 5"),
        (layer("take", (0, -6)), ("batch", 5), "no place -6"),
        (layer("take", 0, dim=0), ("batch", 5), "not work along the batch"),
        (layer("take", 0, dim=2), ("batch", 5), "dim=2"),
        (layer("reduce", dim=0), ("batch", 5), "not work along the batch"),
        (layer("reduce", dim=(1, -1)), ("batch", 5), "names a dimension twice"),
        (layer("reduce", dim=(1, 2)), ("batch", 5), "dim=2"),
        (layer("reduce", "std"), ("batch", 1, 4), "has no standard deviation"),
    ],
)
def test_refused_inputs(made: Layer, of: Shape, text: str) -> None:
    with pytest.raises(ShapeError, match=r"^it cannot accept") as caught:
        made.infer(TensorSpec(of), name="it")
    caught.match(text)


@pytest.mark.parametrize(
    ("how", "dtype"),
    [("mean", torch.int64), ("std", torch.bool), ("max", torch.complex64)],
)
def test_what_is_calculated_needs_numbers(how: str, dtype: torch.dtype) -> None:
    with pytest.raises(ShapeError, match="floating-point numbers"):
        layer("reduce", how).infer(TensorSpec(("batch", 5), dtype))


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("split", {}),
        ("split", {"sizes": ()}),
        ("split", {"sizes": (2,)}),
        ("split", {"sizes": -1}),
        ("split", {"sizes": 0}),
        ("split", {"sizes": (2, 0)}),
        ("split", {"sizes": (-1, -1)}),
        ("split", {"sizes": (2, -2)}),
        ("chunk", {"chunks": 1}),
        ("take", {}),
        ("take", {"index": ()}),
        ("take", {"index": 0.5}),
        ("reduce", {"how": "median"}),
        ("reduce", {"dim": ()}),
    ],
)
def test_impossible_parameters(key: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f'nn\\("{key}"'):
        nn(key, **params)


def test_numbers_are_those_of_torch() -> None:
    spec = TensorSpec((3, 6, 4))
    x = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))

    def run(made: Layer) -> object:
        return made.build(spec)(x)

    def equal(one: object, two: object) -> bool:
        return all(map(torch.equal, one, two))

    assert equal(run(layer("split", (1, 2, 3), dim=1)), torch.split(x, (1, 2, 3), dim=1))
    assert equal(run(layer("split", (1, -1), dim=1)), torch.split(x, (1, 5), dim=1))
    assert equal(run(layer("chunk", 3, dim=1)), torch.chunk(x, 3, dim=1))
    assert torch.equal(run(layer("take", -2)), x[:, -2])
    assert torch.equal(run(layer("take", (3, 0, -1))), x[:, [3, 0, -1]])
    assert torch.equal(run(layer("reduce")), x.mean(1))
    assert torch.equal(run(layer("reduce", "max", dim=(1, 2))), x.amax((1, 2)))
    assert torch.equal(run(layer("reduce", "min", keepdim=True)), x.amin(1, keepdim=True))
    assert torch.equal(run(layer("reduce", "sum", dim=-1)), x.sum(-1))
    assert torch.equal(run(layer("reduce", "std")), x.std(1))


def test_a_size_that_was_unknown_is_checked_when_the_network_runs() -> None:
    unknown, x = TensorSpec(("batch", "f")), torch.zeros(2, 5)
    with pytest.raises(ShapeError, match=r"size 5 cannot become \(2, 2\)"):
        layer("split", (2, 2)).build(unknown)(x)
    with pytest.raises(ShapeError, match="cannot be divided into 4 parts"):
        layer("chunk", 4).build(unknown)(x)


def test_parts_have_ports_of_their_own() -> None:
    assert [port.name for port in layer("split", (1, 2, -1)).ports()[1]] == [
        "split_0",
        "split_1",
        "split_2",
    ]
    assert [port.name for port in layer("chunk", 2).ports()[1]] == ["chunk_0", "chunk_1"]


def test_parts_go_different_ways_in_a_graph() -> None:
    graph = nn("chunk", 2) >> [nn("identity"), nn("fn", torch.neg)] >> nn("merge_sum")
    columns = {name: [1.0, 2.0] for name in "abcd"}
    fitted = graph.fit(Task({**columns, "y": [0.5, 1.5]}, target="y"), seed=0)
    net = network(fitted.outputs["merge_sum.output"])
    assert net(torch.tensor([[1.0, 2.0, 5.0, 7.0]])).tolist() == [[-4.0, -5.0]]


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=3), data=st.data())
def test_parts_and_places_are_found_or_refused(sizes: list[int], data: st.DataObject) -> None:
    dims, small = st.integers(-3, 3), st.integers(-4, 6)
    made = data.draw(
        st.one_of(
            st.builds(lambda n, dim: ("chunk", (n, dim)), st.integers(2, 4), dims),
            st.builds(lambda a, b, dim: ("split", ((a, b), dim)), small, small, dims),
            st.builds(lambda place, dim: ("take", (place, dim)), small, dims),
            st.builds(lambda places, dim: ("take", (places, dim)), st.lists(small), dims),
            st.builds(lambda many: ("reduce", ("sum", many)), st.lists(dims)),
        )
    )
    spec = TensorSpec((7, *sizes))
    try:
        built = layer(made[0], *made[1])
        built.infer(spec)
    except MLGraphError:
        return
    check_inference(built, (spec,))
