"""Layers: ports and shapes come from ``build`` alone."""

import attrs
import pytest
import torch
from torch import nn as tnn

from mlgraph import ConfigError, GraphError, Layer, ShapeError, Task, nn, param, po
from mlgraph.data.feed import Feed
from mlgraph.data.taskspec import TaskSpec
from mlgraph.net.descriptor import ModelDescriptor
from mlgraph.net.layer import layer_port
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec

ROWS = TensorSpec(("batch", 4))
COLUMNS = 1  # what a function below refers to


class Single(Layer):
    def build(self, x):
        return tnn.Linear(x.size(-1), 3)


class Pair(Layer):
    def build(self, query, key):
        return tnn.Bilinear(query.size(-1), key.size(-1), 2)


class Any(Layer):
    def build(self, *inputs):
        return Sum()


class First(Layer):
    def build(self, first, *rest):
        return Sum()


class Told(Layer):
    def build(self, x, *, task):
        return tnn.Linear(x.size(-1), task.output_size)


class ToldByPosition(Layer):
    def build(self, x, task):
        return tnn.Linear(x.size(-1), task.output_size)


class Halves(Layer):
    outputs = (layer_port("left"), layer_port("right"))

    def build(self, x):
        return Chunk()


class Sum(tnn.Module):
    def forward(self, *tensors):
        return sum(tensors)


class Chunk(tnn.Module):
    def forward(self, x):
        return x.chunk(2, dim=-1)


class Named(tnn.Module):
    def forward(self, x):
        left, right = x.chunk(2, dim=-1)
        return {"small": left, "large": torch.cat([right, right], dim=-1)}


def names(ports):
    return [port.name for port in ports]


# Ports


def test_one_argument_is_the_port_input_whatever_its_name():
    inputs, outputs = Single().ports()
    assert (names(inputs), names(outputs)) == (["input"], ["output"])
    assert inputs[0].fit is ModelDescriptor
    assert inputs[0].apply is Feed


def test_several_arguments_are_ports_of_their_names_in_their_order():
    assert names(Pair().ports()[0]) == ["query", "key"]


def test_a_starred_argument_is_a_variadic_port():
    (port,) = Any().ports()[0]
    assert (port.name, port.variadic) == ("inputs", True)


def test_a_starred_argument_may_follow_others():
    first, rest = First().ports()[0]
    assert (first.name, first.variadic) == ("first", False)
    assert (rest.name, rest.variadic) == ("rest", True)


@pytest.mark.parametrize("cls", [Told, ToldByPosition])
def test_the_argument_task_is_no_port(cls):
    assert names(cls().ports()[0]) == ["input"]


# Building


def test_the_task_is_passed_only_to_those_who_ask_for_it():
    spec = TaskSpec("classification", ("p", "q", "r"))
    assert Told().make((ROWS,), spec).out_features == 3
    assert ToldByPosition().make((ROWS,), spec).out_features == 3
    assert Single().make((ROWS,), spec).out_features == 3


def test_what_is_no_module_is_refused():
    class Wrong(Layer):
        def build(self, x):
            return torch.relu

    with pytest.raises(GraphError, match=r"build\(\) of Wrong returned a") as caught:
        Wrong().make((ROWS,), TaskSpec("unsupervised"))
    assert "torch.nn.Module" in caught.value.why


class Later(Layer):
    def build(self, x):
        return tnn.Sequential(tnn.LazyLinear(3), tnn.ReLU())


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("use", ["infer", "make", "fit", "check", "network"])
def test_a_lazy_module_is_refused_wherever_it_is_built(use, numbers):
    graph = nn("later") >> nn("head") >> po("torch_model", epochs=1, progress=False)
    uses = {
        "infer": lambda: Later().infer(ROWS),
        "make": lambda: Later().make((ROWS,), TaskSpec("unsupervised")),
        "fit": lambda: graph.fit(numbers),
        "check": lambda: graph.check(numbers),
        "network": lambda: nn("later").as_graph().network(("batch", 4)),
    }
    with pytest.raises(ConfigError, match="sizes of the Sequential are not fixed") as caught:
        uses[use]()
    assert "x.size(-1)" in caught.value.mend
    if use in ("fit", "check", "network"):
        assert caught.value.where.startswith("node 'later', fed by")


@pytest.mark.parametrize("build", [lambda self: tnn.ReLU(), lambda self, task: tnn.ReLU()])
def test_a_build_without_inputs_is_refused_when_the_class_is_defined(build):
    with pytest.raises(GraphError, match=r"build\(\) of Closed takes no input") as caught:
        type("Closed", (Layer,), {"build": build})
    assert caught.value.mend == "write def build(self, x)"


def test_a_class_without_build_is_no_layer():
    class Half(Layer):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half()


# Shapes


def test_shapes_are_found_by_running_the_module():
    assert Single().infer(ROWS) == (TensorSpec(("batch", 3)),)
    assert Any().infer(ROWS, ROWS, ROWS) == (ROWS,)


def test_two_outputs_have_two_specs_and_new_sizes_are_named_after_node_and_port():
    assert Halves().infer(ROWS) == (TensorSpec(("batch", 2)),) * 2
    left, right = Halves().infer(TensorSpec(("batch", "time")), name="split")
    assert left.dim(1) == "split_left_1"
    assert right.dim(1) in ("split_left_1", "split_right_1")


def test_shapes_follow_the_task_that_a_layer_asks_for():
    for n in (3, 5):
        spec = TaskSpec("classification", tuple("abcde"[:n]))
        assert Told().infer(ROWS, task=spec) == (TensorSpec(("batch", n)),)


def test_a_layer_may_state_its_shapes_and_is_not_run_then():
    class Stated(Layer):
        width: int = param(default=7)

        def build(self, x):
            raise AssertionError("the module is not needed")

        def spec(self, x, *, task):
            return (x.with_shape(("batch", self.width)),)

    assert Stated().infer(ROWS) == (TensorSpec(("batch", 7)),)
    assert Stated(width=8).infer(ROWS) == (TensorSpec(("batch", 8)),)


def test_parameters_are_part_of_what_is_remembered_of_shapes():
    assert nn("linear", 2).infer(ROWS) != nn("linear", 3).infer(ROWS)


def test_a_function_that_refers_to_something_outside_is_asked_again(monkeypatch):
    layer = nn("fn", lambda x: x[:, :COLUMNS])
    assert layer.infer(ROWS)[0].size(1) == 1
    monkeypatch.setitem(globals(), "COLUMNS", 2)
    assert layer.infer(ROWS)[0].size(1) == 2


def test_a_class_defined_again_is_asked_again():
    def make(width):
        class Again(Layer):
            def build(self, x):
                return tnn.Linear(x.size(-1), width)

        return Again()

    assert [make(width).infer(ROWS)[0].size(1) for width in (2, 3)] == [2, 3]


# In a graph


def test_errors_say_which_node_failed_and_what_it_was_fed(numbers):
    graph = nn("unflatten", dim=1, sizes=(1, 2), id="three") >> nn("head", id="four")
    with pytest.raises(ShapeError) as caught:
        graph.fit(numbers)
    assert "node 'four', fed by 'three' (batch, 1, 2) float32" in caught.value.where


def test_errors_of_a_layer_with_several_inputs_name_all_that_feed_it(numbers):
    paths = [nn("linear", 2, id="two"), nn("linear", 3, id="three")]
    with pytest.raises(ShapeError) as caught:
        (paths >> nn("merge_sum")).fit(numbers)
    assert "fed by 'two' (batch, 2) float32, 'three' (batch, 3) float32" in caught.value.where


def test_exceptions_of_torch_keep_their_type_and_say_where_they_come_from(numbers):
    class Picky(Layer):
        def build(self, x):
            raise KeyError("gone")

        def spec(self, x, *, task):
            return (x,)

    with pytest.raises(KeyError) as caught:
        (Picky(id="picky") >> nn("head") >> po("torch_model", epochs=1)).fit(numbers)
    assert any("torch_model" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("id", ["forward", "training", "meta", "graph", "double", "code", "to"])
def test_ids_that_modules_have_as_attributes_are_refused(id):
    with pytest.raises(GraphError, match=id) as caught:
        nn("relu", id=id)
    assert f"{id}_1" in caught.value.mend


def test_a_layer_whose_name_is_an_attribute_of_modules_gets_another_default_id(numbers):
    class Double(Layer):
        def build(self, x):
            return tnn.Linear(x.size(-1), 2 * x.size(-1))

    graph = nn("double") >> nn("double") >> nn("head") >> po("torch_model", epochs=1)
    assert graph.ids == ("nn_double", "nn_double_2", "head", "torch_model")
    assert graph.fit(numbers).module().nn_double.out_features == 4


def test_a_layer_with_nothing_to_work_on_says_so():
    with pytest.raises(GraphError, match="nothing to work on"):
        Any().fit({"inputs": ()}, None)


def test_both_outputs_can_be_used(numbers, described):
    halves = Halves()
    graph = halves >> {"left": nn("linear", 3), "right": nn("linear", 3)} >> nn("merge_sum")
    module = network(described(graph, numbers))
    x = torch.randn(5, 2)
    left, right = module.get_submodule("left_linear"), module.get_submodule("right_linear")
    assert torch.equal(module(x), left(x[:, :1]) + right(x[:, 1:]))


@pytest.mark.parametrize("cls", [Chunk, Named])
def test_outputs_may_come_in_a_tuple_or_by_name(numbers, cls, described):
    both = nn("module", cls, outputs=("small", "large"))
    graph = both >> {"one": nn("linear", 3), "two": nn("linear", 3)} >> nn("merge_sum")
    module = network(described(graph, numbers))
    x = torch.randn(5, 2)
    outputs = cls()(x)
    small, large = outputs.values() if cls is Named else outputs
    one, two = module.get_submodule("one_linear"), module.get_submodule("two_linear")
    assert torch.equal(module(x), one(small) + two(large))


# A start from the data


class Centred(Layer):
    """Subtract the means of the training data, found when training starts."""

    def build(self, x):
        return Shift(x.size(-1))

    def initialize(self, module, ctx):
        module.mean.copy_(ctx.tensors["ingress"].mean(0))


class Shift(tnn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, x):
        return x - self.mean


def test_initialize_gets_the_training_tensors_and_the_real_module(numbers):
    graph = Centred(id="centred") >> nn("head") >> po("torch_model", epochs=0)
    fitted = graph.fit(numbers, valid=range(10), seed=1)
    expected = torch.from_numpy(numbers.to_numpy()[0][10:]).float().mean(0)
    assert torch.allclose(fitted.module().centred.mean, expected)


def test_a_start_is_not_made_again_when_the_network_is_rebuilt(numbers):
    fitted = (Centred(id="centred") >> nn("head") >> po("torch_model", epochs=1)).fit(numbers)
    once = fitted.module().centred.mean
    fitted.predict(numbers.take([0, 1]))
    assert torch.equal(fitted.module().centred.mean, once)


def test_a_description_alone_rebuilds_the_module(numbers, described):
    found = described(Told(id="told"), numbers)
    rebuilt = network(found.without_data())
    assert rebuilt.told.out_features == 3
    other = attrs.evolve(found, task=TaskSpec("regression"))
    assert network(other).told.out_features == 3


def test_a_layer_in_an_unsupervised_task_may_not_ask_for_its_output_size():
    with pytest.raises(Exception, match="without a target"):
        nn("head").as_graph().fit(Task({"a": [1.0, 2.0]}))


def test_a_network_that_nothing_trains_is_noted_by_the_check_and_by_what_it_gives():
    data = Task({"x": [0.0, 1.0, 2.0], "y": [1.0, 3.0, 5.0]}, target="y")
    open_ = nn("linear", 4) >> nn("head")
    assert 'end it with po("torch_model")' in str(open_.check(data))
    assert "torch_model" not in str(open_.shapes(("batch", 1), task=data))
    fed = open_.fit(data, seed=1).predict(data)
    with pytest.raises(AttributeError, match="has no 'score'"):
        fed.score("rmse")
    assert not hasattr(fed, "other")
