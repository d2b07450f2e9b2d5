"""`mcp:<server>/<tool>`: what a definition calls a tool of an MCP server."""

import re
from typing import NamedTuple

# Also what the table's CHECK says.
_SERVER = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# What the protocol recommends for names of tools is narrower; servers use more. The first slash ends the server's name.
_TOOL = re.compile(r"[!-~]{1,128}")

PREFIX = "mcp:"
SERVER_RULE = "must be up to 63 lower-case letters, digits, _ and -, and begin with a letter or digit"
TOOL_RULE = "must be mcp:<server>/<tool>, the server by the name it was registered with"


class McpTool(NamedTuple):
    server: str
    tool: str


def is_server_name(text: str) -> bool:
    return _SERVER.fullmatch(text) is not None


def parse_tool(text: str) -> McpTool | None:
    """None where it is no such name."""
    if not text.startswith(PREFIX):
        return None
    server, _, tool = text.removeprefix(PREFIX).partition("/")
    return McpTool(server, tool) if is_server_name(server) and _TOOL.fullmatch(tool) else None
