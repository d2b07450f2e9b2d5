"""As much of HTTP/1.1 as a load generator needs: one request at a time on a kept connection, at few microseconds each.

aiohttp costs 200 µs a request, as much as a fast server: on two cores the generator would measure itself.
"""

import asyncio
from collections.abc import Callable
from typing import cast

OnBody = Callable[[bytes], None]


class BadResponse(Exception):
    """The server said something that is not HTTP, or went away in the middle."""


class ResponseReader:
    """One response, fed as its bytes arrive; `on_body` gets the body's pieces, chunked or not, without the framing."""

    def __init__(self, on_body: OnBody) -> None:
        self.status = 0
        self.is_complete = False
        self._on_body = on_body
        self._buffer = b""
        self._has_head = False
        self._left: int | None = None  # of a body with a length; None: chunked

    def feed(self, data: bytes) -> None:
        """Raises BadResponse."""
        self._buffer += data
        if not self._has_head and not self._read_head():
            return
        if self._left is None:
            self._read_chunks()
        else:
            self._read_length(self._left)

    def _read_head(self) -> bool:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        lines = head.lower().split(b"\r\n")
        headers = dict(line.split(b":", 1) for line in lines[1:])
        try:
            self.status = int(lines[0].split(b" ")[1])
            self._left = None if b"transfer-encoding" in headers else int(headers.get(b"content-length", b"0"))
        except (ValueError, IndexError):
            raise BadResponse(head[:80].decode("latin-1")) from None
        self._has_head, self._buffer = True, rest
        return True

    def _read_length(self, left: int) -> None:
        if self._buffer:
            self._on_body(self._buffer)
        self._left = left - len(self._buffer)
        self._buffer = b""
        self.is_complete = self._left <= 0

    def _read_chunks(self) -> None:
        while (line_end := self._buffer.find(b"\r\n")) >= 0:
            size = _chunk_size(self._buffer[:line_end])
            begin, end = line_end + 2, line_end + 2 + size
            if len(self._buffer) < end + 2:
                return
            if size == 0:
                self.is_complete = True
                return
            self._on_body(self._buffer[begin:end])
            self._buffer = self._buffer[end + 2 :]


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise BadResponse("chunk size") from None


class Connection(asyncio.Protocol):
    """A kept connection. `request` must not be called again before it has returned."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._done: asyncio.Future[int] | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> "Connection":
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    async def request(self, data: bytes, on_body: OnBody) -> int:
        """Send a whole request; returns the status once the response is complete. Raises BadResponse."""
        if self._transport is None or self._transport.is_closing():
            raise BadResponse("the connection is closed")
        self._reader = ResponseReader(on_body)
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        if self._reader is None or self._done is None or self._done.done():
            return
        try:
            self._reader.feed(data)
        except BadResponse as error:
            self._done.set_exception(error)
            return
        if self._reader.is_complete:
            self._done.set_result(self._reader.status)

    def connection_lost(self, error: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(BadResponse("the server closed the connection"))


def post(target_host: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A whole POST, ready to be written."""
    fields = {"Host": target_host, "Content-Type": "application/json", **headers, "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body
