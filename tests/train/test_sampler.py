"""Samplers: what they draw, and that it depends on seed and epoch only."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.utils import data as torch_data

from mlgraph import ConfigError, DataError, Sampler, Task, callback, load, nn, po, sampler
from mlgraph.core.entry import node_seed
from mlgraph.data.batch import TensorBatches
from mlgraph.errors import UnknownKeyError
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.loop import order_seed
from mlgraph.train.sampler import BatchSampler, Rows, batch_sampler_of, sampler_of
from mlgraph.train.sampling import Sampling


def rows(n=60, size=10, weights=None, share=0.2):
    codes = (torch.arange(n) < share * n).long()
    x = torch.arange(n, dtype=torch.float32).unsqueeze(1)
    return Rows(TensorBatches((x,), None, weights, size), codes, ("no", "yes"))


def drawn(given, of=None, seed=1, epoch=1):
    order, sizes = Sampling.of(sampler_of(given), of or rows()).draw(seed, epoch)
    return order, sizes


def task(n=40):
    x = np.random.default_rng(0).normal(size=(n, 2))
    y = np.where(np.arange(n) < n / 4, "yes", "no")
    return Task({"a": x[:, 0], "b": x[:, 1], "y": y}, target="y")


def graph(*callbacks, **options):
    given = {"epochs": 2, "progress": False, **options}
    return nn("linear") >> po("torch_callbacks", list(callbacks)) >> po("torch_model", **given)


def seen(fit_task, **options):
    """The first feature of the rows of every step."""
    steps = []
    watch = Functions(on_batch_end=lambda run: steps.append(run.batch.inputs[0][:, 0].tolist()))
    graph(watch, **options).fit(fit_task, seed=3)
    return steps


# The predefined ones


def test_random_is_what_shuffling_does():
    assert seen(task(), sampler="random") == seen(task())
    assert seen(task(), sampler="sequential") == seen(task(), shuffle=False)


def test_a_loop_written_by_hand_draws_the_same():
    seed = node_seed(3, "torch_model", "fit")
    x = torch.tensor(task().to_numpy()[0][:, 0].astype(np.float32))
    chosen = sampler("weighted")
    places = Rows(
        TensorBatches((x,), None, None, 32),
        torch.tensor(task().target_codes()).long(),
        ("no", "yes"),
    )
    steps = []
    for epoch in (1, 2):
        draws = torch.Generator().manual_seed(order_seed(seed, epoch))
        steps += [x[part].tolist() for part in chosen.order(places, draws).split(32)]
    assert seen(task(), sampler=chosen) == steps


@pytest.mark.parametrize("key", ["random", "stratified", "weighted"])
def test_draws_depend_on_seed_and_epoch_only(key):
    order, _ = drawn(key)
    torch.rand(3)
    assert torch.equal(order, drawn(key)[0])
    assert not torch.equal(order, drawn(key, seed=2)[0])


@pytest.mark.parametrize("key", ["random", "stratified", "sequential"])
def test_every_row_comes_once(key):
    assert sorted(drawn(key)[0].tolist()) == list(range(60))


def test_balanced_classes_come_equally_often():
    order, _ = drawn(sampler("weighted", frac=100.0))
    assert len(order) == 6000
    assert rows().codes[order].double().mean().item() == pytest.approx(0.5, abs=0.03)


def test_weights_by_class_and_by_row_are_those_given():
    order, _ = drawn(sampler("weighted", weights={"no": 0.0, "yes": 2.0}))
    assert bool(rows().codes[order].all())
    given = [0.0] * 59 + [1.0]
    assert set(drawn(sampler("weighted", weights=given))[0].tolist()) == {59}


def test_without_replacement_no_row_comes_twice_and_heavy_ones_come_first():
    weights = torch.ones(60)
    weights[:30] = 1000.0
    chosen = sampler("weighted", weights="task", replacement=False, frac=0.5)
    order, _ = drawn(chosen, rows(weights=weights))
    assert len(set(order.tolist())) == len(order) == 30
    assert (order < 30).sum() > 25


def test_rows_that_cannot_be_drawn_are_refused():
    with pytest.raises(ConfigError, match="frac below 1"):
        sampler("weighted", replacement=False)
    with pytest.raises(DataError, match="59 weights for 60 rows"):
        drawn(sampler("weighted", weights=[1.0] * 59))
    with pytest.raises(DataError, match="cannot be drawn by these weights"):
        drawn(sampler("weighted", weights=[0.0] * 60))
    with pytest.raises(DataError, match="30 rows cannot be drawn"):
        few = [1.0] * 5 + [0.0] * 55
        drawn(sampler("weighted", weights=few, replacement=False, frac=0.5))
    with pytest.raises(ConfigError, match="not those of the classes") as caught:
        drawn(sampler("weighted", weights={"no": 1.0, "yess": 2.0}))
    assert "'yes'" in caught.value.mend
    with pytest.raises(DataError, match="they have none"):
        drawn(sampler("weighted", weights="task"))


@pytest.mark.parametrize("size", [7, 10, 20])
@pytest.mark.parametrize("seed", range(5))
def test_stratified_batches_have_the_proportions_of_all(size, seed):
    order, sizes = drawn("stratified", rows(size=size, share=0.3), seed=seed)
    codes = rows(share=0.3).codes[order]
    for part in codes.split(sizes):
        assert abs(int(part.sum()) - 0.3 * len(part)) <= 2


def test_classes_are_needed_where_rows_are_drawn_by_them():
    regression = Task({"a": [1.0, 2.0], "y": [1.0, 2.0]}, target="y")
    for key in ("stratified", "weighted"):
        for act in (graph(sampler=key).fit, graph(sampler=key).check):
            with pytest.raises(DataError, match="needs classes"):
                act(regression)


def test_the_loss_does_not_weigh_what_was_drawn_by_weight():
    weights = np.linspace(0.1, 3.0, 40)
    weighed = task().with_weight(weights)
    batches = []
    watch = Functions(on_batch_end=lambda run: batches.append(run.batch.weights))
    graph(watch, sampler=sampler("weighted", weights="task")).fit(weighed, seed=1)
    assert batches and all(found is None for found in batches)
    batches.clear()
    graph(watch, sampler="random").fit(weighed, seed=1)
    assert all(found is not None for found in batches)


def test_rows_of_weight_zero_are_never_drawn():
    weights = np.r_[np.zeros(10), np.ones(30)]
    steps = seen(task().with_weight(weights), sampler="weighted", metrics_train="accuracy")
    absent = set(task().to_numpy()[0][:10, 0].astype(np.float32).tolist())
    assert not absent & {value for step in steps for value in step}


# How long an epoch is


def test_losses_steps_and_schedules_follow_the_length():
    rates = []
    watch = Functions(on_batch_end=lambda run: rates.append(run.steps_per_epoch))
    chosen = sampler("weighted", frac=0.5)
    fitted = graph(watch, callback("lr_one_cycle", max_lr=0.1), sampler=chosen, batch_size=8).fit(
        task(), seed=1
    )
    assert rates == [3] * 6  # 20 rows, twice
    assert fitted.history.num_rows == 2


def test_drop_last_and_merging_act_on_what_is_drawn():
    chosen = sampler("weighted", frac=0.525)  # 21 of 40 rows
    assert [len(s) for s in seen(task(), sampler=chosen, batch_size=10)][:3] == [10, 10, 1]
    dropped = seen(task(), sampler=chosen, batch_size=10, drop_last=True)
    assert [len(s) for s in dropped] == [10, 10] * 2
    norm = nn("batch_norm1d") >> graph(sampler=chosen, batch_size=10)
    assert norm.fit(task(), seed=1).history.num_rows == 2


class Lies(Sampler):
    gives: int = 3

    def order(self, rows, generator):
        return torch.zeros(self.gives, dtype=torch.int64)


class Endless(torch_data.Sampler):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return 5

    def __iter__(self):
        while True:
            yield 0


class Unending(Endless):
    __len__ = None


@pytest.mark.parametrize("chosen", [Lies(), Lies(gives=70), Endless])
def test_a_length_that_lies_is_an_error_that_says_so(chosen):
    for act in (graph(sampler=chosen).fit, graph(sampler=chosen).check):
        with pytest.raises(DataError, match=r"The sampler said .* rows, and gave"):
            act(task())


def test_a_length_is_needed():
    with pytest.raises(ConfigError, match="has no length"):
        graph(sampler=lambda rows: iter([1])).fit(task())
    with pytest.raises(DataError, match="no rows to train on"):
        graph(sampler=lambda rows: []).fit(task())


@pytest.mark.parametrize(
    ("given", "word"),
    [([0, 40], "gave row 40"), ([-1], "row -1"), ([0.5], "no places"), (["u"], "no places")],
)
def test_places_are_those_of_rows(given, word):
    with pytest.raises(DataError, match=word):
        graph(sampler=lambda rows: given).fit(task())


# Those of torch


class Global(torch_data.Sampler):
    """Draws from every global stream."""

    def __init__(self, data):
        self.n = len(data)

    def __len__(self):
        return self.n

    def __iter__(self):
        first = [int(np.random.randint(self.n)), random.randrange(self.n)]
        return iter([*first, *torch.randint(self.n, (self.n - 2,)).tolist()])


@pytest.mark.parametrize("chosen", [torch_data.RandomSampler, torch_data.SequentialSampler, Global])
def test_samplers_of_torch_draw_by_seed_and_epoch_and_leave_the_streams_alone(chosen):
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    order, _ = drawn(chosen)
    assert torch.equal(order, drawn(chosen)[0])
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()
    changes = not torch.equal(order, drawn(chosen, seed=2)[0])
    assert changes == (chosen is not torch_data.SequentialSampler)


def test_a_function_sees_the_rows():
    def heavy(data):
        weights = torch.where(data.codes == 1, 1.0, 0.0)
        assert data[3].inputs[0].tolist() == [[3.0]]
        return torch_data.WeightedRandomSampler(weights, len(data))

    order, _ = drawn(heavy)
    assert len(order) == 60 and bool(rows().codes[order].all())


def test_epochs_are_told():
    class Told(torch_data.Sampler):
        def __init__(self, data):
            self.epoch = 0

        def set_epoch(self, epoch):
            self.epoch = epoch

        def __len__(self):
            return 1

        def __iter__(self):
            return iter([self.epoch])

    assert [drawn(Told, epoch=epoch)[0].tolist() for epoch in (1, 7)] == [[1], [7]]


def test_an_instance_is_refused_with_the_reason():
    made = torch_data.RandomSampler(range(40))
    with pytest.raises(ConfigError, match="made already") as caught:
        graph(sampler=made)
    assert "pass the class RandomSampler" in caught.value.mend
    with pytest.raises(ConfigError, match="made already"):
        graph(batch_sampler=torch_data.BatchSampler(made, 3, False))


def test_what_is_no_sampler_is_refused():
    with pytest.raises(UnknownKeyError, match="'stratifed'") as caught:
        graph(sampler="stratifed")
    assert "stratified" in caught.value.mend
    with pytest.raises(ConfigError, match="3 is not a sampler"):
        graph(sampler=3)
    with pytest.raises(ConfigError, match="not a batch sampler"):
        graph(batch_sampler=sampler("random"))


# Whole batches


class Pairs(BatchSampler):
    size: int = 2

    def length(self, rows):
        return len(rows) // self.size

    def batches(self, rows, generator):
        order = torch.randperm(len(rows), generator=generator)
        return order[: self.length(rows) * self.size].split(self.size)


def test_a_batch_sampler_gives_the_batches():
    steps = seen(task(), batch_sampler=Pairs(size=4), shuffle=False)
    assert [len(step) for step in steps] == [4] * 20
    uneven = seen(task(), batch_sampler=lambda rows: [[0, 1, 2], [5]])
    assert [len(step) for step in uneven] == [3, 1, 3, 1]


def test_the_loss_of_an_epoch_counts_rows_of_uneven_batches():
    options = {"epochs": 1, "metrics_train": "log_loss"}
    fitted = graph(batch_sampler=lambda rows: [[0, 1, 2], [5]], **options).fit(task(), seed=1)
    row = fitted.history.to_pylist()[0]
    assert row["train_loss"] == pytest.approx(row["train_log_loss"], rel=1e-6)


@pytest.mark.parametrize("other", [{"batch_size": 8}, {"drop_last": True}, {"sampler": "random"}])
def test_what_a_batch_sampler_overrules_is_refused(other):
    with pytest.raises(ConfigError, match="batch_sampler gives the batches"):
        graph(batch_sampler=Pairs(), **other)


@pytest.mark.parametrize(("batches", "word"), [([[0], []], "0 rows"), ([[0, 1], [2]], "1 row")])
def test_batches_of_too_few_rows_are_refused(batches, word):
    norm = nn("batch_norm1d") >> graph(batch_sampler=lambda rows: batches)
    with pytest.raises(DataError, match=f"a batch of {word}"):
        norm.fit(task())


# Values


def test_samplers_are_values_that_are_saved_with_the_graph(tmp_path):
    chosen = sampler("weighted", weights={"no": 1.0, "yes": 3.0})
    for given in (chosen, "stratified", torch_data.RandomSampler):
        made = graph(sampler=given)
        made.save(tmp_path / "graph")
        assert load(tmp_path / "graph") == made
        assert hash(load(tmp_path / "graph")) == hash(made)


def test_batch_samplers_may_be_named_by_class():
    assert batch_sampler_of(Pairs) == Pairs()


def test_a_sampler_with_the_key_of_another_one_is_refused():
    with pytest.raises(ConfigError, match="cannot be the sampler 'random'"):
        type("Random", (Sampler,), {"order": lambda self, rows, generator: None})
    assert sampler("random").order(range(3), torch.Generator()).shape == (3,)
