"""Ctrl-C while a network is trained: once ends the training, twice aborts it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class CtrlC:
    """Hears Ctrl-C in the place of Python, in the main thread and while nobody else does.

    The first one is a KeyboardInterrupt at once, but where it would leave something half done it
    waits until somebody asks for it. Any further one is a KeyboardInterrupt at once.

    >>> with CtrlC().heard() as ctrl_c, ctrl_c.deferred():
    ...     ctrl_c.count
    0
    """

    def __init__(self) -> None:
        self.count = 0
        self._waits = False
        self._is_due = False

    @contextmanager
    def heard(self) -> Iterator[CtrlC]:
        """Hear Ctrl-C inside."""
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield self
            return
        signal.signal(signal.SIGINT, self._hear)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the first one wait while this block is run."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def raise_if_due(self) -> None:
        """Raise the first one, if it had to wait.

        Raises:
            KeyboardInterrupt: It had to wait.
        """
        if self._is_due:
            self._is_due = False
            raise KeyboardInterrupt

    def accept(self) -> None:
        """Take a KeyboardInterrupt as the first one.

        Raises:
            KeyboardInterrupt: It was a further one.
        """
        if self.count > 1:
            raise KeyboardInterrupt
        self.count = 1

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self._is_due = self.count == 1 and self._waits
        if not self._is_due:
            raise KeyboardInterrupt
