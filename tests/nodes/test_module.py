from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn as tnn

from mlgraph import ConfigError, ShapeError, StateError, Task, nn, po, sel
from mlgraph.errors import UnknownParameterError
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec
from mlgraph_nodes.module import Kept

X = TensorSpec(("batch", 3))
TASK = Task({"x": [1.0, 2.0], "y": [0.5, 1.5]}, target="y")


class Joint(tnn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return (a + b) * scale


class Underscored(tnn.Module):
    def forward(self, _a: torch.Tensor, _b: torch.Tensor) -> torch.Tensor:
        return _a + _b


def make(width: int) -> tnn.Module:
    return tnn.Linear(3, width)


def test_a_class_is_made_with_the_parameters() -> None:
    layer = nn("module", tnn.Linear, in_features=3, out_features=2, bias=False)
    assert layer.build(X).bias is None
    assert layer.infer(X)[0].shape == ("batch", 2)
    graph = layer.as_graph().with_params(module__out_features=5)
    assert graph["module"].infer(X)[0].shape == ("batch", 5)


def test_a_function_makes_the_module() -> None:
    assert nn("module", make, width=4).infer(X)[0].shape == ("batch", 4)


def test_the_inputs_are_the_required_arguments_of_forward() -> None:
    def names(*args: object, **params: object) -> list[str]:
        return [port.name for port in nn("module", *args, **params).ports()[0]]

    assert names(Joint) == names(Joint()) == ["a", "b"]
    assert names(tnn.Bilinear(2, 3, 4)) == ["input1", "input2"]
    assert names(tnn.LSTM, input_size=3, hidden_size=4) == ["input"]
    assert names(make, width=3) == ["input"]
    assert names(Underscored) == ["input_1", "input_2"]
    assert names(Joint, inputs=("x", "y", "scale")) == ["x", "y", "scale"]


def test_several_inputs_arrive_in_order() -> None:
    start = nn("identity", id="start")
    double = nn("fn", lambda x: 2 * x)
    graph = start >> [nn("identity"), double] >> nn("module", torch.nn.PairwiseDistance)
    net = network(graph.fit(TASK, seed=0).outputs["module.output"])
    assert net(torch.tensor([[3.0]])).tolist() == pytest.approx([3.0], rel=1e-4)


def test_an_instance_keeps_its_weights_and_is_never_trained_in_place() -> None:
    mine = tnn.Linear(3, 2)
    before = copy.deepcopy(mine.state_dict())
    layer = nn("module", mine)
    digest = hash(layer)
    for _ in range(2):
        built = layer.build(X)
        assert torch.equal(built.weight, before["weight"])
        with torch.no_grad():
            built.weight.add_(1)
    with torch.no_grad():
        mine.weight.mul_(0)
    assert torch.equal(layer.build(X).weight, before["weight"])
    assert hash(layer) == digest


def test_a_function_that_returns_one_module_again_and_again_is_copied() -> None:
    mine = tnn.Linear(3, 2)
    layer = nn("module", lambda: mine)
    assert layer.infer(X)[0].shape == ("batch", 2)
    first, second = layer.build(X), layer.build(X)
    assert mine.weight is not first.weight
    assert first.weight is not second.weight


def test_equal_instances_are_equal_and_others_are_not() -> None:
    one = tnn.Linear(3, 2)
    other = tnn.Linear(3, 2)
    assert nn("module", one) == nn("module", copy.deepcopy(one))
    assert nn("module", one) != nn("module", other)
    frozen = copy.deepcopy(one).requires_grad_(False)
    assert nn("module", one) != nn("module", frozen)
    assert not nn("module", frozen).build(X).weight.requires_grad


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (tnn.Dropout(0.1), tnn.Dropout(0.2)),
        (tnn.ReLU(), tnn.GELU()),
        (tnn.Sequential(tnn.ReLU(), tnn.Tanh()), tnn.Sequential(tnn.Tanh(), tnn.ReLU())),
        (tnn.BatchNorm1d(3), tnn.BatchNorm1d(3, eps=0.1)),
        (tnn.BatchNorm1d(3), tnn.BatchNorm1d(4)),
    ],
)
def test_the_digest_sees_settings_classes_and_buffers(one: tnn.Module, other: tnn.Module) -> None:
    assert Kept(one) != Kept(other)
    assert Kept(one) == Kept(copy.deepcopy(one))
    assert hash(Kept(one)) == hash(Kept(copy.deepcopy(one)))


def test_an_instance_may_have_any_dtype_and_scalars() -> None:
    module = tnn.Linear(3, 2, dtype=torch.bfloat16)
    module.register_buffer("count", torch.tensor(3))
    assert nn("module", module).build(X).count == 3


def test_an_instance_survives_pickle_with_its_weights() -> None:
    layer = nn("module", tnn.Linear(3, 2))
    again = pickle.loads(pickle.dumps(layer))
    assert again == layer
    assert torch.equal(again.build(X).weight, layer.build(X).weight)


def test_on_the_meta_device_a_copy_has_no_weights() -> None:
    with torch.device("meta"):
        assert nn("module", tnn.Linear(3, 2, device="cpu")).build(X).weight.is_meta


def test_the_network_has_the_submodules_names() -> None:
    net = network(nn("module", tnn.Linear(1, 2)).as_graph().fit(TASK).outputs["module.output"])
    assert [name for name, _ in net.named_parameters()] == ["module.weight", "module.bias"]


def test_an_unknown_argument_of_a_class_is_refused_with_a_near_one() -> None:
    with pytest.raises(UnknownParameterError, match="Did you mean 'in_features'"):
        nn("module", tnn.Linear, in_feature=3, out_features=2)


def test_a_missing_argument_of_a_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="'out_features'"):
        nn("module", tnn.Linear, in_features=3)


def test_a_function_that_returns_no_module_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot make a layer") as caught:
        nn("module", lambda: 3, id="mine").infer(X)
    assert (caught.value.why, caught.value.where) == ("the function returned a int", "node 'mine'")


@pytest.mark.parametrize("wrong", [int, 3, "linear", None, torch.zeros(2)])
def test_what_is_no_module_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"expected a torch.nn.Module"):
        nn("module", wrong)


def test_an_instance_takes_no_arguments() -> None:
    with pytest.raises(ConfigError, match="takes no arguments"):
        nn("module", tnn.ReLU(), inplace=True)


@pytest.mark.parametrize("module", [tnn.ModuleList(), tnn.ModuleList])
def test_a_module_without_forward_is_refused(module: object) -> None:
    with pytest.raises(ConfigError, match=r"has no forward"):
        nn("module", module)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_modules_are_refused() -> None:
    with pytest.raises(ConfigError, match="not fixed"):
        nn("module", tnn.LazyLinear(3))
    with pytest.raises(ConfigError, match="not fixed"):
        nn("module", tnn.LazyLinear, out_features=3).infer(X)


def test_an_instance_without_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="no weights"):
        nn("module", tnn.Linear(3, 2, device="meta"))


def test_a_module_that_does_not_fit_is_refused_by_shape() -> None:
    with pytest.raises(ShapeError, match="module cannot accept"):
        nn("module", tnn.Linear(4, 2)).infer(X, name="module")


class Body(tnn.Module):
    """A backbone with a head, as libraries have them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = tnn.Sequential(tnn.Linear(1, 4), tnn.BatchNorm1d(4))
        self.fc = tnn.Linear(4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc(self.body(x))
        return out


def weights_of(source: tnn.Module, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save(source.state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_class_starts_from_the_weights_of_a_file(name: str, tmp_path: Path) -> None:
    source = Body(7)
    path = weights_of(source, tmp_path / name)
    layer = nn("module", Body, classes=1, weights=path, fresh=sel.match("^fc"))
    built = layer.as_graph().network(("batch", 1), seed=1).module
    assert torch.equal(built.body[0].weight, source.body[0].weight)
    assert built.fc.weight.shape == (1, 4)
    head = [nn("module", Body, classes=1).as_graph().network(("batch", 1), seed=1).module.fc]
    assert torch.equal(built.fc.weight, head[0].weight)


def test_names_in_the_file_are_renamed(tmp_path: Path) -> None:
    source = Body(1)
    path = weights_of(tnn.ModuleDict({"module": source}), tmp_path / "w.pt")
    layer = nn("module", Body, classes=1, weights=path, rename={"module.": ""})
    built = layer.as_graph().network(("batch", 1)).module
    assert torch.equal(built.fc.weight, source.fc.weight)


def test_the_file_is_read_when_the_training_begins_and_not_before(tmp_path: Path) -> None:
    layer = nn("module", Body, classes=1, weights=tmp_path / "later.pt")
    graph = layer >> po("torch_model", epochs=0, progress=False)
    graph.check(TASK)
    with pytest.raises(StateError, match="There is no file") as caught:
        graph.fit(TASK)
    assert "node 'module'" in str(caught.value) and "nothing is downloaded" in caught.value.mend
    source = Body(1)
    weights_of(source, tmp_path / "later.pt")
    fitted = graph.fit(TASK)
    assert torch.equal(fitted.module().module.fc.weight, source.fc.weight)
    (tmp_path / "later.pt").unlink()
    assert len(pickle.loads(pickle.dumps(fitted)).predict(TASK).response) == 2


def test_weights_that_do_not_fit_name_the_node(tmp_path: Path) -> None:
    path = weights_of(Body(7), tmp_path / "w.pt")
    with pytest.raises(StateError, match="do not fit the Body") as caught:
        nn("module", Body, classes=1, weights=path, id="mine").as_graph().network(("batch", 1))
    assert "node 'mine'" in str(caught.value) and "fresh=" in caught.value.mend


def test_what_is_no_file_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="weights='DEFAULT'") as caught:
        nn("module", Body, classes=1, weights="DEFAULT")
    assert "options={...}" in caught.value.why


def test_a_class_may_have_an_argument_of_that_name() -> None:
    class Weighted(tnn.Linear):
        def __init__(self, weights: int) -> None:
            super().__init__(1, weights)

    layer = nn("module", Weighted, options={"weights": 5})
    assert layer.infer(TensorSpec(("batch", 1)))[0].shape == ("batch", 5)
