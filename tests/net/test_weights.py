from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn as tnn

from mlgraph import ConfigError, StateError, load_weights, nn, sel

GRAPH = nn("linear", 3) >> nn("relu") >> nn("linear", 2, id="head")


def net(graph=GRAPH, seed=1):
    return graph.network(("batch", 4), seed=seed)


@pytest.mark.parametrize("kind", ["module", "dict", "model.pt", "model.safetensors"])
def test_weights_come_from_modules_tensors_and_files(kind, tmp_path):
    source = net(seed=2)
    given = {"module": source, "dict": source.state_dict()}.get(kind, tmp_path / kind)
    if kind.endswith(".pt"):
        torch.save(source.state_dict(), given)
    elif kind.endswith(".safetensors"):
        save_file(source.state_dict(), given)
    target = net()
    assert load_weights(target, given).complete
    x = torch.randn(2, 4)
    assert torch.equal(target(x), source(x))


def test_a_graph_that_was_changed_takes_what_still_fits():
    wider = nn("linear", 3) >> nn("relu") >> nn("linear", 5, id="head") >> nn("linear", 1, id="new")
    target, source = net(wider, seed=3), net()
    report = load_weights(target, source, strict=False)
    assert report.loaded == ("linear.weight", "linear.bias")
    assert report.missing == ("new.weight", "new.bias")
    assert report.different["head.weight"] == ((5, 3), (2, 3))
    assert not report.unexpected and not report.complete
    assert torch.equal(target.linear.weight, source.linear.weight)


def test_names_can_be_mapped():
    other = tnn.Sequential(tnn.Linear(4, 3), tnn.ReLU(), tnn.Linear(3, 2))
    target = net()
    load_weights(target, other, rename={"0.": "linear.", "2.": "head."})
    assert torch.equal(target.head.weight, other[2].weight)


def test_what_does_not_fit_is_refused_and_nothing_is_changed():
    target = net()
    before = target.linear.weight.clone()
    given = {"linear.weight": torch.zeros(3, 4), "head.wait": torch.zeros(1)}
    with pytest.raises(StateError) as caught:
        load_weights(target, given)
    for name in ("linear.bias", "head.weight", "head.wait"):
        assert name in str(caught.value)
    assert torch.equal(target.linear.weight, before)


def test_only_tensors_are_read_from_a_pickled_file(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(net(), path)
    with pytest.raises(StateError, match="cannot be read"):
        load_weights(net(), path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("none.pt", StateError), ("none.safetensors", StateError), ("a.h5", ConfigError)],
)
def test_files_that_are_missing_or_of_another_kind_are_refused(name, kind, tmp_path):
    with pytest.raises(kind, match=name):
        load_weights(net(), tmp_path / name)


def test_a_file_with_something_else_is_refused(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(StateError, match="no tensors by name"):
        load_weights(net(), tmp_path / "list.pt")


def test_a_new_head_keeps_its_start():
    source = net()
    wider = nn("linear", 3) >> nn("relu") >> nn("linear", 5, id="head")
    target = net(wider, seed=3)
    before = target.head.weight.clone()
    with pytest.raises(StateError, match="do not fit"):
        load_weights(target, source)
    report = load_weights(target, source, fresh=sel.match("^head"))
    assert report.complete and report.loaded == ("linear.weight", "linear.bias")
    assert torch.equal(target.head.weight, before)
    assert torch.equal(target.linear.weight, source.linear.weight)


def test_what_is_fresh_may_be_a_selector():
    module, weight = tnn.Linear(2, 1), {"weight": torch.ones(1, 2)}
    assert load_weights(module, weight, fresh=sel.match("^bias")).complete
    with pytest.raises(StateError):
        load_weights(module, weight, fresh=sel.none())


def test_an_old_head_is_left_behind_by_name():
    source, body = net(seed=2), net(nn("linear", 3) >> nn("relu"), seed=3)
    with pytest.raises(StateError, match="leaves an old one behind"):
        load_weights(body, source)
    assert load_weights(body, source, fresh=sel.match("^head")).complete
    assert torch.equal(body.linear.weight, source.linear.weight)


def test_a_whole_model_in_a_file_is_refused_with_what_to_save_instead(tmp_path):
    torch.save(tnn.Linear(4, 3), tmp_path / "whole.pt")
    with pytest.raises(StateError, match="cannot be read") as caught:
        load_weights(tnn.Linear(4, 3), tmp_path / "whole.pt")
    assert "save model.state_dict()" in caught.value.mend


def test_what_is_fresh_need_not_be_there():
    body = {name: t for name, t in net().state_dict().items() if "head" not in name}
    assert load_weights(net(), body, fresh=["head.weight", "head.bias"]).complete
    with pytest.raises(ConfigError, match="chooses no weights") as caught:
        load_weights(net(), body, fresh="head.weigth")
    assert "'head.weight'" in caught.value.mend


def test_beginnings_of_names_are_stripped_and_added():
    module = tnn.Linear(4, 3)
    wrapped = {f"module.body.{name}": t for name, t in module.state_dict().items()}
    target = tnn.Linear(4, 3)
    assert load_weights(target, wrapped, rename={"module.body.": ""}).complete
    assert torch.equal(target.weight, module.weight)
    target = tnn.Sequential(tnn.Linear(4, 3))
    assert load_weights(target, module, rename={"": "0."}).complete


def test_the_tensors_of_a_checkpoint_are_found(tmp_path):
    source = net(seed=2)
    saved = {"epoch": 3, "state_dict": source.state_dict(), "optimizer": {"lr": 0.1}, "loops": {}}
    torch.save(saved, tmp_path / "checkpoint.pt")
    target = net()
    assert load_weights(target, tmp_path / "checkpoint.pt").complete
    assert torch.equal(target.head.weight, source.head.weight)
    torch.save({**saved, "ema": source.state_dict()}, tmp_path / "two.pt")
    with pytest.raises(StateError, match="no tensors by name"):
        load_weights(target, tmp_path / "two.pt")


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(StateError, match="There is no file") as caught:
        load_weights(net(), tmp_path / "none.pt")
    assert "nothing is downloaded" in caught.value.mend


def test_two_weights_that_would_get_one_name_are_refused():
    module = nn("linear", 1, id="fc").as_graph().network(("batch", 2), seed=0)
    before = module.fc.weight.detach().clone()
    given = {"module.fc.weight": torch.ones(1, 2), "fc.weight": torch.zeros(1, 2)}
    with pytest.raises(StateError, match=r"Two weights would be called 'fc.weight'") as caught:
        load_weights(module, {**given, "fc.bias": torch.zeros(1)}, rename={"module.": ""})
    assert "'module.fc.weight' and 'fc.weight'" in caught.value.why
    assert torch.equal(module.fc.weight, before)


def test_arrays_of_numpy_are_weights_and_other_things_are_not():
    module = nn("linear", 1, id="fc").as_graph().network(("batch", 2), seed=0)
    given = {"fc.weight": np.full((1, 2), 7.0), "fc.bias": torch.zeros(1)}
    assert load_weights(module, given).complete
    assert module.fc.weight.tolist() == [[7.0, 7.0]]
    with pytest.raises(ConfigError, match=r"'fc.bias' is no tensor"):
        load_weights(module, {"fc.weight": np.zeros((1, 2)), "fc.bias": [0.0]})
    assert module.fc.weight.tolist() == [[7.0, 7.0]]


@pytest.mark.parametrize("source", [3, torch.zeros(2), object()])
def test_what_holds_no_weights_by_name_is_refused(source):
    with pytest.raises(ConfigError, match="holds no weights by name"):
        load_weights(tnn.Linear(1, 1), source)
