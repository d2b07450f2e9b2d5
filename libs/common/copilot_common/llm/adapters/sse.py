"""Server-sent events, as far as LLM providers use them: `data:` lines, ended by an empty one."""

from typing import Final

# One event carries at most one tool call's arguments or one whole answer.
_MAX_EVENT_BYTES: Final = 16 * 1024 * 1024


class SseDecoder:
    """Incremental: any split of the bytes gives the same payloads."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads this piece completes. Raises ValueError when an event grows beyond its bound."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_EVENT_BYTES:
            raise ValueError("an event is too large")
        payloads = []
        for line in lines:
            text = line[:-1] if line.endswith(b"\r") else line
            if text.startswith(b"data:"):
                self._data.append(text[6:] if text.startswith(b"data: ") else text[5:])
            elif not text and self._data:
                payloads.append(self._take())
        return payloads

    def finish(self) -> list[bytes]:
        """What the end of the stream completes: some servers leave out the last empty line."""
        payloads = self.feed(b"\n") if self._rest else []
        return [*payloads, self._take()] if self._data else payloads

    def _take(self) -> bytes:
        payload = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data = []
        return payload
