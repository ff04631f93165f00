"""Graphs in processes that torchrun starts: what they learn is what one process learns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist
from torch.nn import functional as F

from mlgraph import Task, callback, nn, po, recipe, sel
from mlgraph.train.callback import Callback
from mlgraph.train.callbacks.find_lr import find_lr

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import test_torchrun
test_torchrun.{call}
"""


def numbers(n: int = 90, **more) -> Task:
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 3))
    columns = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]}
    return Task({**columns, "y": x.sum(1) + random.normal(size=n)}, target="y", **more)


def classes(n: int = 90, k: int = 3) -> Task:
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 3))
    labels = np.array(["u", "v", "w"])[:k][np.abs(x).argmax(1) % k]
    return Task({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": labels}, target="y")


def quantities() -> Task:
    random = np.random.default_rng(0)
    x = random.normal(size=(90, 2))
    truths = {"u": x.sum(1) + random.normal(size=90), "v": x[:, 0] * x[:, 1]}
    return Task({"a": x[:, 0], "b": x[:, 1], **truths}, target=["u", "v"])


def weighed(task: Task) -> Task:
    weights = np.random.default_rng(1).uniform(0.1, 3.0, len(task))
    weights[:5] = 0.0
    return task.with_weight(weights)


def mlp(task: Task, *, layer: str = "relu", before=None, **options):
    head = nn("linear", 8) >> nn(layer) >> nn("head")
    head = head if before is None else head >> before
    trainer = {"epochs": 3, "batch_size": 16, "progress": False, **options}
    return head >> po("torch_model", **trainer), task


def mean_of_batch(output, target):
    return F.huber_loss(output, target)


def schedule():
    plan = [{"weights": sel.all(), "epoch": 2}]
    return po(
        "torch_callbacks",
        [
            callback("unfreeze", starting_weights=sel.match("head"), unfreeze=plan),
            callback("lr_one_cycle", max_lr=0.02),
            callback("ema", decay=0.9),
            callback("grad_clip", norm=1.0),
        ],
    )


SMALL = {"n_blocks": 1, "d_block": 8, "k": 4, "dropout": 0.0, "epochs": 3, "batch_size": 16}

CASES = {
    "plain": lambda: mlp(numbers(), metrics=["rmse"]),
    "a last batch of one row": lambda: mlp(numbers(108), batch_size=16),
    "no shuffle, drop_last": lambda: mlp(numbers(), shuffle=False, drop_last=True),
    "weights of rows": lambda: mlp(weighed(numbers())),
    "weights of classes": lambda: mlp(
        classes(), class_weight="balanced", metrics=["accuracy", "log_loss"]
    ),
    "a class of no weight": lambda: mlp(classes(), class_weight={"u": 1.0, "v": 0.0, "w": 2.0}),
    "two classes, all weights": lambda: mlp(weighed(classes(k=2)), class_weight=3.0),
    "accumulate": lambda: mlp(numbers(), accumulate=2),
    "accumulate and weights": lambda: mlp(
        weighed(classes()), accumulate=3, class_weight="balanced"
    ),
    "ensemble": lambda: (recipe("tabm", numbers(), **SMALL), numbers()),
    "two targets": lambda: mlp(quantities()),
    "a loss of the whole batch": lambda: mlp(
        numbers(), before=po("torch_loss", mean_of_batch), metrics=["mae"]
    ),
    "unfreeze, schedule, average, clipping": lambda: mlp(
        numbers(), before=schedule(), patience=2, metrics=["rmse"]
    ),
    "batch statistics off": lambda: mlp(numbers(), layer="layer_norm"),
}


def fitted(name: str):
    graph, task = CASES[name]()
    return graph.fit(task, valid=0.25, seed=3)


def result(name: str) -> dict:
    found = fitted(name)
    prediction = found.predict(CASES[name]()[1])
    values = prediction.response if prediction.prob is None else prediction.prob
    return {"history": found.history.to_pylist(), "values": np.asarray(values).tolist()}


# What runs in the processes -----------------------------------------------------------------------


class _Fail(Callback):
    key = "fail"
    rank: int = 1

    def on_batch_begin(self, run, state):
        if run.global_step == 4 and os.environ["RANK"] == str(self.rank):
            raise ValueError("the disk is full")


DEATHS = {("0", "0", 7), ("1", "1", 10)}  # first of one process, then of the other


class _Kill(Callback):
    """Ends the process as a fault of the machine would."""

    key = "kill"

    def on_batch_end(self, run, state):
        here = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"], run.global_step
        if here in DEATHS:
            os.kill(os.getpid(), signal.SIGKILL)


def noisy(path: str, *more: Callback):
    """Dropout, and everything that remembers something."""
    callbacks = [callback("checkpoint", path=path, batches=1), callback("ema", decay=0.9)]
    callbacks += [callback("lr_one_cycle", max_lr=0.02), *more]
    network = nn("linear", 8) >> nn("batch_norm1d") >> nn("relu") >> nn("dropout") >> nn("head")
    options = {"epochs": 4, "batch_size": 16, "patience": 3, "progress": False, "resume": True}
    return network >> po("torch_callbacks", callbacks) >> po("torch_model", **options)


def everything(folder: str) -> None:
    found = {name: result(name) for name in CASES}
    assert not dist.is_initialized()
    found["failure"] = failure()
    found["no seed"] = error_of(lambda: mlp(numbers())[0].fit(numbers()))
    found["in a group of its own"] = within_a_group()
    found["rates"] = rates()
    found["noise"] = noise(f"{folder}/whole")
    Path(folder, f"{os.environ['RANK']}.json").write_text(json.dumps(found))


def rates() -> list[float]:
    graph, task = mlp(numbers())
    return list(find_lr(graph, task, steps=12, high=0.1, seed=1).losses)


def failure() -> list[str]:
    """Errors of each process in turn, who live on."""
    graphs = [
        mlp(numbers(), before=po("torch_callbacks", [_Fail(rank=rank)]))[0] for rank in (0, 1)
    ]
    return [error_of(lambda graph=graph: graph.fit(numbers(), seed=1)) for graph in graphs]


def error_of(call) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def within_a_group() -> dict:
    dist.init_process_group("gloo")
    group = dist.group.WORLD
    found = result("plain")
    assert dist.group.WORLD is group
    dist.barrier()
    dist.destroy_process_group()
    return found


def noise(path: str, *more: Callback) -> list:
    found = noisy(path, *more).fit(numbers(), valid=0.25, seed=3)
    tensors = {name: t.tolist() for name, t in found.trained().tensors.items()}
    return [found.history.to_pylist(), tensors]


def killed(folder: str) -> None:
    found = noise(f"{folder}/run", _Kill())
    Path(folder, f"{os.environ['RANK']}.json").write_text(json.dumps(found))


# The tests ----------------------------------------------------------------------------------------


def torchrun(folder: Path, call: str, restarts: int = 0) -> subprocess.CompletedProcess:
    script = folder / "script.py"
    script.write_text(PROGRAM.format(folder=str(Path(__file__).parent), call=call))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", f"--max-restarts={restarts}", str(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("torchrun")


@pytest.fixture(scope="module")
def found(folder) -> list[dict]:
    done = torchrun(folder, f"everything({str(folder)!r})")
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", list(CASES))
def test_two_processes_have_the_curve_of_one(name, found):
    one, other = (rank[name] for rank in found)
    assert one == other
    alone = result(name)
    assert len(alone["history"]) == 3
    for row, expected in zip(one["history"], alone["history"], strict=True):
        assert row == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(one["values"], alone["values"], rtol=1e-4, atol=1e-5)


def test_a_group_that_the_script_began_is_joined_and_left_alone(found):
    for rank in found:
        assert rank["in a group of its own"] == rank["plain"]


def test_an_error_in_one_process_is_told_in_the_other(found):
    for failing, texts in enumerate(zip(*(rank["failure"] for rank in found), strict=True)):
        assert texts[failing].startswith("ValueError: the disk is full")
        assert f"Process {failing} of 2 failed" in texts[1 - failing]
        assert "ValueError: the disk is full" in texts[1 - failing]


def test_processes_without_a_common_seed_are_refused(found):
    for rank in found:
        assert rank["no seed"].startswith("StateError: The processes do not train the same.")
        assert "'seed'" in rank["no seed"]


def test_dropout_and_batch_norm_leave_all_processes_alike(found):
    assert found[0]["noise"] == found[1]["noise"]


def test_learning_rates_are_tried_with_the_losses_of_one_process(found):
    assert found[0]["rates"] == found[1]["rates"]
    assert found[0]["rates"] == pytest.approx(rates(), rel=1e-4)


def test_killed_and_resumed_is_bit_for_bit_uninterrupted(found, tmp_path):
    done = torchrun(tmp_path, f"killed({str(tmp_path)!r})", restarts=len(DEATHS))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("exitcode: -9") == len(DEATHS)
    for other in range(2):
        text = (tmp_path / f"{other}.json").read_text()
        assert json.loads(text) == found[0]["noise"]
