"""Server-sent events: numbered frames, pings while nothing comes, `[DONE]` at the end."""

from collections.abc import AsyncIterator

from litestar.response import Stream

from copilot_domain.conversations.generation.events import SSE_DONE, SSE_PING, EventBatch, sse_frame

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
    async for batch in batches:
        yield b"".join(sse_frame(number, payload) for number, payload in batch) or SSE_PING
    yield SSE_DONE
