"""Server-sent events: numbered frames, pings while nothing comes, `[DONE]` at the end."""

import asyncio
from collections.abc import AsyncIterator

from litestar.response import Stream

from copilot_domain.conversations.generation.events import SSE_DONE, SSE_PING, EventBatch, sse_frame

_PING_SECONDS = 15.0

EventStream = Stream


def event_stream(batches: AsyncIterator[EventBatch]) -> EventStream:
    return Stream(
        _frames(batches),
        status_code=200,
        media_type="text/event-stream",
        # A proxy that buffers would turn a stream into a wait.
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _frames(batches: AsyncIterator[EventBatch]) -> AsyncIterator[bytes]:
    coming: asyncio.Task[EventBatch | None] | None = None
    try:
        while True:
            coming = coming or asyncio.create_task(_next(batches))
            done, _ = await asyncio.wait({coming}, timeout=_PING_SECONDS)
            if not done:
                yield SSE_PING
                continue
            batch = coming.result()
            coming = None
            if batch is None:
                yield SSE_DONE
                return
            yield b"".join(sse_frame(number, payload) for number, payload in batch)
    finally:
        if coming is not None:
            coming.cancel()


async def _next(batches: AsyncIterator[EventBatch]) -> EventBatch | None:
    return await anext(batches, None)
