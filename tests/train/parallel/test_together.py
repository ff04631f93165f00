from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from torch import nn

from mlgraph import ConfigError, StateError, callback
from mlgraph.data.batch import TensorBatches
from mlgraph.train.callback import Callback, with_ids
from mlgraph.train.loop import train
from mlgraph.train.lossfn import ObjectiveFn
from mlgraph.train.parallel.group import Group
from mlgraph.train.parallel.together import _refuse_unlike, _Sharing, data_parallel, shared
from mlgraph.train.run import Plan, Run, TrainScores, Validation

N = 21  # batches of 8, 8 and 5


class Parts(nn.Module):
    """A network of which the batch decides what is used."""

    def __init__(self) -> None:
        super().__init__()
        self.always = nn.Linear(3, 1)
        self.seldom = nn.Linear(3, 1)
        self.never = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seldom = x[:, 0] > 1.5
        out = self.always(x)
        return out + self.seldom(x) * seldom[:, None] if bool(seldom.any()) else out


class Counting(nn.Module):
    """A layer with buffers that nobody knows."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.register_buffer("seen", torch.zeros(3))
        self.register_buffer("n", torch.tensor(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += x.sum(0)
            self.n += len(x)
        return self.linear(x)


NETWORKS = {
    "mlp": lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)),
    "parts": Parts,
    "counting": Counting,
    "batch norm": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
}


def made(kind: str = "mlp", *, weighed: bool = False, **options: Any) -> Run:
    # A generator is handed in: threads share the global one.
    draw = torch.Generator().manual_seed(0)
    network = NETWORKS[kind]()
    for weight in network.parameters():
        weight.data = torch.randn(weight.shape, generator=draw)
    x = torch.randn(N, 3, generator=draw)
    y = x.sum(1, keepdim=True) + torch.randn(N, 1, generator=draw)
    weights = torch.rand(N, generator=draw) + 0.1 if weighed else None
    data = TensorBatches((x,), y, weights, size=8, merge_last=kind == "batch norm")
    objective = ObjectiveFn(nn.MSELoss(), nn.MSELoss(reduction="none"))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    valid = Validation(batches=data, scorer=lambda output, kept: {"valid_sum": float(output.sum())})
    return Run(
        network, objective, optimizer, data, Plan(epochs=3, **options), seed=1, validation=valid
    )


def trained(ranks, make=made, callbacks=lambda rank: (), size: int = 2) -> list:
    """The runs of all ranks, or what they raised."""

    def one(group):
        run = make()
        return train(run, shared(run, with_ids(callbacks(group.rank)), group))

    return ranks(one, size)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"weighed": True},
        {"accumulate": 2},
        {"accumulate": 2, "weighed": True},
        {"kind": "parts"},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_learn_what_one_does(options, size, ranks):
    clip = (callback("grad_clip", norm=1.0), callback("ema", decay=0.5))
    alone = train(made(**options), clip)
    for run in trained(ranks, lambda: made(**options), lambda rank: clip, size):
        for row, expected in zip(run.history, alone.history, strict=True):
            assert row == pytest.approx(expected, rel=1e-5)
        for name, tensor in alone.network.state_dict().items():
            torch.testing.assert_close(run.network.state_dict()[name], tensor, msg=name)


def test_all_begin_with_the_weights_of_the_first(ranks):
    def one(group):
        run = made()
        run.network[0].weight.data += group.rank
        return train(run, shared(run, {}, group))

    alone = train(made())
    for run in ranks(one):
        torch.testing.assert_close(run.network.state_dict(), alone.network.state_dict())


def test_scores_are_those_of_the_first(ranks):
    def one(group):
        run = made()
        valid = run.validation
        run.validation = attrs.evolve(valid, scorer=lambda output, kept: {"valid_rank": group.rank})
        return train(run, shared(run, {}, group))

    assert [[row["valid_rank"] for row in run.history] for run in ranks(one)] == [[0.0] * 3] * 2


def test_each_process_draws_its_own_in_each_step_whatever_came_before():
    def drawn(rank: int, step: int) -> float:
        run = made()
        run.global_step = step
        _Sharing(group=Group(rank, 2, None, None)).on_batch_begin(run, None)
        return float(torch.rand(1))

    with torch.random.fork_rng(devices=[]):
        places = [(rank, step) for rank in range(2) for step in (1, 2)]
        first = [drawn(*place) for place in places]
        assert len(set(first)) == 4
        assert [drawn(*place) for place in reversed(places)] == first[::-1]


def test_weights_averaged_at_the_end_get_one_set_of_statistics(ranks):
    swa = [callback("swa", begin=2)]
    one, other = trained(ranks, lambda: made("batch norm"), lambda rank: swa)
    assert torch.equal(one.network[1].running_var, other.network[1].running_var)


def test_all_see_the_same_loss_in_every_batch_also_where_gradients_only_add_up(ranks):
    class Seen(Callback):
        def start(self, run):
            return []

        def on_batch_end(self, run, state):
            state.append(float(run.loss))

    alone = train(made(accumulate=2), [Seen()])
    runs = trained(ranks, lambda: made(accumulate=2), lambda rank: [Seen()])
    one, other = (run.states["seen"] for run in runs)
    assert one == other
    assert one == pytest.approx(alone.states["seen"], rel=1e-5)
    assert len(one) == 9


def test_statistics_of_batch_norm_are_averaged_and_other_buffers_are_those_of_the_first(ranks):
    one, other = trained(ranks, lambda: made("batch norm"))
    mean = one.network[1].running_mean
    assert torch.equal(mean, other.network[1].running_mean)
    alone = train(made("batch norm")).network[1].running_mean
    torch.testing.assert_close(mean, alone, rtol=0.2, atol=0.2)  # other statistics, other weights
    one, other = trained(ranks, lambda: made("counting"))
    assert torch.equal(one.network.seen, other.network.seen)
    assert one.network.n == other.network.n == 3 * (4 + 4 + 2)


class _Halting(Callback):
    """Stops in one process only."""

    rank: int = 0
    me: int = 0
    now: bool = False

    def on_batch_end(self, run, state):
        if run.global_step == 5 and self.rank == self.me:
            run.stop_now("here") if self.now else run.stop("here")


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("now", [True, False])
def test_a_wish_of_one_process_to_stop_ends_all(rank, now, ranks):
    runs = trained(ranks, callbacks=lambda me: [_Halting(rank=rank, me=me, now=now)])
    alone = train(made(), [_Halting(now=now)])
    for run in runs:
        assert (run.stopped, run.epoch, run.global_step) == ("here", 2, alone.global_step)
        assert run.history[-1]["train_loss"] == pytest.approx(alone.history[-1]["train_loss"])


def test_only_the_first_process_writes(ranks, tmp_path):
    def writers(rank):
        folder = tmp_path / str(rank)
        return [
            callback("csv_log", path=str(folder / "log.csv")),
            callback("checkpoint", path=str(folder / "run")),
        ]

    runs = trained(ranks, callbacks=writers)
    assert (tmp_path / "0" / "log.csv").read_text().count("\n") == 4
    assert len(list((tmp_path / "0" / "run").iterdir())) == 3
    assert not (tmp_path / "1").exists()
    assert list(runs[0].states) == list(runs[1].states)


def test_a_process_that_drifts_is_refused_by_all(ranks):
    class Nudge(Callback):
        rank: int = 0

        def on_train_end(self, run, state):
            if self.rank == 1:
                run.network[0].bias.data += 1

    for error in trained(ranks, callbacks=lambda rank: [Nudge(rank=rank)]):
        assert isinstance(error, StateError)
        assert "ended with different results" in str(error) and "0.bias" in str(error)


def test_another_history_is_refused_by_all(ranks):
    class Pretend(Callback):
        rank: int = 0

        def on_train_end(self, run, state):
            run.history[0]["train_loss"] += self.rank

    for error in trained(ranks, callbacks=lambda rank: [Pretend(rank=rank)]):
        assert isinstance(error, StateError) and "the history" in str(error)


def test_processes_that_begin_at_different_places_are_refused(ranks):
    def one(group):
        run = made()

        def resume(run):
            run.epoch = group.rank

        return train(run, shared(run, {}, group), resume)

    for error in ranks(one):
        assert isinstance(error, StateError) and "the same checkpoint" in str(error)


def test_processes_that_train_different_things_are_refused(ranks):
    def one(group):
        _refuse_unlike(group, {"seed": str(group.rank), "data": "x"})

    for error in ranks(one):
        assert isinstance(error, StateError) and "they differ in 'seed'" in str(error)


def test_an_error_in_one_process_ends_the_other_with_its_message(ranks):
    class Fail(Callback):
        rank: int = 0

        def on_batch_begin(self, run, state):
            if self.rank == 1 and run.global_step == 4:
                raise ValueError("the disk is full")

    waiting, failed = trained(ranks, callbacks=lambda rank: [Fail(rank=rank)])
    assert isinstance(failed, ValueError)
    assert isinstance(waiting, StateError) and "the disk is full" in str(waiting)


def test_a_loss_that_is_not_finite_in_one_process_ends_all_with_the_same_error(ranks):
    def make():
        run = made()
        run.batches.target[3] = float("inf")
        return run

    one, other = trained(ranks, make)
    assert str(one) == str(other) and "The loss is inf" in str(one)


def test_sparse_gradients_are_refused(ranks):
    def make():
        run = made()
        network = nn.Embedding(3, 1, sparse=True)
        run.network, run.optimizer = network, torch.optim.SGD(network.parameters(), lr=0.1)
        run.batches = TensorBatches((torch.arange(N) % 3,), torch.zeros(N, 1), None, size=8)
        run.validation = None
        return run

    errors = trained(ranks, make)
    assert any(isinstance(e, ConfigError) and "Sparse gradients" in str(e) for e in errors)
    assert all("Sparse gradients" in str(e) for e in errors)


def test_an_interruption_ends_all(ranks):
    class Interrupt(Callback):
        def on_batch_begin(self, run, state):
            if run.global_step == 4:
                raise KeyboardInterrupt

    def one(group):
        run = made()
        with pytest.raises(KeyboardInterrupt):
            train(run, shared(run, {"interrupt": Interrupt()}, group))

    assert ranks(one) == [None, None]


def test_a_process_alone_gets_its_callbacks_and_its_run_as_they_are(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    run, given = made(), {"ema": callback("ema")}
    batches, objective = run.batches, run.objective

    def never():
        raise AssertionError("asked for without need")

    with data_parallel(run, given, never) as callbacks:
        assert callbacks == given
    assert run.batches is batches and run.objective is objective


def test_scores_of_training_rows_that_no_process_has_are_refused(ranks):
    def one(group):
        run = made()
        run.training = TrainScores(scorer=lambda output, places: {})
        with pytest.raises(ConfigError, match="its own share") as caught:
            shared(run, {}, group)
        return caught.value.mend

    assert ranks(one) == ['torch_model(metrics_train_from="clean")'] * 2
