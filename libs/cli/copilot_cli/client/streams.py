"""An answer's events, in order and each once, also over connections that break.

A cut after the first event is mended by reading on after the last number seen (`Last-Event-ID`). One before it by
sending the question again under the same Idempotency-Key: the API attaches us to the answer it has begun, if any.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import UUID

import httpx
import msgspec

from copilot_cli.client.errors import ApiError
from copilot_cli.client.sse import SseParser
from copilot_cli.client.types import EventBody

_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.2
_RETRYABLE = frozenset({"UNAVAILABLE", "IDEMPOTENCY_IN_PROGRESS", "RATE_LIMITED"})

_decode = msgspec.json.Decoder(EventBody).decode

Opening = AbstractContextManager[Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """`raw` is the event's JSON exactly as it came."""

    number: int
    raw: str
    body: EventBody


class _Cut(Exception):
    """The connection ended before the answer did."""


class AnswerStream:
    """Iterate over it once. `begin` sends the question; `resume` reads a message's events after a number."""

    def __init__(
        self,
        *,
        begin: Callable[[], Opening],
        resume: Callable[[UUID, int], Opening],
        message_id: UUID | None = None,
        after: int = 0,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.message_id = message_id
        self.last_number = after
        self.reconnects = 0
        self._begin = begin
        self._resume = resume
        self._wait = wait

    def __iter__(self) -> Iterator[StreamEvent]:
        """Ends after the answer's last event. Raises ApiError, or httpx.TransportError when it stays cut off."""
        failures = 0
        while True:
            before = self.last_number
            try:
                yield from self._read()
                return
            except (httpx.TransportError, ApiError, _Cut) as error:
                failures = failures + 1 if self.last_number == before else 1
                if not self._may_retry(error) or failures >= _ATTEMPTS:
                    raise _shown(error) from None
            self.reconnects += 1
            self._wait(_FIRST_WAIT_SECONDS * 2 ** (failures - 1))

    def _read(self) -> Iterator[StreamEvent]:
        opening = self._resume(self.message_id, self.last_number) if self.message_id else self._begin()
        parser = SseParser()
        with opening as pieces:
            for piece in pieces:
                for event in parser.feed(piece):
                    if event.data == "[DONE]":
                        return
                    if event.id is not None and event.id > self.last_number:
                        yield self._take(event.id, event.data)
        raise _Cut

    def _take(self, number: int, data: str) -> StreamEvent:
        if number != self.last_number + 1:
            raise _Cut  # a number is missing: read on from the last good one
        body = _decode(data)
        self.last_number = number
        self.message_id = self.message_id or body.message_id
        return StreamEvent(number, data, body)

    def _may_retry(self, error: Exception) -> bool:
        """A server that was never reached is not waited for, and a refusal is final."""
        if isinstance(error, ApiError):
            return error.code in _RETRYABLE and (self.reconnects > 0 or self.message_id is not None)
        return self.message_id is not None or self.reconnects > 0 or not isinstance(error, httpx.ConnectError)


def _shown(error: Exception) -> Exception:
    if isinstance(error, _Cut):
        message = "The answer's stream broke off again and again; read it later: copilot conversations show"
        return ApiError(status=200, code="STREAM_CUT", message=message)
    return error
