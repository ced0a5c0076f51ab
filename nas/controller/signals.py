"""Stop a search on Ctrl-C or SIGTERM without losing a result."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from nas.errors import NasError
from nas.training.task import ignore

DRAIN = 5.0
"""Seconds that running trials get after SIGTERM, which cluster managers follow with SIGKILL."""
AGAIN = 1.0
"""Seconds after which a signal interrupts once more, because callbacks of libraries lose exceptions."""


class Interrupted(NasError):
    """The search was stopped by a signal; every finished trial is recorded."""

    def __init__(self, signum: int, *, hint: str = "") -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}", hint=hint)
        self.exit_code = 128 + signum


class Stop:
    """A request to start no more trainings; `signal` is 0 until there is one.

    on_request: called at the first request, maybe in a signal handler.
    """

    def __init__(self) -> None:
        self.signal = 0
        self.on_request: Callable[[], None] = ignore

    def request(self, signum: int = signal.SIGINT) -> None:
        if not self.signal:
            self.signal = signum
            self.on_request()


@contextmanager
def stop_on_signals(stop: Stop, drain: float = DRAIN) -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM into a request on `stop`, and the second into a KeyboardInterrupt.

    `drain` seconds after SIGTERM a KeyboardInterrupt follows by itself. Outside the main thread, where
    Python delivers no signals, nothing is installed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.signal:
            raise KeyboardInterrupt
        stop.request(signum)
        if signum == signal.SIGTERM:
            signal.setitimer(signal.ITIMER_REAL, drain)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {signum: signal.signal(signum, handle) for signum in signals}
    try:
        yield stop
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler or signal.SIG_DFL)


@contextmanager
def interruptible(stop: Stop) -> Iterator[None]:
    """Raise Interrupted on SIGINT and SIGTERM, once everything inside is tidied up.

    The signal is noted on `stop`. `stop_on_signals` takes over while trials are trained.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        stop.signal = stop.signal or signum
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        if not _unwinding():
            raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {signum: signal.signal(signum, handle) for signum in signals}
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code == signal.SIGTERM:
            stop.signal = signal.SIGTERM  # by the handler that Ray has while it starts
        elif not stop.signal:
            raise
        raise Interrupted(stop.signal, hint="no training was running") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler or signal.SIG_DFL)


def _unwinding() -> bool:
    """Return whether what is interrupted tidies up after an earlier signal."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt | SystemExit | Interrupted):
            return True
        error = error.__context__
    return False
