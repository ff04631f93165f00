"""Schedules: torch's numbers, at the right moments, over the right length."""

import math
import warnings

import pytest
import torch
from torch.optim import lr_scheduler

from mlgraph import ConfigError, Task, nn, po, tune
from mlgraph.train.callback import ordered
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback, known
from mlgraph.train.loop import train


def rates(run, *chosen):
    """The learning rate in each step."""
    seen = []
    watch = Functions(on_batch_begin=lambda run: seen.append(run.optimizer.param_groups[0]["lr"]))
    train(run, ordered([*chosen, watch]))
    return seen


def by_hand(make, steps, per=1, lr=0.05):
    """The learning rates of torch's scheduler, one step each ``per`` steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    scheduler = make(optimizer)
    seen = []
    for step in range(1, steps + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % per == 0 and step < steps:
            scheduler.step()
    return seen


PER_EPOCH = {
    "lr_step": ({"step_size": 2}, lambda o: lr_scheduler.StepLR(o, 2)),
    "lr_multi_step": ({"milestones": [1, 3]}, lambda o: lr_scheduler.MultiStepLR(o, [1, 3])),
    "lr_exponential": ({"gamma": 0.5}, lambda o: lr_scheduler.ExponentialLR(o, 0.5)),
    "lr_constant": ({}, lr_scheduler.ConstantLR),
    "lr_linear": ({}, lambda o: lr_scheduler.LinearLR(o, total_iters=4)),
    "lr_polynomial": ({}, lambda o: lr_scheduler.PolynomialLR(o, total_iters=4)),
    "lr_cosine_annealing": ({}, lambda o: lr_scheduler.CosineAnnealingLR(o, 4)),
    "lr_cosine_annealing_warm_restarts": (
        {"T_0": 2},
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
    ),
    "lr_lambda": (
        {"lr_lambda": lambda epoch: 1 / (1 + epoch)},
        lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    ),
    "lr_multiplicative": (
        {"lr_lambda": lambda epoch: 0.7},
        lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.7),
    ),
}
PER_STEP = {
    "lr_one_cycle": ({"max_lr": 0.1}, lambda o: lr_scheduler.OneCycleLR(o, 0.1, 12)),
    "lr_cyclic": (
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3},
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 3),
    ),
    "lr_warmup": (
        {"steps": 7},
        lambda o: lr_scheduler.LinearLR(o, start_factor=0.01, total_iters=7),
    ),
}


def test_every_scheduler_of_torch_has_a_callback():
    names = {
        name
        for name, cls in vars(lr_scheduler).items()
        if isinstance(cls, type) and issubclass(cls, lr_scheduler.LRScheduler)
    }
    names -= {"LRScheduler", "_LRScheduler"}
    kinds = {getattr(cls, "kind", None) for cls in known().values()}
    kinds |= {lr_scheduler.SequentialLR, lr_scheduler.ChainedScheduler}
    assert {getattr(lr_scheduler, name) for name in names} <= kinds
    assert {"lr_sequential", "lr_chained", "lr_reduce_on_plateau"} <= set(known())


@pytest.mark.parametrize("key", sorted(PER_EPOCH))
def test_schedules_that_count_epochs_step_after_each(make_run, key):
    params, make = PER_EPOCH[key]
    assert rates(make_run(), callback(key, **params)) == by_hand(make, 12, per=3)


@pytest.mark.parametrize("key", sorted(PER_STEP))
def test_schedules_that_count_steps_step_after_each(make_run, key):
    params, make = PER_STEP[key]
    assert rates(make_run(), callback(key, **params)) == by_hand(make, 12)


def test_a_schedule_counts_what_it_is_told_to(make_run):
    chosen = callback("lr_cosine_annealing", every="step")
    assert rates(make_run(), chosen) == by_hand(lambda o: lr_scheduler.CosineAnnealingLR(o, 12), 12)
    chosen = callback("lr_one_cycle", max_lr=0.1, every="epoch")
    expected = by_hand(lambda o: lr_scheduler.OneCycleLR(o, 0.1, 4), 12, per=3)
    assert rates(make_run(), chosen) == expected


def test_with_accumulation_the_steps_of_the_optimizer_count(make_run):
    run = make_run(accumulate=2)
    seen = rates(run, callback("lr_one_cycle", max_lr=0.1))
    assert run.updates_per_epoch == 2
    expected = by_hand(lambda o: lr_scheduler.OneCycleLR(o, 0.1, 8), 8)
    # Batches 1 and 2 of an epoch make one step, batch 3 another.
    assert [seen[i] for i in range(12) if i % 3 != 1] == expected


def test_momentum_cycles_with_the_rate(make_run):
    seen = []
    watch = Functions(
        on_batch_end=lambda run: seen.append(run.optimizer.param_groups[0]["momentum"])
    )
    train(make_run(), [callback("lr_one_cycle", max_lr=0.1), watch])
    assert max(seen) > 0.94 and min(seen) < 0.86


def test_a_given_length_stays_and_past_it_the_rate_rests(make_run):
    chosen = callback("lr_one_cycle", max_lr=0.1, total_steps=6)
    seen = rates(make_run(), chosen)
    assert seen[:6] == by_hand(lambda o: lr_scheduler.OneCycleLR(o, 0.1, 6), 6)
    assert seen[5:] == [seen[5]] * 7


# On plateau


def plateau(make_run, scores, **params):
    """The learning rates after epochs with these scores."""
    seen, left = [], list(scores)

    def score(run):
        value = left.pop(0)
        if value is None:
            del run.scores["valid_loss"]
        else:
            run.scores["valid_loss"] = value

    spoil = Functions(on_valid_end=score, weight=-1)
    watch = Functions(
        on_epoch_end=lambda run: seen.append(run.optimizer.param_groups[0]["lr"]), weight=1
    )
    chosen = callback("lr_reduce_on_plateau", patience=0, **params)
    train(make_run(epochs=len(scores)), ordered([chosen, spoil, watch]))
    return seen


def test_on_a_plateau_the_rate_falls(make_run):
    assert plateau(make_run, [3.0, 3.0, 1.0, 2.0]) == pytest.approx([0.05, 0.005, 0.005, 0.0005])


def test_the_direction_is_that_of_the_score(make_run):
    rising = callback("lr_reduce_on_plateau", monitor="valid_accuracy")
    assert rising.arguments()["mode"] == "max"
    assert callback("lr_reduce_on_plateau").arguments()["mode"] == "min"
    assert callback("lr_reduce_on_plateau", mode="max").arguments()["mode"] == "max"
    falls = plateau(make_run, [3.0, 4.0, 4.0], mode="max")
    assert falls == pytest.approx([0.05, 0.05, 0.005])


def test_nan_is_no_improvement(make_run):
    assert plateau(make_run, [3.0, math.nan]) == pytest.approx([0.05, 0.005])


def test_a_plateau_of_validation_needs_validation_data(make_run):
    with pytest.raises(ConfigError, match="needs validation data") as caught:
        rates(make_run(valid=False), callback("lr_reduce_on_plateau", patience=0))
    assert "valid=0.2" in caught.value.mend


def test_only_epochs_that_are_evaluated_count(make_run):
    chosen = callback("lr_reduce_on_plateau", patience=0, threshold=10.0, threshold_mode="abs")
    seen = rates(make_run(epochs=5, eval_freq=2), chosen)
    assert seen[::3] == pytest.approx([0.05, 0.05, 0.05, 0.05, 0.005])


def test_the_training_loss_can_be_watched_without_validation(make_run):
    params = {"patience": 0, "threshold": 100.0, "threshold_mode": "abs"}
    chosen = callback("lr_reduce_on_plateau", monitor="train_loss", **params)
    seen = rates(make_run(valid=False), chosen)
    assert seen[::3] == pytest.approx([0.05, 0.05, 0.005, 0.0005])


def test_a_score_that_is_not_there_is_refused(make_run):
    with pytest.raises(ConfigError, match="no score 'valid_lss' to monitor"):
        train(make_run(), [callback("lr_reduce_on_plateau", monitor="valid_lss", mode="min")])


def test_a_plateau_cannot_count_steps():
    with pytest.raises(ConfigError, match="cannot count steps"):
        callback("lr_reduce_on_plateau", every="step")


# Composed


def test_one_schedule_after_the_other(make_run):
    chosen = callback(
        "lr_sequential",
        schedulers=[callback("lr_warmup", steps=4), callback("lr_cosine_annealing")],
        milestones=[4],
    )

    def make(optimizer):
        parts = [
            lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=4),
            lr_scheduler.CosineAnnealingLR(optimizer, 8),
        ]
        return lr_scheduler.SequentialLR(optimizer, parts, [4])

    assert rates(make_run(), chosen) == by_hand(make, 12)


def test_several_schedules_at_once(make_run):
    parts = [callback("lr_constant", total_iters=2), callback("lr_exponential", gamma=0.9)]

    def make(optimizer):
        return lr_scheduler.ChainedScheduler(
            [
                lr_scheduler.ConstantLR(optimizer, total_iters=2),
                lr_scheduler.ExponentialLR(optimizer, 0.9),
            ]
        )

    assert rates(make_run(), callback("lr_chained", schedulers=parts)) == by_hand(make, 12, per=3)


def test_parameters_of_parts_are_reached_and_left_open():
    parts = [callback("lr_warmup", steps=tune(2, 9)), callback("lr_exponential", gamma=0.9)]
    chosen = callback("lr_sequential", schedulers=parts, milestones=[3])
    assert list(chosen.tokens()) == ["schedulers__0__steps"]
    closed = chosen.with_parameters({"schedulers__0__steps": 5})
    assert closed.schedulers[0].steps == 5


def test_parts_that_count_different_things_are_refused():
    parts = [
        callback("lr_warmup", steps=4),
        callback("lr_exponential", gamma=0.9, every="epoch"),
    ]
    with pytest.raises(ConfigError, match="count different things"):
        callback("lr_chained", schedulers=parts)


def test_parts_that_need_a_score_are_refused():
    with pytest.raises(ConfigError, match="cannot be a part"):
        callback("lr_chained", schedulers=[callback("lr_reduce_on_plateau")])
    with pytest.raises(ConfigError, match="cannot be a part"):
        callback("lr_chained", schedulers=[callback("progress")])


@pytest.mark.parametrize("milestones", [[], [1, 2], [5, 3, 4]])
def test_milestones_must_fit_the_parts(milestones):
    parts = [callback("lr_warmup", steps=4), callback("lr_exponential", gamma=0.9)]
    with pytest.raises(ConfigError, match="2 schedules need 1 milestones"):
        callback("lr_sequential", schedulers=parts, milestones=milestones)


# Parameters


@pytest.mark.parametrize(
    ("key", "params", "why"),
    [
        ("lr_step", {"step_size": "often"}, "expected an integer"),
        ("lr_step", {"step_size": 0}, "ZeroDivisionError"),
        ("lr_one_cycle", {"max_lr": 0.1, "pct_start": 2.0}, "pct_start"),
        ("lr_one_cycle", {"max_lr": 0.1, "anneal_strategy": "sin"}, "'cos', 'linear'"),
        ("lr_cosine_annealing", {"T_max": 0}, "at least 1"),
        ("lr_linear", {"start_factor": 0.0}, "factor"),
        ("lr_cosine_annealing_warm_restarts", {"T_0": -1}, "T_0"),
        ("lr_reduce_on_plateau", {"factor": 1.5}, "Factor"),
        ("lr_lambda", {"lr_lambda": 3}, "a function"),
        ("lr_warmup", {"steps": 0}, "at least 1"),
    ],
)
def test_impossible_parameters_are_refused_when_they_are_given(key, params, why):
    with pytest.raises(ConfigError) as caught:
        callback(key, **params)
    assert why in caught.value.why


def test_an_optimizer_without_momentum_is_refused_before_the_training(make_run):
    run = make_run()
    run.optimizer = torch.optim.Adagrad(run.network.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match="does not take these parameters") as caught:
        train(run, [callback("lr_one_cycle", max_lr=0.1)])
    assert "cycle_momentum" in caught.value.why
    assert run.global_step == 0


def test_values_for_several_groups_are_taken(make_run):
    chosen = callback("lr_one_cycle", max_lr=[0.1, 0.2])
    run = make_run()
    first, *rest = run.network.parameters()
    run.optimizer = torch.optim.SGD([{"params": [first]}, {"params": rest}], lr=0.1, momentum=0.9)
    train(run, [chosen])
    assert len({group["lr"] for group in run.optimizer.param_groups}) == 2


def test_a_class_of_the_users_is_a_schedule_too(make_run):
    class Halving(lr_scheduler.LRScheduler):
        def __init__(self, optimizer, by=0.5, last_epoch=-1):
            self.by = by
            super().__init__(optimizer, last_epoch)

        def get_lr(self):
            return [base * self.by**self.last_epoch for base in self.base_lrs]

    seen = rates(make_run(), callback("lr_scheduler", scheduler=Halving, options={"by": 0.1}))
    assert seen[::3] == pytest.approx([0.05, 0.005, 0.0005, 0.00005])
    with pytest.raises(ConfigError, match="does not take these parameters"):
        callback("lr_scheduler", scheduler=Halving, options={"wrong": 1})


def test_no_schedule_warns(make_run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(make_run(), [callback("lr_step", step_size=1), callback("lr_warmup", steps=2)])


def test_a_plateau_of_a_score_of_ones_own_needs_a_direction(make_run):
    with pytest.raises(ConfigError, match="'valid_mine' should be high or low") as caught:
        callback("lr_reduce_on_plateau", monitor="valid_mine")
    assert 'mode="max"' in str(caught.value)
    assert callback("lr_reduce_on_plateau", monitor="valid_mine", mode="max").mode == "max"


class Remembering(torch.optim.lr_scheduler.LRScheduler):
    """The rate over the number of steps so far, which it counts in a dict."""

    def __init__(self, optimizer):
        self.memo = {"n": 0}
        super().__init__(optimizer)

    def get_lr(self):
        self.memo["n"] += 1
        return [base / self.memo["n"] for base in self.base_lrs]


def test_a_schedule_of_ones_own_may_remember_in_a_dict():
    own = callback("lr_scheduler", scheduler=Remembering)
    graph = nn("head") >> po("torch_callbacks", [own]) >> po("torch_model", progress=False)
    data = Task({"x": [0.0, 1.0, 2.0], "y": [1.0, 3.0, 5.0]}, target="y")
    whole = graph.with_params(torch_model__epochs=4).fit(data, seed=1)
    parts = graph.with_params(torch_model__epochs=2).fit(data, seed=1).continue_(data, epochs=2)
    assert parts.history.equals(whole.history)
