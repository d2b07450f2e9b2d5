"""A refusal that goes out before the request's body has been read.

A server that answers and closes while the client still sends makes the client's system throw the answer away: instead
of 413, 401 or 429 it sees a broken connection. So the rest of the body is read first and forgotten, within bounds.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

Message = MutableMapping[str, Any]

_MAX_BYTES = 210_000_000  # the largest request there may be, by default, and some
_MAX_SECONDS = 5.0


class RequestBody:
    """Stands before the server's `receive` and notes when the body has come to its end."""

    def __init__(self, receive: Callable[[], Awaitable[Message]]) -> None:
        self._receive = receive
        self._has_ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            self._has_ended = True
        return message

    async def discard(self) -> None:
        left = _MAX_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_MAX_SECONDS):
                while not self._has_ended and left > 0:
                    left -= len((await self.receive()).get("body", b""))


def has_body(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
