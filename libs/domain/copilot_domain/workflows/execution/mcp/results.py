"""What a tool gives, read from what its server said.

By msgspec, which ends at the first fault. The library's own type is a union for each block of the content: pydantic
tries all its members on each, and lists what is wrong with every one. It also rewrites URIs.
"""

import msgspec

from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.execution.mcp.failures import not_mcp


class ToolResult(msgspec.Struct, rename="camel"):
    """`content`: blocks as they came. Each has a `type`, and a text its `text`."""

    content: list[Json]
    structured_content: Json | None = None
    is_error: bool = False


_decode = msgspec.json.Decoder(ToolResult).decode


def read_result(said: str) -> ToolResult:
    """Of JSON. Raises EgressFailed."""
    try:
        result = _decode(said)
    except (msgspec.DecodeError, RecursionError):
        raise not_mcp() from None
    if not all(_is_block(block) for block in result.content):
        raise not_mcp()
    return result


def _is_block(block: Json) -> bool:
    kind = block.get("type")
    return isinstance(kind, str) and (kind != "text" or isinstance(block.get("text"), str))
