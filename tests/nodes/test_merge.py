from __future__ import annotations

import pytest
import torch

from mlgraph import ConfigError, ShapeError, Task, nn, po
from mlgraph.data.select import sel
from mlgraph.net.layer import Layer
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.compiled import check_compiled, check_exported
from mlgraph.testing.layer import check_layer

KEYS = ["merge_sum", "merge_prod", "merge_cat"]
ANY = ["merge_max", "merge_min", "merge_mean"]
TWO = ["merge_sub", "merge_dot", "merge_gated"]


def shape(key: str, *shapes: tuple[int | str, ...], **params: object) -> tuple[int | str, ...]:
    return nn(key, **params).infer(*map(TensorSpec, shapes))[0].shape


def test_merges_do_what_they_are_called() -> None:
    spec = TensorSpec(("batch", 2))
    tensors = [torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 7.0]]), torch.tensor([[1.0, 2.0]])]
    results = [nn(key).build(spec, spec, spec)(*tensors).tolist() for key in KEYS]
    assert results == [[[8.0, 12.0]], [[10.0, 42.0]], [[2.0, 3.0, 5.0, 7.0, 1.0, 2.0]]]


@pytest.mark.parametrize("key", ["merge_sum", "merge_prod"])
def test_a_size_of_1_is_repeated(key: str) -> None:
    assert shape(key, ("batch", 1), ("batch", 6)) == ("batch", 6)
    assert shape(key, ("batch", "time", 4), ("batch", 3, 4)) == ("batch", 3, 4)
    assert shape(key, ("batch", 1, 4), ("batch", 3, 1)) == ("batch", 3, 4)


def test_cat_adds_the_sizes_along_its_dimension() -> None:
    assert shape("merge_cat", ("batch", 4, "time"), ("batch", 4, 6), dim=1) == ("batch", 8, 6)
    assert shape("merge_cat", ("batch", 4), ("batch", 3), ("batch", 1)) == ("batch", 8)
    assert shape("merge_cat", ("batch", "a"), ("batch", 3))[0] == "batch"
    assert shape("merge_cat", ("batch", "a"), ("batch", 3))[1] not in ("a", 3)


@pytest.mark.parametrize("key", KEYS)
def test_ranks_have_to_be_equal(key: str) -> None:
    with pytest.raises(ShapeError, match="one rank") as caught:
        shape(key, ("batch", 4), ("batch", 3, 4))
    assert "(batch, 4) float32 and (batch, 3, 4) float32" in caught.value.why


@pytest.mark.parametrize("key", ["merge_sum", "merge_prod"])
def test_known_sizes_that_differ_are_refused(key: str) -> None:
    with pytest.raises(ShapeError, match="dimension 1 has sizes 3 and 4"):
        shape(key, ("batch", 3), ("batch", 4), ("batch", 1))


def test_cat_does_not_repeat_a_size_of_1() -> None:
    with pytest.raises(ShapeError, match="1 is not repeated") as caught:
        shape("merge_cat", ("batch", 1, 5), ("batch", 6, 5))
    assert "sizes 1 and 6" in caught.value.why
    assert "(batch, 1, 5) float32 and (batch, 6, 5) float32" in caught.value.what


def test_cat_along_a_dimension_that_is_not_there_is_refused() -> None:
    with pytest.raises(ShapeError, match="dim=2"):
        shape("merge_cat", ("batch", 4), ("batch", 4), dim=2)


@pytest.mark.parametrize("key", KEYS)
def test_a_single_path_is_left_as_it_is(key: str) -> None:
    assert shape(key, ("batch", 4)) == ("batch", 4)


def test_different_names_may_mean_equal_sizes() -> None:
    assert shape("merge_sum", ("batch", "a"), ("batch", "b"))[0] == "batch"


def test_paths_meet_in_a_network_in_the_order_they_are_wired() -> None:
    data = {"x": [1.0, 2.0], "c": ["u", "v"], "y": [0.5, 1.5]}
    numbers = po("ingress_num", columns=sel.type("float"))
    words = po("ingress_categ", columns=sel.type("string")) >> nn("embedding_cat")
    graph = [numbers, words] >> nn("merge_cat") >> nn("head")
    net = network(graph.fit(Task(data, target="y"), seed=0).outputs["head.output"])
    assert net.get_submodule("head").in_features == 2
    x, codes = torch.tensor([[3.0]]), torch.tensor([[1]])
    merged = torch.cat([x, net.get_submodule("embedding_cat")(codes)], 1)
    assert torch.equal(net(x, codes), net.get_submodule("head")(merged))


def test_a_refusal_names_the_node_and_what_fed_it() -> None:
    task = Task({"x": [1.0, 2.0], "y": [0.5, 1.5]}, target="y")
    graph = [nn("linear", out_features=3), nn("linear", out_features=4)] >> nn("merge_sum")
    with pytest.raises(ShapeError, match="node 'merge_sum'") as caught:
        graph.fit(task, seed=0)
    assert "'linear' (batch, 3)" in caught.value.where


@pytest.mark.parametrize("key", ANY)
@pytest.mark.parametrize("shapes", [[(3, 5)], [(3, 5), (3, 1), (3, 5)], [(3, 1, 2), (1, 4, 2)]])
def test_merges_of_any_number_keep_their_promises(key: str, shapes: list[tuple[int, ...]]) -> None:
    check_layer(nn(key), list(map(TensorSpec, shapes)))


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (nn("merge_sub"), [(3, 5), (3, 1)]),
        (nn("merge_sub"), [(3, 1, 2), (3, 4, 1)]),
        (nn("merge_dot"), [(3, 5), (3, 5)]),
        (nn("merge_dot", keepdim=False), [(3, 1, 5), (3, 4, 5)]),
        (nn("merge_gated"), [(3, 5), (3, 5)]),
        (nn("merge_gated", bias=False), [(3, 4, 2), (3, 4, 2)]),
        (nn("stack"), [(3, 5), (3, 5), (3, 5)]),
        (nn("stack", dim=-1), [(3, 5)]),
        (nn("stack", dim=2), [(3, 4, 2), (3, 4, 2)]),
    ],
)
def test_the_other_merges_keep_their_promises(layer: Layer, shapes: list[tuple[int, ...]]) -> None:
    check_layer(layer, list(map(TensorSpec, shapes)))


@pytest.mark.parametrize("key", [*ANY, *TWO, "stack"])
def test_merges_can_be_compiled_and_exported(key: str) -> None:
    specs = (TensorSpec((3, 5)), TensorSpec((3, 5)))
    check_compiled(nn(key), specs)
    check_exported(nn(key), specs)


def test_the_other_merges_do_what_they_are_called() -> None:
    spec = TensorSpec(("batch", 2))
    one, two = torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 1.0]])

    def run(key: str, **params: object) -> object:
        return nn(key, **params).build(spec, spec)(one, two).tolist()

    assert run("merge_sub") == [[-3.0, 2.0]]
    assert run("merge_max") == [[5.0, 3.0]]
    assert run("merge_min") == [[2.0, 1.0]]
    assert run("merge_mean") == [[3.5, 2.0]]
    assert run("merge_dot") == [[13.0]]
    assert run("merge_dot", keepdim=False) == [13.0]
    assert run("stack") == [[[2.0, 3.0], [5.0, 1.0]]]
    assert run("stack", dim=-1) == [[[2.0, 5.0], [3.0, 1.0]]]


def test_a_mean_of_three_gives_each_the_same_weight() -> None:
    spec = TensorSpec(("batch", 1))
    tensors = [torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([[6.0]])]
    assert nn("merge_mean").build(spec, spec, spec)(*tensors).item() == 3.0


@pytest.mark.parametrize("bias", [True, False])
def test_a_gate_mixes_by_the_sigmoid_of_a_map_of_both(bias: bool) -> None:
    spec = TensorSpec(("batch", 2))
    module = nn("merge_gated", bias=bias).build(spec, spec)
    left, right = torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 1.0]])
    weight = module.map.weight
    logits = torch.cat([left, right], 1) @ weight.T + (module.map.bias if bias else 0.0)
    share = torch.sigmoid(logits)
    torch.testing.assert_close(module(left, right), share * left + (1 - share) * right)
    assert sorted(dict(module.named_parameters())) == ["map.bias", "map.weight"][not bias :]


def test_two_inputs_come_in_by_the_names_left_and_right() -> None:
    for key in TWO:
        assert [port.name for port in nn(key).ports()[0]] == ["left", "right"]
    paths = {"right": nn("identity"), "left": nn("fn", torch.neg)}
    graph = paths >> nn("merge_sub")
    assert [str(edge) for edge in graph.edges] == [
        "right_identity.output -> merge_sub.left",
        "left_fn.output -> merge_sub.right",
    ]


def test_shapes_of_the_other_merges() -> None:
    assert shape("merge_max", ("batch", "time", 4), ("batch", 3, 1)) == ("batch", 3, 4)
    assert shape("merge_dot", ("batch", 1, 4), ("batch", "time", 4)) == ("batch", "time", 1)
    assert shape("merge_dot", ("batch", "a"), ("batch", 4)) == ("batch", 1)
    assert shape("merge_gated", ("batch", "a"), ("batch", 4)) == ("batch", 4)
    assert shape("stack", ("batch", 4), ("batch", 4), ("batch", 4)) == ("batch", 3, 4)
    assert shape("stack", ("batch", "a"), ("batch", 4), dim=-1) == ("batch", 4, 2)


@pytest.mark.parametrize(
    ("key", "shapes", "text"),
    [
        *((key, [(3, 4), (3, 2, 4)], "inputs of one rank") for key in [*ANY, *TWO, "stack"]),
        *((key, [(3, 4), (3, 5)], "dimension 1 has sizes 4 and 5") for key in [*ANY, *TWO]),
        ("stack", [(3, 4), (3, 5)], "dimension 1 has sizes 4 and 5"),
        ("stack", [(3, 4), (3, 1)], "1 is not repeated"),
        ("merge_dot", [(3, 1), (3, 5)], "dimension 1 has sizes 1 and 5"),
        ("merge_gated", [(3, 1), (3, 5)], "1 is not repeated"),
        ("merge_dot", [(3,), (3,)], "2 dimensions or more"),
        ("merge_gated", [(3,), (3,)], "2 dimensions or more"),
        ("merge_gated", [("batch", "a"), ("batch", "b")], "is needed now"),
    ],
)
def test_other_merges_refuse(key: str, shapes: list[tuple[int | str, ...]], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        shape(key, *shapes)


@pytest.mark.parametrize("dim", [0, -3])
def test_nothing_is_stacked_in_front_of_the_batch(dim: int) -> None:
    with pytest.raises(ShapeError, match="in front of the batch"):
        shape("stack", ("batch", 4), ("batch", 4), dim=dim)
    with pytest.raises(ShapeError, match="dim=3"):
        shape("stack", ("batch", 4), ("batch", 4), dim=3)


@pytest.mark.parametrize(
    ("key", "dtype", "text"),
    [
        ("merge_sub", torch.bool, "truth values cannot be subtracted"),
        ("merge_max", torch.complex64, "complex numbers have no order"),
        ("merge_min", torch.complex64, "complex numbers have no order"),
        ("merge_mean", torch.int64, "floating-point numbers"),
        ("merge_dot", torch.int64, "floating-point numbers"),
        ("merge_gated", torch.int64, "floating-point numbers"),
        ("merge_gated", torch.float64, "dtype float32 are needed"),
    ],
)
def test_other_merges_refuse_dtypes(key: str, dtype: torch.dtype, text: str) -> None:
    x = TensorSpec(("batch", 4), dtype)
    with pytest.raises(ShapeError, match=text):
        nn(key).infer(x, x)


def test_an_inner_product_repeats_no_feature_when_the_network_runs() -> None:
    module = nn("merge_dot").build(TensorSpec(("batch", "a")), TensorSpec(("batch", "b")))
    with pytest.raises(ShapeError, match="sizes 1 and 3"):
        module(torch.zeros(2, 1), torch.zeros(2, 3))


def test_merge_dot_takes_true_or_false() -> None:
    with pytest.raises(ConfigError, match="True or False"):
        nn("merge_dot", keepdim=1)


def test_two_towers_meet_in_an_inner_product() -> None:
    draws = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, 48, generator=draws)
    task = Task({"x": x.tolist(), "z": z.tolist(), "y": (x * z).tolist()}, target="y")
    towers = [
        po("ingress_num", columns=sel.names(name), id=f"in_{name}")
        >> nn("linear", 3, id=f"tower_{name}")
        for name in "xz"
    ]
    graph = towers >> nn("merge_dot") >> po("torch_model", epochs=100, batch_size=16)
    response = torch.tensor(graph.fit(task, seed=1).predict(task).response)
    assert (response - x * z).pow(2).mean() < 0.1
