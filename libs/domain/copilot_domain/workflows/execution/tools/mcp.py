"""`mcp:<server>/<tool>`: a tool of an MCP server that an admin of the tenant has registered.

A call is made at most once: what a tool does is its server's word alone, and its hints are no ground to call twice. It
is written down as begun when the session is there and before the call is sent: what fails earlier may be tried again.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from copilot_common.base.errors import EgressFailed, EgressRefused
from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.execution.kinds.base import StepCall
from copilot_domain.workflows.execution.mcp.failures import ServerRefused, ServerReported
from copilot_domain.workflows.execution.mcp.results import ToolResult
from copilot_domain.workflows.execution.outcomes import Done, Failed, Outcome
from copilot_domain.workflows.execution.patience import patiently
from copilot_domain.workflows.mcp_servers.names import McpTool
from copilot_domain.workflows.mcp_servers.repository import McpServerRepository
from copilot_domain.workflows.mcp_servers.types import McpEndpoint

if TYPE_CHECKING:
    from copilot_domain.workflows.execution.mcp.session import McpSession

_SECONDS: Final = 30.0
_LONGEST_SECONDS: Final = 600.0
_TRY_AGAIN: Final = {408, 425, 429, 500, 502, 503, 504}
_STATUSES: Final = {
    401: ("MCP_UNAUTHORIZED", "The MCP server does not take the credential it was registered with (401)."),
    403: ("MCP_FORBIDDEN", "The MCP server does not let us do this (403)."),
    404: ("MCP_NOT_FOUND", "There is no MCP server at the URL that was registered (404)."),
}
_REDIRECTS: Final = range(300, 400)
_TIMED_OUT: Final = 408
_SERVER_ERRORS: Final = range(500, 600)


async def mcp_tool(call: StepCall, name: McpTool, arguments: Json) -> Outcome:
    """`{text, data?, content}`: its texts, its structured content, and what else it gives."""
    endpoint = await patiently(lambda: _find(call, name.server))
    if endpoint is None:
        return Failed("UNKNOWN_TOOL", "There is no MCP server of this name; an admin can register it.")
    make_session = await asyncio.to_thread(_load)
    seconds = _SECONDS if call.step.timeout_ms is None else min(call.step.timeout_ms / 1000, _LONGEST_SECONDS)
    session = make_session(call.toolbox.egress, endpoint, seconds=seconds, idempotency_key=str(call.idempotency_key))
    try:
        async with session:
            await call.begin(True)
            result = await session.call(name.tool, arguments)
    except (EgressRefused, EgressFailed) as error:
        return _not_answered(error, session.has_called)
    except ServerRefused as refused:
        return _refused(refused.status, session.has_called)
    except ServerReported as reported:
        return Failed("MCP_ERROR", f"The MCP server answered with the error {reported.code}.")
    return _outcome(result)


async def _find(call: StepCall, server: str) -> McpEndpoint | None:
    async with call.toolbox.db.transaction(call.principal) as tx:
        row = await McpServerRepository().find(tx, server)
        return row.endpoint(await tx.cipher()) if row else None


def _load() -> "type[McpSession]":
    from copilot_domain.workflows.execution.mcp.session import (  # noqa: PLC0415 — 26 MB that few engines ever need
        McpSession,
        silence_library,
    )

    silence_library()
    return McpSession


def _not_answered(error: EgressRefused | EgressFailed, has_called: bool) -> Failed:
    if has_called:
        return Failed("OUTCOME_UNKNOWN", f"It is not known whether the call arrived: {error.message}")
    return Failed(error.code, error.message, isinstance(error, EgressFailed) and error.retryable)


def _refused(status: int, has_called: bool) -> Failed:
    if status in _STATUSES:
        return Failed(*_STATUSES[status])
    if status in _REDIRECTS:
        return Failed("HTTP_ERROR", f"The server redirects ({status}); register the URL that it leads to.")
    if has_called and (status == _TIMED_OUT or status in _SERVER_ERRORS):
        # A gateway says so too, of a tool that it has passed the call on to and that may still be at it.
        message = f"It is not known whether the call was carried out: the server answered with status {status}."
        return Failed("OUTCOME_UNKNOWN", message)
    return Failed("HTTP_ERROR", f"The server answered with status {status}.", status in _TRY_AGAIN and not has_called)


def _outcome(result: ToolResult) -> Outcome:
    """What a failed call says is not kept, as of a failed `http.request`."""
    if result.is_error:
        return Failed("TOOL_ERROR", "The tool reports that it has failed.")
    texts = [str(block["text"]) for block in result.content if block.get("type") == "text"]
    others = [block for block in result.content if block.get("type") != "text"]
    output: Json = {"text": "\n".join(texts), "content": others}
    if result.structured_content is not None:
        output["data"] = result.structured_content
    return Done(output)
