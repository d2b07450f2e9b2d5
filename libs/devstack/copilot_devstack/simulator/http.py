"""As much of HTTP/1.1 as SDK clients need: bodies with a length, keep-alive, chunked answers.

Its own, and not an ASGI server's, because a simulator must be able to break a connection in the middle of an answer
and to see at once that a client has gone.
"""

import asyncio

import msgspec

_MAX_BODY_BYTES = 64 * 1024 * 1024
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


class Request(msgspec.Struct):
    """`path` is without the query; header names are lower case; `connection` numbers the connection it came by."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    connection: int


async def read_request(reader: asyncio.StreamReader, connection: int) -> Request | None:
    """None when the client has closed the connection. Raises ValueError for what is not HTTP."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    if length > _MAX_BODY_BYTES or "transfer-encoding" in headers:
        raise ValueError("unsupported body")
    body = await reader.readexactly(length) if length else b""
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, body, connection)


def plain_answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
