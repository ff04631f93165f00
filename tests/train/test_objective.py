"""Losses and optimizers: values that become torch's own, with weights that mean one thing."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlgraph import Task, po
from mlgraph import nn as layer
from mlgraph.core.param import tune
from mlgraph.core.value import canonical
from mlgraph.data.goal import Goal
from mlgraph.errors import ConfigError, UnknownKeyError, UnknownParameterError
from mlgraph.train.objective import Loss, default_loss
from mlgraph.train.optimizer import Optimizer, default_optimizer


def Spec(kind: str = "classification", **known: Any) -> Goal:
    return Goal(kind, **known)


BINARY = Spec(classes=("no", "yes"), positive="yes")
FLIPPED = Spec(classes=("no", "yes"), positive="no")
MULTI = Spec(classes=("a", "b", "c"))
REGRESSION = Spec("regression")
UNSUPERVISED = Spec("unsupervised")
SPECS = {"binary": BINARY, "multiclass": MULTI, "regression": REGRESSION}


def batch(spec: Goal, n: int = 10, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    if spec.kind == "classification" and len(spec.classes) > 2:
        target = torch.arange(n) % len(spec.classes)
        return torch.randn(n, len(spec.classes), generator=generator), target
    target = torch.randn(n, 1, generator=generator).abs()
    binary = spec.kind == "classification"
    return torch.randn(n, 1, generator=generator), (target > 0.5).float() if binary else target


def squares(output: Tensor, target: Tensor, scale: float = 1.0) -> Tensor:
    return scale * (output - target) ** 2


class Winsorised(nn.Module):
    def __init__(self, max_loss: float) -> None:
        super().__init__()
        self.max_loss = max_loss

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return ((output - target) ** 2).clamp(max=self.max_loss)


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        "cross_entropy",
        "cross_entropy_loss",
        "CrossEntropyLoss",
        nn.CrossEntropyLoss,
        F.cross_entropy,
    ],
)
def test_every_spelling_of_a_loss_is_the_same_value(given: Any) -> None:
    loss = Loss.of(given)
    assert loss == Loss.of("cross_entropy") and loss.name == "cross_entropy"
    assert loss.cls is nn.CrossEntropyLoss


@pytest.mark.parametrize("given", ["adamw", "AdamW", torch.optim.AdamW])
def test_every_spelling_of_an_optimizer_is_the_same_value(given: Any) -> None:
    assert Optimizer.of(given) == Optimizer.of("adamw")
    assert Optimizer.of(given).name == "adamw"


def test_all_losses_and_optimizers_of_torch_have_a_name() -> None:
    losses = {"bce", "bce_with_logits", "ctc", "gaussian_nll", "huber", "kl_div", "l1", "mse"}
    assert losses < set(Loss.names())
    optimizers = {"adadelta", "adafactor", "adam", "adamw", "asgd", "nadam", "rmsprop", "rprop"}
    assert optimizers | {"sgd", "sparse_adam"} <= set(Optimizer.names())


@pytest.mark.parametrize("name", Loss.names())
@pytest.mark.parametrize("n", [1, 10])
def test_every_loss_takes_a_step_on_every_task_it_is_for(name: str, n: int) -> None:
    loss = Loss.of(name)
    for kind in loss.kinds:
        spec = SPECS[kind]
        objective = loss.build(spec)
        output, target = batch(spec, n)
        network = nn.Linear(output.shape[1], output.shape[1])
        mean = objective(network(output), target)
        assert mean.shape == () and objective.per_row(network(output), target).shape == (n,)
        mean.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", Optimizer.names())
def test_every_optimizer_takes_a_step(name: str) -> None:
    network = nn.Embedding(3, 2, sparse=name == "sparse_adam")
    before = network.weight.detach().clone()
    optimizer = Optimizer.of(name).build(network.parameters())
    network(torch.tensor([0, 1, 2])).sum().backward()
    optimizer.step()
    assert not torch.equal(network.weight, before)


def test_an_unknown_loss_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownKeyError, match="No loss is called 'crossentrpy'") as raised:
        Loss.of("crossentrpy")
    assert "cross_entropy" in raised.value.mend


def test_an_unknown_optimizer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownKeyError, match="No optimizer is called 'adamm'") as raised:
        Optimizer.of("adamm")
    assert "'adam'" in raised.value.mend


@pytest.mark.parametrize("given", [3, None, nn.MSELoss(), dict])
def test_what_is_no_loss_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="is not a loss"):
        Loss.of(given)


@pytest.mark.parametrize("given", [3, None, nn.Linear, torch.optim.Optimizer])
def test_what_is_no_optimizer_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="is not an optimizer"):
        Optimizer.of(given)


@pytest.mark.parametrize("given", ["AdaptiveLogSoftmaxWithLoss", nn.AdaptiveLogSoftmaxWithLoss])
def test_a_loss_with_weights_of_its_own_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="weights of its own"):
        Loss.of(given)


@pytest.mark.parametrize("given", ["lbfgs", "LBFGS", torch.optim.LBFGS])
def test_lbfgs_is_refused_with_the_reason(given: Any) -> None:
    with pytest.raises(ConfigError, match="several times a step"):
        Optimizer.of(given)


# --- options ---------------------------------------------------------------------------------


def test_an_unknown_option_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownParameterError, match="has no option 'label_smothing'") as raised:
        Loss.of("cross_entropy", {"label_smothing": 0.1})
    assert raised.value.mend == "Did you mean 'label_smoothing'?"
    with pytest.raises(UnknownParameterError, match="has no option 'moment'"):
        Optimizer.of("sgd", {"moment": 0.9})
    with pytest.raises(UnknownParameterError, match="has no option 'scales'"):
        Loss.of(squares, {"scales": 2.0})


@pytest.mark.parametrize("option", ["reduction", "size_average", "reduce"])
def test_averaging_is_not_an_option(option: str) -> None:
    for given in ("mse", nn.MSELoss, F.huber_loss):
        with pytest.raises(ConfigError, match=f"Option '{option}' .* cannot be set"):
            Loss.of(given, {option: "sum"})


def test_parameters_are_not_an_option_of_an_optimizer() -> None:
    with pytest.raises(ConfigError, match="Option 'params'"):
        Optimizer.of("adam", {"params": []})


@pytest.mark.parametrize(
    ("loss", "options", "text"),
    [
        ("huber", {"delta": -1.0}, "non-positive values for delta"),
        ("smooth_l1", {"beta": -1.0}, "negative values for beta"),
        ("cross_entropy", {"label_smoothing": 2.0}, "between 0.0 and 1.0"),
        ("multi_margin", {"p": 3}, "only p == 1 and p == 2"),
        ("bce_with_logits", {"pos_weight": [1.0, 2.0]}, "shape"),
        (Winsorised, {}, "max_loss"),
    ],
)
def test_impossible_options_of_a_loss_are_refused_in_torchs_words(
    loss: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match="does not take these options") as raised:
        Loss.of(loss, options)
    assert text in raised.value.why


def test_impossible_options_of_an_optimizer_are_refused_in_torchs_words() -> None:
    with pytest.raises(ConfigError) as raised:
        Optimizer.of("adam", {"lr": -1.0})
    assert "Invalid learning rate: -1.0" in raised.value.why
    with pytest.raises(ConfigError, match="Nesterov"):
        Optimizer.of("sgd", {"nesterov": True})


def test_options_that_are_no_dict_are_refused() -> None:
    options: Any = 0.1
    with pytest.raises(ConfigError, match="Options are a dict"):
        Optimizer.of("adam", options)


def test_the_weight_per_place_of_binary_cross_entropy_is_refused() -> None:
    with pytest.raises(ConfigError, match="Option 'weight'"):
        Loss.of("bce_with_logits", {"weight": [1.0, 2.0]})


def test_describing_a_loss_draws_nothing_from_the_global_stream() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.start = torch.randn(3)

    state = torch.get_rng_state()
    Loss.of(Noisy)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_tuning_token_is_kept_but_not_built() -> None:
    optimizer = Optimizer.of("sgd", {"lr": tune(0.1, 1.0, log=True)})
    with pytest.raises(ConfigError, match="Option 'lr' of optimizer 'sgd' has no value yet"):
        optimizer.build(nn.Linear(1, 1).parameters())
    with pytest.raises(ConfigError, match="no value yet"):
        Loss.of("huber", {"delta": tune(0.1, 1.0)}).build(REGRESSION)


def test_new_options_replace_those_of_a_description() -> None:
    assert Loss.of(Loss.of("huber", {"delta": 2.0}), {"delta": 3.0}).options == {"delta": 3.0}
    assert Optimizer.of(Optimizer.of("sgd", {"lr": 1.0}), {"momentum": 0.5}).options == {
        "lr": 1.0,
        "momentum": 0.5,
    }


# --- values ----------------------------------------------------------------------------------


def test_equality_goes_by_content() -> None:
    assert Loss.of("huber", {"delta": 2.0}) == Loss.of(nn.HuberLoss, {"delta": 2.0})
    assert Loss.of("huber", {"delta": 2.0}) != Loss.of("huber", {"delta": 3.0})
    assert Loss.of("huber") != Loss.of("smooth_l1") and Loss.of("mse") != "mse"
    assert len({Optimizer.of("sgd"), Optimizer.of("SGD"), Optimizer.of("adam")}) == 2
    assert Loss.of(squares) == Loss.of(squares) != Loss.of(Winsorised, {"max_loss": 1.0})


def test_an_option_set_to_its_default_is_the_same_as_unset() -> None:
    assert Optimizer.of("adam", {"betas": [0.9, 0.999]}) == Optimizer.of("adam")
    assert hash(Loss.of("huber", {"delta": 1.0})) == hash(Loss.of("huber"))


def test_json_names_the_class_and_says_every_option() -> None:
    assert Loss.of("huber").__mlgraph_json__() == {"name": "huber", "options": {"delta": 1.0}}
    json = Optimizer.of("sgd", {"lr": 0.5}).__mlgraph_json__()
    assert json["options"]["lr"] == 0.5 and json["options"]["momentum"] == 0
    assert Optimizer.of(json["name"], json["options"]) == Optimizer.of("sgd", {"lr": 0.5})
    own = Loss.of(squares, {"scale": 2.0})
    assert own.__mlgraph_json__() == {"class": squares, "options": {"scale": 2.0}}


@pytest.mark.parametrize("name", Loss.names())
def test_every_loss_is_read_back_from_its_json(name: str) -> None:
    loss = Loss.of(name)
    json = loss.__mlgraph_json__()
    assert Loss.of(json["name"], json["options"]) == loss


def test_the_canonical_form_is_the_same_in_another_process() -> None:
    code = (
        "from mlgraph.train.objective import Loss; from mlgraph.core.value import canonical;"
        "from mlgraph.train.optimizer import default_optimizer;"
        "print(canonical((Loss.of('huber'), default_optimizer())).decode())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == canonical((Loss.of("huber"), default_optimizer())).decode()


def test_descriptions_are_pickled_and_cannot_be_changed() -> None:
    for value in (
        Loss.of("cross_entropy", {"weight": torch.tensor([1.0, 2.0, 3.0])}),
        Loss.of(squares, {"scale": 2.0}),
        default_optimizer(),
    ):
        assert pickle.loads(pickle.dumps(value)) == value
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        default_optimizer().name = "sgd"


def test_a_description_is_printed_with_the_options_that_were_given() -> None:
    assert repr(default_optimizer()) == "adamw(lr=0.01, weight_decay=0.0)"
    assert repr(Loss.of("mse")) == "mse()"
    assert repr(Loss.of(lambda o, t: o)) == "lambda()"


# --- which task ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "kinds"),
    [
        ("cross_entropy", {"binary", "multiclass"}),
        ("bce_with_logits", {"binary"}),
        ("nll", {"multiclass"}),
        ("mse", {"regression"}),
        ("triplet_margin", set()),
        (squares, {"binary", "multiclass", "regression"}),
        (Winsorised, {"binary", "multiclass", "regression"}),
    ],
)
def test_a_loss_is_for_these_kinds_of_task(loss: Any, kinds: set[str]) -> None:
    described = Loss.of(loss, {"max_loss": 1.0} if loss is Winsorised else {})
    assert described.kinds == kinds
    for kind, spec in SPECS.items():
        if kind in kinds:
            described.check(spec)
        else:
            with pytest.raises(ConfigError, match="wrong loss for the task"):
                described.build(spec)


def test_a_wrong_loss_is_refused_with_both_kinds_and_the_usual_one() -> None:
    with pytest.raises(ConfigError) as raised:
        Loss.of("mse").check(BINARY)
    assert raised.value.why == "the task is binary, the loss is for regression"
    assert raised.value.mend == "use 'cross_entropy'"


@pytest.mark.parametrize("name", ["triplet_margin", "cosine_embedding", "ctc", "margin_ranking"])
def test_a_loss_that_needs_other_inputs_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Loss.of(name).check(REGRESSION)
    assert "a task" in raised.value.why


def test_a_task_without_target_has_no_loss() -> None:
    with pytest.raises(ConfigError, match="give the task a target"):
        Loss.of(squares).check(UNSUPERVISED)


def test_the_default_loss_goes_by_the_task() -> None:
    assert default_loss(MULTI) == default_loss(BINARY) == Loss.of("cross_entropy")
    assert default_loss(REGRESSION) == Loss.of("mse")


# --- numbers ---------------------------------------------------------------------------------


def test_cross_entropy_means_what_the_task_needs() -> None:
    output, target = batch(BINARY)
    loss = Loss.of("cross_entropy")
    expected = F.binary_cross_entropy_with_logits(output, target)
    assert torch.equal(loss.build(BINARY)(output, target), expected)
    output, target = batch(MULTI)
    assert torch.equal(loss.build(MULTI)(output, target), F.cross_entropy(output, target))


def test_binary_label_smoothing_equals_that_of_two_classes() -> None:
    output, target = batch(BINARY)
    objective = Loss.of("cross_entropy", {"label_smoothing": 0.2}).build(BINARY)
    both = torch.cat([torch.zeros_like(output), output], 1)
    expected = F.cross_entropy(both, target[:, 0].long(), label_smoothing=0.2)
    torch.testing.assert_close(objective(output, target), expected)
    rows = F.cross_entropy(both, target[:, 0].long(), label_smoothing=0.2, reduction="none")
    torch.testing.assert_close(objective.per_row(output, target), rows)


@pytest.mark.parametrize(
    ("spec", "weight"),
    [
        (BINARY, None),
        (BINARY, {"no": 0.5, "yes": 2.0}),
        (MULTI, None),
        (MULTI, {"a": 0.5, "b": 2.0, "c": 3.0}),
        (REGRESSION, None),
    ],
)
def test_mean_rows_and_weighted_mean_agree(spec: Goal, weight: Any) -> None:
    objective = default_loss(spec).build(spec, weight)
    output, target = batch(spec)
    ones, some = torch.ones(10), torch.rand(10)
    mean = objective(output, target)
    torch.testing.assert_close(objective.weighted(output, target, ones), mean)
    of_class = objective.row_weights(target)
    w = some if of_class is None else some * of_class
    by_hand = (w * objective.per_row(output, target)).sum() / w.sum()
    torch.testing.assert_close(objective.weighted(output, target, some), by_hand)


def test_a_row_of_weight_zero_takes_no_part() -> None:
    output, target = batch(MULTI)
    objective = Loss.of("cross_entropy").build(MULTI, "balanced", [5, 3, 2])
    weights = torch.cat([torch.ones(7), torch.zeros(3)])
    short = objective(output[:7], target[:7])
    torch.testing.assert_close(objective.weighted(output, target, weights), short)


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_class_weights_equal_torchs_weighted_mean(name: str) -> None:
    output, target = batch(MULTI)
    output = output.log_softmax(1)
    weights = {"c": 3.0, "a": 1.0, "b": 2.0}
    objective = Loss.of(name).build(MULTI, weights)
    expected = F.nll_loss(output, target, torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(objective(output, target), expected)
    same = Loss.of(name, {"weight": [1.0, 2.0, 3.0]}).build(MULTI)
    torch.testing.assert_close(same(output, target), expected)
    ones = torch.ones(10)
    torch.testing.assert_close(same.weighted(output, target, ones), expected)


def test_class_weights_and_label_smoothing_weigh_rows() -> None:
    output, target = batch(MULTI)
    weight = {"a": 1.0, "b": 2.0, "c": 3.0}
    objective = Loss.of("cross_entropy", {"label_smoothing": 0.1}).build(MULTI, weight)
    rows = F.cross_entropy(output, target, label_smoothing=0.1, reduction="none")
    w = torch.tensor([1.0, 2.0, 3.0])[target]
    torch.testing.assert_close(objective(output, target), (rows * w).sum() / w.sum())


@pytest.mark.parametrize("name", ["cross_entropy", "bce_with_logits"])
@pytest.mark.parametrize("spec", [BINARY, FLIPPED])
def test_one_number_weighs_the_positive_class(name: str, spec: Goal) -> None:
    output, target = batch(spec)
    objective = Loss.of(name).build(spec, 4.0)
    rows = F.binary_cross_entropy_with_logits(output, target, reduction="none")
    w = torch.where(target == 1, 4.0, 1.0)
    torch.testing.assert_close(objective(output, target), (rows * w).sum() / w.sum())


def test_weights_by_class_follow_the_positive_class() -> None:
    target = torch.tensor([[0.0], [1.0]])
    weight = {"no": 5.0, "yes": 7.0}
    loss = Loss.of("cross_entropy")
    straight, flipped = loss.build(BINARY, weight), loss.build(FLIPPED, weight)
    torch.testing.assert_close(straight.row_weights(target), torch.tensor([5.0, 7.0]))
    torch.testing.assert_close(flipped.row_weights(target), torch.tensor([7.0, 5.0]))
    balanced = loss.build(FLIPPED, "balanced", [1, 3])
    torch.testing.assert_close(balanced.row_weights(target), torch.tensor([4 / 6, 2.0]))


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    codes = np.array([0, 0, 0, 1, 2, 2])
    objective = Loss.of("cross_entropy").build(MULTI, "balanced", [3, 1, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=codes)
    torch.testing.assert_close(objective.class_weight, torch.tensor(expected).float())


def test_a_class_without_rows_does_not_spoil_balanced_weights() -> None:
    objective = Loss.of("cross_entropy").build(MULTI, "balanced", [3, 0, 3])
    torch.testing.assert_close(objective.class_weight, torch.tensor([1.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("spec", "weight", "text"),
    [
        (MULTI, {"a": 1.0, "b": 1.0}, "no weight for 'c'"),
        (MULTI, {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}, "no such class as 'd'"),
        (MULTI, 2.0, "one number is the weight of the positive class"),
        (MULTI, "balance", "Did you mean 'balanced'"),
        (MULTI, "balanced", "needs the number of rows"),
        (MULTI, {"a": 1.0, "b": -1.0, "c": 1.0}, "finite numbers of at least 0"),
        (MULTI, {"a": 0, "b": 0, "c": 0}, "not all 0"),
        (MULTI, {"a": "1", "b": 1, "c": 1}, "the weight of 'a' is '1'"),
        (BINARY, float("nan"), "are no weights"),
        (BINARY, True, "True is no weight"),
        (REGRESSION, 2.0, "without classes"),
    ],
)
def test_class_weights_that_do_not_fit_are_refused(spec: Goal, weight: Any, text: str) -> None:
    with pytest.raises(ConfigError, match="class_weight does not fit") as raised:
        default_loss(spec).build(spec, weight)
    assert text in str(raised.value)


def test_an_ignored_class_takes_no_part() -> None:
    output, target = batch(MULTI)
    objective = Loss.of("cross_entropy", {"ignore_index": 1}).build(MULTI)
    expected = F.cross_entropy(output, target, ignore_index=1)
    torch.testing.assert_close(objective(output, target), expected)
    torch.testing.assert_close(objective.weighted(output, target, torch.ones(10)), expected)


@pytest.mark.parametrize(
    ("spec", "options", "weight"),
    [
        (BINARY, {"ignore_index": 1}, None),
        (BINARY, {"weight": [1.0, 2.0]}, None),
        (MULTI, {"weight": [1.0, 2.0]}, None),
        (MULTI, {"weight": [1.0, 2.0, 3.0]}, {"a": 1, "b": 1, "c": 1}),
    ],
)
def test_options_by_code_that_do_not_fit_are_refused(
    spec: Goal, options: dict[str, Any], weight: Any
) -> None:
    with pytest.raises(ConfigError, match="use class_weight instead"):
        Loss.of("cross_entropy", options).build(spec, weight)


def test_pos_weight_is_that_of_torch() -> None:
    output, target = batch(BINARY)
    expected = F.binary_cross_entropy_with_logits(output, target, pos_weight=torch.tensor([3.0]))
    for given in (3, [3.0], torch.tensor([3.0])):
        objective = Loss.of("bce_with_logits", {"pos_weight": given}).build(BINARY)
        torch.testing.assert_close(objective(output, target), expected)


def test_what_a_loss_holds_moves_with_it() -> None:
    objective = Loss.of("cross_entropy").build(MULTI, {"a": 1, "b": 2, "c": 3})
    assert {b.dtype for b in objective.to(torch.float64).buffers()} == {torch.float64}
    output, target = batch(MULTI)
    assert objective(output.double(), target).dtype == torch.float64
    positive = Loss.of("bce_with_logits", {"pos_weight": 3}).build(BINARY)
    assert len(list(positive.to("meta").buffers())) == 2
    assert {b.device.type for b in positive.buffers()} == {"meta"}


@pytest.mark.parametrize("spec", [BINARY, MULTI])
def test_stacked_losses_are_those_of_each_alone(spec: Goal) -> None:
    batches = [batch(spec, seed=seed) for seed in range(3)]
    output, target = (torch.stack(part) for part in zip(*batches, strict=True))
    weight = dict(zip(spec.classes, (1.0, 2.0, 3.0), strict=False))
    objective = Loss.of("cross_entropy", {"label_smoothing": 0.1}).build(spec, weight)
    weights = torch.rand(3, 10)
    stacked = torch.func.vmap(objective.weighted)(output, target, weights)
    alone = [objective.weighted(*one, w) for one, w in zip(batches, weights, strict=True)]
    torch.testing.assert_close(stacked, torch.stack(alone))


# --- losses of one's own ---------------------------------------------------------------------


def test_a_function_gives_rows_and_mean() -> None:
    output, target = batch(REGRESSION)
    objective = Loss.of(squares, {"scale": 2.0}).build(REGRESSION)
    torch.testing.assert_close(objective(output, target), 2 * F.mse_loss(output, target))
    torch.testing.assert_close(objective.per_row(output, target), 2 * (output - target)[:, 0] ** 2)


def test_a_class_of_ones_own_is_given_its_options() -> None:
    output, target = batch(REGRESSION)
    objective = Loss.of(Winsorised, {"max_loss": 0.1}).build(REGRESSION)
    assert objective.per_row(output, target).max() == pytest.approx(0.1)


def test_class_weights_work_with_a_function() -> None:
    output, target = batch(BINARY)
    objective = Loss.of(squares).build(BINARY, 4.0)
    w = torch.where(target == 1, 4.0, 1.0)
    expected = (w * (output - target) ** 2).sum() / w.sum()
    torch.testing.assert_close(objective(output, target), expected)


def test_a_function_with_reduction_is_asked_for_rows() -> None:
    output, target = batch(REGRESSION)
    objective = Loss.of(functools.partial(F.huber_loss, delta=0.5)).build(REGRESSION)
    expected = F.huber_loss(output, target, delta=0.5, reduction="none")[:, 0]
    torch.testing.assert_close(objective.per_row(output, target), expected)


def test_a_function_that_gives_one_number_has_no_rows() -> None:
    output, target = batch(REGRESSION)
    objective = Loss.of(lambda o, t: ((o - t) ** 2).mean()).build(REGRESSION)
    torch.testing.assert_close(objective(output, target), F.mse_loss(output, target))
    with pytest.raises(ConfigError, match="no value per row"):
        objective.weighted(output, target, torch.ones(10))


def test_the_loss_of_a_row_is_the_mean_over_its_other_dimensions() -> None:
    output, target = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 3.0]])
    rows = Loss.of("l1").build(REGRESSION).per_row(output, target)
    assert torch.equal(rows, torch.tensor([2.0, 1.0]))


# --- building an optimizer -------------------------------------------------------------------


def trained(optimizer: Optimizer) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        x, y = torch.randn(16, 4), torch.randn(16, 1)
    built = optimizer.build(network.parameters())
    for _ in range(20):
        built.zero_grad()
        F.mse_loss(network(x), y).backward()
        built.step()
    return built, [p.detach() for p in network.parameters()]


@pytest.mark.parametrize(
    ("name", "options"),
    [("sgd", {"lr": 0.05, "momentum": 0.9}), ("adam", {}), ("adamw", {}), ("adagrad", {})],
)
def test_fused_steps_equal_unfused_ones(name: str, options: dict[str, Any]) -> None:
    fused, ours = trained(Optimizer.of(name, options))
    plain, theirs = trained(Optimizer.of(name, {**options, "fused": False}))
    assert fused.defaults["fused"] is True and not plain.defaults["fused"]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{"foreach": True}, {"foreach": False}, {"differentiable": True}, {"fused": False}]
)
def test_a_chosen_implementation_is_kept(options: dict[str, Any]) -> None:
    optimizer = Optimizer.of("adam", options).build(nn.Linear(2, 1).parameters())
    assert not optimizer.defaults["fused"]


def test_parameters_that_cannot_be_fused_are_not() -> None:
    mixed = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2, dtype=torch.complex64))]
    assert not Optimizer.of("adam").build(mixed).defaults["fused"]
    meta = nn.Linear(2, 1, device="meta")
    assert not Optimizer.of("adam").build(meta.parameters()).defaults["fused"]


def test_a_class_that_cannot_fuse_after_all_is_built_without() -> None:
    class Half(torch.optim.SGD):
        def __init__(self, params: Any, lr: float = 0.1, fused: bool | None = None) -> None:
            if fused:
                raise RuntimeError("not here")
            super().__init__(params, lr=lr)

    assert not Optimizer.of(Half).build(nn.Linear(2, 1).parameters()).defaults["fused"]


def test_the_default_optimizer_learns_faster_than_torchs() -> None:
    optimizer = default_optimizer().build(nn.Linear(2, 1).parameters())
    assert isinstance(optimizer, torch.optim.AdamW) and optimizer.defaults["lr"] == 0.01
    assert Optimizer.of("adamw").build(nn.Linear(2, 1).parameters()).defaults["lr"] == 0.001


def test_groups_keep_their_options_and_are_left_unchanged() -> None:
    first, second = nn.Linear(2, 1), nn.Linear(2, 1)
    groups = [
        {"params": first.parameters(), "lr": 0.5},
        {"params": second.weight, "weight_decay": 0.0},
    ]
    built = Optimizer.of("adamw", {"lr": 0.1}).build(groups)
    assert [(g["lr"], len(g["params"])) for g in built.param_groups] == [(0.5, 2), (0.1, 1)]
    assert built.defaults["fused"] is True and set(groups[1]) == {"params", "weight_decay"}


def test_a_function_of_the_parameters_is_an_optimizer() -> None:
    def slow(params: Any, lr: float = 0.1) -> torch.optim.Optimizer:
        return torch.optim.SGD(params, lr=lr / 10)

    optimizer = Optimizer.of(slow, {"lr": 1.0})
    assert optimizer.name == "slow"
    assert optimizer.build(nn.Linear(2, 1).parameters()).defaults["lr"] == 0.1
    with pytest.raises(ConfigError, match="does not make an optimizer"):
        Optimizer.of(lambda params: None)


def test_parameters_that_torch_refuses_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match="empty parameter list"):
        Optimizer.of("adam").build([])


def test_the_default_optimizer_can_learn_a_constant_beyond_a_hundred() -> None:
    constant = nn.Parameter(torch.tensor([140.0]))
    optimizer = default_optimizer().build([constant])
    for _ in range(3000):
        optimizer.zero_grad()
        ((constant - 150.0) ** 2).sum().backward()
        optimizer.step()
    assert constant.item() > 149.0


def test_a_loss_that_gives_no_tensor_is_refused():
    task = Task({"x": [0.0, 1.0], "y": [1.0, 3.0]}, target="y")
    graph = (
        layer("head") >> po("torch_loss", lambda output, target: 1.0) >> po("torch_model", epochs=1)
    )
    with pytest.raises(ConfigError, match="gives no tensor") as caught:
        graph.fit(task, seed=1)
    assert caught.value.why == "it returned 1.0" and ".item()" in caught.value.mend
