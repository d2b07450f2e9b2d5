"""A local HTTP server that says what a test tells it to, byte for byte, and keeps what it was sent."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

Result = TypeVar("Result")
Answer = Callable[["Received", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections: int = 0


def answer(body: bytes = b"ok", *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> Answer:
    """A whole answer; the connection stays open for another request."""

    async def write(_: Received, writer: asyncio.StreamWriter) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""])
        writer.write(head.encode() + body)

    return write


def redirect(location: str, status: str = "302 Found") -> Answer:
    return answer(b"", status=status, headers=(f"Location: {location}",))


async def hang(*_: object) -> None:
    """No answer, as long as the receiver is there."""
    await asyncio.Event().wait()


@asynccontextmanager
async def receiver(
    *answers: Answer, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Gives the answers in turn, the last one from then on."""
    made = Receiver()
    serving = set[asyncio.Task[None] | None]()
    closing = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        serving.add(asyncio.current_task())
        try:
            while (request := await _unless(closing, _read(reader))) is not None:
                made.requests.append(request)
                answering = _answered(answers[min(len(made.requests), len(answers)) - 1], request, writer)
                if not await _unless(closing, answering):
                    break
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, port, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        closing.set()
        # Each ends when it sees that its client has left; cancelled, asyncio would log it as a failure.
        await asyncio.gather(*filter(None, serving))


async def _answered(give: Answer, request: Received, writer: asyncio.StreamWriter) -> bool:
    await give(request, writer)
    await writer.drain()
    return True


async def _unless(event: asyncio.Event, work: Coroutine[object, object, Result]) -> Result | None:
    """What comes of it; None where the event comes first, or the connection breaks."""
    task, over = asyncio.create_task(work), asyncio.create_task(event.wait())
    await asyncio.wait([task, over], return_when="FIRST_COMPLETED")
    is_done = task.done() and not isinstance(task.exception(), ConnectionError)
    task.cancel()
    over.cancel()
    await asyncio.gather(task, over, return_exceptions=True)
    return task.result() if is_done else None


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode().rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        return Received(method, path, headers, await _read_chunks(reader))
    return Received(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    content = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        content += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return content
