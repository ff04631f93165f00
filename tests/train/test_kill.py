"""A fit that is killed at any moment, and fitted again, is the fit that was never killed.

What is left of a killed fit lies in its folder, and from there it is read at which moment it was:
before the first checkpoint, while a file was written, or so many batches from the beginning.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from mlgraph.core.files import DRAFT
from mlgraph.train.checkpoint import checkpoints, read

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork"),
]
KILLS = 50


class Server:
    """The process that forks fits."""

    def __init__(self, folder: Path) -> None:
        self.result = folder / "result.pt"
        self.errors = (folder / "errors.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(Path(__file__).with_name("killed.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def ask(self, path: Path, kind: Kind, moment: int = 0, by: str | None = None) -> dict[str, int]:
        """A fit in this folder, to its end or to its moment."""
        order = {**attrs.asdict(kind), "path": str(path), "result": str(self.result)}
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({**order, "moment": moment, "by": by}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, int] = json.loads(self.process.stdout.readline() or '{"code": 1}')
        if answer["code"] not in (0, -9):
            self.errors.seek(0)
            raise AssertionError(self.errors.read())
        return answer

    def finished(self, path: Path, kind: Kind) -> dict[str, Any]:
        """All that is left of a fit that nobody kills."""
        assert self.ask(path, kind)["code"] == 0
        found: dict[str, Any] = torch.load(self.result, weights_only=True)
        self.result.unlink()
        return found

    def close(self) -> None:
        """End it."""
        self.process.communicate()
        self.errors.close()


@attrs.frozen
class Kind:
    """How often a fit saves, and how many files it keeps."""

    batches: int | None
    keep: int | None


KINDS = (Kind(None, None), Kind(1, 3), Kind(None, 1), Kind(2, None))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The fit that was never killed."""
    return server.finished(tmp_path_factory.mktemp("whole") / "run", KINDS[0])


@attrs.frozen
class Left:
    """What a killed fit left behind."""

    files: int
    drafts: int
    batches: int

    @classmethod
    def found(cls, path: Path) -> Left:
        files = checkpoints(path)
        drafts = list(path.glob(f".*{DRAFT}"))
        last = read(files[-1])["run"]["global_step"] if files else 0
        return cls(len(files), len(drafts), last)


def test_a_fit_killed_at_any_of_fifty_moments_is_resumed_bit_for_bit(server, whole, tmp_path):
    random = np.random.default_rng(20)
    calls = [
        server.ask(tmp_path / f"all_{i}", k, -1, "itself")["calls"] for i, k in enumerate(KINDS)
    ]
    left = []
    for attempt in range(KILLS):
        path, place = tmp_path / f"run_{attempt}", attempt % len(KINDS)
        moment = int(random.integers(calls[place]))
        by = ("itself", "server")[attempt // len(KINDS) % 2]
        assert server.ask(path, KINDS[place], moment, by)["code"] == -9
        left.append(Left.found(path))
        assert differences(server.finished(path, KINDS[place]), whole) == []
    assert_spread(left, whole["run"]["global_step"])


def test_one_fit_may_be_killed_many_times(server, whole, tmp_path):
    random = np.random.default_rng(21)
    kind, path = KINDS[1], tmp_path / "run"
    most = server.ask(tmp_path / "all", kind, -1, "itself")["calls"] // 3
    killed = 0
    while server.ask(path, kind, int(random.integers(most)), "itself")["code"] == -9:
        killed += 1
    assert killed >= 5
    assert differences(server.finished(path, kind), whole) == []


def test_the_fit_has_all_that_could_go_wrong(whole):
    epochs, best, stopped, interrupted = whole["ended"]
    memories = {id: one["state"] for id, one in whole["run"]["callbacks"].items()}
    assert 3 < best < epochs < memories["lr_one_cycle"]["total"]
    assert "did not improve" in stopped and not interrupted
    assert {"lr_one_cycle", "ema", "unfreeze", "early_stopping"} <= set(memories)
    assert memories["early_stopping"]["waited"] == 4
    assert "first.weight" in memories["unfreeze"]["names"]
    averaged, raw = (
        memories["ema"]["tensors"]["head.weight"],
        whole["run"]["network"]["head.weight"],
    )
    assert not torch.equal(averaged, raw)


def test_a_single_bit_is_a_difference(whole):
    changed = {**whole, "tensors": {n: t.clone() for n, t in whole["tensors"].items()}}
    weight = changed["tensors"]["head.weight"]
    weight.view(torch.int32)[0, 0] ^= 1
    assert differences(changed, whole) == ["/tensors/head.weight"]
    assert differences({**whole, "history": {}}, whole) == ["/history"]


def assert_spread(left: list[Left], batches: int) -> None:
    """The moments lie everywhere: this is what makes so many of them worth the time."""
    assert any(not fit.files for fit in left), "before the first checkpoint"
    assert sum(fit.drafts for fit in left) >= 3, "while a file was written"
    thirds = [min(3 * fit.batches // batches, 2) for fit in left if fit.files]
    assert min(thirds.count(third) for third in range(3)) >= 3, "in each third"


def differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """Where two results are not the same, bit for bit."""
    if isinstance(expected, torch.Tensor):
        alike = isinstance(found, torch.Tensor) and same_bits(found, expected)
        return [] if alike else [where]
    if type(found) is not type(expected):
        return [where]
    if isinstance(expected, Mapping):
        if found.keys() != expected.keys():
            return [where]
        return [
            d for key in expected for d in differences(found[key], expected[key], f"{where}/{key}")
        ]
    if isinstance(expected, (list, tuple)):
        if len(found) != len(expected):
            return [where]
        pairs = enumerate(zip(found, expected, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{where}/{i}")]
    return [] if repr(found) == repr(expected) else [where]  # of a float all digits; NaN is NaN


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    a, b = (t.contiguous().reshape(-1).view(torch.uint8) for t in (one, other))
    return torch.equal(a, b)
