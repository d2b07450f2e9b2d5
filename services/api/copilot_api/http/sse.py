"""Server-sent events: numbered frames, pings while nothing comes, `[DONE]` at the end."""

from collections.abc import AsyncIterator
from typing import Annotated

from litestar.params import HeaderParameter
from litestar.response import Stream

from copilot_common.base.errors import InvalidInput
from copilot_domain.conversations.generation.events import SSE_DONE, SSE_PING, EventBatch, StreamTooLong, sse_frame

EventStream = Stream

LastEventId = Annotated[str | None, HeaderParameter(name="Last-Event-ID")]


def event_number(last_event_id: str | None) -> int:
    """Of the last event that a reader has; 0 for none. Raises InvalidInput."""
    if last_event_id is None or last_event_id == "":
        return 0
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 9:
        raise InvalidInput({"Last-Event-ID": "must be the number of an event"})
    return int(last_event_id)


def event_stream(batches: AsyncIterator[EventBatch]) -> EventStream:
    return Stream(
        _frames(batches),
        status_code=200,
        media_type="text/event-stream",
        # A proxy that buffers would turn a stream into a wait.
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _frames(batches: AsyncIterator[EventBatch]) -> AsyncIterator[bytes]:
    try:
        async for batch in batches:
            yield b"".join(sse_frame(number, payload) for number, payload in batch) or SSE_PING
    except StreamTooLong:  # without [DONE]: there is more
        return
    yield SSE_DONE
