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
        self._patience: float | None = None
        self._insists = False

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
    def deferred(self, patience: float | None = None) -> Iterator[None]:
        """Let the first one wait while this block is run; if given, no more than some seconds."""
        self._waits, self._patience = True, patience
        try:
            yield
        finally:
            self._waits, self._patience = False, None

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
        if self._insists:
            self._insists = False
            if self._patience is not None:
                self.raise_if_due()
            return
        self.count += 1
        self._is_due = self.count == 1 and self._waits
        if not self._is_due:
            raise KeyboardInterrupt
        if self._patience is not None:
            timer = threading.Timer(self._patience, self._insist)
            timer.daemon = True
            timer.start()

    def _insist(self) -> None:
        """Remind the main thread, also if it sleeps, of one that has waited long enough."""
        if self._is_due and self._patience is not None:
            self._insists = True
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            else:  # on Windows, where only the process can be told
                signal.raise_signal(signal.SIGINT)
