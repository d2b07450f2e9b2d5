"""SIGTERM, as Kubernetes sends it, ends what is under way as Ctrl-C does: nothing half done stays."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOOK_SECONDS = 0.5


@contextmanager
def on_sigterm() -> Iterator[None]:
    """Raises SystemExit in the main thread, within half a second also where that waits for another program."""
    with _handling(lambda number, _: _exit(number), signal.SIGTERM), _interrupted():
        yield


@contextmanager
def stop_event() -> Iterator[threading.Event]:
    """Set by SIGTERM and SIGINT."""
    stop = threading.Event()
    with _handling(lambda *_: stop.set(), signal.SIGTERM, signal.SIGINT):
        yield stop


@contextmanager
def _handling(handler: "signal._HANDLER", *numbers: signal.Signals) -> Iterator[bool]:
    """Signals are of the main thread alone: elsewhere nothing is changed, and False is given."""
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield True
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _interrupted() -> Iterator[None]:
    """Python's handlers run between its own steps. A signal that comes after the last of them and before a system call
    begins does not end the wait in it: a timer does."""
    with _handling(lambda *_: None, signal.SIGALRM) as is_ours:
        if not is_ours:
            yield
            return
        signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS, _LOOK_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _exit(number: int) -> None:
    raise SystemExit(128 + number)
