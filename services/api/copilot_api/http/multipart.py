"""multipart/form-data (RFC 7578) read as it comes: of a part no more is in memory than the piece at hand."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from multipart import (  # type: ignore[import-untyped]  # not annotated throughout
    MultipartError,
    PushMultipartParser,
    parse_options_header,
)

from copilot_api.http.streamed_body import bad_request
from copilot_common.base.errors import CopilotError

FORM = "multipart/form-data"

_MAX_PARTS = 64
_MAX_HEADER_BYTES = 4_096  # of one line; a file name of 300 characters of four bytes, each as %XX, fits


@dataclass(frozen=True)
class Part:
    """`file_name` and `media_type` as they were sent, None and "" where they were not. `chunks` must have been read
    to their end before the next part is asked for."""

    name: str
    file_name: str | None
    media_type: str
    chunks: AsyncIterator[bytes]


async def read_parts(content_type: str, body: AsyncGenerator[bytes, None]) -> AsyncGenerator[Part, None]:
    """In their order. Raises UNSUPPORTED_MEDIA_TYPE for another content type, BAD_REQUEST for a form that is broken,
    and what `body` raises."""
    async with aclosing(_events(_boundary(content_type), body)) as events:
        async for head in events:
            chunks = _chunks(events)
            yield Part(head.name, head.filename, head.content_type or "", chunks)


def _boundary(content_type: str) -> str:
    media_type, options = parse_options_header(content_type)
    if media_type != FORM:
        error = CopilotError(f"The body must be {FORM}.")
        error.code = "UNSUPPORTED_MEDIA_TYPE"
        raise error
    if not options.get("boundary"):
        raise bad_request("The Content-Type names no boundary; leave the header to what makes the form.")
    return str(options["boundary"])


async def _events(boundary: str, body: AsyncGenerator[bytes, None]) -> AsyncGenerator[Any, None]:
    """Of each part its head, its pieces, and None."""

    async def read(_: int) -> bytes:
        return await anext(body, b"")

    try:
        parser = PushMultipartParser(boundary, max_header_size=_MAX_HEADER_BYTES, max_segment_count=_MAX_PARTS)
        async for event in parser.parse_async(read):
            yield event
    except (MultipartError, UnicodeError):
        raise bad_request(f"The body is not valid {FORM}, ends too early or has too many parts.") from None


async def _chunks(events: AsyncGenerator[Any, None]) -> AsyncIterator[bytes]:
    async for event in events:
        if event is None:
            return
        yield event
