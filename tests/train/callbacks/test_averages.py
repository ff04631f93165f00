"""EMA and SWA: averages of weights, and where they stand in for the weights."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from mlgraph import ConfigError
from mlgraph.train.callback import ordered
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.callbacks.known import callback
from mlgraph.train.loop import train


def same(one, two):
    return list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)


def watching(event, look, weight=0.0):
    seen = []
    return seen, Functions(weight=weight, **{event: lambda run: seen.append(look(run))})


def weights(run):
    return copy.deepcopy(run.network.state_dict())


@pytest.mark.parametrize("use_buffers", [False, True])
def test_the_exponential_average_is_torchs(make_run, use_buffers):
    run = make_run()
    theirs = AveragedModel(
        run.network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=use_buffers
    )
    follow = Functions(on_batch_end=lambda run: theirs.update_parameters(run.network))
    train(run, ordered([callback("ema", decay=0.9, use_buffers=use_buffers), follow]))
    expected = theirs.module.state_dict()
    for name, tensor in run.network.state_dict().items():
        if name != "1.num_batches_tracked":
            torch.testing.assert_close(tensor, expected[name])


def test_validation_is_of_the_average_and_training_of_the_network(make_run):
    before, watch_before = watching("on_batch_end", weights)
    validated, watch_validated = watching("on_valid_batch_begin", weights, weight=600)
    after, watch_after = watching("on_epoch_end", weights, weight=1e6)
    chosen = callback("ema", decay=0.9)
    train(make_run(), ordered([chosen, watch_before, watch_validated, watch_after]))
    # Validation is in eval mode: nothing but the average moves the weights in between.
    assert not torch.equal(validated[0]["0.weight"], before[2]["0.weight"])
    assert same(after[0], before[2])
    plain, watch_plain = watching("on_batch_end", weights)
    train(make_run(), [watch_plain])
    assert all(map(same, before, plain))


def test_buffers_are_the_networks_unless_they_are_averaged(make_run):
    plain = train(make_run())
    run = make_run()
    train(run, [callback("ema", decay=0.9)])
    assert torch.equal(run.network[1].running_mean, plain.network[1].running_mean)
    run = make_run()
    train(run, [callback("ema", decay=0.9, use_buffers=True)])
    assert not torch.equal(run.network[1].running_mean, plain.network[1].running_mean)
    assert torch.equal(run.network[1].num_batches_tracked, plain.network[1].num_batches_tracked)


def test_early_stopping_ends_with_the_average_it_found_best(make_run):
    validated, watch = watching("on_valid_batch_end", weights, weight=600)
    run = make_run(rows=10, epochs=6)
    stop = callback("early_stopping", patience=9)
    train(run, ordered([callback("ema", decay=0.5), stop, watch]))
    batches = run.validation.batches.n_batches
    best = validated[(run.best_epoch - 1) * batches]
    assert same(run.network.state_dict(), best)


def test_with_accumulation_whole_steps_are_averaged(make_run):
    run = make_run(accumulate=3, epochs=1)
    train(run, [callback("ema", decay=0.9)])
    assert run.states["ema"].count == 1


def test_a_decay_is_a_share():
    with pytest.raises(ConfigError, match=r"decay=1\.5"):
        callback("ema", decay=1.5)


# SWA


def test_the_plain_average_is_torchs_with_statistics_found_anew(make_run):
    run = make_run()
    theirs = AveragedModel(run.network)

    def follow(run):
        if run.epoch >= 2:
            theirs.update_parameters(run.network)

    train(run, ordered([callback("swa", begin=2), Functions(on_epoch_end=follow)]))
    expected = theirs.module
    expected[2].eval()
    update_bn([batch.inputs[0] for batch in run.batches.epoch()], expected)
    for name, tensor in run.network.state_dict().items():
        torch.testing.assert_close(tensor, expected.state_dict()[name])


def test_statistics_are_left_alone_when_asked_and_momenta_always(make_run):
    plain = train(make_run())
    run = make_run()
    train(run, [callback("swa", begin=2, update_norm=False)])
    assert torch.equal(run.network[1].running_mean, plain.network[1].running_mean)
    run = make_run()
    train(run, [callback("swa", begin=2)])
    assert run.network[1].momentum == 0.1
    assert not torch.equal(run.network[1].running_mean, plain.network[1].running_mean)


def test_before_its_epoch_nothing_is_averaged(make_run):
    plain = train(make_run())
    run = make_run()
    train(run, [callback("swa", begin=9)])
    assert same(run.network.state_dict(), plain.network.state_dict())


def test_the_rate_goes_to_the_one_asked_for(make_run):
    seen, watch = watching("on_batch_end", lambda run: run.optimizer.param_groups[0]["lr"])
    chosen = callback("swa", begin=2, lr=0.01, anneal_epochs=2, anneal_strategy="linear")
    train(make_run(), ordered([chosen, watch]))
    assert seen[::3] == pytest.approx([0.05, 0.03, 0.01, 0.01])
    seen, watch = watching("on_batch_end", lambda run: run.optimizer.param_groups[0]["lr"])
    train(make_run(), ordered([callback("swa", begin=3, lr=0.01, anneal_epochs=0), watch]))
    assert seen[::3] == pytest.approx([0.05, 0.05, 0.01, 0.01])


def test_a_network_without_batch_normalisation_needs_no_statistics(make_run):
    run = make_run(network=nn.Linear(3, 1))
    train(run, [callback("swa", begin=1)])
    assert run.states["swa"].averages.count == 4


def test_weights_that_others_change_at_the_end_of_an_epoch_stay_changed(make_run):
    seen = []

    def zero(run):
        run.network[0].bias.data.zero_()

    def look(run):
        seen.append(float(run.network[0].bias.detach().abs().sum()))

    others = [Functions(on_epoch_end=zero), Functions(on_epoch_begin=look)]
    train(make_run(epochs=4), ordered([callback("ema", decay=0.9), *others]))
    assert seen[1:] == [0.0] * 3
