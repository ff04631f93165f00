"""The loop: when what happens, and that nothing else does."""

import attrs
import pytest
import torch
from torch import nn

from mlgraph import DataError, ShapeError
from mlgraph.data.batch import TensorBatches
from mlgraph.train.callback import EVENTS, Callback
from mlgraph.train.loop import (
    apply_network,
    history_columns,
    order_seed,
    row_order,
    train,
)
from mlgraph.train.lossfn import ObjectiveFn
from mlgraph.train.run import Plan, Run, Validation


def data(rows=5, size=2, weights=None, seed=0, **kwargs):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 2, generator=draws)
    y = x.sum(1, keepdim=True) + 0.1 * torch.randn(rows, 1, generator=draws)
    return TensorBatches((x,), y, weights, size, **kwargs)


def make_run(*, valid=None, network=None, batches=None, seed=3, lr=0.05, **plan):
    torch.manual_seed(0)
    network = network or nn.Linear(2, 1)
    return Run(
        network=network,
        objective=ObjectiveFn(nn.MSELoss(), nn.MSELoss(reduction="none")),
        optimizer=torch.optim.SGD(network.parameters(), lr=lr),
        batches=batches or data(),
        plan=Plan(**{"epochs": 2, **plan}),
        seed=seed,
        validation=valid,
    )


def valid(rows=3, size=2, scorer=lambda output, kept: {}, weights=None):
    return Validation(batches=data(rows, size, weights, seed=9), scorer=scorer)


class Double:
    """Behaves like a callback, and remembers what it likes."""

    enabled, weight, is_last, early = True, 0.0, False, ()

    def start(self, run):
        return None

    def hook(self, event):
        return getattr(self, event, None)

    def fixed(self):
        return {}


class Recorder(Double):
    """Remembers which events came, and what was seen then."""

    def __init__(self, look=lambda run: None, only=EVENTS):
        self.seen, self.look, self.only = [], look, only

    def hook(self, event):
        def hook(run, state):
            found = self.look(run)
            self.seen.append(event if found is None else (event, found))

        return hook if event in self.only else None


class At(Double):
    """Does something at one event."""

    def __init__(self, event, action):
        setattr(self, event, lambda run, state: action(run))


STEP = ["on_batch_begin", "on_after_backward", "on_batch_end"]
VALID = ["on_valid_begin", *["on_valid_batch_begin", "on_valid_batch_end"] * 2, "on_valid_end"]


# Events


def test_events_come_in_this_order_without_validation():
    recorder = Recorder()
    train(make_run(), [recorder])
    epoch = ["on_epoch_begin", *STEP * 3, "on_epoch_end"]
    assert recorder.seen == ["on_train_begin", *epoch * 2, "on_train_end", "on_exit"]


def test_events_of_validation_come_between_the_steps_and_the_end_of_the_epoch():
    recorder = Recorder()
    train(make_run(valid=valid(), epochs=1), [recorder])
    epoch = ["on_epoch_begin", *STEP * 3, *VALID, "on_epoch_end"]
    assert recorder.seen == ["on_train_begin", *epoch, "on_train_end", "on_exit"]


def test_events_of_validation_come_only_in_epochs_that_are_evaluated():
    recorder = Recorder(look=lambda run: run.epoch, only=["on_valid_begin"])
    train(make_run(valid=valid(), epochs=7, eval_freq=3), [recorder])
    assert [epoch for _, epoch in recorder.seen] == [3, 6, 7]


def test_every_callback_gets_an_event_before_the_next_event_comes():
    seen = []
    callbacks = [
        At(event, lambda run, name=f"{event} {i}": seen.append(name))
        for i in (1, 2)
        for event in ("on_epoch_begin", "on_epoch_end")
    ]
    train(make_run(epochs=1), callbacks)
    begin, end = "on_epoch_begin", "on_epoch_end"
    assert seen == [f"{begin} 1", f"{begin} 2", f"{end} 1", f"{end} 2"]


def test_before_the_first_epoch_all_counts_are_zero():
    recorder = Recorder(
        look=lambda run: (run.epoch, run.step, run.global_step), only=["on_train_begin"]
    )
    train(make_run(), [recorder])
    assert recorder.seen == [("on_train_begin", (0, 0, 0))]


def test_steps_are_counted_in_the_epoch_and_over_all():
    recorder = Recorder(
        look=lambda run: (run.epoch, run.step, run.global_step), only=["on_batch_begin"]
    )
    run = train(make_run(), [recorder])
    steps = [counts for _, counts in recorder.seen]
    assert steps == [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 1, 4), (2, 2, 5), (2, 3, 6)]
    assert (run.epoch, run.global_step) == (2, 6)


def test_gradients_are_there_after_backward_and_gone_before_the_next_step():
    run = make_run(epochs=1)
    recorder = Recorder(
        look=lambda run: run.network.weight.grad is None,
        only=["on_batch_begin", "on_after_backward"],
    )
    train(run, [recorder])
    assert dict(recorder.seen) == {"on_batch_begin": True, "on_after_backward": False}


def test_the_network_trains_in_steps_and_evaluates_in_validation():
    recorder = Recorder(
        look=lambda run: run.network.training,
        only=["on_batch_begin", "on_valid_batch_begin", "on_valid_end", "on_epoch_end"],
    )
    run = train(make_run(valid=valid()), [recorder])
    assert dict(recorder.seen) == {
        "on_batch_begin": True,
        "on_valid_batch_begin": False,
        "on_valid_end": True,
        "on_epoch_end": True,
    }
    assert not run.network.training


def test_scores_of_an_epoch_are_there_when_it_ends():
    recorder = Recorder(look=lambda run: sorted(run.scores), only=["on_valid_end", "on_epoch_end"])
    train(make_run(valid=valid(scorer=lambda output, kept: {"valid_x": 1.0}), epochs=1), [recorder])
    names = ["train_loss", "valid_loss", "valid_x"]
    assert recorder.seen == [("on_valid_end", names), ("on_epoch_end", names)]


def test_what_a_callback_makes_of_the_scores_is_what_is_kept():
    run = make_run(valid=valid(), epochs=1)
    train(run, [At("on_valid_end", lambda run: run.scores.update(valid_loss=7.0, mine=1.0))])
    assert run.history[0]["valid_loss"] == 7.0
    assert run.history[0]["mine"] == 1.0


# Ending


@pytest.mark.parametrize("event", [e for e in EVENTS if e not in ("on_exit", "on_train_end")])
def test_on_exit_comes_after_an_exception_in_any_event(event):
    def fail(run):
        raise ZeroDivisionError(event)

    recorder = Recorder(only=["on_train_end", "on_exit"])
    with pytest.raises(ZeroDivisionError, match=event):
        train(make_run(valid=valid()), [At(event, fail), recorder])
    assert recorder.seen == ["on_exit"]


def test_on_exit_comes_when_the_network_itself_fails():
    recorder = Recorder(only=["on_exit"])
    with pytest.raises(RuntimeError, match="shapes"):
        train(make_run(network=nn.Linear(5, 1)), [recorder])
    assert recorder.seen == ["on_exit"]


@pytest.mark.parametrize(
    ("event", "epochs"),
    [
        ("on_train_begin", 0),
        ("on_epoch_begin", 1),
        ("on_batch_end", 1),
        ("on_valid_end", 1),
        ("on_epoch_end", 1),
    ],
)
def test_stop_ends_the_training_after_the_current_epoch(event, epochs):
    recorder = Recorder(only=["on_epoch_end", "on_train_end", "on_exit"])
    run = make_run(valid=valid(), epochs=9)
    train(run, [At(event, lambda run: run.stop("enough")), recorder])
    assert run.epoch == epochs == len(run.history)
    assert run.stopped == "enough"
    assert recorder.seen == ["on_epoch_end"] * epochs + ["on_train_end", "on_exit"]


def test_stop_without_a_reason_stops_too():
    run = make_run(epochs=9)
    train(run, [At("on_epoch_end", lambda run: run.stop(""))])
    assert run.epoch == 1
    assert run.stopped


def test_the_last_epoch_is_evaluated_also_when_a_callback_makes_it_the_last():
    def third(run):
        if run.epoch == 3:
            run.stop("enough")

    run = make_run(valid=valid(), epochs=20, eval_freq=5)
    train(run, [At("on_batch_end", third)])
    assert [row["epoch"] for row in run.history if "valid_loss" in row] == [3]


def test_no_epochs_change_nothing():
    run = make_run(epochs=0)
    before = run.network.weight.clone()
    recorder = Recorder()
    train(run, [recorder])
    assert recorder.seen == ["on_train_begin", "on_train_end", "on_exit"]
    assert torch.equal(run.network.weight, before)
    assert run.history == []


@pytest.mark.parametrize("event", [*STEP, "on_epoch_begin", "on_valid_batch_end"])
def test_an_interruption_keeps_the_last_complete_epoch(event, monkeypatch):
    monkeypatch.setattr("mlgraph.train.loop.SHORT", 0.0)

    def interrupt(run):
        if run.epoch == 3:
            raise KeyboardInterrupt

    recorder = Recorder(only=["on_train_end", "on_exit"])
    run = train(make_run(valid=valid(), epochs=9), [At(event, interrupt), recorder])
    two = train(make_run(valid=valid(), epochs=2))
    assert run.interrupted and not two.interrupted
    assert run.epoch == 2
    assert run.history == two.history
    assert torch.equal(run.network.weight, two.network.weight)
    assert recorder.seen == ["on_train_end", "on_exit"]


def test_an_interruption_between_two_epochs_loses_neither(monkeypatch):
    monkeypatch.setattr("mlgraph.train.loop.SHORT", 0.0)
    from mlgraph.train.kept import Kept

    real = Kept.keep

    def half_made(kept, run):
        if run.epoch == 3:
            kept.state["network"]["weight"].zero_()
            raise KeyboardInterrupt
        real(kept, run)

    run = make_run(epochs=9)
    monkeypatch.setattr(Kept, "keep", half_made)
    train(run)
    monkeypatch.undo()
    three = train(make_run(epochs=3))
    assert run.interrupted
    assert run.epoch == len(run.history) == 3
    assert torch.equal(run.network.weight, three.network.weight)


def test_a_loss_that_is_not_finite_stops_with_step_epoch_and_rate():
    run = make_run(epochs=50, lr=1e9)
    with pytest.raises(DataError, match=r"The loss is (inf|nan) in step \d of epoch \d") as caught:
        train(run)
    assert "1000000000.0" in caught.value.why


# Losses and weights


def test_the_loss_of_an_epoch_is_the_mean_over_rows_and_not_over_batches():
    run = make_run(batches=data(5, 4), epochs=1, lr=0.0, shuffle=False)
    train(run)
    with torch.no_grad():
        expected = nn.functional.mse_loss(run.network(run.batches.inputs[0]), run.batches.target)
    assert run.history[0]["train_loss"] == pytest.approx(float(expected), rel=1e-6)


def test_rows_that_are_dropped_do_not_count_in_the_loss():
    run = make_run(batches=data(5, 4, drop_last=True), epochs=1, lr=0.0, shuffle=False)
    train(run)
    with torch.no_grad():
        output = run.network(run.batches.inputs[0][:4])
        expected = nn.functional.mse_loss(output, run.batches.target[:4])
    assert run.history[0]["train_loss"] == pytest.approx(float(expected), rel=1e-6)


def test_the_loss_of_validation_is_that_of_all_rows_whatever_the_batches():
    losses = []
    for size in (1, 2, 3, 100):
        run = train(make_run(valid=valid(7, size), epochs=1))
        losses.append(run.history[0]["valid_loss"])
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-6)


def test_equal_weights_train_as_no_weights():
    plain = train(make_run())
    equal = train(make_run(batches=data(weights=torch.full((5,), 2.5))))
    torch.testing.assert_close(plain.network.weight, equal.network.weight)
    assert plain.history[-1] == pytest.approx(equal.history[-1], rel=1e-5)


def test_weights_are_those_of_the_rows_in_whatever_order():
    weights = torch.tensor([5.0, 1.0, 0.5, 2.0, 3.0])
    run = make_run(batches=data(5, 2, weights), epochs=2)
    train(run)
    torch.manual_seed(0)
    network = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    x, y = data().inputs[0], data().target
    for epoch in (1, 2):
        generator = torch.Generator().manual_seed(order_seed(3, epoch))
        for rows in torch.randperm(5, generator=generator).split(2):
            optimizer.zero_grad()
            errors = (network(x[rows]) - y[rows]).squeeze(1) ** 2
            ((errors * weights[rows]).sum() / weights[rows].sum()).backward()
            optimizer.step()
    torch.testing.assert_close(run.network.weight, network.weight)


def test_weights_count_in_validation():
    one_row = valid(3, 2, weights=torch.tensor([0.0, 1.0, 0.0]))
    run = train(make_run(valid=one_row, epochs=1))
    with torch.no_grad():
        output = run.network(one_row.batches.inputs[0])[1]
    expected = float((output - one_row.batches.target[1]) ** 2)
    assert run.history[0]["valid_loss"] == pytest.approx(expected, rel=1e-5)


# Order and randomness


def test_the_order_is_that_of_a_generator_of_its_own_and_differs_by_epoch():
    run = make_run()
    orders = []
    for run.epoch in (1, 2):
        generator = torch.Generator().manual_seed(order_seed(run.seed, run.epoch))
        orders.append(row_order(run))
        assert torch.equal(orders[-1], torch.randperm(5, generator=generator))
    assert not torch.equal(*orders)


def test_without_shuffling_rows_keep_their_order():
    seen = []
    run = make_run(shuffle=False, epochs=1)
    train(run, [At("on_batch_end", lambda run: seen.append(run.batch.target))])
    assert torch.equal(torch.cat(seen), run.batches.target)


def test_the_order_neither_uses_nor_moves_the_stream_that_dropout_uses():
    def dropped(shuffle):
        run = make_run(network=nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 1)), shuffle=shuffle)
        torch.manual_seed(11)
        train(run)
        return torch.rand(3)

    assert torch.equal(dropped(True), dropped(False))
    orders = []
    for draws in (0, 5):
        torch.rand(draws)
        run = make_run()
        run.epoch = 1
        orders.append(row_order(run))
    assert torch.equal(*orders)


def test_validation_moves_no_random_stream_and_changes_no_weights():
    def trained(validation):
        network = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        run = make_run(network=network, valid=validation, epochs=3)
        torch.manual_seed(11)
        train(run)
        return run.network[2].weight

    torch.manual_seed(1)
    without = trained(None)
    torch.manual_seed(1)
    assert torch.equal(without, trained(valid()))


# Speed


@pytest.fixture
def counted(monkeypatch):
    """How often a tensor was turned into a number, which waits for a device."""
    counts = {}
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        real = getattr(torch.Tensor, name)

        def counting(self, *args, real=real, name=name, **kwargs):
            counts[name] = counts.get(name, 0) + 1
            return real(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counting)
    return counts


@pytest.mark.parametrize("weights", [False, True])
def test_no_step_waits_for_the_device(counted, weights):
    found = []
    for rows in (10, 100):
        batches = data(rows, 2, torch.ones(rows) if weights else None)
        run = make_run(batches=batches, epochs=1)
        counted.clear()
        train(run)
        found.append(dict(counted))
    assert run.global_step == 50
    assert found[0] == found[1]


def test_callbacks_that_do_nothing_in_a_step_cost_nothing_in_it():
    from mlgraph.train.callback import bound
    from mlgraph.train.callbacks.early_stopping import EarlyStopping

    found = bound([EarlyStopping()], [None], make_run())
    waited = [event for event in EVENTS if found[event]]
    assert waited == ["on_train_begin", "on_valid_end", "on_train_end"]


# The rest


def test_a_network_is_applied_to_all_rows_in_order_without_gradients():
    network = nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.5))
    network.train()
    batches = data(7, 2)
    output = apply_network(network, batches)
    with torch.no_grad():
        torch.testing.assert_close(output, network[0](batches.inputs[0]))
    assert not output.requires_grad


def test_a_run_knows_its_total_and_a_plan_is_a_value():
    assert make_run(epochs=4).epochs == 4
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Plan(epochs=1).epochs = 2


def test_history_is_columns_with_gaps():
    rows = [{"epoch": 1, "a": 0.5}, {"epoch": 2, "b": 0.1, "a": 0.4}]
    columns = history_columns(rows)
    assert columns == {"epoch": [1, 2], "a": [0.5, 0.4], "b": [None, 0.1]}
    assert history_columns([]) == {"epoch": []}


# Whole steps of several batches


def test_an_interruption_after_an_epoch_keeps_it():
    def interrupt(run):
        if run.epoch == 3:
            raise KeyboardInterrupt

    run = train(make_run(epochs=9), [At("on_epoch_end", interrupt)])
    three = train(make_run(epochs=3))
    assert run.interrupted and run.epoch == 3 and run.history == three.history
    assert torch.equal(run.network.weight, three.network.weight)


@pytest.mark.parametrize("weighted", [False, True])
def test_accumulated_batches_make_the_step_of_one_large_batch(weighted):
    weights = torch.ones(7) if weighted else None
    small = train(make_run(batches=data(7, 2, weights), epochs=3, accumulate=2, shuffle=False))
    large = train(make_run(batches=data(7, 4, weights), epochs=3, shuffle=False))
    assert torch.allclose(small.network.weight, large.network.weight, rtol=1e-6)
    assert small.global_step == 12 and large.global_step == 6


def test_gradients_are_complete_when_they_are_shown():
    seen = []
    counted = At("on_after_backward", lambda run: seen.append(run.step))
    train(make_run(batches=data(7, 2), epochs=1, accumulate=3), [counted])
    assert seen == [3, 4]


def test_events_of_a_prediction_come_with_its_batches_and_outputs():
    seen = []

    class Watch(Callback):
        def on_predict_begin(self, run, state):
            seen.append("begin")

        def on_predict_batch_end(self, run, state):
            seen.append((run.step, tuple(run.output.shape)))

        def on_predict_end(self, run, state):
            seen.append("end")

    output = apply_network(nn.Linear(2, 1), data(5, 2), [Watch()])
    assert output.shape == (5, 1)
    assert seen == ["begin", (1, (2, 1)), (2, (2, 1)), (3, (1, 1)), "end"]


def test_every_callback_leaves_although_another_one_cannot():
    left = []

    class Bad(Double):
        def on_exit(self, run, state):
            raise ValueError("exit")

    class Good(Double):
        def on_exit(self, run, state):
            left.append(run.epoch)

    run = make_run()
    with pytest.raises(ValueError, match="exit"):
        train(run, [Bad(), Good()])
    assert left == [run.epoch] and not run.network.training
    failing = At("on_epoch_end", lambda run: {}["missing"])
    with pytest.raises(KeyError, match="missing") as caught:
        train(make_run(), [Bad(), failing, Good()])
    assert len(left) == 2 and "on_exit failed, too: ValueError: exit" in caught.value.__notes__[-1]


def test_callbacks_that_were_started_leave_where_another_one_cannot_start():
    left = []

    class Good(Double):
        def on_exit(self, run, state):
            left.append(True)

    class Bad(Good):
        def start(self, run):
            raise ValueError("start")

    with pytest.raises(ValueError, match="start"):
        train(make_run(), [Good(), Bad()])
    assert left == [True]


class Squeezed(nn.Module):
    """A network that loses the batch where it has one row."""

    def __init__(self, outputs):
        super().__init__()
        self.linear = nn.Linear(2, outputs)

    def forward(self, x):
        return self.linear(x).squeeze()


def rows(n):
    return TensorBatches((torch.ones(n, 2),), torch.zeros(n, 3), None, 2)


PHASES = {
    "training": lambda: train(make_run(network=Squeezed(3), batches=rows(5))),
    "validation": lambda: train(
        make_run(
            network=Squeezed(3),
            batches=rows(4),
            valid=Validation(batches=rows(3), scorer=lambda output, kept: {}),
        )
    ),
    "predicting several": lambda: apply_network(Squeezed(3), rows(3)),
    "predicting one": lambda: apply_network(Squeezed(1), rows(1)),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_network_that_loses_a_batch_of_one_row_is_told_so(phase):
    with pytest.raises(ShapeError, match="does not keep the rows of a batch apart") as caught:
        PHASES[phase]()
    assert "for 1 rows" in caught.value.why and "squeeze(1)" in caught.value.mend
