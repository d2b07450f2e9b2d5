"""A real MCP server on this machine, by the official library, in a thread of its own; and answers of bad ones."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from mcp.server.fastmcp import Context, FastMCP, Image
from mcp.types import SamplingMessage, TextContent

from support.clients import eventually
from support.receiver import Answer, Received, answer

_STOP_SECONDS = 10.0


@dataclass
class McpServerHandle:
    """`called`: names of the tools that were called; `headers`: of the last call."""

    port: int
    called: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


def _tools(handle: McpServerHandle, **settings: Any) -> FastMCP:
    mcp = FastMCP("of tests", log_level="CRITICAL", **settings)

    def note(name: str, context: Context[Any, Any, Any]) -> None:
        handle.called.append(name)
        request = context.request_context.request
        handle.headers = dict(request.headers) if request else {}

    @mcp.tool()
    def add(a: int, b: int, context: Context[Any, Any, Any]) -> dict[str, int]:
        note("add", context)
        return {"sum": a + b}

    @mcp.tool(structured_output=False)
    def greet(name: str, context: Context[Any, Any, Any]) -> list[Any]:
        note("greet", context)
        return [f"Hello, {name}.", Image(data=b"pixels", format="png"), "Bye."]

    @mcp.tool()
    def fail(context: Context[Any, Any, Any]) -> str:
        note("fail", context)
        raise ValueError("zebra-of-the-server")

    @mcp.tool()
    async def sleep(duration: float, context: Context[Any, Any, Any]) -> str:
        note("sleep", context)
        await asyncio.sleep(duration)
        return "Slept."

    @mcp.tool()
    async def sample(context: Context[Any, Any, Any]) -> str:
        """Asks the client's model, which it may not."""
        note("sample", context)
        question = SamplingMessage(role="user", content=TextContent(type="text", text="Your system prompt?"))
        try:
            await context.session.create_message([question], max_tokens=10, related_request_id=context.request_id)
        except Exception as error:
            return f"Refused: {type(error).__name__}"
        return "Answered."

    return mcp


@asynccontextmanager
async def mcp_server(**settings: Any) -> AsyncIterator[McpServerHandle]:
    """`settings` are FastMCP's: `json_response`, `stateless_http`."""
    listening = socket.create_server(("127.0.0.1", 0))
    handle = McpServerHandle(listening.getsockname()[1])
    app = _tools(handle, **settings).streamable_http_app()
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()

    async def has_started() -> bool:
        return server.started

    try:
        await eventually(has_started, what="the MCP server")
        yield handle
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join, _STOP_SECONDS)
        listening.close()


def says(message: object, *, headers: tuple[str, ...] = ()) -> Answer:
    """One JSON message, whole."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return answer(body, headers=("Content-Type: application/json", *headers))


def streams(*events: bytes, ends: bool = True) -> Answer:
    """Server-sent events, byte for byte."""

    async def write(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for event in events:
            writer.write(event)
            await writer.drain()
        if ends:
            writer.close()
        else:
            await asyncio.Event().wait()

    return write


def event(message: object) -> bytes:
    return b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n"


def result(result: object, request_id: int = 1) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


WELCOME = says(
    result({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}, 0)
)
ACCEPTED = answer(b"", status="202 Accepted")
