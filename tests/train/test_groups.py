"""Groups of weights: which there are, what holds for them, and that it stays so."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from mlgraph import ConfigError, Task, callback, load, po, sel, tune
from mlgraph import nn as layer
from mlgraph.errors import UnknownParameterError
from mlgraph.train.groups import UNDECAYED, rows_of
from mlgraph.train.optimizer import Optimizer


def network() -> nn.Module:
    torch.manual_seed(0)
    parts = {
        "body": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)),
        "head": nn.Linear(4, 1),
    }
    return nn.Sequential(nn.ModuleDict(parts)["body"], parts["head"])


def groups(rows, name="adamw", **options):
    """For each group, the names in it and what was set."""
    module = network()
    names = {id(p): n for n, p in module.named_parameters()}
    made = Optimizer.of(name, {"lr": 0.1, **options}, rows).build(module)
    return [([names[id(p)] for p in g["params"]], g) for g in made.param_groups]


HEAD = ["1.weight", "1.bias"]
BODY = ["0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias", "0.2.weight", "0.2.bias"]


def test_chosen_weights_have_settings_of_their_own_and_the_rest_comes_first():
    rest, body = groups([{"weights": sel.match("^0"), "lr": 0.01, "weight_decay": 0.5}])
    assert rest[0] == HEAD and body[0] == BODY
    assert (rest[1]["lr"], rest[1]["weight_decay"]) == (0.1, 0.01)
    assert (body[1]["lr"], body[1]["weight_decay"]) == (0.01, 0.5)


def test_a_network_chosen_in_full_leaves_no_rest():
    assert [names for names, _ in groups({sel.all(): {"lr": 0.2}})] == [BODY + HEAD]


def test_groups_are_part_of_what_an_optimizer_is():
    plain, one, other = (
        Optimizer.of("sgd", {"lr": 0.1}, rows)
        for rows in ((), {"1.bias": {"lr": 0.2}}, {"1.bias": {"lr": 0.3}})
    )
    assert len({plain, one, other}) == 3
    assert one == Optimizer.of("sgd", {"lr": 0.1}, [{"weights": "1.bias", "lr": 0.2}])
    assert Optimizer.of(one, {"momentum": 0.5}).groups == one.groups
    assert repr(one) == "sgd(lr=0.1, groups=[{'weights': sel.names('1.bias'), 'lr': 0.2}])"


def test_the_groups_train_as_those_of_torch():
    mine, theirs = network(), network()
    rows = {sel.match("^0"): {"lr_factor": 0.5, "weight_decay": 0.2}}
    ours = Optimizer.of("adamw", {"lr": 0.1}, rows).build(mine)
    by_hand = torch.optim.AdamW(
        [
            {"params": theirs[1].parameters()},
            {"params": theirs[0].parameters(), "lr": 0.05, "weight_decay": 0.2},
        ],
        lr=0.1,
        fused=True,
    )
    x = torch.randn(8, 3)
    for module, optimizer in ((mine, ours), (theirs, by_hand)):
        for _ in range(3):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
    assert all(map(torch.equal, mine.parameters(), theirs.parameters()))


def test_rows_that_choose_the_same_weight_hold_together():
    rows = [
        {"weights": sel.kind("bias", "norm"), "weight_decay": 0.0},
        {"weights": sel.match("^0"), "lr_factor": 0.1},
    ]
    found = groups(rows)
    assert [names for names, _ in found] == [
        ["1.weight"],
        ["1.bias"],
        ["0.0.bias", "0.1.weight", "0.1.bias", "0.2.bias"],
        ["0.0.weight", "0.2.weight"],
    ]
    assert [g["lr"] for _, g in found] == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert [g["weight_decay"] for _, g in found] == [0.01, 0.0, 0.0, 0.01]


def test_rows_that_contradict_each_other_are_refused():
    rows = [{"weights": sel.match("^0"), "lr": 0.1}, {"weights": "0.0.bias", "lr": 0.2}]
    with pytest.raises(ConfigError, match=r"Two groups set 'lr' of '0.0.bias'") as caught:
        groups(rows)
    assert "to 0.1 and to 0.2" in caught.value.why


def test_a_row_that_finds_nothing_is_refused_with_near_names():
    with pytest.raises(ConfigError, match="chooses no weights") as caught:
        groups({"0.0.wieght": {"lr": 0.1}})
    assert "Did you mean '0.0.weight'" in caught.value.mend


def test_the_name_of_a_module_is_answered_by_what_means_its_weights():
    with pytest.raises(ConfigError, match="chooses no weights") as caught:
        groups({"0.0": {"lr": 0.1}})
    assert 'sel.match("^0[.]0[.]")' in caught.value.mend


def test_a_kind_that_a_network_does_not_have_is_no_mistake():
    made = Optimizer.of("sgd", {"lr": 0.1}, {sel.kind("norm"): {"lr": 0.2}}).build(nn.Linear(2, 1))
    assert [group["lr"] for group in made.param_groups] == [0.1]


@pytest.mark.parametrize(
    ("rows", "kind", "text"),
    [
        ([{"weights": sel.all(), "weight_deacy": 0.0}], UnknownParameterError, "weight_deacy"),
        ([{"weights": sel.all(), "params": []}], UnknownParameterError, "params"),
        ([{"weights": sel.all()}], ConfigError, "is no group"),
        ([{"lr": 0.1}], ConfigError, "is no group"),
        ([3], ConfigError, "is no group"),
        (3, ConfigError, "is no group"),
        ({"head": 0.1}, ConfigError, "is no group"),
        ([{"weights": sel.all(), "lr_factor": 0}], ConfigError, "lr_factor=0"),
        ([{"weights": sel.all(), "lr_factor": "big"}], ConfigError, "lr_factor='big'"),
        ([{"weights": sel.all(), "layer_decay": 1.5}], ConfigError, "layer_decay=1.5"),
        ([{"weights": sel.all(), "lr": -1.0}], ConfigError, "does not take these options"),
    ],
)
def test_what_is_no_group_is_refused_when_it_is_described(rows, kind, text):
    with pytest.raises(kind, match=text):
        Optimizer.of("adamw", {}, rows)


def test_a_part_of_an_unknown_rate_is_refused():
    def mine(parameters, momentum=0.0):
        return torch.optim.SGD(parameters, lr=0.1, momentum=momentum)

    described = Optimizer.of(mine, {}, {"1.bias": {"lr_factor": 0.5}})
    with pytest.raises(ConfigError, match="A part of the learning rate is not known"):
        described.build(network())


def test_names_are_needed_to_find_weights():
    described = Optimizer.of("sgd", {}, {"1.bias": {"lr": 0.5}})
    with pytest.raises(ConfigError, match="pass the network"):
        described.build(list(network().parameters()))


# Decay of the rate by depth, and of the weights by kind


def test_the_rate_decays_from_the_last_layer_to_the_first():
    found = groups([{"weights": sel.all(), "layer_decay": 0.5}])
    assert [(names, g["lr"]) for names, g in found] == [
        (BODY[:4], 0.025),
        (BODY[4:], 0.05),
        (HEAD, 0.1),
    ]


def test_the_decay_counts_the_layers_that_are_chosen():
    rest, first, last = groups([{"weights": sel.match("^0"), "layer_decay": 0.5, "lr": 0.2}])
    assert (rest[0], rest[1]["lr"]) == (HEAD, 0.1)
    assert (first[1]["lr"], last[1]["lr"]) == (0.1, 0.2)


def test_what_is_spared_the_decay_is_what_does_not_multiply_features():
    module = nn.ModuleDict(
        {
            "embedding": nn.Embedding(3, 2),
            "attention": nn.MultiheadAttention(2, 1),
            "norm": nn.LayerNorm(2),
            "prelu": nn.PReLU(),
            "conv": nn.Conv2d(1, 2, 3),
        }
    )
    module.cls_token = nn.Parameter(torch.zeros(1, 1, 2))
    rest, spared = Optimizer.of("adamw", {}, {UNDECAYED: {"weight_decay": 0.0}}).parts(module)
    names = {id(p): n for n, p in module.named_parameters()}
    assert {names[id(p)] for p in rest["params"]} == {
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "conv.weight",
    }
    assert spared["weight_decay"] == 0.0


# The node


def task(n: int = 24) -> Task:
    x = [i / n for i in range(n)]
    return Task({"x": x, "z": [v * v for v in x], "y": [3 * v for v in x]}, target="y")


def graph(optimizer, *callbacks, **trainer):
    return (
        layer("linear", 4, id="body")
        >> layer("batch_norm1d", id="norm")
        >> layer("head")
        >> optimizer
        >> po("torch_callbacks", list(callbacks))
        >> po("torch_model", **{"epochs": 3, "batch_size": 8, "progress": False, **trainer})
    )


def seen_rates(optimizer, *callbacks, **trainer):
    """The rates of all groups in each step."""
    seen = []

    def look(run):
        seen.append([group["lr"] for group in run.optimizer.param_groups])

    watch = callback("functions", on_batch_begin=look)
    graph(optimizer, *callbacks, watch, **trainer).fit(task(), seed=1)
    return torch.tensor(seen, dtype=torch.float64)


def test_the_node_takes_groups_and_the_two_ready_ones():
    node = po(
        "torch_optimizer",
        lr=0.1,
        groups=[{"weights": sel.match("^body"), "lr_factor": 0.5}],
        selective_decay=True,
        layer_decay=0.5,
    )
    (first, *_) = seen_rates(node).tolist()
    assert sorted(set(first)) == pytest.approx([0.025, 0.05, 0.1])
    assert node == po("torch_optimizer", **node.parameters())
    assert node != po("torch_optimizer", lr=0.1)
    assert pickle.loads(pickle.dumps(node)) == node


def test_a_group_that_finds_nothing_is_found_by_check():
    wrong = po("torch_optimizer", groups={sel.match("^boddy"): {"lr": 0.1}})
    with pytest.raises(ConfigError, match="chooses no weights") as caught:
        graph(wrong).check(task())
    assert "'body'" in caught.value.mend


def test_the_number_of_groups_is_told_by_check():
    checked = graph(po("torch_optimizer", layer_decay=0.5)).check(task())
    assert "2 groups of weights" in str(checked)


def test_settings_of_groups_can_be_left_open():
    node = po("torch_optimizer", groups=[{"weights": "head.bias", "lr_factor": tune(0.1, 1.0)}])
    assert list(node.tokens()) == ["groups__0__lr_factor"]
    closed = node.with_parameters({"groups__0__lr_factor": 0.5})
    assert closed.description().groups[0]["lr_factor"] == 0.5
    open_ = po("torch_optimizer", layer_decay=tune(0.5, 1.0))
    assert list(open_.tokens()) == ["layer_decay"]


def test_groups_are_saved_with_a_fitted_graph(tmp_path):
    node = po("torch_optimizer", groups=[{"weights": ~sel.kind("norm"), "lr_factor": 0.5}])
    fitted = graph(node).fit(task(), seed=1)
    fitted.save(tmp_path / "model.mlg")
    again = load(tmp_path / "model.mlg")
    assert again.graph == fitted.graph
    assert again.trained().optimizer == fitted.trained().optimizer
    assert again.trained().optimizer.groups == rows_of({~sel.kind("norm"): {"lr_factor": 0.5}})


def test_a_run_with_groups_goes_on_bit_for_bit(tmp_path):
    node = po("torch_optimizer", "adamw", lr=0.1, layer_decay=0.5, selective_decay=True)
    calls = [
        callback("checkpoint", path=str(tmp_path)),
        callback("lr_cosine_annealing", eta_min=0.01, T_max=6),
        callback(
            "unfreeze",
            starting_weights=sel.match("head"),
            unfreeze=[
                {"weights": sel.match("body"), "epoch": 2},
                {"weights": sel.all(), "step": 14},
            ],
        ),
    ]
    whole = graph(node, *calls[1:], epochs=6).fit(task(), seed=1)
    graph(node, *calls, epochs=4).fit(task(), seed=1)
    again = graph(node, *calls, epochs=6, resume=True).fit(task(), seed=1)
    assert again.history.equals(whole.history)
    for name, tensor in whole.trained().tensors.items():
        assert torch.equal(again.trained().tensors[name], tensor)


def test_other_groups_do_not_go_on_from_a_checkpoint(tmp_path):
    place = callback("checkpoint", path=str(tmp_path))
    graph(po("torch_optimizer", layer_decay=0.5), place, epochs=1).fit(task(), seed=1)
    other = graph(po("torch_optimizer", layer_decay=0.6), place, epochs=2, resume=True)
    with pytest.raises(ValueError, match="'optimizer' differ"):
        other.fit(task(), seed=1)


# Schedules


TENTH = po("torch_optimizer", "sgd", lr=0.01, groups={sel.match("^body"): {"lr_factor": 0.1}})
SCHEDULES = {
    "lr_chained": {
        "schedulers": [callback("lr_warmup", steps=3), callback("lr_step", step_size=1)]
    },
    "lr_constant": {"total_iters": 2},
    "lr_cosine_annealing": {"eta_min": 0.005},
    "lr_cosine_annealing_warm_restarts": {"T_0": 2, "eta_min": 0.005},
    "lr_cyclic": {"base_lr": 0.001, "max_lr": 0.02, "step_size_up": 2},
    "lr_exponential": {"gamma": 0.5},
    "lr_lambda": {"lr_lambda": lambda epoch: 1 / (1 + epoch)},
    "lr_linear": {},
    "lr_multi_step": {"milestones": [1]},
    "lr_multiplicative": {"lr_lambda": lambda epoch: 0.7},
    "lr_one_cycle": {"max_lr": 0.05},
    "lr_polynomial": {"power": 2.0},
    "lr_reduce_on_plateau": {
        "patience": 0,
        "threshold": 10.0,
        "factor": 0.1,
        "min_lr": 0.005,
        "monitor": "train_loss",
    },
    "lr_sequential": {
        "schedulers": [
            callback("lr_warmup", steps=3),
            callback("lr_cosine_annealing", eta_min=0.003),
        ],
        "milestones": [3],
    },
    "lr_step": {"step_size": 1},
    "lr_warmup": {"steps": 4},
    "swa": {"begin": 2, "lr": 0.002, "anneal_epochs": 2},
}


def test_every_schedule_of_ours_is_tried():
    from mlgraph.train.callbacks.known import known

    ours = {key for key, cls in known().items() if cls.__module__.startswith("mlgraph.")}
    assert {key for key in ours if key.startswith("lr_")} - {"lr_scheduler"} <= set(SCHEDULES)


@pytest.mark.parametrize("key", sorted(SCHEDULES))
def test_schedules_keep_the_ratio_of_the_rates(key):
    rest, body = seen_rates(TENTH, callback(key, **SCHEDULES[key]), epochs=5).unbind(1)
    assert len(rest.unique()) > 1
    assert body.tolist() == pytest.approx((0.1 * rest).tolist())


@pytest.mark.parametrize("key", ["lr_cosine_annealing", "lr_cyclic", "lr_one_cycle", "lr_step"])
def test_the_optimizers_own_rate_is_what_it_is_without_groups(key):
    chosen = callback(key, **SCHEDULES[key])
    with_groups = seen_rates(TENTH, chosen, epochs=5)[:, 0]
    without = seen_rates(po("torch_optimizer", "sgd", lr=0.01), chosen, epochs=5)[:, 0]
    assert torch.equal(with_groups, without)


def test_a_list_is_a_rate_for_each_group():
    cycle = callback("lr_one_cycle", max_lr=[0.05, 0.04], pct_start=0.5)
    highest = seen_rates(TENTH, cycle, epochs=5).max(0).values
    assert highest[1] / highest[0] == pytest.approx(0.8)
    with pytest.raises(ConfigError, match="does not take these parameters"):
        seen_rates(TENTH, callback("lr_one_cycle", max_lr=[0.05, 0.04, 0.03]))


def test_the_finder_keeps_the_ratio_too():
    from mlgraph.train.callbacks.find_lr import find_lr

    seen = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    node = po("torch_optimizer", Watched, lr=0.3, groups={sel.match("^body"): {"lr": 0.03}})
    found = find_lr(graph(node), task(), low=1e-4, high=1e-2, steps=5, seed=1)
    assert [rates[0] for rates in seen[-5:]] == pytest.approx(found.rates)
    assert all(body == pytest.approx(rest / 10) for rest, body in seen[-5:])
