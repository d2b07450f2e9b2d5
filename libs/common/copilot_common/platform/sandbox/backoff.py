"""Not starting again and again what dies at its start."""

import time
from typing import Final

_FIRST_SECONDS: Final = 0.1
_MAX_SECONDS: Final = 30.0
_MAX_DOUBLINGS: Final = 20  # far above _MAX_SECONDS, far below what a float holds


class Backoff:
    """The wait doubles with each failure in a row."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def is_waiting(self) -> bool:
        return time.monotonic() < self._until

    def failed(self) -> None:
        wait = min(_FIRST_SECONDS * 2 ** min(self._failures, _MAX_DOUBLINGS), _MAX_SECONDS)
        self._until = time.monotonic() + wait
        self._failures += 1

    def succeeded(self) -> None:
        self._failures = 0
