"""Sixteen bits between input and output, and float32 everywhere else."""

import numpy as np
import pytest
import torch

from mlgraph import ConfigError, DataError, StateError, Task, callback, load, nn, po
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.precision import autocasting, dtype_of

DTYPES = {"32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CPU = torch.device("cpu")


def task(n=60):
    draws = np.random.default_rng(0)
    x = draws.normal(size=(n, 3))
    columns = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]}
    return Task({**columns, "y": x.sum(1) + 0.1 * draws.normal(size=n)}, target="y")


class Seen:
    """The types of what passes through a layer, and whether gradients were asked for."""

    def __init__(self):
        self.inside = set()

    def __call__(self, x):
        self.inside.add((x.dtype, torch.is_grad_enabled()))
        return x


def graph(precision, *callbacks, look=None, optimizer="sgd", lr=0.05, **options):
    network = nn("linear", 8) >> nn("relu") >> nn("dropout", p=0.2)
    network = network >> nn("fn", look) if look else network
    trainer = {"epochs": 4, "batch_size": 16, "progress": False, **options}
    return (
        network
        >> nn("head")
        >> po("torch_optimizer", optimizer, lr=lr)
        >> po("torch_callbacks", list(callbacks))
        >> po("torch_model", precision=precision, **trainer)
    )


# Where sixteen bits are


@pytest.mark.parametrize("precision", DTYPES)
def test_training_validation_and_prediction_compute_in_it(precision):
    look = Seen()
    fitted = graph(precision, look=look).fit(task(), valid=0.25, seed=1)
    # Shapes are found on the meta device, in float32.
    found = {grad for dtype, grad in look.inside if dtype is DTYPES[precision]}
    assert found == {True, False}
    look.inside.clear()
    fitted.predict(task())
    assert look.inside == {(DTYPES[precision], False)}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_weights_gradients_losses_outputs_and_buffers_are_float32(precision):
    seen = set()

    def look(run):
        tensors = [*run.network.state_dict().values(), run.loss]
        tensors += [weight.grad for weight in run.network.parameters()]
        tensors += [t for s in run.optimizer.state.values() for t in s.values()]
        seen.update(tensor.dtype for tensor in tensors)

    def look_predicting(run):
        seen.add(run.output.dtype)

    watch = Functions(on_batch_end=look, on_predict_batch_end=look_predicting)
    fitted = graph(precision, watch, optimizer="adamw").fit(task(), seed=1)
    fitted.predict(task())
    assert seen == {torch.float32}
    assert {tensor.dtype for tensor in fitted.trained().tensors.values()} == {torch.float32}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_it_learns_what_float32_learns_but_not_bit_for_bit(precision):
    half, whole = (graph(p, epochs=30).fit(task(), seed=1) for p in (precision, "32"))
    one, two = (f.history["train_loss"].to_pylist() for f in (half, whole))
    assert one != two
    assert one[-1] == pytest.approx(two[-1], rel=0.2)
    assert one[-1] < 0.3 * one[0]


def test_what_is_32_already_is_bit_for_bit_as_ever():
    plain, chosen = (
        g.fit(task(), seed=1) for g in (graph("32").with_params(), graph("32", num_threads=1))
    )
    assert plain.history.equals(chosen.history)


def test_an_output_that_is_whole_numbers_stays_what_it_is():
    whole = autocasting(lambda x: x.argmax(1), torch.bfloat16, CPU)
    assert whole(torch.eye(3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("weighted", [False, True])
def test_weights_of_rows_and_accumulation_work_with_scaled_losses(weighted):
    data = task().with_weight(np.linspace(0.5, 2.0, 60)) if weighted else task()
    small = graph("fp16", batch_size=8, accumulate=2, epochs=10).fit(data, seed=1)
    whole = graph("32", batch_size=8, accumulate=2, epochs=10).fit(data, seed=1)
    assert small.history["train_loss"][9].as_py() == pytest.approx(
        whole.history["train_loss"][9].as_py(), rel=0.2
    )


# Scaled gradients


def test_gradients_are_true_when_they_are_shown_and_clipped():
    norms = []

    def look(run):
        norms.append(float(torch.cat([p.grad.flatten() for p in run.network.parameters()]).norm()))

    found = {}
    for precision in ("32", "fp16"):
        norms.clear()
        first = graph(precision, Functions(on_after_backward=look), lr=0.0, epochs=1, shuffle=False)
        first.with_params(dropout__p=0.0).fit(task(), seed=1)
        found[precision] = list(norms)
    # With the first scale they are too large, and the step is left out.
    assert found["fp16"][1:] == pytest.approx(found["32"][1:], rel=0.01)

    norms.clear()
    clipped = [callback("grad_clip", norm=0.1), Functions(on_after_backward=look, weight=1.0)]
    graph("fp16", *clipped).fit(task(), seed=1)
    assert max(norms[1:]) == pytest.approx(0.1, rel=0.01)


class Exploding(torch.autograd.Function):
    """The identity, with infinite gradients in chosen calls."""

    calls = 0

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        Exploding.calls += 1
        return gradient * float("inf") if Exploding.calls <= 2 else gradient


def explode(x):
    return Exploding.apply(x) if x.requires_grad else x


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rprop"])
def test_a_step_whose_gradients_are_too_large_is_left_out_and_nothing_else_happens(optimizer):
    Exploding.calls = 0
    weights, scales = [], []

    def look(run):
        weights.append(run.network.head.weight.detach().clone())
        scales.append(run.steps.state_dict()["scale"])

    watch = Functions(on_batch_begin=look, on_batch_end=look)
    schedule = callback("lr_one_cycle", max_lr=0.02)
    schedules = [schedule] if optimizer != "rprop" else [callback("lr_step", step_size=1)]
    fitted = graph("fp16", watch, *schedules, look=explode, optimizer=optimizer).fit(task(), seed=1)
    assert all(torch.equal(weights[0], later) for later in weights[:4])
    assert not torch.equal(weights[4], weights[5])
    assert scales[:5] == [65536.0, 32768.0, 32768.0, 16384.0, 16384.0]
    assert all(np.isfinite(fitted.history["train_loss"].to_pylist()))


def test_gradients_that_are_never_finite_are_an_error(monkeypatch):
    monkeypatch.setattr(Exploding, "calls", -(10**9))
    with pytest.raises(DataError, match="gradients are not finite in float16") as caught:
        graph("fp16", look=explode, epochs=50).fit(task(), seed=1)
    assert "bf16" in caught.value.mend


def test_a_loss_that_is_not_finite_stops_in_float16_too():
    with pytest.raises(DataError, match="The loss is"):
        graph("fp16", look=lambda x: x * 1e6 if x.dtype is torch.float16 else x).fit(task(), seed=1)


# Going on


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_run_goes_on_from_a_checkpoint_bit_for_bit(precision, tmp_path):
    Exploding.calls = 0
    saving = callback("checkpoint", path=str(tmp_path / "whole"), batches=1)
    whole = graph(precision, saving, optimizer="adamw").fit(task(), valid=0.25, seed=1)
    for last in sorted((tmp_path / "whole").iterdir())[7:]:
        last.unlink()
    saved = torch.load(max((tmp_path / "whole").iterdir()), weights_only=True)
    assert ("scale" in saved["run"]["steps"]) == (precision == "fp16")
    resumed = graph(precision, saving, optimizer="adamw", resume=True)
    again = resumed.fit(task(), valid=0.25, seed=1)
    assert again.history.equals(whole.history)
    for name, tensor in whole.trained().tensors.items():
        assert torch.equal(again.trained().tensors[name], tensor)


def test_the_scale_of_a_resumed_run_is_that_of_the_saved_one(tmp_path):
    Exploding.calls = 0
    scales = []
    watch = Functions(on_batch_begin=lambda run: scales.append(run.steps.state_dict()["scale"]))
    saving = callback("checkpoint", path=str(tmp_path))
    first = graph("fp16", watch, saving, look=explode, epochs=1)
    first.fit(task(), seed=1)
    assert scales[-1] == 16384.0
    scales.clear()
    first.with_params(torch_model__epochs=2, torch_model__resume=True).fit(task(), seed=1)
    assert scales[0] == 16384.0


def test_a_run_does_not_go_on_in_another_precision(tmp_path):
    saving = callback("checkpoint", path=str(tmp_path))
    graph("bf16", saving, epochs=1).fit(task(), seed=1)
    with pytest.raises(StateError, match="precision was bf16 and is 32"):
        graph("32", saving, resume=True).fit(task(), seed=1)


def test_a_saved_graph_predicts_as_it_did(tmp_path):
    fitted = graph("bf16").fit(task(), seed=1)
    fitted.save(tmp_path / "model.mlgraph")
    again = load(tmp_path / "model.mlgraph")
    assert np.array_equal(again.predict(task()).response, fitted.predict(task()).response)


# What is refused


def test_precision_decides_what_is_learned_and_cannot_change_afterwards():
    fitted = graph("32", epochs=1).fit(task(), seed=1)
    with pytest.raises(ConfigError, match="precision cannot change"):
        fitted.with_params(torch_model__precision="bf16")


def test_another_precision_is_refused():
    with pytest.raises(ConfigError, match="precision"):
        po("torch_model", precision="16")


def test_a_device_without_it_is_refused_before_training(monkeypatch):
    with pytest.raises(ConfigError, match="'fp16' is not available on the device 'meta'"):
        dtype_of("fp16", torch.device("meta"))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)
    with pytest.raises(ConfigError, match="'bf16' is not available") as caught:
        graph("bf16").check(task())
    assert "bfloat16" in str(caught.value)
