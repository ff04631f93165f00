"""Every image classifier of torchvision is a layer; torchvision is the reference for all of it."""

from __future__ import annotations

import copy
import functools
import json
import pickle
import urllib.error
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import fx
from torch import nn as tnn
from torchvision.transforms import InterpolationMode, functional
from torchvision.transforms import Normalize as TorchNormalize

from mlgraph import (
    ConfigError,
    DataError,
    ShapeError,
    StateError,
    Task,
    lazy,
    materialize,
    nn,
    po,
    tune,
)
from mlgraph.core.base import Context
from mlgraph.data.feed import Feed
from mlgraph.data.taskspec import TaskSpec
from mlgraph.data.token import NumericToken
from mlgraph.net.descriptor import ModelDescriptor, Source
from mlgraph.net.layer import Layer, Start
from mlgraph.net.network import network
from mlgraph.tensor.spec import TensorSpec
from mlgraph.testing.layer import check_layer
from mlgraph_nodes.vision import ChannelNormalize, preprocessing
from mlgraph_nodes.vision_models import (
    expected,
    head,
    image_size,
    made,
    models,
    pretrained,
    published,
    smallest,
)
from mlgraph_nodes.vision_recipe import vision

# The smallest model of each architecture, and images that it takes.
ONE_OF_EACH = {
    "alexnet": 63,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "efficientnet_v2_s": 32,
    "googlenet": 32,
    "inception_v3": 75,
    "maxvit_t": 224,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_x_400mf": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 17,
    "swin_t": 32,
    "swin_v2_t": 32,
    "vgg11": 32,
    "vit_b_32": 224,
}
# Those of a second or less, and those that are built in no time where there is no data.
LIGHT = {"efficientnet_b0", "mnasnet0_5", "mobilenet_v3_small", "resnet18"}
LIGHT |= {"shufflenet_v2_x0_5", "squeezenet1_1"}
BUILT = LIGHT | {"alexnet", "convnext_tiny", "googlenet", "inception_v3", "vgg11", "vit_b_32"}

CLASSES = TaskSpec("classification", ("a", "b", "c"))
IMAGES = TensorSpec(("batch", 3, "height", "width"))


def some(names: Any, fast: Any) -> list[Any]:
    """All of the names as rows of a test, those that are not fast marked as slow."""
    return [n if n in fast else pytest.param(n, marks=pytest.mark.slow) for n in names]


def layer(name: str, *args: Any, **params: Any) -> Layer:
    node = nn("vision", name, *args, **params)
    assert isinstance(node, Layer)
    return node


@functools.cache
def on_meta(name: str, size: int) -> tnn.Module:
    with torch.device("meta"):
        return made(name, size)


def count(module: tnn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def network_of(node: Layer, x: TensorSpec) -> fx.GraphModule:
    """The network that consists of this layer, real."""
    feed = Feed({"x": Task({"x": [0.0]})})
    entering = ModelDescriptor(CLASSES, {"x": NumericToken("x", ())}, {}, Source("x"), x, feed)
    (found,), _ = node.fit({"input": entering}, Context(id="vision", phase="fit", seed=0))
    return network(found)


def started(node: Layer, size: int = 32) -> tnn.Module:
    module = node.make((TensorSpec(("batch", 3, size, size)),), CLASSES)
    node.initialize(module, Start({}))
    return module


def images(rows: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Images this small are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Which models there are ---------------------------------------------------------------------------


def test_every_classifier_of_torchvision_is_there() -> None:
    assert set(models()) == set(torchvision.models.list_models(module=torchvision.models))
    assert len(models()) >= 80
    assert set(ONE_OF_EACH) <= set(models())


@pytest.mark.parametrize(
    ("name", "hint"), [("resnet19", "'resnet18'"), ("ResNet18", "'resnet18'"), ("vit", "expected")]
)
def test_an_unknown_model_is_refused_with_near_ones(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="cannot take name=") as caught:
        nn("vision", name)
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "deeplabv3_resnet50", "r3d_18"])
def test_models_that_do_not_classify_images_are_not_offered(name: str) -> None:
    assert name not in models()


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("name", some(models(), BUILT))
def test_it_is_built_with_as_many_outputs_as_needed(name: str, size: int) -> None:
    module = on_meta(name, size)
    tensors = [*module.parameters(), *module.buffers()]
    assert all(tensor.is_meta for tensor in tensors)
    last = module.get_submodule(head(module))
    assert last.weight.shape[0] == size
    assert count(module) == known_count(name) - head_count(last, 1000) + head_count(last, size)


def known_count(name: str) -> int:
    """The number that torchvision publishes, for 1000 classes and images of the usual size."""
    if name == "inception_v3":  # theirs is with the auxiliary head
        options = {"aux_logits": False, "init_weights": False}
        with torch.device("meta"):
            return count(torchvision.models.get_model(name, **options))
    only = image_size(name)
    usual = [w for w in pretrained(name).values() if only in (None, w.meta["min_size"][0])]
    return int(usual[0].meta["num_params"])


def head_count(last: Any, size: int) -> int:
    return size * (last.weight[0].numel() + (last.bias is not None))


@pytest.mark.parametrize("name", some(models(), BUILT))
def test_only_the_head_depends_on_the_number_of_outputs(name: str) -> None:
    two, three = on_meta(name, 2).state_dict(), on_meta(name, 3)
    sizes = {key: tensor.shape for key, tensor in three.state_dict().items()}
    differ = {key.rpartition(".")[0] for key, tensor in two.items() if tensor.shape != sizes[key]}
    assert differ == {head(three)}
    assert list(two) == list(sizes)


@pytest.mark.parametrize("name", some(models(), {"resnet18", "squeezenet1_1", "vit_b_32"}))
def test_its_output_is_inferred_for_images_of_any_size(name: str) -> None:
    assert layer(name).infer(IMAGES, task=CLASSES) == (TensorSpec(("batch", 3)),)


@pytest.mark.parametrize("name", ["regnet_y_128gf", "vit_h_14"])
def test_shapes_of_a_model_of_gigabytes_are_found_without_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> Any:
        raise AssertionError("the meta device should do")

    monkeypatch.setattr("mlgraph.tensor.probe._fake_rung", refused)
    assert layer(name, out_features=4).infer(IMAGES) == (TensorSpec(("batch", 4)),)


@pytest.mark.parametrize(
    ("task", "size"),
    [(TaskSpec("regression"), 1), (TaskSpec("classification", ("a", "b")), 1), (CLASSES, 3)],
)
def test_the_task_decides_the_output_size(task: TaskSpec, size: int) -> None:
    x = TensorSpec(("batch", 3, 32, 32))
    assert layer("squeezenet1_1").infer(x, task=task) == (TensorSpec(("batch", size)),)
    assert layer("squeezenet1_1", out_features=9).infer(x, task=task)[0].size(1) == 9


def test_it_keeps_the_promises_of_a_layer() -> None:
    check_layer(layer("squeezenet1_1", out_features=2), [TensorSpec((3, 3, 20, 33))])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnasnet0_5", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_it_keeps_the_promises_of_a_layer_for_images_of_any_shape(name: str) -> None:
    check_layer(layer(name, out_features=2), [TensorSpec((2, 3, 5, 33))])


# Numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", some(sorted(set(ONE_OF_EACH) - {"squeezenet1_1"}), {"resnet18"}))
def test_it_gives_the_numbers_of_torchvision(name: str) -> None:
    size = ONE_OF_EACH[name]
    ours = network_of(layer(name), TensorSpec(("batch", 3, size, size))).eval()
    only = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own affairs
        theirs = torchvision.models.get_model(name, num_classes=3, **only).eval()
    theirs.load_state_dict(ours.get_submodule("vision").state_dict())
    x = images(2, size)
    assert torch.equal(ours(x), theirs(x))


def test_squeezenet_has_signs() -> None:
    ours = network_of(layer("squeezenet1_1", out_features=1), TensorSpec(("batch", 3, 20, 20)))
    theirs = torchvision.models.squeezenet1_1(num_classes=1)
    theirs.load_state_dict(ours.get_submodule("vision").state_dict())
    x = images(3, 20)
    with torch.no_grad():
        ours.vision.classifier[1].bias.fill_(-100.0)
    features = ours.eval()(x)
    assert (features < 0).all()
    theirs.eval().classifier[2] = tnn.Identity()
    theirs.load_state_dict(ours.vision.state_dict())
    assert torch.equal(features, theirs(x))


@pytest.mark.parametrize("name", some(ONE_OF_EACH, LIGHT))
def test_it_learns_on_images_of_the_smallest_sizes(name: str) -> None:
    size = ONE_OF_EACH[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = network_of(layer(name), TensorSpec(("batch", 3, size, size))).train()
        before = [weight.detach().clone() for weight in net.parameters()]
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        x, y = images(4, size), torch.tensor([0, 1, 2, 0])
        tnn.functional.cross_entropy(net(x), y).backward()
    assert all(w.grad is not None and w.grad.isfinite().all() for w in net.parameters())
    optimizer.step()
    head_weight = net.get_submodule(f"vision.{head(net.get_submodule('vision'))}").weight
    changed = [
        w for w, old in zip(net.parameters(), before, strict=True) if not torch.equal(w, old)
    ]
    assert any(weight is head_weight for weight in changed)


def test_a_graph_learns_to_tell_dark_images_from_bright_ones() -> None:
    rng = np.random.default_rng(0)
    bright = np.arange(24) % 2
    pixels = rng.normal(size=(24, 3 * 17 * 17)) * 0.3 + bright[:, None]
    columns = {f"p{i}": pixels[:, i] for i in range(pixels.shape[1])}
    task = Task({**columns, "y": np.array(["dark", "bright"])[bright]}, target="y")
    trained = vision("squeezenet1_1", lr=3e-4, epochs=10, batch_size=8, device="cpu")
    graph = po("ingress_num") >> nn("unflatten", dim=1, sizes=(3, 17, 17)) >> trained
    response = graph.fit(task, seed=1).predict(task).response
    assert (response == np.array(["dark", "bright"])[bright]).mean() > 0.9


@pytest.mark.parametrize("name", some(ONE_OF_EACH, {"squeezenet1_1", "resnet18"}))
def test_its_module_can_be_copied_and_pickled(name: str) -> None:
    size = ONE_OF_EACH[name]
    net = network_of(layer(name), TensorSpec(("batch", 3, size, size))).eval()
    x = images(1, size)
    expected = net(x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_it_compiles_without_breaks_and_exports_for_any_number_of_rows(name: str) -> None:
    size = ONE_OF_EACH[name]
    net = network_of(layer(name), TensorSpec(("batch", 3, size, size))).eval()
    x, other = images(3, size), images(5, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compilers warn of their own affairs
        compiled = torch.compile(net, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), net(x))
        batch = ({0: torch.export.Dim("batch")},)
        exported = torch.export.export(net, (x,), dynamic_shapes=batch).module()
    torch.testing.assert_close(exported(other), net(other))
    torch.compiler.reset()


# Sizes of images ----------------------------------------------------------------------------------

FAST_TO_TRY = {"alexnet", "googlenet", "resnet18", "squeezenet1_0", "vgg11"}


@pytest.mark.parametrize("name", some(models(), FAST_TO_TRY))
def test_the_smallest_size_is_the_one_that_torchvision_states(name: str) -> None:
    stated = pretrained(name)["DEFAULT"].meta["min_size"][0]
    if name.startswith("vit") or name.startswith("maxvit"):
        assert image_size(name) == 224
    elif name.startswith(("swin", "efficientnet_v2")):  # theirs are larger than need be
        assert smallest(name) <= stated
    else:
        assert smallest(name) == stated


@pytest.mark.parametrize("name", ["squeezenet1_1", "squeezenet1_0", "googlenet"])
def test_the_smallest_size_is_that_of_real_images_too(name: str) -> None:
    least = smallest(name)
    module = made(name, 2).eval()
    assert module(images(2, least)).shape == (2, 2)
    with pytest.raises(RuntimeError):
        module(images(2, least - 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maxvit_t", "vit_b_32"])
@pytest.mark.parametrize("size", [192, 220, 225, 448])  # MaxViT rounds 221 up
def test_the_only_size_is_that_of_real_images_too(name: str, size: int) -> None:
    module = on_meta(name, 2).eval()
    assert module(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 2)
    with pytest.raises((AssertionError, RuntimeError)):
        module(torch.empty(2, 3, size, size, device="meta"))


@pytest.mark.parametrize(
    ("name", "shape", "text"),
    [
        ("alexnet", (3, 62, 62), "alexnet takes images of 63 x 63 or larger"),
        ("alexnet", (3, 100, 32), "alexnet takes images of 63 x 63 or larger"),
        ("alexnet", (3, 32, "width"), "alexnet takes images of 63 x 63 or larger"),
        ("vgg11", (3, 28, 28), "vgg11 takes images of 32 x 32 or larger"),
        ("vit_b_32", (3, 32, 32), "vit_b_32 takes images of 224 x 224 only"),
        ("vit_b_32", (3, 32, "width"), "vit_b_32 takes images of 224 x 224 only"),
        ("maxvit_t", (3, 224, 225), "maxvit_t takes images of 224 x 224 only"),
        ("resnet18", (1, 28, 28), "images of 3 channels are needed"),
        ("vit_b_32", (4, 224, 224), "images of 3 channels are needed"),
        ("resnet18", ("channels", 28, 28), "'channels', is needed now"),
        ("resnet18", (28, 28), "rank 3"),
        ("resnet18", (3, 28, 28, 28), "rank 5"),
        ("vit_b_32", (3072,), "rank 2"),
    ],
)
def test_other_images_are_refused_in_our_words(name: str, shape: Any, text: str) -> None:
    with pytest.raises(ShapeError, match="cannot accept") as caught:
        layer(name, out_features=2).infer(TensorSpec(("batch", *shape)))
    assert text in caught.value.why
    assert caught.value.mend


@pytest.mark.parametrize("name", ["resnet18", "vit_b_32"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float64, torch.complex64])
def test_numbers_that_weights_cannot_work_with_are_refused(name: str, dtype: torch.dtype) -> None:
    with pytest.raises(ShapeError, match="cannot accept") as caught:
        layer(name, out_features=2).infer(IMAGES.with_dtype(dtype))
    assert "needed" in caught.value.why


@pytest.mark.parametrize("shape", [(3, "height", "width"), (3, 224, "width"), (3, "side", "side")])
def test_a_size_that_is_not_known_may_be_the_only_one(shape: Any) -> None:
    x = TensorSpec(("batch", *shape))
    assert layer("vit_b_32", out_features=2).infer(x) == (TensorSpec(("batch", 2)),)


@pytest.mark.parametrize(
    ("name", "weights", "size"),
    [
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", 384),
        ("vit_l_16", "ViT_L_16_Weights.IMAGENET1K_SWAG_E2E_V1", 512),
        ("vit_h_14", "DEFAULT", 518),
        ("vit_h_14", "IMAGENET1K_SWAG_LINEAR_V1", 224),
        ("vit_b_16", "there/vit_b_16_swag-9ac1b537.pth", 384),
        ("vit_b_16", "mine.pth", 224),
        ("maxvit_t", "DEFAULT", 224),
        ("resnet18", "DEFAULT", None),
    ],
)
def test_weights_decide_which_size_is_the_only_one(
    name: str, weights: str, size: int | None
) -> None:
    assert image_size(name, weights) == size
    if size is not None:
        with pytest.raises(ShapeError, match=f"takes images of {size} x {size} only"):
            layer(name, weights).build(TensorSpec(("batch", 3, 225, 225)), task=CLASSES)


def test_a_model_for_other_weights_takes_other_images() -> None:
    x = TensorSpec(("batch", 3, 384, 384))
    assert layer("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", out_features=2).infer(x)[0].size(1) == 2


# Weights ------------------------------------------------------------------------------------------

SMALL = "squeezenet1_1"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which torchvision looks for what it has downloaded; it cannot download."""

    def unreachable(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def theirs(name: str, **options: Any) -> dict[str, torch.Tensor]:
    """Weights as torchvision makes them, of 1000 classes."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        state: dict[str, torch.Tensor] = torchvision.models.get_model(name, **options).state_dict()
    return state


def saved(state: dict[str, torch.Tensor], path: Path) -> str:
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return str(path)


def assert_loaded(module: tnn.Module, state: dict[str, torch.Tensor]) -> None:
    """Everything is that of the state, but for the head, which is new."""
    path = f"{head(module)}."
    for key, tensor in module.state_dict().items():
        if key.startswith(path):
            assert tensor.shape[0] == 3
            assert tensor.isfinite().all()
        else:
            assert torch.equal(tensor, state[key]), key


@pytest.mark.parametrize("kind", [".pt", ".pth", ".bin", ".safetensors"])
def test_weights_are_read_from_a_file(kind: str, tmp_path: Path) -> None:
    state = theirs(SMALL)
    path = saved(state, tmp_path / f"mine{kind}")
    assert_loaded(started(layer(SMALL, path)), state)
    assert_loaded(started(layer(SMALL, Path(path))), state)


@pytest.mark.parametrize("name", [SMALL, "mnasnet0_5"])
def test_weights_of_a_model_that_was_trained_inside_another_module_are_read(
    name: str, tmp_path: Path
) -> None:
    model = torchvision.models.get_model(name, num_classes=7)
    path = saved(tnn.DataParallel(model).state_dict(), tmp_path / "mine.pth")
    assert_loaded(started(layer(name, path)), model.state_dict())


def test_the_head_keeps_its_own_start(tmp_path: Path) -> None:
    path = saved(theirs(SMALL, num_classes=3), tmp_path / "mine.pt")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        plain = started(layer(SMALL))
        torch.manual_seed(1)
        tuned = started(layer(SMALL, path))
    assert torch.equal(plain.classifier[1].weight, tuned.classifier[1].weight)
    assert not torch.equal(plain.features[0].weight, tuned.features[0].weight)


@pytest.mark.parametrize("name", some(ONE_OF_EACH, {"mnasnet0_5"}))
@pytest.mark.parametrize("kind", [".pth", ".safetensors"])
def test_weights_of_every_architecture_can_be_loaded(name: str, kind: str, tmp_path: Path) -> None:
    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    state = theirs(name, **more)
    path = saved(state, tmp_path / f"mine{kind}")
    assert_loaded(started(layer(name, path), ONE_OF_EACH[name]), state)


def test_auxiliary_heads_in_a_file_are_passed_over(tmp_path: Path) -> None:
    state = theirs("googlenet", aux_logits=True, init_weights=False)
    assert any(key.startswith("aux1.") for key in state)
    module = started(layer("googlenet", saved(state, tmp_path / "mine.pth")))
    assert_loaded(module, state)
    assert module.aux1 is None


def test_names_of_the_published_files_of_densenet_are_understood(tmp_path: Path) -> None:
    state = theirs("densenet121")
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.")
        if "denselayer" in key
        else key: tensor
        for key, tensor in state.items()
    }
    assert old.keys() != state.keys()
    assert_loaded(started(layer("densenet121", saved(old, tmp_path / "mine.pth"))), state)


@pytest.mark.slow
def test_names_of_the_published_files_of_vit_are_understood(tmp_path: Path) -> None:
    state = theirs("vit_b_32")
    old = {
        k.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): v
        for k, v in state.items()
    }
    assert old.keys() != state.keys()
    assert_loaded(started(layer("vit_b_32", saved(old, tmp_path / "mine.pth")), 224), state)


def test_an_older_mnasnet_that_would_change_the_network_is_refused(tmp_path: Path) -> None:
    old = torchvision.models.MNASNet(1.0).state_dict()
    old._metadata[""]["version"] = 1
    node = layer("mnasnet0_5", saved(old, tmp_path / "mine.pth"))
    with warnings.catch_warnings(), pytest.raises(StateError, match="do not fit mnasnet0_5"):
        warnings.simplefilter("ignore")
        started(node)


def test_weights_of_torchvision_come_through_torchvision(hub: Path) -> None:
    state = theirs(SMALL)
    entry = published(SMALL, "DEFAULT")
    saved(state, hub / Path(entry.url).name)
    for weights in ("DEFAULT", "IMAGENET1K_V1", "SqueezeNet1_1_Weights.IMAGENET1K_V1", entry):
        assert_loaded(started(layer(SMALL, weights)), state)


@pytest.mark.parametrize(
    "name", ["googlenet", pytest.param("inception_v3", marks=pytest.mark.slow)]
)
def test_inputs_are_adapted_to_weights_that_were_trained_on_others(name: str, hub: Path) -> None:
    state = theirs(name, aux_logits=True, init_weights=False)
    path = saved(state, hub / Path(published(name, "DEFAULT").url).name)
    for weights, adapts in (("DEFAULT", True), (path, True), (None, False)):
        module = started(layer(name, weights), 75)
        assert module.transform_input is adapts
    expected = torchvision.models.get_model(name, weights="DEFAULT").eval()
    module = started(layer(name, "DEFAULT"), 75).eval()
    module.fc = expected.fc
    x = images(2, 75)
    assert torch.equal(module(x), expected(x))


def test_a_download_that_fails_says_how_to_do_without(hub: Path) -> None:
    with pytest.raises(DataError, match="'IMAGENET1K_V1' of squeezenet1_1 could not be") as caught:
        started(layer(SMALL, "DEFAULT"))
    assert "no route to host" in caught.value.why
    assert "https://" in caught.value.why
    assert str(hub) in caught.value.mend
    assert "write weights='.../squeezenet1_1-" in caught.value.mend
    assert caught.value.where == "node 'vision'"


def test_a_damaged_download_is_named_as_well(hub: Path) -> None:
    (hub / Path(published(SMALL, "DEFAULT").url).name).write_bytes(b"torn")
    with pytest.raises(DataError, match="could not be fetched"):
        started(layer(SMALL, "DEFAULT"))


def test_weights_are_asked_for_when_training_begins_and_not_before(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = layer(SMALL, "DEFAULT")
    net = network_of(node, TensorSpec(("batch", 3, 20, 20)))
    assert net(images(2, 20)).shape == (2, 3)
    assert capsys.readouterr().out == ""
    task = Task({f"p{i}": [0.0, 1.0] for i in range(3 * 17 * 17)} | {"y": ["u", "v"]}, target="y")
    graph = nn("unflatten", dim=1, sizes=(3, 17, 17)) >> node >> po("torch_model", epochs=1)
    graph.check(task)
    with pytest.raises(DataError, match="could not be fetched"):
        graph.fit(task, seed=0)


@pytest.mark.parametrize(
    ("write", "error", "texts"),
    [
        (lambda s, p: None, DataError, ["There is no file", "mine.pth"]),
        (lambda s, p: p.write_bytes(b"torn"), StateError, ["mine.pth"]),
        (lambda s, p: torch.save([1, 2], p), StateError, ["mine.pth", "list"]),
        (lambda s, p: torch.save({"a": s, "b": s}, p), StateError, ["mine.pth", "no tensors"]),
        (
            lambda s, p: torch.save({k: v for k, v in s.items() if "features.3.sq" not in k}, p),
            StateError,
            ["do not fit", "missing are 'features.3.squeeze.weight', 'features.3.squeeze.bias'"],
        ),
        (
            lambda s, p: torch.save({**s, "extra.weight": torch.ones(1)}, p),
            StateError,
            ["do not fit", "unexpected are 'extra.weight'"],
        ),
        (
            lambda s, p: torch.save({**s, "features.0.bias": torch.ones(1)}, p),
            StateError,
            ["do not fit", "size mismatch for features.0.bias", "[1]", "[64]"],
        ),
        (
            lambda s, p: torch.save(theirs("squeezenet1_0"), p),
            StateError,
            ["do not fit squeezenet1_1", "more", "choose the model"],
        ),
    ],
    ids=["none", "torn", "list", "nested", "missing", "unexpected", "size", "other model"],
)
def test_a_file_that_does_not_fit_is_refused(
    write: Callable[[Any, Path], object], error: type[Exception], texts: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.pth"
    write(theirs(SMALL), path)
    with pytest.raises(error) as caught:
        started(layer(SMALL, str(path)))
    assert all(text in str(caught.value) for text in texts), str(caught.value)
    assert "node 'vision'" in str(caught.value)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"features.0.weight": Evil()}, tmp_path / "mine.pth")
    with pytest.raises(StateError, match=r"mine\.pth"):
        started(layer(SMALL, str(tmp_path / "mine.pth")))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("weights", ["IMAGENET1K_V3", "ResNet50_Weights.DEFAULT", "yes", ""])
def test_unknown_weights_are_refused_when_the_node_is_made(weights: str) -> None:
    with pytest.raises(ConfigError, match="knows no weights") as caught:
        nn("vision", "resnet18", weights=weights)
    assert "torchvision offers 'IMAGENET1K_V1', 'DEFAULT'" in caught.value.why


def test_an_entry_of_torchvision_is_kept_as_text() -> None:
    entry = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    node = layer("resnet18", entry)
    assert node == layer("resnet18", "ResNet18_Weights.IMAGENET1K_V1")
    assert json.loads(json.dumps(node.to_json()))["params"]["weights"] == str(entry)
    with pytest.raises(ConfigError, match="knows no weights"):
        layer("resnet34", entry)


def test_parameters_can_be_left_to_tuning() -> None:
    node = nn("vision", tune(["resnet18", "resnet34"]), weights=tune([None, "DEFAULT"]))
    assert set(node.tokens()) == {"name", "weights"}
    assert set(nn("normalize", [0.0], [tune(0.1, 1.0)]).tokens()) == {"std__0"}


# Preprocessing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models())
def test_the_preprocessing_of_weights_is_that_of_torchvision(name: str) -> None:
    for weights, entry in pretrained(name).items():
        found = preprocessing(name, weights)
        assert repr(found) == repr(entry.transforms())
        assert len(found.mean) == len(found.std) == 3
        assert image_size(name, weights) in (None, *found.crop_size)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b1", "vit_b_16", "inception_v3"])
def test_what_weights_expect_is_known_as_plain_values(name: str) -> None:
    for weights in pretrained(name):
        found, made = expected(name, weights), preprocessing(name, weights)
        assert found is not None
        images = torch.rand(3, 301, 407)
        size = [*found.resize]
        ours = functional.resize(images, size, InterpolationMode(found.interpolation))
        ours = functional.center_crop(ours, [*found.crop])
        ours = functional.normalize(ours, [*found.mean], [*found.std])
        assert torch.equal(made(images), ours)


def test_without_weights_of_torchvision_no_preprocessing_is_known() -> None:
    assert expected("resnet18", None) is None
    assert expected("resnet18", "mine.pth") is None
    assert preprocessing("resnet18", None) is None
    assert preprocessing("resnet18", "mine.pth") is None
    assert preprocessing("resnet18", "there/resnet18-f37072fd.pth").crop_size == [224]
    with pytest.raises(ConfigError, match="knows no weights"):
        preprocessing("resnet18", "mine")


def normalize(mean: Any, std: Any) -> Layer:
    node = nn("normalize", mean, std)
    assert isinstance(node, Layer)
    return node


@pytest.mark.parametrize(
    ("mean", "std", "shape"),
    [
        ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], (4, 3, 5, 6)),
        ([0.5], [0.25], (2, 3, 5, 6)),
        ([0.1, -0.2], [3.0], (2, 2, 5, 6)),
        ([0.5], [0.25], (2, 1, 1, 1)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_images_are_normalised_as_by_torchvision(
    mean: Any, std: Any, shape: Any, dtype: torch.dtype
) -> None:
    module = normalize(mean, std).make((TensorSpec(shape, dtype),), CLASSES)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert torch.equal(module(x), TorchNormalize(mean, std)(x))


def test_the_normalisation_of_weights_is_the_one_of_their_preprocessing() -> None:
    transform = preprocessing("resnet18")
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    module = ChannelNormalize(tuple(transform.mean), tuple(transform.std))
    transform.resize_size = [224]
    torch.testing.assert_close(module(x), transform(x), rtol=0, atol=1e-6)


def test_what_is_normalised_is_no_part_of_what_is_learned() -> None:
    module = ChannelNormalize((0.5,), (2.0,))
    assert not list(module.parameters())
    assert not module.state_dict()
    assert module.to("meta").mean.is_meta


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (2, 3, 1, 1)])
def test_normalisation_keeps_the_promises_of_a_layer(shape: Any) -> None:
    check_layer(normalize([0.1, 0.2, 0.3], [1, 2, 3]), [TensorSpec(shape)])
    check_layer(normalize([0.1], [2]), [TensorSpec(shape, torch.float64)])


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        ([0.1, 0.2], [1, 2, 3], "got 2 means and 3 deviations"),
        ([], [1], "got 0 means"),
        ([0.1], [], "expected positive numbers"),
        ([0.1], [0], "expected positive numbers"),
        ([0.1, 0.2], [1, -1], "expected positive numbers"),
        (0.1, [1], "expected a list"),
        (["a"], [1], "expected a number"),
    ],
)
def test_impossible_normalisations_are_refused(mean: Any, std: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        nn("normalize", mean, std)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (TensorSpec(("batch", 4, 8, 8)), "3 channels do not fit 4"),
        (TensorSpec(("batch", "channels", 8, 8)), "'channels', is needed now"),
        (TensorSpec(("batch", 3, 8)), "rank 3"),
        (TensorSpec(("batch", 3, 8, 8), torch.uint8), "the dtype is uint8"),
    ],
)
def test_what_cannot_be_normalised_is_refused(x: TensorSpec, text: str) -> None:
    with pytest.raises(ShapeError, match="normalize cannot accept") as caught:
        normalize([0, 0, 0], [1, 1, 1]).infer(x)
    assert text in caught.value.why


# The recipe ---------------------------------------------------------------------------------------


PREPARED = ("trafo_resize", "trafo_center_crop", "trafo_to_dtype", "trafo_normalize")


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b1", "vit_b_16", "inception_v3"])
def test_the_recipe_prepares_images_as_the_weights_expect(name: str) -> None:
    images = torch.randint(0, 256, (2, 3, 301, 407), dtype=torch.uint8)
    prepared, theirs_ = vision(name, weights="DEFAULT").subgraph(PREPARED), preprocessing(name)
    grey = 1 / 255 / min(theirs_.std)  # bytes are rounded by another kernel: one level of grey
    for given, off in ((images / 255, 1e-6), (images, 1.001 * grey)):
        task = prepared.fit(Task({"image": lazy(given)}), seed=1).outputs["trafo_normalize.output"]
        found = materialize(task.lazy("image"), stacked=True)
        torch.testing.assert_close(found, theirs_(given), atol=off, rtol=0)


def test_the_recipe_prepares_images_for_weights_of_torchvision_only() -> None:
    with_weights = vision("vit_b_16", weights="IMAGENET1K_SWAG_LINEAR_V1", lr=1e-4, epochs=3)
    assert with_weights.ids == (*PREPARED, "vision", "torch_optimizer", "torch_model")
    transform = preprocessing("vit_b_16", "IMAGENET1K_SWAG_LINEAR_V1")
    assert with_weights["trafo_normalize"].std == tuple(transform.std)
    assert with_weights["torch_model"].epochs == 3
    assert with_weights["torch_optimizer"].parameters()["lr"] == 1e-4
    for weights in (None, "mine.pth", Path("mine.safetensors")):
        assert vision(weights=weights).ids == ("vision", "torch_optimizer", "torch_model")


def test_the_recipe_refuses_what_its_nodes_refuse() -> None:
    with pytest.raises(ConfigError, match="cannot take name"):
        vision("resnet19")
    with pytest.raises(ConfigError, match="knows no weights"):
        vision("resnet18", weights="none")
    with pytest.raises(ConfigError, match="no parameter 'epoch'"):
        vision("resnet18", epoch=3)


def test_a_recipe_starts_from_its_weights_and_survives_a_pickle(hub: Path) -> None:
    state = theirs(SMALL)
    saved(state, hub / Path(published(SMALL, "DEFAULT").url).name)
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 17, 19), dtype=np.uint8)
    task = Task({"image": images, "y": ["a", "b", "c"] * 2}, target="y")
    made = vision(SMALL, weights="DEFAULT", epochs=0, progress=False, device="cpu")
    fitted = made.fit(task, seed=1)
    module = fitted.trained().module()
    assert_loaded(module.get_submodule("vision"), state)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict(task).prob, fitted.predict(task).prob)
