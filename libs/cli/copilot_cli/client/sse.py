"""Server-sent events, from bytes as they arrive.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, without `event` and `retry`,
which this API does not send. Lines end with LF, CR or CRLF only: `str.splitlines` would also split at characters that
may stand inside a JSON text (U+2028, U+0085), which is why httpx's `iter_lines` does not serve.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """`id` is the number the event came with; None for `[DONE]`."""

    id: int | None
    data: str


class SseParser:
    """Feed it the body piece by piece; pieces may end anywhere, also inside a character."""

    def __init__(self) -> None:
        self._rest = b""
        self._id: int | None = None
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        buffer = self._rest + piece
        start = 0
        for end in _LINE_END.finditer(buffer):
            if end[0] == b"\r" and end.end() == len(buffer):
                break  # its LF may be in the next piece
            event = self._line(buffer[start : end.start()].decode(errors="replace"))
            start = end.end()
            if event is not None:
                yield event
        self._rest = buffer[start:]

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "id" and value.isascii() and value.isdigit():
            self._id = int(value)
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event = ServerSentEvent(self._id, "\n".join(self._data)) if self._data else None
        self._id, self._data = None, []
        return event
