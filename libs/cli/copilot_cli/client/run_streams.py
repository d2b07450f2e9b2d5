"""A run's events, in order and each once, over connections that break: runs outlive them."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import httpx
import msgspec

from copilot_cli.client.errors import ApiError
from copilot_cli.client.run_types import RunEvent
from copilot_cli.client.sse import SseParser
from copilot_cli.client.streams import Opening

_ATTEMPTS = 10  # one after the other that bring nothing: about 45 s
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 10.0
_LASTED_SECONDS = 5.0  # a connection that did, was one
_RETRYABLE = frozenset({"UNAVAILABLE", "RATE_LIMITED"})

_decode = msgspec.json.Decoder(RunEvent).decode


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """`raw` is the event's JSON exactly as it came."""

    number: int
    raw: str
    body: RunEvent


class RunStream:
    """Iterate over it once. `read` opens the events after a number; `connected` is told of each cut, and when it is
    mended."""

    def __init__(
        self,
        read: Callable[[int], Opening],
        *,
        connected: Callable[[bool], None] = lambda is_there: None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.last_number = 0
        self._read_after = read
        self._connected = connected
        self._wait = wait
        self._was_open = False

    def __iter__(self) -> Iterator[NumberedEvent]:
        """Ends after the run's last event. Raises ApiError, or httpx.TransportError when it stays cut off."""
        failures = 0
        while True:
            before, began, fault = self.last_number, time.monotonic(), None
            try:
                if (yield from self._read()):
                    return
            except (httpx.TransportError, ApiError) as error:
                fault = error
            lasted = self.last_number > before or (self._was_open and time.monotonic() - began > _LASTED_SECONDS)
            failures = 1 if lasted else failures + 1
            if failures >= _ATTEMPTS or (fault is not None and not self._may_retry(fault)):
                raise fault or _CUT
            self._connected(False)
            self._wait(min(_FIRST_WAIT_SECONDS * 2 ** (failures - 1), _LONGEST_WAIT_SECONDS))

    def _read(self) -> Generator[NumberedEvent, None, bool]:
        """Returns whether that was all."""
        parser = SseParser()
        with self._read_after(self.last_number) as pieces:
            if self._was_open:
                self._connected(True)
            self._was_open = True
            for piece in pieces:
                for event in parser.feed(piece):
                    if event.data == "[DONE]":
                        return True
                    if event.id is None or event.id <= self.last_number:
                        continue
                    if event.id > self.last_number + 1:
                        return False  # a number is missing: read on from the last good one
                    self.last_number = event.id
                    yield NumberedEvent(event.id, event.data, _decode(event.data))
        return False

    def _may_retry(self, error: Exception) -> bool:
        """A server that was never reached is not waited for, and a refusal is final."""
        return self._was_open and (not isinstance(error, ApiError) or error.code in _RETRYABLE)


_CUT = ApiError(status=200, code="STREAM_CUT", message="The run's events broke off again and again; watch it later.")
