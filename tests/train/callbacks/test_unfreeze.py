"""Unfreezing: which weights are trained, and from when on."""

import pytest
import torch
from torch import nn

from mlgraph import ConfigError, sel, tune
from mlgraph.train.callback import ordered
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback
from mlgraph.train.loop import train
from mlgraph.train.memory import load_state_dict, state_dict
from mlgraph.train.optimizer import Optimizer


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1))


def moved(make_run, chosen, optimizer="sgd", **plan):
    """For each step, the weights that it changed."""
    torch.manual_seed(5)
    run = make_run(network=network(), optimizer=optimizer, **plan)
    seen = []
    before = {}

    def begin(run):
        before.update({n: p.detach().clone() for n, p in run.network.named_parameters()})

    def end(run):
        changed = [n for n, p in run.network.named_parameters() if not torch.equal(p, before[n])]
        seen.append(set(changed))

    watch = Functions(on_batch_begin=begin, on_batch_end=end)
    train(run, ordered([chosen, watch]))
    return seen


LAST = {"2.weight", "2.bias"}
MIDDLE = {"1.weight", "1.bias"}
ALL = LAST | MIDDLE | {"0.weight", "0.bias"}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weights_join_at_the_beginning_of_their_epoch(make_run, optimizer):
    chosen = callback(
        "unfreeze",
        starting_weights=sel.match("^2"),
        unfreeze=[
            {"weights": sel.all(), "epoch": 3},
            {"weights": sel.match("^1"), "epoch": 2},
        ],
    )
    seen = moved(make_run, chosen, optimizer)
    assert seen == [LAST] * 3 + [LAST | MIDDLE] * 3 + [ALL] * 6


def test_weights_join_where_a_schedule_gives_a_momentum(make_run):
    net = network()
    run = make_run(network=net)
    run.optimizer = Optimizer.of("sgd", {"lr": 0.05}).build(net)
    unfreeze = callback(
        "unfreeze", starting_weights=sel.match("^2"), unfreeze={"weights": sel.all(), "epoch": 2}
    )
    train(run, ordered([unfreeze, callback("lr_one_cycle", max_lr=0.1)]))
    assert run.optimizer.param_groups[0]["momentum"] > 0
    assert len(run.history) == 4


@pytest.mark.parametrize("nesterov", [False, True])
def test_weights_join_those_that_have_a_momentum(make_run, nesterov):
    """As torch computes it weight by weight; its fused kernel cannot."""

    def trained(**kernel):
        torch.manual_seed(5)
        net = network()
        made = {"lr": 0.05, "momentum": 0.9, "nesterov": nesterov, **kernel}
        run = make_run(network=net)
        run.optimizer = Optimizer.of("sgd", made).build(net)
        plan = {"weights": sel.match("^1"), "step": 5}
        unfreeze = callback("unfreeze", starting_weights=sel.match("^2"), unfreeze=plan)
        train(run, ordered([unfreeze]))
        return [p.detach() for p in net.parameters()]

    for mine, torchs in zip(trained(), trained(foreach=False), strict=True):
        torch.testing.assert_close(mine, torchs)


def test_weights_join_at_their_step(make_run):
    chosen = callback(
        "unfreeze",
        starting_weights=sel.names("2.bias"),
        unfreeze={"weights": sel.match("^1"), "step": 5},
    )
    assert moved(make_run, chosen) == [{"2.bias"}] * 4 + [{"2.bias"} | MIDDLE] * 8


def test_without_a_plan_the_rest_stays_frozen(make_run):
    chosen = callback("unfreeze", starting_weights=~sel.match("^0"))
    assert moved(make_run, chosen) == [LAST | MIDDLE] * 12


def test_what_was_frozen_before_is_trained_if_it_is_chosen(make_run):
    run = make_run(network=network())
    run.network[2].bias.requires_grad_(False)
    train(run, [callback("unfreeze", starting_weights=sel.match("^2"))])
    trained = {name for name, p in run.network.named_parameters() if p.requires_grad}
    assert trained == LAST


def test_all_may_begin_frozen_if_something_joins_in_time(make_run):
    plan = [{"weights": sel.match("^2"), "epoch": 1}]
    chosen = callback("unfreeze", starting_weights=sel.none(), unfreeze=plan)
    assert moved(make_run, chosen) == [LAST] * 12
    plan = [{"weights": sel.match("^2"), "epoch": 2}]
    chosen = callback("unfreeze", starting_weights=sel.none(), unfreeze=plan)
    with pytest.raises(ConfigError, match="No weights are trained in epoch 1"):
        moved(make_run, chosen)


@pytest.mark.parametrize("wrong", [sel.match("^wieght"), sel.names("2.weigth"), sel.match("9")])
def test_a_selector_of_nothing_is_refused_before_the_training(make_run, wrong):
    plan = [{"weights": wrong, "epoch": 99}]
    chosen = callback("unfreeze", starting_weights=sel.all(), unfreeze=plan)
    run = make_run(network=network())
    with pytest.raises(ConfigError, match="chooses no weights") as caught:
        train(run, [chosen])
    assert run.global_step == 0
    assert "'2.weight'" in caught.value.why


def test_near_names_are_offered(make_run):
    chosen = callback("unfreeze", starting_weights=sel.names("2.weigth"))
    with pytest.raises(ConfigError) as caught:
        train(make_run(network=network()), [chosen])
    assert "Did you mean '2.weight'" in caught.value.mend


@pytest.mark.parametrize(
    "row",
    [
        {"weights": sel.all()},
        {"weights": sel.all(), "epoch": 1, "step": 1},
        {"weights": sel.all(), "epoch": 0},
        {"weights": sel.all(), "epoch": True},
        {"weights": sel.all(), "epoch": "two"},
        {"epoch": 1},
        {"weights": sel.all(), "epoch": 1, "batch": 2},
        3,
    ],
)
def test_a_row_has_weights_and_one_time(row):
    with pytest.raises(ConfigError, match="is no row of unfreeze") as caught:
        callback("unfreeze", starting_weights=sel.all(), unfreeze=[row])
    assert '"epoch": 3' in caught.value.mend


def test_one_time_has_one_row():
    row = {"weights": sel.all(), "epoch": 2}
    with pytest.raises(ConfigError, match="Two rows of unfreeze name the same epoch"):
        callback("unfreeze", starting_weights=sel.all(), unfreeze=[row, row])


def test_what_is_no_selector_is_refused():
    with pytest.raises(ConfigError):
        callback("unfreeze", starting_weights=3)


def test_the_time_may_be_left_open():
    plan = [{"weights": sel.all(), "epoch": tune(1, 9)}]
    chosen = callback("unfreeze", starting_weights=sel.all(), unfreeze=plan)
    assert list(chosen.tokens()) == ["unfreeze__0__epoch"]
    assert chosen.with_parameters({"unfreeze__0__epoch": 3}).unfreeze[0]["epoch"] == 3
    assert chosen != chosen.with_parameters({"unfreeze__0__epoch": 3})


# What frozen modules do


def with_norms():
    return nn.Sequential(
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)),
        nn.Dropout(0.5),
        nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1)),
    )


def modes(make_run, chosen, *callbacks, **plan):
    """For each step, the modules in train mode, and the statistics of the first normalisation."""
    run = make_run(network=with_norms(), **plan)
    seen = []

    def look(run):
        training = [name for name, module in run.network.named_modules() if module.training]
        seen.append((training, run.network[0][1].running_mean.clone()))

    train(run, ordered([chosen, *callbacks, Functions(on_after_backward=look)]))
    return seen, run


BODY = {"0", "0.0", "0.1", "0.2"}


@pytest.mark.parametrize("valid", [True, False])
def test_a_frozen_module_calculates_as_when_predicting_until_it_is_unfrozen(make_run, valid):
    plan = {"weights": sel.all(), "epoch": 3}
    chosen = callback("unfreeze", starting_weights=sel.match("^2"), unfreeze=plan)
    seen, run = modes(make_run, chosen, valid=valid)
    for training, mean in seen[:6]:
        assert not BODY & set(training) and {"", "1", "2", "2.0"} <= set(training)
        assert torch.equal(mean, torch.zeros(4))
    for training, mean in seen[6:]:
        assert BODY <= set(training) and mean.abs().sum() > 0
    assert run.network[2][0].num_batches_tracked == 12
    assert run.network[0][1].num_batches_tracked == 6


def test_it_moves_on_within_an_epoch_too(make_run):
    plan = {"weights": sel.match("^0"), "step": 5}
    chosen = callback("unfreeze", starting_weights=sel.match("^2"), unfreeze=plan)
    seen, _ = modes(make_run, chosen)
    assert [BODY <= set(training) for training, _ in seen] == [False] * 4 + [True] * 8


def test_frozen_modules_may_stay_in_training_as_torch_leaves_them(make_run):
    chosen = callback("unfreeze", starting_weights=sel.match("^2"), frozen="train")
    seen, run = modes(make_run, chosen)
    assert all(BODY <= set(training) for training, _ in seen)
    assert run.network[0][1].num_batches_tracked == 12


def test_a_module_with_one_weight_in_training_trains(make_run):
    chosen = callback("unfreeze", starting_weights=sel.names("0.1.bias") | sel.match("^2"))
    seen, run = modes(make_run, chosen)
    assert all({"0", "0.1", "0.2"} <= set(training) for training, _ in seen)
    assert all("0.0" not in training for training, _ in seen)
    assert run.network[0][1].num_batches_tracked == 12


def test_a_frozen_body_gives_the_same_features_in_training_and_after(make_run):
    run = make_run(network=with_norms())
    x = run.batches.inputs[0]
    before = run.network.eval()[0](x)
    seen = []
    watch = Functions(on_after_backward=lambda run: seen.append(run.network[0](x)))
    train(run, [callback("unfreeze", starting_weights=sel.match("^2")), watch])
    assert all(torch.equal(features, before) for features in seen)
    assert torch.equal(run.network[0](x), before)


def test_a_resumed_run_holds_what_is_frozen(make_run):
    chosen = callback("unfreeze", starting_weights=sel.match("^2"))
    _, run = modes(make_run, chosen, epochs=2)
    fresh = make_run(network=with_norms())
    state = chosen.start(fresh)
    load_state_dict(state, state_dict(run.states["unfreeze"]))
    chosen.on_train_begin(fresh, state)
    fresh.network.train()
    chosen.on_batch_begin(fresh, state)
    assert not any(module.training for module in fresh.network[0].modules())
    assert fresh.network[2].training


@pytest.mark.parametrize(("frozen", "moved"), [("eval", False), ("train", True)])
def test_the_statistics_of_an_average_are_not_those_of_a_frozen_body(make_run, frozen, moved):
    chosen = callback("unfreeze", starting_weights=sel.match("^2"), frozen=frozen)
    _, run = modes(make_run, chosen, callback("swa", begin=2))
    assert torch.equal(run.network[0][1].running_mean, torch.zeros(4)) == (not moved)
    assert run.network[2][0].running_mean.abs().sum() > 0


def test_weights_can_be_chosen_by_kind(make_run):
    chosen = callback("unfreeze", starting_weights=sel.kind("norm") | sel.match(r"^2\.1"))
    run = make_run(network=with_norms())
    train(run, [chosen])
    trained = {name for name, p in run.network.named_parameters() if p.requires_grad}
    norms = {f"{place}.{name}" for place in ("0.1", "2.0") for name in ("weight", "bias")}
    assert trained == norms | {"2.1.weight", "2.1.bias"}
