"""The module a description becomes is plain PyTorch, with the names the user chose."""

import copy
import pickle
import warnings

import attrs
import pytest
import torch
from torch import nn as tnn

from mlgraph import Task, nn, po, sel
from mlgraph.core.node import Node
from mlgraph.data.token import NumericToken
from mlgraph.net.descriptor import Call, ModelDescriptor, Source, merged
from mlgraph.net.network import direct, load_tensors, n_parameters, network, unhooked
from mlgraph.tensor.spec import TensorSpec


def mlp(width=8):
    return nn("linear", width) >> nn("relu") >> nn("linear", width) >> nn("gelu") >> nn("head")


def towers():
    number = po("ingress_num", columns=sel.type("float")) >> nn("linear", 6) >> nn("relu")
    words = po("ingress_categ", columns=sel.type("string"))
    embedded = words >> nn("embedding", embedding_dim=4) >> nn("flatten")
    return [number, embedded] >> nn("merge_cat") >> nn("head")


def chain(length):
    """A description of a long chain of layers, by hand."""
    task = Task({"a": [1.0, 2.0], "b": [1.0, 3.0]})
    found = ModelDescriptor.entering(NumericToken("numbers", ("a", "b")), task)
    layer = nn("linear", 2)
    for i in range(length):
        call = Call(f"layer{i}", layer, (found.source,), (found.spec,), (found.spec,), found.task)
        (found,) = found.extended(call)
    return found


def nested():
    return nn("block", nn("linear", 3) >> nn("relu"), n_blocks=2) >> nn("head")


@pytest.mark.parametrize("graph", [mlp(), nested()], ids=["chain", "nested"])
def test_calling_it_directly_gives_the_same_numbers_and_gradients(graph, numbers, described):
    module, x = network(described(graph, numbers)), torch.randn(5, 2)
    assert type(module) is not type(direct(module))
    assert torch.equal(direct(module)(x), module(x))
    direct(module)(x).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward_pre", "full_backward"])
def test_hooks_of_the_network_are_not_passed_over(kind, numbers, described):
    module = network(described(mlp(), numbers))
    getattr(module, f"register_{kind}_hook")(lambda *_: None)
    assert direct(module) is module


def test_another_kind_of_module_is_called_as_it_is():
    module = tnn.Linear(2, 1)
    assert direct(module) is module


def test_another_module_without_hooks_is_only_its_forward():
    loss = tnn.MSELoss()
    assert unhooked(loss) == loss.forward
    loss.register_forward_hook(lambda *_: None)
    assert unhooked(loss) is loss


# Names


def test_submodules_and_tensors_are_named_by_the_ids_of_nodes(numbers, described):
    graph = nn("linear", 4, id="first") >> nn("relu") >> nn("head")
    module = network(described(graph, numbers))
    assert [name for name, _ in module.named_children()] == ["first", "relu", "head"]
    assert list(module.state_dict()) == ["first.weight", "first.bias", "head.weight", "head.bias"]


def test_arguments_are_named_by_the_ids_of_ingresses(mixed, described):
    module = network(described(towers(), mixed))
    x, codes = torch.randn(2, 2), torch.zeros(2, 2, dtype=torch.int64)
    assert torch.equal(module(x, codes), module(ingress_categ=codes, ingress_num=x))


def test_dots_in_an_id_are_nested_modules(numbers, described):
    module = network(described(nn("block", nn("linear", 3), n_blocks=2) >> nn("head"), numbers))
    names = list(module.state_dict())
    assert names[:2] == ["block.0.linear.weight", "block.0.linear.bias"]
    assert names[2:4] == ["block.1.linear.weight", "block.1.linear.bias"]
    x = torch.randn(4, 2)
    first, second = module.block.get_submodule("0"), module.block.get_submodule("1")
    assert torch.equal(module(x), module.head(second.linear(first.linear(x))))


@pytest.mark.parametrize("ids", [("self",), ("a.b", "a_b"), ("lambda_x", "torch")])
def test_any_id_of_an_ingress_can_be_an_argument(numbers, ids):
    found = merged(tuple(ModelDescriptor.entering(NumericToken(id, ("a",)), numbers) for id in ids))
    x = [torch.full((1, 1), float(i)) for i in range(len(ids))]
    assert torch.equal(network(found)(*x), x[0])


# Shape of the network


def test_a_layer_that_the_output_does_not_depend_on_is_not_built(numbers, described):
    found = described(nn("linear", 4) >> nn("relu") >> nn("linear", 5, id="dead"), numbers)
    back = attrs.evolve(found, source=Source("relu"), spec=TensorSpec(("batch", 4)))
    module = network(back)
    assert "dead" not in dict(module.named_modules())
    assert module(torch.randn(3, 2)).shape == (3, 4)


def test_a_network_without_layers_is_the_identity(numbers):
    found = ModelDescriptor.entering(NumericToken("x", ("a", "b")), numbers)
    x = torch.randn(3, 2)
    assert torch.equal(network(found)(x), x)


def test_an_output_that_nobody_uses_is_not_unpacked(numbers, described):
    graph = nn("fn", lambda x: x.chunk(2, 1), outputs=("one", "two"), id="halves")
    found = graph.as_graph().fit(numbers).outputs["halves.two"]
    module = network(found)
    assert [node.args[1] for node in module.graph.nodes if node.op == "call_function"] == [1]
    assert torch.equal(module(torch.tensor([[1.0, 2.0]])), torch.tensor([[2.0]]))


def test_one_output_may_be_used_twice(numbers, described):
    graph = nn("linear", 3) >> [nn("identity"), nn("relu")] >> nn("merge_sum")
    module = network(described(graph, numbers))
    x = torch.randn(4, 2)
    assert torch.equal(module(x), module.linear(x) + module.linear(x).relu())


def test_a_network_gives_the_numbers_of_one_written_by_hand(numbers, described):
    found = described(mlp(8), numbers)
    torch.manual_seed(3)
    ours = network(found)
    torch.manual_seed(3)
    theirs = tnn.Sequential(
        tnn.Linear(2, 8), tnn.ReLU(), tnn.Linear(8, 8), tnn.GELU(), tnn.Linear(8, 3)
    )
    x = torch.randn(16, 2)
    assert torch.equal(ours(x), theirs(x))
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


def test_two_towers_give_the_numbers_of_ones_written_by_hand(mixed, described):
    module = network(described(towers(), mixed))
    x, codes = torch.randn(5, 2), torch.tensor([[0, 1], [1, 0], [2, 1], [0, 0], [1, 1]])
    table = module.embedding.table.weight
    vectors = torch.cat([table[codes[:, 0]], table[codes[:, 1] + 3]], dim=1)
    joined = torch.cat([module.linear(x).relu(), vectors], dim=1)
    torch.testing.assert_close(module(x, codes), module.head(joined))


# What torch does with it


@pytest.fixture
def undisturbed():
    """Torch's compilers warn of their own affairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.compiler.reset()


def inputs(kind, rows):
    x = torch.randn(rows, 2)
    return (x,) if kind == "mlp" else (x, torch.randint(0, 2, (rows, 2)))


def built(kind, task, described):
    graph = mlp() if kind == "mlp" else towers()
    return network(described(graph, task if kind == "towers" else task.select(["a", "b"]))).eval()


@pytest.mark.parametrize("kind", ["mlp", "towers"])
def test_it_compiles_without_breaks(kind, mixed, described, undisturbed):
    module = built(kind, mixed, described)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    given = inputs(kind, 7)
    assert torch.equal(compiled(*given), module(*given))


@pytest.mark.parametrize("kind", ["mlp", "towers"])
def test_it_exports_for_any_number_of_rows(kind, mixed, described, undisturbed):
    module = built(kind, mixed, described)
    batch = torch.export.Dim("batch")
    given = inputs(kind, 7)
    dynamic = tuple({0: batch} for _ in given)
    exported = torch.export.export(module, given, dynamic_shapes=dynamic)
    other = inputs(kind, 11)
    torch.testing.assert_close(exported.module()(*other), module(*other))


def test_a_module_can_be_copied_and_pickled(mixed, described):
    module = network(described(towers(), mixed))
    given = inputs("towers", 4)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(*given), module(*given))
        with torch.no_grad():
            other.linear.weight.zero_()
        assert not torch.equal(other(*given), module(*given))


def test_tensors_are_loaded_by_name_and_all_are_needed(numbers, described):
    found = described(mlp(), numbers)
    one, two = network(found), network(found)
    load_tensors(two, one.state_dict())
    x = torch.randn(3, 2)
    assert torch.equal(one(x), two(x))
    with pytest.raises(RuntimeError, match=r"head\.bias"):
        load_tensors(two, {k: v for k, v in one.state_dict().items() if k != "head.bias"})


# Building


def test_a_network_on_the_meta_device_has_no_data(numbers, described):
    wide = nn("linear", 300_000) >> nn("linear", 300_000) >> nn("head")
    module = network(described(wide, numbers), "meta")
    assert all(tensor.is_meta for tensor in module.state_dict().values())
    assert n_parameters(module) > 90_000_000_000


def test_a_layer_that_looks_at_values_while_it_is_made_is_built_for_real(numbers, described):
    class Looks(tnn.Module):
        def __init__(self):
            super().__init__()
            self.width = int(torch.ones(2).sum().item())
            self.inner = tnn.Linear(self.width, 3)

        def forward(self, x):
            return self.inner(x)

    found = described(nn("module", Looks) >> nn("linear", 4), numbers)
    before = torch.get_rng_state()
    module = network(found, "meta")
    assert torch.equal(torch.get_rng_state(), before)
    assert not module.module.inner.weight.is_meta
    assert module.linear.weight.is_meta


def test_frozen_weights_are_not_counted_as_trainable():
    module = tnn.Linear(3, 2)
    module.bias.requires_grad = False
    assert n_parameters(module) == 6


def test_a_thousand_layers_build_and_run():
    found = chain(1000)
    module = network(found)
    assert len(list(module.children())) == 1000
    assert module(torch.randn(2, 2)).shape == (2, 2)


def test_a_thousand_layers_fit_as_a_graph(numbers):
    graph: Node = nn("linear", 4)
    for _ in range(998):
        graph = graph >> nn("relu")
    fitted = (graph >> nn("head") >> po("torch_model", epochs=1, progress=False)).fit(numbers)
    assert len(fitted.trained().descriptor.calls) == 1000


def test_building_the_same_description_twice_gives_modules_that_share_nothing(numbers, described):
    found = described(mlp(), numbers)
    one, two = network(found), network(found)
    with torch.no_grad():
        one.head.weight.zero_()
    assert not torch.equal(one.head.weight, two.head.weight)
