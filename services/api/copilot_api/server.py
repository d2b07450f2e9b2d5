"""Granian inside this process, so that the process id that serves is the one that a supervisor knows.

SIGTERM and SIGINT: not ready at once, no new connections, running answers may end within DRAIN_SECONDS, then what is
left is interrupted. Granian's `serve` returns when the last response has been sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server

_BACKLOG = 1_024
_LAST_RESPONSES_SECONDS = 3.0


async def serve(
    app: Callable[[Any, Any, Any], Awaitable[None]],
    *,
    host: str,
    port: int,
    stop: asyncio.Event,
    drain: Callable[[], Awaitable[None]],
) -> None:
    """Serve until `stop` is set, then let `drain` end what still runs and wait for the last response."""
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_enabled=False,
        backlog=_BACKLOG,
        backpressure=_BACKLOG * 4,
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not serving.done():
        server.stop()  # type: ignore[no-untyped-call]  # granian's embedded server is not annotated
        await drain()
        # Readers of answers that other processes make, and clients that stopped reading, are cut: they resume there.
        await asyncio.wait({serving}, timeout=_LAST_RESPONSES_SECONDS)
    if serving.done():
        await serving
