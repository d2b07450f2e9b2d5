"""A session with an MCP server, for one call. The package's docstring has the threat model."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from importlib.metadata import version
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

import anyio
import httpx
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import (
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ClientRequest,
    Implementation,
    JSONRPCNotification,
    JSONRPCRequest,
)

from copilot_common.base.errors import EgressFailed
from copilot_common.platform.egress.client import Egress
from copilot_common.platform.tasks import end_tasks
from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.execution.mcp.failures import ServerReported
from copilot_domain.workflows.execution.mcp.transport import CLOSING_SECONDS, PLACEHOLDER, GuardedTransport
from copilot_domain.workflows.mcp_servers.types import McpEndpoint

T = TypeVar("T")
Heard: TypeAlias = SessionMessage | Exception

_MAX_QUESTIONS: Final = 16  # a server may ask whether we are there; of the rest nothing is offered


class ToolResult(msgspec.Struct, rename="camel"):
    content: list[Json]
    structured_content: Json | None = None
    is_error: bool = False


_decode_result = msgspec.json.Decoder(ToolResult).decode


class McpSession:
    """`async with` opens it and closes it. The library lives in a task of its own: it cancels the task it lives in
    when something breaks, and what it raises there is a group of groups.

    Entering and calling raise EgressRefused and EgressFailed, ServerRefused and ServerReported.
    """

    def __init__(self, egress: Egress, endpoint: McpEndpoint, *, seconds: float, idempotency_key: str) -> None:
        self._transport = GuardedTransport(egress, endpoint, seconds=seconds, idempotency_key=idempotency_key)
        self._opened: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._seconds = seconds

    @property
    def has_called(self) -> bool:
        """Whether a call may have arrived."""
        return self._transport.has_called

    async def __aenter__(self) -> Self:
        self._life = asyncio.create_task(self._live(), name="MCP session")
        self._life.add_done_callback(self._note_end)
        try:
            session = await self._unless_broken(self._opened)
            await self._unless_broken(session.initialize())
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def call(self, tool: str, arguments: Json) -> ToolResult:
        """Not by the library's `call_tool`, which reads the server's list of tools and trusts its schemas."""
        params = CallToolRequestParams(name=tool, arguments=arguments)
        sent = self._opened.result().send_request(ClientRequest(CallToolRequest(params=params)), CallToolResult)
        result = await self._unless_broken(sent)
        # Through JSON, because pydantic reads what JSON does not have: NaN and Infinity.
        return _decode_result(result.model_dump_json(by_alias=True, exclude_none=True))

    async def _unless_broken(self, work: Awaitable[T]) -> T:
        doing, broken = asyncio.ensure_future(work), self._transport.broken
        either: set[asyncio.Future[Any]] = {doing, broken}
        try:
            await asyncio.wait(either, timeout=self._transport.seconds_left, return_when="FIRST_COMPLETED")
            error = doing.exception() if doing.done() else None
            if doing.done() and error is None:
                return doing.result()
            if broken.done():
                raise broken.result()
            raise self._late() if error is None else _failure(error)
        finally:
            if not doing.done():
                doing.cancel()
                await asyncio.wait({doing})

    def _late(self) -> EgressFailed:
        return EgressFailed("timeout", f"No complete answer within {self._seconds:g} s.")

    async def _live(self) -> None:
        async with (
            httpx.AsyncClient(transport=self._transport, trust_env=False) as http,  # its time-outs are not asked for
            streamable_http_client(PLACEHOLDER, http_client=http) as (heard, said, _),
            self._sifted(heard) as worth_hearing,
            ClientSession(worth_hearing, said, client_info=_client_info(), message_handler=self._refuse) as session,
        ):
            self._opened.set_result(session)
            await self._closing.wait()

    @asynccontextmanager
    async def _sifted(self, heard: MemoryObjectReceiveStream[Heard]) -> AsyncIterator[MemoryObjectReceiveStream[Heard]]:
        passing, passed = anyio.create_memory_object_stream[Heard](0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sift, heard, passing)
            yield passed
            tasks.cancel_scope.cancel()

    async def _sift(self, heard: MemoryObjectReceiveStream[Heard], passing: MemoryObjectSendStream[Heard]) -> None:
        """Answers, and a few questions, which the session refuses."""
        questions = 0
        async with passing:
            async for message in heard:
                if isinstance(message, Exception):
                    self._transport.fail(_not_mcp())
                    return
                if isinstance(message.message.root, JSONRPCNotification):
                    continue
                questions += isinstance(message.message.root, JSONRPCRequest)
                if questions > _MAX_QUESTIONS:
                    self._transport.fail(EgressFailed("protocol", "The server asks instead of answering."))
                    return
                await passing.send(message)
            self._transport.fail(EgressFailed("disconnected", "The session with the server broke off."))

    async def _refuse(self, message: object) -> None:
        """What the session itself could not place: an answer to nothing that was asked."""
        self._transport.fail(_not_mcp())

    async def _close(self) -> None:
        """Tells the server, which may be slow to hear it."""
        self._closing.set()
        try:
            await asyncio.wait({self._life}, timeout=2 * CLOSING_SECONDS)
        finally:
            await end_tasks([self._life])

    def _note_end(self, life: asyncio.Task[None]) -> None:
        if not life.cancelled():
            life.exception()  # it is of a transport that has told it, or of a server that is at odds with MCP
        self._transport.fail(EgressFailed("disconnected", "The session with the server broke off."))


def silence_library() -> None:
    """It logs what servers say, once for each event that it does not understand."""
    logging.getLogger("mcp").setLevel(logging.CRITICAL)


def _client_info() -> Implementation:
    return Implementation(name="llm-copilot-agent", version=version("copilot-domain"))


def _failure(error: BaseException) -> Exception:
    if isinstance(error, McpError):
        return ServerReported(error.error.code)
    return _not_mcp()


def _not_mcp() -> EgressFailed:
    return EgressFailed("protocol", "The server's answer is not valid MCP.")
