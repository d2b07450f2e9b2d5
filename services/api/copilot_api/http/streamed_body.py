"""A request's body piece by piece, as its client sends it: bounded in bytes and in time, never whole in memory."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from copilot_common.base.errors import CopilotError, TooLarge

_IDLE_SECONDS = 30.0
_TOTAL_SECONDS = 600.0  # 200 MB at 350 kB/s

Receive = Callable[[], Awaitable[Mapping[str, Any]]]


async def read_body(
    receive: Receive,
    *,
    content_length: int | None,
    max_bytes: int,
    idle_seconds: float = _IDLE_SECONDS,
    total_seconds: float = _TOTAL_SECONDS,
) -> AsyncGenerator[bytes, None]:
    """Pieces that are not empty. Raises TooLarge, by `content_length` before anything is read, and BAD_REQUEST where
    the client is too slow or gone."""
    if content_length is not None and content_length > max_bytes:
        raise TooLarge("request", max_bytes=max_bytes)
    deadline = asyncio.get_running_loop().time() + total_seconds
    size_bytes = 0
    is_more = True
    while is_more:
        message = await _next_message(receive, idle_seconds, deadline)
        body = message.get("body", b"")
        size_bytes += len(body)
        if size_bytes > max_bytes:
            raise TooLarge("request", max_bytes=max_bytes)
        is_more = bool(message.get("more_body"))
        if body:
            yield body


async def _next_message(receive: Receive, idle_seconds: float, deadline: float) -> Mapping[str, Any]:
    try:
        async with asyncio.timeout_at(min(asyncio.get_running_loop().time() + idle_seconds, deadline)):
            message = await receive()
    except TimeoutError:
        raise bad_request("The body came too slowly; send it faster, or in smaller requests.") from None
    if message["type"] != "http.request":
        raise bad_request("The connection ended before the body did.")
    return message


def bad_request(message: str) -> CopilotError:
    error = CopilotError(message)
    error.code = "BAD_REQUEST"
    return error
