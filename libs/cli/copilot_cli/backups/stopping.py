"""SIGTERM, as Kubernetes sends it, ends what is under way as Ctrl-C does: nothing half done stays."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOOK_SECONDS = 0.5


@contextmanager
def on_sigterm() -> Iterator[None]:
    """Raises SystemExit in the main thread, within half a second also where that waits for another program."""
    with _handling(lambda number, _: _exit(number)), _interrupted():
        yield


@contextmanager
def stop_event() -> Iterator[threading.Event]:
    """Set by SIGTERM and SIGINT."""
    stop = threading.Event()
    with _handling(lambda *_: stop.set(), signal.SIGINT):
        yield stop


@contextmanager
def _handling(handler: "signal._HANDLER", *also: signal.Signals) -> Iterator[None]:
    """Signals are of the main thread alone: elsewhere nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, *also)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _interrupted() -> Iterator[None]:
    """Python's handlers run between its own steps. A signal that comes after the last of them and before a system call
    begins does not end the wait in it: a timer does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS, _LOOK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _exit(number: int) -> None:
    raise SystemExit(128 + number)
