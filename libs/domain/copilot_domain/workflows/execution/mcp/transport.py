"""What carries the library's HTTP requests: egress, and nothing else. The package's docstring has the threat model."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

import httpx
import msgspec

from copilot_common.base.errors import EgressFailed, EgressRefused
from copilot_common.platform.egress.client import Egress, EgressStream
from copilot_domain.workflows.execution.mcp.budget import MAX_BYTES, MAX_OPENING_VALUES, Budget, ValueCounter
from copilot_domain.workflows.execution.mcp.failures import ServerRefused
from copilot_domain.workflows.mcp_servers.types import McpEndpoint

PLACEHOLDER: Final = "http://server.invalid/mcp"
"""What the library takes for the server's URL: it can neither log nor send what it does not know."""

CLOSING_SECONDS: Final = 1.0
"""To tell the server that its session is over. A step outlasts its time, or being cancelled, by twice that at most and
by what ending the session's task takes: within about two seconds, as runs promise."""

_TO_SERVER: Final = ("accept", "content-type", "mcp-session-id", "mcp-protocol-version")

Failure = EgressRefused | EgressFailed | ServerRefused


class _Message(msgspec.Struct):
    """Of a body that the library has made. A request has both, a notification no id, an answer no method."""

    method: str | None = None
    id: int | str | None = None


_decode_message = msgspec.json.Decoder(_Message).decode


class GuardedTransport(httpx.AsyncBaseTransport):
    """Of one session. `broken` gets the first failure: of some the library says nothing and waits on.

    `has_called` is whether the tool's call may have arrived; `seconds` is how long the session may take, without its
    closing.
    """

    def __init__(self, egress: Egress, endpoint: McpEndpoint, *, seconds: float, idempotency_key: str) -> None:
        self._egress = egress
        self._endpoint = endpoint
        self._idempotency_key = idempotency_key
        self._end = asyncio.get_running_loop().time() + seconds
        self._budget = Budget()
        self._opening = Budget(max_values=MAX_OPENING_VALUES)
        self._asked: int | str | None = None
        self.broken: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()
        self.has_called = False

    @property
    def seconds_left(self) -> float:
        return max(self._end - asyncio.get_running_loop().time(), 0.0)

    def fail(self, failure: Failure) -> None:
        if not self.broken.done():
            self.broken.set_result(failure)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":  # it would listen to what the server has to say unasked
            return httpx.Response(httpx.codes.METHOD_NOT_ALLOWED)
        try:
            return await self._send(request)
        except (EgressRefused, EgressFailed, ServerRefused) as failure:
            self.fail(failure)
            raise

    async def _send(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        message = _decode_message(content) if content else _Message()
        if message.method is not None and message.id is not None:
            self._asked = message.id
        async with AsyncExitStack() as stack:
            answer = await self._open(stack, request, message, content)
            _check_status(answer.status, message)
            headers = _heard_headers(answer)
            body = _Body(self, answer, headers["content-type"] == "text/event-stream")
            response = httpx.Response(answer.status, headers=headers, stream=body)
            body.stack = stack.pop_all()  # last: who raises before has let the connection go
            return response

    async def _open(
        self, stack: AsyncExitStack, request: httpx.Request, message: _Message, content: bytes
    ) -> EgressStream:
        is_call = message.method == "tools/call"
        headers = self._endpoint.headers | {
            name: request.headers[name] for name in _TO_SERVER if name in request.headers
        }
        if is_call:
            headers["idempotency-key"] = self._idempotency_key
        stream = self._egress.stream(
            request.method,
            self._endpoint.url,
            headers=headers,
            content=content,
            max_bytes=MAX_BYTES,
            timeout_seconds=CLOSING_SECONDS if request.method == "DELETE" else self.seconds_left,
        )
        had_called, self.has_called = self.has_called, self.has_called or is_call
        try:
            return await stack.enter_async_context(stream)
        except EgressRefused:
            self.has_called = had_called
            raise

    def has_asked(self, request_id: int | str) -> bool:
        """Whether this is the last request's; there is never more than one on its way. Servers may answer in text."""
        return self._asked is not None and request_id in (self._asked, str(self._asked))

    def spend(self, size: int, values: int) -> None:
        if not self.has_called:
            self._opening.spend(size, values)
        self._budget.spend(size, values)


class _Body(httpx.AsyncByteStream):
    """An answer's body, counted as it is read; `stack` holds its connection."""

    def __init__(self, transport: GuardedTransport, answer: EgressStream, is_stream: bool) -> None:
        self.stack = AsyncExitStack()
        self._transport = transport
        self._answer = answer
        self._is_stream = is_stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        counter = ValueCounter()
        try:
            async for piece in self._answer.pieces:
                self._transport.spend(len(piece), counter.count(piece))
                yield piece
            if self._is_stream:  # whoever has found the answer in it does not read on
                raise EgressFailed("disconnected", "The server ended its stream without an answer.")
        except EgressFailed as failure:
            self._transport.fail(failure)
            raise

    async def aclose(self) -> None:
        await self.stack.aclose()


def _heard_headers(answer: EgressStream) -> dict[str, str]:
    """Without a charset: under one of its choice a server's quotation marks would be none to who counts them. Raises
    EgressFailed for what no header may have: httpx would fail on it, or egress when a session's id is sent back."""
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    session_id = answer.headers.get("mcp-session-id")
    headers = {"content-type": media_type} | ({"mcp-session-id": session_id} if session_id else {})
    if not all(char == "\t" or (char.isascii() and char.isprintable()) for char in "".join(headers.values())):
        raise EgressFailed("protocol", "The server's answer has a header with characters that it may not have.")
    return headers


def _check_status(status: int, message: _Message) -> None:
    if status >= httpx.codes.MULTIPLE_CHOICES:
        if message.method is None:  # what the server asked was answered, and the session is at odds
            raise EgressFailed("protocol", "The server takes no answers to what it asks.")
        raise ServerRefused(status)
    if status == httpx.codes.ACCEPTED and message.method is not None and message.id is not None:
        raise EgressFailed("protocol", "The server has accepted a request without an answer.")
