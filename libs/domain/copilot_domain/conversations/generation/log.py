"""The stream log: a live answer's events in Redis, so that a reader on another process can follow and resume.

Appends of all streams of a process go out in one pipeline, at most every 20 ms; an answer's first token goes at once.
An event is shown to local readers once the log has it, so that whoever reconnects elsewhere finds at least what was
seen. Redis away: readers are served from memory, others follow the checkpoints; nothing waits.

An answer that is made by a job has a log for each fence under which it was made: a worker that was frozen and wakes up
writes into one that nobody reads any more. Whoever takes over closes the log before, and begins its own with all that
was in it. An answer of a process is made once, and its log is that of fence 0.

One entry holds a batch, sealed under the tenant's key: its id is `<number of its last event>-0`, its value
`[first number, [json, …]]`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol
from uuid import UUID

import msgspec
from loguru import logger
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from copilot_common.encryption import DecryptionError, Purpose, TenantCipher
from copilot_common.platform.redis import REDIS_TIMEOUT_SECONDS
from copilot_common.platform.tasks import end_tasks
from copilot_domain.conversations.generation.events import EventBatch, is_last

_FLUSH_SECONDS = 0.02
_EXPIRE_EVERY = 64  # events: a command for each batch would double what Redis is asked to do
_AWAY_SECONDS = 2.0  # how long a failed Redis is left alone, so that streams do not wait for it again and again
_LAST_ID = f"{2**64 - 1}-{2**64 - 1}"  # Redis takes no entry after this one

Entries = Sequence[tuple[bytes, dict[bytes, bytes]]]


class _Batch(msgspec.Struct, array_like=True):
    first: int
    payloads: list[bytes]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Batch)


class LoggedStream(Protocol):
    """What the log needs of a generation."""

    message_id: UUID
    log_fence: int
    cipher: TenantCipher

    def unlogged(self) -> tuple[int, list[bytes]]:
        """The number of the first event not yet taken, and the events from there on."""
        ...

    def publish(self, count: int) -> None:
        """Show the first `count` events to the local readers."""
        ...


class StreamLog:
    """Start it once per process. `append` never blocks and never fails."""

    def __init__(self, redis: Redis, *, ttl_seconds: int) -> None:
        self._redis = redis
        self._ttl_seconds = ttl_seconds
        self._pending: dict[tuple[UUID, int], LoggedStream] = {}
        self._dirty = asyncio.Event()
        self._urgent = asyncio.Event()
        self._away_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._flush_forever(), name="stream-log")

    async def stop(self) -> None:
        self._is_stopping = True
        await end_tasks([self._task])

    def append(self, stream: LoggedStream, *, urgent: bool = False) -> None:
        """Note that `stream` has new events; they go out with the next batch."""
        self._pending[stream.message_id, stream.log_fence] = stream
        self._dirty.set()
        if urgent:
            self._urgent.set()

    async def read(self, cipher: TenantCipher, message_id: UUID, fence: int, *, after: int) -> EventBatch:
        """The logged events above `after`, as far as they run without a gap. Raises RedisError or TimeoutError."""
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            entries = await self._redis.xrange(_key(message_id, fence), min=f"({after}-0")
        return _batch(cipher, message_id, entries, after)

    async def close(self, cipher: TenantCipher, message_id: UUID, fence: int, *, after: int) -> EventBatch:
        """As `read`; and from here on nothing more gets into this log."""
        key = _key(message_id, fence)
        pipeline = self._redis.pipeline()
        pipeline.xrange(key, min=f"({after}-0")
        pipeline.xadd(key, {"closed": b""}, id=_LAST_ID)
        pipeline.expire(key, self._ttl_seconds)
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            results = await pipeline.execute(raise_on_error=False)
        if isinstance(results[0], RedisError):
            raise results[0]
        return _batch(cipher, message_id, results[0], after)

    async def _flush_forever(self) -> None:
        while True:
            await self._dirty.wait()
            if not self._urgent.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FLUSH_SECONDS):
                        await self._urgent.wait()
            self._dirty.clear()
            self._urgent.clear()
            pending, self._pending = self._pending, {}
            await self._flush(list(pending.values()))

    async def _flush(self, streams: list[LoggedStream]) -> None:
        taken = [(stream, *stream.unlogged()) for stream in streams]
        if asyncio.get_running_loop().time() >= self._away_until:
            try:
                await self._write(taken)
            except (Exception, asyncio.CancelledError) as error:
                # Whatever it is, it must not end the loop that all streams of this process hang on; not even a
                # cancellation that gets out of the client's own time-out.
                if self._is_stopping:
                    raise
                self._away_until = asyncio.get_running_loop().time() + _AWAY_SECONDS
                logger.bind(error_type=type(error).__name__).warning("Stream log not written")
        for stream, first, payloads in taken:
            stream.publish(first - 1 + len(payloads))

    async def _write(self, taken: list[tuple[LoggedStream, int, list[bytes]]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for stream, first, payloads in taken:
            if payloads:
                last = first + len(payloads) - 1
                sealed = stream.cipher.seal(
                    Purpose.STREAM_EVENT, stream.message_id, _encoder.encode(_Batch(first, payloads)), part=last
                )
                key = _key(stream.message_id, stream.log_fence)
                pipeline.xadd(key, {"e": sealed}, id=f"{last}-0")
                if first == 1 or last % _EXPIRE_EVERY < len(payloads) or is_last(payloads[-1]):
                    pipeline.expire(key, self._ttl_seconds)
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            results = await pipeline.execute(raise_on_error=False)
        for result in results:
            # A plain ResponseError is an id that another process has written already: that command's fault alone.
            if isinstance(result, RedisError) and type(result) is not ResponseError:
                raise result


def _key(message_id: UUID, fence: int) -> str:
    return f"copilot:{{{message_id}}}:stream:{fence}"


def _batch(cipher: TenantCipher, message_id: UUID, entries: Entries, after: int) -> EventBatch:
    events: EventBatch = []
    expected = after + 1
    for entry_id, fields in entries:
        for number, payload in _open(cipher, message_id, entry_id, fields):
            if number == expected:
                events.append((number, payload))
                expected += 1
                if is_last(payload):
                    return events  # what a process without its database may have added is not the answer's
    return events


def _open(cipher: TenantCipher, message_id: UUID, entry_id: bytes, fields: dict[bytes, bytes]) -> EventBatch:
    last = int(entry_id.partition(b"-")[0])
    try:
        batch = _decoder.decode(cipher.open(Purpose.STREAM_EVENT, message_id, fields[b"e"], part=last))
    except (DecryptionError, KeyError, msgspec.DecodeError):
        return []  # somebody else wrote into our Redis; the checkpoints have the truth
    return list(enumerate(batch.payloads, batch.first))
