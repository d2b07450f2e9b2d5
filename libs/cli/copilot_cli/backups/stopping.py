"""SIGTERM, as Kubernetes sends it, ends what is under way as Ctrl-C does: nothing half done stays."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def on_sigterm() -> Iterator[None]:
    """Raises SystemExit in the main thread."""
    with _handling(lambda number, _: _exit(number)):
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


def _exit(number: int) -> None:
    raise SystemExit(128 + number)
