from __future__ import annotations

import pytest
import rtdl_num_embeddings as rtdl
import torch

from mlgraph import ConfigError, DataError, GraphError, ShapeError, Task, nn, po
from mlgraph.net.layer import Layer, Start
from mlgraph.tensor.spec import TensorSpec
from mlgraph.tensor.stream import forked
from mlgraph.testing.layer import check_layer
from mlgraph_nodes import num_embedding
from mlgraph_nodes.num_embedding import SeparateLinears, quantiles

NUMBERS = TensorSpec((5, 3))
KEYS = ("linear_relu_embedding", "periodic_embedding", "piecewise_linear_embedding")


def layer(key: str, **params: object) -> Layer:
    node = nn(key, **params)
    assert isinstance(node, Layer)
    return node


def starting(rows: torch.Tensor) -> Start:
    names = tuple("abcdefgh"[: rows.shape[1]])
    return Start({"numbers": rows}, ("numbers",), {"numbers": names})


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def copied(theirs: torch.nn.Module, ours: torch.nn.Module, names: dict[str, str]) -> None:
    """Give theirs the weights of ours."""
    mine = dict(ours.named_parameters())
    assert sorted(names.values()) == sorted(mine)
    assert sorted(names) == sorted(name for name, _ in theirs.named_parameters())
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            weight.copy_(mine[names[name]])


@pytest.mark.parametrize(
    ("node", "spec"),
    [
        (layer("linear_relu_embedding"), NUMBERS),
        (layer("linear_relu_embedding", d_embedding=1), TensorSpec((2, 1))),
        (layer("periodic_embedding"), NUMBERS),
        (layer("periodic_embedding", d_embedding=2, n_frequencies=1, lite=True), NUMBERS),
        (layer("periodic_embedding", frequency_init_scale=1, activation=False), NUMBERS),
        (layer("piecewise_linear_embedding"), NUMBERS),
        (layer("piecewise_linear_embedding", n_bins=2, activation=True), NUMBERS),
        (layer("separate_linear", out_features=4), TensorSpec((5, 3, 2))),
    ],
    ids=repr,
)
def test_embeddings_keep_the_promises_of_layers(node: Layer, spec: TensorSpec) -> None:
    check_layer(node, [spec])


def test_a_linear_embedding_is_that_of_the_paper() -> None:
    ours = layer("linear_relu_embedding", d_embedding=8).build(NUMBERS)
    theirs = rtdl.LinearReLUEmbeddings(3, 8)
    copied(theirs, ours, {"linear.weight": "0.weight", "linear.bias": "0.bias"})
    torch.testing.assert_close(ours(noise(7, 3)), theirs(noise(7, 3)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("lite", "activation"), [(False, True), (False, False), (True, True)])
def test_a_periodic_embedding_is_that_of_the_paper(lite: bool, activation: bool) -> None:
    params = {"n_frequencies": 5, "frequency_init_scale": 0.5}
    params |= {"lite": lite, "activation": activation}
    ours = layer("periodic_embedding", d_embedding=8, **params).build(NUMBERS)
    theirs = rtdl.PeriodicEmbeddings(3, 8, **params)
    names = {"periodic.weight": "0.weight", "linear.weight": "1.weight", "linear.bias": "1.bias"}
    copied(theirs, ours, names)
    torch.testing.assert_close(ours(noise(7, 3)), theirs(noise(7, 3)), rtol=0, atol=1e-6)


def test_frequencies_start_with_the_given_scale_and_no_extremes() -> None:
    with forked(0):
        module = layer("periodic_embedding", n_frequencies=2000, frequency_init_scale=0.1)
        weight = module.build(NUMBERS)[0].weight
    assert weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert weight.abs().max() <= 0.3


@pytest.mark.parametrize("activation", [False, True])
def test_a_piecewise_linear_embedding_is_that_of_the_paper(activation: bool) -> None:
    rows = noise(200, 3)
    rows[:, 1] = rows[:, 1].round()  # some quantiles are equal
    rows[:, 2] = (rows[:, 2] > 2).float()  # nearly all are: one bin
    node = layer("piecewise_linear_embedding", d_embedding=4, n_bins=10, activation=activation)
    ours = node.build(NUMBERS)
    node.initialize(ours, starting(rows))
    with pytest.warns(UserWarning, match="just two bin edges"):
        bins = rtdl.compute_bins(rows, n_bins=10)
        theirs = rtdl.PiecewiseLinearEmbeddings(bins, 4, activation=activation, version="B")
    assert [len(edges) for edges in bins][0::2] == [11, 2]
    with torch.no_grad():
        ours.map.weight.normal_(generator=torch.Generator().manual_seed(1))
    names = {"linear0.weight": "linear.weight", "linear0.bias": "linear.bias"}
    copied(theirs, ours, {**names, "linear.weight": "map.weight"})
    x = 3 * noise(50, 3)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_a_piecewise_linear_embedding_starts_as_a_linear_one() -> None:
    module = layer("piecewise_linear_embedding").build(NUMBERS)
    assert torch.equal(module(noise(5, 3)), module.linear(noise(5, 3)))


def test_bins_are_state() -> None:
    node = layer("piecewise_linear_embedding", n_bins=4)
    module, again = node.build(NUMBERS), node.build(NUMBERS)
    node.initialize(module, starting(noise(20, 3)))
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.parts(noise(5, 3)), module.parts(noise(5, 3)))


def test_the_first_bin_goes_on_below_and_the_last_above() -> None:
    node = layer("piecewise_linear_embedding", n_bins=2)
    module = node.build(TensorSpec(("batch", 1)))
    node.initialize(module, starting(torch.tensor([[0.0], [1.0], [1.0], [3.0]])))
    parts = module.parts(torch.tensor([[-1.0], [0.5], [2.0], [5.0]])).squeeze(1)
    assert parts.tolist() == [[-1.0, 0.0], [0.5, 0.0], [1.0, 0.5], [1.0, 2.0]]


def test_quantiles_of_more_rows_than_torch_takes_are_those_of_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(num_embedding, "MAX_ROWS", 101)
    column = torch.arange(1001.0).flip(0)
    assert quantiles(column, 4).tolist() == [0, 250, 500, 750, 1000]


# In a graph


def table(**columns: object) -> Task:
    rows = noise(40, 2).numpy()
    data = {"a": rows[:, 0], "b": rows[:, 1], "y": rows[:, 0] + rows[:, 1], **columns}
    return Task(data, target="y")


def graph(n_bins: int = 8) -> object:
    layers = nn("piecewise_linear_embedding", n_bins=n_bins) >> nn("flatten") >> nn("head")
    return po("ingress_num") >> layers >> po("torch_model", epochs=1)


def test_bins_come_from_the_training_rows_only() -> None:
    task = table()
    fitted = graph().fit(task, valid=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], seed=1)
    parts = fitted.module().piecewise_linear_embedding.parts
    rows = torch.from_numpy(task.take(range(10, 40)).to_numpy()[0]).float()
    for column in range(2):
        edges = quantiles(rows[:, column], 8)
        torch.testing.assert_close(parts.weight[column], 1 / edges.diff())


def test_rows_of_weight_zero_have_no_part_in_the_bins() -> None:
    task = table().with_weight([0.0] * 20 + [1.0] * 20)
    parts = graph().fit(task, seed=1).module().piecewise_linear_embedding.parts
    rows = torch.from_numpy(task.take(range(20, 40)).to_numpy()[0]).float()
    torch.testing.assert_close(parts.weight[0], 1 / quantiles(rows[:, 0], 8).diff())


def test_predictions_of_a_fitted_graph_use_the_bins() -> None:
    fitted = graph().fit(table(), seed=1)
    module = fitted.module()
    rows = torch.from_numpy(table().to_numpy()[0]).float()
    wanted = module(rows).detach().squeeze(1).double().numpy()
    assert fitted.predict(table()).response == pytest.approx(wanted)


def test_categories_that_enter_elsewhere_do_not_matter() -> None:
    task = table(c=["u", "v"] * 20, d=["u", "w"] * 20)
    numbers = po("select", ["a", "b"]) >> po("ingress_num")
    numbers = numbers >> nn("piecewise_linear_embedding", n_bins=4) >> nn("flatten")
    words = po("select", ["c", "d"], id="words") >> po("ingress_categ") >> nn("one_hot")
    both = [numbers, words] >> nn("merge_cat") >> nn("head") >> po("torch_model", epochs=1)
    assert len(both.fit(task, seed=1).predict(task)) == 40


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="40 rows are too few for 40 bins") as caught:
        graph(n_bins=40).fit(table(), seed=1)
    assert "n_bins=20" in caught.value.mend


def test_a_constant_column_is_refused() -> None:
    with pytest.raises(DataError, match="is constant") as caught:
        graph().fit(table(b=[1.0] * 40), seed=1)
    assert "Column 'b'" in str(caught.value)
    assert "removeconstants" in caught.value.mend


def test_a_column_that_is_not_finite_is_refused() -> None:
    node = layer("piecewise_linear_embedding", n_bins=2)
    rows = torch.tensor([[1.0], [2.0], [float("nan")]])
    with pytest.raises(DataError, match="not finite"):
        node.initialize(node.build(TensorSpec(("batch", 1))), starting(rows))


def test_bins_of_what_a_layer_puts_out_are_refused() -> None:
    task = table()
    wrong = po("ingress_num") >> nn("relu") >> nn("piecewise_linear_embedding")
    with pytest.raises(GraphError, match="needs the numbers themselves") as caught:
        wrong.fit(task, seed=1)
    assert "'relu'" in caught.value.why


def test_of_two_ingresses_it_takes_the_one_that_feeds_it() -> None:
    node = layer("piecewise_linear_embedding", n_bins=2)
    module = node.build(NUMBERS)
    tensors = {"one": noise(9, 3), "two": 5 + noise(9, 3)}
    node.initialize(module, Start(tensors, ("two",), {"two": ("a", "b", "c")}))
    alone = node.build(NUMBERS)
    node.initialize(alone, starting(tensors["two"]))
    assert torch.equal(module.parts.bias, alone.parts.bias)


def test_without_data_the_bins_are_of_equal_width() -> None:
    net = layer("piecewise_linear_embedding", n_bins=2).as_graph().network(("batch", 3))
    (module,) = net.children()
    assert torch.equal(module.parts.weight, torch.full((3, 2), 2.0))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (TensorSpec(("batch", 3, 4)), "2 dimensions is needed"),
        (TensorSpec(("batch", "columns")), "'columns', is needed now"),
        (TensorSpec(("batch", 3), torch.int64), "floating-point numbers are needed"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(key: str, spec: TensorSpec, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        layer(key).infer(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("linear_relu_embedding", {"d_embedding": 0}),
        ("periodic_embedding", {"n_frequencies": 0}),
        ("periodic_embedding", {"frequency_init_scale": 0}),
        ("periodic_embedding", {"lite": True, "activation": False}),
        ("piecewise_linear_embedding", {"n_bins": 1}),
    ],
)
def test_impossible_parameters_are_refused(key: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=key):
        nn(key, **params)


def test_each_place_has_a_map_of_its_own() -> None:
    module = SeparateLinears(3, 2, 4)
    x = noise(5, 3, 2)
    wanted = [x[:, i] @ module.weight[i] + module.bias[i] for i in range(3)]
    torch.testing.assert_close(module(x), torch.stack(wanted, dim=1))
