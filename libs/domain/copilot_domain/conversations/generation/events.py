"""A stream's events: their JSON on the wire, and the boundaries from which the same stream can be rebuilt.

Numbers run from 1 without gaps. What is stored is not the events but their boundaries: a content delta is only the
number of characters it carried (its text is part of the message's content); any other event is its JSON.
"""

from collections.abc import Iterable, Iterator
from uuid import UUID

import msgspec

from copilot_common.base.errors import ErrorCode
from copilot_domain.conversations.types import AnswerUsage, Citation

Boundary = int | str

EventBatch = list[tuple[int, bytes]]
"""Consecutive events: number and JSON of each. An empty one says that nothing came for PING_SECONDS."""

PING_SECONDS = 15.0


class StreamTooLong(Exception):
    """A stream is cut, and there is more: its reader is to ask again."""


class MessageStart(msgspec.Struct, tag_field="type", tag="message_start"):
    message_id: UUID


class _Delta(msgspec.Struct):
    text: str


class ContentDelta(msgspec.Struct, tag_field="type", tag="content_delta"):
    delta: _Delta


class CitationFound(msgspec.Struct, tag_field="type", tag="citation", kw_only=True):
    source: str
    name: str
    start: int
    end: int
    quote: str
    item_id: UUID | None = None
    chunk_id: UUID | None = None


class MessageEnd(msgspec.Struct, tag_field="type", tag="message_end"):
    message_id: UUID
    finish_reason: str
    usage: AnswerUsage


class Restart(msgspec.Struct, tag_field="type", tag="restart"):
    """The text begins again."""

    reason: str


class StreamError(msgspec.Struct, tag_field="type", tag="error"):
    code: ErrorCode
    error: str


_encode = msgspec.json.Encoder(decimal_format="number").encode
_boundaries = msgspec.msgpack.Encoder()
_read_boundaries = msgspec.msgpack.Decoder(list[Boundary])


class EventRecord:
    """All events of one answer so far: the text, the boundaries and the JSON of each."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.has_ended = False
        self._texts: list[str] = []
        self._bounds: list[Boundary] = []
        self._began = 0  # the first event of the text that counts

    def __len__(self) -> int:
        return len(self.payloads)

    @property
    def content(self) -> str:
        if len(self._texts) > 1:
            self._texts = ["".join(self._texts)]
        return self._texts[0] if self._texts else ""

    def add_text(self, text: str) -> None:
        self._texts.append(text)
        self._bounds.append(len(text))
        self.payloads.append(delta_json(text))

    def add(self, event: MessageStart | MessageEnd | StreamError | Citation) -> None:
        self._add_json(event_json(event))

    def pad(self, message_id: UUID, number: int) -> None:
        """Take all numbers up to this one, with events that say nothing."""
        if not len(self):
            self.add(MessageStart(message_id))
        while len(self) < number:
            self.add_text("")

    def restart(self, reason: str) -> None:
        """The text so far counts no more. Its events stay in the stream: as themselves, since the content, from which
        deltas are otherwise rebuilt, is the new one's."""
        self._bounds = [payload.decode() for payload in self.payloads]
        self._texts = []
        self._add_json(_encode(Restart(reason)))

    def boundaries(self, ending: MessageEnd | StreamError | None = None) -> bytes:
        """To be sealed and stored beside the content; with the event that will be the last one."""
        bounds = [*self._bounds, event_json(ending).decode()] if ending else self._bounds
        return _boundaries.encode(bounds)

    @classmethod
    def restore(cls, content: str, boundaries: bytes) -> "EventRecord":
        """The same record again, event for event."""
        record = cls()
        offset = 0
        for bound in _read_boundaries.decode(boundaries):
            if isinstance(bound, int):
                record.add_text(content[offset : offset + bound])
                offset += bound
            else:
                record._add_json(bound.encode())
        return record

    def extend(self, payloads: Iterable[bytes]) -> None:
        """Take over events that another process had written to the stream log."""
        for payload in payloads:
            event = msgspec.json.decode(payload)
            if event["type"] == "content_delta":
                self.add_text(event["delta"]["text"])
            else:
                self._add_json(payload)

    def beyond(self, number: int) -> EventBatch:
        """The events with higher numbers."""
        return list(enumerate(self.payloads[number:], number + 1))

    def citations(self) -> Iterator[Citation]:
        for bound in self._bounds[self._began :]:
            if isinstance(bound, str) and bound.startswith('{"type":"citation"'):
                yield msgspec.json.decode(bound, type=Citation)

    def _add_json(self, payload: bytes) -> None:
        self._bounds.append(payload.decode())
        self.payloads.append(payload)
        if payload.startswith(b'{"type":"restart"'):
            self._texts, self._began = [], len(self._bounds)
        self.has_ended = is_last(payload)


def is_last(payload: bytes) -> bool:
    """Whether this event ends its stream."""
    return payload.startswith((b'{"type":"message_end"', b'{"type":"error"'))


def delta_json(text: str) -> bytes:
    return _encode(ContentDelta(_Delta(text)))


def event_json(event: MessageStart | MessageEnd | StreamError | Citation) -> bytes:
    if isinstance(event, Citation):
        return _encode(CitationFound(**msgspec.structs.asdict(event)))
    return _encode(event)


def sse_frame(number: int, payload: bytes) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (number, payload)


SSE_DONE = b"data: [DONE]\n\n"
SSE_PING = b": ping\n\n"
