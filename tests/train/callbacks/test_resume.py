"""A run that was saved and goes on in another process ends as one that was never interrupted."""

import copy
import json

import pytest
import torch
from torch import nn

from mlgraph import StateError, sel
from mlgraph.train.callback import ordered
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback, known
from mlgraph.train.loop import train
from mlgraph.train.memory import load_state_dict, state_dict

LAST = 1e9  # after every other callback
UNFREEZE = [
    {"weights": sel.match("^1"), "epoch": 2},
    {"weights": sel.match("^0.weight"), "step": 8},
]
EXAMPLES = {
    "csv_log": {"path": "log.csv", "overwrite": True},
    "early_stopping": {"patience": 2, "min_delta": 0.2},
    "ema": {"decay": 0.9, "use_buffers": True},
    "functions": {},
    "grad_clip": {"norm": 0.5},
    "jsonl_log": {"path": "log.jsonl", "overwrite": True},
    "lr_chained": {
        "schedulers": [
            callback("lr_warmup", steps=5),
            callback("lr_exponential", gamma=0.9, every="step"),
        ]
    },
    "lr_constant": {"total_iters": 3},
    "lr_cosine_annealing": {},
    "lr_cosine_annealing_warm_restarts": {"T_0": 2},
    "lr_cyclic": {"base_lr": 0.001, "max_lr": 0.1, "step_size_up": 3},
    "lr_exponential": {"gamma": 0.8},
    "lr_lambda": {"lr_lambda": lambda epoch: 1 / (1 + epoch)},
    "lr_linear": {},
    "lr_multi_step": {"milestones": [1, 3]},
    "lr_multiplicative": {"lr_lambda": lambda epoch: 0.7},
    "lr_one_cycle": {"max_lr": 0.1},
    "lr_polynomial": {"power": 2.0},
    "lr_reduce_on_plateau": {"patience": 0, "threshold": 0.5},
    "lr_scheduler": {
        "scheduler": torch.optim.lr_scheduler.StepLR,
        "options": {"step_size": 2},
        "every": "step",
    },
    "lr_sequential": {
        "schedulers": [
            callback("lr_warmup", steps=4),
            callback("lr_cosine_annealing"),
            callback("lr_multi_step", milestones=[1, 2], every="step"),
        ],
        "milestones": [4, 9],
    },
    "lr_step": {"step_size": 1},
    "lr_warmup": {"steps": 7},
    "mlflow": {},
    "progress": {},
    "swa": {"begin": 2, "lr": 0.01, "anneal_epochs": 2},
    "tensorboard": {"path": "board", "log_train_loss": True},
    "time_limit": {"seconds": 1e6},
    "unfreeze": {"starting_weights": sel.match("^3"), "unfreeze": UNFREEZE},
}
OURS = [key for key, cls in known().items() if cls.__module__.startswith("mlgraph.train.callbacks")]


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch, extras):
    monkeypatch.chdir(tmp_path)


def saving_at(event, epoch, step, saved):
    """A callback that saves the run once."""

    def save(run):
        if (run.epoch, run.step) != (epoch, step) or saved:
            return
        saved.update(
            network=copy.deepcopy(run.network.state_dict()),
            optimizer=copy.deepcopy(run.optimizer.state_dict()),
            states={name: state_dict(state) for name, state in run.states.items()},
            run={name: copy.deepcopy(getattr(run, name)) for name in COUNTS},
            stream=torch.get_rng_state(),
        )

    return Functions(weight=LAST, **{event: save})


COUNTS = ("epoch", "step", "global_step", "history", "losses", "scores", "best_epoch")


def put_back(run, saved, optimizer=True):
    run.network.load_state_dict(saved["network"])
    if optimizer:
        run.optimizer.load_state_dict(copy.deepcopy(saved["optimizer"]))
    for name, state in run.states.items():
        load_state_dict(state, saved["states"][name])
    for name, value in saved["run"].items():
        setattr(run, name, copy.deepcopy(value))
    torch.set_rng_state(saved["stream"])


def remembered(run):
    """What the callbacks of a run remember, but for how long it took."""
    states = {name: state_dict(state) for name, state in run.states.items()}
    for state in states.values():
        if isinstance(state, dict):
            state.pop("seconds", None)
    return states


def only(run):
    """The memory of the one callback of a run."""
    (state,) = run.states.values()
    return state


def same(one, two):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[k], two[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two or (one != one and two != two)


def test_every_predefined_callback_has_an_example():
    assert sorted(EXAMPLES) == OURS


@pytest.mark.parametrize(
    ("event", "epoch", "step"), [("on_epoch_end", 2, 0), ("on_batch_end", 3, 1)]
)
@pytest.mark.parametrize("key", sorted(EXAMPLES))
def test_a_resumed_run_ends_as_an_uninterrupted_one(make_run, key, event, epoch, step):
    saved = {}
    chosen = callback(key, **EXAMPLES[key])
    whole = make_run()
    train(whole, ordered([chosen, saving_at(event, epoch, step, saved)]))
    rest = make_run(start=99)
    train(rest, ordered([chosen, Functions(weight=LAST)]), lambda run: put_back(run, saved))
    assert same(whole.network.state_dict(), rest.network.state_dict())
    assert whole.history == rest.history
    assert whole.stopped == rest.stopped
    assert same(remembered(whole), remembered(rest))
    assert whole.optimizer.param_groups[0]["lr"] == rest.optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("key", [key for key in OURS if key.startswith("lr_")])
def test_a_schedule_goes_on_whether_the_optimizer_is_restored_before_or_after_it_is_made(
    make_run, key, optimizer
):
    saved = {}
    chosen = callback(key, **EXAMPLES[key])
    whole = make_run(optimizer=optimizer)
    train(whole, ordered([chosen, saving_at("on_batch_end", 2, 2, saved)]))
    rest = make_run(optimizer=optimizer, start=99)
    rest.optimizer.load_state_dict(copy.deepcopy(saved["optimizer"]))
    callbacks = ordered([chosen, Functions(weight=LAST)])
    train(rest, callbacks, lambda run: put_back(run, saved, optimizer=False))
    assert same(whole.network.state_dict(), rest.network.state_dict())
    for one, two in zip(whole.optimizer.param_groups, rest.optimizer.param_groups, strict=True):
        plain = [name for name in one if name != "params"]
        assert {k: one[k] for k in plain} == {k: two[k] for k in plain}


def test_all_at_once_go_on_too(make_run):
    keys = ["ema", "grad_clip", "lr_one_cycle", "unfreeze", "early_stopping", "csv_log"]
    chosen = [callback(key, **EXAMPLES[key]) for key in keys]
    saved = {}
    whole = make_run()
    train(whole, ordered([*chosen, saving_at("on_batch_end", 2, 3, saved)]))
    rest = make_run(start=99)
    train(rest, ordered([*chosen, Functions(weight=LAST)]), lambda run: put_back(run, saved))
    assert same(whole.network.state_dict(), rest.network.state_dict())
    assert whole.history == rest.history


@pytest.mark.parametrize("key", sorted(EXAMPLES))
def test_what_is_saved_are_tensors_and_json(make_run, key):
    run = make_run(epochs=2)
    train(run, [callback(key, **EXAMPLES[key])])
    saved = state_dict(only(run))
    json.dumps(saved, default=lambda value: "tensor" if isinstance(value, torch.Tensor) else 1 / 0)


@pytest.mark.parametrize("key", sorted(EXAMPLES))
def test_what_was_saved_is_saved_again_the_same(make_run, key):
    run = make_run(epochs=2)
    chosen = callback(key, **EXAMPLES[key])
    train(run, [chosen])
    saved = state_dict(only(run))
    fresh = chosen.start(make_run(epochs=2, start=5))
    load_state_dict(fresh, saved)
    again = state_dict(fresh)
    if isinstance(again, dict) and "seconds" in again:
        assert again.pop("seconds") >= saved.pop("seconds") > 0
    assert same(saved, again)


def test_a_schedule_that_spans_the_run_refuses_a_run_of_another_length(make_run):
    run = make_run(epochs=2)
    train(run, [callback("lr_one_cycle", max_lr=0.1)])
    longer = callback("lr_one_cycle", max_lr=0.1).start(make_run(epochs=3))
    with pytest.raises(StateError, match="was made for 6 steps, and the run has 9 now"):
        load_state_dict(longer, state_dict(only(run)))
    given = callback("lr_one_cycle", max_lr=0.1, total_steps=6)
    run = make_run(epochs=2)
    train(run, [given])
    load_state_dict(given.start(make_run(epochs=3)), state_dict(only(run)))


def test_an_unfrozen_layer_stays_unfrozen_and_a_frozen_one_frozen(make_run):
    run = make_run(network=nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)))
    chosen = callback(
        "unfreeze",
        starting_weights=sel.match("^1"),
        unfreeze=[{"weights": sel.names("0.bias"), "epoch": 1}],
    )
    train(run, [chosen])
    saved = state_dict(only(run))
    fresh = make_run(network=nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)))
    state = chosen.start(fresh)
    load_state_dict(state, saved)
    chosen.on_train_begin(fresh, state)
    trained = {name for name, p in fresh.network.named_parameters() if p.requires_grad}
    assert trained == {"0.bias", "1.weight", "1.bias"}
