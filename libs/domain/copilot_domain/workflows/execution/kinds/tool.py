"""Steps that call a tool. A new one is a module in `tools` and a line here."""

from collections.abc import Awaitable, Callable
from typing import cast

from copilot_domain.workflows.definition import Json, ToolConfig
from copilot_domain.workflows.execution.kinds.base import StepCall
from copilot_domain.workflows.execution.outcomes import Failed, Outcome
from copilot_domain.workflows.execution.tools.context_search import context_search
from copilot_domain.workflows.execution.tools.http_request import http_request
from copilot_domain.workflows.execution.tools.mcp import mcp_tool
from copilot_domain.workflows.mcp_servers.names import parse_tool

Tool = Callable[[StepCall, Json], Awaitable[Outcome]]

TOOLS: dict[str, Tool] = {"context.search": context_search, "http.request": http_request}


async def tool(call: StepCall) -> Outcome:
    config = cast(ToolConfig, call.step.config)
    found = TOOLS.get(config.tool) or _of_a_server(config.tool)
    if found is None:
        return Failed("UNKNOWN_TOOL", "There is no tool of this name.")
    return await found(call, cast(Json, await call.fill(config.arguments)))


def _of_a_server(name: str) -> Tool | None:
    parsed = parse_tool(name)
    return None if parsed is None else lambda call, arguments: mcp_tool(call, parsed, arguments)
