from __future__ import annotations

import pytest
import torch

from mlgraph import ShapeError, Task, nn, po
from mlgraph.data.select import sel
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec

KEYS = ["merge_sum", "merge_prod", "merge_cat"]


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
