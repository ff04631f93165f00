from __future__ import annotations

import pytest
import torch

from mlgraph import ConfigError, ShapeError, Task, nn, po
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing import check_layer

CODES = TensorSpec(("batch", 2), torch.int64, cardinalities=(3, 5))


def test_columns_do_not_share_vectors() -> None:
    module = nn("embedding", embedding_dim=4).build(CODES)
    weight = module.table.weight
    out = module(torch.tensor([[0, 0], [2, 4]]))
    assert weight.shape == (8, 4)
    assert torch.equal(out[0, 0], weight[0])
    assert torch.equal(out[0, 1], weight[3])
    assert torch.equal(out[1], weight[[2, 7]])


def test_the_padding_code_is_zero_in_every_column_and_never_learned() -> None:
    module = nn("embedding", embedding_dim=4, padding_idx=1).build(CODES)
    out = module(torch.tensor([[1, 1], [0, 1]]))
    out.sum().backward()
    assert out[0].abs().sum() == 0
    assert out[1, 0].abs().sum() > 0
    grown = module.table.weight.grad.abs().sum(1).nonzero().flatten().tolist()
    assert grown == [0]


def test_one_column_is_torchs_embedding() -> None:
    spec = TensorSpec(("batch", 1), torch.int64, cardinalities=(6,))
    module = nn("embedding", embedding_dim=4).build(spec)
    codes = torch.tensor([[0], [5], [3]])
    theirs = torch.nn.functional.embedding(codes, module.table.weight)
    assert torch.equal(module(codes), theirs)


def test_embedding_cat_is_wider_for_more_levels_up_to_a_limit() -> None:
    spec = TensorSpec(("batch", 4), torch.int64, cardinalities=(1, 2, 7, 1000))
    widths = [table.embedding_dim for table in nn("embedding_cat").build(spec).tables]
    assert widths == [1, 1, 4, 50]
    assert nn("embedding_cat", max_dim=3).infer(spec)[0].shape == ("batch", 8)


def test_embedding_cat_looks_up_every_column_in_its_own_table() -> None:
    module = nn("embedding_cat").build(CODES)
    first, second = module.tables
    out = module(torch.tensor([[2, 4]]))
    assert torch.equal(out[0], torch.cat([first.weight[2], second.weight[4]]))


@pytest.mark.parametrize("key", ["embedding", "embedding_cat"])
def test_given_cardinalities_win(key: str) -> None:
    params = {"embedding_dim": 4} if key == "embedding" else {}
    module = nn(key, cardinalities=[9, 9], **params).build(CODES)
    assert sum(weight.shape[0] for weight in module.parameters()) == 18


def embeddings() -> list[object]:
    return [nn("embedding", embedding_dim=4), nn("embedding_cat")]


@pytest.mark.parametrize("layer", embeddings())
def test_numbers_are_refused_where_codes_are_needed(layer: object) -> None:
    with pytest.raises(ShapeError, match="codes are needed") as caught:
        layer.infer(TensorSpec(("batch", 2)))
    assert "ingress_categ" in caught.value.mend


@pytest.mark.parametrize("layer", embeddings())
def test_unknown_cardinalities_are_refused_with_what_to_do(layer: object) -> None:
    with pytest.raises(ShapeError, match="levels of each column") as caught:
        layer.infer(TensorSpec(("batch", 2), torch.int64))
    assert "cardinalities=" in caught.value.mend


@pytest.mark.parametrize("layer", embeddings())
def test_codes_come_in_columns(layer: object) -> None:
    with pytest.raises(ShapeError, match="2 dimensions"):
        layer.infer(TensorSpec(("batch",), torch.int64))


def test_as_many_cardinalities_as_columns_are_needed() -> None:
    with pytest.raises(ShapeError, match="3 cardinalities do not fit 2 columns"):
        nn("embedding", embedding_dim=4, cardinalities=(2, 2, 2)).infer(CODES)


@pytest.mark.parametrize(
    "params",
    [{}, {"embedding_dim": 0}, {"embedding_dim": 2, "cardinalities": (3, 0)}],
)
def test_impossible_parameters_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="embedding"):
        nn("embedding", **params)


def test_categories_of_a_table_are_embedded() -> None:
    data = {"a": ["u", "v", "u", "w"], "b": [True, False, True, True], "y": [1.0, 2.0, 3.0, 4.0]}
    graph = po("ingress_categ") >> nn("embedding", embedding_dim=3) >> nn("flatten") >> nn("head")
    fitted = graph.fit(Task(data, target="y"), seed=0)
    net = network(fitted.outputs["head.output"])
    assert net.get_submodule("embedding").table.weight.shape == (3 + 2, 3)
    assert net(torch.tensor([[2, 1]])).shape == (1, 1)


def test_an_unseen_level_has_a_vector_where_the_ingress_has_a_slot() -> None:
    task = Task({"a": ["u", "v"], "y": [1.0, 2.0]}, target="y")
    graph = po("ingress_categ", unknown="slot") >> nn("embedding", embedding_dim=3)
    net = network(graph.fit(task, seed=0).outputs["embedding.output"])
    assert net(torch.tensor([[2]])).shape == (1, 1, 3)


# One table for all places


@pytest.mark.parametrize("shape", [(4,), (4, 6), (2, 3, 5)])
@pytest.mark.parametrize("padding", [None, 0])
def test_tokens_of_all_places_share_a_table(shape, padding) -> None:
    node = nn("token_embedding", 7, 3, padding_idx=padding)
    check_layer(node, [TensorSpec(shape, torch.int64)])


def test_tokens_are_integers_and_the_padding_is_one_of_them() -> None:
    with pytest.raises(ShapeError, match="int64"):
        nn("token_embedding", 7, 3).infer(TensorSpec(("batch", 4)))
    with pytest.raises(ConfigError, match="Token 7"):
        nn("token_embedding", 7, 3, padding_idx=7)
