"""Functions that take turns, so that whatever else the machine does slows all of them alike."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import torch


class Tick(Protocol):
    """What a runner calls after every epoch."""

    def __call__(self, loss: float) -> None:
        """Note the mean loss of the epoch, and let the others do theirs."""


class Runner:
    """One function and the seconds and losses of its epochs.

    A runner has a thread of its own, but only one of them is ever awake: this is how the loops of
    libraries, which cannot be left in the middle, can be interleaved epoch by epoch.
    """

    def __init__(
        self,
        train: Callable[[Tick], None],
        waiting: deque[threading.Semaphore],
        clock: Callable[[], float],
    ) -> None:
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self._train = train
        self._clock = clock
        self._waiting = waiting
        self._gate = threading.Semaphore(0)
        self._start = 0.0
        waiting.append(self._gate)

    def run(self) -> None:
        """Run to the end; the others go on if this one fails."""
        torch.set_num_threads(1)  # a setting of each thread
        self._wake()
        try:
            self._train(self._tick)
        finally:
            if self._waiting:
                self._waiting.popleft().release()

    def _tick(self, loss: float) -> None:
        self.seconds.append(self._clock() - self._start)
        self.losses.append(loss)
        self._waiting.append(self._gate)
        self._waiting.popleft().release()
        self._wake()

    def _wake(self) -> None:
        self._gate.acquire()
        self._start = self._clock()


def interleaved(
    functions: Mapping[str, Callable[[Tick], None]], clock: Callable[[], float]
) -> dict[str, Runner]:
    """Run all functions, one epoch each in turn. The first epoch includes what comes before it."""
    waiting: deque[threading.Semaphore] = deque()
    runners = {name: Runner(train, waiting, clock) for name, train in functions.items()}
    with ThreadPoolExecutor(len(runners)) as pool:
        futures = [pool.submit(runner.run) for runner in runners.values()]
        waiting.popleft().release()
    for future in futures:
        future.result()
    return runners
