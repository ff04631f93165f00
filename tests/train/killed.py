"""A fit that can be killed at any of its moments: a server that forks, and the fit itself.

A process that has imported everything, and has one thread only, is forked for each fit: this
takes milliseconds where a fresh one takes seconds. A moment is a number of calls and returns of
functions since the fit began, and so the same in each run: in the middle of a step, between the
opening of a file and its renaming, before the network is built.

One order per line on stdin, one answer per line on stdout, both as JSON.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import sys
import warnings
from ctypes import c_int64
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.metrics  # noqa: F401 - a fit would import it after the fork
import torch

from mlgraph import Graph, Task, callback, lazy, nn, po, sel
from mlgraph.train.checkpoint import checkpoints, read
from mlgraph.train.trained import Trained

EPOCHS = 12


def task(n: int = 120) -> Task:
    """Labels that can hardly be learned, so that early stopping has something to stop."""
    draws = np.random.default_rng(0)
    columns = {name: draws.normal(size=n) for name in "abcd"}
    noisy = columns["a"] + 2 * draws.normal(size=n)
    image = lazy(np.random.default_rng(3).random((n, 1, 3, 3), dtype=np.float32))
    return Task({**columns, "image": image, "y": np.where(noisy > 0, "yes", "no")}, target="y")


def paths() -> list[Graph]:
    """What enters the network: columns, and images that are drawn anew in each epoch."""
    draws = po("augment_random_horizontal_flip") >> po("augment_color_jitter", brightness=0.5)
    return [
        po("scale")
        >> po("ingress_num", columns=~sel.type("tensor"))
        >> nn("linear", 12, id="first"),
        draws >> po("ingress_tensor", columns="image") >> nn("flatten") >> nn("linear", 4),
    ]


def graph(path: str, batches: int | None, keep: int | None) -> Graph:
    """Dropout, batch norm, one cycle, EMA, a layer that is thawed, early stopping, checkpoints."""
    body = nn("batch_norm1d") >> nn("relu") >> nn("dropout", 0.3) >> nn("linear", 8) >> nn("head")
    callbacks = [
        callback("lr_one_cycle", max_lr=0.05),
        callback("ema", decay=0.9),
        callback("unfreeze", starting_weights=~sel.match("^first"), unfreeze=[THAW]),
        callback("checkpoint", path=path, batches=batches, keep=keep),
    ]
    options = {"epochs": EPOCHS, "batch_size": 16, "patience": 4, "progress": False}
    return (
        paths()
        >> nn("merge_cat")
        >> body
        >> po("torch_optimizer", "adamw", lr=0.01)
        >> po("torch_callbacks", callbacks)
        >> po("torch_model", **options, metrics=["accuracy"], monitor="loss", resume=True)
    )


THAW = {"weights": sel.match("^first"), "epoch": 3}


def fit(path: str, batches: int | None, keep: int | None) -> dict[str, Any]:
    """What is left of the fit: all that was learned, remembered, written down and predicted."""
    random.seed(1)  # a script that wants to be repeated does so, and a fork of it does not
    np.random.seed(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is incomplete, and is not used")
        fitted = graph(path, batches, keep).fit(task(), valid=0.25, seed=3)
    trained: Trained = fitted.trained()
    return {
        "tensors": {name: torch.as_tensor(t) for name, t in trained.tensors.items()},
        "history": trained.history.to_pydict(),
        "ended": [trained.epochs, trained.best_epoch, trained.stopped, trained.interrupted],
        "probabilities": torch.from_numpy(np.array(fitted.predict(task()).prob)),
        "run": read(checkpoints(Path(path))[-1])["run"],
    }


def child(order: dict[str, Any], calls: Any) -> None:
    """Fit; at its moment end all at once, or go on until somebody else ends it."""
    moment = order["moment"] if order["by"] == "itself" else -1

    def count(frame: Any, event: str, argument: Any) -> None:
        calls.value += 1
        if calls.value == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count if order["by"] else None)
    found = fit(order["path"], order["batches"], order["keep"])
    sys.setprofile(None)
    torch.save(found, order["result"])


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Fork a fit, kill it if it is to be killed from outside, and say how it ended."""
    calls = RawValue(c_int64, 0)
    pid = os.fork()
    if pid == 0:
        try:
            child(order, calls)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    flags = 0
    if order["by"] == "server":
        while calls.value < order["moment"] and not flags:
            flags = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return {"code": os.waitstatus_to_exitcode(status), "calls": calls.value}


def threads() -> set[str]:
    """The names of the other threads of this process; that of Arrow's memory pool may be forked."""
    others = (task for task in Path("/proc/self/task").iterdir() if int(task.name) != os.getpid())
    return {(task / "comm").read_text().strip() for task in others}


def main() -> None:
    """Answer orders."""
    torch.set_num_threads(1)
    graph("nowhere", None, None).with_params(torch_model__resume=False).check(task(), valid=0.25)
    gc.collect()
    gc.freeze()
    assert threads() <= {"jemalloc_bg_thd"}, "of all threads only this one survives a fork"
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
