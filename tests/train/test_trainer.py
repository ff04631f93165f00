"""The Trainer: same numbers as a loop written by hand, and nothing around it changed."""

import pickle
import random

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn as tnn

from mlgraph import ConfigError, DataError, MLGraphError, ShapeError, Task, callback, nn, po, sel
from mlgraph.core.entry import node_seed
from mlgraph.train.loop import order_seed


def regression_task(n=37):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    y = (x @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=n)).astype(np.float64)
    return Task({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}, target="y")


def class_task(n=60, classes=("u", "v", "w"), **kwargs):
    rng = np.random.default_rng(1)
    codes = np.arange(n) % len(classes)
    x = rng.normal(size=(n, 2)) + codes[:, None]
    y = np.array(classes)[codes]
    return Task({"a": x[:, 0], "b": x[:, 1], "y": y}, target="y", **kwargs)


def linear(**kwargs):
    defaults = {"epochs": 5, "batch_size": 8, "progress": False}
    return nn("linear") >> po("torch_model", **{**defaults, **kwargs})


def test_weights_and_losses_equal_those_of_a_loop_written_by_hand():
    task = regression_task()
    graph = (
        nn("linear", out_features=16)
        >> nn("relu")
        >> nn("dropout", p=0.5)
        >> nn("linear")
        >> po("torch_optimizer", "adamw", lr=0.01)
        >> po("torch_model", epochs=4, batch_size=8, progress=False)
    )
    fitted = graph.fit(task, seed=7)

    seed = node_seed(7, "torch_model", "fit")
    x, y = task.to_numpy()
    x = torch.from_numpy(x.astype(np.float32))
    y = torch.from_numpy(y.astype(np.float32)).unsqueeze(1)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = tnn.Sequential(tnn.Linear(3, 16), tnn.ReLU(), tnn.Dropout(0.5), tnn.Linear(16, 1))
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, fused=True)
        for epoch in range(1, 5):
            generator = torch.Generator().manual_seed(order_seed(seed, epoch))
            order = torch.randperm(len(x), generator=generator)
            total = 0.0
            for start in range(0, len(x), 8):
                rows = order[start : start + 8]
                optimizer.zero_grad()
                loss = tnn.functional.mse_loss(net(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            losses.append(total / len(x))

    ours = list(fitted.trained().tensors.values())
    for mine, theirs in zip(ours, net.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert fitted.history["train_loss"].to_pylist() == pytest.approx(losses, rel=1e-12)


def test_a_seed_fixes_everything_and_another_seed_changes_it():
    task = class_task()
    graph = (
        nn("linear", out_features=8)
        >> nn("dropout")
        >> nn("head")
        >> po("torch_model", epochs=3, progress=False)
    )
    one, two, other = (graph.fit(task, seed=s).predict(task).prob for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def snapshot():
    return (
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
    )


def test_global_generators_threads_and_flags_are_as_before_after_fit_and_predict():
    before = snapshot()
    fitted = linear().fit(regression_task(), valid=0.2)
    fitted.predict(regression_task())
    fitted.module()
    assert snapshot() == before


def test_global_state_is_as_before_after_an_exception():
    def explode(x):
        torch.rand(3)
        if x.device.type == "cpu" and x.requires_grad:
            raise RuntimeError("boom")
        return x

    graph = nn("linear", out_features=3) >> nn("fn", explode) >> nn("head") >> po("torch_model")
    before = snapshot()
    with pytest.raises(RuntimeError, match="boom") as caught:
        graph.fit(regression_task())
    assert snapshot() == before
    assert any("node 'torch_model'" in note for note in caught.value.__notes__)


def test_fitting_does_not_change_the_graph_or_its_hash():
    graph = linear()
    before = graph.hash
    fitted = graph.fit(regression_task())
    assert graph.hash == before
    assert fitted.graph is graph


def test_zero_epochs_give_a_model_that_predicts():
    fitted = linear(epochs=0).fit(class_task())
    assert fitted.history.num_rows == 0
    assert fitted.predict(class_task()).prob.shape == (60, 3)


def test_history_has_a_row_per_epoch_and_a_column_per_score():
    fitted = linear(metrics=["accuracy", "log_loss"]).fit(class_task(), valid=0.25, seed=0)
    history = fitted.history
    assert isinstance(history, pa.Table)
    assert history["epoch"].to_pylist() == [1, 2, 3, 4, 5]
    assert history.column_names[1:] == [
        "train_loss",
        "valid_loss",
        "valid_accuracy",
        "valid_log_loss",
    ]


def test_validation_runs_every_eval_freq_epochs_and_after_the_last():
    fitted = linear(eval_freq=2).fit(class_task(), valid=0.25, seed=0)
    known = [value is not None for value in fitted.history["valid_loss"].to_pylist()]
    assert known == [False, True, False, True, True]


def test_validation_rows_never_reach_a_fit():
    task = class_task()
    fitted = linear().fit(task, valid=[0, 1, 2], seed=0)
    again = linear().fit(task.take(list(range(3, 60))), seed=0)
    for name, tensor in fitted.trained().tensors.items():
        assert torch.equal(tensor, again.trained().tensors[name])


def test_validation_data_do_not_change_what_is_learned():
    task, extra = class_task(), class_task(30)
    with_valid = linear().fit(task, valid=extra, seed=3).trained().tensors
    without = linear().fit(task, seed=3).trained().tensors
    assert all(torch.equal(with_valid[name], without[name]) for name in without)


def test_early_stopping_restores_the_weights_of_the_best_epoch():
    task = class_task()
    graph = linear(epochs=200, patience=3, metrics="accuracy", monitor="valid_loss")
    stopped = graph.fit(task, valid=0.3, seed=5)
    best = stopped.trained().best_epoch
    scores = stopped.history["valid_loss"].to_pylist()
    assert scores[best - 1] == min(scores)
    exactly = graph.with_params(torch_model__epochs=best, torch_model__patience=0)
    same = exactly.fit(task, valid=0.3, seed=5)
    for name, tensor in same.trained().tensors.items():
        assert torch.equal(tensor, stopped.trained().tensors[name])


def test_early_stopping_counts_evaluations():
    graph = linear(epochs=40, patience=2, eval_freq=3, min_delta=1e9)
    fitted = graph.fit(class_task(), valid=0.3, seed=5)
    assert fitted.trained().epochs == 9  # evaluated at 3 (best), 6 and 9
    assert "did not improve" in fitted.trained().stopped


def test_patience_without_validation_data_is_refused():
    with pytest.raises(ConfigError, match="needs validation data"):
        linear(patience=3).fit(class_task())


def test_binary_targets_have_one_logit_and_probabilities_in_class_order():
    for positive in ("u", "v"):
        task = class_task(classes=("u", "v"), positive=positive)
        fitted = linear(epochs=60).fit(task, seed=1)
        assert fitted.module()(torch.zeros(1, 2)).shape == (1, 1)
        prediction = fitted.predict(task)
        assert prediction.classes == ("u", "v")
        assert np.allclose(prediction.prob.sum(axis=1), 1)
        assert (prediction.response == prediction.truth).mean() > 0.6


def test_which_class_is_positive_changes_the_sign_of_the_logit_only_in_meaning():
    task = class_task(classes=("u", "v"))
    a = linear(epochs=30).fit(task, seed=1).predict(task).score("accuracy")
    b = linear(epochs=30).fit(Task(task, positive="u"), seed=1).predict(task).score("accuracy")
    assert abs(a - b) < 0.15


def test_row_weights_of_zero_are_rows_that_are_not_there():
    task = regression_task(16)
    weights = np.array([1.0] * 8 + [0.0] * 8)
    graph = nn("linear") >> po("torch_model", epochs=3, batch_size=16, shuffle=False)
    weighted = graph.fit(task.with_weight(weights), seed=0).trained().tensors
    half = graph.fit(task.take(list(range(8))), seed=0).trained().tensors
    for name in half:
        assert torch.allclose(weighted[name], half[name], atol=1e-6)


def test_class_weights_change_the_training():
    task = class_task()
    plain = linear().fit(task, seed=0).trained().tensors["linear.weight"]
    heavy = linear(class_weight={"u": 10.0, "v": 1.0, "w": 1.0}).fit(task, seed=0)
    assert not torch.equal(plain, heavy.trained().tensors["linear.weight"])
    with pytest.raises(ConfigError, match="class_weight"):
        linear(class_weight={"u": 10.0}).fit(task)


def test_a_last_batch_of_one_row_is_merged_where_the_network_has_batch_statistics():
    graph = nn("batch_norm1d") >> nn("linear") >> po("torch_model", epochs=1, batch_size=6)
    fitted = graph.fit(regression_task(37))
    assert int(fitted.module().batch_norm1d.num_batches_tracked) == 6


def test_batch_norm_on_one_row_is_refused_with_our_own_words():
    graph = nn("batch_norm1d") >> nn("linear") >> po("torch_model", epochs=1)
    with pytest.raises(DataError, match="n_samples=1"):
        graph.fit(regression_task(1))
    with pytest.raises(DataError, match="batch_size=1"):
        graph.with_params(torch_model__batch_size=1).check(regression_task(9))


def test_without_a_full_batch_there_is_nothing_to_train_on():
    graph = linear(drop_last=True, batch_size=8, epochs=1)
    assert graph.fit(regression_task(8)).trained().epochs == 1
    for refused in (graph.fit, graph.check):
        with pytest.raises(DataError, match="no full batch: batch_size=8, and 7 rows"):
            refused(regression_task(7))


def test_a_network_without_a_head_is_refused():
    with pytest.raises(ShapeError, match=r"task needs \(batch, 3\)") as caught:
        (nn("linear", out_features=64) >> po("torch_model")).fit(class_task())
    assert "head" in caught.value.mend


def test_a_loss_of_another_kind_of_task_is_refused():
    graph = nn("linear") >> po("torch_loss", "mse") >> po("torch_model")
    with pytest.raises(ConfigError, match="wrong loss"):
        graph.fit(class_task())


def test_two_losses_are_refused():
    graph = nn("linear") >> po("torch_loss", "mse") >> po("torch_loss", "l1") >> po("torch_model")
    with pytest.raises(MLGraphError, match="already"):
        graph.fit(regression_task())


def test_a_diverging_loss_stops_with_an_error_that_says_what_to_do():
    graph = nn("linear") >> po("torch_optimizer", "sgd", lr=1e30) >> po("torch_model", epochs=9)
    with pytest.raises(DataError, match=r"The loss is (nan|inf)") as caught:
        graph.fit(regression_task())
    assert "learning rate" in caught.value.mend


def test_check_finds_everything_wrong_with_training_at_once():
    graph = (
        nn("linear", out_features=5)
        >> po("torch_loss", "cross_entropy")
        >> po("torch_model", patience=2)
    )
    with pytest.raises(MLGraphError) as caught:
        graph.check(regression_task())
    texts = [error.what for error in caught.value.errors]
    assert any("puts out" in text for text in texts)
    assert any("wrong loss" in text for text in texts)


def test_check_asks_callbacks_whether_they_fit_the_network():
    def graph(**options):
        plan = {"weights": sel.match("heda"), "epoch": 2}
        frozen = callback("unfreeze", starting_weights=sel.none(), unfreeze=plan, **options)
        wrong = callback("unfreeze", starting_weights=sel.match("layer"), enabled=False)
        return nn("head") >> po("torch_callbacks", [frozen, wrong]) >> po("torch_model")

    with pytest.raises(ConfigError, match="chooses no weights") as caught:
        graph().check(regression_task())
    assert "'head.weight'" in str(caught.value) and "unfreeze" in caught.value.where
    graph(enabled=False).check(regression_task())


WRONG = {"device": "cuda:99", "metrics": ["mse"], "class_weight": {"nobody": 1.0}}
SAID = ["'cuda:99' is not available", "wrong metric", "wrong loss", "class_weight does not fit"]


@pytest.mark.parametrize(
    "network",
    [
        nn("conv1d", 3, kernel_size=2) >> nn("relu") >> nn("head"),
        nn("conv1d", 3, kernel_size=2) >> nn("conv2d", 3, kernel_size=2) >> nn("head"),
        [nn("linear", 2), nn("conv1d", 3, kernel_size=2)] >> nn("merge_cat") >> nn("head"),
        [nn("linear", 2), nn("linear", 3)] >> nn("merge_sum") >> nn("head"),
    ],
    ids=["first", "several", "one of two paths", "where paths meet"],
)
@pytest.mark.parametrize("valid", [None, 0.2])
def test_check_finds_what_is_wrong_with_training_behind_a_layer_that_does_not_fit(network, valid):
    trained = po("torch_loss", "mse") >> po("torch_model", **WRONG)
    with pytest.raises(MLGraphError) as caught:
        (network >> trained).check(class_task(), valid=valid)
    first, *others = (error.what for error in caught.value.errors)
    assert "conv1d" in first or "merge_sum" in first
    assert len(others) == len(SAID)
    assert all(text in what for text, what in zip(SAID, others, strict=True))


def test_a_check_behind_a_layer_that_does_not_fit_knows_the_validation_data():
    graph = nn("conv1d", 3, kernel_size=2) >> nn("head") >> po("torch_model", patience=2)
    with pytest.raises(ShapeError, match="conv1d"):
        graph.check(class_task(), valid=0.2)
    with pytest.raises(MLGraphError) as caught:
        graph.check(class_task())
    assert "needs validation data" in caught.value.errors[1].what


def test_check_trains_nothing_and_allocates_no_weights():
    wide = nn("linear", out_features=200_000) >> nn("linear", out_features=50_000) >> nn("head")
    checked = (wide >> po("torch_model")).check(class_task())
    assert "10,000,800,003 parameters" in str(checked)


def test_interruption_keeps_the_last_complete_epoch(monkeypatch):
    from mlgraph.train import loop

    real, calls = loop._train_epoch, []

    def third_time_interrupted(run, events):
        calls.append(run.epoch)
        loss = real(run, events)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(loop, "SHORT", 0.0)
    monkeypatch.setattr(loop, "_train_epoch", third_time_interrupted)
    stopped = linear(epochs=9).fit(regression_task(), seed=2).trained()
    monkeypatch.undo()
    two = linear(epochs=2).fit(regression_task(), seed=2).trained()
    assert stopped.interrupted and stopped.epochs == 2
    assert all(torch.equal(stopped.tensors[name], two.tensors[name]) for name in two.tensors)


def test_a_fitted_graph_survives_pickling():
    fitted = linear().fit(class_task(), seed=1)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict(class_task()).prob, fitted.predict(class_task()).prob)


def test_changing_the_module_that_comes_out_changes_nothing_inside():
    fitted = linear().fit(class_task(), seed=1)
    before = fitted.predict(class_task()).prob
    with torch.no_grad():
        fitted.module().linear.weight.zero_()
    assert np.array_equal(fitted.predict(class_task()).prob, before)


def test_an_unknown_device_is_refused():
    with pytest.raises(ConfigError, match="device"):
        linear(device="cuda:7" if not torch.cuda.is_available() else "warp").fit(class_task())


def test_predicting_no_rows_gives_no_rows():
    fitted = linear().fit(class_task(), seed=1)
    assert fitted.predict(class_task().empty()).prob.shape == (0, 3)


def test_every_optimizer_that_can_train_does():
    from mlgraph.train.optimizer import Optimizer

    trained = 0
    for name in Optimizer.names():
        node = po("torch_optimizer", name)
        # Muon takes matrices only, so the layer has no bias.
        graph = nn("linear", bias=False) >> node >> po("torch_model", epochs=1, progress=False)
        try:
            graph.fit(regression_task(8))
        except ConfigError:
            assert name == "sparse_adam"  # trains sparse gradients only
            continue
        trained += 1
    assert trained >= 10


# Weights of rows and classes


def weighty(batch_size, accumulate, **options):
    trainer = {"epochs": 3, "shuffle": True, "progress": False, **options}
    return (
        nn("linear", 4)
        >> nn("head")
        >> po("torch_optimizer", "sgd", lr=0.1)
        >> po("torch_model", batch_size=batch_size, accumulate=accumulate, **trainer)
    )


@pytest.mark.parametrize("options", [{"class_weight": {"u": 9.0, "v": 1.0}}, {}])
def test_accumulated_batches_are_one_large_batch_also_where_rows_weigh_differently(options):
    task = class_task(48, classes=("u", "v"))
    if not options:
        task = task.with_weight(np.linspace(0.1, 4, 48))
    large = weighty(16, 1, **options).fit(task, seed=1).trained().tensors
    small = weighty(2, 8, **options).fit(task, seed=1).trained().tensors
    for name, tensor in large.items():
        torch.testing.assert_close(small[name], tensor, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (po("nop"), {"class_weight": {"u": 0.0, "v": 1.0, "w": 1.0}}),
        (po("torch_loss", "cross_entropy", ignore_index=0), {}),
    ],
)
def test_a_batch_in_which_no_row_counts_changes_nothing(loss, options):
    graph = (
        nn("linear", 4)
        >> nn("head")
        >> loss
        >> po("torch_optimizer", "sgd", lr=0.1)
        >> po("torch_model", epochs=2, batch_size=1, progress=False, **options)
    )
    assert np.isfinite(graph.fit(class_task(9), seed=1).history["train_loss"].to_pylist()).all()


# Metrics


def test_metrics_may_be_named_in_a_dict():
    metrics = {"first": lambda truth, response: 1.0, "acc": "accuracy"}
    fitted = linear(metrics=metrics).fit(class_task(classes=("u", "v")), valid=0.25, seed=1)
    assert fitted.history["valid_first"].to_pylist() == [1.0] * 5
    assert "valid_acc" in fitted.history.column_names


@pytest.mark.parametrize("name", ["metrics", "metrics_train"])
def test_a_metric_does_not_take_the_place_of_the_loss(name):
    def loss(truth, response):
        return 42.0

    with pytest.raises(ConfigError, match="cannot be called 'loss'"):
        linear(**{name: [loss]}).fit(regression_task(), valid=0.25)
