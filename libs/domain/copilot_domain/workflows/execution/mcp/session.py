"""A session with an MCP server, for one call. The package's docstring has the threat model."""

import asyncio
import logging
from collections.abc import Awaitable
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolRequest, CallToolRequestParams, ClientRequest, Implementation, Result

from copilot_common.base.errors import EgressFailed
from copilot_common.platform.egress.client import Egress
from copilot_common.platform.tasks import end_tasks
from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.execution.mcp.failures import ServerReported, broke_off, not_mcp
from copilot_domain.workflows.execution.mcp.results import ToolResult, read_result
from copilot_domain.workflows.execution.mcp.sifting import sifted
from copilot_domain.workflows.execution.mcp.transport import CLOSING_SECONDS, PLACEHOLDER, GuardedTransport
from copilot_domain.workflows.mcp_servers.types import McpEndpoint

T = TypeVar("T")


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
        """Not by the library's `call_tool`, which reads the server's list of tools and trusts its schemas; nor does it
        read the result (`results` says why), so that it takes it for any."""
        params = CallToolRequestParams(name=tool, arguments=arguments)
        sent = self._opened.result().send_request(ClientRequest(CallToolRequest(params=params)), Result)
        result = await self._unless_broken(sent)
        # Through JSON, because pydantic reads what JSON does not have: NaN and Infinity.
        return read_result(result.model_dump_json(by_alias=True))

    async def _unless_broken(self, work: Awaitable[T]) -> T:
        doing, broken = asyncio.ensure_future(work), self._transport.broken
        doing.add_done_callback(_read)
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
            sifted(heard, said, self._transport) as answers,
            ClientSession(answers, said, client_info=_client_info()) as session,
        ):
            self._opened.set_result(session)
            await self._closing.wait()

    async def _close(self) -> None:
        """Tells the server, which may be slow to hear it."""
        self._closing.set()
        try:
            await asyncio.wait({self._life}, timeout=2 * CLOSING_SECONDS)
        finally:
            await end_tasks([self._life])

    def _note_end(self, life: asyncio.Task[None]) -> None:
        _read(life)  # its exception is of a transport that has told it, or of a server that is at odds with MCP
        self._transport.fail(broke_off())


def silence_library() -> None:
    """Its own logger tells what servers say, once for each event that it does not understand. The root logger, which
    it takes for some, is not silent: `sifting` keeps from the library what it would tell there."""
    logging.getLogger("mcp").setLevel(logging.CRITICAL)


def _read(work: asyncio.Future[Any]) -> None:
    """Else asyncio reports, with what the server said, an exception that came when nobody waited for it any more."""
    if not work.cancelled():
        work.exception()


def _client_info() -> Implementation:
    return Implementation(name="llm-copilot-agent", version=version("copilot-domain"))


def _failure(error: BaseException) -> Exception:
    if isinstance(error, McpError):
        return ServerReported(error.error.code)
    return not_mcp()
