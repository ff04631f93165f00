"""Compiled networks compute what the network computes, and nobody else knows of them."""

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from mlgraph import ConfigError, Task, callback, load, nn, po, sel
from mlgraph.train import compiled as module
from mlgraph.train.callbacks.functions import Functions
from mlgraph.train.compiled import backend_of, compiled

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def task(n=60):
    draws = np.random.default_rng(0)
    x = draws.normal(size=(n, 3))
    columns = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]}
    return Task({**columns, "y": x.sum(1) + 0.1 * draws.normal(size=n)}, target="y")


def graph(compile, *callbacks, optimizer="adamw", **options):
    trainer = {"epochs": 4, "batch_size": 16, "progress": False, **options}
    network = nn("linear", 8) >> nn("batch_norm1d") >> nn("relu") >> nn("dropout") >> nn("head")
    return (
        network
        >> po("torch_optimizer", optimizer, lr=0.01)
        >> po("torch_callbacks", list(callbacks))
        >> po("torch_model", compile=compile, **trainer)
    )


def fit(compile, *callbacks, **options):
    return graph(compile, *callbacks, **options).fit(task(), valid=0.25, seed=1)


def same(one, other):
    assert one.history.equals(other.history)
    for name, tensor in other.trained().tensors.items():
        assert torch.equal(one.trained().tensors[name], tensor), name
    assert np.array_equal(one.predict(task()).response, other.predict(task()).response)


def graphs():
    """How many graphs were compiled since the last call."""
    found = counters["stats"]["unique_graphs"]
    counters.clear()
    return found


# Equal to the network as it is


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_training_validation_and_prediction_are_those_of_the_network(backend, precision):
    plain = fit("off", precision=precision)
    assert graphs() == 0
    other = fit(backend, precision=precision)
    assert graphs() > 0
    one, two = (f.history["train_loss"].to_pylist() for f in (other, plain))
    assert one == pytest.approx(two, rel=1e-4)
    if backend == "eager":
        same(other, plain)
    assert list(other.trained().tensors) == list(plain.trained().tensors)


@pytest.mark.slow
def test_the_compiler_of_torch_trains_to_the_same_numbers():
    # Not with AdamW: batch norm takes all effect from the bias before it, and Adam makes steps of
    # full length of what is left of its gradient by rounding. Nor with dropout, whose draws differ.
    off, on = (
        graph(compile, optimizer="sgd").with_params(dropout__p=0.0).fit(task(), valid=0.25, seed=1)
        for compile in ("off", "on")
    )
    for name in ("train_loss", "valid_loss"):
        assert on.history[name].to_pylist() == pytest.approx(
            off.history[name].to_pylist(), rel=1e-4
        )
    assert on.predict(task()).response == pytest.approx(off.predict(task()).response, rel=1e-3)


# No more code than needed


def test_training_and_validation_need_one_graph_each_whatever_the_batches():
    fitted = fit("eager", epochs=5)  # 45 rows: batches of 16, 16, 13; and 15 in validation
    assert graphs() == 2
    for rows in (60, 59, 17, 2):
        fitted.predict(task().take(range(rows)))
    assert graphs() == 1


def test_batches_of_many_sizes_need_one_graph():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    code = compiled(network, "aot_eager", must=True)
    for rows in range(2, 40):
        assert code(torch.ones(rows, 2)).shape == (rows, 3)
    assert graphs() == 1


def test_the_code_of_a_prediction_is_kept_for_the_next():
    fitted = fit("eager")
    fitted.predict(task())
    graphs()
    first = fitted.predict(task()).response
    assert graphs() == 0
    assert np.array_equal(
        fitted.with_params(torch_model__compile="off").predict(task()).response, first
    )


# Callbacks, checkpoints, files


def test_weights_that_are_unfrozen_are_trained_by_compiled_code_too():
    plan = [{"weights": sel.match("linear"), "epoch": 2}, {"weights": sel.all(), "epoch": 3}]
    unfreeze = callback("unfreeze", starting_weights=sel.match("head"), unfreeze=plan)
    same(fit("eager", unfreeze), fit("off", unfreeze))


def test_averaged_and_restored_weights_are_those_that_compiled_code_uses():
    options = {"patience": 2, "epochs": 8}
    present = [callback("ema", decay=0.8), callback("swa", begin=3)]
    same(fit("eager", *present, **options), fit("off", *present, **options))


def test_a_hook_on_the_network_is_called():
    seen = []

    def watch(run):
        run.network.register_forward_hook(lambda *_: seen.append(1))

    fit("eager", Functions(on_train_begin=watch), epochs=1)
    assert len(seen) == 4


def test_a_compiled_run_goes_on_from_a_checkpoint_bit_for_bit_and_without_the_compiler(tmp_path):
    saving = callback("checkpoint", path=str(tmp_path), batches=1)
    whole = fit("aot_eager", saving)
    for rest in ("aot_eager", "off"):
        for last in sorted(tmp_path.iterdir())[7:]:
            last.unlink()
        saved = torch.load(max(tmp_path.iterdir()), weights_only=True)
        assert not any("_orig_mod" in name for name in saved["run"]["network"])
        again = fit(rest, saving, resume=True)
        if rest == "aot_eager":
            same(again, whole)
        assert again.trained().epochs == 4


def test_names_and_files_do_not_know_of_it(tmp_path):
    off, on = fit("off"), fit("eager")
    assert list(on.trained().tensors) == list(off.trained().tensors)
    assert list(on.module().state_dict()) == list(off.module().state_dict())
    on.save(tmp_path / "model.mlgraph")
    again = load(tmp_path / "model.mlgraph")
    assert np.array_equal(again.predict(task()).response, off.predict(task()).response)
    on.export_torch(tmp_path / "model.pt2")
    exported = torch.export.load(tmp_path / "model.pt2").module()
    x = torch.ones(5, 3)
    assert torch.equal(exported(x), off.module()(x))


# When it is on


def test_auto_is_on_where_it_pays():
    many = module.WORTHWHILE
    assert backend_of("auto", CUDA, many) == "inductor"
    assert backend_of("auto", CUDA, many - 1) is None
    assert backend_of("auto", CPU, many) is None
    assert backend_of("on", CPU, 1) == "inductor"
    assert backend_of("off", CUDA, many) is None
    assert backend_of("eager", CPU, 1) == "eager"


@pytest.fixture
def no_compiler(monkeypatch):
    """The compiler of torch where there is no compiler of C++."""
    from torch._inductor import config

    # As if there were a GPU, and many steps.
    monkeypatch.setattr(
        "mlgraph.train.trainer.backend_of", lambda name, *_: None if name == "off" else "inductor"
    )
    with config.patch({"cpp.cxx": (None, "/nowhere/c++")}):
        yield


def test_auto_goes_on_without_a_compiler_after_one_warning(no_compiler):
    plain = fit("off")
    with pytest.warns(UserWarning, match="not compiled, and runs as it is") as caught:
        fitted = fit("auto")
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="not compiled") as caught:
        same(fitted, plain)
        fitted.predict(task())
    assert len(caught) == 1


def test_what_was_asked_for_and_cannot_be_compiled_is_an_error(no_compiler):
    with pytest.raises(ConfigError, match="cannot be compiled") as caught:
        fit("on")
    assert "auto" in caught.value.mend


def test_an_error_of_the_network_is_its_own():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        compiled(torch.nn.Linear(3, 1), "eager", must=True)(torch.ones(2, 5))


def test_a_compiler_that_does_not_exist_is_refused_before_training():
    with pytest.raises(ConfigError, match="No compiler is called 'inducto'") as caught:
        graph("inducto").check(task())
    assert "inductor" in caught.value.mend


def test_it_may_change_after_fitting():
    fitted = fit("off")
    assert graphs() == 0
    fitted.with_params(torch_model__compile="eager").predict(task())
    assert graphs() == 1
